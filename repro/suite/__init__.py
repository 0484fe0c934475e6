"""Suites: a matrix of trainings, one process each, that can be stopped, killed and started again.

    trials.py    a TOML file becomes a list of trials, the most valuable first
    state.py     how far each is, read from the run directories alone
    local.py     processes on this machine, some at a time, within a budget
    slurm.py     the same trials as an array script
    table.py     what a person sees of it
"""

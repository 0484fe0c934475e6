"""What a suite would take, before anything is paid: on this machine by a short probe, on named GPUs by published figures.

    probe.py        a few steps of one training on random images, in a process of its own
    estimate.py     steps, time, memory, cost, and how a step would scale to several devices: arithmetic alone
    devices.toml    the GPUs, each figure with its source
"""

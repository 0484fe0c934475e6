"""What each group of operators hands to the tests that every operator goes through.

    DROP_INS     (name, shape, arguments)            a layer of Keras's name: the same numbers, weights and config
    WRONG        (name, shape, arguments)            a mistake that raises Keras's own error
    OWN          (name, shape, arguments)            a layer that Keras has none of
    OWN_WRONG    (name, shape, arguments, message)   a mistake, and a pattern of what is said of it
    CALLS_WRONG  (name, shapes, arguments, message)  the same of a function of tensors of these shapes
    ANY_SIZE     (name, shape, arguments)            built and run without knowing the batch and the image size
    PRECISIONS   (name, shape, arguments)            in half, double and mixed precision
    TWICE        (name, shape, arguments)            second derivatives equal to Keras's
    CHECKED      {public name: its name in the check}, where they differ
    LINEAR       names in the check of operators that are linear in some argument
    sabotages()  every formula, made wrong

A group has those that it has something for.
"""
from . import (activations, attention, capsules, convolutions, depthwise, graphs, local, losses, normalizations,
               pools, structures, units)

GROUPS = (activations, attention, capsules, convolutions, depthwise, graphs, local, losses, normalizations, pools,
          structures, units)


def every(name: str) -> list:
    """The lists of all groups, one after the other."""
    return [case for group in GROUPS for case in getattr(group, name, ())]


SABOTAGES = [case for group in GROUPS for case in group.sabotages()]
CHECKED = {name: operator for group in GROUPS for name, operator in getattr(group, "CHECKED", {}).items()}

"""Training: the explicit step, the loop, and what it leaves behind.

`train` and `TrainingStopped` bring Keras and a backend with them; what only reads runs does without.
"""

__all__ = ["TrainingStopped", "train"]


def __getattr__(name):
    if name in __all__:
        from . import run
        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Training: the explicit step, the loop, and what it leaves behind."""
from .run import TrainingStopped, train

__all__ = ["TrainingStopped", "train"]

"""What every test module finds in place before it is imported."""
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")      # before anything imports TensorFlow

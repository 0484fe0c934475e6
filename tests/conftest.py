"""What every test module finds in place before it is imported."""
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")      # before anything imports TensorFlow
sys.path.insert(0, str(Path(__file__).parent))          # what several test modules share lies beside them

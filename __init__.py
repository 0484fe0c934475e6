"""cnn_repro: reproductions of convolutional networks, from the backward pass to the verdict."""
__version__ = "0.1.0"

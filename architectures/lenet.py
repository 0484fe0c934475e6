"""Gradient-Based Learning Applied to Document Recognition. LeCun, Bottou, Bengio, Haffner. Proc. IEEE 86(11), 1998.

`lenet5` is the network of section II.B: connection table in C3, trainable subsampling, scaled tanh, radial basis
functions as output; 60,000 trainable parameters and 340,908 connections. `lenet5_modern` is the one that
everybody trains under that name: C3 sees all maps, max pooling, ReLU, a dense output; 61,706 parameters.
"""
import numpy as np

from ..layers import FanIn, scaled_tanh
from .registry import Architecture, ArchitectureError, register

# Table I: the maps of S2 (numbered from 0) that each of the sixteen maps of C3 sees.
C3 = [(0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (4, 5, 0), (5, 0, 1),
      (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0), (4, 5, 0, 1), (5, 0, 1, 2),
      (0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)]


# Figure 3: the output codes, the digits 0 to 9 drawn in 7 × 12 pixels (# is +1, . is −1). Transcription:
# github.com/mattwang44/LeNet-from-Scratch, utils/RBF_initial_weight.py; not checked against the printed figure.
CODES = """
    .#####.  ...##..  .#####.  #######  .#####.  .#####.  ..####.  #######  .#####.  .#####.
    .......  ..###..  .......  .....##  .......  .......  .##....  .....##  ##...##  ##..###
    ..###..  .####..  .#####.  ....##.  .......  #######  ##.....  .....##  ##...##  ##...##
    .##.##.  ...##..  ##...##  ...##..  .##..##  ##.....  ##.....  ....##.  ##...##  ##...##
    ##...##  ...##..  #....##  ..####.  .##..##  ##.....  ######.  ...##..  .#####.  ##..###
    ##...##  ...##..  ....##.  .....##  ###..##  .####..  ###..##  ...##..  ##...##  .######
    ##...##  ...##..  ..###..  .....##  ##...##  ..####.  ##...##  ..##...  ##...##  .....##
    ##...##  ...##..  .##....  .....##  ##...##  .....##  ##...##  ..##...  ##...##  .....##
    .##.##.  ...##..  ##.....  ##...##  ##..###  ##...##  ###..##  ..##...  ##...##  ....##.
    ..###..  .######  #######  .#####.  .######  .#####.  .#####.  ..##...  .#####.  .####..
    .......  .......  .......  .......  .....##  .......  .......  .......  .......  .......
    .......  .......  .......  .......  .....##  .......  .......  .......  .......  .......
"""


def output_codes() -> np.ndarray:
    """The ten codes of figure 3, (10, 84), each row by row with entries ±1."""
    rows = [line.split() for line in CODES.split("\n") if line.strip()]
    return np.array([[1.0 if pixel == "#" else -1.0 for row in rows for pixel in row[digit]]
                     for digit in range(10)], "float32")


# Appendix A prints ±2.4/F for the initial weights. The outputs then shrink layer by layer (F6's deviation is
# 0.0004), curvatures with them, and the printed training saturates F6 within its first 1,000 patterns for good.
# With ±2.4/√F it trains, and the kernels' first rates are 1e-4 to 8e-3, near the 7e-5 to 0.016 that appendix C
# reports; with ±2.4/F nearly all are 0.025. So √F is what the suite takes.
WEIGHTS = FanIn(2.4, 0.5)


def published_features(x, L):
    """C1 to S4 (figure 2). A subsampling begins as the average."""
    x = L.Conv2D(6, 5, activation=scaled_tanh, kernel_initializer=WEIGHTS, name="C1")(x)            # 28×28
    x = L.Subsampling2D(2, activation=scaled_tanh, name="S2")(x)                                    # 14×14
    x = L.TableConv2D(C3, 5, activation=scaled_tanh, kernel_initializer=WEIGHTS, name="C3")(x)      # 10×10
    return L.Subsampling2D(2, activation=scaled_tanh, name="S4")(x)                                 # 5×5


def published_head(x, classes, L):
    """C5, F6 and the radial basis functions; the codes are those of ten digits."""
    if classes > 10:
        raise ArchitectureError(f"lenet5 has an output code for each of the ten digits and no more, not for {classes} "
                                "classes; lenet5_modern takes any number")
    x = L.Conv2D(120, 5, activation=scaled_tanh, kernel_initializer=WEIGHTS, name="C5")(x)          # 1×1
    x = L.Flatten(name="F6_flat")(x)
    x = L.Dense(84, activation=scaled_tanh, kernel_initializer=WEIGHTS, name="F6")(x)
    return L.RadialBasis(output_codes()[:classes], name="OUTPUT")(x)


def modern_features(x, L):
    x = L.Conv2D(6, 5, activation="relu", name="C1")(x)
    x = L.MaxPooling2D(2, name="S2")(x)
    x = L.Conv2D(16, 5, activation="relu", name="C3")(x)
    return L.MaxPooling2D(2, name="S4")(x)


def modern_head(x, classes, L):
    x = L.Flatten(name="C5_flat")(x)
    x = L.Dense(120, activation="relu", name="C5")(x)
    x = L.Dense(84, activation="relu", name="F6")(x)
    return L.Dense(classes, name="OUTPUT")(x)


register(Architecture("lenet5", "LeNet-5 as published", published_features, published_head, (32, 32, 1), 10, "map"))
register(Architecture("lenet5_modern", "LeNet-5 as everybody trains it", modern_features, modern_head, (32, 32, 1), 10))

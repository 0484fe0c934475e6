"""Pooling."""
from collections.abc import Iterator

import numpy as np
from keras import ops

from ... import layers as L
from ...layers import reference
from .case import Case


def cases(random) -> Iterator[Case]:
    """Windows that overlap, that leave positions out, that are larger than the input; ties."""
    grid = [
        ((4, 4), (2, 2), (2, 2), "valid"),
        ((5, 6), (3, 3), (2, 2), "same"),
        ((7, 5), (3, 2), (2, 1), "valid"),
        ((5, 5), (2, 2), (3, 3), "valid"),
        ((3, 2), (4, 4), (1, 1), "same"),
        ((1, 1), (1, 1), (1, 1), "valid"),
    ]
    kinds = (("MaxPooling2D", L.max_pool, ops.max_pool, reference.max_pool,
              reference.max_pool_gradient),
             ("AveragePooling2D", L.average_pool, ops.average_pool, reference.average_pool,
              reference.average_pool_gradient))
    for name, function, operator, output, definition in kinds:
        for space, size, strides, padding in grid:
            for ties in ((False, True) if name == "MaxPooling2D" else (False,)):
                x = random.normal(size=(2, *space, 3))
                x = np.round(x) if ties else x
                yield Case(
                    name, f"{space[0]}×{space[1]}, window {size[0]}×{size[1]}, stride {strides[0]}×{strides[1]}, "
                          f"{padding}" + (", ties" if ties else ""), {"input": x},
                    lambda x, a=(size, strides, padding), f=function: f(x, *a),
                    lambda x, a=(size, strides, padding), f=operator: f(x, *a, data_format="channels_last"),
                    lambda x, a=(size, strides, padding), f=output: f(x, *a),
                    lambda dy, x, a=(size, strides, padding), f=definition: [f(dy, x, *a)],
                    # with ties, JAX's second derivative of the stock operator is another one than TensorFlow's
                    ("input",) if name == "AveragePooling2D" else (), smooth=not ties, twice=not ties)
    yield Case("GlobalAveragePooling2D", "3×5", {"input": random.normal(size=(2, 3, 5, 4))},
               L.global_average_pool, lambda x: ops.mean(x, axis=(1, 2)), reference.global_average_pool,
               lambda dy, x: [reference.global_average_pool_gradient(dy, x)], ("input",))

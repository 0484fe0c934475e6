"""Sliding windows: where a kernel or a pool looks, and the way back.

Convolution and pooling move a window over the spatial axes of (N, *space, C). Its *taps* are the positions
inside the window; tap t of every window, seen together, is a strided view of the padded input:

    taps(x)[t][n, p, c] = x[n, p·stride + t·dilation, c]

`scatter` is the adjoint of `taps`: it adds every view back where it was taken from. Any number of spatial axes.
"""
from dataclasses import dataclass
from itertools import product
from math import prod

import keras
from keras import ops


FORMATS = ("channels_last", "channels_first")


@dataclass(frozen=True)
class Window:
    """size, strides, dilation: one integer a spatial axis.

    padding: "valid", "same" (TensorFlow's rule) or "causal" (all of it before, so that no window looks ahead).
    """
    size: tuple[int, ...]
    strides: tuple[int, ...]
    padding: str = "valid"
    dilation: tuple[int, ...] | None = None

    @classmethod
    def of(cls, size, strides, padding, dilation=1) -> "Window":
        """Strides and dilation: an integer, or one an axis. ValueError where one is missing or not positive."""
        if isinstance(size, int) or not len(size):
            raise ValueError(f"The window's size has an integer for every spatial axis; it is {size!r}.")
        axes = len(size)
        return cls(*(_of_every_axis(name, value, axes) for name, value in (("size", size), ("strides", strides))),
                   padding.lower(), _of_every_axis("dilation", dilation, axes))

    def check(self, shape, data_format="channels_last", paddings=("valid", "same")):
        """The channels of an input of this shape. ValueError where it or the padding is none for this window.

        Without it no backend says so of a window larger than the input: TensorFlow's kernels return whatever memory
        holds, in the input's size. Sizes are compared where they are known: while a graph is built, not as it runs.
        """
        space, channels = self.check_axes(shape, data_format, paddings)
        if self.padding == "valid":
            first = 1 if data_format == "channels_last" else 2
            for axis, (n, e) in enumerate(zip(space, self.extent), first):
                if isinstance(n, int) and n < e:
                    raise ValueError(f"Axis {axis} of the input has size {n}, less than the window's {e} without "
                                     "padding.")
        return channels

    def check_axes(self, shape, data_format="channels_last", paddings=("valid", "same")):
        """(spatial sizes, channels) of the shape: the same for an input of any size."""
        for name, value, known in (("padding", self.padding, paddings), ("data_format", data_format, FORMATS)):
            if value not in known:
                raise ValueError(f"{name}={value!r} must be one of {', '.join(known)}.")
        axes, shape = len(self.size), tuple(shape)
        if len(shape) != axes + 2:
            raise ValueError(f"The input has {len(shape)} axes; a window over {axes} spatial axes takes {axes + 2}.")
        return (shape[1:-1], shape[-1]) if data_format == "channels_last" else (shape[2:], shape[1])

    @property
    def extent(self) -> tuple[int, ...]:
        """The input positions that a window spans along each axis: (size − 1)·dilation + 1."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.size, self.dilation))

    @property
    def count(self) -> int:
        """The number of taps."""
        return prod(self.size)

    def outputs(self, space) -> tuple:
        """The number of windows along each axis of an input of size `space`."""
        if self.padding == "valid":
            return tuple((n - e) // s + 1 for n, e, s in zip(space, self.extent, self.strides))
        return tuple(-(-n // s) for n, s in zip(space, self.strides))

    def pads(self, space) -> tuple[tuple, ...]:
        """(before, after) along each axis; `same` puts the odd one after, as TensorFlow does."""
        if self.padding == "valid":
            return ((0, 0),) * len(self.size)
        if self.padding == "causal":
            return tuple((e - 1, 0) for e in self.extent)
        pads = []
        for n, p, e, s in zip(space, self.outputs(space), self.extent, self.strides):
            # stride 1 needs no look at n, which may be unknown while a graph is built
            total = e - 1 if s == 1 else at_least_zero((p - 1) * s + e - n)
            pads.append((total // 2, total - total // 2))
        return tuple(pads)

    def offsets(self):
        """All taps in row-major order, as offsets into the padded input."""
        return product(*(range(0, k * d, d) for k, d in zip(self.size, self.dilation)))


def _of_every_axis(name, value, axes) -> tuple[int, ...]:
    values = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(values) != axes or min(values) < 1:
        raise ValueError(f"{name}={value!r} must be a positive integer" + (f", or {axes}." if axes > 1 else "."))
    return values


def check_channels(found, expected, kernel):
    """ValueError where an input of `found` channels, if known, is none for a kernel that takes `expected`."""
    if isinstance(found, int) and found != expected:
        raise ValueError(f"The input has {found} channels, the kernel of shape {tuple(kernel.shape)} takes {expected}.")


def check_groups(found, kernel):
    """The same for a kernel (*size, C/groups, K), which takes C/groups channels in each of some groups."""
    inner, filters = kernel.shape[-2:]
    if isinstance(found, int) and (found % inner or filters % max(found // inner, 1)):
        raise ValueError(f"The input has {found} channels, the kernel of shape {tuple(kernel.shape)} takes {inner}, "
                         "or as many in each of several groups of equally many filters.")


def differ(a, b) -> bool:
    """Whether two sizes are known and not the same."""
    return isinstance(a, int) and isinstance(b, int) and a != b


def check_positive(**values):
    """ValueError for the first of the named integers that is below 1."""
    for name, value in values.items():
        if value < 1:
            raise ValueError(f"{name}={value} must be positive.")


def checked_axis(axis, shape) -> int:
    """The axis counted from the front; ValueError where a tensor of this shape has no such axis."""
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis={axis} must be one of the input's {len(shape)} axes.")
    return axis % len(shape)


def channel_axis(axis, shape) -> int:
    """The same for a layer, whose batch has no channels."""
    if checked_axis(axis, shape) == 0:
        raise ValueError(f"axis={axis} is that of the batch, not of the channels.")
    return axis % len(shape)


def at_least_zero(n):
    """max(n, 0) of a size, which is an integer where it is known and a scalar of the backend where not."""
    return max(n, 0) if isinstance(n, int) else ops.maximum(n, 0)


def space_of(x) -> tuple:
    """The spatial sizes of (N, *space, C): integers where known, scalars of the backend where not."""
    return tuple(ops.shape(x)[1:-1])


def pad(x, pads, value=0):
    """Pad the spatial axes of (N, *space, C)."""
    if all(before == 0 and after == 0 for before, after in _known(pads)):
        return x
    return ops.pad(x, [(0, 0), *pads, (0, 0)], constant_values=value)


def crop(x, pads, space):
    """The inverse of `pad`: the original `space` out of the padded x."""
    slices = tuple(slice(before, before + n) for (before, _), n in zip(pads, space))
    return x[(slice(None), *slices, slice(None))]


def _known(pads):
    return [pair if all(isinstance(value, int) for value in pair) else (1, 1) for pair in pads]


def taps(x, window: Window, outputs):
    """All views of the padded x (N, *space, C), tap after tap, each (N, *outputs, C).

    Position q·s + r becomes entry (q, r) of two axes, so that no slice has a step: with stride 2, TensorFlow on a CPU
    takes a ninth of the time.
    """
    if max(window.strides) > 1:
        x = pad(x, [(0, -n % s) for n, s in zip(space_of(x), window.strides)])
        split = [part for n, s in zip(space_of(x), window.strides) for part in (n // s, s)]
        x = ops.reshape(x, (ops.shape(x)[0], *split, x.shape[-1]))
    views = []
    for offset in window.offsets():
        index = [slice(None)]
        for o, s, p in zip(offset, window.strides, outputs):
            index += [slice(o // s, o // s + p), o % s] if max(window.strides) > 1 else [slice(o, o + p)]
        views.append(x[tuple(index)])
    return views


def scatter(views, window: Window, space):
    """Adjoint of `taps`: ⟨taps(x), v⟩ = ⟨x, scatter(v)⟩. Returns (N, *space, C), `space` being the padded size."""
    for axis in reversed(range(len(window.size))):      # one axis at a time, the fastest-running tap first
        k = window.size[axis]
        views = [_scatter_axis(views[i:i + k], axis, window.strides[axis], window.dilation[axis], space[axis])
                 for i in range(0, len(views), k)]
    return views[0]


def _scatter_axis(views, axis, stride, dilation, n):
    """Add view t at positions p·stride + t·dilation of an axis of length n, phase by phase.

    Positions of the same remainder modulo the stride form a phase; a view lies within one phase, shifted by whole
    steps. Adding within phases and interleaving them multiplies no zeros that the stride would have put between.
    """
    length = -(-n // stride)
    phases = [None] * stride
    for t, view in enumerate(views):
        shift, phase = divmod(t * dilation, stride)
        pads = [(0, 0)] * len(view.shape)
        pads[axis + 1] = (shift, length - shift - ops.shape(view)[axis + 1])
        view = ops.pad(view, pads) if _known(pads[axis + 1:axis + 2]) != [(0, 0)] else view
        phases[phase] = view if phases[phase] is None else phases[phase] + view
    empty = None if all(phase is not None for phase in phases) else ops.zeros_like(next(
        phase for phase in phases if phase is not None))
    phases = [empty if phase is None else phase for phase in phases]
    return _interleave(phases, axis + 1, n)


def _interleave(phases, axis, n):
    """Element m of phase r goes to position m·len(phases) + r; the first n positions."""
    if len(phases) == 1:
        return phases[0]
    shape = list(ops.shape(phases[0]))
    shape[axis] = shape[axis] * len(phases)
    merged = ops.reshape(ops.stack(phases, axis=axis + 1), shape)
    return merged[(slice(None),) * axis + (slice(0, n),)]


def dilate(x, rates, axes):
    """Put rate − 1 zeros between neighbours along each of `axes`: length n becomes (n − 1)·rate + 1."""
    for axis, rate in zip(axes, rates):
        if rate > 1:
            n = ops.shape(x)[axis]
            x = _interleave([x] + [ops.zeros_like(x)] * (rate - 1), axis, (n - 1) * rate + 1)
    return x


def known_format(data_format: str | None) -> str:
    """A layer's data format: Keras's own where none is given."""
    data_format = data_format or keras.config.image_data_format()
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(f"data_format={data_format!r} must be one of channels_last, channels_first.")
    return data_format


def last_shape(shape, data_format) -> tuple:
    """The shape (N, *space, C) of an input of that shape in that format."""
    return tuple(shape) if data_format == "channels_last" else (shape[0], *shape[2:], shape[1])


def shape_in(shape, data_format) -> tuple:
    """The other way round: (N, *space, C) as that format has it."""
    return tuple(shape) if data_format == "channels_last" else (shape[0], shape[-1], *shape[1:-1])


def to_channels_last(x, data_format):
    """(N, C, *space) → (N, *space, C) where the format asks for it."""
    if data_format == "channels_last":
        return x
    return ops.moveaxis(x, 1, -1)


def from_channels_last(x, data_format):
    """(N, *space, C) → (N, C, *space) where the format asks for it."""
    if data_format == "channels_last":
        return x
    return ops.moveaxis(x, -1, 1)

"""Checkpoints: everything that the next step depends on, in one file that is whole or not there.

    header     one line of JSON: magic, format, the numbers of the loop, and each array's name, dtype and shape
    arrays     their bytes, one after the other, little-endian and in C order
    sha256     32 bytes over all that stands before

Written to a temporary name, flushed to the disk and renamed; the last KEPT stay, so that one may be damaged. Nothing in
a file is ever executed: no pickles. Keras's own are not used, because a kill between its two writes, or a full disk
while it saves, loses both the old state and the new one.
"""
import contextlib
import hashlib
import itertools
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ..record import sync_folder

MAGIC, FORMAT = "cnn_repro checkpoint", 1
KEPT = 2
LONGEST_HEADER = 2**26
NAME = re.compile(r"step-(\d{9})\.checkpoint")


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or read; the text names the file and what to do."""


class Damaged(CheckpointError):
    """A file that was read to its end and is no whole checkpoint."""


class NotFinite(ValueError):
    """A state that holds NaN or an infinity, which is no state to go on from. The text names the variable."""


def save(folder: Path, step: int, numbers: dict, arrays: Iterable[tuple[str, np.ndarray]]) -> Path:
    """Write the checkpoint of `step` into `folder` and drop all but the newest KEPT.

    numbers: whatever JSON holds exactly (integers, texts, finite floats, lists, tables). arrays: (name, array) of any
    dtype NumPy has. Raises NotFinite, CheckpointError (disk full, say: the older ones are still there).
    """
    arrays = [(name, np.asarray(array)) for name, array in arrays]
    path, size = Path(folder) / f"step-{step:09d}.checkpoint", sum(array.nbytes for _, array in arrays)
    parts = encoded(step, numbers, arrays)
    head = next(parts)                          # a state that is not finite leaves no file behind
    temporary = path.with_name(f".{path.name}.{os.getpid()}")       # not mkstemp's 0600: others may go on with it
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb", opener=partial(os.open, mode=0o644)) as file:
            file.write(head)
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot write the checkpoint of {size / 2**20:.1f} MiB "
                              f"({error.strerror or error}); those before are intact: free space and give the same "
                              "command again") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    for old in found(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def encoded(step: int, numbers: dict, arrays: Iterable[tuple[str, np.ndarray]]) -> Iterator[bytes]:
    """The bytes of a checkpoint, part by part. Raises NotFinite before the first."""
    arrays = [(name, np.asarray(array)) for name, array in arrays]
    for name, array in arrays:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise NotFinite(name)
    described = [{"name": name, "dtype": array.dtype.newbyteorder("<").str, "shape": list(array.shape)}
                 for name, array in arrays]
    header = {"magic": MAGIC, "format": FORMAT, "step": step, "numbers": numbers, "arrays": described}
    head = json.dumps(header, allow_nan=False).encode() + b"\n"
    digest = hashlib.sha256()
    for part in itertools.chain([head], (little_endian(array) for _, array in arrays)):
        yield part
        digest.update(part)
    yield digest.digest()


def found(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, the newest first."""
    return sorted((path for path in Path(folder).glob("step-*.checkpoint") if NAME.fullmatch(path.name)), reverse=True)


def load_newest(folder: Path, say=print) -> tuple[int, dict, dict[str, np.ndarray]] | None:
    """(step, numbers, arrays by name) of the newest whole checkpoint; None where there is none at all.

    A damaged one is said, set aside as *.damaged and passed over. Raises CheckpointError where all are damaged, since a
    run must not silently start again, and where one cannot be read, which may be whole.
    """
    damaged = {}
    for path in found(folder):
        try:
            state = read(path)
        except Damaged as error:
            damaged[path] = str(error)
            continue
        for other, reason in damaged.items():
            say(f"{reason}; going on from {path.name}, the one before")
            other.rename(other.with_name(other.name + ".damaged"))
        return state
    if damaged:
        raise CheckpointError(f"no whole checkpoint in {folder} ({'; '.join(damaged.values())}); "
                              "to train from the start remove that folder, or choose another with --run DIR")
    return None


def read(path: Path) -> tuple[int, dict, dict[str, np.ndarray]]:
    """(step, numbers, arrays by name) of one file. Raises Damaged for anything that is not whole, CheckpointError for
    what cannot be read."""
    path = Path(path)
    try:
        with open(path, "rb") as file:
            return parsed(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error}); give the same command again when it "
                              "can, or remove it to go on from the one before") from None
    except Damaged as error:
        raise Damaged(f"{path}: {error}") from None


def parsed(file, size: int) -> tuple[int, dict, dict[str, np.ndarray]]:
    """The same of an open file of that size, or of one in memory."""
    digest, arrays = hashlib.sha256(), {}
    try:
        head = file.readline(LONGEST_HEADER)
        digest.update(head)
        header = json.loads(head)
        if header["magic"] != MAGIC or header["format"] != FORMAT:
            raise ValueError("another format")
        left = size - len(head) - 32
        for one in header["arrays"]:
            dtype, shape = np.dtype(one["dtype"]), tuple(one["shape"])
            expected = dtype.itemsize * math.prod(shape)
            if dtype.hasobject or expected > left:
                raise ValueError("shorter than its header says")
            left -= expected
            content = file.read(expected)
            digest.update(content)
            arrays[one["name"]] = np.frombuffer(content, dtype).reshape(shape)
        whole = left == 0 and file.read() == digest.digest()
    except (ValueError, KeyError, TypeError):
        raise Damaged("damaged (cut or no checkpoint)") from None
    if not whole:
        raise Damaged("damaged (its sha256 is another)")
    return header["step"], header["numbers"], arrays


def fingerprint(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    """sha256 over arrays in their order, dtypes and shapes included: equal for equal bits, on any machine."""
    digest = hashlib.sha256()
    for _, array in arrays:
        array = np.asarray(array)
        digest.update(f"{array.dtype.newbyteorder('<').str} {array.shape}\n".encode())
        digest.update(little_endian(array))
    return digest.hexdigest()


def little_endian(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()

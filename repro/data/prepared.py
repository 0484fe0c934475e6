"""Prepared copies: .npy files and a manifest in one folder, written once, verified at every use.

They lie in $CNN_REPRO_DATA (else ${XDG_CACHE_HOME:-~/.cache}/cnn_repro) / name / version, and can be read
without TensorFlow. The manifest holds each file's sha256 and one content sha256, which is that of

    for each array:  "<file> <dtype> <shape>\\n"  followed by its bytes in C order
    for each other:  "<file>\\n"  followed by its bytes

so it names the data and not the way NumPy wrote it down. Images that stay encoded (encoded.py) are prepared as an
index, and their files, wherever these lie, are verified with it.
"""
import errno
import glob
import hashlib
import json
import os
import re
import shlex
import shutil
import tempfile
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..record import now, sync_folder, write_atomically
from .encoded import EncodedImages, check_files, read_files
from .sources import DataError, Source, names, source

BLOCK = 2 ** 20               # bytes read at a time
ABANDONED = 24 * 60 * 60      # seconds without a write, after which nobody prepares there any more


@dataclass(frozen=True)
class Manifest:
    """What lies in a prepared folder."""
    name: str
    version: str
    sha256: str               # content, see above
    files: dict[str, dict]    # file → {"shape", "dtype", "bytes", "sha256"}; a file that is no array has the last two
    classes: tuple[str, ...]
    splits: dict[str, int]
    prepared: str             # UTC
    by: str                   # what read the original, with its version
    identity: str             # which copy this is, as far as its content tells
    folder: Path


class Dataset:
    """A verified data set. Training images are at hand; the test set is behind `open_test`, once.

    kind: "images", "videos" or "graph"; the last has `graph` in place of the other two. name, version, classes,
    shape, enlarge, sha256, identity: as in Source and Manifest.
    """

    def __init__(self, source: Source, manifest: Manifest):
        self.name, self.kind, self.version = source.name, source.kind, source.version_read()
        self.shape, self.enlarge, self.splits = source.shape, source.enlarge, dict(manifest.splits)
        self.classes, self.sha256, self.identity = manifest.classes, manifest.sha256, manifest.identity
        self._source, self._folder, self._opened = source, manifest.folder, False

    @cached_property
    def train(self):
        """Images and labels, int64 (N,) in memory. Images are uint8 (N, H, W, C) or, of videos, (N, T, H, W, C),
        memory-mapped read-only; where they have many sizes or would exceed 8 GiB, an EncodedImages."""
        return self._part("train")

    def open_test(self):
        """Test images and labels, once: a second call raises RuntimeError. So they can choose nothing."""
        if self._opened:
            raise RuntimeError(f"{self.name}: the test set is opened once a run")
        self._opened = True
        return self._part("test")

    @cached_property
    def graph(self) -> dict[str, np.ndarray]:
        """features float32 (V, F), edges int64 (E, 2), each link once, labels int64 (V,), and the vertices of
        train, validation and test, int64. Raises DataError for what is no graph."""
        if self.kind != "graph":
            raise DataError(f"{self.name} has {self.kind}, it is no graph")
        return {file.removesuffix(".npy"): np.array(_array(self._folder / file)) for file in self._source.arrays()}

    def _part(self, part: str):
        if self.kind == "graph":
            raise DataError(f"{self.name} is a graph: its vertices are not trained as images")
        labels = np.array(_array(self._folder / f"{part}_labels.npy"))
        if self._source.encoded:
            return EncodedImages(self._source.base(self._folder), [file.name for file in read_files(self._folder)],
                                 _array(self._folder / f"{part}_index.npy"), self.shape[-1]), labels
        return _array(self._folder / f"{part}_images.npy"), labels


def folder(source: Source) -> Path:
    """Where the prepared arrays of `source` are or would be."""
    name, version = source.copy
    inside = Path(*re.split("[:/]", name)) / version
    if os.environ.get("CNN_REPRO_DATA"):
        return Path(os.environ["CNN_REPRO_DATA"]).expanduser() / inside
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cnn_repro"
    if (cache / inside).exists() or _writable(cache):
        return cache / inside
    user = os.getuid() if hasattr(os, "getuid") else "user"          # a read-only home still gets its data
    return Path(tempfile.gettempdir()) / f"cnn_repro-{user}" / inside


def load(name: str, download: bool = False) -> Dataset:
    """The data set `name`, verified; prepared first from what is on disk (or the network, if `download`).

    Raises DataError where it is missing or damaged.
    """
    return Dataset(source(name), prepare(name, download))


def prepare(name: str, download: bool = False, force: bool = False, origin: Path | None = None) -> Manifest:
    """Make the prepared copy of `name` unless it is there; `force` makes it anew. Returns its manifest.

    origin: the file or folder to make it from, for sources that want one. Safe to interrupt and to run twice at
    once: the copy appears whole, by a rename. Raises DataError.
    """
    wanted = source(name)
    if download and not wanted.here() and origin is None:
        wanted.fetch()
        wanted = source(name)
    final = folder(wanted)
    _sweep(final)
    if final.exists() and not force:
        return verify(name)
    temporary = None
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{wanted.copy[1]}."))
        temporary.chmod(0o755)             # mkdtemp makes it 0700; a cache may be shared
        written = wanted.write(temporary, download, origin)
        files, content = _fingerprint(temporary, _files(wanted))
        manifest = {"name": wanted.copy[0], "version": wanted.copy[1], "sha256": content, "splits": wanted.splits,
                    "classes": list(written.get("classes", wanted.classes)), "shape": list(wanted.shape),
                    "files": files, "prepared": now(), "by": written["by"]}
        for file in temporary.iterdir():
            _sync(file)
        write_atomically(temporary / "manifest.json", (json.dumps(manifest, indent=1) + "\n").encode())
        _put_in_place(temporary, final, force)
    except OSError as error:
        at = Path(error.filename or final)
        if final.parent not in (at, *at.parents) and at not in final.parents:
            raise DataError(f"{name}: {error.filename} cannot be read ({error.strerror}); mend that, "
                            f"then run `{_command(name)}`") from None
        raise DataError(f"{name}: cannot write the prepared copy in {final.parent} "
                        f"({error.strerror or error}); free space or set CNN_REPRO_DATA, "
                        f"then run `{_command(name)}`") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return verify(name)


def verify(name: str, whole: bool = False) -> Manifest:
    """Compare every byte of the prepared copy with its manifest. Raises DataError naming the file.

    Of images that stay encoded and have more than 8 GiB, the files' sizes are compared, and their bytes if `whole`.
    """
    wanted = source(name)
    place = folder(wanted)
    if not place.exists():
        raise DataError(f"{name} is not prepared in {place}; run `{_command(name, force=False)}`")
    manifest = _read_manifest(wanted, place)
    if wanted.encoded and not wanted.as_indexed(place):
        raise _damaged(name, wanted.base(place), "it has other images than when it was indexed")
    for file, (shape, dtype) in wanted.arrays().items():
        noted = manifest.files[file]
        if tuple(noted["shape"]) != shape or noted["dtype"] != dtype:
            raise _damaged(name, place / "manifest.json", f"{file.removesuffix('.npy').replace('_', ' ')} are not "
                                                          f"{np.dtype(dtype)} {shape}")
    for file, noted in manifest.files.items():
        path, size = place / file, noted["bytes"]
        if not path.is_file():
            raise _damaged(name, path, "missing")
        if path.stat().st_size != size:
            raise _damaged(name, path, f"{path.stat().st_size} bytes, expected {size}")
    try:
        files, content = _fingerprint(place, _files(wanted))
    except (OSError, ValueError) as error:
        raise _damaged(name, place, str(error)) from None
    for file, noted in manifest.files.items():
        if files[file] != noted:
            raise _damaged(name, place / file, "its sha256 is not the one in the manifest")
    if content != manifest.sha256:
        raise _damaged(name, place / "manifest.json", "the content sha256 does not fit the arrays")
    if wanted.encoded:
        base, hashed = wanted.base(place), {place / file for file in files}
        path, reason = check_files(base, [file for file in read_files(place) if base / file.name not in hashed], whole)
        if path:
            raise _damaged(name, path, reason)
    return manifest


def status() -> list[dict]:
    """A row for each registered data set, as `data list` shows them; nothing is hashed.

    folder: where the prepared copy is or would be; of encoded images that are not prepared yet, where the images are.
    state: "prepared", "damaged" (no readable manifest), "on disk" (can be prepared offline), "to download",
    "to be given" (by --from PATH).
    """
    return [status_of(source(name)) for name in names()]


def status_of(one: Source) -> dict:
    """The row of one source, registered or not."""
    state, place, manifest = "on disk" if one.here() else one.absent, folder(one), None
    if place.exists():
        try:
            manifest, state = _read_manifest(one, place), "prepared"
        except DataError:
            state = "damaged"
    size = sum(path.stat().st_size for path in place.glob("*")) if place.exists() else 0
    if manifest and one.encoded and one.base(place) != place:
        size += sum(file.bytes for file in read_files(place))
    return {"name": one.name, "title": one.title, "version": one.version, "shape": one.shape, "kind": one.kind,
            "classes": len(manifest.classes if manifest else one.classes), "splits": dict(one.splits),
            "citation": one.citation, "state": state, "bytes": size,
            "folder": str(one.base(place) if one.encoded and not place.exists() else place),
            "sha256": manifest.sha256 if manifest else "", "identity": manifest.identity if manifest else ""}


# ---------------------------------------------------------------------------------------------------- details

def _files(wanted: Source) -> list[str]:
    return [*wanted.arrays(), *wanted.other_files]


def _command(name: str, force: bool = True) -> str:
    return shlex.join(["python", "-m", "repro", "data", "prepare", name]) + (" --force" if force else "")


def _damaged(name: str, path: Path, reason: str) -> DataError:
    return DataError(f"{name}: {path} is damaged ({reason}); run `{_command(name)}`")


def _array(path: Path) -> np.ndarray:
    # NumPy maps no empty array
    return np.load(path, mmap_mode="r" if path.stat().st_size > 4096 else None, allow_pickle=False)


def _fingerprint(place: Path, names) -> tuple[dict[str, dict], str]:
    """Each file's shape, dtype, size and sha256, and the content sha256 of them all."""
    files, content = {}, hashlib.sha256()
    for file in names:
        array, noted, head, start = None, {}, f"{file}\n", 0
        size, digest = (place / file).stat().st_size, hashlib.sha256()
        if file.endswith(".npy"):
            array = _array(place / file)
            noted = {"shape": list(array.shape), "dtype": array.dtype.str}
            head = f"{file} {array.dtype.str} {array.shape}\n"
            # an array in C order is the file behind its header; one in Fortran's order is gone through once more
            start = size - array.nbytes if array.flags.c_contiguous else size
        content.update(head.encode())
        with open(place / file, "rb") as opened:
            at = 0
            while block := opened.read(BLOCK):
                digest.update(block)
                content.update(memoryview(block)[max(start - at, 0):])
                at += len(block)
        if array is not None and not array.flags.c_contiguous:
            content.update(np.ascontiguousarray(array).data)
        files[file] = {**noted, "bytes": size, "sha256": digest.hexdigest()}
    return files, content.hexdigest()


def _read_manifest(wanted: Source, place: Path) -> Manifest:
    path = place / "manifest.json"
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        files = {file: read["files"][file] for file in _files(wanted)}
        known = wanted.known.get(read["sha256"])
        found = Manifest(
            read["name"], read["version"], read["sha256"], files, tuple(read.get("classes", wanted.classes)),
            dict(read["splits"]), read["prepared"], read["by"],
            f"known: {known}" if known else "unknown copy: recorded, not refused", place)
        well_formed = all({"bytes", "sha256"} | ({"shape", "dtype"} if file.endswith(".npy") else set())
                          <= set(noted) for file, noted in files.items())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(wanted.name, path, f"not readable as a manifest: {type(error).__name__}") from None
    if not well_formed or (found.name, found.version) != wanted.copy:
        raise _damaged(wanted.name, path, f"not the manifest of {' '.join(wanted.copy)}")
    return found


def _sweep(final: Path) -> None:
    """Remove the temporary folders of killed processes, which nothing was written to for a day; a younger one may be
    that of a process which prepares the same copy now."""
    for left in final.parent.glob(f".{glob.escape(final.name)}.*"):
        try:
            newest = max(path.stat().st_mtime for path in (left, *left.iterdir()))
        except OSError:                    # it went away meanwhile, or is not ours to look into
            continue
        if time.time() - newest > ABANDONED:
            shutil.rmtree(left, ignore_errors=True)


def _put_in_place(temporary: Path, final: Path, force: bool) -> None:
    """Rename the finished folder; where another process was first, its copy stays unless `force`."""
    sync_folder(temporary)
    try:
        os.rename(temporary, final)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        if force:     # file by file: a reader meanwhile finds them all, the same bytes if they were sound
            for file in sorted(temporary.iterdir(), key=lambda file: file.name == "manifest.json"):
                os.replace(file, final / file.name)
            sync_folder(final)
    sync_folder(final.parent)


def _sync(path: Path) -> None:
    with open(path, "rb+") as opened:
        os.fsync(opened.fileno())


def _writable(path: Path) -> bool:
    """Whether `path` can be created or written: its nearest existing ancestor is writable."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path.is_dir() and os.access(path, os.W_OK)

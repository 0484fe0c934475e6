"""Prepared arrays: four .npy files and a manifest in one folder, written once, verified at every use.

They lie in $CNN_REPRO_DATA (else ${XDG_CACHE_HOME:-~/.cache}/cnn_repro) / name / version, and can be read
without TensorFlow. The manifest holds each file's sha256 and one content sha256, which is that of

    for each array:  "<file> <dtype> <shape>\\n"  followed by its bytes in C order

so it names the data and not the way NumPy wrote it down.
"""
import errno
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..record import now, sync_folder, write_atomically
from .sources import FILES, DataError, Source, names, source

DTYPES = {"images": np.dtype("uint8"), "labels": np.dtype("<i8")}


@dataclass(frozen=True)
class Manifest:
    """What lies in a prepared folder."""
    name: str
    version: str
    sha256: str               # content, see above
    files: dict[str, dict]    # file → {"shape", "dtype", "bytes", "sha256"}
    prepared: str             # UTC
    by: str                   # what read the original, with its version
    folder: Path

    @property
    def identity(self) -> str:
        """Which copy this is, as far as its content tells."""
        known = source(self.name).known.get(self.sha256)
        return f"known: {known}" if known else "unknown copy: recorded, not refused"


class Dataset:
    """A verified data set. Training images are at hand; the test set is behind `open_test`, once.

    name, version, classes, shape (H, W, C), enlarge, sha256, identity: as in Source and Manifest.
    """

    def __init__(self, source: Source, manifest: Manifest):
        self.name, self.version, self.classes = source.name, source.version, source.classes
        self.shape, self.enlarge, self.splits = source.shape, source.enlarge, dict(source.splits)
        self.sha256, self.identity = manifest.sha256, manifest.identity
        self._folder, self._opened = manifest.folder, False

    @cached_property
    def train(self) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 (N, H, W, C) and labels int64 (N,), memory-mapped read-only."""
        return _array(self._folder / FILES[0]), _array(self._folder / FILES[1])

    def open_test(self) -> tuple[np.ndarray, np.ndarray]:
        """Test images and labels, once: a second call raises RuntimeError. So they can choose nothing."""
        if self._opened:
            raise RuntimeError(f"{self.name}: the test set is opened once a run")
        self._opened = True
        return _array(self._folder / FILES[2]), _array(self._folder / FILES[3])


def folder(source: Source) -> Path:
    """Where the prepared arrays of `source` are or would be."""
    inside = Path(source.name) / source.version
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


def prepare(name: str, download: bool = False, force: bool = False) -> Manifest:
    """Make the prepared copy of `name` unless it is there; `force` makes it anew. Returns its manifest.

    Safe to interrupt and to run twice at once: the copy appears whole, by a rename. Raises DataError.
    """
    wanted = _kept_as_arrays(name)
    final = folder(wanted)
    if final.exists() and not force:
        return verify(name)
    temporary = None
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{wanted.version}."))
        temporary.chmod(0o755)             # mkdtemp makes it 0700; a cache may be shared
        by = wanted.write(temporary, download)
        files, content = _fingerprint(temporary)
        manifest = {"name": name, "version": wanted.version, "sha256": content, "splits": wanted.splits,
                    "files": files, "prepared": now(), "by": by}
        for file in FILES:
            _sync(temporary / file)
        write_atomically(temporary / "manifest.json", (json.dumps(manifest, indent=1) + "\n").encode())
        _put_in_place(temporary, final, force)
    except OSError as error:
        raise DataError(f"{name}: cannot write the prepared copy in {final.parent} "
                        f"({error.strerror or error}); free space or set CNN_REPRO_DATA, "
                        f"then run `{_command(name)}`") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return verify(name)


def verify(name: str) -> Manifest:
    """Compare every byte of the prepared copy with its manifest. Raises DataError naming the file."""
    wanted = _kept_as_arrays(name)
    place = folder(wanted)
    if not place.exists():
        raise DataError(f"{name} is not prepared in {place}; run `{_command(name, force=False)}`")
    manifest = _read_manifest(wanted, place)
    for part, count in wanted.splits.items():
        for kind, shape in (("images", (count, *wanted.shape)), ("labels", (count,))):
            noted = manifest.files[f"{part}_{kind}.npy"]
            if tuple(noted["shape"]) != shape or noted["dtype"] != DTYPES[kind].str:
                raise _damaged(name, place / "manifest.json", f"{part} {kind} are not {DTYPES[kind]} {shape}")
    for file in FILES:
        path, size = place / file, manifest.files[file]["bytes"]
        if not path.is_file():
            raise _damaged(name, path, "missing")
        if path.stat().st_size != size:
            raise _damaged(name, path, f"{path.stat().st_size} bytes, expected {size}")
    try:
        files, content = _fingerprint(place)
    except (OSError, ValueError) as error:
        raise _damaged(name, place, str(error)) from None
    for file in FILES:
        if files[file] != manifest.files[file]:
            raise _damaged(name, place / file, "its sha256 is not the one in the manifest")
    if content != manifest.sha256:
        raise _damaged(name, place / "manifest.json", "the content sha256 does not fit the arrays")
    return manifest


def status() -> list[dict]:
    """One row a registered data set, for `data list`; nothing is hashed. Of a streamed one the folder is TFDS's.

    state: "prepared", "damaged" (no readable manifest), "on disk" (can be prepared offline), "to download".
    """
    rows = []
    for name in names():
        one = source(name)
        state = "on disk" if one.here() else "to download"
        place, manifest = one.place_or_first() if one.streamed else folder(one), None
        if place.exists() and not one.streamed:
            try:
                manifest, state = _read_manifest(one, place), "prepared"
            except DataError:
                state = "damaged"
        rows.append({"name": name, "title": one.title, "version": one.version, "shape": one.shape,
                     "classes": len(one.classes), "splits": dict(one.splits), "citation": one.citation,
                     "state": state, "folder": str(place), "sha256": manifest.sha256 if manifest else "",
                     "identity": manifest.identity if manifest else ""})
    return rows


# ---------------------------------------------------------------------------------------------------- details

def _kept_as_arrays(name: str) -> Source:
    """The source called `name`. Raises DataError for one that is streamed."""
    wanted = source(name)
    if wanted.streamed:
        wanted.write(Path(), False)                # it says why not
    return wanted


def _command(name: str, force: bool = True) -> str:
    return f"python -m repro data prepare {name}" + (" --force" if force else "")


def _damaged(name: str, path: Path, reason: str) -> DataError:
    return DataError(f"{name}: {path} is damaged ({reason}); run `{_command(name)}`")


def _array(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _fingerprint(place: Path) -> tuple[dict[str, dict], str]:
    """Each file's shape, dtype, size and sha256, and the content sha256 of all four."""
    files, content = {}, hashlib.sha256()
    for file in FILES:
        array = _array(place / file)
        with open(place / file, "rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        files[file] = {"shape": list(array.shape), "dtype": array.dtype.str,
                       "bytes": (place / file).stat().st_size, "sha256": digest}
        content.update(f"{file} {array.dtype.str} {array.shape}\n".encode())
        content.update(np.ascontiguousarray(array).data)
    return files, content.hexdigest()


def _read_manifest(wanted: Source, place: Path) -> Manifest:
    path = place / "manifest.json"
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
        files = {file: read["files"][file] for file in FILES}
        found = Manifest(read["name"], read["version"], read["sha256"], files, read["prepared"], read["by"],
                         place)
        well_formed = all({"shape", "dtype", "bytes", "sha256"} <= set(noted) for noted in files.values())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(wanted.name, path, f"not readable as a manifest: {type(error).__name__}") from None
    if not well_formed or (found.name, found.version) != (wanted.name, wanted.version):
        raise _damaged(wanted.name, path, f"not the manifest of {wanted.name} {wanted.version}")
    return found


def _put_in_place(temporary: Path, final: Path, force: bool) -> None:
    """Rename the finished folder; where another process was first, its copy stays unless `force`."""
    sync_folder(temporary)
    try:
        os.rename(temporary, final)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        if force:     # file by file: a reader meanwhile finds them all, the same bytes if they were sound
            for file in (*FILES, "manifest.json"):
                os.replace(temporary / file, final / file)
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

"""Images that stay JPEG or PNG files: random access to them where they lie, by an index that was made once.

A prepared copy of such data is no copy of the images. It holds, for each part, {part}_index.npy, int64 (N, 3): the
file's number, the offset and the length of each encoded image; {part}_labels.npy; and files.txt, a line for each file,
[sha256, bytes, name]. So a flipped bit, a file cut at a record's boundary and a missing one are found before the first
step, and no TensorFlow is needed to read.
"""
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .sources import LARGEST_ARRAYS, DataError, OfTFDS, Source, ask_tfds, register, tfds_root

FILES_LIST = "files.txt"


class File(NamedTuple):
    """One line of files.txt; `name` begins at the source's base folder."""
    sha256: str
    bytes: int
    name: str


class EncodedImages:
    """N encoded images, read in any order from any thread or process; nothing is kept open.

    base: the folder that `files` begin at. index: int64 (N, 3), see above. channels: 3 (RGB) or 1 (grey).
    """

    def __init__(self, base: Path, files: Sequence[str], index: np.ndarray, channels: int = 3):
        self.base, self.files, self.index = Path(base), list(files), index
        self.mode = {1: "L", 3: "RGB"}[channels]

    def __len__(self) -> int:
        return len(self.index)

    def read(self, i: int) -> bytes:
        """The file of image i as it is stored. Raises DataError where it cannot be read."""
        number, offset, length = (int(value) for value in self.index[i])
        path = self.base / self.files[number]
        try:
            with open(path, "rb", buffering=0) as file:
                file.seek(offset)
                content = file.read(length)
        except OSError as error:
            raise DataError(f"image {i} cannot be read from {path} ({error.strerror or error}); "
                            "run `python -m repro data verify`") from None
        if len(content) != length:
            raise DataError(f"image {i} in {path} ends early; run `python -m repro data verify`")
        return content

    def decode(self, i: int) -> np.ndarray:
        """Image i, uint8 (h, w, C), of its own size; grey, CMYK and palettes become RGB. Raises DataError."""
        from PIL import Image
        content = self.read(i)
        try:
            with Image.open(io.BytesIO(content)) as opened:
                image = np.asarray(opened.convert(self.mode))
        except Exception as error:                          # Pillow's readers of damaged files raise all sorts
            raise self.damaged(i, error) from None
        return image if image.ndim == 3 else image[..., np.newaxis]

    def damaged(self, i: int, error: Exception) -> DataError:
        """What is raised where the decoder raised `error`: one line that names image i and its file."""
        path, line = self.base / self.files[int(self.index[i][0])], " ".join(str(error).split())
        return DataError(f"image {i} in {path} cannot be decoded ({line or type(error).__name__})")


class Encoded(Source):
    """A source whose images stay encoded."""
    encoded = True
    other_files = (FILES_LIST,)

    def arrays(self) -> dict[str, tuple[tuple[int, ...], str]]:
        found = {}
        for part, count in self.splits.items():
            found[f"{part}_index.npy"] = (count, 3), "<i8"
            found[f"{part}_labels.npy"] = (count,), "<i8"
        return found

    def as_indexed(self, prepared: Path) -> bool:
        """Whether the files that are there now are those that were indexed, as far as their names tell.

        Raises DataError where none are there."""
        return True


def write_files(prepared: Path, base: Path, names: Iterable[str]) -> None:
    """Write files.txt: the size and sha256 of each file of `names`. Raises OSError."""
    with open(prepared / FILES_LIST, "w", encoding="ascii") as listing:
        for name in names:
            with open(base / name, "rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
                listing.write(json.dumps([digest, opened.tell(), name]) + "\n")


def read_files(prepared: Path) -> list[File]:
    """The lines of files.txt."""
    with open(prepared / FILES_LIST, encoding="ascii") as listing:
        # one call for all lines: ImageNet's files as a folder are 1.3 million
        return list(map(File._make, json.loads(f"[{','.join(listing)}]")))


def check_files(base: Path, files: list[File], whole: bool) -> tuple[Path | None, str]:
    """(path, reason) of the first file that is not as listed, or (None, "").

    Above 8 GiB only the sizes are compared, and the bytes if `whole`.
    """
    whole = whole or sum(file.bytes for file in files) <= LARGEST_ARRAYS
    for file in files:
        path = base / file.name
        try:
            size = path.stat().st_size
            if size != file.bytes:
                return path, f"{size} bytes, expected {file.bytes}"
            if whole:
                with open(path, "rb") as opened:
                    if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                        return path, "its sha256 is not the one it was indexed with"
        except FileNotFoundError:
            return path, "missing"
        except OSError as error:
            return path, error.strerror or str(error)
    return None, ""


@dataclass(frozen=True)
class EncodedTFDS(Encoded, OfTFDS):
    """A data set of TensorFlow Datasets whose encoded images are read out of its shards."""
    get: str = ""

    def base(self, prepared: Path) -> Path:
        return self.tfds_folder()

    def missing(self) -> str:
        """What a user is told where nothing is here."""
        get = self.get or f"with a network, run `python -m repro data prepare {self.name}`"
        return f"{self.name} is not here: nothing in {self.tfds_folder()}; {get}; a copy elsewhere: set TFDS_DATA_DIR"

    def download(self) -> None:
        """Let TFDS fetch and prepare its own copy. Raises DataError."""
        ask_tfds(self._request("download") | {"download_from": self.download_from})

    def write(self, folder: Path, download: bool, origin: Path | None = None) -> dict:
        self.refuse(origin)
        if download and not self.here() and self.download_from:
            self.download()
        if not self.here():
            raise DataError(self.missing())
        place = self.tfds_folder()
        self.check_classes(class_names(place))
        parts = {part: shards(self.name, place, name) if self.splits[part] else []
                 for part, name in zip(("train", "test"), self.parts)}
        files = sorted({file for listed in parts.values() for file, _ in listed})
        for file in files:
            if not (place / file).is_file():
                raise DataError(f"{self.name}: the TFDS copy in {place} is damaged ({file} is missing); "
                                f"move it away and run `python -m repro data prepare {self.name}`")
        answer = ask_tfds(self._request("index") | {
            "folder": str(folder), "files": files, "splits": self.splits, "parts": parts,
            "classes": list(self.classes)})
        write_files(folder, place, files)
        return answer

    def as_indexed(self, prepared: Path) -> bool:
        if not self.here():
            raise DataError(self.missing())
        return True

    def check_classes(self, names: list[str]) -> None:
        """Raises DataError where the copy's labels mean other classes."""

    def _request(self, task: str) -> dict:
        place = self.tfds_folder()
        return {"task": task, "name": self.name, "tfds": place.parent.relative_to(tfds_root()).as_posix(),
                "version": place.name, "root": str(tfds_root()), "place": str(place), "download_from": "",
                "get": self.get}


def class_names(place: Path) -> list[str]:
    """The labels' names in a TFDS copy; none where they are numbers."""
    listed = place / "label.labels.txt"
    return listed.read_text(encoding="utf-8").split("\n")[:-1] if listed.is_file() else []


def tfds_json(name: str, path: Path) -> dict:
    """A JSON file of a TFDS copy. Raises DataError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: {path} cannot be read ({type(error).__name__}); move the TFDS copy away and run "
                        f"`python -m repro data prepare {name}`") from None


def shards(name: str, place: Path, part: str) -> list[tuple[str, int]]:
    """(file, records) of each shard of one part of a TFDS copy. Raises DataError for a part that it has not."""
    info = tfds_json(name, place / "dataset_info.json")
    split = next((split for split in info.get("splits", ()) if split["name"] == part), None)
    if split is None or info.get("fileFormat", "tfrecord") != "tfrecord":
        raise DataError(f"{name}: the TFDS copy in {place} has no part {part!r} of TFRecord files; "
                        f"move it away and run `python -m repro data prepare {name}`")
    lengths = [int(length) for length in split["shardLengths"]]
    template = split.get("filepathTemplate") or "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    for key, value in (("DATASET", info["name"]), ("SPLIT", part), ("FILEFORMAT", "tfrecord")):
        template = template.replace(f"{{{key}}}", value)
    return [(Path(template.replace("{SHARD_X_OF_Y}", f"{number:05d}-of-{len(lengths):05d}")).name, length)
            for number, length in enumerate(lengths)]


register(EncodedTFDS(           # 15.7 GB as arrays
    name="imagenet_resized/64x64", title="Downsampled ImageNet, 64×64", version="0.1.0",
    classes=tuple(map(str, range(1000))), shape=(64, 64, 3), splits={"train": 1_281_167, "test": 50_000},
    enlarge="resize", citation="Chrabaszcz, Loshchilov and Hutter, A Downsampled Variant of ImageNet as an Alternative "
    "to the CIFAR datasets, arXiv:1707.08819, 2017; ImageNet's terms",
    download_from="http://www.image-net.org", tfds_name="imagenet_resized/64x64", parts=("train", "validation")))

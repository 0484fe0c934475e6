"""Data sets that come as one archive with a known checksum: Tiny-ImageNet-200 (a zip), Imagewoof (a .tgz).

    python -m repro data prepare tiny_imagenet                      # downloads 248 MB
    python -m repro data prepare tiny_imagenet --from FILE.zip      # or the folder that it was unpacked to

An archive is compared with its MD5 sum before it is opened, and only its images are taken out, none by its own path.
"""
import hashlib
import io
import tarfile
import urllib.request
import zipfile
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from .encoded import Encoded, write_files
from .sources import DataError, Source, register

LARGEST_IMAGE = 64 * 2**20        # bytes; no photograph of these data sets comes near


@dataclass(frozen=True)
class Archive(Source):
    """A source with one archive. md5: of the file; size: its bytes where they are known."""
    url: str = ""
    md5: str = ""
    size: int = 0

    def here(self) -> bool:
        return False

    def write(self, folder: Path, download: bool, origin: Path | None = None) -> dict:
        command = f"`python -m repro data prepare {self.name}"
        if origin is None and not download:
            raise DataError(f"{self.name} is not here: with a network, run {command}`; "
                            f"from a file, {command} --from FILE`")
        fetched = None
        try:
            if origin is None:
                origin = fetched = folder / "archive"
                self._download(fetched)
            origin = Path(origin).expanduser()
            if not origin.exists():
                raise DataError(f"{self.name}: {origin}: no such file or folder")
            if origin.is_file():
                self._check(origin, command)
            answer = self.unpack(folder, origin)
        except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
            raise DataError(f"{self.name}: {origin} is damaged ({error}); run {command}`") from None
        finally:
            if fetched is not None:
                fetched.unlink(missing_ok=True)
        return {**answer, "by": f"{'the unpacked folder' if origin.is_dir() else 'the archive with MD5 ' + self.md5}"}

    @abstractmethod
    def unpack(self, folder: Path, origin: Path) -> dict:
        """Write the files of the prepared copy; returns what `write` does, less "by"."""

    def _download(self, target: Path) -> None:
        again = (f"with a network, run `python -m repro data prepare {self.name}`; "
                 f"from a file, add --from FILE ({self.url})")
        try:
            answer = urllib.request.urlopen(self.url, timeout=60)
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise DataError(f"{self.name}: no answer from {self.url} ({reason}); {again}") from None
        with answer, open(target, "wb") as file:
            while True:
                try:
                    block = answer.read(1 << 20)
                except OSError as error:
                    raise DataError(f"{self.name}: the download of {self.url} broke off ({error}); {again}") from None
                if not block:
                    return
                file.write(block)

    def _check(self, path: Path, command: str) -> None:
        with open(path, "rb") as opened:
            found = hashlib.file_digest(opened, "md5").hexdigest()
        if found != self.md5:
            size = f", {path.stat().st_size:,} bytes of {self.size:,}" if self.size else ""
            raise DataError(f"{self.name}: {path} is not {self.url} (MD5 {found}, expected {self.md5}{size}); "
                            f"fetch it again and run {command} --from FILE`")

    def _short(self, origin: Path, part: str, count: int) -> DataError:
        return DataError(f"{self.name}: {origin} is damaged ({part}: {count:,} images, expected {self.splits[part]:,}); "
                         f"fetch it again and run `python -m repro data prepare {self.name} --from FILE`")


class TinyImageNet(Archive):
    """200 classes of ImageNet at 64×64, written as arrays; the official validation part is the test part, because the
    labels of the official test part were never given away. Greyscale images become RGB. Classes are numbered in the
    order of their synsets' names, and named by the first word that words.txt has for them.

    The zip holds tiny-imagenet-200/wnids.txt, words.txt, train/SYNSET/images/*.JPEG, val/images/*.JPEG and
    val/val_annotations.txt (file, synset and a box, between tabs).
    """

    def unpack(self, folder: Path, origin: Path) -> dict:
        with _members(origin, "tiny-imagenet-200") as (names, read):
            try:
                synsets = sorted(read("wnids.txt").decode().split())
                words = dict(line.split("\t")[:2] for line in read("words.txt").decode().splitlines() if "\t" in line)
                annotated = dict(line.split("\t")[:2] for line in read("val/val_annotations.txt").decode().splitlines())
            except (KeyError, ValueError, FileNotFoundError) as error:
                raise DataError(f"{self.name}: {origin} is not Tiny-ImageNet-200 ({error})") from None
            number = {synset: label for label, synset in enumerate(synsets)}
            listed = {"train": [(name, name.split("/")[1]) for name in names
                                if name.startswith("train/") and name.endswith(".JPEG")],
                      "test": [(name, annotated.get(name.rpartition("/")[2])) for name in names
                               if name.startswith("val/images/") and name.endswith(".JPEG")]}
            for part, images in listed.items():
                strange = next((name for name, synset in images if synset not in number), None)
                if strange:
                    raise DataError(f"{self.name}: {origin} is damaged (no class for {strange})")
                if len(images) != self.splits[part]:
                    raise self._short(origin, part, len(images))
                self._write(folder, part, [(read, name, number[synset]) for name, synset in images])
        return {"classes": [words.get(synset, synset).split(",")[0] for synset in synsets]}

    def _write(self, folder: Path, part: str, images: list[tuple[Callable, str, int]]) -> None:
        from PIL import Image
        with open(folder / f"{part}_images.npy", "wb") as file:        # a gigabyte, not by way of the memory
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": (len(images), *self.shape)})
            for read, name, _ in images:
                try:
                    with Image.open(io.BytesIO(read(name))) as opened:
                        image = np.asarray(opened.convert("RGB"))
                except Exception as error:                  # Pillow's readers of damaged files raise all sorts
                    raise DataError(f"{self.name}: {name} cannot be decoded ({error})") from None
                if image.shape != self.shape:
                    raise DataError(f"{self.name}: {name} is {image.shape[0]}×{image.shape[1]}, expected 64×64")
                file.write(image.tobytes())
        np.save(folder / f"{part}_labels.npy", np.array([label for *_, label in images], np.int64))


@dataclass(frozen=True)
class Packed(Encoded, Archive):
    """The JPEG files of an archive, in one file of the prepared folder. synsets: the names of the classes' folders,
    in their order; `top`: the archive's own folder, with train/SYNSET/*.JPEG and val/SYNSET/*.JPEG."""
    top: str = ""
    synsets: tuple[str, ...] = ()
    other_files = ("images.bin", *Encoded.other_files)

    def unpack(self, folder: Path, origin: Path) -> dict:
        rows, offset, arrived = {"train": [], "test": []}, 0, folder / "arrived.bin"
        with open(arrived, "wb") as packed:
            for name, content in _contents(origin, self.top):
                part, _, rest = name.partition("/")
                synset, _, file = rest.partition("/")
                if part not in ("train", "val") or "/" in file or not file.endswith(".JPEG"):
                    continue
                if synset not in self.synsets:
                    raise DataError(f"{self.name}: {origin} has a class {synset!r} that is none of its own")
                rows["test" if part == "val" else "train"].append(
                    (name, offset, len(content), self.synsets.index(synset)))
                offset += packed.write(content)
        # by name, whatever order the archive has: the unpacked folder gives the same bytes
        with open(arrived, "rb") as unsorted, open(folder / "images.bin", "wb") as packed:
            for part, images in rows.items():
                if len(images) != self.splits[part]:
                    raise self._short(origin, part, len(images))
                index = np.zeros((len(images), 3), np.int64)
                for row, (_, offset, length, _) in enumerate(sorted(images)):
                    unsorted.seek(offset)
                    index[row] = 0, packed.tell(), packed.write(unsorted.read(length))
                np.save(folder / f"{part}_index.npy", index)
                np.save(folder / f"{part}_labels.npy", np.array([image[3] for image in sorted(images)], np.int64))
        arrived.unlink()
        write_files(folder, folder, ["images.bin"])
        return {}


@contextmanager
def _members(origin: Path, top: str) -> Iterator[tuple[list[str], Callable[[str], bytes]]]:
    """The sorted names below `top` of a zip or an unpacked folder, and the function that reads one."""
    if origin.is_dir():
        base = origin / top if (origin / top).is_dir() else origin
        yield (sorted(path.relative_to(base).as_posix() for path in base.rglob("*") if path.is_file()),
               lambda name: (base / name).read_bytes())
        return
    with zipfile.ZipFile(origin) as archive:
        sizes = {info.filename.removeprefix(f"{top}/"): info.file_size for info in archive.infolist()}

        def read(name):
            if sizes[name] > LARGEST_IMAGE:
                raise DataError(f"{origin}: {name} would be {sizes[name]:,} bytes unpacked")
            return archive.read(f"{top}/{name}")
        yield sorted(sizes), read


def _contents(origin: Path, top: str) -> Iterable[tuple[str, bytes]]:
    """(name below `top`, content) of each image of a .tgz, in its order, or of an unpacked folder."""
    if origin.is_dir():
        with _members(origin, top) as (names, read):
            yield from ((name, read(name)) for name in names if name.endswith(".JPEG"))
        return
    with tarfile.open(origin, "r|gz") as archive:
        for member in archive:
            if member.isfile() and member.size <= LARGEST_IMAGE:
                yield PurePosixPath(member.name).as_posix().removeprefix(f"{top}/"), archive.extractfile(member).read()


register(TinyImageNet(
    name="tiny_imagenet", title="Tiny-ImageNet-200, 64×64", version="1.0.0", classes=tuple(map(str, range(200))),
    shape=(64, 64, 3), splits={"train": 100_000, "test": 10_000}, enlarge="resize",
    citation="Le and Yang, Tiny ImageNet Visual Recognition Challenge, Stanford CS 231N, 2015; ImageNet's terms",
    url="http://cs231n.stanford.edu/tiny-imagenet-200.zip", md5="90528d7ca1a48142e341f4ef8d21d0de", size=248_100_043))

WOOF = (
    ("n02086240", "Shih-Tzu"), ("n02087394", "Rhodesian ridgeback"), ("n02088364", "beagle"),
    ("n02089973", "English foxhound"), ("n02093754", "Border terrier"), ("n02096294", "Australian terrier"),
    ("n02099601", "golden retriever"), ("n02105641", "Old English sheepdog"), ("n02111889", "Samoyed"),
    ("n02115641", "dingo"),
)
for name, file, md5 in (("imagewoof", "imagewoof2", "5eaf5bbf4bf16a77c616dc6e8dd5f8e9"),
                        ("imagewoof/160px", "imagewoof2-160", "3d200a7be99704a0d7509be2a9fbfe15")):
    register(Packed(
        name=name, title="Imagewoof, ten breeds of dogs of ImageNet" + (", 160 px" if "/" in name else ""), version="2",
        classes=tuple(word for _, word in WOOF), synsets=tuple(synset for synset, _ in WOOF), shape=(None, None, 3),
        splits={"train": 9025, "test": 3929}, enlarge="resize",
        citation="Howard, Imagenette and Imagewoof, github.com/fastai/imagenette, 2019; ImageNet's terms",
        url=f"https://s3.amazonaws.com/fast-ai-imageclas/{file}.tgz", md5=md5, top=file))

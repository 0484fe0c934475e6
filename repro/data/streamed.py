"""Classes of ImageNet in TFDS's files: trained on by an index (encoded.py), or read once, one after the other.

    found = source("imagenette")                    # or one of its sizes: "imagenette/160px-v2"
    for jpeg, label in found.records(images=100):   # bytes of a JPEG file, int
        ...
"""
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .encoded import EncodedTFDS
from .sources import DataError, register, tfds_root
from .tfds_stream import HEAD

CHILD = Path(__file__).with_name("tfds_stream.py")


@dataclass(frozen=True)
class Streamed(EncodedTFDS):
    """A data set of classes of ImageNet, whose `records` are read by a process of its own (see sources.FromTFDS for why).

    imagenet: the index among ImageNet's thousand classes of each of its own. synsets: their names in TFDS's files,
    in order. configs: its sizes, the best first; the first that is here is read.
    """
    imagenet: tuple[int, ...] = ()
    synsets: tuple[str, ...] = ()
    configs: tuple[str, ...] = ("",)
    versions: tuple[str, ...] = ()
    parts: tuple[str, str] = ("train", "validation")
    remark: str = ""                        # what to know of a figure measured on it

    streamed = True

    def with_config(self, config: str) -> "Streamed":
        """Of one size only. Raises DataError for one that there is not."""
        if config not in self.configs or not config:
            raise DataError(f"{self.name} has no size {config!r} (there are {', '.join(filter(None, self.configs))})")
        return dataclasses.replace(self, name=f"{self.name}/{config}", configs=(config,))

    def places(self) -> list[Path]:
        """The folders that TFDS would keep it in, the best first."""
        return [tfds_root() / self.tfds_name / config / version for config in self.configs for version in self.versions]

    def tfds_folder(self) -> Path:
        """The folder that is read, or where the best size would be."""
        return next((place for place in self.places() if (place / "dataset_info.json").is_file()), self.places()[0])

    @property
    def copy(self) -> tuple[str, str]:
        """The size that is read, and its version."""
        place = self.tfds_folder()
        return place.parent.relative_to(tfds_root()).as_posix(), place.name

    def version_read(self) -> str:
        name, version = self.copy
        config = name.removeprefix(self.tfds_name).strip("/")
        return f"{version} {config}".strip()

    def missing(self) -> str:
        return (f"{self.name} is not here: nothing in {', '.join(map(str, self.places()[:1]))}"
                f"{' …' if len(self.places()) > 1 else ''}; {self.get}; a copy elsewhere: set TFDS_DATA_DIR")

    def place(self) -> Path:
        """The folder that is read. Raises DataError where there is none."""
        if not self.here():
            raise DataError(self.missing())
        return self.tfds_folder()

    def place_name(self) -> str:
        """What is read, as TFDS calls it: imagenette/160px-v2. Raises DataError."""
        config = self.place().parent.name
        return f"{self.tfds_name}/{config}" if config in self.configs else self.tfds_name

    def records(self, images: int | None = None) -> Iterator[tuple[bytes, int]]:
        """(JPEG file, label) of the test part, the first `images` or all, in the order of TFDS's files.

        Raises DataError where the copy is missing, damaged, short, or numbers other classes.
        """
        place, wanted = self.place(), self.splits["test"] if images is None else min(images, self.splits["test"])
        request = {"place": str(place), "split": self.parts[1], "images": -1 if images is None else wanted}
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONUTF8": "1"}
        with tempfile.TemporaryFile() as said, subprocess.Popen(
                [sys.executable, "-P", str(CHILD), json.dumps(request)], stdout=subprocess.PIPE, stderr=said,
                env=environment) as child:
            try:
                names, label, count = None, -1, 0
                while names is None or label != -1:         # −1: a message, the first and the last
                    label, content = self._next(child.stdout, said)
                    if label != -1:
                        count += 1
                        yield content, label
                    elif "error" in json.loads(content):
                        raise DataError(f"{self.name}: {json.loads(content)['error']}")
                    elif names is None:
                        names, label = json.loads(content)["names"], 0
                        self.check_classes(names)
                if count != wanted:         # records cut at a boundary read short without an error
                    raise DataError(f"{self.name}: the TFDS copy in {place} is damaged ({count:,} images, expected "
                                    f"{wanted:,})")
            finally:
                child.kill()

    def check_classes(self, names: list[str]) -> None:
        """ImageNet's classes are numbered in the order of their synsets' names."""
        right = list(self.synsets) == names if self.synsets else len(names) == 1000 and names == sorted(names)
        if not right:
            raise DataError(f"{self.name}: the classes of the TFDS copy in {self.place()} are not "
                            f"{len(self.imagenet):,} of ImageNet's in their order")

    def _next(self, stream, said) -> tuple[int, bytes]:
        """(label, content) of what the child sends; what it said last where it sends no more."""
        head = stream.read(HEAD.size)
        if len(head) == HEAD.size:
            label, length = HEAD.unpack(head)
            content = stream.read(length)
            if len(content) == length:
                return label, content
        said.seek(0)
        last = (said.read().decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise DataError(f"{self.name}: the reading process ended early ({last[:200]})")


# The ten classes by their synsets, and where these stand among the thousand: both from TFDS's lists (imagenette's and
# imagenet2012's labels), whose order, that of the synsets' names, is the one that Keras and torchvision have too.
IMAGENETTE = (
    ("n01440764", 0, "tench"), ("n02102040", 217, "English springer"), ("n02979186", 482, "cassette player"),
    ("n03000684", 491, "chain saw"), ("n03028079", 497, "church"), ("n03394916", 566, "French horn"),
    ("n03417042", 569, "garbage truck"), ("n03425413", 571, "gas pump"), ("n03445777", 574, "golf ball"),
    ("n03888257", 701, "parachute"),
)

ON_APPLICATION = "its archives are had from image-net.org on application, then run `tfds build {}`"

register(Streamed(
    name="imagenette", title="Imagenette, ten classes of ImageNet", version="1.0.0 (v2)",
    classes=tuple(name for _, _, name in IMAGENETTE), shape=(None, None, 3), splits={"train": 9469, "test": 3925},
    enlarge="resize", citation="Howard, Imagenette, github.com/fastai/imagenette, 2019; ImageNet's terms",
    imagenet=tuple(index for _, index, _ in IMAGENETTE), synsets=tuple(synset for synset, _, _ in IMAGENETTE),
    tfds_name="imagenette", configs=("full-size-v2", "320px-v2", "160px-v2"), versions=("1.0.0",),
    get="with a network, run `tfds build imagenette/full-size-v2` (1.5 GB; or 320px-v2, 160px-v2)",
    download_from="https://s3.amazonaws.com",
    remark="most of its images are ImageNet's training images, which these weights may have seen"))

THOUSAND = dict(classes=tuple(map(str, range(1000))), imagenet=tuple(range(1000)), shape=(None, None, 3),
                enlarge="resize")

register(Streamed(
    name="imagenet", title="ImageNet (ILSVRC 2012)", version="5.1.0", splits={"train": 1_281_167, "test": 50_000},
    citation="Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, 2015; for research, on "
             "ImageNet's terms",
    tfds_name="imagenet2012", versions=("5.1.0", "5.0.0"), get=ON_APPLICATION.format("imagenet2012"), **THOUSAND))

for size, images in (("1pct", 12_811), ("10pct", 128_116)):         # the lists of SimCLR's authors
    register(Streamed(
        name=f"imagenet2012_subset/{size}", title=f"ImageNet, {size.removesuffix('pct')} % of the training images",
        version="5.0.0", splits={"train": images, "test": 50_000},
        citation="Chen et al., A Simple Framework for Contrastive Learning of Visual Representations, "
                 "arXiv:2002.05709, 2020; ImageNet's terms",
        tfds_name="imagenet2012_subset", configs=(size,), versions=("5.0.0",),
        get=ON_APPLICATION.format(f"imagenet2012_subset/{size}"), **THOUSAND))

register(Streamed(
    name="imagenet_v2", title="ImageNetV2, another test set for ImageNet", version="3.0.0",
    splits={"train": 0, "test": 10_000}, parts=("train", "test"),
    citation="Recht et al., Do ImageNet Classifiers Generalize to ImageNet?, arXiv:1902.10811, 2019; ImageNet's terms",
    tfds_name="imagenet_v2", configs=("matched-frequency", "threshold-0.7", "topimages"), versions=("3.0.0", "2.0.0"),
    get="with a network, run `tfds build imagenet_v2/matched-frequency`", download_from="https://huggingface.co",
    **THOUSAND))

"""The data sets that the suite knows, and how the arrays of each are obtained.

A source writes four files into a folder: train_images.npy, train_labels.npy, test_images.npy, test_labels.npy
(images uint8 (N, H, W, C), labels int64 (N,)), always in the same order. `prepared.py` does the rest:
checksums, the atomic rename, memory-mapping. Another data set is one more `register(...)`; another kind of
source one more subclass: encoded.py has those that stay JPEG or PNG, cora.py a graph, moving_digits.py videos.
"""
import difflib
import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

FILES = ("train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy")
TFDS_READER = Path(__file__).with_name("tfds_reader.py")
LARGEST_ARRAYS = 8 * 2**30        # bytes; what would need more as arrays stays encoded


class DataError(ValueError):
    """Data that is missing, damaged or wrongly asked for; the text is one line and says what mends it."""


@dataclass(frozen=True)
class Source(ABC):
    """What is known of a data set before it is here."""
    name: str
    title: str
    version: str
    classes: tuple[str, ...]
    shape: tuple[int | None, ...]     # H, W, C of an image, (None, None, C) of many sizes; T, H, W, C of a video
    splits: dict[str, int]            # images in "train" and "test"
    enlarge: str                      # how it reaches a larger network input: "pad" or "resize" (see fit_to)
    citation: str
    known: dict[str, str] = field(default_factory=dict)      # content sha256 → which copy that is

    kind = "images"                   # or "videos", "graph"
    encoded = False                   # images stay JPEG or PNG files (encoded.py)
    streamed = False                  # the test images can also be read one after the other (streamed.py)
    absent = "to download"            # its state where it is not here
    other_files = ()                  # of a prepared copy, beside its arrays
    get = ""                          # what to do where it is not here, if `data prepare NAME` is not enough

    @property
    def copy(self) -> tuple[str, str]:
        """Name and version of the copy that is prepared: one name may stand for several sizes."""
        return self.name, self.version

    def version_read(self) -> str:
        """The version, and where one name stands for several sizes which of them."""
        return self.version

    def arrays(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """File → (shape, dtype) of every array of a prepared copy, in the order of the content sha256."""
        found = {}
        for part, count in self.splits.items():
            found[f"{part}_images.npy"] = (count, *self.shape), "|u1"
            found[f"{part}_labels.npy"] = (count,), "<i8"
        return found

    def base(self, prepared: Path) -> Path:
        """The folder that the file names of an encoded copy begin at; `prepared`: that of the copy."""
        return prepared

    @abstractmethod
    def here(self) -> bool:
        """Whether `write` can do its work without a download."""

    @abstractmethod
    def write(self, folder: Path, download: bool, origin: Path | None = None) -> dict:
        """Write the files into `folder`; returns {"by": what produced them} and, of sources that learn them from
        the data, "classes". origin: a file or folder that the user names. Raises DataError."""

    def fetch(self) -> None:
        """Bring what must be here before anything is known of it (see tfds_any.py)."""

    def refuse(self, origin: Path | None) -> None:
        """For sources that know where their data is. Raises DataError if the user named another place."""
        if origin is not None:
            raise DataError(f"{self.name} is not prepared from a file: leave --from {origin} out")


class Digits(Source):
    """The digits that come inside scikit-learn: nothing to download.

    The 1,797 images are the test file of UCI's "Optical Recognition of Handwritten Digits". About every
    130 images 0 to 9 stands there three times in a row, as where another person begins to write; so the split
    cuts the file in its order: hardly a writer is on both sides, which a shuffle would not give.
    """

    def here(self) -> bool:
        return True

    def write(self, folder: Path, download: bool, origin: Path | None = None) -> dict:
        self.refuse(origin)
        import sklearn
        from sklearn.datasets import load_digits
        digits = load_digits()
        images = np.rint(digits.images[..., np.newaxis] * (255 / 16)).astype(np.uint8)     # 0..16 → 0..255
        labels = digits.target.astype(np.int64)
        cut = self.splits["train"]
        for name, array in zip(FILES, (images[:cut], labels[:cut], images[cut:], labels[cut:])):
            np.save(folder / name, array)
        return {"by": f"scikit-learn {sklearn.__version__}"}


@dataclass(frozen=True)
class OfTFDS(Source):
    """A data set of which TensorFlow Datasets keeps its own copy."""
    download_from: str = ""           # the host that TFDS fetches from
    tfds_name: str = ""               # NAME or NAME/CONFIG where TFDS calls it otherwise
    parts: tuple[str, str] = ("train", "test")          # TFDS's names of the training and of the test part

    def here(self) -> bool:
        return (self.tfds_folder() / "dataset_info.json").is_file()

    def tfds_folder(self) -> Path:
        """The folder of the copy that is read, or where it would be: below TFDS_DATA_DIR, or TFDS's own default."""
        return tfds_root() / (self.tfds_name or self.name) / self.version


@dataclass(frozen=True)
class FromTFDS(OfTFDS):
    """A data set of TensorFlow Datasets as arrays, read in a process of its own (tfds_reader.py).

    A process of its own, because reading starts TensorFlow: done here it would take the GPU's memory from a
    JAX run and make a distribution strategy created afterwards fail.
    """

    def write(self, folder: Path, download: bool, origin: Path | None = None) -> dict:
        self.refuse(origin)
        place, name = self.tfds_folder(), self.tfds_name or self.name
        if not download and not self.here():
            others = sorted(path.parent.name for path in place.parent.glob("*/dataset_info.json"))
            found = f" (only version {', '.join(others)}; {self.version} is needed)" if others else ""
            raise DataError(
                f"{self.name} is not here: no prepared copy in {folder.parent / self.version} and TFDS does "
                f"not find it in {tfds_root()}{found}; with a network, run "
                f"`python -m repro data prepare {self.name}`; a copy elsewhere: set TFDS_DATA_DIR")
        return ask_tfds({
            "task": "arrays", "name": self.name, "tfds": name, "version": self.version, "folder": str(folder),
            "place": str(place), "root": str(tfds_root()), "get": self.get,
            "download_from": "" if self.here() else self.download_from,
            "splits": self.splits, "parts": dict(zip(("train", "test"), self.parts)), "shape": self.shape,
            "classes": list(self.classes)})


def tfds_root() -> Path:
    """The folder of TFDS's copies: TFDS_DATA_DIR, or TFDS's own default."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def ask_tfds(request: dict) -> dict:
    """Run tfds_reader.py and return its answer. Raises DataError with its one line."""
    # a download shows TFDS's progress bar on a terminal; other chatter is kept for a failure's last line
    watched = bool(request["download_from"]) and sys.stderr.isatty()
    child = subprocess.run(
        [sys.executable, "-P", str(TFDS_READER), json.dumps(request)],
        stdout=subprocess.PIPE, stderr=None if watched else subprocess.PIPE, encoding="utf-8", errors="replace",
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONUTF8": "1"})
    try:
        answer = json.loads((child.stdout or "").strip().splitlines()[-1])
    except (IndexError, ValueError):
        last = ((child.stderr or "").strip().splitlines() or ["no message"])[-1]
        answer = {"error": f"the reading process ended with code {child.returncode} ({last[:200]})"}
    if "error" in answer:
        raise DataError(f"{request['name']}: {answer['error']}")
    return answer


_SOURCES: dict[str, Source] = {}
_SCHEMES = {}                     # "folder" → the function that makes the source of folder:PATH


def register(source: Source) -> Source:
    """Make a source available by its name. Raises DataError if the name is taken."""
    if source.name in _SOURCES:
        raise DataError(f"data set {source.name!r} is registered twice")
    _SOURCES[source.name] = source
    return source


def scheme(prefix: str):
    """Decorator: the function makes the sources called PREFIX:… of what stands behind the colon."""
    def keep(make):
        _SCHEMES[prefix] = make
        return make
    return keep


def names() -> list[str]:
    """The names of all registered data sets, in the order of registration."""
    return list(_SOURCES)


def source(name: str) -> Source:
    """The source called `name`, NAME/SIZE of a streamed one, or folder:PATH, tfds:NAME[/CONFIG][:VERSION].

    Raises DataError naming the nearest one.
    """
    prefix, colon, rest = str(name).partition(":")
    if colon and prefix in _SCHEMES:
        return _SCHEMES[prefix](rest)
    if name in _SOURCES:
        return _SOURCES[name]
    whole, slash, config = str(name).partition("/")
    if slash and whole in _SOURCES and _SOURCES[whole].streamed:
        return _SOURCES[whole].with_config(config)
    near = difflib.get_close_matches(str(name), _SOURCES, n=1)
    hint = f", did you mean {near[0]!r}?" if near else ""
    raise DataError(f"no data set {name!r}{hint} (there are {', '.join(_SOURCES)}; or folder:PATH, tfds:NAME)")


register(Digits(
    name="digits", title="Handwritten digits, 8×8 (scikit-learn)", version="1.0.0",
    classes=tuple("0123456789"), shape=(8, 8, 1), splits={"train": 1437, "test": 360}, enlarge="resize",
    citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning "
             "Repository, 1998 (test file, as shipped by scikit-learn); CC BY 4.0",
    known={"028a8afae6114ffdde6512ee27a71bf5bfa6e01baafe72ca542f437f1af87fa9":
               "scikit-learn's digits, the first 1,437 of its file for training, the last 360 for the test"}))

register(FromTFDS(
    name="mnist", title="MNIST handwritten digits, 28×28", version="3.0.1",
    classes=tuple("0123456789"), shape=(28, 28, 1), splits={"train": 60000, "test": 10000}, enlarge="pad",
    citation="LeCun, Cortes and Burges, The MNIST database of handwritten digits; copyright LeCun and "
             "Cortes, commonly given as CC BY-SA 3.0",
    download_from="https://storage.googleapis.com",
    known={"055bcc89515d66140d665f46acb2f4e8f82a8d22f58d358d00a3f7e6075de5f0":
               "the original, every pixel and label (IDX files rebuilt from it have the known MD5 sums)"}))

register(FromTFDS(
    name="cifar10", title="CIFAR-10 photographs, 32×32", version="3.0.2",
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    shape=(32, 32, 3), splits={"train": 50000, "test": 10000}, enlarge="pad",
    citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; no licence stated, "
             "the authors ask for this citation",
    download_from="https://www.cs.toronto.edu",
    known={"0200665237a16301d90f7c642f14d0c5e37aef92cb8851ec6d6b41c011968d37":
               "a copy in which 103 of 60,000 images (80 train, 23 test) carry light JPEG noise"}))

register(FromTFDS(
    name="cifar100", title="CIFAR-100 photographs, 32×32", version="3.0.2",
    classes=tuple("""
        apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
        castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
        elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
        man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
        pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
        skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
        tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm""".split()),
    shape=(32, 32, 3), splits={"train": 50000, "test": 10000}, enlarge="pad",
    citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; no licence stated, "
             "the authors ask for this citation",
    download_from="https://www.cs.toronto.edu"))

register(FromTFDS(
    name="fashion_mnist", title="Fashion-MNIST articles of clothing, 28×28", version="3.0.1",
    classes=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
             "Ankle boot"),
    shape=(28, 28, 1), splits={"train": 60000, "test": 10000}, enlarge="pad",
    citation="Xiao, Rasul and Vollgraf, Fashion-MNIST, arXiv:1708.07747, 2017; MIT licence",
    download_from="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"))

register(FromTFDS(
    name="svhn_cropped", title="Street View House Numbers, cropped, 32×32", version="3.1.0",
    classes=tuple("0123456789"), shape=(32, 32, 3), splits={"train": 73257, "test": 26032}, enlarge="pad",
    citation="Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011; for "
             "non-commercial use",
    download_from="http://ufldl.stanford.edu"))

# Chrabaszcz et al.: every image of ImageNet squeezed to a small square. Their classes are numbered in an order of
# their own, and at 64×64 the images stay encoded (encoded.py).
for side in (8, 16, 32):
    register(FromTFDS(
        name=f"imagenet_resized/{side}x{side}", title=f"Downsampled ImageNet, {side}×{side}", version="0.1.0",
        classes=tuple(map(str, range(1000))), shape=(side, side, 3),
        splits={"train": 1_281_167, "test": 50_000}, enlarge="resize",
        citation="Chrabaszcz, Loshchilov and Hutter, A Downsampled Variant of ImageNet as an Alternative to the CIFAR "
                 "datasets, arXiv:1707.08819, 2017; ImageNet's terms",
        download_from="http://www.image-net.org", parts=("train", "validation")))

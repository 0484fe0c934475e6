"""The data sets that the suite knows, and how the arrays of each are obtained.

A source writes four files into a folder: train_images.npy, train_labels.npy, test_images.npy, test_labels.npy
(images uint8 (N, H, W, C), labels int64 (N,)), always in the same order. `prepared.py` does the rest:
checksums, the atomic rename, memory-mapping. Another data set is one more `register(...)`; another kind of
source (a folder of images, say) one more subclass.
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


class DataError(ValueError):
    """Data that is missing, damaged or wrongly asked for; the text is one line and says what mends it."""


@dataclass(frozen=True)
class Source(ABC):
    """What is known of a data set before it is here."""
    name: str
    title: str
    version: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]       # H, W, C of an image
    splits: dict[str, int]            # images in "train" and "test"
    enlarge: str                      # how it reaches a larger network input: "pad" or "resize" (see fit_to)
    citation: str
    known: dict[str, str] = field(default_factory=dict)      # content sha256 → which copy that is

    streamed = False                  # read image by image (streamed.py), never as prepared arrays

    @abstractmethod
    def here(self) -> bool:
        """Whether `write` can do its work without a download."""

    @abstractmethod
    def write(self, folder: Path, download: bool) -> str:
        """Write the four files into `folder`; returns what produced them. Raises DataError."""


class Digits(Source):
    """The digits that come inside scikit-learn: nothing to download.

    The 1,797 images are the test file of UCI's "Optical Recognition of Handwritten Digits". About every
    130 images 0 to 9 stands there three times in a row, as where another person begins to write; so the split
    cuts the file in its order: hardly a writer is on both sides, which a shuffle would not give.
    """

    def here(self) -> bool:
        return True

    def write(self, folder: Path, download: bool) -> str:
        import sklearn
        from sklearn.datasets import load_digits
        digits = load_digits()
        images = np.rint(digits.images[..., np.newaxis] * (255 / 16)).astype(np.uint8)     # 0..16 → 0..255
        labels = digits.target.astype(np.int64)
        cut = self.splits["train"]
        for name, array in zip(FILES, (images[:cut], labels[:cut], images[cut:], labels[cut:])):
            np.save(folder / name, array)
        return f"scikit-learn {sklearn.__version__}"


@dataclass(frozen=True)
class FromTFDS(Source):
    """A data set of TensorFlow Datasets, read in a process of its own (tfds_reader.py).

    A process of its own, because reading starts TensorFlow: done here it would take the GPU's memory from a
    JAX run and make a distribution strategy created afterwards fail.
    """
    download_from: str = ""           # the host that TFDS fetches from

    def here(self) -> bool:
        return (self.tfds_folder() / "dataset_info.json").is_file()

    def tfds_folder(self) -> Path:
        """Where TFDS keeps this version: below TFDS_DATA_DIR, or TFDS's own default folder."""
        root = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
        return Path(root).expanduser() / self.name / self.version

    def write(self, folder: Path, download: bool) -> str:
        place = self.tfds_folder()
        if not download and not self.here():
            others = sorted(path.parent.name for path in place.parent.glob("*/dataset_info.json"))
            found = f" (only version {', '.join(others)}; {self.version} is needed)" if others else ""
            raise DataError(
                f"{self.name} is not here: no prepared copy in {folder.parent / self.version} and TFDS does "
                f"not find it in {place.parents[1]}{found}; with a network, run "
                f"`python -m repro data prepare {self.name}`; a copy elsewhere: set TFDS_DATA_DIR")
        request = {"name": self.name, "version": self.version, "folder": str(folder), "place": str(place),
                   "download_from": "" if self.here() else self.download_from, "splits": self.splits,
                   "shape": self.shape, "classes": len(self.classes)}
        # a download shows TFDS's progress bar on a terminal; other chatter is kept for a failure's last line
        watched = bool(request["download_from"]) and sys.stderr.isatty()
        child = subprocess.run(
            [sys.executable, "-P", str(Path(__file__).with_name("tfds_reader.py")), json.dumps(request)],
            stdout=subprocess.PIPE, stderr=None if watched else subprocess.PIPE,
            encoding="utf-8", errors="replace",
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONUTF8": "1"})
        try:
            answer = json.loads((child.stdout or "").strip().splitlines()[-1])
        except (IndexError, ValueError):
            last = ((child.stderr or "").strip().splitlines() or ["no message"])[-1]
            answer = {"error": f"the reading process ended with code {child.returncode} ({last[:200]})"}
        if "error" in answer:
            raise DataError(f"{self.name}: {answer['error']}")
        return answer["by"]


_SOURCES: dict[str, Source] = {}


def register(source: Source) -> Source:
    """Make a source available by its name. Raises DataError if the name is taken."""
    if source.name in _SOURCES:
        raise DataError(f"data set {source.name!r} is registered twice")
    _SOURCES[source.name] = source
    return source


def names() -> list[str]:
    """The names of all registered data sets, in the order of registration."""
    return list(_SOURCES)


def source(name: str) -> Source:
    """The source called `name`, or NAME/SIZE of a streamed one. Raises DataError naming the nearest one."""
    whole, slash, config = str(name).partition("/")
    if slash and whole in _SOURCES and _SOURCES[whole].streamed:
        return _SOURCES[whole].with_config(config)
    if name not in _SOURCES:
        near = difflib.get_close_matches(str(name), _SOURCES, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise DataError(f"no data set {name!r}{hint} (there are {', '.join(_SOURCES)})")
    return _SOURCES[name]


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

"""folder:PATH, any folder of images: PATH/train/CLASS/*.jpg and PATH/test (or val, validation)/CLASS/*.jpg, or .png.

The images stay where they are. Order: by class, then by file name.
"""
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .encoded import Encoded, read_files, write_files
from .sources import DataError, scheme

ENDINGS = (".jpg", ".jpeg", ".png")
TEST_NAMES = ("test", "val", "validation")


@dataclass(frozen=True)
class ImageFolder(Encoded):
    """The images below `path`. files: part → ((name below `path`, label), ...), as they were listed."""
    path: Path = Path()
    files: tuple[tuple[str, tuple[tuple[str, int], ...]], ...] = ()

    @property
    def copy(self) -> tuple[str, str]:
        """Kept by the folder's name and a hash of its whole path."""
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return f"folder/{self.path.name}-{digest}", self.version

    def here(self) -> bool:
        return True

    def base(self, prepared: Path) -> Path:
        return self.path

    def as_indexed(self, prepared: Path) -> bool:
        try:
            listed = [file.name for file in read_files(prepared)]
        except (OSError, ValueError, TypeError):
            return True                                     # the listing itself is damaged, which its sha256 tells
        return listed == [name for _, part in self.files for name, _ in part]

    def write(self, folder: Path, download: bool, origin: Path | None = None) -> dict:
        self.refuse(origin)
        import PIL
        from PIL import Image
        number = 0
        for part, listed in self.files:
            index = np.zeros((len(listed), 3), np.int64)
            for row, (name, _) in enumerate(listed):
                try:
                    with Image.open(self.path / name):      # reads the head alone
                        index[row] = number, 0, (self.path / name).stat().st_size
                except Exception as error:                  # Pillow's readers of damaged files raise all sorts
                    reason = "no image" if isinstance(error, PIL.UnidentifiedImageError) else (
                        getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__)
                    raise DataError(f"{self.name}: {self.path / name} is damaged ({reason}); mend or remove it, "
                                    f"then run `python -m repro data prepare {self.name}`") from None
                number += 1
            np.save(folder / f"{part}_index.npy", index)
            np.save(folder / f"{part}_labels.npy", np.array([label for _, label in listed], np.int64))
        write_files(folder, self.path, [name for _, part in self.files for name, _ in part])
        return {"by": f"Pillow {PIL.__version__}"}


@scheme("folder")
def image_folder(path: str) -> ImageFolder:
    """The source folder:PATH. Raises DataError where PATH is not such a folder."""
    place = Path(path).expanduser().absolute()
    name = f"folder:{place}"
    expected = "expected train/CLASS/*.jpg or *.png, and test, val or validation beside train"
    if not path or not place.is_dir():
        raise DataError(f"{name}: no such folder; {expected}")
    test = [part for part in TEST_NAMES if (place / part).is_dir()]
    if not (place / "train").is_dir() or len(test) != 1:
        found = f"it has {' and '.join(test)}" if len(test) > 1 else "there is no " + (
            "train" if test else "train and no test")
        raise DataError(f"{name}: {found}; {expected}")
    began, names = time.time(), {part: _folders(place / part) for part in ("train", test[0])}
    state = {folder: folder.stat().st_mtime_ns for folder in (
        place, *(place / part / label for part, labels in names.items() for label in ("", *labels)))}
    if place in _LISTED and _LISTED[place][0] == state:
        return _LISTED[place][1]
    parts = {known: _listed(place, part, labels, names["train"], name)
             for known, (part, labels) in zip(("train", "test"), names.items())}
    for part, listed in parts.items():
        if not listed:
            raise DataError(f"{name}: no image for the {part} part; {expected}")
    found = ImageFolder(
        name=name, title=f"Images of {place.name}", version="1", classes=tuple(names["train"]), shape=(None, None, 3),
        splits={part: len(listed) for part, listed in parts.items()}, enlarge="resize",
        citation="a folder of this machine", path=place, files=tuple(parts.items()))
    if max(state.values()) < (began - SETTLED) * 1e9:
        _LISTED[place] = state, found
    return found


# path → when each of its folders was last changed, and the source; a file that comes, goes or is renamed changes that
# time. Not of folders changed just now: some file systems count in whole seconds.
_LISTED: dict[Path, tuple[dict[Path, int], ImageFolder]] = {}
SETTLED = 3                       # seconds


def _folders(place: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(place) if entry.is_dir() and entry.name[0] != ".")


def _listed(place: Path, part: str, labels: list[str], classes: list[str], name: str) -> tuple[tuple[str, int], ...]:
    found, numbers = [], {label: number for number, label in enumerate(classes)}
    for label in labels:
        if label not in numbers:
            raise DataError(f"{name}: {part} has a class {label!r} that train has not")
        found += [(f"{part}/{label}/{file}", numbers[label]) for file in sorted(os.listdir(place / part / label))
                  if file.lower().endswith(ENDINGS)]
    return tuple(found)

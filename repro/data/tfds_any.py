"""tfds:NAME[/CONFIG][:VERSION], any data set of TensorFlow Datasets with features `image` and `label`.

What is known of it comes from TFDS's own copy, or from a prepared one. Images of one size below 8 GiB become arrays,
others stay encoded. Without CONFIG it is the only one that is here, and has its name.
"""
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .encoded import EncodedTFDS, class_names, tfds_json
from .sources import LARGEST_ARRAYS, DataError, FromTFDS, Source, scheme, tfds_root

NEWEST = "newest"


@dataclass(frozen=True)
class Absent(EncodedTFDS):
    """A data set that nothing is known of until it is downloaded."""

    def fetch(self) -> None:
        self.download()

    def _request(self, task: str) -> dict:
        return super()._request(task) | {"version": "" if self.version == NEWEST else self.version}


@scheme("tfds")
def any_tfds(text: str) -> Source:
    """The source tfds:TEXT. Raises DataError for a copy without `image`, `label` or a test part."""
    name, _, version = text.partition(":")
    whole = _called(name, version)
    if not name or any(part in ("", ".", "..") for part in [*name.split("/"), *version.split("/")[1:]]):
        raise DataError(f"{whole}: expected tfds:NAME[/CONFIG][:VERSION], e.g. tfds:kmnist")
    place = _newest(tfds_root() / name, version)
    if place is None:
        within = [path.name for path in sorted((tfds_root() / name).glob("*/")) if _newest(path, version)]
        config = _only(whole, name, within)
        return any_tfds(_called(f"{name}/{config}", version)[5:]) if config else _prepared(name, version) or Absent(
            name=whole, title=f"{name} of TensorFlow Datasets", version=version or NEWEST, classes=(),
            shape=(None, None, 3), splits={}, enlarge="resize", citation="see TensorFlow Datasets", tfds_name=name,
            download_from="https://storage.googleapis.com")
    info, features = tfds_json(whole, place / "dataset_info.json"), tfds_json(whole, place / "features.json")
    features = features.get("featuresDict", {}).get("features", {})
    if "image" not in features.get("image", {}) or "classLabel" not in features.get("label", {}):
        raise DataError(f"{whole} has the features {', '.join(sorted(features))}; an image named 'image' and a class "
                        "named 'label' are needed")
    sizes = {split["name"]: sum(map(int, split["shardLengths"])) for split in info.get("splits", ())}
    test = next((part for part in ("test", "validation", "val") if part in sizes), None)
    if "train" not in sizes or test is None:
        raise DataError(f"{whole} has the parts {', '.join(sorted(sizes))}; train, and test or validation are needed")
    sides = [int(side) for side in features["image"]["image"].get("shape", {}).get("dimensions", (-1, -1, 3))]
    shape = tuple(None if side < 0 else side for side in sides)
    classes = class_names(place) or map(str, range(int(features["label"]["classLabel"]["numClasses"])))
    splits = {"train": sizes["train"], "test": sizes[test]}
    one_size = None not in shape and math.prod(shape) * sum(splits.values()) < LARGEST_ARRAYS
    return (FromTFDS if one_size else EncodedTFDS)(
        name=whole, title=f"{name} of TensorFlow Datasets", version=place.name, classes=tuple(classes),
        shape=shape if shape[-1] in (1, 3) else (*shape[:2], 3), splits=splits, enlarge="resize",
        citation=" ".join(info.get("citation", "").split())[:300] or "see TensorFlow Datasets",
        tfds_name=name, parts=("train", test))


def _called(name: str, version: str) -> str:
    return f"tfds:{name}:{version}" if version else f"tfds:{name}"


def _only(whole: str, name: str, configs: list[str]) -> str | None:
    """The configuration of a data set that is called without one. Raises DataError where there are several."""
    if len(configs) > 1:
        raise DataError(f"{whole} is here in the configurations {', '.join(configs)}; name one of them, such as "
                        f"tfds:{name}/{configs[0]}")
    return configs[0] if configs else None


def _newest(folder: Path, version: str) -> Path | None:
    """The copy of one version, or of the highest."""
    return next(_versions(folder, version, "dataset_info.json"), None)


def _versions(folder: Path, version: str, file: str) -> Iterator[Path]:
    """The folders of one version, or of all from the highest on, that have `file`."""
    numbers = {path: [int(part) for part in path.name.split(".")] for path in folder.glob("*/")
               if re.fullmatch(r"\d+(\.\d+)*", path.name)}
    for path in [folder / version] if version else sorted(numbers, key=numbers.get, reverse=True):
        if (path / file).is_file():
            yield path


def _prepared(name: str, version: str) -> Source | None:
    """Prepared arrays stay usable when TFDS's copy is gone: what is known of them stands in their manifest."""
    from .prepared import folder
    whole = _called(name, version)
    absent = Absent(name=_called(name, ""), title="", version=NEWEST, classes=(), shape=(), splits={}, enlarge="",
                    citation="")
    place = folder(absent).parent
    for path in _versions(place / version, version, "manifest.json"):
        try:
            read = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
            if read["name"] == whole and "train_images.npy" in read["files"]:
                return FromTFDS(
                    name=whole, title=f"{name} of TensorFlow Datasets", version=read["version"],
                    classes=tuple(read["classes"]), shape=tuple(read["shape"]), splits=dict(read["splits"]),
                    enlarge="resize", citation="see TensorFlow Datasets", tfds_name=name)
        except (OSError, ValueError, KeyError, TypeError):
            continue                # `data verify` says what is wrong with it
    within = [path.name for path in sorted(place.glob("*/")) if _prepared(f"{name}/{path.name}", version)]
    config = _only(whole, name, within)
    return _prepared(f"{name}/{config}", version) if config else None

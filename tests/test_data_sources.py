"""The kinds of sources: encoded images in TFDS's shards and in folders, archives, a graph, videos that are made.

Everything is made here, in small; the reading process of TFDS's data runs inside this one, except where the test is slow.
"""
import dataclasses
import hashlib
import importlib
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnn_repro.repro import data
from cnn_repro.repro.cli import main
from cnn_repro.repro.data import archives, cora, encoded, folders, moving_digits, prepared, sources, tfds_any, tfds_reader

GREYS = np.arange(10, 250, 20)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where prepared copies go; no TFDS copy anywhere."""
    monkeypatch.setenv("CNN_REPRO_DATA", str(tmp_path / "prepared"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path


def picture(grey: int, size=(12, 9), kind="JPEG", mode="RGB") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (int(grey),) * 3).convert(mode).save(file, kind)
    return file.getvalue()


def replaced(monkeypatch, name: str, **values):
    monkeypatch.setitem(sources._SOURCES, name, dataclasses.replace(data.source(name), **values))


def one_line(function, *arguments, **named) -> str:
    with pytest.raises(data.DataError) as caught:
        function(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def nothing_half(folder: Path) -> bool:
    """No temporary folder stays."""
    return not [path for path in folder.rglob(".*")]


def flip_bit(path, at=0.5):
    content = bytearray(path.read_bytes())
    content[int(len(content) * at)] ^= 1
    path.write_bytes(content)


# ---------------------------------------------------------------------------------------------- TFDS's shards

def write_shards(folder: Path, name: str, parts: dict[str, list[list[tuple[bytes, int]]]], shape=(-1, -1, 3), classes=10):
    """A TFDS copy, shard by shard, of (encoded image, label)."""
    import tensorflow as tf
    folder.mkdir(parents=True)
    splits = []
    for part, shards in parts.items():
        for number, records in enumerate(shards):
            file = folder / f"{name}-{part}.tfrecord-{number:05d}-of-{len(shards):05d}"
            with tf.io.TFRecordWriter(str(file)) as writer:
                for image, label in records:
                    writer.write(tf.train.Example(features=tf.train.Features(feature={
                        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
                        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))})).SerializeToString())
        splits.append({"name": part, "shardLengths": [str(len(records)) for records in shards], "numBytes": "1",
                       "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"})
    (folder / "dataset_info.json").write_text(json.dumps(
        {"name": name, "version": folder.name, "fileFormat": "tfrecord", "splits": splits}))
    here = "tensorflow_datasets.core.features"
    (folder / "features.json").write_text(json.dumps({
        "pythonClassName": f"{here}.features_dict.FeaturesDict", "featuresDict": {"features": {
            "image": {"pythonClassName": f"{here}.image_feature.Image", "image": {
                "dtype": "uint8", "encodingFormat": "png", "shape": {"dimensions": [str(side) for side in shape]}}},
            "label": {"pythonClassName": f"{here}.class_label_feature.ClassLabel",
                      "classLabel": {"numClasses": str(classes)}}}}}))


IMAGES = [(picture(grey, (8 + 3 * row, 20 - row)), (3 * row) % 10) for row, grey in enumerate(GREYS)]
PARTS = {"train": [IMAGES[:5], IMAGES[5:9]], "validation": [IMAGES[9:]]}


@pytest.fixture(scope="module")
def whole_copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a copy") / "1.0.0"
    write_shards(folder, "imagenette", PARTS)
    (folder / "label.labels.txt").write_text("".join(f"{name}\n" for name in data.source("imagenette").synsets))
    return folder


@pytest.fixture
def copy(whole_copy, place, monkeypatch):
    """Imagenette of twelve images in three shards; the folder of its TFDS copy."""
    folder = place / "tfds" / "imagenette" / "160px-v2" / "1.0.0"
    folder.mkdir(parents=True)
    for path in whole_copy.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    replaced(monkeypatch, "imagenette", splits={"train": 9, "test": 3})
    inside_this_process(monkeypatch)
    return folder


def inside_this_process(monkeypatch):
    def ask(request):
        answer = json.loads(json.dumps(tfds_reader.main(json.loads(json.dumps(request)))))
        if "error" in answer:
            raise data.DataError(f"{request['name']}: {answer['error']}")
        return answer
    for module in (sources, encoded):
        monkeypatch.setattr(module, "ask_tfds", ask)


def test_random_access_equals_reading_one_after_the_other(copy):
    dataset = data.load("imagenette")
    images, labels = dataset.train
    assert isinstance(images, data.EncodedImages) and len(images) == 9 and labels.dtype == np.int64
    assert (dataset.kind, dataset.shape, dataset.version) == ("images", (None, None, 3), "1.0.0 160px-v2")
    for i in np.random.default_rng(0).permutation(9):
        assert images.read(i) == IMAGES[i][0] and labels[i] == IMAGES[i][1]
        image = images.decode(i)
        assert image.shape == (20 - i, 8 + 3 * i, 3) and image.dtype == np.uint8
        assert np.abs(image.astype(int) - GREYS[i]).max() <= 2
    test, test_labels = dataset.open_test()
    assert [test.read(i) for i in range(3)] == [image for image, _ in IMAGES[9:]]
    assert test_labels.tolist() == [label for _, label in IMAGES[9:]]
    with pytest.raises(RuntimeError, match="opened once"):
        dataset.open_test()
    again = pickle.loads(pickle.dumps(images))                    # for a reading process
    assert again.read(4) == images.read(4)


def test_one_name_for_several_sizes_and_the_version_says_which(copy):
    assert data.load("imagenette/160px-v2").sha256 == data.load("imagenette").sha256
    (copy.parents[1] / "320px-v2").mkdir()
    copy.rename(copy.parents[1] / "320px-v2" / "1.0.0")
    assert data.load("imagenette").version == "1.0.0 320px-v2"
    assert "imagenette/160px-v2 is not here" in one_line(data.load, "imagenette/160px-v2")


def cut_at_a_boundary(path):
    content, end = path.read_bytes(), 0
    for _ in range(3):
        end += 16 + int.from_bytes(content[end:end + 8], "little")
    path.write_bytes(content[:end])


SHARD = "imagenette-train.tfrecord-00001-of-00002"


@pytest.mark.parametrize("damage, before, after", [
    (cut_at_a_boundary, "3 images, expected 4", "bytes, expected"),
    (flip_bit, "damaged", "its sha256 is not the one it was indexed with"),
    (Path.unlink, f"{SHARD} is missing", "missing")], ids=["cut", "flipped", "missing"])
def test_damaged_shards_are_found(copy, place, damage, before, after):
    """F9, before the index is made and after it."""
    content = (copy / SHARD).read_bytes()
    damage(copy / SHARD)
    said = one_line(data.load, "imagenette")
    assert f"the TFDS copy in {copy} is damaged" in said and before in said
    assert "`python -m repro data prepare imagenette`" in said
    assert nothing_half(place / "prepared") and not list((place / "prepared").rglob("manifest.json"))
    (copy / SHARD).write_bytes(content)
    data.load("imagenette")
    damage(copy / SHARD)
    for ask in (data.load, data.verify, data.prepare):
        said = one_line(ask, "imagenette")
        assert str(copy / SHARD) in said and after in said
        assert "`python -m repro data prepare imagenette --force`" in said
    assert main(["data", "verify"]) == 1


@pytest.mark.parametrize("file", ["train_index.npy", "test_labels.npy", "files.txt"])
def test_a_damaged_index_is_found(copy, file):
    prepared = data.prepare("imagenette").folder
    flip_bit(prepared / file, 0.9)
    assert f"{prepared / file} is damaged (its sha256" in one_line(data.load, "imagenette")
    data.prepare("imagenette", force=True)
    data.load("imagenette")


def test_other_classes_another_version_and_too_few_images(copy, monkeypatch):
    labels = copy / "label.labels.txt"
    right = labels.read_text()
    labels.write_text("\n".join(reversed(right.split())) + "\n")
    assert "are not 10 of ImageNet's in their order" in one_line(data.load, "imagenette")
    labels.write_text(right)
    replaced(monkeypatch, "imagenette", splits={"train": 12, "test": 3})
    assert "train: 9 images, expected 12" in one_line(data.load, "imagenette")
    copy.rename(copy.with_name("0.9.0"))
    assert "imagenette is not here" in one_line(data.load, "imagenette")


def test_above_8_gib_sizes_are_compared_and_bytes_when_asked(copy, monkeypatch):
    data.prepare("imagenette")
    monkeypatch.setattr(encoded, "LARGEST_ARRAYS", 0)
    flip_bit(copy / SHARD)
    data.load("imagenette")
    assert "sha256" in one_line(data.verify, "imagenette", whole=True)
    (copy / SHARD).write_bytes((copy / SHARD).read_bytes()[:-1])
    assert "bytes, expected" in one_line(data.load, "imagenette")


def test_an_image_that_went_away_while_training_is_named(copy):
    images, _ = data.load("imagenette").train
    (copy / SHARD).write_bytes((copy / SHARD).read_bytes()[:900])
    assert "image 8 in" in one_line(images.read, 8) and "ends early" in one_line(images.read, 8)
    (copy / SHARD).unlink()
    assert "image 8 cannot be read from" in one_line(images.read, 8)
    with pytest.raises(IndexError):
        images.read(9)


def test_a_full_disk_leaves_nothing_half(copy, place, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(encoded, "write_files", full)
    assert "No space left on device); free space or set CNN_REPRO_DATA" in one_line(data.load, "imagenette")
    assert nothing_half(place / "prepared")


@pytest.mark.slow
def test_the_reading_process_makes_the_same_index(copy, monkeypatch):
    inside = data.prepare("imagenette")
    monkeypatch.undo()
    monkeypatch.setenv("CNN_REPRO_DATA", str(copy.parents[4] / "other"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(copy.parents[2]))
    replaced(monkeypatch, "imagenette", splits={"train": 9, "test": 3})
    assert data.prepare("imagenette").sha256 == inside.sha256


# ------------------------------------------------------------------------------------------- any TFDS data set

@pytest.mark.parametrize("shape, kept", [((6, 5, 3), np.ndarray), ((-1, -1, 3), data.EncodedImages)])
def test_any_tfds_data_set(place, monkeypatch, shape, kept):
    inside_this_process(monkeypatch)
    images = [(picture(grey, (5, 6), "PNG"), label) for label, grey in enumerate(GREYS[:4])]
    for version in ("1.9.0", "1.10.0"):
        write_shards(place / "tfds" / "made_up" / version, "made_up",
                     {"train": [images[:3]], "validation": [images[3:]]}, shape, 4)
    dataset = data.load("tfds:made_up")
    assert dataset.version == "1.10.0" and dataset.splits == {"train": 3, "test": 1}
    assert dataset.classes == tuple("0123") and isinstance(dataset.train[0], kept)
    image = dataset.train[0].decode(2) if kept is data.EncodedImages else dataset.train[0][2]
    assert image.shape == (6, 5, 3) and (image == GREYS[2]).all()
    assert data.load("tfds:made_up:1.9.0").version == "1.9.0"
    assert data.status_of(data.source("tfds:made_up"))["state"] == "prepared"
    (place / "tfds").rename(place / "gone")
    if kept is np.ndarray:                                         # arrays need TFDS's copy no more
        again = data.load("tfds:made_up")
        assert (again.sha256, again.classes, again.shape) == (dataset.sha256, dataset.classes, dataset.shape)
    else:
        assert "tfds:made_up is not here" in one_line(data.load, "tfds:made_up")


def test_a_tfds_data_set_with_configurations(place, monkeypatch):
    inside_this_process(monkeypatch)
    images = [(picture(grey, (5, 6), "PNG"), 0) for grey in GREYS[:4]]
    folder = place / "tfds" / "made_up"
    for version in ("9.0.0", "10.0.0", "10.0.0.incomplete7Q"):
        write_shards(folder / "small" / version, "made_up", {"train": [images[:3]], "test": [images[3:]]}, (6, 5, 3), 4)
    dataset = data.load("tfds:made_up")                            # the only one
    assert (dataset.name, dataset.version) == ("tfds:made_up/small", "10.0.0") and len(dataset.train[1]) == 3
    assert data.load("tfds:made_up:9.0.0").name == "tfds:made_up/small:9.0.0"
    write_shards(folder / "large" / "9.0.0", "made_up", {"train": [images[:1]], "test": [images[3:]]}, (6, 5, 3), 4)
    assert one_line(data.source, "tfds:made_up") == (
        "tfds:made_up is here in the configurations large, small; name one of them, such as tfds:made_up/large")
    assert data.source("tfds:made_up:10.0.0").name == "tfds:made_up/small:10.0.0"
    assert data.load("tfds:made_up/large").splits["train"] == 1
    assert data.load("tfds:made_up/small").sha256 == dataset.sha256
    (place / "tfds").rename(place / "gone")                        # prepared arrays by the same rule
    assert data.load("tfds:made_up/small").sha256 == dataset.sha256
    assert data.load("tfds:made_up:9.0.0").version == "9.0.0"
    assert "is here in the configurations large, small" in one_line(data.load, "tfds:made_up")
    (place / "prepared/tfds/made_up/large").rename(place / "moved")
    assert data.load("tfds:made_up").sha256 == dataset.sha256


def test_the_highest_prepared_version_is_taken(place, monkeypatch):
    inside_this_process(monkeypatch)
    images = [(picture(grey, (5, 6), "PNG"), 0) for grey in GREYS[:2]]
    for version in ("9.0.0", "10.0.0"):
        write_shards(place / "tfds" / "made_up" / version, "made_up",
                     {"train": [images[:1]], "test": [images[1:]]}, (6, 5, 3), 4)
        data.load("tfds:made_up")
    data.load("tfds:made_up:9.0.0")
    (place / "tfds").rename(place / "gone")
    assert data.load("tfds:made_up").version == "10.0.0"
    for version in ("9.0.0", "10.0.0"):
        (place / "prepared/tfds/made_up" / version / "manifest.json").unlink()
    assert "tfds:made_up is not here" in one_line(data.load, "tfds:made_up")    # of 9.0.0 only, which is no configuration
    assert data.load("tfds:made_up:9.0.0").version == "9.0.0"


def test_what_is_no_tfds_data_set_of_images_is_told(place):
    assert "tfds:kmnist is not here" in one_line(data.load, "tfds:kmnist")
    assert "expected tfds:NAME" in one_line(data.source, "tfds:../x")
    folder = place / "tfds" / "text" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text('{"name": "text", "splits": []}')
    (folder / "features.json").write_text('{"featuresDict": {"features": {"text": {}}}}')
    assert "tfds:text has the features text; an image named 'image'" in one_line(data.source, "tfds:text")
    (folder / "features.json").write_text('{')
    assert "features.json cannot be read" in one_line(data.source, "tfds:text")


def test_arrays_of_many_sizes_and_of_too_many_bytes_stay_encoded(place, monkeypatch):
    images = [(picture(90, (5, 6), "PNG"), 0)]
    write_shards(place / "tfds" / "big" / "1.0.0", "big", {"train": [images], "test": [images]}, (6, 5, 3), 1)
    assert not data.source("tfds:big").encoded
    monkeypatch.setattr(tfds_any, "LARGEST_ARRAYS", 2 * 90)
    assert data.source("tfds:big").encoded


# ------------------------------------------------------------------------------------------------------ folders

@pytest.fixture
def pets(place):
    """Cats and dogs, of several sizes and kinds of files."""
    folder = place / "my pets"
    for name, content in {
            "train/cat/a.jpg": picture(10), "train/cat/b.PNG": picture(20, (7, 5), "PNG", "L"),
            "train/dog/c.jpeg": picture(30, (4, 4), "JPEG", "CMYK"), "train/dog/notes.txt": b"no image",
            "val/dog/é.png": picture(40, (3, 9), "PNG", "P")}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_a_folder_of_images(pets):
    dataset = data.load(f"folder:{pets}")
    images, labels = dataset.train
    assert dataset.classes == ("cat", "dog") and labels.tolist() == [0, 0, 1] and dataset.splits["test"] == 1
    assert [images.decode(i).shape for i in range(3)] == [(9, 12, 3), (5, 7, 3), (4, 4, 3)]
    assert [abs(int(images.decode(i).mean()) - grey) <= 2 for i, grey in enumerate((10, 20, 30))] == [True] * 3
    test, test_labels = dataset.open_test()
    assert test.decode(0).shape == (9, 3, 3) and test_labels.tolist() == [1]
    elsewhere = pets.with_name("the same")
    pets.rename(elsewhere)
    assert data.load(f"folder:{elsewhere}").sha256 == dataset.sha256       # names and contents, not the place


def test_a_folder_that_changed_is_found(pets):
    name = f"folder:{pets}"
    data.load(name)
    flip_bit(pets / "train/cat/a.jpg")
    said = one_line(data.load, name)
    assert str(pets / "train/cat/a.jpg") in said and "sha256" in said
    assert f"`python -m repro data prepare '{name}' --force`" in said
    before = data.prepare(name, force=True).sha256
    (pets / "train/cat/new.jpg").write_bytes(picture(99))
    assert "other images than when it was indexed" in one_line(data.load, name)
    assert data.prepare(name, force=True).sha256 != before and len(data.load(name).train[1]) == 4
    (pets / "train/cat/new.jpg").rename(pets / "train/dog/new.jpg")
    assert "other images" in one_line(data.load, name)


def test_a_folder_is_listed_once_until_it_changes(pets, monkeypatch):
    name, listed = f"folder:{pets}", []
    listdir = os.listdir

    def listing(path):
        if pets in Path(path).parents:
            listed.append(Path(path).name)
        return listdir(path)
    monkeypatch.setattr(folders.os, "listdir", listing)

    def long_ago(seconds=100):
        for path in (pets, *pets.rglob("*/")):
            os.utime(path, (time.time() - seconds,) * 2)

    long_ago()
    data.load(name)
    data.verify(name)
    assert listed == ["cat", "dog", "dog"]
    (pets / "train/cat/new.jpg").write_bytes(picture(99))
    assert "other images than when it was indexed" in one_line(data.verify, name)
    long_ago(50)
    data.prepare(name, force=True)
    (pets / "train/cat/new.jpg").rename(pets / "train/dog/new.jpg")
    assert "other images than when it was indexed" in one_line(data.verify, name)
    (pets / "train/dog/new.jpg").rename(pets / "train/cat/new.jpg")
    assert len(data.load(name).train[1]) == 4
    listed.clear()
    monkeypatch.setattr(folders, "SETTLED", 10**6)          # however slow this machine is
    assert data.source(name) == data.source(name)
    assert len(listed) == 6                        # changed just now: the clock of a file system may be too coarse


@pytest.mark.parametrize("error", [None, SyntaxError("not a\nTIFF file"), ValueError()], ids=["bomb", "syntax", "value"])
def test_whatever_pillow_raises_the_file_of_a_folder_is_named(pets, place, monkeypatch, error):
    path, opened = pets / "train/dog/x.png", Image.open
    content = bytearray(picture(9, kind="PNG"))
    content[16:24] = (30_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)

    def fails(file):
        if file == path and error is not None:
            raise error
        return opened(file)
    monkeypatch.setattr(Image, "open", fails)
    said = one_line(data.load, f"folder:{pets}")
    assert f"{path} is damaged (" in said and "()" not in said and nothing_half(place / "prepared")


def test_what_is_no_folder_of_images_is_told(pets, place):
    (pets / "train/cat/z.jpg").write_bytes(b"no image")
    said = one_line(data.load, f"folder:{pets}")
    assert str(pets / "train/cat/z.jpg") in said and "no image" in said and nothing_half(place / "prepared")
    (pets / "val/cow").mkdir()
    assert "val has a class 'cow' that train has not" in one_line(data.source, f"folder:{pets}")
    (pets / "test").mkdir()
    assert "it has test and val" in one_line(data.source, f"folder:{pets}")
    assert "no such folder; expected train/CLASS" in one_line(data.source, f"folder:{place / 'nowhere'}")
    assert "there is no train" in one_line(data.source, f"folder:{place}")
    assert folders.TEST_NAMES == ("test", "val", "validation")


# ----------------------------------------------------------------------------------------------------- archives

def tiny_files() -> dict[str, bytes]:
    """Three classes, two images each, one of them grey; one validation image a class."""
    synsets = ("n03", "n01", "n02")
    files = {"wnids.txt": "\n".join(synsets).encode(), "words.txt": b"n01\tgoldfish, Carassius\nn02\tnewt\nn09\tother\n"}
    for row, synset in enumerate(synsets):
        for one in range(2):
            files[f"train/{synset}/images/{synset}_{one}.JPEG"] = picture(
                GREYS[2 * row + one], (64, 64), mode="L" if one else "RGB")
        files[f"train/{synset}/{synset}_boxes.txt"] = b"a box"
        files[f"val/images/val_{row}.JPEG"] = picture(200 + row, (64, 64))
    files["val/val_annotations.txt"] = b"val_0.JPEG\tn02\t0\t0\nval_1.JPEG\tn03\t0\t0\nval_2.JPEG\tn01\t0\t0\n"
    files["test/images/test_0.JPEG"] = picture(1, (64, 64))
    return files


def tiny(place, monkeypatch, files) -> Path:
    path = place / "tiny.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"tiny-imagenet-200/{name}", content)
    replaced(monkeypatch, "tiny_imagenet", splits={"train": 6, "test": 3}, classes=("", "", ""),
             md5=hashlib.md5(path.read_bytes()).hexdigest())
    return path


def test_tiny_imagenet_from_its_zip_and_from_its_folder(place, monkeypatch, capsys):
    path = tiny(place, monkeypatch, tiny_files())
    assert main(["data", "prepare", "tiny_imagenet", "--from", str(path)]) == 0
    dataset = data.load("tiny_imagenet")
    images, labels = dataset.train
    assert images.shape == (6, 64, 64, 3) and isinstance(images, np.memmap)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2] and dataset.classes == ("goldfish", "newt", "n03")
    assert np.abs(images.mean(axis=(1, 2, 3)) - GREYS[[2, 3, 4, 5, 0, 1]]).max() <= 2
    test, test_labels = dataset.open_test()
    assert test_labels.tolist() == [1, 2, 0] and np.abs(test.mean(axis=(1, 2, 3)) - [200, 201, 202]).max() <= 2
    with zipfile.ZipFile(path) as archive:
        archive.extractall(place / "unpacked")
    assert data.prepare("tiny_imagenet", force=True, origin=place / "unpacked").sha256 == dataset.sha256
    assert sorted(file.name for file in (place / "prepared/tiny_imagenet/1.0.0").iterdir()) == sorted(
        [*sources.FILES, "manifest.json"])


def test_a_wrong_archive_is_refused(place, monkeypatch):
    assert "--from FILE" in one_line(data.load, "tiny_imagenet")
    ask = lambda path: one_line(data.prepare, "tiny_imagenet", origin=path)                     # noqa: E731
    assert "no such file or folder" in ask(place / "nothing.zip")
    path = tiny(place, monkeypatch, tiny_files())
    flip_bit(path)
    assert f"{path} is not http://cs231n.stanford.edu" in ask(path) and "MD5" in ask(path)
    files = tiny_files()
    del files["train/n01/images/n01_0.JPEG"]
    assert "train: 5 images, expected 6" in ask(tiny(place, monkeypatch, files))
    assert "no class for val/images/val_1.JPEG" in ask(tiny(place, monkeypatch, tiny_files() | {
        "val/val_annotations.txt": b"val_0.JPEG\tn02\nval_2.JPEG\tn01\n"}))
    assert "n02_1.JPEG cannot be decoded" in ask(tiny(place, monkeypatch, tiny_files() | {
        "train/n02/images/n02_1.JPEG": b"no image"}))
    monkeypatch.setattr(archives, "LARGEST_IMAGE", 100)
    assert "bytes unpacked" in ask(tiny(place, monkeypatch, tiny_files()))
    replaced(monkeypatch, "tiny_imagenet", url="http://127.0.0.1:9/a.zip")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert "no answer from http://127.0.0.1:9/a.zip" in one_line(data.prepare, "tiny_imagenet", download=True)
    assert nothing_half(place / "prepared")


def test_imagewoof_is_packed_into_one_file(place, monkeypatch):
    source, path = data.source("imagewoof/160px"), place / "woof.tgz"
    with tarfile.open(path, "w:gz") as archive:
        for row, name in enumerate(("val/n02115641/x.JPEG", "train/n02086240/b.JPEG", "train/n02105641/c.JPEG",
                                    "train/n02086240/a.JPEG", "noisy.csv", "../train/n02086240/out.JPEG")):
            info = tarfile.TarInfo(f"imagewoof2-160/{name}")
            info.size = len(IMAGES[row][0])
            archive.addfile(info, io.BytesIO(IMAGES[row][0]))
    replaced(monkeypatch, source.name, splits={"train": 3, "test": 1}, md5=hashlib.md5(path.read_bytes()).hexdigest())
    data.prepare(source.name, origin=path)
    dataset = data.load(source.name)
    images, labels = dataset.train
    assert labels.tolist() == [0, 0, 7] and [images.read(i) for i in range(3)] == [IMAGES[i][0] for i in (3, 1, 2)]
    test, test_labels = dataset.open_test()
    assert test_labels.tolist() == [9] and test.decode(0).shape == (20, 8, 3)
    folder = place / "prepared/imagewoof/160px/2"
    assert sorted(file.name for file in folder.iterdir()) == sorted(
        [*source.arrays(), *source.other_files, "manifest.json"])
    opened = []
    for hashing in (prepared, encoded):
        monkeypatch.setattr(hashing, "open", lambda path, *mode, **more: opened.append(Path(path).name) or open(
            path, *mode, **more), raising=False)
    data.verify(source.name)
    assert opened.count("images.bin") == 1                 # its sha256 is both in the manifest and in files.txt
    with tarfile.open(path) as archive:                    # unpacked, the files come by name
        for member in archive.getmembers()[:5]:
            (place / member.name).parent.mkdir(parents=True, exist_ok=True)
            (place / member.name).write_bytes(archive.extractfile(member).read())
    assert data.prepare(source.name, force=True, origin=place / "imagewoof2-160").sha256 == dataset.sha256
    flip_bit(folder / "images.bin")
    assert "images.bin is damaged" in one_line(data.load, source.name)


# -------------------------------------------------------------------------------------------------------- graphs

class CSR:
    """Pickled as SciPy's matrices are: by the name of their class, and their attributes."""

    def __init__(self, dense):
        rows, cols = np.nonzero(dense)
        self.data, self.indices, self._shape = np.ones(len(rows), "f4"), cols.astype("i4"), dense.shape
        self.indptr = np.concatenate([[0], np.cumsum((dense != 0).sum(axis=1))]).astype("i4")


CSR.__module__, CSR.__qualname__, CSR.__name__ = "scipy.sparse.csr", "csr_matrix", "csr_matrix"
WORDS = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1]])
CLASSES = np.array([0, 1, 1, 0, 1, 0])
LINKS = {0: [1, 2, 2], 1: [0], 2: [0, 5, 2], 3: [], 4: [5], 5: [2, 4]}


@pytest.fixture
def planetoid(place, monkeypatch):
    """A graph of six vertices: two to train on, one to validate, the last two to test, told in the order 5, 4."""
    monkeypatch.setattr(importlib.import_module("scipy.sparse.csr"), "csr_matrix", CSR)        # so that it pickles
    folder, one_hot = place / "planetoid", np.eye(2, dtype="i4")[CLASSES]
    folder.mkdir()
    test = [5, 4]
    for key, value in {"x": CSR(WORDS[:2]), "y": one_hot[:2], "allx": CSR(WORDS[:4]), "ally": one_hot[:4],
                       "tx": CSR(WORDS[test]), "ty": one_hot[test], "graph": LINKS}.items():
        (folder / f"ind.cora.{key}").write_bytes(pickle.dumps(value, protocol=2))
    (folder / "ind.cora.test.index").write_text("5\n4\n")
    replaced(monkeypatch, "cora", shape=(6, 4), features=4, edges=4, validation=1, splits={"train": 2, "test": 2},
             classes=("a", "b"))
    return folder


@pytest.mark.filterwarnings("ignore")
def test_cora_from_planetoids_files_and_from_arrays(planetoid, place):
    data.prepare("cora", origin=planetoid)
    dataset = data.load("cora")
    graph = dataset.graph
    sums = np.maximum(WORDS.sum(axis=1, keepdims=True), 1)
    np.testing.assert_allclose(graph["features"], WORDS / sums, rtol=1e-6)
    assert graph["features"].dtype == np.float32 and graph["edges"].dtype == np.int64
    assert graph["edges"].tolist() == [[0, 1], [0, 2], [2, 5], [4, 5]] and graph["labels"].tolist() == CLASSES.tolist()
    assert [graph[part].tolist() for part in ("train", "validation", "test")] == [[0, 1], [2], [4, 5]]
    assert dataset.kind == "graph" and "a graph" in one_line(lambda: dataset.train)
    assert "it is no graph" in one_line(lambda: data.load("digits").graph)
    rows, cols = np.nonzero(WORDS)
    np.savez(place / "cora.npz", feature_row=rows, feature_col=cols, feature_shape=WORDS.shape, label=CLASSES,
             edge=[[1, 0], [0, 2], [2, 5], [5, 4]], train_index=[0, 1], val_index=[2], test_index=[4, 5])
    assert data.prepare("cora", force=True, origin=place / "cora.npz").sha256 == dataset.sha256


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file", ["graph", "allx"])
def test_a_hostile_pickle_is_refused_before_it_runs(planetoid, place, file):
    ran = place / "ran"
    (planetoid / f"ind.cora.{file}").write_bytes(pickle.dumps({0: Hostile(ran)}, protocol=2))
    said = one_line(data.prepare, "cora", origin=planetoid)
    assert "system, which no copy needs" in said and not ran.exists()
    np.savez(place / "cora.npz", **{key: np.array([Hostile(ran)], object) for key in cora.FROM_NPZ})
    assert "cora.npz is damaged or no copy of it" in one_line(data.prepare, "cora", origin=place / "cora.npz")
    assert not ran.exists() and nothing_half(place / "prepared")


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_or_missing_cora_is_told(planetoid, place):
    assert "cora is not here: fetch the eight files" in one_line(data.load, "cora")
    assert data.status_of(data.source("cora"))["state"] == "to be given"
    (planetoid / "ind.cora.graph").write_bytes(pickle.dumps({0: [17]}, protocol=2))
    assert "a link to a vertex that there is not" in one_line(data.prepare, "cora", origin=planetoid)
    (planetoid / "ind.cora.graph").write_bytes(pickle.dumps({0: [1]}, protocol=2))
    assert "edges of shape (1, 2), expected (4, 2)" in one_line(data.prepare, "cora", origin=planetoid)
    (planetoid / "ind.cora.tx").write_bytes((planetoid / "ind.cora.tx").read_bytes()[:-9])
    assert "damaged or no copy" in one_line(data.prepare, "cora", origin=planetoid)
    (planetoid / "ind.cora.x").unlink()
    assert "ind.cora.x: no such file" in one_line(data.prepare, "cora", origin=planetoid)
    (planetoid / "ind.cora.x").mkdir()
    assert "ind.cora.x cannot be read (Is a directory)" in one_line(data.prepare, "cora", origin=planetoid)
    assert nothing_half(place / "prepared")


# -------------------------------------------------------------------------------------------------------- videos

def test_moving_digits_are_always_the_same_and_move_as_their_label_says(place):
    dataset = data.load("moving_digits")
    videos, labels = dataset.train
    assert dataset.kind == "videos" and dataset.identity.startswith("known: ")
    assert videos.shape == (2874, 16, 32, 32, 1) and videos.dtype == np.uint8
    counts = np.bincount(labels)
    assert len(counts) == 8 and counts.max() - counts.min() <= 20
    speeds = set()
    for n in range(0, len(videos), 41):
        dy, dx = moving_digits.DIRECTIONS[dataset.classes[labels[n]]]
        first, second, last = videos[n, 0], videos[n, 1], videos[n, 15]
        speed = next(v for v in (1, 2) if np.array_equal(np.roll(first, (v * dy, v * dx), (0, 1)), second))
        assert np.array_equal(np.roll(first, (15 * speed * dy, 15 * speed * dx), (0, 1)), last)
        speeds.add(speed)
    assert speeds == {1, 2}
    digits = data.load("digits")                          # a test video shows a digit of the test part
    test, test_labels = dataset.open_test()
    shown = {frame.sum() for frame in test[:, 0].astype(int)}
    assert shown == {4 * image.sum() for image in digits.open_test()[0].astype(int)}
    assert len(np.unique(test_labels)) == 8


def test_neither_place_nor_digit_tells_the_direction(place):
    source = data.source("moving_digits_by_digit")
    digits = np.zeros((200, 16, 16), np.uint8)
    digits[:, 8, 8] = 255
    names = np.arange(200) % 10
    videos, labels = source._videos("train", digits, names)
    assert np.array_equal(labels // 4, names[np.arange(800) % 200])
    directions = labels % 4
    for name in range(10):
        counts = np.bincount(directions[labels // 4 == name], minlength=4)
        assert counts.tolist() == [20] * 4
    at = videos[:, 0, :, :, 0].reshape(800, -1).argmax(axis=1)
    rows, columns = at // 32, at % 32
    for direction in range(4):
        own = directions == direction
        assert abs(rows[own].mean() - 15.5) < 3 and abs(columns[own].mean() - 15.5) < 3
    assert np.array_equal(videos, source._videos("train", digits, names)[0])


# ------------------------------------------------------------------------- without TensorFlow, and the command

def test_prepared_copies_need_neither_tfds_nor_tensorflow(copy, planetoid, pets):
    data.prepare("imagenette")
    data.prepare("cora", origin=planetoid)
    data.prepare("moving_digits")
    code = ("import sys\n"
            "sys.modules.update(dict.fromkeys(('tensorflow', 'tensorflow_datasets', 'keras', 'sklearn')))\n"
            "import dataclasses\n"
            "from cnn_repro.repro import data\n"
            "from cnn_repro.repro.data import sources\n"
            "sources._SOURCES['imagenette'] = dataclasses.replace(sources._SOURCES['imagenette'], "
            "splits={'train': 9, 'test': 3})\n"
            "sources._SOURCES['cora'] = dataclasses.replace(sources._SOURCES['cora'], shape=(6, 4), features=4, edges=4, "
            "validation=1, splits={'train': 2, 'test': 2})\n"
            f"print(data.load('imagenette').train[0].decode(3).shape, data.load({f'folder:{pets}'!r}).train[1].sum(), "
            "data.load('cora').graph['features'].shape, data.load('moving_digits').train[0].shape)\n")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout == "(17, 17, 3) 1 (6, 4) (2874, 16, 32, 32, 1)\n", run.stderr


def test_the_command_lists_prepares_and_verifies(pets, place, capsys):
    name = f"folder:{pets}"
    assert main(["data", "verify"]) == 0 and "nothing is prepared" in capsys.readouterr().out
    assert main(["data", "list", name]) == 0
    assert f"{name} Images of my pets (version 1): on disk" in capsys.readouterr().out
    assert main(["data", "prepare", name, "digits"]) == 0 and main(["data", "verify", name]) == 0
    capsys.readouterr()
    assert main(["data", "verify"]) == 0 and capsys.readouterr().out.startswith("digits 1.0.0: sha256 ")
    assert main(["data", "list", "digits", "tiny_imagenet", "cora"]) == 0
    out = capsys.readouterr().out
    assert "train 1,437, test 360, 10 classes, 0.1 MB" in out and "CC BY 4.0" in out
    assert "version 1.0.0): to download" in out and "version 1.0.0): to be given" in out
    assert main(["data", "prepare", "digits", name, "--from", "x"]) == 2 and main(["data", "list", "folder:"]) == 2
    assert main(["data", "prepare", "digits", "--force", "--from", "x"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3 and "--from PATH is for one NAME" in errors[0] and "leave --from x out" in errors[2]


def test_the_classes_of_registered_sources_are_theirs():
    tfds = pytest.importorskip("tensorflow_datasets")
    for name in data.names():
        source = data.source(name)
        assert source.classes and source.citation and source.kind in ("images", "videos", "graph")
        if source.kind == "images":
            assert len(source.shape) == 3 and source.shape[-1] in (1, 3)
    assert len(set(data.source("cifar100").classes)) == 100
    assert list(data.source("cifar100").classes) == sorted(data.source("cifar100").classes)
    thousand = (Path(tfds.__file__).parent / "datasets/imagenet2012/labels.txt").read_text().split()
    assert set(data.source("imagewoof").synsets) <= set(thousand) and len(data.source("imagewoof").synsets) == 10

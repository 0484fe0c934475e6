"""Published weights on classes of ImageNet: how images are cut and counted, and the whole command on a small copy.

The copy is written by TFDS itself, ten images of known labels; what the command prints is asserted to the digit. The
real Imagenette is read where TFDS_DATA_DIR has it.
"""
import dataclasses
import hashlib
import io
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from cnn_repro.architectures import ArchitectureError, ImageInput, WeightsError, image_input
from cnn_repro.repro import data
from cnn_repro.repro.accuracy import ImageError, accuracy, prepare, rank, scaled
from cnn_repro.repro.cli import main
from cnn_repro.repro.data import DataError, sources, streamed
from cnn_repro.repro.record import read_record

NETWORK = "mobilenet_v1_025_keras"
LABELS = [4, 4, 4, 4, 8, 8, 8, 0, 0, 9]                     # churches, golf balls, tenches, a parachute
COLOURS = np.array([(250, 10, 20), (30, 240, 10), (20, 30, 245)])


def jpeg(image: np.ndarray, kind="JPEG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.astype("uint8")).save(file, kind, **({"quality": 100} if kind == "JPEG" else {}))
    return file.getvalue()


# ------------------------------------------------------------------------------------------------ images and scaling

def test_the_middle_of_the_resized_image_is_taken():
    """A ramp says which pixel is where: column x of the half-sized image lies at 2x + 1/2 of the whole."""
    ramp = np.broadcast_to(np.arange(300)[np.newaxis, :, np.newaxis] * 0.8, (200, 300, 3)).round()
    for image, axis in ((ramp, 1), (ramp.transpose(1, 0, 2), 0)):
        middle = prepare(jpeg(image, "PNG"), ImageInput(side=80, resize=100, mode="tf"))
        assert middle.shape == (80, 80, 3) and middle.dtype == np.uint8
        expected = 0.8 * (2 * np.arange(35, 115) + 0.5)     # 150 − 80 = 70 pixels go, 35 in front
        np.testing.assert_allclose(middle.mean(axis=(1 - axis, 2)), expected, atol=1)
        assert np.ptp(middle, axis=1 - axis).max() == 0


def test_reducing_averages_all_pixels():
    """Antialiased: single white lines become grey, none is left out."""
    lines = np.zeros((256, 256, 3))
    lines[:, ::8] = 255
    middle = prepare(jpeg(lines, "PNG"), ImageInput(32, 32, "tf"))
    assert abs(middle[4:-4, 4:-4].mean() - 255 / 8) < 1 and middle.max() < 64


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P"])
def test_other_kinds_of_images_become_rgb(mode):
    file = io.BytesIO()
    grey = Image.new("RGB", (40, 30), (200, 200, 200)).convert(mode, palette=Image.Palette.ADAPTIVE)
    grey.save(file, "PNG" if mode in ("P", "RGBA") else "JPEG")
    middle = prepare(file.getvalue(), ImageInput(16, 20, "tf"))
    assert middle.shape == (16, 16, 3) and np.abs(middle.astype(int) - 200).max() <= 3


def test_an_image_that_cannot_be_read_is_one_line():
    for content in (b"", b"no image", jpeg(np.zeros((64, 64, 3)))[:200]):
        with pytest.raises(ImageError, match="an image that Pillow does not read") as caught:
            prepare(content, ImageInput(16, 20, "tf"))
        assert "\n" not in str(caught.value)


def test_scaling_is_that_of_both_projects():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype("uint8")
    of = lambda mode: scaled(images, ImageInput(4, 4, mode))                                # noqa: E731
    exact = images.astype(float)
    mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)          # torchvision, ImageClassification
    expected = {"tf": exact / 127.5 - 1, "torch": (exact / 255 - mean) / deviation,
                "caffe": exact[..., ::-1] - (103.939, 116.779, 123.68)}
    for mode, inputs in expected.items():
        assert of(mode).dtype == np.float32
        np.testing.assert_allclose(of(mode), inputs, atol=1e-4)
    # torchvision's transform_input of GoogLeNet and Inception-v3, behind its usual scale, comes to "tf"
    usual = of("torch")
    again = usual * np.array(deviation) / 0.5 + (np.array(mean) - 0.5) / 0.5
    np.testing.assert_allclose(again, of("tf"), atol=1e-5)


def test_sizes_and_modes_of_torchvision():
    usual = ImageInput(224, 256, "torch")
    for name in ("alexnet", "vgg16", "squeezenet", "resnet50_torchvision", "mobilenet_v2_torchvision"):
        assert image_input(name, "torchvision") == usual
    assert image_input("vgg16", "keras") == ImageInput(224, 256, "caffe")
    assert image_input("googlenet_torchvision", "torchvision") == ImageInput(224, 256, "tf")
    assert image_input("inception_v3_torchvision", "torchvision") == ImageInput(299, 342, "tf")
    with pytest.raises(WeightsError, match="resnet50_keras is"):
        image_input("resnet50", "keras")
    with pytest.raises(ArchitectureError, match="no architecture"):
        image_input("resnet51", "torchvision")


# ---------------------------------------------------------------------------------------------------------- counting

def test_rank_is_the_place_in_a_stable_order():
    random = np.random.default_rng(0)
    scores = random.integers(0, 4, (200, 7)).astype("float32")              # many equal ones
    labels = random.integers(0, 7, 200)
    order = np.argsort(-scores, axis=1, kind="stable")
    expected = [row.tolist().index(label) for row, label in zip(order, labels)]
    assert rank(scores, labels).tolist() == expected


def colour_network(classes=20, mode="tf") -> keras.Model:
    """Scores 3, 7 and 11 are the mean red, green and blue; score 5 is above them all, 6 is far below."""
    kernel, bias = np.zeros((3, classes)), np.full(classes, -500.0)
    for channel, index in enumerate((11, 7, 3) if mode == "caffe" else (3, 7, 11)):
        kernel[channel, index], bias[index] = 1, 0
    bias[5] = 500
    inputs = keras.Input((8, 8, 3))
    layer = keras.layers.Dense(classes)
    model = keras.Model(inputs, layer(keras.layers.GlobalAveragePooling2D()(inputs)))
    layer.set_weights([kernel, bias])
    return model


@pytest.mark.parametrize("mode", ["tf", "caffe"])
@pytest.mark.parametrize("batch", [1, 4, 50])
def test_accuracy_of_known_images(mode, batch):
    """Nine images, three of which bear a wrong label; class 5 is best of all and not among the three."""
    shown = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    labels = [0, 0, 2, 1, 1, 0, 2, 2, 1]
    records = [(jpeg(np.broadcast_to(COLOURS[colour], (12, 10, 3))), label) for colour, label in zip(shown, labels)]
    seen = []
    found = accuracy(colour_network(mode=mode), records, ImageInput(8, 9, mode), (3, 7, 11), batch, seen.append)
    assert (found.images, found.classes) == (9, 3) and sum(seen) == 9 and len(seen) == -(-9 // batch)
    assert (found.top1, found.top5) == (pytest.approx(600 / 9), 100)        # five of three are all
    assert (found.top1_of_all, found.top5_of_all) == (0, 100)               # behind class 5, before all others
    absent = accuracy(colour_network(mode=mode), records, ImageInput(8, 9, mode), (6, 7, 11), batch)
    assert absent.top5_of_all == pytest.approx(600 / 9)                     # class 6 is further than fifth


def test_whole_images_are_seen_at_every_scale_and_mirrored():
    """A wide image, red on the left and blue on the right, and the same one upright: one image after the other."""
    image = np.zeros((12, 20, 3), "uint8")
    image[:, :14, 0], image[:, 14:, 2] = 250, 250
    records = [(jpeg(image, "PNG"), 0), (jpeg(image.transpose(1, 0, 2), "PNG"), 1)]
    shapes = []

    class Model:
        name = "left"

        def predict_on_batch(self, batch):
            """Class 0 by the red of the left column, class 1 by the blue of the last row."""
            shapes.append(batch.shape)
            return np.stack([batch[:, :, 0, 0].mean(axis=1), batch[:, -1, :, 2].mean(axis=1)], axis=1)

    found = accuracy(Model(), records, ImageInput(8, 9, "tf"), (0, 1), scales=(12, 24))
    assert shapes == [(2, 12, 20, 3), (2, 24, 40, 3), (2, 20, 12, 3), (2, 40, 24, 3)]
    assert (found.images, found.top1) == (2, 100)
    with pytest.raises(ImageError, match="an image that Pillow does not read"):
        accuracy(Model(), [(b"no image", 0)], ImageInput(8, 9, "tf"), (0, 1), scales=(12,))


def test_no_images_and_no_numbers_are_told():
    with pytest.raises(ImageError, match="no image"):
        accuracy(colour_network(), [], ImageInput(8, 9, "tf"), (3, 7, 11))
    model = colour_network()
    model.layers[-1].set_weights([np.full((3, 20), np.nan), np.zeros(20)])
    with pytest.raises(ImageError, match="not finite"):
        accuracy(model, [(jpeg(np.zeros((9, 9, 3))), 0)], ImageInput(8, 9, "tf"), (3, 7, 11))


# ----------------------------------------------------------------------------------------------------------- classes

def test_the_ten_classes_are_where_tfds_lists_them():
    lists = Path(tfds.__file__).parent
    thousand = (lists / "datasets/imagenet2012/labels.txt").read_text().split()
    ten = (lists / "image_classification/imagenette_labels.txt").read_text().split()
    source = data.source("imagenette")
    assert list(source.synsets) == ten
    assert list(source.imagenet) == [thousand.index(synset) for synset in ten]
    assert thousand == sorted(thousand) and data.source("imagenet").imagenet == tuple(range(1000))
    assert source.imagenet == (0, 217, 482, 491, 497, 566, 569, 571, 574, 701)


# -------------------------------------------------------------------------------------------------------- the stream

def write_copy(folder, images, names, config="160px-v2"):
    """A TFDS copy of (image, label) in which every image is another grey."""
    features = tfds.features.FeaturesDict({"image": tfds.features.Image(encoding_format="jpeg"),
                                           "label": tfds.features.ClassLabel(names=list(names))})
    records = tf.data.Dataset.from_tensor_slices({"image": images[0], "label": images[1]})
    tfds.dataset_builders.store_as_tfds_dataset(
        name="imagenette", version="1.0.0", config=config, data_dir=folder, features=features,
        split_datasets={"validation": records}, disable_shuffling=True)


@pytest.fixture(scope="module")
def whole_copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds copy")
    greys = np.broadcast_to(20 * np.arange(10).reshape(10, 1, 1, 1), (10, 40, 50, 3)).astype("uint8")
    write_copy(folder, (greys, np.array(LABELS)), data.source("imagenette").synsets)
    return folder


@pytest.fixture
def copy(whole_copy, monkeypatch):
    """Imagenette of ten images; returns the folder that it is read from."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(whole_copy))
    monkeypatch.setitem(sources._SOURCES, "imagenette", dataclasses.replace(
        data.source("imagenette"), splits={"train": 0, "test": 10}))
    return whole_copy / "imagenette" / "160px-v2" / "1.0.0"


@pytest.mark.slow
def test_records_come_in_the_order_of_the_files_and_as_they_are_stored(copy):
    source = data.source("imagenette")
    assert source.here() and source.place() == copy
    found = list(source.records())
    assert [label for _, label in found] == LABELS
    for index, (content, _) in enumerate(found):
        image = np.asarray(Image.open(io.BytesIO(content)))
        assert content[:2] == b"\xff\xd8" and image.shape == (40, 50, 3) and abs(image.mean() - 20 * index) < 2
    assert list(source.records(images=4)) == found[:4]
    part = source.records()
    assert next(part) == found[0]
    part.close()                                            # whoever has enough leaves no process behind


def test_the_best_size_that_is_here_is_read_and_one_can_be_named(copy, tmp_path, monkeypatch):
    assert data.source("imagenette/160px-v2").place() == copy
    with pytest.raises(DataError, match="imagenette/320px-v2 is not here: nothing in .*tfds build"):
        next(data.source("imagenette/320px-v2").records())
    with pytest.raises(DataError, match="no size '80px' .there are full-size-v2, 320px-v2, 160px-v2"):
        data.source("imagenette/80px")
    with pytest.raises(DataError, match="no data set 'digits/1'"):
        data.source("digits/1")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for size in ("160px-v2", "320px-v2"):
        (tmp_path / "imagenette" / size / "1.0.0").mkdir(parents=True)
        (tmp_path / "imagenette" / size / "1.0.0" / "dataset_info.json").touch()
        assert data.source("imagenette").place().parent.name == size
    with pytest.raises(DataError, match="imagenet is not here: .*image-net.org .* `tfds build imagenet2012`"):
        data.source("imagenet").place()


def one_line(records) -> str:
    with pytest.raises(DataError) as caught:
        list(records)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.slow
def test_a_damaged_copy_is_found(copy, tmp_path, monkeypatch):
    damaged = tmp_path / "imagenette" / "160px-v2" / "1.0.0"
    damaged.mkdir(parents=True)
    for path in copy.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    source, file = data.source("imagenette"), next(damaged.glob("*.tfrecord*"))
    content = file.read_bytes()
    file.write_bytes(content[:-5])
    assert f"the TFDS copy in {damaged} is damaged" in one_line(source.records())
    end = 0
    for _ in range(7):                                  # a record: length (8 bytes), checksum (4), data, checksum (4)
        end += 16 + int.from_bytes(content[end:end + 8], "little")
    file.write_bytes(content[:end])
    assert "contained only 7 elements" in one_line(source.records())


@pytest.mark.slow
def test_a_copy_of_fewer_images_is_found(copy):
    """Whole, as TFDS sees it, and not what the name promises."""
    source = dataclasses.replace(data.source("imagenette"), splits={"train": 0, "test": 3925})
    assert one_line(source.records()) == f"imagenette: the TFDS copy in {copy} is damaged (10 images, expected 3,925)"


@pytest.mark.slow
def test_other_classes_are_refused(copy, tmp_path, monkeypatch):
    backwards = reversed(data.source("imagenette").synsets)
    write_copy(tmp_path, (np.zeros((1, 8, 8, 3), "uint8"), np.array([0])), backwards)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert "are not 10 of ImageNet's in their order" in one_line(data.source("imagenette").records())


def test_a_process_that_ends_early_is_told_with_its_last_line(copy, tmp_path, monkeypatch):
    program = tmp_path / "child.py"
    program.write_text("import sys; sys.exit('out of luck')")
    monkeypatch.setattr(streamed, "CHILD", program)
    assert one_line(data.source("imagenette").records()) == (
        "imagenette: the reading process ended early (out of luck)")


def test_a_streamed_data_set_need_not_be_prepared(copy, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CNN_REPRO_DATA", str(tmp_path))
    with pytest.raises(DataError, match="imagenette is not prepared in .*; run `python -m repro data prepare imagenette`"):
        data.verify("imagenette")
    with pytest.raises(DataError, match="imagenet is not here: .*image-net.org"):
        data.load("imagenet")
    row = next(row for row in data.status() if row["name"] == "imagenette")
    assert (row["state"], row["folder"], row["classes"]) == ("on disk", str(copy), 10)
    assert main(["data", "list", "imagenette", "imagenet"]) == 0
    assert re.search(r"^imagenet .*: to download$", capsys.readouterr().out, re.M)


# ------------------------------------------------------------------------------------------------------- the command

@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights whose scores are the same for every image: church, golf ball, and behind them tench, 2, 3, 5, 6, …"""
    path = tmp_path_factory.mktemp("published") / "a.weights.h5"
    model = keras.applications.MobileNet(alpha=0.25, weights=None)
    layer = model.get_layer("conv_preds")
    bias = -np.arange(1000) / 1000
    bias[[497, 2, 574]] = 9, 8, 7
    layer.set_weights([np.zeros(layer.kernel.shape), bias])
    model.save_weights(path)
    return path


def evaluated(runs, *arguments) -> tuple[int, dict]:
    """The exit code and the record that the command left."""
    code = main(["evaluate", NETWORK, "--runs", str(runs), *map(str, arguments)])
    return code, read_record(max(runs.glob("evaluation-*/record.json"), key=lambda path: path.stat().st_mtime_ns))


def test_the_command_counts_exactly(copy, weights, tmp_path, capsys):
    """4 of 10 are churches, the best. Of the ten classes golf balls come second, then 0, 217, …: parachutes last.

    Of all thousand: 497, 2, 574, 0, 1 are the first five.
    """
    code, record = evaluated(tmp_path, "--weights", weights, "--dataset", "imagenette", "--origin", "made for this test")
    assert code == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == (f"{NETWORK} with keras weights of {weights} on 10 images of imagenette/160px-v2: "
                     "shorter side 256, middle 224×224, scaled as 'tf'")
    assert re.fullmatch(r"top-1 40\.00 %, top-5 90\.00 % of 10 images, \d+ images/s; one of its 10 classes", lines[0])
    assert lines[1].startswith("top-1 40.00 %, top-5 90.00 % among all 1,000 classes; most of its images are")
    assert lines[2] == str(tmp_path / record["id"] / "record.json")
    assert record["result"] == pytest.approx({"top1_error": 60, "top5_error": 10, "top1_error_of_all": 60,
                                              "top5_error_of_all": 10})
    assert record["weights"] == {"file": weights.name, "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
                                 "project": "keras", "origin": "made for this test"}
    assert (record["architecture"], record["paper"]) == (NETWORK, "howard2017")
    assert {key: record["dataset"][key] for key in ("name", "read", "images", "of", "classes")} == {
        "name": "imagenette", "read": "imagenette/160px-v2", "images": 10, "of": 10, "classes": 10}
    code, record = evaluated(tmp_path, "--weights", weights, "--dataset", "imagenette/160px-v2", "--images", "5",
                             "--resize", "232")
    assert code == 0 and (record["dataset"]["images"], record["weights"]["origin"]) == (5, "")
    first, line, *_ = capsys.readouterr().out.splitlines()
    assert "on 5 images" in first and "shorter side 232" in first
    assert line.startswith("top-1 80.00 %, top-5 100.00 % of 5 images")


@pytest.mark.slow
def test_the_command_looks_at_whole_images(copy, weights, tmp_path, capsys):
    code, record = evaluated(tmp_path, "--weights", weights, "--dataset", "imagenette", "--images", "5",
                             "--scales", "224", "256")
    assert code == 0 and record["scales"] == [224, 256]
    first, line, *_ = capsys.readouterr().out.splitlines()
    assert "160px-v2: whole, with the shorter side at 224, 256, and their mirror images, scaled as 'tf'" in first
    assert line.startswith("top-1 80.00 %, top-5 100.00 % of 5 images")


@pytest.mark.slow
def test_all_thousand_classes_of_imagenet(copy, weights, tmp_path, monkeypatch, capsys):
    """497 is best, 2 second, 574 third, 0 and 1 next; 999 last."""
    folder = tmp_path / "imagenette" / "160px-v2"
    write_copy(tmp_path, (np.zeros((5, 30, 30, 3), "uint8"), np.array([497, 2, 1, 4, 999])),
               [f"n{index:08d}" for index in range(1000)])
    (tmp_path / "imagenet2012").mkdir()
    (folder / "1.0.0").rename(tmp_path / "imagenet2012" / "5.1.0")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    capsys.readouterr()
    code, record = evaluated(tmp_path / "runs", "--weights", weights, "--dataset", "imagenet", "--images", "5")
    assert code == 0 and record["result"]["top5_error"] == record["result"]["top5_error_of_all"] == pytest.approx(40)
    first, line, _ = capsys.readouterr().out.splitlines()
    assert "on 5 images of imagenet2012:" in first
    assert re.fullmatch(r"top-1 20\.00 %, top-5 60\.00 % of 5 images, \d+ images/s", line)


@pytest.mark.parametrize("arguments, code, message", [
    (["resnet51", "--weights", "a.h5", "--dataset", "imagenette"], 2, "no architecture 'resnet51', did you mean"),
    ([NETWORK, "--weights", "FILE"], 2, "--weights needs --dataset imagenette or imagenet"),
    ([NETWORK, "--weights", "FILE", "--dataset", "imagenete"], 2, "did you mean 'imagenet"),
    ([NETWORK, "--weights", "FILE", "--dataset", "imagenette/80px"], 2, "no size '80px'"),
    ([NETWORK, "--weights", "FILE", "--dataset", "cifar10"], 2, "imagenette or imagenet, not on cifar10"),
    ([NETWORK, "--weights", "FILE", "--dataset", "imagenette", "--images", "0"], 2, "--images is a positive number"),
    ([NETWORK, "--weights", "a.npz", "--dataset", "imagenette"], 2, "a file ending in .h5, .hdf5, .safetensors"),
    ([NETWORK, "--weights", "a.h5", "--dataset", "imagenette"], 1, "a.h5: no such file of weights"),
    ([NETWORK, "--weights", "FILE", "--dataset", "imagenet"], 1, "imagenet is not here"),
    ([NETWORK, "--weights", "FILE", "--dataset", "imagenette", "--resize", "200"], 2,
     "--resize 200 is below the input of 224 pixels"),
    ([NETWORK, "--weights", "FILE", "--dataset", "imagenette", "--scales", "256", "200"], 2,
     "--scales 200 is below the input of 224 pixels"),
    ([NETWORK, "--weights", "FILE", "--dataset", "imagenette", "--scales", "256", "--resize", "256"], 2,
     "--resize is for the middle of an image, --scales looks at all of it: leave one of them out"),
    (["mobilenet_v1_025", "--weights", "FILE", "--dataset", "imagenette"], 1, "mobilenet_v1_025_keras is"),
    (["mobilenet_v1_050_keras", "--weights", "FILE", "--dataset", "imagenette"], 1, "not the weights of"),
    ([NETWORK, "--weights", "FILE", "--dataset", "imagenette", "--keep"], 2,
     "--keep is for all images and weights of a known origin: leave --images out, and say with --origin"),
    (["somewhere", "--images", "5"], 2, "--images, --resize, --scales, --origin and --keep are for a network with")])
def test_what_is_wrong_is_one_line(arguments, code, message, copy, weights, capsys):
    assert main([str(weights) if word == "FILE" else word for word in ["evaluate", *arguments]]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("repro: ") and message in err, err


def test_a_damaged_image_ends_the_command(copy, weights, monkeypatch, capsys):
    monkeypatch.setattr(streamed.Streamed, "records", lambda *_: iter([(b"no image", 0)]))
    assert main(["evaluate", NETWORK, "--weights", str(weights), "--dataset", "imagenette"]) == 1
    assert "an image that Pillow does not read" in capsys.readouterr().err


def test_a_files_ending_says_whose_it_is():
    from cnn_repro.repro import cli
    from cnn_repro.architectures.keras_weights import ENDINGS
    assert {ending for ending, project in cli.PROJECTS.items() if project == "keras"} == set(ENDINGS)


# ------------------------------------------------------------------------------------------------------- real images

@pytest.mark.real_data
def test_real_imagenette_is_read_and_judged(weights, tmp_path, capsys):
    """Constant scores: exactly the churches are right."""
    source = data.source("imagenette")
    if not source.here():
        pytest.skip("no imagenette under TFDS_DATA_DIR or TFDS's own folder")
    records = list(source.records())
    labels = np.array([label for _, label in records])
    counts = np.bincount(labels)
    assert len(records) == 3925 and len(counts) == 10 and counts.min() > 350 and counts.max() < 420
    assert all(prepare(content, ImageInput(224, 256, "tf")).shape == (224, 224, 3) for content, _ in records[::100])
    assert evaluated(tmp_path, "--weights", weights, "--dataset", "imagenette", "--images", "60")[0] == 0
    churches = (labels[:60] == 4).mean()
    assert 0 < churches < 0.3
    assert f"top-1 {100 * churches:.2f} %" in capsys.readouterr().out

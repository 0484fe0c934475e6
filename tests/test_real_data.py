"""The main job on real images: MNIST and CIFAR-10 from TFDS_DATA_DIR, through the command line; Imagenette by its index."""
import json

import numpy as np
import pytest

from cnn_repro.repro import data
from cnn_repro.repro.cli import main

pytestmark = [pytest.mark.real_data]


# data set, network, settings, and an error in % that chance (90 %) and a broken step do not reach
JOBS = [("mnist", "lenet5_modern", ["schedule.stop=1"], 5.0),
        ("cifar10", "resnet20_cifar", ['schedule={kind="step",rate=0.05,stop=120}', "validation=0"], 75.0)]


@pytest.mark.parametrize("name, network, settings, bound", JOBS, ids=[job[0] for job in JOBS])
def test_real_images_are_learnt_and_recorded(name, network, settings, bound, tmp_path, capsys):
    state = next(row["state"] for row in data.status() if row["name"] == name)
    if state not in ("prepared", "on disk"):
        pytest.skip(f"{name} is not here: set TFDS_DATA_DIR to a folder that has it")
    options = [word for setting in settings for word in ("--set", setting)]
    assert main(["train", network, "--dataset", name, "--recipe", "short", "--runs", str(tmp_path), *options]) == 0
    run, = tmp_path.iterdir()
    record = json.loads((run / "record.json").read_text())
    assert record["status"] == "finished" and record["dataset"]["identity"]
    assert record["result"]["test_images"] == len(record["predictions"]["classes"]) == 10_000
    assert record["result"]["test_error"] < bound
    assert len(record["recipe"]["overrides"]) == len(settings)
    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 0
    said = capsys.readouterr().out
    assert said.count(f"{record['result']['test_error']:.2f} %") == 2       # the saved model and the record agree


def test_imagenette_is_indexed_and_read_in_any_order(tmp_path, monkeypatch):
    source = data.source("imagenette")
    if not source.here():
        pytest.skip("imagenette is not here: set TFDS_DATA_DIR to a folder that has it")
    monkeypatch.setenv("CNN_REPRO_DATA", str(tmp_path))
    dataset = data.load("imagenette")
    images, labels = dataset.train
    counts = np.bincount(labels)
    assert len(images) == 9469 and len(counts) == 10 and counts.min() >= 858 and counts.max() <= 993
    assert all(images.decode(i).shape[2] == 3 for i in range(0, 9469, 500))
    test, test_labels = dataset.open_test()
    assert all(test.read(i) == content and test_labels[i] == label
               for i, (content, label) in enumerate(source.records(300)))

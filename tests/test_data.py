"""Data: prepared arrays that prove what they are, a test set that opens once, draws that can be replayed."""
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cnn_repro.repro import data
from cnn_repro.repro.data import augmentation, prepared, sources


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty place for prepared arrays, with blanks in its path, and no TFDS copy anywhere."""
    place = tmp_path / "prepared arrays"
    monkeypatch.setenv("CNN_REPRO_DATA", str(place))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no tfds"))
    return place


def test_the_users_own_cache_is_left_alone():
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cnn_repro"
    assert not prepared.folder(sources.source("imagenette")).is_relative_to(cache)


def python(code: str, **environment) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment},
                          capture_output=True, text=True, timeout=120)


# ------------------------------------------------------------------------------------------ prepared arrays

def test_digits_from_nothing_to_both_splits(folder):
    dataset = data.load("digits")
    images, labels = dataset.train
    assert images.shape == (1437, 8, 8, 1) and images.dtype == np.uint8 and labels.dtype == np.int64
    assert images.min() == 0 and images.max() == 255 and len(np.unique(images)) == 17
    assert isinstance(images, np.memmap) and not images.flags.writeable
    test_images, test_labels = dataset.open_test()
    assert test_images.shape == (360, 8, 8, 1) and test_labels.shape == (360,)
    assert np.bincount(test_labels).min() >= 33          # file order, yet every digit is there
    assert dataset.classes == tuple("0123456789") and dataset.shape == (8, 8, 1)
    assert dataset.enlarge == "resize"
    assert dataset.identity.startswith("known: ")
    assert sorted(path.name for path in (folder / "digits" / "1.0.0").iterdir()) == sorted(
        [*sources.FILES, "manifest.json"])
    assert [path.name for path in (folder / "digits").iterdir()] == ["1.0.0"]      # no temporary folder stays


def test_the_test_set_opens_once(folder):
    dataset = data.load("digits")
    dataset.open_test()
    with pytest.raises(RuntimeError, match="opened once"):
        dataset.open_test()
    data.load("digits").open_test()                      # another run, another Dataset


def test_preparing_again_changes_nothing_and_force_rewrites(folder):
    first = data.prepare("digits")
    inode = (first.folder / "train_images.npy").stat().st_ino
    assert data.prepare("digits") == first
    assert (first.folder / "train_images.npy").stat().st_ino == inode
    again = data.prepare("digits", force=True)
    assert again.files == first.files and again.sha256 == first.sha256
    assert (first.folder / "train_images.npy").stat().st_ino != inode
    assert [path.name for path in first.folder.parent.iterdir()] == ["1.0.0"]


def flip_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-64])


def swap_key(path, key, value):
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, key: value}))


@pytest.mark.parametrize("file, damage, reason", [
    ("train_images.npy", flip_bit, "sha256"),
    ("test_labels.npy", flip_bit, "sha256"),
    ("test_images.npy", truncate, "bytes, expected"),
    ("train_labels.npy", Path.unlink, "missing"),
    ("manifest.json", Path.unlink, "manifest"),
    ("manifest.json", truncate, "manifest"),
    ("manifest.json", lambda path: path.write_text("[]"), "manifest"),
    ("manifest.json", lambda path: swap_key(path, "version", "0.9.0"), "digits 1.0.0"),
    ("manifest.json", lambda path: swap_key(path, "files", {name: {} for name in sources.FILES}), "manifest"),
    ("manifest.json", lambda path: swap_key(path, "sha256", "0" * 64), "content sha256"),
])
def test_damage_is_found_named_and_mended(folder, file, damage, reason):
    place = data.prepare("digits").folder
    damage(place / file)
    for ask in (data.verify, data.load, data.prepare):
        with pytest.raises(data.DataError) as caught:
            ask("digits")
        text = str(caught.value)
        assert str(place / file) in text and reason in text and "\n" not in text
        assert "python -m repro data prepare digits --force" in text
    data.prepare("digits", force=True)
    assert data.load("digits").identity.startswith("known: ")


def test_content_hash_names_the_data_not_the_file(folder):
    place = data.prepare("digits").folder
    before, original = data.verify("digits").sha256, data.verify("digits").files
    array = np.load(place / "train_images.npy")
    changed = array.copy()
    changed[0, 0, 0, 0] ^= 1
    np.save(place / "train_images.npy", changed)
    assert prepared._fingerprint(place, sources.FILES)[1] != before
    with open(place / "train_images.npy", "wb") as file:
        np.lib.format.write_array(file, array, version=(2, 0))       # the same array under another header
    files, content = prepared._fingerprint(place, sources.FILES)
    assert content == before and files["train_images.npy"]["sha256"] != original["train_images.npy"]["sha256"]


def test_a_fingerprint_reads_each_file_once_and_holds_none(tmp_path, monkeypatch):
    arrays = {"a.npy": np.arange(4 * 2 ** 20, dtype=np.int64).reshape(-1, 2 ** 10), "small.npy": np.arange(6).reshape(2, 3),
              "none.npy": np.zeros((0, 3), np.int64)}
    for file, array in arrays.items():
        np.save(tmp_path / file, array)
    (tmp_path / "images.bin").write_bytes(bytes(range(256)) * 2 ** 17)                    # 32 MiB each
    opened = []
    monkeypatch.setattr(prepared, "open", lambda path, mode: opened.append(path.name) or open(path, mode), raising=False)
    tracemalloc.start()
    files, content = prepared._fingerprint(tmp_path, [*arrays, "images.bin"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2 ** 20 and opened == [*arrays, "images.bin"]
    expected = hashlib.sha256()
    for file, array in arrays.items():
        expected.update(f"{file} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
        assert files[file] == {"shape": list(array.shape), "dtype": array.dtype.str, **noted(tmp_path / file)}
    expected.update(b"images.bin\n" + (tmp_path / "images.bin").read_bytes())
    assert content == expected.hexdigest() and files["images.bin"] == noted(tmp_path / "images.bin")
    np.save(tmp_path / "a.npy", np.asfortranarray(arrays["a.npy"]))            # the same array in another order
    assert prepared._fingerprint(tmp_path, [*arrays, "images.bin"])[1] == content


def noted(path):
    return {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_what_a_killed_process_left_goes_and_a_neighbours_stays(folder):
    before = data.prepare("digits")
    versions, now = before.folder.parent, time.time()
    ages = {".1.0.0.killed": (30, 25), ".1.0.0.writing": (30, 1), ".1.0.0.fresh": (0, None), ".other": (90, 90),
            "0.9.0": (90, 90)}
    for name, (made, written) in ages.items():          # hours since the folder and a file in it were touched
        (versions / name).mkdir()
        if written is not None:
            (versions / name / "train_images.npy").write_bytes(b"half")
            os.utime(versions / name / "train_images.npy", (now - 3600 * written,) * 2)
        os.utime(versions / name, (now - 3600 * made,) * 2)
    assert data.prepare("digits") == before
    assert {path.name for path in versions.iterdir()} == {"1.0.0", *ages} - {".1.0.0.killed"}


def test_missing_data_is_one_line_and_asks_no_network(folder, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing is started"))
    for ask in (data.load, data.prepare):
        with pytest.raises(data.DataError) as caught:
            ask("cifar10")
        text = str(caught.value)
        assert text.startswith("cifar10 is not here") and "\n" not in text and "TFDS_DATA_DIR" in text
        assert str(folder / "cifar10" / "3.0.2") in text and os.environ["TFDS_DATA_DIR"] in text
        assert "`python -m repro data prepare cifar10`" in text
    with pytest.raises(data.DataError, match="not prepared in .*`python -m repro data prepare mnist`"):
        data.verify("mnist")


def test_another_tfds_version_is_named(folder, tmp_path):
    other = tmp_path / "no tfds" / "mnist" / "1.0.0"
    other.mkdir(parents=True)
    (other / "dataset_info.json").write_text("{}")
    with pytest.raises(data.DataError, match="only version 1.0.0; 3.0.1 is needed"):
        data.load("mnist")


def test_download_without_a_network_is_one_line(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    unreachable = dataclasses.replace(data.source("mnist"), download_from="http://127.0.0.1:9")
    with pytest.raises(data.DataError) as caught:
        unreachable.write(tmp_path, download=True)
    text = str(caught.value)
    assert text.startswith("mnist: could not be downloaded") and "no answer from http://127.0.0.1:9" in text
    assert "`python -m repro data prepare mnist`" in text and "\n" not in text


def test_a_full_disk_leaves_the_old_copy(folder, monkeypatch):
    before = data.prepare("digits")

    def full(*_, **__):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(data.DataError, match="No space left on device.*CNN_REPRO_DATA"):
        data.prepare("digits", force=True)
    assert data.verify("digits") == before
    assert [path.name for path in before.folder.parent.iterdir()] == ["1.0.0"]


def test_without_a_usable_home_the_arrays_go_to_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("CNN_REPRO_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert prepared.folder(data.source("digits")) == tmp_path / "cnn_repro" / "digits" / "1.0.0"
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    monkeypatch.setattr(prepared.tempfile, "gettempdir", lambda: str(tmp_path / "elsewhere"))
    assert tmp_path / "elsewhere" in data.load("digits")._folder.parents


def test_two_processes_prepare_at_once(folder):
    code = ("from cnn_repro.repro import data\n"
            "data.load('digits')\n"
            "for _ in range(20): data.prepare('digits', force=True)\n")
    both = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) for _ in "ab"]
    for process in both:
        assert process.communicate(timeout=120)[1] == "" and process.returncode == 0
    assert data.load("digits").identity.startswith("known: ")
    assert [path.name for path in (folder / "digits").iterdir()] == ["1.0.0"]


def test_prepared_arrays_need_no_tensorflow(folder):
    data.prepare("digits")
    run = python("import sys; from cnn_repro.repro import data; data.load('digits').train[0].sum();"
                 "print({'tensorflow', 'keras', 'tensorflow_datasets', 'sklearn'} & set(sys.modules))",
                 LC_ALL="C")
    assert run.stdout == "set()\n", run.stderr


def test_status_and_registry(folder):
    assert data.names()[:3] == ["digits", "mnist", "cifar10"]
    assert [row["state"] for row in data.status()[:3]] == ["on disk", "to download", "to download"]
    place = data.prepare("digits").folder
    row = data.status()[0]
    assert row["state"] == "prepared" and row["identity"].startswith("known: ")
    assert row["folder"] == str(place)
    (place / "manifest.json").unlink()
    assert data.status()[0]["state"] == "damaged"
    with pytest.raises(data.DataError, match="did you mean 'cifar10'"):
        data.load("cifar-10")
    with pytest.raises(data.DataError, match="registered twice"):
        data.register(data.source("digits"))
    for name in data.names():
        source = data.source(name)
        assert source.enlarge in ("pad", "resize") and set(source.splits) == {"train", "test"}
        assert source.citation


# ----------------------------------------------------------------------------------------------------- split

@pytest.mark.parametrize("validation, size", [(0, 0), (0.0, 0), (100, 100), (0.25, 250), (1, 1), (999, 999)])
def test_split_is_disjoint_complete_and_always_the_same(validation, size):
    labels = np.arange(1000) % 10
    training, held_out = data.split(labels, validation)
    assert len(held_out) == size
    assert np.array_equal(np.sort(np.concatenate([training, held_out])), np.arange(1000))
    assert np.array_equal(training, np.sort(training))
    assert all(np.array_equal(a, b) for a, b in zip(data.split(labels, validation), (training, held_out)))
    counts = np.bincount(labels[held_out], minlength=10)
    assert counts.max() - counts.min() <= 1


def test_split_keeps_the_proportion_of_uneven_classes_and_is_not_a_prefix():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    held_out = data.split(labels, 101)[1]
    assert np.bincount(labels[held_out]).tolist() == [61, 30, 10]
    assert held_out[:60].max() > 300
    assert held_out[:5].tolist() == [13, 17, 24, 37, 47]     # pinned: NumPy must not change the split


@pytest.mark.parametrize("validation", [-1, 1000, 2.5, True, 1e-9, float("nan")])
def test_split_refuses_what_does_not_fit(validation):
    with pytest.raises(data.DataError, match="validation is"):
        data.split(np.zeros(1000, int), validation)


@pytest.mark.parametrize("validation", [0, 0.1, 5])
def test_split_without_training_images_says_so(validation):
    with pytest.raises(data.DataError, match="no training images"):
        data.split(np.zeros(0, int), validation)


# ------------------------------------------------------------------------------------------ augmentation

def test_any_batch_of_an_epoch_can_be_replayed():
    images = np.random.default_rng(0).normal(size=(50, 32, 32, 3)).astype(np.float32)
    names = ["pad4_crop32", "flip"]
    whole = data.Augmentation(names, 50, seed=3, epoch=7).apply(images, np.arange(50))
    for size in (1, 7, 50):
        again = data.Augmentation(names, 50, seed=3, epoch=7)
        parts = [np.arange(50)[i:i + size] for i in range(0, 50, size)]
        assert np.array_equal(np.concatenate([again.apply(images[part], part) for part in parts]), whole)
    for seed, epoch in ((3, 8), (4, 7)):
        other = data.Augmentation(names, 50, seed, epoch).apply(images, np.arange(50))
        assert not np.array_equal(other, whole)
    assert whole.dtype == np.float32 and whole.shape == images.shape
    assert data.Augmentation([], 50, 0, 0).apply(images, np.arange(50)) is images


def test_flip_mirrors_left_and_right_of_the_chosen():
    images = np.arange(2 * 2 * 3 * 1, dtype=np.float32).reshape(2, 2, 3, 1)
    flipped = augmentation.flip(images, np.array([False, True]))
    assert np.array_equal(flipped[0], images[0])
    assert flipped[1, :, :, 0].tolist() == [[8, 7, 6], [11, 10, 9]]
    assert images[1, 0, 0, 0] == 6


def test_order_is_a_permutation_of_its_epoch():
    first = data.order(1000, seed=0, epoch=1)
    assert np.array_equal(np.sort(first), np.arange(1000))
    assert np.array_equal(first, data.order(1000, seed=0, epoch=1))
    assert not np.array_equal(first, data.order(1000, seed=0, epoch=2))
    assert first[:5].tolist() == [423, 465, 287, 249, 367]          # pinned: NumPy must not change it


def test_unknown_augmentation():
    with pytest.raises(data.DataError, match="no augmentation 'rotate'"):
        data.Augmentation(["rotate"], 10, 0, 0)


# ---------------------------------------------------------------------------------------------- preprocessing

@pytest.mark.parametrize("old, new", [((8, 8), (32, 32)), ((8, 6), (13, 21)), ((12, 12), (5, 7))])
def test_resize_equals_keras(old, new):
    import keras
    images = np.random.default_rng(0).integers(0, 256, (3, *old, 2)).astype(np.uint8)
    inputs = images.astype("float32")
    expected = keras.ops.image.resize(inputs, new, interpolation="bilinear", antialias=False)
    layer = keras.layers.Resizing(*new, interpolation="bilinear")(inputs)
    resized = data.fit_to(images, new, "resize")
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, keras.ops.convert_to_numpy(expected), atol=1e-3)
    np.testing.assert_allclose(resized, keras.ops.convert_to_numpy(layer), atol=1e-3)


def test_pad_centres_in_zeros_and_keeps_the_dtype():
    images = np.full((2, 28, 28, 1), 7, np.uint8)
    padded = data.fit_to(images, (32, 33), "pad")
    assert padded.shape == (2, 32, 33, 1) and padded.dtype == np.uint8
    assert (padded[:, 2:30, 2:30] == 7).all() and padded.sum() == images.sum()
    assert data.fit_to(images, (28, 28), "resize") is images
    with pytest.raises(data.DataError, match="28×28 do not fit into an input of 24×24"):
        data.fit_to(images, (24, 24), "pad")
    with pytest.raises(data.DataError, match="no way 'stretch'"):
        data.fit_to(images, (32, 32), "stretch")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_preprocessing_is_what_its_formula_says(dtype):
    images = np.random.default_rng(0).integers(0, 256, (2345, 6, 5, 3)).astype(dtype)      # three blocks
    before = images.copy()
    exact = images.astype(np.float64)
    expected = {"per_pixel_mean": (exact - exact.mean(axis=0)) / 255,
                "mean_std": (exact - exact.mean(axis=(0, 1, 2))) / exact.std(axis=(0, 1, 2)),
                "lenet": exact / 255 * 1.275 - 0.1}
    for kind, inputs in expected.items():
        fitted = data.Preprocessing.fit(kind, images)
        applied = fitted.apply(images)
        assert applied.dtype == np.float32
        np.testing.assert_allclose(applied, inputs, atol=2e-6)
        assert np.array_equal(images, before)
        np.testing.assert_allclose(images * fitted.scale + fitted.offset, applied, atol=1e-6)


def test_lenet_background_and_foreground():
    applied = data.Preprocessing.fit("lenet", np.zeros((0, 1, 1, 1))).apply(np.array([0, 255], np.uint8))
    np.testing.assert_allclose(applied, [-0.1, 1.175], atol=1e-6)


def test_preprocessing_knows_only_what_it_was_fitted_to():
    images = np.random.default_rng(0).integers(0, 256, (100, 4, 4, 1)).astype(np.uint8)
    training, held_out = data.split(np.arange(100) % 10, 20)
    fitted = data.Preprocessing.fit("per_pixel_mean", images[training])
    np.testing.assert_allclose(fitted.apply(images[training]).mean(axis=0), 0, atol=1e-6)
    assert np.abs(fitted.apply(images[held_out]).mean(axis=0)).max() > 1e-3
    changed = images.copy()
    changed[held_out] = 0
    assert np.array_equal(data.Preprocessing.fit("per_pixel_mean", changed[training]).offset, fitted.offset)


def test_preprocessing_edges():
    assert np.isfinite(data.Preprocessing.fit("mean_std", np.full((5, 2, 2, 1), 9, np.uint8)).scale).all()
    with pytest.raises(data.DataError, match="no preprocessing 'whiten'"):
        data.Preprocessing.fit("whiten", np.zeros((1, 1, 1, 1)))
    with pytest.raises(data.DataError, match="no images"):
        data.Preprocessing.fit("mean_std", np.zeros((0, 1, 1, 1)))


# ------------------------------------------------------------------------------------------ real data

@pytest.fixture
def tfds_copy(request, tmp_path, monkeypatch):
    """The name of a data set that TFDS has on this machine; its prepared arrays go to an empty folder."""
    if not data.source(request.param).here():
        pytest.skip(f"no {request.param} under TFDS_DATA_DIR or TFDS's own folder")
    monkeypatch.setenv("CNN_REPRO_DATA", str(tmp_path))
    return request.param


@pytest.mark.real_data
@pytest.mark.parametrize("tfds_copy, smallest, largest", [("mnist", 5421, 6742), ("cifar10", 5000, 5000)],
                         indirect=["tfds_copy"])
def test_real_data_is_the_known_copy(tfds_copy, smallest, largest):
    dataset = data.load(tfds_copy)
    images, labels = dataset.train
    source = data.source(tfds_copy)
    assert images.shape == (source.splits["train"], *source.shape)
    counts = np.bincount(labels)
    assert (counts.min(), counts.max()) == (smallest, largest) and len(counts) == 10
    test_images, test_labels = dataset.open_test()
    assert test_images.shape == (10000, *source.shape) and len(test_labels) == 10000
    if tfds_copy == "cifar10":            # in the order of the original batch files
        assert labels[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
        assert test_labels[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    if not dataset.identity.startswith("known: "):
        pytest.skip(f"all fits but the hash, which is not recorded ({dataset.sha256})")


@pytest.mark.real_data
@pytest.mark.parametrize("tfds_copy", ["mnist"], indirect=True)
@pytest.mark.parametrize("at_a_boundary", [True, False])
def test_truncated_records_are_found(tfds_copy, at_a_boundary, tmp_path, monkeypatch):
    whole = data.source("mnist").tfds_folder()
    damaged = tmp_path / "tfds" / "mnist" / "3.0.1"
    damaged.mkdir(parents=True)
    for path in whole.iterdir():
        content = path.read_bytes()
        if path.name.startswith("mnist-train"):
            end = 0
            for _ in range(1500):         # a record: length (8 bytes), checksum (4), data, checksum (4)
                end += 16 + int.from_bytes(content[end:end + 8], "little")
            content = content[:end if at_a_boundary else end - 5]
        (damaged / path.name).write_bytes(content)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    with pytest.raises(data.DataError) as caught:
        data.load("mnist")
    text = str(caught.value)
    assert text.startswith(f"mnist: the TFDS copy in {damaged} is damaged")
    assert "\n" not in text and "{{" not in text
    assert not (tmp_path / "mnist" / "3.0.1").exists()

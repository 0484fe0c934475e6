"""Batches: the same whatever the grouping and the step they start from; views; the thread that is ahead."""
import io
import struct
import threading
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from cnn_repro.repro import data
from cnn_repro.repro.data import batches as module
from cnn_repro.repro.data.decoded import Middle, cut


class Files:
    """Images as JPEG files in memory: what encoded data sets look like."""

    def __init__(self, images):
        self.files = []
        for image in images:
            held = io.BytesIO()
            Image.fromarray(image).save(held, "JPEG", quality=95)
            self.files.append(held.getvalue())

    def __len__(self):
        return len(self.files)

    def read(self, index):
        return self.files[index]

    def decode(self, index):
        return np.asarray(Image.open(io.BytesIO(self.files[index])))

    def damaged(self, index, error):
        return data.DataError(f"image {index} cannot be decoded ({error})")


def smooth(n, height=48, width=64):
    """uint8 (n, height, width, 3), each image recognised by its colour."""
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    phase = np.arange(n)[:, None, None, None] + np.arange(3)
    return (127 + 100 * np.sin(rows[..., None] / 15 + columns[..., None] / 20 + phase)).astype(np.uint8)


def recipe(*augment, batch=4, preprocess="mean_std", **more):
    return {"batch": batch, "augment": list(augment), "preprocess": preprocess, **more}


def batches(images, chosen, size=(32, 32), seed=5, **more):
    labels = np.arange(len(images)) % 7
    fitted = data.fit_preprocessing(images, chosen, size, "resize", more.get("indices"))
    return data.Batches(images, labels, chosen, fitted, size, "resize", seed, **more)


def joined(parts):
    """All inputs and targets of an epoch, one after the other."""
    parts = list(parts)
    return (np.concatenate([inputs.reshape(-1, *inputs.shape[2:]) for inputs, _ in parts]),
            np.concatenate([targets.reshape(-1, *targets.shape[2:]) for _, targets in parts]))


ARRAYS = np.random.default_rng(0).integers(0, 256, (23, 32, 32, 3)).astype(np.uint8)
CROPPED = {"input": {"size": 24, "shorter": 32}}
JITTER = {"name": "jitter", "brightness": 0.4, "contrast": 0.4, "saturation": 0.4}
CASES = {
    "cifar": (ARRAYS, recipe("pad4_crop32", "flip", preprocess="per_pixel_mean"), (32, 32)),
    "noise": (ARRAYS, recipe("colour_pca", "flip"), (32, 32)),
    "small last": (ARRAYS, recipe("flip", batch=5), (32, 32)),
    "all": (ARRAYS, recipe(JITTER, "colour_pca", "pad4_crop32", "flip", {"name": "cutout", "size": 8},
                           {"name": "mixup", "alpha": 0.4}, batch=5), (32, 32)),
    "capsules": (ARRAYS, recipe({"name": "random_crop", "size": 24}, "flip", JITTER, preprocess="per_image",
                                **CROPPED), (24, 24)),
    "inception": (Files(smooth(23)), recipe({"name": "crop_resize", "area": [0.08, 1], "aspect": [0.75, 1.33]},
                                            "flip", JITTER), (32, 32)),
    "vgg": (Files(smooth(23)), recipe({"name": "scale_crop", "shorter": [32, 64]}, "flip", "colour_pca",
                                      preprocess="channel_mean"), (32, 32)),
    "alexnet": (Files(smooth(23)), recipe({"name": "random_crop", "size": 32}, "flip", preprocess="per_pixel_mean",
                                          input={"size": 32, "shorter": 40}), (32, 32)),
    "videos": (smooth(36).reshape(12, 3, 48, 64, 3), recipe({"name": "random_crop", "size": 32}, "flip",
                                                            input={"shorter": 40}), (32, 32)),
}


# ---------------------------------------------------------------------------------------------------- batches

def test_an_epoch_of_cifar_by_its_arithmetic():
    images, chosen, size = CASES["cifar"]
    labels = np.arange(23) % 7
    fitted = data.Preprocessing.fit("per_pixel_mean", images[3:])
    mean = images[3:].mean(axis=0)
    indices = np.arange(3, 23)
    made = data.Batches(images, labels, chosen, fitted, size, "resize", seed=5, indices=indices)
    assert len(made) == 5
    # order, corners and mirrors written out, as they have been since the first records
    order = np.argsort(data.random(5, 2, "order").bit_generator.random_raw(20), kind="stable")
    corners = (data.random(5, 2, "crop").bit_generator.random_raw(40) % 9).reshape(20, 2).astype(int)
    mirrored = data.random(5, 2, "flip").bit_generator.random_raw(20) % 2 == 1
    inputs, targets = joined(made.epoch(2))
    assert inputs.dtype == np.float32 and targets.dtype == np.int64
    np.testing.assert_array_equal(targets, labels[indices[order]])
    for position in range(20):
        image = fitted.apply(images[indices[order[position]]][None])[0]
        row, column = corners[position]
        expected = np.pad(image, ((4, 4), (4, 4), (0, 0)))[row:row + 32, column:column + 32]
        expected = expected[:, ::-1] if mirrored[position] else expected
        np.testing.assert_array_equal(inputs[position], expected)             # bit for bit
    np.testing.assert_allclose(fitted.apply(images[3:]), (images[3:] - mean) / 255, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_any_start_and_any_grouping_give_the_same_steps(case):
    images, chosen, size = CASES[case]
    made = batches(images, chosen, size)
    n, batch = len(images), chosen["batch"]
    singles = list(made.epoch(3))
    assert len(singles) == len(made) == -(-n // batch)
    assert [inputs.shape[1] for inputs, _ in singles] == n // batch * [batch] + ([n % batch] if n % batch else [])
    assert all(inputs.shape[-3:-1] == size and inputs.dtype == np.float32 for inputs, _ in singles)
    for start in (0, 1, 2, len(made) - 1, len(made)):
        for together in (1, 2, 3, 100):
            rest = list(made.epoch(3, together, start))
            assert sum(len(inputs) for inputs, _ in rest) == len(made) - start
            assert all(len(inputs) <= together for inputs, _ in rest)
            for ours, theirs in zip(joined(rest), joined(singles[start:])) if rest else ():
                np.testing.assert_array_equal(ours, theirs)
    other = joined(made.epoch(4))[0]
    assert not np.array_equal(other, joined(singles)[0])
    again = batches(images, chosen, size, seed=6)
    assert not np.array_equal(joined(again.epoch(3))[0], joined(singles)[0])


@pytest.mark.parametrize("case", ["cifar", "noise", "capsules", "videos"])
def test_inputs_made_once_and_batch_by_batch_are_the_same(case, monkeypatch):
    images, chosen, size = CASES[case]
    kept = batches(images, chosen, size)
    assert (kept.inputs is None) == (case == "capsules")
    monkeypatch.setattr(module, "MEMORY", 1000)
    streamed = data.Batches(images, np.arange(len(images)) % 7, chosen, kept.preprocessing, size, "resize", seed=5)
    assert streamed.inputs is None
    np.testing.assert_array_equal(joined(streamed.epoch(1))[0], joined(kept.epoch(1))[0])


def test_colour_noise_after_normalisation_is_the_noise_before_it():
    images = ARRAYS
    labels = np.zeros(23, int)
    chosen = recipe("colour_pca")
    fitted = data.Preprocessing.fit("mean_std", images)
    after = joined(data.Batches(images, labels, chosen, fitted, (32, 32), "resize").epoch(1))[0]
    before = data.Augmentation(["colour_pca"], 23, 0, 1)
    order = data.order(23, 0, 1)
    np.testing.assert_allclose(after, fitted.apply(before.apply(images[order], np.arange(23))), atol=1e-4)


def test_preprocessing_of_each_image_sees_the_crop():
    images, chosen, size = CASES["capsules"]
    inputs = joined(batches(images, chosen, size).epoch(1))[0]
    np.testing.assert_allclose(inputs.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(inputs.std(axis=(1, 2, 3)), 1, atol=1e-4)
    whole = recipe({"name": "random_crop", "size": 24}, JITTER, preprocess="gcn", **CROPPED)
    with pytest.raises(data.DataError, match="'gcn' is of the whole image, so random_crop must come after"):
        batches(images, whole, size)


def test_mixup_gives_soft_targets_of_a_step():
    images, chosen, size = CASES["all"]
    made = batches(images, chosen, size)
    plain = batches(images, recipe(*chosen["augment"][:-1], batch=5), size)
    mixup = data.Augmentation(chosen["augment"], 23, 5, 1).mixup
    for step, ((inputs, soft), (clear, labels)) in enumerate(zip(made.epoch(1), plain.epoch(1))):
        assert soft.shape == (*labels.shape, 7) and soft.dtype == np.float32
        positions = np.arange(5 * step, min(5 * step + 5, 23))
        expected = mixup.apply(clear[0], np.eye(7, dtype=np.float32)[labels[0]], positions)
        np.testing.assert_array_equal(inputs[0], expected[0])
        np.testing.assert_array_equal(soft[0], expected[1])
    assert batches(images, chosen, size, classes=12).classes == 12


def test_frames_of_a_video_are_cropped_and_mirrored_alike():
    still = np.repeat(smooth(10)[:, None], 4, axis=1)
    made = batches(still, CASES["videos"][1])
    inputs, labels = joined(made.epoch(1))
    assert inputs.shape == (10, 4, 32, 32, 3)
    np.testing.assert_array_equal(inputs, np.repeat(inputs[:, :1], 4, axis=1))
    block, = data.evaluation_inputs(still, (32, 32), "resize", made.preprocessing, made.recipe)
    assert block.shape == (1, 10, 4, 32, 32, 3)


def test_encoded_images_are_cut_from_their_files():
    images = smooth(6)
    files = Files(images)
    chosen = recipe(preprocess="none", input={"size": 24, "shorter": 32})
    made = batches(files, chosen, (24, 24))
    inputs, labels = joined(made.epoch(1))
    for image, label in zip(inputs, labels):
        expected = cut(files.read(int(label)), Middle(), 0, (32, 32), 3)[4:28, 4:28]
        np.testing.assert_array_equal(image, expected)
        assert np.abs(image - cut(images[label], Middle(), 0, (32, 32), 3)[4:28, 4:28]).max() < 12     # JPEG's own


def test_a_file_that_is_no_image_is_named():
    files = Files(smooth(5))
    files.files[3] = files.files[3][:200]
    chosen = recipe(preprocess="unit")
    made = batches(files, chosen)
    for running in (made.epoch(1), data.evaluation_inputs(files, (32, 32), "resize", made.preprocessing, chosen)):
        with pytest.raises(data.DataError, match="image 3 cannot be decoded"):
            list(data.prefetched(running))


def bomb() -> bytes:
    """A PNG file whose head promises 30,000 × 30,000 pixels."""
    held = io.BytesIO()
    Image.new("RGB", (40, 40)).save(held, "PNG")
    content = bytearray(held.getvalue())
    content[16:24] = struct.pack(">II", 30_000, 30_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


@pytest.mark.parametrize("raised", [None, SyntaxError("broken PNG file"), ValueError("no\nmore"), struct.error()],
                         ids=["bomb", "syntax", "value", "struct"])
def test_whatever_the_decoder_raises_the_file_is_named(tmp_path, monkeypatch, raised):
    contents = [*Files(smooth(4)).files, bomb()]
    for number, content in enumerate(contents):
        (tmp_path / f"{number}.img").write_bytes(content)
    index = np.array([(number, 0, len(content)) for number, content in enumerate(contents)])
    images = data.EncodedImages(tmp_path, [f"{number}.img" for number in range(5)], index)
    made = batches(images, recipe(preprocess="unit"), indices=np.arange(5 if raised is None else 4))
    if raised is not None:
        def fails(content, *_):
            if content == contents[3]:
                raise raised
            return np.zeros((32, 32, 3), np.uint8)
        monkeypatch.setattr(module, "cut", fails)
    file = tmp_path / ("4.img" if raised is None else "3.img")
    with pytest.raises(data.DataError, match="cannot be decoded") as caught:
        joined(made.epoch(1))
    assert f"in {file} " in str(caught.value) and "\n" not in str(caught.value)


def test_what_does_not_fit_is_refused():
    with pytest.raises(data.DataError, match="no crop of 40×40 in images of 32×32 padded by 0"):
        joined(batches(ARRAYS, recipe({"name": "random_crop", "size": 40})).epoch(1))
    with pytest.raises(data.DataError, match="24×24 are smaller than the input of 32×32; state input.shorter"):
        joined(batches(ARRAYS, recipe({"name": "random_crop", "size": 24})).epoch(1))
    with pytest.raises(data.DataError, match="no augmentation 'flop'"):
        batches(ARRAYS, recipe("flop"))
    with pytest.raises(data.DataError, match="'shift' has no option 'pixel'; it has pixels"):
        batches(ARRAYS, recipe({"name": "shift", "pixel": 2}))
    with pytest.raises(data.DataError, match="'shift' needs its option 'pixels'"):
        batches(ARRAYS, recipe("shift"))


# ------------------------------------------------------------------------------------------------- evaluation

def test_evaluation_takes_the_images_in_order_whatever_the_block():
    chosen = recipe(preprocess="per_pixel_mean", input={"size": 24, "shorter": 32})
    fitted = data.fit_preprocessing(ARRAYS, chosen, (24, 24), "resize")
    assert fitted.size == (32, 32)
    indices = np.arange(22, 2, -1)
    for block in (1, 7, None):
        parts = list(data.evaluation_inputs(ARRAYS, (24, 24), "resize", fitted, chosen, indices, block))
        seen = np.concatenate(parts, axis=1)
        assert seen.dtype == np.float32 and seen.shape == (1, 20, 24, 24, 3)
        np.testing.assert_array_equal(seen[0], fitted.apply(ARRAYS[indices])[:, 4:28, 4:28])


def test_evaluation_of_ten_views():
    for preprocess in ("per_pixel_mean", "per_image"):
        chosen = recipe(preprocess=preprocess, input={"size": 24, "shorter": 32}, test={"views": "ten"})
        fitted = data.fit_preprocessing(ARRAYS, chosen, (24, 24), "resize")
        seen, = data.evaluation_inputs(ARRAYS, (24, 24), "resize", fitted, chosen)
        assert seen.shape == (10, 23, 24, 24, 3)
        corner = fitted.apply(ARRAYS)[:, 8:, :24] if preprocess == "per_pixel_mean" else fitted.apply(
            ARRAYS[:, 8:, :24])
        np.testing.assert_allclose(seen[2], corner, atol=1e-6)
        np.testing.assert_allclose(seen[7], corner[:, :, ::-1], atol=1e-6)


def test_evaluation_of_multi_views():
    files = Files(smooth(3))
    chosen = recipe(preprocess="channel_mean", test={"views": "multi", "scales": [36, 40]})
    fitted = data.fit_preprocessing(files, chosen, (32, 32), "resize")
    seen, = data.evaluation_inputs(files, (32, 32), "resize", fitted, chosen)
    assert seen.shape == (72, 3, 32, 32, 3)
    np.testing.assert_array_equal(seen[36:], seen[:36, :, :, ::-1])
    whole = np.stack([cut(files.read(n), Middle(), 0, (32, 32), 3) for n in range(3)])
    np.testing.assert_allclose(seen[11], fitted.apply(whole), atol=1e-4)        # the first scale's middle square
    sized = data.Preprocessing.fit("per_pixel_mean", np.zeros((2, 40, 40, 3), np.uint8))
    with pytest.raises(data.DataError, match="was fitted to images of 40×40, and the views are of 32×32"):
        data.evaluation_inputs(files, (32, 32), "resize", sized, chosen)


def test_evaluation_of_grid_views():
    """At the files' own size the crops are theirs; a recipe of the grid needs its scales."""
    files = Files(smooth(2))
    height, width = files.decode(0).shape[:2]
    chosen = recipe(preprocess="channel_mean", test={"views": "grid", "scales": [36, min(height, width)]})
    fitted = data.fit_preprocessing(files, chosen, (32, 32), "resize")
    seen, = data.evaluation_inputs(files, (32, 32), "resize", fitted, chosen)
    assert seen.shape == (100, 2, 32, 32, 3)
    np.testing.assert_array_equal(seen[50:], seen[:50, :, :, ::-1])
    for index in range(2):
        own = fitted.apply(files.decode(index)[None])[0]
        for row, down in enumerate((0, 0.25, 0.5, 0.75, 1)):
            for column, across in enumerate((0, 0.25, 0.5, 0.75, 1)):
                top, left = int((height - 32) * down), int((width - 32) * across)
                np.testing.assert_allclose(seen[25 + 5 * row + column, index], own[top:top + 32, left:left + 32], atol=1e-4)
    assert np.abs(seen[:25] - seen[25:50]).mean() > 0.1                 # the other scale is another


def test_evaluation_of_whole_images():
    """Of two scales, each image with its own proportions and its mirror image; neighbours of one size go together."""
    files = Files([*smooth(2), *smooth(3, 64, 40), *smooth(1)])
    chosen = recipe(preprocess="channel_mean", test={"views": "whole", "scales": [32, 40]})
    fitted = data.fit_preprocessing(files, chosen, (32, 32), "resize")
    order = np.array([0, 1, 4, 3, 2, 5])
    blocks = list(data.evaluation_inputs(files, (32, 32), "resize", fitted, chosen, order, block=2))
    assert [[view.shape[:3] for view in block[::2]] for block in blocks] == [
        [(2, 32, 43), (2, 40, 53)], [(2, 51, 32), (2, 64, 40)], [(1, 51, 32), (1, 64, 40)], [(1, 32, 43), (1, 40, 53)]]
    for block in blocks:
        assert len(block) == 4 and all(view.dtype == np.float32 for view in block)
        for view, mirrored in zip(block[::2], block[1::2], strict=True):
            np.testing.assert_array_equal(mirrored, view[:, :, ::-1])
    for block, row, index in ((0, 1, 1), (1, 0, 4), (2, 0, 2), (3, 0, 5)):
        image = Image.open(io.BytesIO(files.read(index)))
        if image.height == 64:
            np.testing.assert_allclose(blocks[block][2][row], fitted.apply(files.decode(index)[None])[0], atol=1e-4)
        small = np.asarray(image.resize(blocks[block][0].shape[2:0:-1], Image.Resampling.BILINEAR))
        assert np.abs(blocks[block][0][row] - fitted.apply(small[None])[0]).mean() < 1.5    # a JPEG drafted, or not
    arrays, = data.evaluation_inputs(ARRAYS, (24, 24), "resize", data.Preprocessing.fit("unit", ARRAYS),
                                     recipe(preprocess="unit", test={"views": "whole", "scales": [32]}))
    np.testing.assert_allclose(arrays[0], ARRAYS / np.float32(255), atol=1e-6)
    sized = data.Preprocessing.fit("per_pixel_mean", np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(data.DataError, match="'whole' are of images of any size, and the preprocessing 'per_pixel_mean'"):
        data.evaluation_inputs(files, (32, 32), "resize", sized, chosen)
    files.files[4] = b"no image"
    with pytest.raises(data.DataError, match="image 4 cannot be decoded"):
        list(data.evaluation_inputs(files, (32, 32), "resize", fitted, chosen, order))


@pytest.mark.parametrize("images", [ARRAYS, Files(smooth(3, 32, 32))], ids=["arrays", "encoded"])
@pytest.mark.parametrize("test, more, said", [
    ({"views": "twelve"}, {}, "no views 'twelve'"),
    ({"views": "multi"}, {}, "'multi' need test.scales"),
    ({"views": "multi", "scales": [40, 24]}, {}, "no view of 32×32 at the scale 24"),
    ({"views": "grid"}, {}, "'grid' need test.scales"),
    ({"views": "grid", "scales": [24]}, {}, "no view of 32×32 at the scale 24"),
    ({"views": "whole"}, {}, "'whole' need test.scales"),
    ({"views": "whole", "scales": [24]}, {}, "no view of 32×32 at the scale 24"),
    ({"views": "ten"}, {"input": {"shorter": 28}}, "28×28 are smaller than the input of 32×32"),
    ({"views": "one"}, {"input": {"shorter": 28}}, "28×28 are smaller than the input of 32×32")])
def test_evaluation_is_refused_before_its_first_block(images, test, more, said):
    chosen = recipe(preprocess="unit", test=test, **more)
    fitted = data.Preprocessing.fit("unit", ARRAYS)
    with pytest.raises(data.DataError, match=said):
        data.evaluation_inputs(images, (32, 32), "resize", fitted, chosen, block=2)
    if isinstance(images, np.ndarray):
        with pytest.raises(data.DataError, match="32×32 do not fit into an input of 24×24"):
            data.evaluation_inputs(images, (24, 24), "pad", fitted, recipe(preprocess="unit"))


def test_parts_are_held_once():
    files = Files(smooth(2, 64, 64))
    files.files *= 300
    reader = module.Reader(files, (64, 64), "resize", {})
    reader.parts(np.arange(8), Middle(), np.zeros(8, int), (64, 64))           # the threads are there
    tracemalloc.start()
    parts = reader.parts(np.arange(600), Middle(), np.zeros(600, int), (64, 64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * parts.nbytes
    np.testing.assert_array_equal(parts[[0, 599]], [cut(files.read(n), Middle(), 0, (64, 64), 3) for n in (0, 1)])


def test_preprocessing_is_fitted_where_it_is_applied_and_to_no_more_than_fit(monkeypatch):
    files = Files(smooth(9))
    cropped = recipe({"name": "scale_crop", "shorter": [32, 40]}, preprocess="per_pixel_mean",
                     input={"shorter": 40})
    assert data.fit_preprocessing(files, cropped, (32, 32), "resize").size == (32, 32)
    canvas = recipe({"name": "random_crop", "size": 32}, preprocess="per_pixel_mean", input={"shorter": 40})
    assert data.fit_preprocessing(files, canvas, (32, 32), "resize").size == (40, 40)
    calls = []
    fit = data.Preprocessing.fit
    monkeypatch.setattr(data.Preprocessing, "fit", staticmethod(lambda kind, images: (
        calls.append(len(images)), fit(kind, images))[1]))
    for kind in ("channel_mean", "unit", "gcn_zca"):
        data.fit_preprocessing(ARRAYS[:, :4, :4], recipe(preprocess=kind), (4, 4), "resize", np.arange(20))
    monkeypatch.setattr(module, "MEMORY", 7 * 4 * 48)
    data.fit_preprocessing(ARRAYS[:, :4, :4], recipe(), (4, 4), "resize", np.arange(20))
    monkeypatch.setattr(module, "MEMORY", 7 * 32 * 32 * 3)
    data.fit_preprocessing(files, recipe(), (32, 32), "resize")
    monkeypatch.setattr(module, "SAMPLE", 5)
    data.fit_preprocessing(files, recipe(), (32, 32), "resize")
    monkeypatch.setattr(module, "MEMORY", 1)
    data.fit_preprocessing(files, recipe(), (32, 32), "resize")
    assert calls == [20, 1, 20, 7, 7, 5, 1]


# --------------------------------------------------------------------------------------------------- prefetching

def test_prefetching_keeps_the_order_and_the_bound():
    made = []

    def items():
        for number in range(20):
            made.append(number)
            yield number

    seen = []
    for number in data.prefetched(items(), ahead=2):
        time.sleep(0.002)
        assert len(made) <= number + 2 + 2                  # in the queue, in the hand of the thread, and this one
        seen.append(number)
    assert seen == list(range(20))
    assert list(data.prefetched([])) == []


def test_an_exception_comes_where_its_item_would_have():
    def items():
        yield 1
        yield 2
        raise data.DataError("damaged")

    seen = []
    with pytest.raises(data.DataError, match="damaged"):
        for number in data.prefetched(items(), ahead=4):
            seen.append(number)
    assert seen == [1, 2]


@pytest.mark.parametrize("stop", [GeneratorExit, KeyboardInterrupt, ValueError])
def test_the_thread_ends_with_its_consumer(stop):
    closed = threading.Event()

    def items():
        try:
            number = 0
            while True:
                yield (number := number + 1)
        finally:
            closed.set()

    def threads():
        return [thread for thread in threading.enumerate() if thread.name == "prefetch"]

    ahead = data.prefetched(items(), ahead=2)
    assert next(ahead) == 1 and threads()
    if stop is GeneratorExit:
        ahead.close()
    else:
        with pytest.raises(stop):
            ahead.throw(stop())
    assert closed.is_set() and not threads()


def test_prefetched_batches_are_the_batches():
    images, chosen, size = CASES["inception"]
    made = batches(images, chosen, size)
    for ours, theirs in zip(joined(data.prefetched(made.epoch(1, 2))), joined(made.epoch(1, 2))):
        np.testing.assert_array_equal(ours, theirs)

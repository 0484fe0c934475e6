"""Augmentation and preprocessing: each equals its plain loop, is drawn as its paper says, and can be replayed."""
import io
import tracemalloc

import keras
import numpy as np
import pytest
from PIL import Image

from cnn_repro.repro import data
from cnn_repro.repro.data import augmentation, colour, decoded, preprocessing, views
from cnn_repro.repro.training import evidence, export

CHOSEN = [{"name": "pad4_crop32", "padding": "reflect"}, "pad4_crop32", "flip", {"name": "random_crop", "size": 5},
          {"name": "random_crop", "size": 9, "pad": 2, "padding": "reflect"}, {"name": "shift", "pixels": 2},
          {"name": "colour_pca", "deviation": 0.1}, {"name": "cutout", "size": 4},
          {"name": "jitter", "brightness": 0.4, "contrast": 0.3, "saturation": 0.2}]
N = 40


def some(n=N, height=9, width=11, channels=3):
    return np.random.default_rng(n).normal(size=(n, height, width, channels)).astype(np.float32)


def drawn(name, n=N, seed=0, epoch=1):
    """The one step of an Augmentation of one name."""
    step, = data.Augmentation([name], n, seed, epoch).steps
    return step


# ------------------------------------------------------------------------------------------------- replaying

@pytest.mark.parametrize("name", CHOSEN, ids=str)
def test_an_epoch_is_drawn_by_position(name):
    images = some()
    before = images.copy()
    whole = data.Augmentation([name], N, seed=3, epoch=7).apply(images, np.arange(N))
    again = data.Augmentation([name], N, seed=3, epoch=7)
    for part in (np.arange(3), np.arange(3, 30), np.arange(30, N)):
        np.testing.assert_array_equal(again.apply(images[part], part), whole[part])
    for seed, epoch in ((3, 8), (4, 7)):
        other = data.Augmentation([name], N, seed, epoch).apply(images, np.arange(N))
        assert not np.array_equal(other, whole)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(images, before)


def test_the_order_of_the_list_is_the_order_of_the_steps():
    images = some()
    there = data.Augmentation(["flip", {"name": "random_crop", "size": 5}], N, 0, 1)
    back = data.Augmentation([{"name": "random_crop", "size": 5}, "flip"], N, 0, 1)
    step_by_step = there.steps[1].apply(there.steps[0].apply(images, np.arange(N)), np.arange(N))
    np.testing.assert_array_equal(there.apply(images, np.arange(N)), step_by_step)
    assert not np.array_equal(back.apply(images, np.arange(N)), step_by_step)


def test_uniform_and_normal_numbers_are_even():
    draws = augmentation.Draws(50_000, 0, 1)
    uniform, normal = draws.uniform("a", 2), draws.normal("a", 2)
    assert uniform.min() >= 0 and uniform.max() < 1
    assert np.histogram(uniform, 10, (0, 1))[0] == pytest.approx(10_000, abs=400)
    assert normal.mean() == pytest.approx(0, abs=0.02) and normal.std() == pytest.approx(1, abs=0.02)
    assert (np.abs(normal) < 1.96).mean() == pytest.approx(0.95, abs=0.005)
    assert np.corrcoef(normal.T)[0, 1] == pytest.approx(0, abs=0.02)
    # each purpose has its own, and 1/23 is not 12/3
    assert len({data.random(0, 1, purpose).integers(1 << 60) for purpose in ("order", "crop", "flip")}) == 3
    assert data.random(1, 23, "x").integers(1 << 60) != data.random(12, 3, "x").integers(1 << 60)
    # pinned: neither NumPy's version nor a change here may move what a seed gives
    np.testing.assert_allclose(draws.uniform("pinned")[:3], PINNED, atol=1e-12)


def test_draws_in_float32_are_the_upper_24_bits_however_many_at_a_time(monkeypatch):
    monkeypatch.setattr(augmentation, "BLOCK", 7)
    draws = augmentation.Draws(10, 3, 2)
    drawn = draws.uniform32("a", 2)
    assert drawn.dtype == np.float32 and drawn.shape == (10, 2)
    np.testing.assert_array_equal(drawn, (draws.bits("a", 2) >> np.uint64(40)) / 2 ** 24)
    np.testing.assert_allclose(drawn, draws.uniform("a", 2), atol=2 ** -24)


def test_crop_resize_holds_what_it_needs_of_an_epoch():
    n, each = 100_000, 4 * 4 * decoded.ATTEMPTS              # bytes a position: ImageNet's epoch has 205 MB
    tracemalloc.start()
    step = decoded.CropResize(augmentation.Draws(n, 0, 1), (0.08, 1.0), (3 / 4, 4 / 3))
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert step.draw.dtype == np.float32
    assert held < 1.1 * n * each and peak < 1.1 * n * each + 2 * 8 * augmentation.BLOCK


PINNED = [0.9873305736866769, 0.7329699928488995, 0.12696146740845726]


# --------------------------------------------------------------------------------------------------- geometry

@pytest.mark.parametrize("padding", ["zero", "reflect"])
@pytest.mark.parametrize("shape, size, pad", [((9, 32, 32, 3), (32, 32), 4), ((9, 8, 6, 1), (8, 6), 4),
                                              ((5, 9, 11, 2), (5, 7), 0), ((5, 9, 11, 2), (10, 9), 3)])
def test_crop_equals_its_loop(shape, size, pad, padding):
    images = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    before = images.copy()
    room = np.array(shape[1:3]) + 2 * pad - size
    corners = np.array([[n % (room[0] + 1), (room[1] - n) % (room[1] + 1)] for n in range(shape[0])])

    def mirrored(index, side):              # of a border without the border itself: 2 1 | 0 1 2
        return abs(index) if index < side else 2 * side - 2 - index

    expected = np.zeros((shape[0], *size, shape[3]), np.float32)
    for n, i, j in np.ndindex(shape[0], *size):
        row, column = i + corners[n, 0] - pad, j + corners[n, 1] - pad
        if padding == "reflect":
            row, column = mirrored(row, shape[1]), mirrored(column, shape[2])
        if 0 <= row < shape[1] and 0 <= column < shape[2]:
            expected[n, i, j] = images[n, row, column]
    np.testing.assert_array_equal(augmentation.crop(images, corners, size, pad, padding), expected)
    np.testing.assert_array_equal(images, before)


def test_crops_and_mirrors_are_even_and_independent():
    crops, flips = drawn("pad4_crop32", 90_000), drawn("flip", 90_000)
    assert abs(flips.mirrored.mean() - 0.5) < 0.01
    corners = (crops.bits % np.uint64(9)).astype(int)
    cells = np.bincount(corners[:, 0] * 9 + corners[:, 1], minlength=81)
    assert len(cells) == 81 and cells.min() > 900 and cells.max() < 1330        # 1111 ± 6 standard deviations
    assert abs(np.corrcoef(corners[:, 0], flips.mirrored)[0, 1]) < 0.02


def test_a_shift_moves_by_at_most_its_pixels_and_leaves_zeros():
    images = np.zeros((2000, 9, 9, 1), np.float32)
    images[:, 4, 4] = 1
    shifted = drawn({"name": "shift", "pixels": 2}, 2000).apply(images, np.arange(2000))
    assert (shifted.sum(axis=(1, 2, 3)) == 1).all()
    found = np.argwhere(shifted[..., 0])[:, 1:] - 4
    assert found.min() == -2 and found.max() == 2
    counts = np.bincount((found[:, 0] + 2) * 5 + found[:, 1] + 2)
    assert len(counts) == 25 and counts.min() > 40                              # 80 ± 4.5 standard deviations
    full = drawn({"name": "shift", "pixels": 2}, 2000).apply(np.ones_like(images), np.arange(2000))
    assert full.min() == 0


def test_cutout_equals_its_loop_and_hits_the_border():
    images = np.ones((500, 7, 9, 2), np.float32)
    step = drawn({"name": "cutout", "size": 4}, 500)
    cut = step.apply(images, np.arange(500))
    expected = images.copy()
    for n, i, j in np.ndindex(500, 7, 9):
        a, b = int(step.bits[n, 0] % 7), int(step.bits[n, 1] % 9)
        if 0 <= i - (a - 2) < 4 and 0 <= j - (b - 2) < 4:
            expected[n, i, j] = 0
    np.testing.assert_array_equal(cut, expected)
    gone = (cut[..., 0] == 0).sum(axis=(1, 2))
    assert gone.max() == 16 and gone.min() == 4                    # a corner's square is a quarter inside


# ----------------------------------------------------------------------------------------------------- colours

def test_colour_noise_is_one_vector_an_image_along_the_principal_components():
    images = some(5)
    step = drawn({"name": "colour_pca", "deviation": 0.1}, 5)
    pixel = np.array([0.5, 1.0, 2.0], np.float32)
    difference = step.apply(images, np.arange(5), pixel) - images
    np.testing.assert_allclose(difference, np.broadcast_to(difference[:, :1, :1], difference.shape), atol=1e-5)
    alphas = 0.1 * augmentation.Draws(5, 0, 1).normal("colour", 3)
    for n in range(5):
        for channel in range(3):
            added = sum(colour.EIGENVECTORS[channel, k] * alphas[n, k] * colour.EIGENVALUES[k] for k in range(3))
            np.testing.assert_allclose(difference[n, 0, 0, channel], 255 * added * pixel[channel], atol=1e-4)
    np.testing.assert_allclose(colour.EIGENVECTORS.T @ colour.EIGENVECTORS, np.eye(3), atol=1e-3)
    many = drawn({"name": "colour_pca", "deviation": 0.1}, 20_000).noise / 255
    np.testing.assert_allclose((many @ colour.EIGENVECTORS).std(axis=0), 0.1 * colour.EIGENVALUES, rtol=0.03)
    with pytest.raises(data.DataError, match="RGB images, and these have 1"):
        step.apply(some(5, channels=1), np.arange(5), 1.0)


def test_jitter_equals_its_loop():
    images = np.random.default_rng(0).uniform(0, 255, (30, 4, 5, 3)).astype(np.float32)
    step = drawn({"name": "jitter", "brightness": 0.4, "contrast": 0.3, "saturation": 0.2}, 30)
    jittered = step.apply(images, np.arange(30), 1.0)
    for n in range(30):
        x = images[n].astype(float)
        for kind in step.orders[n]:
            a, grey = step.factors[n, kind], x @ [0.299, 0.587, 0.114]
            if kind == 0:
                x = a * x
            elif kind == 1:
                x = a * x + (1 - a) * grey.mean()
            else:
                x = a * x + (1 - a) * grey[..., None]
        np.testing.assert_allclose(jittered[n], x, atol=1e-3)
    many = drawn({"name": "jitter", "brightness": 0.4}, 20_000)
    assert many.factors[:, 0].min() > 0.6 and many.factors[:, 0].max() < 1.4
    assert many.factors[:, 0].mean() == pytest.approx(1, abs=0.01) and (many.factors[:, 1:] == 1).all()
    assert len(np.unique(many.orders, axis=0)) == 6


# ------------------------------------------------------------------------------------------------------- mixup

def test_mixup_mixes_pairs_of_a_step_and_their_targets():
    step = data.Augmentation([{"name": "mixup", "alpha": 0.4}], 20_000, 0, 1).mixup
    assert step.share.mean() == pytest.approx(0.5, abs=0.01)
    assert step.share.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.005)        # of Beta(α, α)
    images, targets, positions = some(8), np.eye(8, dtype=np.float32), np.arange(16, 24)
    mixed, soft = step.apply(images, targets, positions)
    others = np.argsort(step.rank[positions])
    assert sorted(others) == list(range(8)) and mixed.dtype == soft.dtype == np.float32
    for n, other in enumerate(others):
        share = step.share[16 + n]
        np.testing.assert_allclose(mixed[n], share * images[n] + (1 - share) * images[other], atol=1e-6)
        np.testing.assert_allclose(soft[n], share * targets[n] + (1 - share) * targets[other], atol=1e-6)


# ---------------------------------------------------------------------------------------------- decoded images

def test_crop_resize_takes_the_area_and_the_proportions_that_it_says():
    step = decoded.CropResize(augmentation.Draws(4000, 0, 1), (0.08, 1.0), (3 / 4, 4 / 3))
    boxes = np.array([step.box(n, 300, 400, (224, 224)) for n in range(4000)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    assert boxes[:, :2].min() == 0 and boxes[:, 2].max() == 400 and boxes[:, 3].max() == 300
    area, ratio = width * height / 120_000, width / height
    assert area.min() >= 0.079 and area.max() <= 1 and ratio.min() > 0.74 and ratio.max() < 1.35
    # the large and upright ones are drawn again, because they do not fit
    random = np.random.default_rng(0)
    areas, ratios = random.uniform(0.08, 1, 40_000), np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3), 40_000))
    fit = (120_000 * areas * ratios < 400 ** 2) & (120_000 * areas / ratios < 300 ** 2)
    tenths = np.linspace(0, 1, 11)[1:-1]
    np.testing.assert_allclose(np.quantile(area, tenths), np.quantile(areas[fit], tenths), atol=0.025)
    np.testing.assert_allclose(np.quantile(ratio, tenths), np.quantile(ratios[fit], tenths), atol=0.025)
    # an image of 1 × 100 fits no such part: the middle, as near to the ratio as it gets
    assert step.box(0, 1, 100, (9, 9)) == (49, 0, 50, 1)


def test_scale_crop_draws_the_shorter_side_and_crops_at_that_scale():
    step = decoded.ScaleCrop(augmentation.Draws(3000, 0, 1), [256, 480])
    assert step.shorter.min() == 256 and step.shorter.max() == 480
    assert np.histogram(step.shorter, 9)[0].min() > 250
    boxes = np.array([step.box(n, 300, 400, (224, 224)) for n in range(3000)])
    np.testing.assert_allclose(boxes[:, 2] - boxes[:, 0], 224 * 300 / step.shorter)
    np.testing.assert_allclose(boxes[:, 3] - boxes[:, 1], 224 * 300 / step.shorter)
    assert boxes[:, :2].min() == 0 and boxes[:, 2].max() == pytest.approx(400, abs=1.3)
    with pytest.raises(data.DataError, match="scale_crop.shorter must not be below"):
        decoded.ScaleCrop(augmentation.Draws(1, 0, 1), [64, 64]).box(0, 300, 400, (224, 224))


class Box:
    def __init__(self, *box):
        self.whole = box

    def box(self, position, height, width, size):
        return self.whole


def test_a_part_of_a_file_and_of_its_pixels_are_the_same():
    smooth = np.add.outer(np.arange(240), np.arange(320))[..., None] * np.array([0.4, 0.3, 0.2])
    image = smooth.astype(np.uint8)
    files = {}
    for kind in ("PNG", "JPEG"):
        held = io.BytesIO()
        Image.fromarray(image).save(held, kind, **({"quality": 98, "subsampling": 0} if kind == "JPEG" else {}))
        files[kind] = held.getvalue()
    for box in (Box(0, 0, 320, 240), Box(40.5, 20.25, 200.5, 180.25), Box(0, 0, 30, 30)):
        by_pixels = decoded.cut(image, box, 0, (30, 30), 3)
        assert by_pixels.shape == (30, 30, 3) and by_pixels.dtype == np.uint8
        np.testing.assert_array_equal(decoded.cut(files["PNG"], box, 0, (30, 30), 3), by_pixels)
        # a JPEG is decoded at an eighth, a quarter or a half where that is enough
        assert np.abs(decoded.cut(files["JPEG"], box, 0, (30, 30), 3).astype(int) - by_pixels).max() <= 4
    np.testing.assert_array_equal(decoded.cut(image, Box(7, 3, 37, 33), 0, (30, 30), 3), image[3:33, 7:37])
    grey = decoded.cut(files["PNG"], Box(0, 0, 320, 240), 0, (24, 32), 1)
    assert grey.shape == (24, 32, 1)
    assert decoded.cut(image[..., :1], Box(0, 0, 320, 240), 0, (24, 32), 1).shape == (24, 32, 1)


# ------------------------------------------------------------------------------------------------------- views

def test_views_are_the_corners_the_middle_and_their_mirror_images():
    images = some(3, 8, 10)
    assert [views.count(kind) for kind in ("one", "five", "ten")] == [1, 5, 10]
    np.testing.assert_array_equal(views.crops(images, (4, 5), "one")[0], images[:, 2:6, 2:7])
    ten = views.crops(images, (4, 5), "ten")
    for view, (top, left) in enumerate([(0, 0), (0, 5), (4, 0), (4, 5), (2, 2)]):
        part = images[:, top:top + 4, left:left + 5]
        np.testing.assert_array_equal(ten[view], part)
        np.testing.assert_array_equal(ten[5 + view], part[:, :, ::-1])
    np.testing.assert_array_equal(views.crops(images, (4, 5), "five"), ten[:5])
    with pytest.raises(data.DataError, match="8×10 are smaller than the input of 9×9"):
        views.middle(images, (9, 9))
    assert views.count("whole", [256, 384]) == 4
    with pytest.raises(data.DataError, match="no views 'twelve'"):
        views.count("twelve")
    with pytest.raises(data.DataError, match="'multi' need test.scales"):
        views.count("multi")


def test_multi_views_are_the_144_of_googlenet():
    scales = (256, 288, 320, 352)
    parts = views.parts("multi", scales)
    assert 2 * len(parts) == views.count("multi", scales) == 144
    boxes = np.array([part.box(0, 512, 1024, (224, 224)) for part in parts]).reshape(4, 3, 6, 4)
    for s, scale in enumerate(scales):
        for square, left in enumerate((0, 256, 512)):
            np.testing.assert_allclose(boxes[s, square, 5], (left, 0, left + 512, 512))          # the whole square
            side = 224 * 512 / scale
            np.testing.assert_allclose(boxes[s, square, 0], (left, 0, left + side, side))
            np.testing.assert_allclose(boxes[s, square, 3], (left + 512 - side, 512 - side, left + 512, 512))
    assert parts[0].box(0, 1024, 512, (224, 224))[0] == 0 and parts[12].box(0, 1024, 512, (224, 224))[1] == 512
    with pytest.raises(data.DataError, match="no view of 224×224 at the scale 200"):
        views.parts("multi", [200])[0].box(0, 512, 512, (224, 224))


def test_the_grid_is_vggs_50_crops_a_scale_from_edge_to_edge():
    parts = views.parts("grid", (256, 384, 512))
    assert 2 * len(parts) == views.count("grid", (256, 384, 512)) == 150
    boxes = np.array([part.box(0, 512, 768, (224, 224)) for part in parts]).reshape(3, 5, 5, 4)
    for at, (scale, pixel) in zip(boxes, ((256, 2.0), (384, 4 / 3), (512, 1.0))):
        down, across = scale - 224, 1.5 * scale - 224                   # the room at that scale, in its pixels
        for i in range(5):
            np.testing.assert_allclose(at[i, :, 1], np.floor(down * i / 4) * pixel)
            np.testing.assert_allclose(at[:, i, 0], np.floor(across * i / 4) * pixel)
        np.testing.assert_allclose(at[..., 2:] - at[..., :2], 224 * pixel)
        np.testing.assert_allclose(at[4, 4, 2:], (768, 512))


# ----------------------------------------------------------------------------------------------- preprocessing

KINDS = ["per_pixel_mean", {"name": "per_pixel_mean", "divisor": 1}, "channel_mean", "mean_std", "lenet", "unit",
         "symmetric", "none", "per_image", "gcn", "gcn_zca", {"name": "gcn_zca", "regularisation": 0.5}]


def pixels(n=50, height=4, width=5, channels=3):
    """With neighbours that resemble each other, as in photographs."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (n, height, width, channels)) + random.integers(0, 256, (n, 1, 1, 1))
    return (images / 2).astype(np.uint8)


@pytest.mark.parametrize("kind, expected", [
    ("channel_mean", lambda x: x - x.mean(axis=(0, 1, 2))), ("unit", lambda x: x / 255),
    ({"name": "per_pixel_mean", "divisor": 1}, lambda x: x - x.mean(axis=0)),
    ("symmetric", lambda x: x / 127.5 - 1), ("none", lambda x: x)],
    ids=["channel_mean", "unit", "per_pixel_mean", "symmetric", "none"])     # of a lambda str is another every time
def test_affine_maps_are_what_their_formulas_say(kind, expected):
    images = pixels()
    applied = data.Preprocessing.fit(kind, images).apply(images)
    assert applied.dtype == np.float32
    np.testing.assert_allclose(applied, expected(images.astype(float)), atol=1e-4)


def test_each_image_on_its_own():
    images = pixels()
    images[0] = 7                                       # constant
    images[1] = 7
    images[1, 0, 0, 0] = 8                              # its deviation is below the floor
    standard, contrast = (data.Preprocessing.fit(kind, images).apply(images) for kind in ("per_image", "gcn"))
    n = 60
    for index in range(len(images)):
        x = images[index].astype(float)
        np.testing.assert_allclose(standard[index], (x - x.mean()) / max(x.std(), n ** -0.5), atol=1e-4)
        norm = np.sqrt(((x - x.mean()) ** 2).sum())
        np.testing.assert_allclose(contrast[index], 55 * (x - x.mean()) / (norm or 1), atol=1e-4)
    assert not standard[0].any() and not contrast[0].any()


def test_whitening_leaves_the_covariance_that_its_regularisation_allows():
    # lighter towards the last pixel, as photographs towards the sky: the mean after gcn is not zero
    images = pixels(3000, 3, 3, 2) // 2 + np.arange(18).reshape(3, 3, 2).astype(np.uint8) * 7
    fitted = data.Preprocessing.fit("gcn_zca", images)
    flat = data.Preprocessing.fit("gcn", images).apply(images).reshape(3000, -1).astype(float)
    white = fitted.apply(images).reshape(3000, -1)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-3)
    variances, directions = np.linalg.eigh(np.cov(flat.T, bias=True))
    expected = (directions * (variances / (variances + 0.1))) @ directions.T
    np.testing.assert_allclose(np.cov(white.T, bias=True), expected, atol=2e-3)
    np.testing.assert_allclose(fitted.matrix, fitted.matrix.T, atol=1e-5)        # ZCA, not PCA
    assert fitted.size == (3, 3) and fitted.apply(images[:7]).shape == (7, 3, 3, 2)


def test_unknown_options_of_preprocessing():
    with pytest.raises(data.DataError, match="'unit' has no option 'regularisation'; it has none"):
        data.Preprocessing.fit({"name": "unit", "regularisation": 1}, pixels())
    assert set(data.PREPROCESSINGS) == {kind if isinstance(kind, str) else kind["name"] for kind in KINDS}
    with pytest.raises(data.DataError, match="49,152 numbers each, and at most 12,288 can be whitened"):
        data.Preprocessing.fit("gcn_zca", np.zeros((2, 128, 128, 3), np.uint8))


def test_large_images_are_summed_in_smaller_blocks(monkeypatch):
    images = pixels(23)
    fitted = {kind: data.Preprocessing.fit(kind, images) for kind in ("mean_std", "gcn_zca")}
    monkeypatch.setattr(preprocessing, "BLOCK_NUMBERS", 130)             # two images of 60 numbers
    for kind, one in fitted.items():
        again = data.Preprocessing.fit(kind, images)
        np.testing.assert_allclose(again.apply(images), one.apply(images), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_the_deployed_model_has_the_preprocessing_inside(kind, tmp_path):
    images = pixels(60)
    fitted = data.Preprocessing.fit(kind, images)
    keras.utils.set_random_seed(0)
    inputs = keras.Input(images.shape[1:])
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(inputs)), name="net")
    expected = evidence.softmax(0.01 * model(fitted.apply(images)).numpy())
    model.layers[-1].set_weights([0.01 * weight for weight in model.layers[-1].get_weights()])
    deployed = export.deployable(model, fitted, images.shape[1:], "resize", list("abcd"))
    np.testing.assert_allclose(deployed(images.astype("float32")).numpy(), expected, atol=2e-5)
    loaded = export.load(export.save(deployed, tmp_path / "model.keras"))
    np.testing.assert_allclose(loaded(images.astype("float32")).numpy(), expected, atol=2e-5)
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in deployed.layers)


@pytest.mark.parametrize("kind", ["per_pixel_mean", "mean_std", "per_image"])
@pytest.mark.parametrize("shape", [(24, 24, 3), (20, 31, 3), (None, None, 3)])
def test_the_deployed_model_crops_as_the_evaluation_does(kind, shape):
    recipe = {"preprocess": kind, "augment": [], "input": {"size": 8, "shorter": 12}}
    # smooth, because Pillow rounds to whole numbers between its two passes and Keras does not
    rows, columns = np.meshgrid(np.arange(shape[0] or 20), np.arange(shape[1] or 31), indexing="ij")
    phases = np.random.default_rng(0).uniform(0, 6, (10, 1, 1, 3))
    images = (127 + 120 * np.sin(rows[..., None] / 5 + columns[..., None] / 7 + phases)).astype(np.uint8)
    fitted = data.fit_preprocessing(images, recipe, (8, 8), "resize")
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, keras.layers.Flatten()(inputs), name="net")
    deployed = export.deployable(model, fitted, shape, "resize", list(map(str, range(192))), shorter=12)
    seen = keras.Model(deployed.inputs[0], deployed.layers[-1].input)(images.astype("float32")).numpy()
    block, = data.evaluation_inputs(images, (8, 8), "resize", fitted, recipe)
    one_grey = fitted.scale.max() if fitted.affine else 1 / 40
    assert np.abs(seen.reshape(block[0].shape) - block[0]).max() < 3 * one_grey


def test_the_deployed_model_of_videos():
    videos = pixels(20).reshape(5, 4, 4, 5, 3)
    inputs = keras.Input((4, 4, 5, 3))
    model = keras.Model(inputs, keras.layers.Dense(4)(keras.layers.Flatten()(inputs)), name="net")
    chosen = {"preprocess": "channel_mean", "augment": []}
    fitted = data.fit_preprocessing(videos, chosen, (4, 5), "resize")
    block, = data.evaluation_inputs(videos, (4, 5), "resize", fitted, chosen)
    deployed = export.deployable(model, fitted, (4, 4, 5, 3), "resize", list("abcd"))
    np.testing.assert_allclose(deployed(videos.astype("float32")).numpy(),
                               evidence.softmax(model(block[0]).numpy()), atol=1e-4)

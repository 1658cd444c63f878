"""The released pipeline around its networks: rules worked out by hand, and stand-ins for the networks that say what they saw."""

from dataclasses import replace

import numpy as np
import pytest

from propagation.released import predict
from propagation.released.images import (
    clipped,
    equalised,
    grey,
    largest_component,
    normalised,
    resized_bilinear,
    resized_nearest,
    square_image,
)
from propagation.released.model import NETWORKS
from propagation.released.predict import (
    STRUCTURES,
    VARIANTS,
    Nets,
    Released,
    Square,
    apparent_flow,
    cleaned,
    find_heart,
    load_nets,
    plausible,
    segment,
    share_of,
    square_around,
    touching,
    warp_by_flow,
)
from shared.errors import InputError
from shared.scans import orientation
from shared.scans.volume import from_array
from tests.propagation.released import authors_files
from tests.propagation.released.test_released import narrow, seeded_weights

HEART = np.array([
    [0, 2, 2, 2, 0, 0],
    [2, 2, 1, 2, 2, 3],
    [2, 1, 1, 1, 2, 3],
    [2, 2, 1, 2, 2, 3],
    [0, 2, 2, 2, 0, 0],
], np.uint8)  # fmt: skip


# Grey values and sizes


def test_grey_values():
    values = np.array([0, 1, 99, 100, 300])
    np.testing.assert_array_equal(grey(values, 300, eight_bit=True), [0, 0, 84, 85, 255])
    np.testing.assert_allclose(grey(values, 300, eight_bit=False), [0, 0.85, 84.15, 85, 255])
    np.testing.assert_array_equal(grey(np.zeros(3), 0, eight_bit=True), 0)


def test_normalisation_uses_pixels_strictly_between_the_percentiles():
    """Of 0..100 the percentiles are 5 and 95, so 6..94 count: mean 50, variance (89^2 - 1) / 12 = 660."""
    image = np.arange(101.0)
    expected = (image - 50) / np.sqrt(660)
    for outlier in (100, 1e6):
        image[-1] = outlier
        expected[-1] = (outlier - 50) / np.sqrt(660)
        np.testing.assert_allclose(normalised(image), expected, rtol=1e-6)
    assert normalised(image).dtype == np.float32


def test_normalisation_of_nearly_constant_images():
    """No pixel between: from 0 on. All alike between: divided by 1 / sqrt(100)."""
    np.testing.assert_array_equal(normalised(np.full((4, 4), 7.0)), 0)
    image = np.full(100, 50.0)
    image[:10], image[90:] = 0, 100
    np.testing.assert_allclose(normalised(image)[[0, 50, 99]], [-500, 0, 500])
    np.testing.assert_array_equal(normalised(np.array([[3.0, 5.0]])), [[0, 2]])  # the percentiles are 3.1 and 4.9


def test_nearest():
    def ramp(n, size):
        return resized_nearest(np.arange(n)[:, None] + np.zeros(n, int), size)[:, 0].tolist()

    assert (
        ramp(7, 5) == [0, 2, 3, 4, 6] and ramp(5, 7) == [0, 1, 1, 2, 3, 3, 4] and ramp(4, 2) == [1, 3] and ramp(3, 3) == [0, 1, 2]
    )


def test_bilinear_by_hand():
    up = resized_bilinear(np.array([[[0.0], [1]], [[0], [1]]]), 4)
    np.testing.assert_allclose(up[..., 0], [[0, 0.25, 0.75, 1]] * 4)
    # halved: a triangle two pixels to each side; at the border (3/4, 3/4, 1/4) / 1.75
    down = resized_bilinear(np.eye(4)[:, :, None] * np.zeros(4) + np.eye(4)[0][:, None, None] * np.ones((1, 4, 1)), 2)
    np.testing.assert_allclose(down[:, 0, 0], [0.75 / 1.75, 0])
    assert resized_bilinear(np.ones((3, 3, 2)), 5).shape == (5, 5, 2)


@pytest.mark.parametrize(("n", "size"), [(192, 131), (20, 33), (16, 16), (30, 7)])
def test_sizes_are_changed_as_by_pil(n, size):
    """The library that the authors used; Matplotlib brings it."""
    image = pytest.importorskip("PIL.Image")
    maps = np.random.default_rng(n).random((n, n, 2)).astype(np.float32)
    for i in range(2):
        pil = image.fromarray(maps[:, :, i])
        nearest = np.asarray(pil.resize((size, size), image.Resampling.NEAREST))
        np.testing.assert_array_equal(resized_nearest(maps[:, :, i], size), nearest)
        bilinear = np.asarray(pil.resize((size, size), image.Resampling.BILINEAR))
        np.testing.assert_allclose(resized_bilinear(maps, size)[:, :, i], bilinear, atol=1e-6)
        stretched = (maps[:, :, i] - maps[:, :, i].min()) * (255 / np.ptp(maps[:, :, i])) + 0.5
        coarse = np.asarray(image.fromarray(stretched.astype(np.uint8)).resize((size, size), image.Resampling.BILINEAR))
        found = resized_bilinear(maps, size, stretch=True)[:, :, i]
        assert abs(found - coarse).max() <= 1 and np.mean(found != coarse) < 0.1  # halves: PIL adds up in fixed point


def test_stretch_makes_every_class_as_likely():
    """The second class is nowhere likely, and wins where it is least unlikely."""
    maps = np.zeros((2, 2, 2))
    maps[..., 0] = [[0.9, 0.8], [0.9, 0.9]]
    maps[..., 1] = 1 - maps[..., 0]
    np.testing.assert_array_equal(resized_bilinear(maps, 2).argmax(-1), 0)
    np.testing.assert_array_equal(resized_bilinear(maps, 2, stretch=True).argmax(-1), [[0, 1], [0, 0]])
    np.testing.assert_array_equal(resized_bilinear(np.full((2, 2, 1), 0.4), 2, stretch=True), 0)


def test_square_image_is_padded_around():
    found = square_image(np.array([[5.0], [6], [7], [9]]), 4)
    np.testing.assert_array_equal(found, [[0, 0, 0, 0], [0, 1, 0, 0], [0, 2, 0, 0], [0, 4, 0, 0]])


# The heart's square


def test_square_around():
    """Rows 3..6, columns 4..12: side 9, margin round(2.701) = 3, centre (4, 8), so from (4 - 4 - 3, 8 - 4 - 3)."""
    first, second = np.zeros((2, 20, 20), bool)
    first[3:5, 4:6] = True
    second[6, 12] = True
    assert square_around([first, second]) == Square(-3, 1, 15)
    single = np.zeros((5, 5), bool)
    single[2, 2] = True
    assert square_around([single, ~single & single]) == Square(2, 2, 1)  # margin round(0.301) = 0
    five = np.zeros((9, 9), bool)
    five[2:7, 2:7] = True
    assert square_around([five]) == Square(0, 0, 9)  # margin round(1.501) = 2: 1.5 itself would go to 2 too, 2.5 would not
    assert square_around([np.ones((15, 15), bool)]).side == 25  # margin round(4.501) = 5, where round(4.5) is 4


@pytest.mark.parametrize(
    ("slices", "expected"), [(1, [0]), (2, [0]), (3, [0, 1]), (5, [1, 2]), (10, [1, 2, 3, 4]), (15, [2, 3, 4, 5, 6, 7])]
)
def test_slices_for_the_heart(slices, expected):
    """ACDC's share; 15 slices: round(1.501) to round(7.501)."""
    assert list(share_of(slices, 0.1, 0.5)) == expected
    assert list(share_of(10, 0.2, 0.6)) == [2, 3, 4, 5] and list(share_of(3, 0.99, 1.0)) == [2]


def test_clipping():
    image = np.arange(101.0)
    np.testing.assert_array_equal(clipped(image)[[0, 4, 5, 50, 95, 96, 100]], [5, 5, 5, 50, 95, 95, 95])


def test_equalisation_starts_at_zero_and_keeps_the_order():
    image = np.tile(np.arange(0, 128.0), (128, 1))
    found = equalised(image)
    assert found.min() == 0 and found.shape == (128, 128) and found.max() > 100


class Finder:
    """Stands in for roi_net: heart where the normalised image is bright."""

    input_shape = (None, 32, 32, 1)

    def __init__(self):
        self.seen = []

    def predict_on_batch(self, images):
        assert images.shape == (1, 32, 32, 1) and images.dtype == np.float32
        self.seen.append(images[0, ..., 0])
        return (images > 1.0).astype(np.float32)


def bright_scan(frames=None):
    """(40, 64, 6[, t]): noise, and a bright block at x 20..27, y 30..45 with a lesser one elsewhere."""
    array = np.random.default_rng(0).uniform(0, 40, (40, 64, 6))
    array[20:28, 30:46] += 200
    array[2:6, 2:6] += 200
    array = array if frames is None else np.stack([array] * frames, axis=3)
    return from_array(array, (1.5, 1.5, 8.0))


def test_heart_is_found_on_the_scan():
    """The longer side is 16 rows (y), the margin 5: rows from (30 + 45) // 2 - 8 - 5."""
    finder = Finder()
    square = find_heart(bright_scan(), finder, Released())
    assert len(finder.seen) == 2  # slices 1 and 2 of 6
    assert abs(square.side - 26) <= 4 and abs(square.row - 24) <= 3 and abs(square.column - 10) <= 3
    with pytest.raises(InputError, match="found no heart"):
        find_heart(bright_scan(), Stub(input_shape=(None, 32, 32, 1), output=np.zeros((1, 32, 32, 1))), Released())


def test_frames_for_the_heart():
    scan = bright_scan(3)
    scan.array[..., 1] = np.random.default_rng(1).uniform(0, 40, (40, 64, 6))
    scan.array[5:20, 40:55, :, 1] += 200
    frames = {f: find_heart(scan, Finder(), Released(roi_frames=f)) for f in ((0,), (1,), (0, 1))}
    assert frames[0,] != frames[1,] and frames[0, 1].side > max(frames[0,].side, frames[1,].side)
    for wrong in ((3,), (-1,), ()):
        with pytest.raises(InputError, match="roi_frames: expected some of the scan's 3"):
            find_heart(scan, Finder(), Released(roi_frames=wrong))


def test_centre_without_a_network():
    scan = from_array(np.zeros((200, 150, 3)), (1.0, 1.25, 8.0))
    assert find_heart(scan, None, Released()) == Square(-5, 20, 160)
    assert find_heart(scan, None, Released(centre_mm=50.0)) == Square(50, 75, 50)
    assert find_heart(scan, None, Released(centre_mm=900.0)).side == 200


# What is plausible


def test_touching_counts_pairs():
    """The cavity of HEART, a plus of five pixels, has 12 outer sides, all to myocardium."""
    assert touching(HEART, 1, 2) == touching(HEART, 2, 1) == 12
    assert touching(HEART, 1, 0) == touching(HEART, 1, 3) == 0
    assert touching(HEART, 2, 3) == 3
    assert touching(np.array([[1, 0], [0, 1]]), 1, 0) == 4  # corners do not touch


def test_plausible():
    assert plausible(HEART)
    assert not plausible(np.where(HEART == 2, 0, HEART))  # no myocardium
    assert plausible(np.where(HEART == 1, 0, HEART))  # no cavity is no fault
    opened = np.array([[2, 2, 2, 2], [2, 1, 1, 0], [2, 2, 2, 0]])  # 5 to myocardium, 1 outside
    assert plausible(opened)
    line = np.array([[2, 2], [1, 1], [0, 3]])  # 2 to myocardium; 1 to background and 1 to the right ventricle
    assert not plausible(line)
    assert plausible(np.array([[2, 2], [1, 1], [0, 2]]))  # 3 to myocardium, 1 outside
    assert plausible(np.array([[2], [1], [2], [0]])) and not plausible(np.array([[2], [1], [0]]))
    assert plausible(np.array([[2, 1, 0], [0, 2, 0]])[:, :2])  # 2 to myocardium: exactly twice 1 is enough below
    assert plausible(np.array([[0, 2, 0], [2, 1, 0]]))  # 2 to myocardium, 1 to background: 1 <= 0.5 * 2


def test_components_by_variant():
    parts = np.zeros((8, 8), np.uint8)
    parts[1:6, :6] = HEART
    parts[7, 7], parts[7, 5] = 3, 2
    assert VARIANTS["lvrv"].kept == (3,) and VARIANTS["lv"].kept == () and VARIANTS["finetune"].kept == (1, 2, 3)
    np.testing.assert_array_equal(cleaned(parts, ()), parts)
    without_right = parts.copy()
    without_right[7, 7] = 0
    np.testing.assert_array_equal(cleaned(parts, (3,)), without_right)
    without_right[7, 5] = 0
    np.testing.assert_array_equal(cleaned(parts, (1, 2, 3)), without_right)
    np.testing.assert_array_equal(cleaned(np.ones((3, 3), np.uint8), (3,)), 0)


def test_largest_component_has_no_corners():
    mask = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 0]], bool)
    np.testing.assert_array_equal(largest_component(mask), [[0, 0, 0], [0, 1, 1], [0, 0, 0], [0, 0, 0]])
    assert not largest_component(np.zeros((2, 2), bool)).any()


# From slice to slice


class Stub:
    """Stands in for a segmentation network: gives `output`, or what `answer(before, image, mask)` says, and keeps its inputs."""

    def __init__(self, output=None, answer=None, input_shape=((None, 32, 32, 1),) * 3):
        self.output, self.answer, self.input_shape, self.calls = output, answer, input_shape, []

    def predict_on_batch(self, inputs):
        if self.answer is None:
            return self.output
        assert [each.shape for each in inputs] == [(1, 32, 32, 1)] * 3 and {each.dtype for each in inputs} == {np.dtype("f4")}
        images = [each[0, ..., 0] for each in inputs]
        self.calls.append(images)
        return np.eye(4, dtype=np.float32)[self.answer(*images)][None]


def ring(size=32):
    """LV cavity, ring of myocardium, and right ventricle at the left, not symmetric in anything."""
    rows, columns = np.indices((size, size)) / size
    distance = np.hypot(rows - 0.4, columns - 0.6)
    classes = np.where(distance < 0.15, 1, np.where(distance < 0.28, 2, 0))
    return np.where((classes == 0) & (abs(rows - 0.4) < 0.12) & (columns < 0.4) & (columns > 0.1), 3, classes)


def numbered_scan(slices=5, frames=None, side=40):
    """Slice z holds a ramp along x whose step tells z; the scan is square, so that the crop is the whole slice."""
    array = np.random.default_rng(1).uniform(0, 1, (side, side, slices))
    array += np.arange(side)[:, None, None] * (1 + np.arange(slices))
    return from_array(array if frames is None else np.stack([array] * frames, axis=3), (4.0, 4.0, 8.0))


@pytest.mark.parametrize(
    ("variant", "base", "first", "sees_above"),
    [("lvrv", None, 0, False), ("lvrv", 0, 0, False), ("lvrv", 2, 2, True), ("lvrv", 4, 4, True),
     ("lv", None, 0, False), ("lv", 0, 0, False), ("lv", 1, 0, False), ("lv", 3, 2, True),
     ("finetune", None, 0, False), ("finetune", 3, 0, False)],
)  # fmt: skip
def test_start_and_context_of_each_variant(variant, base, first, sees_above):
    model = Stub(answer=lambda before, image, mask: ring())
    scan = numbered_scan()
    labels = segment(scan, Nets(model), base=base, variant=variant, options=Released(eight_bit=False)).array
    assert len(model.calls) == 5 - first
    assert labels[:, :, first:].any(axis=(0, 1)).all() and not labels[:, :, :first].any()
    images = [normalised(square_image(scan.array[:, :, z].T * (255 / scan.array.max()), 32)) for z in range(5)]
    for z, (before, image, _) in enumerate(model.calls, start=first):
        np.testing.assert_allclose(image, images[z], atol=1e-4)
        if z > first or sees_above:
            np.testing.assert_allclose(before, images[z - 1], atol=1e-4)
        else:
            assert not before.any()
    assert not model.calls[0][2].any()
    for *_, mask in model.calls[1:]:
        np.testing.assert_array_equal(np.unique(mask), [0, 1, 2, 3])


def test_labels_lie_where_the_network_saw_them():
    """At the network's own size nothing is resized: rows are y, columns x, classes become ACDC's labels."""
    model = Stub(answer=lambda before, image, mask: ring())
    labels = segment(numbered_scan(side=32), Nets(model))
    expected = np.array([0, 3, 2, 1])[ring()].T
    assert {value for value, name in STRUCTURES.items()} == {1, 2, 3} and labels.array.dtype == np.uint8
    for z in range(5):
        np.testing.assert_array_equal(labels.array[:, :, z], expected)
    np.testing.assert_array_equal(model.calls[1][2], ring())


def test_square_is_cut_out_and_pasted_back(monkeypatch):
    """A square of 32 pixels from row 3 (y) and column -4 (x): the part outside the scan is zero and is lost again."""
    monkeypatch.setattr(predict, "find_heart", lambda *arguments: Square(3, -4, 32))
    model = Stub(answer=lambda before, image, mask: ring())
    scan = from_array(np.random.default_rng(0).uniform(1, 9, (50, 45, 2)))
    scan.array[40, 40] = 900  # outside the square, so that it does not count
    labels = segment(scan, Nets(model)).array
    expected = np.zeros((50, 45), int)
    expected[:28, 3:35] = np.array([0, 3, 2, 1])[ring()].T[4:]
    for z in range(2):
        np.testing.assert_array_equal(labels[:, :, z], expected)
    assert len(np.unique(model.calls[0][1][:, :4])) == 1  # columns outside
    crop = np.zeros((32, 32))
    crop[4:] = np.floor(scan.array[:28, 3:35, 0] * (255 / scan.array[:28, 3:35].max()))
    np.testing.assert_allclose(model.calls[0][1], normalised(crop.T), atol=1e-4)


def test_implausible_slice_is_empty_and_so_is_the_next_mask():
    answers = iter([ring(), np.ones((32, 32), int), ring()])
    model = Stub(answer=lambda *inputs: next(answers))
    labels = segment(numbered_scan(3), Nets(model)).array
    assert labels.any(axis=(0, 1)).tolist() == [True, False, True]
    assert [bool(mask.any()) for *_, mask in model.calls] == [False, True, False]


def test_apex_first_is_the_flipped_scan():
    answer = lambda before, image, mask: ring() if image[0, 0] < image[0, -1] else 0 * ring()  # noqa: E731
    scan = numbered_scan()
    scan.array[:, :, 1] = scan.array[::-1, :, 1]
    flipped = scan.with_array(scan.array[:, :, ::-1])
    labels = segment(scan, Nets(Stub(answer=answer)), base=2).array
    found = segment(flipped, Nets(Stub(answer=answer)), base=2, options=Released(apex_first=True)).array
    np.testing.assert_array_equal(found[:, :, ::-1], labels)
    assert labels.any(axis=(0, 1)).tolist() == [False, False, True, True, True]


def test_slices_along_another_axis_are_found():
    scan = numbered_scan(side=32)
    turned = orientation.transpose(scan, (2, 0, 1))
    labels, found = (segment(each, Nets(Stub(answer=lambda before, image, mask: ring()))) for each in (scan, turned))
    np.testing.assert_array_equal(found.array, np.moveaxis(labels.array, 2, 0))


def test_cine_is_segmented_frame_by_frame():
    scan = numbered_scan(3, frames=2)
    scan.array[..., 1] *= 0.5  # the largest value of the cine is frame 0's
    model = Stub(answer=lambda before, image, mask: ring())
    labels = segment(scan, Nets(model))
    assert labels.array.shape == scan.array.shape and labels.spacing_mm == scan.spacing_mm
    assert len(model.calls) == 6 and not model.calls[3][2].any() and not model.calls[3][0].any()
    one = Stub(answer=lambda before, image, mask: ring())
    np.testing.assert_array_equal(segment(scan.frame(0), Nets(one)).array, labels.array[..., 0])
    np.testing.assert_array_equal(model.calls[0][1], one.calls[0][1])


def test_eight_bit_and_negative_values():
    model = Stub(answer=lambda before, image, mask: ring())
    scan = numbered_scan(1, side=32)
    segment(scan, Nets(model))
    segment(scan, Nets(model), options=Released(eight_bit=False))
    coarse, fine = (image for _, image, _ in model.calls)
    scaled = scan.array[:, :, 0].T * (255 / scan.array.max())
    np.testing.assert_allclose(coarse, normalised(np.floor(scaled)), atol=1e-5)
    assert abs(coarse - fine).max() > 1e-3
    whole = np.round(scan.array * 9)
    whole -= whole.min()
    model.calls.clear()
    for lowered in (0, 70):
        segment(scan.with_array(whole - lowered), Nets(model))
    np.testing.assert_array_equal(model.calls[1][1], model.calls[0][1])


def test_bad_arguments():
    nets = Nets(Stub(answer=lambda *inputs: ring()))
    scan = numbered_scan()
    for base in (-1, 5):
        with pytest.raises(InputError, match=f"base: expected a slice from 0 to 4, found {base}"):
            segment(scan, nets, base=base)
    with pytest.raises(InputError, match="expected one of lvrv, lv, finetune"):
        segment(scan, nets, variant="rv")
    with pytest.raises(InputError, match="constant image"):
        segment(scan.with_array(np.full((9, 9, 2), 3)), nets)


# With networks


def test_networks_of_a_folder(monkeypatch, tmp_path):
    """Told by content; the two forms of lvrv_net, which are alike, by name."""

    def save(network, file):
        authors_files.write(tmp_path / file, authors_files.shapes(network))

    loaded = []

    def load(name, path, leaky_slope):
        loaded.append((name, path.name, leaky_slope))

    monkeypatch.setattr(predict, "load_released", load)
    save("lv_net", "one.h5")
    load_nets(tmp_path, "lv", Released(leaky_slope=0.1))
    assert loaded == [("lv_net", "one.h5", 0.1)]
    with pytest.raises(InputError, match="expected one file with the weights of lvrv_net, found 0"):
        load_nets(tmp_path, "lvrv")
    save("lvrv_net", "two.h5")
    load_nets(tmp_path, "finetune")
    assert loaded[1:] == [("lvrv_net_finetune", "two.h5", 0.0)]
    save("lvrv_net", "finetune_fold0.h5")
    save("roi_net", "four.h5")
    load_nets(tmp_path, "lvrv")
    load_nets(tmp_path, "finetune")
    assert loaded[2:] == [
        ("lvrv_net", "two.h5", 0.0), ("roi_net", "four.h5", 0.0),
        ("lvrv_net_finetune", "finetune_fold0.h5", 0.0), ("roi_net", "four.h5", 0.0),
    ]  # fmt: skip
    save("lvrv_net", "finetune_fold1.h5")
    with pytest.raises(InputError, match="found 2: finetune_fold0.h5, finetune_fold1.h5; keep one of them there"):
        load_nets(tmp_path, "finetune")
    with pytest.raises(InputError, match="no such folder"):
        load_nets(tmp_path / "absent", "lvrv")


def test_the_pipeline_runs_the_real_graphs(tmp_path, monkeypatch):
    """Two channels wide and 32 pixels large. With seeded weights no slice is plausible, so that check is lifted."""
    for name in ("lvrv_net", "roi_net"):
        monkeypatch.setitem(NETWORKS, name, replace(NETWORKS[name], size=32, width=2))
        authors_files.write(tmp_path / f"{name[:2]}.h5", seeded_weights(narrow(name)))
    monkeypatch.setattr(predict, "plausible", lambda classes: True)
    scan = numbered_scan(3)
    (tmp_path / "._lvrv.h5").write_bytes(b"Mac OS X")  # what a Mac leaves beside a file that it copied
    labels = segment(scan, load_nets(tmp_path), base=1)
    assert labels.array.shape == scan.array.shape and not labels.array[:, :, 0].any() and labels.array[:, :, 1:].any()
    np.testing.assert_array_equal(labels.affine, scan.affine)
    (tmp_path / "ro.h5").unlink()
    labels = segment(scan, load_nets(tmp_path), options=Released(centre_mm=100.0)).array
    assert labels[:, :, 0].any() and not labels[:7].any() and not labels[7 + 25 :].any()  # 25 voxels of 4 mm


def test_flow_network_sees_both_frames():
    model = narrow("apparentflow_net")
    for variable in model.weights:
        variable.assign(authors_files.seeded(variable.path, tuple(variable.shape)))
    rng = np.random.default_rng(0)
    ed, frame = rng.uniform(0, 255, (2, 40, 40))
    found = apparent_flow(model, ed, frame)
    inputs = [normalised(resized_nearest(each - each.min(), 32))[None, ..., None] for each in (ed, frame)]
    np.testing.assert_allclose(found, np.asarray(model(inputs, training=False))[0], atol=1e-4)
    assert found.shape == (32, 32, 2) and abs(found - apparent_flow(model, frame, ed)).max() > 0.01


def test_mask_is_read_where_the_flow_leads():
    mask = np.arange(12).reshape(3, 4)
    flow = np.zeros((3, 4, 2))
    np.testing.assert_array_equal(warp_by_flow(mask, flow), mask)
    flow[..., 0] = 1  # one column on
    np.testing.assert_array_equal(warp_by_flow(mask, flow), [[1, 2, 3, 3], [5, 6, 7, 7], [9, 10, 11, 11]])
    flow[..., 0], flow[..., 1] = 0, -1  # one row back
    np.testing.assert_array_equal(warp_by_flow(mask, flow), mask[[0, 0, 1]])
    flow[..., 1] = 0
    flow[0, :, 0] = 0.5  # columns 0.5, 1.5, 2.5, 3.5 -> 0, 2, 2, 4, and 4 is outside
    np.testing.assert_array_equal(warp_by_flow(mask, flow)[0], [0, 2, 2, 3])

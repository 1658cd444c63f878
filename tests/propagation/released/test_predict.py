"""The released pipeline around its networks, with stand-ins for the networks that say what they saw."""

from dataclasses import replace

import numpy as np
import pytest

from propagation.released import plausibility, predict
from propagation.released.heart import Square
from propagation.released.images import normalised, square_image
from propagation.released.model import NETWORKS
from propagation.released.predict import STRUCTURES, Nets, load_nets, segment
from propagation.released.variants import Released
from shared.errors import InputError
from shared.scans import orientation
from shared.scans.volume import from_array
from tests.propagation.released import authors_files
from tests.propagation.released.small import narrow, seeded_weights


class Stub:
    """Stands in for a segmentation network: gives the classes `answer(before, image, mask)`, and keeps its inputs."""

    input_shape = ((None, 32, 32, 1),) * 3

    def __init__(self, answer):
        self.answer, self.calls = answer, []

    def predict_on_batch(self, inputs):
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
    monkeypatch.setattr(plausibility, "plausible", lambda classes: True)
    scan = numbered_scan(3)
    (tmp_path / "._lvrv.h5").write_bytes(b"Mac OS X")  # what a Mac leaves beside a file that it copied
    labels = segment(scan, load_nets(tmp_path), base=1)
    assert labels.array.shape == scan.array.shape and not labels.array[:, :, 0].any() and labels.array[:, :, 1:].any()
    np.testing.assert_array_equal(labels.affine, scan.affine)
    (tmp_path / "ro.h5").unlink()
    labels = segment(scan, load_nets(tmp_path), options=Released(centre_mm=100.0)).array
    assert labels[:, :, 0].any() and not labels[:7].any() and not labels[7 + 25 :].any()  # 25 voxels of 4 mm

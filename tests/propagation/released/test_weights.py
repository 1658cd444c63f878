"""The authors' weight files: what loads, and every kind of file that is refused."""

import zlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from propagation.released import load_released, weights
from propagation.released.model import NETWORKS
from propagation.released.weights import fill, identify
from shared.errors import InputError
from tests.propagation.released import authors_files
from tests.propagation.released.authors_files import COUNTS, seeded
from tests.propagation.released.small import narrow, refusal, seeded_weights
from tests.wrong_weights import changed, with_first, without


def seeded_image(name, size):
    """(1, rows, columns, 1) float32: smooth blobs and noise, mean 0, standard deviation 1."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    blobs = gaussian_filter(rng.normal(size=(size, size)), 6.0)
    image = blobs[..., None] / blobs.std() + 0.3 * rng.normal(size=(size, size, 1))
    return ((image - image.mean()) / image.std()).astype(np.float32)[None]


def test_output_is_that_of_the_authors_code(tmp_path):
    """Probabilities of their Keras 2 network, every fourth pixel, for the seeded weights and images of the same rule."""
    stored = np.load(Path(__file__).parent / "lvrv_net_output.npz")
    tensors = {name: seeded(f"lvrv_net/{name}", shape) for name, shape in authors_files.shapes("lvrv_net").items()}
    path = authors_files.write(tmp_path / "anything.h5", tensors)
    del tensors
    model = load_released("lvrv_net", path)
    assert identify(path) == "lvrv_net"
    path.unlink()  # 240 MB, which pytest would keep
    images = [seeded_image(f"lvrv_net/{name}", 192) for name in stored["input_names"][:2]]
    found = model.predict_on_batch([*images, stored["input_mask0"]])
    np.testing.assert_allclose(found[:, ::4, ::4], stored["output"], rtol=0, atol=1e-4)
    assert found.mean() == pytest.approx(stored["mean"], abs=1e-6)
    assert found.std() == pytest.approx(stored["std"], abs=1e-5)


def test_networks_are_told_by_content(tmp_path):
    for name in COUNTS:
        assert identify(authors_files.write(tmp_path / "some.h5", authors_files.shapes(name))) == name


def test_released_flow_network_round_trip(tmp_path):
    tensors = {name: seeded(name, shape) for name, shape in authors_files.shapes("apparentflow_net").items()}
    path = authors_files.write(tmp_path / "some.h5", tensors)
    model = load_released(None, path, size=16, leaky_slope=0.1)
    assert (model.name, model.output_shape) == ("apparentflow_net", (None, 16, 16, 2))
    assert model.get_layer("conv_block1_conv0_relu").negative_slope == pytest.approx(0.1)
    for name, value in tensors.items():
        layer, part = name.split("/")
        np.testing.assert_array_equal(getattr(model.get_layer(layer), part), value)
    path.unlink()


def test_fine_tuned_weights_load_under_both_names(monkeypatch, small_weights, tmp_path):
    path = authors_files.write(tmp_path / "some.h5", small_weights)
    for name in ("lvrv_net", "lvrv_net_finetune"):
        monkeypatch.setitem(NETWORKS, name, replace(NETWORKS[name], width=2))
    for name in ("lvrv_net", "lvrv_net_finetune"):
        model = load_released(name, path, size=32)
        assert model.name == name
        np.testing.assert_array_equal(model.get_layer("seg_block1").kernel, small_weights["seg_block1/kernel"])
    assert load_released(None, path, size=32).name == "lvrv_net"
    assert "expected the weights of lv_net, found those of lvrv_net" in refusal(load_released, "lv_net", path)
    assert "expected one of roi_net, lvrv_net" in refusal(load_released, "lvrv", path)


@pytest.fixture(scope="module")
def small():
    return narrow("lvrv_net")


@pytest.fixture(scope="module")
def small_weights(small):
    return seeded_weights(small)


@pytest.mark.parametrize("form", [{}, {"root": "model_weights"}, {"scope": "_1"}, {"root": "model_weights", "scope": "_1"}])
def test_forms_of_a_file(form, small, small_weights, tmp_path):
    """Weights only or a whole model; variables that an older network in the same session pushed to another scope."""
    path = authors_files.write(tmp_path / "some.h5", dict(reversed(small_weights.items())), **form)
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = [b"never", b"read"]
        if "root" in form:
            file["optimizer_weights/Adam/iterations"] = np.int64(1)
    for variable in small.weights:
        variable.assign(np.zeros(variable.shape))
    fill(small, path)
    for name, value in small_weights.items():
        layer, part = name.split("/")
        np.testing.assert_array_equal(getattr(small.get_layer(layer), part), value)


# Tensors that are not the network's


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda w: without(w, "seg_block1/bias", "conv_block1_conv0_bn/gamma"),
         "2 missing: conv_block1_conv0_bn/gamma (2,), seg_block1/bias (4,)"),
        (lambda w: w | {"extra/kernel": np.zeros((2, 3), np.float32)}, "1 left over: extra/kernel (2, 3)"),
        (lambda w: changed(w, "context_conv_block1_conv0/kernel", np.transpose),
         "1 of another shape: context_conv_block1_conv0/kernel (expected (3, 3, 5, 2), found (2, 5, 3, 3))"),
        (lambda w: changed(w, "seg_block4/bias", np.float64), "1 not float32: seg_block4/bias (float64)"),
        (lambda w: changed(w, "seg_block4/bias", lambda v: v.astype(">f4")), "1 not float32: seg_block4/bias (>f4)"),
        (lambda w: changed(w, "seg_block4/bias", lambda v: v.astype("S3")), "1 not float32: seg_block4/bias (|S3)"),
        (lambda w: changed(w, "seg_block4/bias", np.shape), "1 without data: seg_block4/bias"),
        (lambda w: changed(w, "conv_block8_conv1/kernel", with_first(np.nan)),
         "1 with NaN or infinite values: conv_block8_conv1/kernel"),
        (lambda w: changed(w, "conv_block8_conv1_bn/moving_variance", with_first(np.inf)),
         "1 with NaN or infinite values: conv_block8_conv1_bn/moving_variance"),
        (lambda w: without(w, "seg_block2/bias") | {"Seg_block2/bias": w["seg_block2/bias"]},
         "1 missing: seg_block2/bias (4,); 1 left over: Seg_block2/bias (4,)"),
        (lambda w: w | {"two\nlines\x1b[31m/k": np.zeros(1, np.float32)}, r"1 left over: two\nlines\x1b[31m/k (1,)"),
    ],
)  # fmt: skip
def test_tensors_must_be_exactly_the_networks(change, expected, small, small_weights, tmp_path):
    before = np.asarray(small.weights[0]).copy()
    path = authors_files.write(tmp_path / "some.h5", change(small_weights))
    assert refusal(fill, small, path) == f"{path}: not the authors' weights of lvrv_net: {expected}"
    np.testing.assert_array_equal(small.weights[0], before)


def test_long_lists_are_cut(small, small_weights, tmp_path):
    path = authors_files.write(tmp_path / "some.h5", without(small_weights, *list(small_weights)[:20]))
    line = refusal(fill, small, path)
    assert "20 missing: conv_block1_conv0/kernel (3, 3, 1, 2), " in line and line.endswith(" and 12 more")


def test_other_networks_are_refused(tmp_path, small_weights):
    line = refusal(identify, authors_files.write(tmp_path / "some.h5", small_weights))
    assert "none of the released networks (roi_net has seg_block1/kernel (1, 1, 24, 1); " in line
    assert "found context_conv_block16_conv0/bias (32,), " in line
    assert "found no tensors" in refusal(identify, authors_files.write(tmp_path / "empty.h5", {}))


# Files that are broken, or made to do harm


@pytest.fixture
def saved(small_weights, tmp_path):
    return authors_files.write(tmp_path / "some.h5", small_weights)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_truncated(share, saved):
    saved.write_bytes(saved.read_bytes()[: int(share * saved.stat().st_size)])
    assert refusal(identify, saved).startswith(f"{saved}: expected the authors' weights, an HDF5 file; found OSError: ")


@pytest.mark.parametrize(
    "content", [b"garbage", bytes(5000), b"<html>404</html>", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" * 99]
)
def test_another_kind_of_file(content, tmp_path):
    path = tmp_path / "some.h5"
    path.write_bytes(content)
    assert refusal(identify, path).startswith(f"{path}: expected the authors' weights, an HDF5 file; found ")


def test_no_file(tmp_path):
    assert "no such file" in refusal(identify, tmp_path / "absent.h5")
    assert "no such file" in refusal(identify, tmp_path)


def test_damaged(small, saved):
    """Damage to values goes unnoticed; damage to the structure is refused, whatever h5py makes of it."""
    whole = saved.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for position in rng.integers(0, 3000, 20):
        damaged = bytearray(whole)
        damaged[position] ^= 255
        saved.write_bytes(damaged)
        try:
            fill(small, saved)
        except InputError as error:
            assert str(error).isprintable()
            refused += 1
    assert refused > 5


def harmful(path, kind):
    """Put one harmful entry into a file."""
    with h5py.File(path, "a") as file:
        place = file.require_group("harm/harm")
        match kind:
            case "soft link":
                file["harm/harm/kernel:0"] = h5py.SoftLink("/seg_block1/seg_block1/bias:0")
            case "dangling link":
                file["harm/harm/kernel:0"] = h5py.SoftLink("/nowhere")
            case "external link":
                file["other"] = h5py.ExternalLink(str(path.parent / "secret.h5"), "/")
            case "model elsewhere":
                file["model_weights"] = h5py.ExternalLink(str(path.parent / "secret.h5"), "/")
            case "external storage":
                (path.parent / "secret").write_bytes(bytes(40))
                place.create_dataset("kernel:0", (10,), "f4", external=[(str(path.parent / "secret"), 0, 40)])
            case "virtual":
                layout = h5py.VirtualLayout((10,), "f4")
                layout[:] = h5py.VirtualSource(str(path.parent / "secret.h5"), "x", (10,))
                place.create_virtual_dataset("kernel:0", layout)
            case "packed":
                place.create_dataset("kernel:0", (2**20, 2**9), "f4", compression="gzip", chunks=(2**20, 2**9))
            case "circle":
                file["harm/harm/again"] = file["harm"]
            case "circle at the top":
                file["again"] = file["/"]
            case "null":
                place.create_dataset("kernel:0", data=h5py.Empty("f4"))
            case "type":
                file["harm/harm/kernel:0"] = np.dtype("f4")
            case "dataset at the top":
                file["bare"] = np.zeros(3)
            case "twice":
                file["harm/harm/kernel:0"] = np.zeros(1, np.float32)
                file["harm/harm_1/kernel:0"] = np.zeros(1, np.float32)
            case "crowd":
                for i in range(weights.LAYERS_LIMIT):
                    file.create_group(f"crowd{i}")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("soft link", "kernel:0 is a link to elsewhere"),
        ("dangling link", "kernel:0 is a link to elsewhere"),
        ("external link", "other is a link to elsewhere"),
        ("model elsewhere", "model_weights is a link to elsewhere"),
        ("external storage", "harm/kernel is compressed, in chunks or in another file"),
        ("virtual", "harm/kernel is compressed, in chunks or in another file"),
        ("packed", "harm/kernel is compressed, in chunks or in another file"),
        ("circle", "harm/again is not a tensor"),
        ("circle at the top", "is not a tensor"),
        ("null", "harm/kernel is not a tensor"),
        ("type", "harm/kernel is not a tensor"),
        ("dataset at the top", "/bare is not a group"),
        ("twice", "harm/kernel occurs twice"),
        ("crowd", "entries in /"),
    ],
)
def test_harmful(kind, expected, saved):
    harmful(saved, kind)
    line = refusal(identify, saved)
    assert line.startswith(f"{saved}: expected the authors' weights, an HDF5 file; found ValueError: ") and expected in line


@pytest.mark.parametrize("shape", [(2**40,), (2**30, 2**29), (3, 3, 1, 2**40)])
def test_claims_of_huge_tensors(shape, small, small_weights, tmp_path):
    tensors = small_weights | {"conv_block1_conv0/kernel": shape}
    line = refusal(fill, small, authors_files.write(tmp_path / "some.h5", tensors))
    assert f"1 of another shape: conv_block1_conv0/kernel (expected (3, 3, 1, 2), found {shape})" in line

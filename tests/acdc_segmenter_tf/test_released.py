"""Loading the authors' checkpoints: their own output, all five networks, and every kind of file that is refused."""

import ast
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter

from acdc_segmenter_tf import released
from acdc_segmenter_tf.model import build
from acdc_segmenter_tf.released import Checkpoint, fill, identify, load_released
from shared.errors import InputError
from shared.learning.foreign import Stored
from tests.acdc_segmenter_tf import plain_tf
from tests.wrong_weights import changed, with_first, without

NAME = "unet2D_bn_modified"
# the authors' name: our network, the paper's data size, a small one
NETWORKS = {
    "VGG16_FCN_8_bn": ("fcn8", (224, 224), (32, 32)),
    "unet2D_bn": ("unet2d", (212, 212), (20, 20)),
    "unet2D_bn_modified": ("unet2d_modified", (212, 212), (20, 20)),
    "unet3D_bn": ("unet3d", (116, 116, 28), (12, 12, 12)),
    "unet3D_bn_modified": ("unet3d_modified", (116, 116, 28), (12, 12, 2)),
}
every_name = pytest.mark.parametrize("name", NETWORKS)


# Material: reproducible weights, checkpoints written by TensorFlow, and indices written by hand


def seeded(name, shape):
    """float32 values that depend on the tensor's name and shape only: the rule behind the stored output of the authors' code."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    match name.rpartition("/")[2]:
        case "gamma":
            values = rng.uniform(0.7, 1.3, shape)
        case "beta":
            values = rng.normal(0, 0.1, shape)
        case "moving_mean":
            values = rng.normal(0, 0.2, shape)
        case "moving_variance":
            values = rng.uniform(0.5, 1.5, shape)
        case "W":
            values = rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
    return values.astype(np.float32)


def seeded_image(name, size):
    """(1, x, y, 1) float32: smooth blobs and noise, mean 0, standard deviation 1."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    blobs = gaussian_filter(rng.normal(size=size), 6.0)
    image = blobs[..., None] / blobs.std() + 0.3 * rng.normal(size=(*size, 1))
    return ((image - image.mean()) / image.std()).astype(np.float32)[None]


def seeded_weights(name, width=None, labels=4):
    return {tensor: seeded(f"{name}/{tensor}", shape) for tensor, shape in plain_tf.shapes(name, width, labels).items()}


def training_state(weights):
    """What a training checkpoint holds besides: Adam's slots of the trained variables, its powers, the step."""
    trained = {tensor: value for tensor, value in weights.items() if "/moving_" not in tensor}
    slots = {f"{tensor}/{slot}": value for tensor, value in trained.items() for slot in ("Adam", "Adam_1")}
    powers = {"beta1_power": np.float32(0.1), "beta2_power": np.float32(0.9), "global_step": np.int64(1234)}
    return slots | powers


def save(prefix, tensors, slices=None):
    slices = [(slices or {}).get(name, "") for name in tensors]
    values = [tf.constant(value) for value in tensors.values()]
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=list(tensors), shape_and_slices=slices, tensors=values)
    return prefix


def save_index(prefix, shapes, **fields):
    """An index without data that claims float32 tensors of these shapes, checksums right: a sorted table of one block."""
    from tensorflow.core.protobuf.tensor_bundle_pb2 import BundleEntryProto, BundleHeaderProto

    items = {b"": BundleHeaderProto(num_shards=1).SerializeToString()}
    for name, shape in sorted(shapes.items()):
        entry = BundleEntryProto(**{"dtype": released.FLOAT32, "size": 4, **fields})
        for extent in shape:
            entry.shape.dim.add(size=extent)
        items[name.encode()] = entry.SerializeToString()
    table, handles = b"", []
    for content in (items, {}):
        handle, table = append_block(table, content)
        handles.append(handle)
    handle, table = append_block(table, {b"\xff": handles[0]})
    table += (handles[1] + handle).ljust(40, b"\0") + bytes.fromhex("57fb808b247547db")
    Path(f"{prefix}.index").write_bytes(table)
    return prefix


def append_block(table, items):
    block = b"".join(varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in items.items())
    block += struct.pack("<II", 0, 1)
    checksum = crc32c(block + b"\0")
    masked = ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF
    return varint(len(table)) + varint(len(block)), table + block + b"\0" + struct.pack("<I", masked)


def varint(number):
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def crc32c(data):
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ 0x82F63B78 * (register & 1)
    return register ^ 0xFFFFFFFF


def refusal(function, *arguments):
    """The line with which the call refuses."""
    with pytest.raises(InputError) as caught:
        function(*arguments)
    line = str(caught.value)
    assert line.isprintable() and len(line) < 2000
    return line


@pytest.fixture
def large_path(tmp_path):
    """A folder for full-size checkpoints, emptied at once: pytest would keep those of its last three runs."""
    yield tmp_path
    for file in tmp_path.iterdir():
        file.unlink()


@pytest.fixture(scope="module")
def small():
    """A narrow modified 2D U-Net to be filled, which costs nothing."""
    return build("unet2d_modified", (20, 20), width=2)


@pytest.fixture(scope="module")
def small_weights():
    return seeded_weights(NAME, width=2)


# What loads


def test_output_is_that_of_the_authors_code(large_path):
    """Logits of their TensorFlow 1 graph, every eighth pixel, for the seeded weights and image of the same rule."""
    stored = np.load(Path(__file__).parent / "unet2D_bn_modified_logits.npz")
    save(large_path / "model_best_dice.ckpt-1234", seeded_weights(NAME))
    model = load_released(None, large_path)
    assert (model.name, model.input_shape, model.output_shape) == ("unet2d_modified", (None, 212, 212, 1), (None, 212, 212, 4))
    logits = np.asarray(model(seeded_image(str(stored["image_name"]), (212, 212)), training=False))
    np.testing.assert_allclose(logits[:, ::8, ::8], stored["logits"], rtol=0, atol=1e-4 * abs(stored["logits"]).max())
    assert logits.mean() == pytest.approx(stored["mean"], abs=1e-4)
    assert logits.std() == pytest.approx(stored["std"], rel=1e-5)
    np.testing.assert_allclose(np.bincount(logits.argmax(-1).ravel(), minlength=4), stored["argmax_counts"], atol=3)


@pytest.mark.parametrize("name", ["unet2D_bn", "unet3D_bn", "unet3D_bn_modified"])
def test_full_size_round_trip(name, large_path):
    """FCN-8 (537 MB) is left to the narrow test below."""
    network, size, _ = NETWORKS[name]
    weights = seeded_weights(name)
    save(large_path / "model.ckpt", weights)
    model = load_released(name, large_path / "model.ckpt")
    assert (model.name, model.output_shape) == (network, (None, *size, 4))
    for tensor, value in weights.items():
        layer, part = tensor.split("/")
        np.testing.assert_array_equal(getattr(model.get_layer(layer), "kernel" if part == "W" else part), value)


@every_name
def test_training_checkpoint_gives_the_output_of_plain_tensorflow(name, tmp_path):
    network, _, size = NETWORKS[name]
    width = 4 if len(size) == 2 else 2
    weights = seeded_weights(name, width)
    unused = {"conv1_1/b": np.zeros(width, np.float32)}
    save(tmp_path / "model.ckpt-99", weights | training_state(weights) | unused)
    model = build(network, size, width=width)
    fill(model, Checkpoint(tmp_path / "model.ckpt-99"))
    image = np.random.default_rng(0).normal(size=(1, *size, 1)).astype(np.float32)
    expected = plain_tf.logits(name, weights, image).numpy()
    np.testing.assert_allclose(model(image, training=False), expected, rtol=0, atol=1e-4 * abs(expected).max())


@every_name
def test_networks_are_told_by_content(name, tmp_path):
    shapes = plain_tf.shapes(name)
    shapes |= {f"{tensor}/Adam": shape for tensor, shape in shapes.items()}
    assert identify(save_index(tmp_path / "some.ckpt", shapes)) == name


def test_any_file_of_the_checkpoint_names_it(tmp_path):
    prefix = save(tmp_path / "model.ckpt-7", {"a": np.float32(1)})
    (tmp_path / "model.ckpt-7.meta").write_bytes(b"never read")
    for path in (prefix, f"{prefix}.index", f"{prefix}.data-00000-of-00001", f"{prefix}.meta", tmp_path, str(tmp_path)):
        reader = Checkpoint(path)
        assert reader.prefix == str(prefix)
        assert reader.tensors == {"a": Stored((), "float32")}
        assert reader.read("a") == 1


def test_importing_the_module_does_not_import_tensorflow():
    """Keras may, when TensorFlow is its backend; our module does so inside a function only."""
    statements = ast.parse(Path(released.__file__).read_text()).body
    imports = [ast.unparse(statement) for statement in statements if isinstance(statement, ast.Import | ast.ImportFrom)]
    assert imports and "tensorflow" not in " ".join(imports)


# Tensors that are not the network's


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda w: without(w, "pred/W", "conv1_1_bn/gamma"), "2 missing: conv1_1_bn/gamma (2,), pred/W (1, 1, 2, 4)"),
        (lambda w: w | {"extra/W": np.zeros((2, 3), np.float32)}, "1 left over: extra/W (2, 3)"),
        (lambda w: w | {"extra/W/Adam": np.float32(0)}, "1 left over: extra/W/Adam ()"),
        (lambda w: w | {"conv9_9/b": np.zeros(2, np.float32)}, "1 left over: conv9_9/b (2,)"),
        (lambda w: changed(w, "conv2_1/W", np.transpose),
         "1 of another shape: conv2_1/W (expected (3, 3, 2, 4), found (4, 2, 3, 3))"),
        (lambda w: changed(w, "pred_bn/beta", np.float64), "1 not float32: pred_bn/beta (TensorFlow's type 2)"),
        (lambda w: changed(w, "conv5_1/W", with_first(np.nan)), "1 with NaN or infinite values: conv5_1/W"),
        (lambda w: changed(w, "pred_bn/moving_variance", with_first(np.inf)),
         "1 with NaN or infinite values: pred_bn/moving_variance"),
        (lambda w: without(w, "pred/W") | {"Pred/W": w["pred/W"]},
         "1 missing: pred/W (1, 1, 2, 4); 1 left over: Pred/W (1, 1, 2, 4)"),
    ],
)  # fmt: skip
def test_tensors_must_be_exactly_the_networks(change, expected, small, small_weights, tmp_path):
    prefix = save(tmp_path / "model.ckpt", change(small_weights) | training_state(small_weights))
    line = refusal(fill, small, Checkpoint(prefix))
    assert line == f"{prefix}: not the authors' weights of unet2d_modified for 4 labels: {expected}"


def test_long_lists_are_cut(small, small_weights, tmp_path):
    extras = {f"extra{i:02}": np.float32(i) for i in range(11)}
    prefix = save(tmp_path / "model.ckpt", without(small_weights, *list(small_weights)[:20]) | extras)
    line = refusal(fill, small, Checkpoint(prefix))
    assert "20 missing: conv1_1/W (3, 3, 1, 2), conv1_1_bn/gamma (2,), " in line
    assert "conv1_2_bn/beta (2,) and 12 more; 11 left over: extra00 (), " in line
    assert line.endswith("extra07 () and 3 more")


def test_another_number_of_labels_is_refused(small, tmp_path):
    prefix = save(tmp_path / "model.ckpt", seeded_weights(NAME, width=2, labels=3))
    line = refusal(fill, small, Checkpoint(prefix))
    assert "of another shape: upconv4/W (expected (4, 4, 4, 32), found (4, 4, 3, 32)), " in line and "missing" not in line

    line = refusal(identify, save_index(tmp_path / "full.ckpt", plain_tf.shapes(NAME, labels=3)))
    assert "none of the paper's networks for 4 labels" in line and "unet2D_bn_modified has upconv4/W (4, 4, 4, 1024)" in line
    line = refusal(load_released, "unet2D_bn", save_index(tmp_path / "full.ckpt", plain_tf.shapes("unet2D_bn", labels=3)))
    assert "pred/W (expected (1, 1, 64, 4), found (1, 1, 64, 3))" in line


def test_two_input_channels_are_refused(tmp_path):
    shapes = plain_tf.shapes(NAME) | {"conv1_1/W": (3, 3, 2, 64)}
    line = refusal(load_released, None, save_index(tmp_path / "model.ckpt", shapes))
    assert "1 of another shape: conv1_1/W (expected (3, 3, 1, 64), found (3, 3, 2, 64))" in line


def test_snapshots_of_2017_are_refused_by_name(small, small_weights, tmp_path):
    averages = {
        f"{tensor.partition('/')[0]}/moments/Squeeze/ExponentialMovingAverage": value
        for tensor, value in small_weights.items()
        if tensor.endswith("/moving_mean")
    }
    kept = {tensor: value for tensor, value in small_weights.items() if "/moving_" not in tensor}
    line = refusal(fill, small, Checkpoint(save(tmp_path / "model.ckpt", kept | averages)))
    assert "2017 code" in line and "ExponentialMovingAverage" in line and "moving_mean" in line


def test_checkpoint_of_another_network_is_refused(tmp_path):
    prefix = save_index(tmp_path / "model.ckpt", plain_tf.shapes("unet2D_bn"))
    line = refusal(load_released, NAME, prefix)
    assert "24 of another shape: upconv4/W (expected (4, 4, 4, 1024), found (4, 4, 512, 1024)), " in line
    assert line.endswith(" and 16 more")
    assert "none of the paper's networks" in refusal(identify, save_index(tmp_path / "other.ckpt", {"dense/kernel": (3, 3)}))
    assert "expected one of VGG16_FCN_8_bn, unet2D_bn" in refusal(load_released, "unet2d", prefix)


# Files that are broken, or made to do harm


@pytest.fixture
def saved(small_weights, tmp_path):
    return save(tmp_path / "model.ckpt", small_weights)


@pytest.mark.parametrize("share", [0, 0.3, 0.9, 0.999])
def test_truncated_index(share, saved):
    index = Path(f"{saved}.index")
    index.write_bytes(index.read_bytes()[: int(share * index.stat().st_size)])
    assert refusal(Checkpoint, saved).startswith(f"{index}: expected a TensorFlow checkpoint's index, found ")


def test_damaged_index(saved):
    index = Path(f"{saved}.index")
    whole = index.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(whole) - 100, 100):  # the last bytes hold padding that nobody reads
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.integers(8)
        index.write_bytes(damaged)
        assert "expected a TensorFlow checkpoint's index, found " in refusal(Checkpoint, saved)


@pytest.mark.parametrize("content", [b"", b"garbage", bytes(5000), b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", bytes(2**20 + 1)])
def test_index_of_another_kind(content, tmp_path):
    (tmp_path / "model.ckpt.index").write_bytes(content)
    assert "expected a TensorFlow checkpoint's index, found ValueError" in refusal(Checkpoint, tmp_path)


@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_truncated_data(share, small, saved):
    data = Path(f"{saved}.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[: int(share * data.stat().st_size)])
    assert refusal(fill, small, Checkpoint(saved)).startswith(f"{saved}: data file absent, cut or damaged at ")


def test_damaged_data(small, saved):
    data = Path(f"{saved}.data-00000-of-00001")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    assert "data file absent, cut or damaged at " in refusal(fill, small, Checkpoint(saved))


def test_missing_data(small, saved):
    Path(f"{saved}.data-00000-of-00001").unlink()
    assert "data file absent, cut or damaged at conv1_1/W" in refusal(fill, small, Checkpoint(saved))


@pytest.mark.parametrize(
    ("shape", "found"),
    [((2**40,), "1 left over: claim (1099511627776,)"), ((2**30, 2**29), "1 left over: claim ("), ((2**40, 2**40), "impossible"),
     ((2**40, 2**40, 0), "impossible"), ((-5,), "impossible"), ((1,) * 300, "impossible")],
)  # fmt: skip
def test_claims_of_huge_tensors(shape, found, small, small_weights, tmp_path):
    """TensorFlow's own reader ends the whole process at an impossible shape."""
    claimed = {name: value.shape for name, value in small_weights.items()} | {"claim": shape}
    prefix = save_index(tmp_path / "model.ckpt", claimed, size=2**42)
    assert found in refusal(lambda: fill(small, Checkpoint(prefix)))


def test_claims_of_other_sizes_and_types(small, small_weights, tmp_path):
    shapes = {name: value.shape for name, value in small_weights.items()}
    for fields, found in (
        ({"size": 2**42}, "Invalid size"),
        ({"offset": 2**60}, "cut or damaged at conv1_1/W"),
        ({"shard_id": 3}, "cut or damaged at conv1_1/W"),
        ({"dtype": 999}, "115 not float32: "),
    ):
        prefix = save_index(tmp_path / "model.ckpt", shapes, **fields)
        Path(f"{prefix}.data-00000-of-00001").write_bytes(bytes(4))
        assert found in refusal(lambda prefix: fill(small, Checkpoint(prefix)), prefix)


def test_tensors_stored_in_parts(small_weights, tmp_path):
    prefix = save(tmp_path / "model.ckpt", small_weights, {"pred/W": "1000 1000 2 4 0,1:0,1:-:-"})
    assert "stored in parts" in refusal(Checkpoint, prefix)


def test_names_that_would_break_the_line(small, tmp_path):
    line = refusal(fill, small, Checkpoint(save_index(tmp_path / "model.ckpt", {"two\nlines\x1b[31m": (1,)})))
    assert r"left over: two\nlines\x1b[31m (1,)" in line
    assert "damaged" in refusal(Checkpoint, save_index(tmp_path / "long.ckpt", {"x" * 5000: (1,)}))


def test_paths_without_one_checkpoint(tmp_path):
    assert "expected a folder with one checkpoint, found 0" in refusal(Checkpoint, tmp_path)
    assert f"expected the file {tmp_path / 'absent.index'}" in refusal(Checkpoint, tmp_path / "absent")
    (tmp_path / "odd.ckpt.index").mkdir()
    assert "expected the file" in refusal(Checkpoint, tmp_path / "odd.ckpt")
    (tmp_path / "odd.ckpt.index").rmdir()
    save(tmp_path / "model_best_dice.ckpt-1", {"a": np.float32(1)})
    save(tmp_path / "model_best_xent.ckpt-2", {"a": np.float32(1)})
    line = refusal(Checkpoint, tmp_path)
    assert "found 2: model_best_dice.ckpt-1, model_best_xent.ckpt-2; name one of them" in line


def test_path_that_tensorflow_reads_as_a_pattern(tmp_path):
    (tmp_path / "fold[1]").mkdir()
    save_index(tmp_path / "fold[1]" / "model.ckpt", {"a": (1,)})
    assert "rename" in refusal(Checkpoint, tmp_path / "fold[1]")


def test_without_tensorflow(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    assert "pip install tensorflow" in refusal(load_released, None, saved)

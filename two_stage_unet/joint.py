"""From Net1 to Net2: the soft region, how it gets onto the fine grid, and both networks in one graph, for step 3 of the training.

    cube at 3 mm -> Net1 -> logits ------------------------------------------> loss L^1
                              `-> soft region -> at the voxels of each stack
                                                 [soft region | image] -> Net2 -> logits of the central slices -> loss L^2
    stacks of K slices at the scan's resolution ---------------'

All of it can be differentiated, so L^2 trains Net1 too. The soft region is resampled only where a stack needs it, never onto the
whole fine sub-volume: of 256 x 256 x 256 voxels, four stacks of nine slices are 36 slices.
"""

from collections.abc import Sequence
from typing import Any

from shared.errors import InputError
from shared.framework import Tensor, keras, ops
from two_stage_unet.model import check_choice

# Probabilities (..., classes) -> a share in [0, 1] for each channel. The paper says "soft", and gives Net2 two channels in all.
REGIONS = {
    "foreground": lambda p: 1 - p[..., :1],  # ours: what is not background
    "expected_label": lambda p: ops.sum(p * ops.arange(p.shape[-1], dtype=p.dtype), -1, keepdims=True) / (p.shape[-1] - 1),
    "softmax": lambda p: p,  # departs from the paper's two channels
}


def soft_region(logits: Tensor, kind: str) -> Tensor:
    """What Net2 learns from Net1, in [-1, 1] as images are.

    Args:
        logits: of Net1, (..., classes).
        kind: "foreground" (1 - p_0), "expected_label" (the mean label as a share of the greatest one) or "softmax" (all classes).

    Returns:
        (..., `channels_of(kind, classes)`).
    """
    return 2 * REGIONS[kind](ops.softmax(logits, axis=-1)) - 1


def channels_of(kind: str, classes: int) -> int:
    """Channels of the soft region.

    Raises:
        InputError: an unknown kind.
    """
    check_choice("region", kind, REGIONS)
    return classes if kind == "softmax" else 1


def resampled(volumes: Tensor, grid: Tensor, shape: Sequence[int]) -> Tensor:
    """Trilinear interpolation of each volume onto grids whose axes are parallel to its own.

    Linear interpolation along one axis is a product with a matrix. So nothing is gathered, and the gradient is made of products
    too: both are fast, and the same in every run.

    Args:
        volumes: (B, a, b, c, channels).
        grid: (B, S, 3, 2): for each axis the offset and the step; voxel i of the grid lies at `offset + step * i`, counted in
            voxels of the volume. A place outside the volume has the value of the nearest place inside.
        shape: (x, y, z) of all grids.

    Returns:
        (B, S, x, y, z, channels).
    """
    extents = ops.shape(volumes)[1:4]
    x, y, z = (hats(grid[:, :, axis], extents[axis], shape[axis]) for axis in range(3))
    volumes = ops.einsum("bijkc,bswk->bsijwc", volumes, z)
    volumes = ops.einsum("bsijwc,bsvj->bsivwc", volumes, y)
    return ops.einsum("bsivwc,bsui->bsuvwc", volumes, x)


def hats(axis: Tensor, extent: int, wanted: int) -> Tensor:
    """Weights (B, S, wanted, extent) of linear interpolation along an axis given as (B, S, 2): 1 - distance where positive."""
    places = axis[..., :1] + axis[..., 1:] * ops.arange(wanted, dtype="float32")  # (B, S, wanted)
    places = ops.clip(places, 0, ops.cast(extent - 1, "float32"))
    return ops.relu(1 - ops.abs(places[..., None] - ops.arange(extent, dtype="float32")))


def build_joint(net1: keras.Model, net2: keras.Model, region: str = "foreground") -> keras.Model:
    """Net1 and Net2 in one graph. They stay the networks that they are: they can be frozen, saved and loaded alone.

    Args:
        net1, net2: of `model.build`.
        region: kind of the `soft_region`.

    Returns:
        A model from a dict of
            cube: (B, a, b, c, 1), the coarse image;
            stacks: (B, S, x, y, K, 1), the fine image, S stacks of K slices for each cube;
            grid: (B, S, 3, 2), where the voxels of each stack lie in the cube, see `resampled`;
        to a dict of logits: net1 (B, a, b, c, classes), and net2 (B, S, x, y, classes) of the central slices. With one loss for
        both outputs Keras trains on the sum, L^1 + L^2.

    Raises:
        InputError: an unknown region, or a Net2 of other channels.
    """
    found, wanted = net2.input_shape[-1], channels_of(region, net1.output_shape[-1]) + 1
    if found != wanted:
        raise InputError(f"net2 has {found} input channels: expected {wanted}, for the region {region!r} and the image")
    cube = keras.Input(net1.input_shape[1:], name="cube")  # (B, 64, 64, 64, 1)
    stacks = keras.Input((None, *net2.input_shape[1:-1], 1), name="stacks")  # (B, 4, 256, 256, 9, 1)
    grid = keras.Input((None, 3, 2), name="grid")  # (B, 4, 3, 2)

    coarse = net1(cube)  # (B, 64, 64, 64, 8)
    x = SoftRegion(region, dtype="float32", name="region")(coarse)  # (B, 64, 64, 64, 1)
    x = Seen(dtype="float32", name="seen")([x, stacks, grid])  # (4 B, 256, 256, 9, 2)
    fine = PerCube(dtype="float32", name="per_cube")([net2(x), stacks])  # (B, 4, 256, 256, 8)

    return keras.Model({"cube": cube, "stacks": stacks, "grid": grid}, {"net1": coarse, "net2": fine}, name="joint")


@keras.saving.register_keras_serializable("two_stage_unet")
class SoftRegion(keras.layers.Layer):
    """`soft_region` as a layer."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__(**options)
        self.kind = kind

    def call(self, inputs: Tensor) -> Tensor:
        return soft_region(inputs, self.kind)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}


@keras.saving.register_keras_serializable("two_stage_unet")
class Seen(keras.layers.Layer):
    """Input of Net2 from region, stacks and grid: the channels [region | image], all stacks of all cubes as one batch."""

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        region, stacks, grid = inputs
        shape = ops.shape(stacks)
        seen = ops.concatenate([resampled(region, grid, shape[2:5]), stacks], axis=-1)
        return ops.reshape(seen, (-1, *shape[2:5], seen.shape[-1]))


@keras.saving.register_keras_serializable("two_stage_unet")
class PerCube(keras.layers.Layer):
    """Logits (B S, x, y, classes) as (B, S, x, y, classes), with B and S of the stacks."""

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        logits, stacks = inputs
        return ops.reshape(logits, (-1, *ops.shape(stacks)[1:4], logits.shape[-1]))

"""The networks of Wang 2018: Net1 (3D, coarse), Net2 (3D-2D, fine), and the 3D U-Net that the paper compares with.

Every network maps images in [-1, 1] to the logits of a softmax, background first. Net1 and the 3D U-Net label every voxel that
they see; Net2 sees a stack of K slices and labels the one in the middle.

    Net1, width f: 5x5x5 convolutions of dilation d                Net2, width f: 3x3x3, then 5x5 convolutions

    image -> enc1 (f, d 2) ---------- skip ---> dec1 -> head       [soft region, image], K slices
       pool -> enc2 (2f, d 4) ------- skip -> dec2                   -> enc1 (f) ------ central slice ---> dec1 -> head
          pool -> enc3 (4f, d 6) ---- skip -> dec3                    pool -> enc2 (2f) ------------> dec2
             pool -> enc4 (8f, d 8) - skip -> dec4                       pool -> enc3 (4f) -------> dec3
                pool -> up                                                  pool -> enc4 (8f) -> dec4
                                                                               pool -> slice block, K slices to one -> up

A block is two convolutions, each with its activation, and then dropout. Padding keeps the size. Net1 pools along x, y and z, Net2
along x and y only, both four times: these extents are multiples of 16. The 3D U-Net pools three times: its extents are multiples
of 8. An extent may be None: the network then takes any multiple. An option adds normalisation before each activation.

Ours, because the paper is silent: numbers of filters, nearest neighbour on the way up, initial weights, and what a 3D map gives
to the 2D decoder (its central slice). The paper contradicts itself about the decoder's kernels (5x5x5, then 2D), and prints a
slice block that does not give one slice (see `slices_to_one`).
"""

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import InputError
from shared.framework import Tensor, keras
from shared.learning.layers import BatchNormalization, InstanceNormalization
from two_stage_unet.recipe import SKIPS, SLICE_BLOCKS

# activation -> fan-in times the variance of initial weights (He, LeCun), and the dropout that goes with it
ACTIVATIONS = {"relu": (2.0, keras.layers.Dropout), "selu": (1.0, keras.layers.AlphaDropout)}
NORMS = {"none": None, "batch": BatchNormalization, "instance": InstanceNormalization}

Extents = Sequence[int | None]


@dataclass(frozen=True)
class Style:
    """What all blocks of a network share."""

    activation: str = "relu"
    normalisation: str = "none"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_choice("activation", self.activation, ACTIVATIONS)
        check_choice("normalisation", self.normalisation, NORMS)


def build(network: str, shape: Extents, classes: int, width: int, **options: Any) -> keras.Model:
    """The untrained network called `network` (a key of `NETWORKS`), from image to logits.

    Args:
        network: "net1", "net2" or "unet3d".
        shape: (x, y, z) in voxels, for "net2" (x, y, K); None stands for any extent that the network can take.
        classes: background included (the paper: 8).
        width: filters of the first block (ours: 16 for Net1, 32 for the others).
        **options: of the network's own builder.

    Raises:
        InputError: an unknown name, a shape that the network cannot take, or less than two classes.
    """
    check_choice("network", network, NETWORKS)
    if classes < 2:
        raise InputError(f"{network} has at least 2 classes, background and one structure, found {classes}")
    return NETWORKS[network](shape, classes, width, **options)


def build_net1(
    shape: Extents,
    classes: int,
    width: int,
    *,
    bottleneck: bool = False,
    activation: str = "relu",
    normalisation: str = "none",
    dropout: float = 0.2,
    typical: Sequence[int] | None = None,
) -> keras.Model:
    """Net1; shapes in the comments are those of width 16.

    Args:
        bottleneck: two further convolutions after the last pooling, without dilation (the paper counts 4 + 4 blocks).
        activation: "relu" (paper) or "selu" with alpha dropout (preprint).
        normalisation: "none" (the paper mentions none), "batch" or "instance".
        dropout: share of the values that each block drops (paper: 0.2).
        typical: (x, y, z) of the inputs for which initial weights keep the variance, see `share_inside`; None takes every tap of
            every kernel as one that sees its map, and what the two coarsest levels find is then next to nothing at first.
    """
    check_extents("net1", shape, (16, 16, 16))
    style = Style(activation, normalisation, dropout)

    def block(x: Tensor, name: str, filters: int, level: int, dilation: int) -> Tensor:
        share = share_inside(typical, level, dilation) if typical else 1.0
        return two_convs(x, name, (filters, filters), 5, style, dilation, share)

    f = width
    image = keras.Input((*shape, 1), name="image")  # (B, 96, 96, 96, 1)

    skip1 = block(image, "enc1", f, level=1, dilation=2)  # (B, 96, 96, 96, 16)
    skip2 = block(pool(skip1, "pool1"), "enc2", 2 * f, level=2, dilation=4)  # (B, 48, 48, 48, 32)
    skip3 = block(pool(skip2, "pool2"), "enc3", 4 * f, level=3, dilation=6)  # (B, 24, 24, 24, 64)
    skip4 = block(pool(skip3, "pool3"), "enc4", 8 * f, level=4, dilation=8)  # (B, 12, 12, 12, 128)

    x = pool(skip4, "pool4")  # (B, 6, 6, 6, 128)
    x = block(x, "bottleneck", 16 * f, level=5, dilation=1) if bottleneck else x

    x = block(merge(up(x, "up4"), skip4, "merge4"), "dec4", 8 * f, level=4, dilation=8)  # (B, 12, 12, 12, 128)
    x = block(merge(up(x, "up3"), skip3, "merge3"), "dec3", 4 * f, level=3, dilation=6)  # (B, 24, 24, 24, 64)
    x = block(merge(up(x, "up2"), skip2, "merge2"), "dec2", 2 * f, level=2, dilation=4)  # (B, 48, 48, 48, 32)
    x = block(merge(up(x, "up1"), skip1, "merge1"), "dec1", f, level=1, dilation=2)  # (B, 96, 96, 96, 16)
    return keras.Model(image, head(x, classes), name="net1")  # (B, 96, 96, 96, 8)


def build_net2(
    shape: Extents,
    classes: int,
    width: int,
    *,
    channels: int = 2,
    slice_block: str = "two_conv",
    skips: str = "centre",
    activation: str = "relu",
    normalisation: str = "none",
    dropout: float = 0.2,
) -> keras.Model:
    """Net2; shapes in the comments are those of width 32 and K = 9.

    Args:
        channels: of the input, those of the soft region (see `joint.soft_region`) before the image (paper: 1 + 1).
        slice_block: how K slices become one; see `slices_to_one`.
        skips: what a 3D map gives to the 2D decoder: its central slice ("centre", which needs no weights), or a 1x1xK convolution
            of all slices ("slice_conv").
        activation, normalisation, dropout: see `build_net1`.
    """
    check_extents("net2", shape, (16, 16, 1))
    if shape[2] is None or shape[2] < 3 or shape[2] % 2 == 0:
        raise InputError(f"net2 labels the central one of K slices, K odd and at least 3, found {shape[2]}")
    check_choice("slice_block", slice_block, SLICE_BLOCKS)
    check_choice("skips", skips, SKIPS)
    f, style = width, Style(activation, normalisation, dropout)
    flat = functools.partial(in_2d, kind=skips, style=style)

    def block(x: Tensor, name: str, filters: int, kernel: int) -> Tensor:
        return two_convs(x, name, (filters, filters), kernel, style)

    seen = keras.Input((*shape, channels), name="seen")  # (B, 256, 256, 9, 2)

    skip1 = block(seen, "enc1", f, kernel=3)  # (B, 256, 256, 9, 32)
    skip2 = block(pool(skip1, "pool1", z=1), "enc2", 2 * f, kernel=3)  # (B, 128, 128, 9, 64)
    skip3 = block(pool(skip2, "pool2", z=1), "enc3", 4 * f, kernel=3)  # (B, 64, 64, 9, 128)
    skip4 = block(pool(skip3, "pool3", z=1), "enc4", 8 * f, kernel=3)  # (B, 32, 32, 9, 256)

    x = pool(skip4, "pool4", z=1)  # (B, 16, 16, 9, 256)
    x = slices_to_one(x, slice_block, style)  # (B, 16, 16, 256)

    x = block(merge(up(x, "up4"), flat(skip4, "skip4"), "merge4"), "dec4", 8 * f, kernel=5)  # (B, 32, 32, 256)
    x = block(merge(up(x, "up3"), flat(skip3, "skip3"), "merge3"), "dec3", 4 * f, kernel=5)  # (B, 64, 64, 128)
    x = block(merge(up(x, "up2"), flat(skip2, "skip2"), "merge2"), "dec2", 2 * f, kernel=5)  # (B, 128, 128, 64)
    x = block(merge(up(x, "up1"), flat(skip1, "skip1"), "merge1"), "dec1", f, kernel=5)  # (B, 256, 256, 32)
    return keras.Model(seen, head(x, classes), name="net2")  # (B, 256, 256, 8)


def build_unet3d(shape: Extents, classes: int, width: int, *, normalisation: str = "batch") -> keras.Model:
    """The 3D U-Net for images of 2 mm, whose design the paper leaves open: that of Cicek 2016, padded; comments are for width 32.

    Args:
        normalisation: "batch" (Cicek), "instance" where batches are too small for it, or "none".
    """
    check_extents("unet3d", shape, (8, 8, 8))
    f, block = width, functools.partial(two_convs, kernel=3, style=Style("relu", normalisation))
    image = keras.Input((*shape, 1), name="image")  # (B, 128, 128, 128, 1)

    skip1 = block(image, "enc1", (f, 2 * f))  # (B, 128, 128, 128, 64)
    skip2 = block(pool(skip1, "pool1"), "enc2", (2 * f, 4 * f))  # (B, 64, 64, 64, 128)
    skip3 = block(pool(skip2, "pool2"), "enc3", (4 * f, 8 * f))  # (B, 32, 32, 32, 256)

    x = block(pool(skip3, "pool3"), "bottleneck", (8 * f, 16 * f))  # (B, 16, 16, 16, 512)

    x = block(merge(transposed(x, "up3"), skip3, "merge3"), "dec3", (8 * f, 8 * f))  # (B, 32, 32, 32, 256)
    x = block(merge(transposed(x, "up2"), skip2, "merge2"), "dec2", (4 * f, 4 * f))  # (B, 64, 64, 64, 128)
    x = block(merge(transposed(x, "up1"), skip1, "merge1"), "dec1", (2 * f, 2 * f))  # (B, 128, 128, 128, 64)
    return keras.Model(image, head(x, classes), name="unet3d")  # (B, 128, 128, 128, 8)


NETWORKS: dict[str, Callable[..., keras.Model]] = {"net1": build_net1, "net2": build_net2, "unet3d": build_unet3d}


def two_convs(
    x: Tensor, name: str, filters: Sequence[int], kernel: int, style: Style, dilation: int = 1, share: float = 1.0
) -> Tensor:
    """A block of any of the networks; for `share` see `conv`."""
    for i, n in enumerate(filters, start=1):
        x = conv(x, f"{name}_{i}", n, kernel, style, dilation=dilation, share=share)
    return drop(x, name, style)


def share_inside(typical: Sequence[int], level: int, dilation: int) -> float:
    """The mean share of the taps of a 5x5x5 kernel that fall inside a map of Net1 when the input has these extents.

    A kernel of dilation 8 is wider than the map that it works on, so nearly all of its taps see padding. Weights drawn for all
    of them would make the map vanish.
    """
    extents = [n / 2 ** (level - 1) for n in typical]
    return math.prod(sum(max(0.0, 1 - abs(tap) * dilation / n) for tap in range(-2, 3)) / 5 for n in extents)


def slices_to_one(x: Tensor, kind: str, style: Style) -> Tensor:
    """Net2's slice block: (B, x, y, K, filters) to (B, x, y, filters).

    The paper prints a kernel of 1x1x(K-1) without padding, which leaves two slices. In "two_conv" a second convolution, as every
    block has one, makes them one; in "single" the kernel is 1x1xK, as if the print were off by one.
    """
    filters, slices = x.shape[-1], x.shape[3]
    if kind == "two_conv":
        x = conv(x, "slices_1", filters, (1, 1, slices - 1), style, padding="valid")  # (B, 16, 16, 2, 256)
        x = conv(x, "slices_2", filters, (1, 1, 2), style, padding="valid")
    else:
        x = conv(x, "slices_1", filters, (1, 1, slices), style, padding="valid")
    return CentralSlice(name="slices_2d")(drop(x, "slices", style))


def in_2d(skip: Tensor, name: str, kind: str, style: Style) -> Tensor:
    """What a skip connection gives to the 2D decoder: (B, x, y, K, filters) to (B, x, y, filters)."""
    if kind == "slice_conv":
        skip = conv(skip, f"{name}_slices", skip.shape[-1], (1, 1, skip.shape[3]), style, padding="valid")
    return CentralSlice(name=f"{name}_2d")(skip)


@keras.saving.register_keras_serializable("two_stage_unet")
class CentralSlice(keras.layers.Layer):
    """Slice (K - 1) / 2, counted from 0, of maps (B, x, y, K, channels)."""

    def call(self, inputs: Tensor) -> Tensor:
        return inputs[:, :, :, inputs.shape[3] // 2]


def conv(
    x: Tensor,
    name: str,
    filters: int,
    kernel: int | Sequence[int],
    style: Style,
    padding: str = "same",
    dilation: int = 1,
    share: float = 1.0,
) -> Tensor:
    """Convolution, normalisation if any, activation; initial weights keep the variance if this share of the taps sees a map."""
    layer = {4: keras.layers.Conv2D, 5: keras.layers.Conv3D}[len(x.shape)]
    initializer = keras.initializers.VarianceScaling(ACTIVATIONS[style.activation][0] / share, "fan_in", "truncated_normal")
    x = layer(filters, kernel, padding=padding, dilation_rate=dilation, kernel_initializer=initializer, name=name)(x)
    Norm = NORMS[style.normalisation]
    x = x if Norm is None else Norm(epsilon=1e-3, name=f"{name}_norm")(x)
    return keras.layers.Activation(style.activation, name=f"{name}_{style.activation}")(x)


def drop(x: Tensor, name: str, style: Style) -> Tensor:
    return ACTIVATIONS[style.activation][1](style.dropout, name=f"{name}_dropout")(x) if style.dropout else x


def pool(x: Tensor, name: str, z: int = 2) -> Tensor:
    return keras.layers.MaxPooling3D((2, 2, z), name=name)(x)


def up(x: Tensor, name: str) -> Tensor:
    layer = {4: keras.layers.UpSampling2D, 5: keras.layers.UpSampling3D}[len(x.shape)]
    return layer(2, name=name)(x)


def transposed(x: Tensor, name: str) -> Tensor:
    """Transposed convolution to twice the extent and as many filters."""
    return keras.layers.Conv3DTranspose(x.shape[-1], 2, 2, kernel_initializer="he_normal", name=name)(x)


def merge(x: Tensor, skip: Tensor, name: str) -> Tensor:
    return keras.layers.Concatenate(name=name)([x, skip])


def head(x: Tensor, classes: int) -> Tensor:
    """1x1 convolution to logits, which leave the network as float32, in any precision that it computes in."""
    layer = {4: keras.layers.Conv2D, 5: keras.layers.Conv3D}[len(x.shape)]
    return layer(classes, 1, kernel_initializer="he_normal", dtype="float32", name="logits")(x)


def check_choice(what: str, found: str, known: Iterable[str]) -> None:
    if found not in known:
        raise InputError(f"unknown {what} {found!r}: expected one of {', '.join(known)}")


def check_extents(network: str, shape: Extents, steps: Sequence[int]) -> None:
    if len(shape) != 3 or any(n is not None and (n < step or n % step) for n, step in zip(shape, steps, strict=True)):
        wanted = " x ".join(f"{step}n" if step > 1 else "K" for step in steps)
        raise InputError(f"{network} takes extents of {wanted}, found {' x '.join(map(str, shape))}")

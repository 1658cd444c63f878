"""The two networks of Zheng 2018, section 2.3: initialization (one slice) and propagation (a slice, its mask and the next four).

Both go from coarse to fine: a sub-network sees the input at its size together with the mask that the coarser one found.

    initialization                                      propagation
    slice 128 -> 1/4 -> SubNet32  -> mask 32            [slice z, mask z, slices z+1 .. z+4] 128
              -> 1/2 -> SubNet64  <- up                        -> 1/2 -> SubNet64  -> masks z+1 .. z+4, 64
              ->        SubNet128 <- up -> mask 128            ->        SubNet128 <- up -> masks z+1 .. z+4, 128

A sub-network is a row of groups (convolution, batch normalisation, leaky ReLU) and a 1x1 convolution with a sigmoid. Filter
sizes, channels and numbers of groups are in a figure of the paper that could not be had: those in `recipe.py` are ours. Noise
layers come first and work in training only. The paper's third one, a rotation, must turn the labels too, and so it happens in the
training step (see `train.turn`).

All masks are probabilities at full size, `(B, size, size, scales * masks)`, the finest scale first. Coarser ones, which only the
loss needs, have every pixel repeated.
"""

import functools
from collections.abc import Sequence
from typing import Any

from propagation.stack import STEP
from shared.errors import InputError
from shared.framework import Tensor, keras, ops
from shared.learning.layers import BatchNormalization, InstanceNormalization

NORMS = {"batch": BatchNormalization, "instance": InstanceNormalization}


def build(network: str, size: int, groups: Sequence[int], channels: Sequence[int], **options: Any) -> keras.Model:
    """The untrained network called `network`, "initialization" or "propagation"; see the two functions below.

    Raises:
        InputError: an unknown name, or what the network cannot have.
    """
    if network not in NETWORKS:
        raise InputError(f"unknown network {network!r}: expected one of {', '.join(NETWORKS)}")
    return NETWORKS[network](size, groups, channels, **options)


def build_initialization(
    size: int,
    groups: Sequence[int],
    channels: Sequence[int],
    *,
    kernel: int,
    slope: float,
    normalisation: str,
    gaussian_noise: float,
    impulse_noise: float,
) -> keras.Model:
    """One slice -> its mask.

    Args:
        size: of the slice along x and y, a multiple of 4 (paper: 128).
        groups, channels: of SubNet32, SubNet64 and SubNet128.
        kernel: side of every filter but the last.
        slope: of the leaky ReLU below 0 (paper: 0.25).
        normalisation: "batch" (paper) or "instance".
        gaussian_noise: standard deviation, in units of the normalised slice.
        impulse_noise: fraction of the pixels that become pepper or salt.

    Returns:
        A model from (B, size, size, 1) to (B, size, size, 3): the mask at scales 1, 1/2 and 1/4.

    Raises:
        InputError: sizes, groups or a normalisation that the network cannot have.
    """
    check("initialization", size, groups, channels, normalisation, scales=3)
    subnet = functools.partial(sub_network, kernel=kernel, slope=slope, Norm=NORMS[normalisation])
    image = keras.Input((size, size, 1), name="slice")
    x = noise(image, gaussian_noise, impulse_noise)

    mask32 = subnet(down(x, 4), 1, groups[0], channels[0], "coarsest")  # (B, 32, 32, 1)
    mask64 = subnet(merge(down(x, 2), mask32, "coarse_in"), 1, groups[1], channels[1], "coarse")  # (B, 64, 64, 1)
    mask128 = subnet(merge(x, mask64, "fine_in"), 1, groups[2], channels[2], "fine")  # (B, 128, 128, 1)

    return keras.Model(image, at_full_size(mask128, mask64, mask32), name="initialization")


def build_propagation(
    size: int,
    groups: Sequence[int],
    channels: Sequence[int],
    *,
    kernel: int,
    slope: float,
    normalisation: str,
    gaussian_noise: float,
    impulse_noise: float,
) -> keras.Model:
    """A slice, its mask and the next four slices of one direction -> the masks of those four.

    Args:
        size: of the slices along x and y, a multiple of 2 (paper: 128).
        groups, channels: of SubNet64 and SubNet128.
        kernel, slope, normalisation, gaussian_noise, impulse_noise: see `build_initialization`; the mask gets no noise.

    Returns:
        A model from (B, size, size, 6), in the order slice z, mask z, slices z+1 to z+4, to (B, size, size, 8): four masks
        at scale 1, then four at 1/2.

    Raises:
        InputError: see `build_initialization`.
    """
    check("propagation", size, groups, channels, normalisation, scales=2)
    subnet = functools.partial(sub_network, kernel=kernel, slope=slope, Norm=NORMS[normalisation])
    image = keras.Input((size, size, 2 + STEP), name="slices_and_mask")
    slices = Channels((0, 2, 3, 4, 5), name="slices")(image)
    mask = Channels((1,), name="mask")(image)
    x = merge(noise(slices, gaussian_noise, impulse_noise), mask, "noisy")  # (B, 128, 128, 5 + 1)

    masks64 = subnet(down(x, 2), STEP, groups[0], channels[0], "coarse")  # (B, 64, 64, 4)
    masks128 = subnet(merge(x, masks64, "fine_in"), STEP, groups[1], channels[1], "fine")  # (B, 128, 128, 4)

    return keras.Model(image, at_full_size(masks128, masks64), name="propagation")


NETWORKS = {"initialization": build_initialization, "propagation": build_propagation}


def noise(x: Tensor, gaussian_noise: float, impulse_noise: float) -> Tensor:
    x = keras.layers.GaussianNoise(gaussian_noise, name="gaussian_noise")(x)
    return ImpulseNoise(impulse_noise, name="impulse_noise")(x)


def sub_network(
    x: Tensor, masks: int, groups: int, channels: int, name: str, *, kernel: int, slope: float, Norm: type[keras.Layer]
) -> Tensor:
    """`groups` of convolution, normalisation and leaky ReLU, then the masks' probabilities, all at the size of `x`."""
    for i in range(1, groups + 1):
        x = keras.layers.Conv2D(channels, kernel, padding="same", kernel_initializer="he_normal", name=f"{name}_{i}")(x)
        x = Norm(epsilon=1e-3, name=f"{name}_{i}_norm")(x)
        x = keras.layers.LeakyReLU(slope, name=f"{name}_{i}_relu")(x)
    return keras.layers.Conv2D(masks, 1, activation="sigmoid", dtype="float32", kernel_initializer="he_normal", name=name)(x)


def down(x: Tensor, factor: int) -> Tensor:
    return keras.layers.AveragePooling2D(factor, name=f"down{factor}")(x)


def merge(x: Tensor, mask: Tensor, name: str) -> Tensor:
    """[x | mask], a mask of half the size with every pixel repeated."""
    return keras.layers.Concatenate(name=name)([x, repeated(mask, x.shape[1], f"{name}_up")])


def at_full_size(*masks: Tensor) -> Tensor:
    """The masks of all scales side by side, each repeated to the size of the first."""
    size = masks[0].shape[1]
    full = [repeated(mask, size, f"masks_up{size // mask.shape[1]}") for mask in masks]
    return keras.layers.Concatenate(dtype="float32", name="masks")(full)


def repeated(mask: Tensor, size: int, name: str) -> Tensor:
    factor = size // mask.shape[1]
    return keras.layers.UpSampling2D(factor, name=name)(mask) if factor > 1 else mask


@keras.saving.register_keras_serializable("propagation")
class Channels(keras.layers.Layer):
    """Some channels of an image, in the given order."""

    def __init__(self, chosen: Sequence[int], **options: object) -> None:
        super().__init__(**options)
        self.chosen = tuple(chosen)

    def call(self, inputs: Tensor) -> Tensor:
        return ops.take(inputs, self.chosen, axis=-1)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "chosen": self.chosen}


@keras.saving.register_keras_serializable("propagation")
class ImpulseNoise(keras.layers.Layer):
    """Pepper and salt: in training, a share of the pixels takes the least or the greatest value of its slice, equally often."""

    def __init__(self, share: float, seed: int | None = None, **options: object) -> None:
        super().__init__(**options)
        self.share, self.seed = share, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if not training:
            return inputs
        drawn = keras.random.uniform(ops.shape(inputs), seed=self.generator, dtype="float32")
        pepper, salt = (extreme(inputs, axis=(1, 2), keepdims=True) for extreme in (ops.min, ops.max))
        return ops.where(drawn < self.share / 2, pepper, ops.where(drawn > 1 - self.share / 2, salt, inputs))

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "share": self.share, "seed": self.seed}


def check(network: str, size: int, groups: Sequence[int], channels: Sequence[int], normalisation: str, scales: int) -> None:
    coarsest = 2 ** (scales - 1)
    if size < coarsest or size % coarsest:
        raise InputError(f"{network} takes slices of {coarsest}n x {coarsest}n, found {size} x {size}")
    if len(groups) != scales or len(channels) != scales:
        raise InputError(f"{network} has {scales} sub-networks, found groups {groups} and channels {channels}")
    if normalisation not in NORMS:
        raise InputError(f"unknown normalisation {normalisation!r}: expected one of {', '.join(NORMS)}")

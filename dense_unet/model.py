"""The network of Penso 2020: a U-Net whose skip connections pass through dense blocks, from an image in [0, 1] to logits.

    image 176 -> enc1 (w) ------- dense1 (w + 64) ------> [dense1 | up1] dec1 (w) -> head
      pool 88 -> enc2 (2w) ------ dense2 (2w + 64) -----> [dense2 | up2] dec2 (2w)
        pool 44 -> enc3 (4w) ---- dense3 (4w + 64) ---> [dense3 | up3] dec3 (4w)
          pool 22 -> enc4 (8w) -- dense4 (8w + 64) -> [dense4 | up4] dec4 (8w)
            pool 11 -> bottom (16w)

An encoder or decoder block is two 3x3 convolutions, each followed by batch normalisation and ReLU. Each layer of a dense block is
such a convolution with a few filters (the growth), whose maps are added to all that the layer saw. The upsampled maps are as many
as there are classes (paper), which saves a third of the parameters; "width" gives them the width of the level instead. Images are
multiples of 16 pixels.

Ours, because the paper is silent: 4 dense layers of growth 16 on each skip, the order convolution - normalisation - ReLU, padding
that keeps the size, He normal initial weights, no normalisation after the transposed convolutions, and the order [skip | up].
"""

from collections.abc import Sequence

from dense_unet.recipe import NETWORKS, UPSAMPLING
from shared.errors import InputError
from shared.framework import Tensor, keras
from shared.learning.layers import BatchNormalization


def build(
    network: str,
    shape: Sequence[int],
    classes: int = 4,
    width: int = 48,
    *,
    dense_layers: Sequence[int] = (4, 4, 4, 4),
    growth: int = 16,
    upsampling: str = "classes",
) -> keras.Model:
    """The untrained network; shapes in the comments are those of the paper.

    Args:
        network: "dense", or "plain": the same without dense blocks.
        shape: (x, y) in pixels.
        classes: background included.
        width: filters of the first level, doubled at each pooling (paper: 48 to 768).
        dense_layers: of the dense block on the skip of levels 1 to 4.
        growth: filters of each of these layers.
        upsampling: maps of a transposed convolution: "classes" (paper), or "width", as many as the level has.

    Raises:
        InputError: an unknown name, or a shape that cannot be halved four times.
    """
    check(network, shape, upsampling)
    w, depths = width, dense_layers if network == "dense" else (0, 0, 0, 0)
    up_widths = [classes] * 4 if upsampling == "classes" else [w, 2 * w, 4 * w, 8 * w]
    image = keras.Input((*shape, 1), name="image")  # (B, 176, 176, 1)

    enc1 = two_convs(image, "enc1", w)  # (B, 176, 176, 48)
    enc2 = two_convs(pool(enc1, "pool1"), "enc2", 2 * w)  # (B, 88, 88, 96)
    enc3 = two_convs(pool(enc2, "pool2"), "enc3", 4 * w)  # (B, 44, 44, 192)
    enc4 = two_convs(pool(enc3, "pool3"), "enc4", 8 * w)  # (B, 22, 22, 384)

    x = two_convs(pool(enc4, "pool4"), "bottom", 16 * w)  # (B, 11, 11, 768)

    skip1 = dense_block(enc1, "dense1", depths[0], growth)  # (B, 176, 176, 112)
    skip2 = dense_block(enc2, "dense2", depths[1], growth)  # (B, 88, 88, 160)
    skip3 = dense_block(enc3, "dense3", depths[2], growth)  # (B, 44, 44, 256)
    skip4 = dense_block(enc4, "dense4", depths[3], growth)  # (B, 22, 22, 448)

    x = two_convs(merge(skip4, up(x, "up4", up_widths[3]), "merge4"), "dec4", 8 * w)  # 452 -> (B, 22, 22, 384)
    x = two_convs(merge(skip3, up(x, "up3", up_widths[2]), "merge3"), "dec3", 4 * w)  # 260 -> (B, 44, 44, 192)
    x = two_convs(merge(skip2, up(x, "up2", up_widths[1]), "merge2"), "dec2", 2 * w)  # 164 -> (B, 88, 88, 96)
    x = two_convs(merge(skip1, up(x, "up1", up_widths[0]), "merge1"), "dec1", w)  # 116 -> (B, 176, 176, 48)
    return keras.Model(image, head(x, classes), name=f"{network}_unet")  # (B, 176, 176, 4)


def two_convs(x: Tensor, name: str, filters: int) -> Tensor:
    """A block of the encoder or decoder."""
    return conv(conv(x, f"{name}_1", filters), f"{name}_2", filters)


def dense_block(x: Tensor, name: str, layers: int, growth: int) -> Tensor:
    """Each layer sees the input and the maps of all layers before it: c channels become c + layers * growth."""
    for i in range(1, layers + 1):
        x = merge(x, conv(x, f"{name}_{i}", growth), f"{name}_{i}_merge")
    return x


def conv(x: Tensor, name: str, filters: int) -> Tensor:
    """3x3 convolution, batch normalisation, ReLU."""
    x = keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", name=name)(x)
    x = BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_bn")(x)  # ours: the defaults of Keras
    return keras.layers.Activation("relu", name=f"{name}_relu")(x)


def pool(x: Tensor, name: str) -> Tensor:
    return keras.layers.MaxPooling2D(2, name=name)(x)


def up(x: Tensor, name: str, filters: int) -> Tensor:
    """Transposed convolution to twice the extent."""
    return keras.layers.Conv2DTranspose(filters, 4, 2, padding="same", kernel_initializer="he_normal", name=name)(x)


def merge(x: Tensor, more: Tensor, name: str) -> Tensor:
    return keras.layers.Concatenate(name=name)([x, more])


def head(x: Tensor, classes: int) -> Tensor:
    """1x1 convolution to logits, which leave the network as float32, in any precision that it computes in."""
    return keras.layers.Conv2D(classes, 1, kernel_initializer="he_normal", dtype="float32", name="logits")(x)


def check(network: str, shape: Sequence[int], upsampling: str) -> None:
    for what, found, known in (("network", network, NETWORKS), ("upsampling", upsampling, UPSAMPLING)):
        if found not in known:
            raise InputError(f"unknown {what} {found!r}: expected one of {', '.join(known)}")
    if len(shape) != 2 or any(n < 16 or n % 16 for n in shape):
        raise InputError(f"{network} takes images of 16n x 16n pixels, found {' x '.join(map(str, shape))}")

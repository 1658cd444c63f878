"""The networks of Vesal 2020: 3D DR-UNet, alone and twice in one graph (end-to-end), and its baselines 3D U-Net and 3D V-Net.

Every network maps a z-scored volume `(B, x, y, z, 1)` to logits `(B, x, y, z, outputs)` of the same extent: one output is the
logit of a sigmoid (binary), several are those of a softmax with background first.

    DR-UNet, width f            c: concatenation with the block's input; down: maximum over 2 x 2 x 2, with Keep Z over 2 x 2 x 1

    image -> enc1 (f) ----------------- skip --------------------> [skip | up] dec1 (f) -> head
              `- c, down -> enc2 (2f) --------- skip ------> [skip | up] dec2 (2f)
                             `- c, down -> enc3 (4f) - skip -> [skip | up] dec3 (4f)
                                            `- c, down -> bottleneck (8f): dilations 1, 2, 4, 8 in series, outputs summed

Each block is two 3x3x3 convolutions with ReLU, normalised over the batch (paper) or over each volume; padding keeps the size, so
the extent along x and y, and without Keep Z along z, is a multiple of 8.
"""

from collections.abc import Sequence

from shared.errors import InputError
from shared.framework import Tensor, keras
from shared.learning.layers import BatchNormalization, InstanceNormalization

FEATURES = "features"  # the layer whose output the head reads; the paper takes its class activation maps there


def build(
    network: str,
    shape: Sequence[int],
    outputs: int,
    width: int,
    *,
    keep_z: bool = False,
    channels: int = 1,
    normalisation: str = "batch",
    **options: bool | int,
) -> keras.Model:
    """The untrained network called `network` (a key of `NETWORKS`).

    Args:
        network: "dr_unet", "unet3d" or "vnet".
        shape: (x, y, z) in voxels.
        outputs: 1 for a binary task, else the number of classes, background included.
        width: filters of the first block (the paper: 8, 16, 32).
        keep_z: pool and up-sample in-plane only (paper, "Keep Z").
        channels: of the input.
        normalisation: "batch" (paper) uses the statistics of the batch, "instance" those of each volume.
        **options: of the network's own builder.

    Raises:
        InputError: an unknown name, or a shape the network cannot take.
    """
    if network not in NETWORKS:
        raise InputError(f"unknown network {network!r}: expected one of {', '.join(NETWORKS)}")
    if normalisation not in NORMS:
        raise InputError(f"unknown normalisation {normalisation!r}: expected one of {', '.join(NORMS)}")
    check_shape(network, shape, keep_z)
    image = keras.Input((*shape, channels), name="image")
    logits = NETWORKS[network](image, outputs, width, (2, 2, 1 if keep_z else 2), NORMS[normalisation], **options)
    return keras.Model(image, logits, name=network)


def dr_unet(
    image: Tensor,
    outputs: int,
    f: int,
    step: Sequence[int],
    Norm: type[keras.Layer],
    projection: bool = False,
    bottleneck_norm: bool = False,
) -> Tensor:
    """Logits of the DR-UNet; shapes in the comments are those of the ACDC segmenter (f 32, Keep Z, crops of 128 x 128 x 16).

    Args:
        Norm: layer class that follows every convolution of a block.
        projection: bring each residual concatenation to its block's filters with a 1x1x1 convolution.
        bottleneck_norm: normalise in the bottleneck too.
    """
    skip1 = block(image, "enc1", f, Norm)  # (B, 128, 128, 16, 32)
    x = residual(image, skip1, "res1", projection)  # (B, 128, 128, 16, 1 + 32)
    x = pool(x, step, "pool1")  # (B, 64, 64, 16, 33)
    skip2 = block(x, "enc2", 2 * f, Norm)
    x = residual(x, skip2, "res2", projection)  # (B, 64, 64, 16, 33 + 64)
    x = pool(x, step, "pool2")
    skip3 = block(x, "enc3", 4 * f, Norm)
    x = residual(x, skip3, "res3", projection)  # (B, 32, 32, 16, 97 + 128)
    x = pool(x, step, "pool3")

    x = dilated(x, "bottleneck", 8 * f, Norm if bottleneck_norm else None)  # (B, 16, 16, 16, 256)

    x = block(merge(skip3, up(x, step, "up3", 4 * f), "merge3"), "dec3", 4 * f, Norm)  # (B, 32, 32, 16, 128)
    x = block(merge(skip2, up(x, step, "up2", 2 * f), "merge2"), "dec2", 2 * f, Norm)
    x = block(merge(skip1, up(x, step, "up1", f), "merge1"), "dec1", f, Norm)  # (B, 128, 128, 16, 32)
    return head(x, outputs)  # (B, 128, 128, 16, 4)


def unet3d(image: Tensor, outputs: int, f: int, step: Sequence[int], Norm: type[keras.Layer]) -> Tensor:
    """Logits of the 3D U-Net: a DR-UNet without residual concatenation and dilation."""
    skip1 = block(image, "enc1", f, Norm)
    skip2 = block(pool(skip1, step, "pool1"), "enc2", 2 * f, Norm)
    skip3 = block(pool(skip2, step, "pool2"), "enc3", 4 * f, Norm)

    x = block(pool(skip3, step, "pool3"), "bottleneck", 8 * f, Norm)

    x = block(merge(skip3, up(x, step, "up3", 4 * f), "merge3"), "dec3", 4 * f, Norm)
    x = block(merge(skip2, up(x, step, "up2", 2 * f), "merge2"), "dec2", 2 * f, Norm)
    x = block(merge(skip1, up(x, step, "up1", f), "merge1"), "dec1", f, Norm)
    return head(x, outputs)


def vnet(image: Tensor, outputs: int, f: int, step: Sequence[int], Norm: type[keras.Layer], kernel: int = 3) -> Tensor:
    """Logits of the 3D V-Net: 1, 2, 3 convolutions per stage added to their input, strided convolutions down, transposed up.

    Args:
        kernel: of the convolutions in the stages; 3 gives a network of the DR-UNet's size, the original has 5.
    """
    x = keras.layers.Concatenate(name="repeated")([image] * f)  # the image in every channel, so that it can be added
    skip1 = added(x, "enc1", f, 1, kernel, Norm)
    skip2 = added(down(skip1, step, "down1", 2 * f), "enc2", 2 * f, 2, kernel, Norm)
    skip3 = added(down(skip2, step, "down2", 4 * f), "enc3", 4 * f, 3, kernel, Norm)

    x = added(down(skip3, step, "down3", 8 * f), "bottleneck", 8 * f, 3, kernel, Norm)

    x = added(merge(skip3, transposed(x, step, "up3", 4 * f), "merge3"), "dec3", 4 * f, 3, kernel, Norm)
    x = added(merge(skip2, transposed(x, step, "up2", 2 * f), "merge2"), "dec2", 2 * f, 2, kernel, Norm)
    x = added(merge(skip1, transposed(x, step, "up1", f), "merge1"), "dec1", f, 1, kernel, Norm)
    return head(x, outputs)


NETWORKS = {"dr_unet": dr_unet, "unet3d": unet3d, "vnet": vnet}
NORMS = {"batch": BatchNormalization, "instance": InstanceNormalization}
JOINS = ("multiply", "concat", "add")


def build_end_to_end(
    shape: Sequence[int],
    outputs: int,
    localiser_width: int,
    width: int,
    *,
    join: str = "multiply",
    keep_z: bool = False,
    normalisation: str = "batch",
    **options: bool,
) -> keras.Model:
    """Two DR-UNets in one graph: the first finds the foreground, the second segments what the first lets through.

    Args:
        shape, outputs, keep_z, normalisation: see `build`.
        localiser_width, width: filters of the first block of each network.
        join: what the second network sees: image times foreground probability ("multiply"), both as two channels ("concat"),
            or their sum ("add").
        **options: of `dr_unet`, for both networks.

    Returns:
        A model to logits (B, x, y, z, outputs + 1): those of the segmentation, then the one of the localiser.

    Raises:
        InputError: an unknown join, or a shape the network cannot take.
    """
    if join not in JOINS:
        raise InputError(f"unknown join {join!r}: expected one of {', '.join(JOINS)}")
    image = keras.Input((*shape, 1), name="image")
    localiser = build("dr_unet", shape, 1, localiser_width, keep_z=keep_z, normalisation=normalisation, **options)
    localiser.name = "localiser"
    located = localiser(image)
    attention = keras.layers.Activation("sigmoid", name="attention")(located)
    if join == "multiply":
        seen = keras.layers.Multiply(name="join")([image, attention])
    elif join == "concat":
        seen = keras.layers.Concatenate(name="join")([image, attention])
    else:
        seen = keras.layers.Add(name="join")([image, attention])
    segmenter = build(
        "dr_unet", shape, outputs, width, keep_z=keep_z, channels=seen.shape[-1], normalisation=normalisation, **options
    )
    segmenter.name = "segmenter"
    return keras.Model(
        image, keras.layers.Concatenate(dtype="float32", name="logits")([segmenter(seen), located]), name="end_to_end"
    )


def block(x: Tensor, name: str, filters: int, Norm: type[keras.Layer]) -> Tensor:
    """Two 3x3x3 convolutions, each with normalisation and ReLU."""
    for i in (1, 2):
        x = conv(x, f"{name}_{i}", filters)
        x = relu(norm(x, f"{name}_{i}_bn", Norm), f"{name}_{i}_relu")
    return x


def dilated(x: Tensor, name: str, filters: int, Norm: type[keras.Layer] | None) -> Tensor:
    """Four 3x3x3 convolutions with dilation 1, 2, 4, 8, each fed by the one before, and the sum of their outputs."""
    outputs = []
    for dilation in (1, 2, 4, 8):
        x = conv(x, f"{name}_d{dilation}", filters, dilation=dilation)
        x = relu(norm(x, f"{name}_d{dilation}_bn", Norm) if Norm else x, f"{name}_d{dilation}_relu")
        outputs.append(x)
    return keras.layers.Add(name=f"{name}_sum")(outputs)


def added(x: Tensor, name: str, filters: int, convolutions: int, kernel: int, Norm: type[keras.Layer]) -> Tensor:
    """V-Net stage: convolutions with normalisation and PReLU; the stage's input is added before the last PReLU."""
    onto = x if x.shape[-1] == filters else conv(x, f"{name}_onto", filters, kernel=1)
    for i in range(1, convolutions + 1):
        x = norm(conv(x, f"{name}_{i}", filters, kernel), f"{name}_{i}_bn", Norm)
        x = keras.layers.Add(name=f"{name}_add")([x, onto]) if i == convolutions else x
        x = prelu(x, f"{name}_{i}_prelu")
    return x


def conv(x: Tensor, name: str, filters: int, kernel: int = 3, dilation: int = 1) -> Tensor:
    return keras.layers.Conv3D(
        filters, kernel, padding="same", dilation_rate=dilation, kernel_initializer="he_normal", name=name
    )(x)  # fmt: skip


def norm(x: Tensor, name: str, Norm: type[keras.Layer]) -> Tensor:
    return Norm(epsilon=1e-3, name=name)(x)


def relu(x: Tensor, name: str) -> Tensor:
    return keras.layers.Activation("relu", name=name)(x)


def prelu(x: Tensor, name: str) -> Tensor:
    return keras.layers.PReLU(shared_axes=(1, 2, 3), name=name)(x)


def pool(x: Tensor, step: Sequence[int], name: str) -> Tensor:
    return keras.layers.MaxPooling3D(step, name=name)(x)


def down(x: Tensor, step: Sequence[int], name: str, filters: int) -> Tensor:
    """Convolution with kernel and stride `step`."""
    x = keras.layers.Conv3D(filters, step, step, kernel_initializer="he_normal", name=name)(x)
    return prelu(x, f"{name}_prelu")


def up(x: Tensor, step: Sequence[int], name: str, filters: int) -> Tensor:
    """Nearest-neighbour up-sampling, then a 3x3x3 convolution to `filters` without activation."""
    return conv(keras.layers.UpSampling3D(step, name=f"{name}_nearest")(x), name, filters)


def transposed(x: Tensor, step: Sequence[int], name: str, filters: int) -> Tensor:
    """Transposed convolution with kernel and stride `step`."""
    x = keras.layers.Conv3DTranspose(filters, step, step, kernel_initializer="he_normal", name=name)(x)
    return prelu(x, f"{name}_prelu")


def residual(x: Tensor, convolved: Tensor, name: str, projection: bool) -> Tensor:
    """[block's input | its convolved features]; `projection` brings both together to as many filters as the features have."""
    x = keras.layers.Concatenate(name=name)([x, convolved])
    return conv(x, f"{name}_projection", convolved.shape[-1], kernel=1) if projection else x


def merge(skip: Tensor, x: Tensor, name: str) -> Tensor:
    return keras.layers.Concatenate(name=name)([skip, x])


def head(x: Tensor, outputs: int) -> Tensor:
    """1x1x1 convolution to logits, which leave the network as float32, in any precision that it computes in."""
    x = keras.layers.Activation("linear", name=FEATURES)(x)
    return keras.layers.Conv3D(outputs, 1, kernel_initializer="he_normal", dtype="float32", name="logits")(x)


def check_shape(network: str, shape: Sequence[int], keep_z: bool) -> None:
    steps = (8, 8, 1 if keep_z else 8)
    if len(shape) != 3 or any(n < step or n % step for n, step in zip(shape, steps, strict=True)):
        wanted = " x ".join(f"{step}n" if step > 1 else "n" for step in steps)
        raise InputError(f"{network} takes extents of {wanted}, found {' x '.join(map(str, shape))}")

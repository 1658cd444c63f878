"""The networks of Baumgartner 2017: FCN-8, the 2D and 3D U-Nets and their modified versions.

Every network maps a z-scored image `(B, x, y[, z], 1)` to logits `(B, x, y[, z], classes)` of the same extent. Each convolution,
the prediction layer included, is followed by batch normalisation, so the logits are batch-norm outputs (authors' code).

    2D U-Net                                                            upconv4..1: transposed 4x4, stride 2
    image 212 -pad-> 396  conv1 392 ------------- crop 216 ----------> [up 216 | skip] conv9 -> pred 212
                          pool1 196 conv2 192 --- crop 112 --> [up 112 | skip] conv8 108
                                    pool2 96 conv3 92 - crop 60 -> [up 60 | skip] conv7 56
                                             pool3 46 conv4 42 crop 34 [up 34 | skip] conv6 30
                                                      pool4 21 conv5 17

The U-Nets use valid convolutions on an image padded with zeros inside the network, hence their input sizes: 2D 16 n + 4 per
axis; 3D 8 n + 4 in-plane and along z, where the modified version takes any even number along z; FCN-8 32 n.
Filter counts are written for the paper's `width` of 64 (32 in 3D) and scale with it.
"""

from collections.abc import Sequence
from typing import Any

from shared.errors import InputError
from shared.framework import Tensor, keras, ops
from shared.learning.layers import BatchNormalization

TRUNCATION_STD = 0.87962566103423978  # std of a unit normal cut at 2 sigma
# He normal as TensorFlow 1 drew it: sigma sqrt(2.6 / fan_in) *before* the cut; Keras means the std after it  # authors' code
HE_NORMAL = {"scale": 2.6 * TRUNCATION_STD**2, "mode": "fan_in", "distribution": "truncated_normal"}


def build(network: str, shape: Sequence[int], classes: int = 4, width: int | None = None) -> keras.Model:
    """The untrained network called `network` (a key of `NETWORKS`), from image to logits.

    Args:
        network: "fcn8", "unet2d", "unet2d_modified", "unet3d" or "unet3d_modified".
        shape: image extent in voxels, (x, y) or (x, y, z).
        classes: number of labels, background included.
        width: filters of the first convolution; all others scale with it. None means the paper's (64, in 3D 32).

    Raises:
        InputError: an unknown name, or a shape the network cannot take.
    """
    if network not in NETWORKS:
        raise InputError(f"unknown network {network!r}: expected one of {', '.join(NETWORKS)}")
    return NETWORKS[network](tuple(shape), classes, width)


def build_fcn8(shape: Sequence[int], classes: int = 4, width: int | None = None) -> keras.Model:
    """FCN-8 on VGG-16 with batch normalisation (paper section 2.2; (224, 224) in the paper)."""
    w = width or 64
    check_shape("fcn8", shape, steps=(32, 32), offsets=(0, 0))
    image = keras.Input((*shape, 1), name="image")  # (B, 224, 224, 1)

    x = convs(image, "conv1", [w, w], padding="same")
    x = pool(x, 2, "pool1")  # (B, 112, 112, 64)
    x = convs(x, "conv2", [2 * w, 2 * w], padding="same")
    x = pool(x, 2, "pool2")  # (B, 56, 56, 128)
    x = convs(x, "conv3", [4 * w, 4 * w, 4 * w], padding="same")
    x = pool3 = pool(x, 2, "pool3")  # (B, 28, 28, 256)
    x = convs(x, "conv4", [8 * w, 8 * w, 8 * w], padding="same")
    x = pool4 = pool(x, 2, "pool4")  # (B, 14, 14, 512)
    x = convs(x, "conv5", [8 * w, 8 * w, 8 * w], padding="same")
    x = pool(x, 2, "pool5")  # (B, 7, 7, 512)
    x = conv(x, "conv6", 64 * w, kernel=7, padding="same")
    x = conv(x, "conv7", 64 * w, kernel=1)  # (B, 7, 7, 4096)

    score5 = conv(x, "score5", classes, kernel=1)
    score4 = conv(pool4, "score4", classes, kernel=1)
    score3 = conv(pool3, "score3", classes, kernel=1)

    x = upconv(score5, "upscore1", classes, kernel=4, strides=2, initializer=BilinearUpsampling())
    x = keras.layers.Add(name="fuse4")([x, score4])  # (B, 14, 14, 4)
    x = upconv(x, "upscore2", classes, kernel=4, strides=2, initializer=BilinearUpsampling())
    x = keras.layers.Add(name="fuse3")([x, score3])  # (B, 28, 28, 4)
    x = upconv(x, "upscore3", classes, kernel=16, strides=8, initializer=BilinearUpsampling(), activation=None)
    return keras.Model(image, as_logits(x), name="fcn8")  # (B, 224, 224, 4)


def build_unet2d(shape: Sequence[int], classes: int = 4, width: int | None = None, modified: bool = False) -> keras.Model:
    """2D U-Net; `modified` gives the upconv layers `classes` filters instead of half their input's (paper section 2.2)."""
    w = width or 64
    check_shape("unet2d", shape, steps=(16, 16), offsets=(4, 4))
    up4, up3, up2, up1 = [classes] * 4 if modified else [8 * w, 4 * w, 2 * w, w]
    image = keras.Input((*shape, 1), name="image")  # (B, 212, 212, 1)

    x = keras.layers.ZeroPadding2D(92, name="pad")(image)  # (B, 396, 396, 1)
    x = conv1 = convs(x, "conv1", [w, w])  # (B, 392, 392, 64)
    x = pool(x, 2, "pool1")
    x = conv2 = convs(x, "conv2", [2 * w, 2 * w])  # (B, 192, 192, 128)
    x = pool(x, 2, "pool2")
    x = conv3 = convs(x, "conv3", [4 * w, 4 * w])  # (B, 92, 92, 256)
    x = pool(x, 2, "pool3")
    x = conv4 = convs(x, "conv4", [8 * w, 8 * w])  # (B, 42, 42, 512)
    x = pool(x, 2, "pool4")
    x = convs(x, "conv5", [16 * w, 16 * w])  # (B, 17, 17, 1024)

    x = merge(upconv(x, "upconv4", up4, kernel=4, strides=2), conv4, "merge4")  # (B, 34, 34, 4 + 512)
    x = convs(x, "conv6", [8 * w, 8 * w])  # (B, 30, 30, 512)
    x = merge(upconv(x, "upconv3", up3, kernel=4, strides=2), conv3, "merge3")
    x = convs(x, "conv7", [4 * w, 4 * w])  # (B, 56, 56, 256)
    x = merge(upconv(x, "upconv2", up2, kernel=4, strides=2), conv2, "merge2")
    x = convs(x, "conv8", [2 * w, 2 * w])  # (B, 108, 108, 128)
    x = merge(upconv(x, "upconv1", up1, kernel=4, strides=2), conv1, "merge1")
    x = convs(x, "conv9", [w, w])  # (B, 212, 212, 64)
    x = conv(x, "pred", classes, kernel=1, activation=None)
    return keras.Model(image, as_logits(x), name="unet2d_modified" if modified else "unet2d")  # (B, 212, 212, 4)


def build_unet2d_modified(shape: Sequence[int], classes: int = 4, width: int | None = None) -> keras.Model:
    """2D U-Net (mod.), the paper's best network."""
    return build_unet2d(shape, classes, width, modified=True)


def build_unet3d(shape: Sequence[int], classes: int = 4, width: int | None = None) -> keras.Model:
    """3D U-Net that pools along z in every stage. The authors implemented it; the paper gives no result."""
    check_shape("unet3d", shape, steps=(8, 8, 8), offsets=(4, 4, 4))
    return unet3d("unet3d", shape, classes, width or 32, pad_z=44, pool_z=2, up1_kernel_z=2, up2_kernel_z=4)


def build_unet3d_modified(shape: Sequence[int], classes: int = 4, width: int | None = None) -> keras.Model:
    """3D U-Net (mod.): pools along z in the last stage only, because there are few slices (paper section 2.2)."""
    check_shape("unet3d_modified", shape, steps=(8, 8, 2), offsets=(4, 4, 0))
    return unet3d("unet3d_modified", shape, classes, width or 32, pad_z=16, pool_z=1, up1_kernel_z=2, up2_kernel_z=2)


def unet3d(
    name: str, shape: Sequence[int], classes: int, w: int, *, pad_z: int, pool_z: int, up1_kernel_z: int, up2_kernel_z: int
) -> keras.Model:
    """Both 3D U-Nets; shapes in the comments are those of the modified one."""
    image = keras.Input((*shape, 1), name="image")  # (B, 116, 116, 28, 1)

    x = keras.layers.ZeroPadding3D((44, 44, pad_z), name="pad")(image)  # (B, 204, 204, 60, 1)
    x = conv1 = convs(x, "conv1", [w, 2 * w])  # (B, 200, 200, 56, 64)
    x = pool(x, (2, 2, pool_z), "pool1")
    x = conv2 = convs(x, "conv2", [2 * w, 4 * w])  # (B, 96, 96, 52, 128)
    x = pool(x, (2, 2, pool_z), "pool2")
    x = conv3 = convs(x, "conv3", [4 * w, 8 * w])  # (B, 44, 44, 48, 256)
    x = pool(x, (2, 2, 2), "pool3")
    x = convs(x, "conv4", [8 * w, 16 * w])  # (B, 18, 18, 20, 512)

    x = merge(upconv(x, "upconv3", 16 * w, kernel=4, strides=2), conv3, "merge3")  # (B, 36, 36, 40, 512 + 256)
    x = convs(x, "conv5", [8 * w, 8 * w])  # (B, 32, 32, 36, 256)
    x = merge(upconv(x, "upconv2", 8 * w, kernel=(4, 4, up2_kernel_z), strides=(2, 2, pool_z)), conv2, "merge2")
    x = convs(x, "conv6", [4 * w, 4 * w])  # (B, 60, 60, 32, 128)
    x = merge(upconv(x, "upconv1", 4 * w, kernel=(4, 4, up1_kernel_z), strides=(2, 2, pool_z)), conv1, "merge1")
    x = convs(x, "conv8", [2 * w, 2 * w])  # (B, 116, 116, 28, 64); the authors have no conv7
    x = conv(x, "pred", classes, kernel=1, activation=None)
    return keras.Model(image, as_logits(x), name=name)  # (B, 116, 116, 28, 4)


NETWORKS = {
    "fcn8": build_fcn8,
    "unet2d": build_unet2d,
    "unet2d_modified": build_unet2d_modified,
    "unet3d": build_unet3d,
    "unet3d_modified": build_unet3d_modified,
}


def convs(x: Tensor, name: str, filters: Sequence[int], padding: str = "valid") -> Tensor:
    """Consecutive 3x3(x3) conv-bn units `name_1`, `name_2`, ..."""
    for i, n in enumerate(filters, start=1):
        x = conv(x, f"{name}_{i}", n, padding=padding)
    return x


def conv(x: Tensor, name: str, filters: int, kernel: int = 3, padding: str = "valid", activation: str | None = "relu") -> Tensor:
    """Conv-bn unit: convolution without bias, batch normalisation, activation."""
    layer = {4: keras.layers.Conv2D, 5: keras.layers.Conv3D}[len(x.shape)]
    initializer = keras.initializers.VarianceScaling(**HE_NORMAL)
    x = layer(filters, kernel, padding=padding, use_bias=False, kernel_initializer=initializer, name=name)(x)
    return normalise(x, name, activation)


def upconv(
    x: Tensor,
    name: str,
    filters: int,
    kernel: int | Sequence[int],
    strides: int | Sequence[int],
    initializer: keras.initializers.Initializer | None = None,
    activation: str | None = "relu",
) -> Tensor:
    """Deconv-bn unit: transposed convolution that multiplies the extent by `strides`, batch normalisation, activation."""
    layer = {4: keras.layers.Conv2DTranspose, 5: keras.layers.Conv3DTranspose}[len(x.shape)]
    initializer = initializer or keras.initializers.VarianceScaling(**HE_NORMAL)
    x = layer(filters, kernel, strides, padding="same", use_bias=False, kernel_initializer=initializer, name=name)(x)
    return normalise(x, name, activation)


def normalise(x: Tensor, name: str, activation: str | None) -> Tensor:
    fused_in_tensorflow1 = len(x.shape) == 4  # 2D: moving variance with n / (n - 1), 3D without  # authors' code
    x = BatchNormalization(unbiased=fused_in_tensorflow1, momentum=0.99, epsilon=1e-3, name=f"{name}_bn")(x)
    return keras.layers.Activation(activation, name=f"{name}_{activation}")(x) if activation else x


def pool(x: Tensor, size: int | Sequence[int], name: str) -> Tensor:
    layer = {4: keras.layers.MaxPooling2D, 5: keras.layers.MaxPooling3D}[len(x.shape)]
    return layer(size, name=name)(x)


def merge(up: Tensor, skip: Tensor, name: str) -> Tensor:
    """[up, centre crop of skip] along the channels; if the margin is odd, the larger part is cut at the end."""
    crop = CentreCrop(up.shape[1:-1], name=f"{name}_crop")(skip)
    return keras.layers.Concatenate(name=name)([up, crop])


def as_logits(x: Tensor) -> Tensor:
    """Logits leave the network as float32, in any precision that it computes in."""
    return keras.layers.Activation("linear", dtype="float32", name="logits")(x)


@keras.saving.register_keras_serializable("acdc_segmenter_tf")
class CentreCrop(keras.layers.Layer):
    """The central part of this extent. Keras' cropping layers index, whose gradient is slow in TensorFlow."""

    def __init__(self, extent: Sequence[int], **options: Any) -> None:
        super().__init__(**options)
        self.extent = tuple(extent)

    def call(self, inputs: Tensor) -> Tensor:
        starts = [(size - wanted) // 2 for size, wanted in zip(inputs.shape[1:-1], self.extent, strict=True)]
        return ops.slice(inputs, (0, *starts, 0), (ops.shape(inputs)[0], *self.extent, inputs.shape[-1]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "extent": self.extent}


class BilinearUpsampling(keras.initializers.Initializer):
    """Transposed-convolution kernel `(k, k, out, in)` that interpolates linearly, each channel from itself (authors' code)."""

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> Tensor:
        size, _, out_channels, in_channels = shape
        half = (size + 1) // 2
        profile = 1 - abs(keras.ops.arange(size, dtype=dtype) - (half - 0.5)) / half
        channels = keras.ops.eye(out_channels, in_channels, dtype=dtype)
        return keras.ops.einsum("i,j,oc->ijoc", profile, profile, channels)


def check_shape(network: str, shape: Sequence[int], steps: Sequence[int], offsets: Sequence[int]) -> None:
    if len(shape) != len(steps):
        raise InputError(f"{network} takes {len(steps)}D images, found shape {shape}")
    if any(n < step or n % step != offset for n, step, offset in zip(shape, steps, offsets, strict=True)):
        wanted = " x ".join(f"({step}n{f' + {offset}' if offset else ''})" for step, offset in zip(steps, offsets, strict=True))
        raise InputError(f"{network} takes extents of {wanted}, found {' x '.join(map(str, shape))}")

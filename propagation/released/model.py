"""The networks that the authors released for their later papers (CardiacSegmentationPropagation 2018, CardiacMotionFlow 2019).

    roi_net             image                   -> probability that a pixel belongs to the heart
    lvrv_net, lv_net    two slices and a mask   -> class probabilities of the second slice
    lvrv_net_finetune   as lvrv_net, trained further on ACDC
    apparentflow_net    two frames              -> displacement from the first to the second, in pixels: along columns, along rows

All are one U-Net with different ends. Level s has maps of size / s and s * b channels; b is 24, in the lvrv networks 32:

    image -> conv_block1 ---------------- skip ---------------> [up | skip] expan_conv_block1 -> seg_block1 -----.
               `- pool_block2, conv_block2 ----- skip -----> [up | skip] expan_conv_block2 -> seg_block2 --.     |
                    `- ... 4, 8, 16 (and 32 but for flow) ... -> expan_conv_block4 -> seg_block4 - up2 - add - up2 - add -> output

The lvrv networks and lv_net have a second encoder, with weights of its own, for the slice before and its mask. It meets the first
encoder at level 32 only. Images are rows, columns: x of the scan runs along columns, y along rows. Layers have the authors'
names, and weights come in the order of the authors' files (a test compares both).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from shared.errors import InputError
from shared.framework import Tensor, keras, ops
from shared.learning.layers import BatchNormalization


def build(name: str, size: int | None = None, leaky_slope: float = 0.0) -> keras.Model:
    """The untrained network called `name` (a key of `NETWORKS`).

    Args:
        name: of the network.
        size: rows and columns of every input, a multiple of 32 (apparentflow_net: 16). None is the size that the authors used.
        leaky_slope: of the activations below 0. The authors' definitions ask for 0.1 or 0, but they build a plain ReLU.

    Returns:
        A model whose inputs are (B, size, size, 1) float32, in the order of the first column above.

    Raises:
        InputError: an unknown name, or a size that the network cannot take.
    """
    if name not in NETWORKS:
        raise InputError(f"unknown released network {name!r}: expected one of {', '.join(NETWORKS)}")
    network = NETWORKS[name]
    size = size or network.size
    step = 16 if network.build is flow else 32
    if size < step or size % step:
        raise InputError(f"{name} takes images whose side is a multiple of {step}, found {size}")
    inputs, output = network.build(size, network.width, network.outputs, leaky_slope)
    return keras.Model(inputs, output, name=name)


def roi(size: int, b: int, k: int, slope: float) -> tuple[Tensor, Tensor]:
    """Inputs and output of the network that finds the heart; shapes in the comments are those of the released one."""
    image = keras.Input((size, size, 1), name="input")
    *skips, bottom = encoder(image, b, {1: 2, 2: 2, 4: 2, 8: 2, 16: 2, 32: 2}, slope)  # (B, 4, 4, 768)
    prediction = decoder(bottom, skips, b, k, slope, name="prediction")  # (B, 128, 128, 1)
    return image, keras.layers.Activation("sigmoid", name="output")(prediction)


def segmentation(size: int, b: int, k: int, slope: float) -> tuple[list[Tensor], Tensor]:
    """Inputs and output of the networks that carry a mask from one slice to the next; shapes are those of lvrv_net."""
    before, image, mask = (keras.Input((size, size, 1), name=f"input_{part}") for part in ("img0", "img1", "mask0"))
    units = {1: 2, 2: 2, 4: 2, 8: 2, 16: 2, 32: 1}
    context = keras.layers.Concatenate(name="concatenate")([before, OneHot(k, name="one_hot")(mask)])  # (B, 192, 192, 5)
    *_, context = encoder(context, b, units, slope, prefix="context_")  # (B, 6, 6, 1024)
    *skips, x = encoder(image, b, units, slope)  # (B, 6, 6, 1024)
    x = keras.layers.Concatenate(name="concat32")([x, context])  # (B, 6, 6, 2048)
    x = unit(x, "expan_conv_block32", 32 * b, 2, slope)  # (B, 6, 6, 1024)
    prediction = decoder(x, skips, b, k, slope, name="prediction")  # (B, 192, 192, 4)
    x = keras.layers.Reshape((size * size, k), name="reshape1")(prediction)
    x = keras.layers.Activation("softmax", name="softmax")(x)
    return [before, image, mask], keras.layers.Reshape((size, size, k), name="output")(x)


def flow(size: int, b: int, k: int, slope: float) -> tuple[list[Tensor], Tensor]:
    """Inputs and output of the network that finds how the first image has to move to become the second."""
    images = [keras.Input((size, size, 1), name=f"input_{part}") for part in ("img0", "img1")]
    both = keras.layers.Concatenate(name="concatenate")(images)  # (B, 128, 128, 2)
    *skips, bottom = encoder(both, b, {1: 2, 2: 2, 4: 2, 8: 2, 16: 2}, slope)  # (B, 8, 8, 384)
    return images, decoder(bottom, skips, b, k, slope, name="output")  # (B, 128, 128, 2)


@dataclasses.dataclass(frozen=True)
class Network:
    """One of the released networks.

    Attributes:
        build: `build(size, width, outputs, leaky_slope) -> (inputs, output)`.
        size: rows and columns of every input in the authors' training.
        width: channels of the first level, b in the diagram above.
        outputs: channels of the output.
    """

    build: Callable[[int, int, int, float], tuple[object, Tensor]]
    size: int
    width: int
    outputs: int


NETWORKS = {
    "roi_net": Network(roi, 128, 24, 1),
    "lvrv_net": Network(segmentation, 192, 32, 4),
    "lv_net": Network(segmentation, 192, 24, 3),
    "apparentflow_net": Network(flow, 128, 24, 2),
    "lvrv_net_finetune": Network(segmentation, 192, 32, 4),
}


def encoder(x: Tensor, b: int, units: Mapping[int, int], slope: float, prefix: str = "") -> list[Tensor]:
    """The maps of every level, finest first.

    Args:
        x: the image.
        b: channels of the first level.
        units: level -> number of convolutions.
        slope: of the activations below 0.
        prefix: of the names of all layers.
    """
    levels = []
    for level, repeats in units.items():
        if level > 1:
            x = keras.layers.MaxPooling2D(2, name=f"{prefix}pool_block{level}")(x)
        x = unit(x, f"{prefix}conv_block{level}", level * b, repeats, slope)
        levels.append(x)
    return levels


def decoder(x: Tensor, skips: Sequence[Tensor], b: int, k: int, slope: float, name: str) -> Tensor:
    """Back up to the finest level: the sum of the outputs of levels 4, 2 and 1, (B, size, size, k).

    Args:
        x: the lowest map.
        skips: the encoder's maps above it, finest first.
        b: channels of the first level.
        k: channels of the output.
        slope: of the activations below 0.
        name: of the layer that adds level 1, the last.
    """
    outputs = {}
    for level, skip in reversed([(2**i, skip) for i, skip in enumerate(skips)]):
        x = keras.layers.UpSampling2D(2, name=f"up_block{level}")(x)
        x = keras.layers.Concatenate(name=f"concat{level}")([x, skip])
        x = unit(x, f"expan_conv_block{level}", level * b, 2, slope)
        if level <= 4:
            outputs[level] = keras.layers.Conv2D(k, 1, name=f"seg_block{level}")(x)
    coarse = keras.layers.UpSampling2D(2, name="seg_up_block2")(outputs[4])
    coarse = keras.layers.Add(name="add_block2")([coarse, outputs[2]])
    coarse = keras.layers.UpSampling2D(2, name="seg_up_block1")(coarse)
    return keras.layers.Add(name=name)([coarse, outputs[1]])


def unit(x: Tensor, name: str, filters: int, repeats: int, slope: float) -> Tensor:
    """3x3 convolution, batch normalisation and ReLU, `repeats` times."""
    for i in range(repeats):
        x = keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", name=f"{name}_conv{i}")(x)
        x = BatchNormalization(epsilon=1e-3, momentum=0.99, name=f"{name}_conv{i}_bn")(x)
        x = keras.layers.ReLU(negative_slope=slope, name=f"{name}_conv{i}_relu")(x)
    return x


@keras.saving.register_keras_serializable("propagation")
class OneHot(keras.layers.Layer):
    """Labels (B, rows, columns, 1) as floats -> (B, rows, columns, classes): 1 where the label equals the class exactly."""

    def __init__(self, classes: int, **options: object) -> None:
        super().__init__(**options)
        self.classes = classes

    def call(self, labels: Tensor) -> Tensor:
        return ops.cast(ops.equal(labels, ops.arange(self.classes, dtype=labels.dtype)), self.compute_dtype)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.classes)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "classes": self.classes}

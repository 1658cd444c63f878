"""The networks of the paper a second time, in NumPy at double precision, from the tables of layers; 2D maps have one slice here.

The networks under test are tiny, so that plain loops over the taps of a kernel are fast enough.
"""

import numpy as np

from tests.dr_unet.plain_numpy import convolved, relu, split


def selu(x):
    return 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x))


class Twin:
    """The weights of a network, and its layers by the names they have there."""

    def __init__(self, model, activation="relu"):
        self.model, self.active = model, {"relu": relu, "selu": selu}[activation]

    def weights(self, name):
        layer = self.model.get_layer(name)
        kernel = np.asarray(layer.kernel, np.float64)
        return kernel[:, :, None] if kernel.ndim == 4 else kernel, np.asarray(layer.bias, np.float64)

    def conv(self, x, name, dilation=1):
        return self.active(convolved(x, *self.weights(name), dilation))

    def block(self, x, name, dilation=1):
        return self.conv(self.conv(x, f"{name}_1", dilation), f"{name}_2", dilation)

    def along_z(self, x, name):
        """A 1x1xn convolution without padding."""
        kernel, bias = self.weights(name)
        taps, wanted = kernel.shape[2], x.shape[2] - kernel.shape[2] + 1
        return self.active(sum(x[:, :, tap : tap + wanted] @ kernel[0, 0, tap] for tap in range(taps)) + bias)

    def logits(self, x):
        return convolved(x, *self.weights("logits"))


def pooled(x, step=(2, 2, 2)):
    return split(x, step).max(axis=(1, 3, 5))


def grown(x, step=(2, 2, 2)):
    for axis, times in enumerate(step):
        x = np.repeat(x, times, axis)
    return x


def net1(model, image, bottleneck=False, activation="relu"):
    """Logits (x, y, z, classes) of one image (x, y, z, 1)."""
    twin, skips, x = Twin(model, activation), {}, np.asarray(image, np.float64)
    for level in (1, 2, 3, 4):
        skips[level] = twin.block(x, f"enc{level}", 2 * level)
        x = pooled(skips[level])
    if bottleneck:
        x = twin.block(x, "bottleneck")
    for level in (4, 3, 2, 1):
        x = twin.block(np.concatenate([grown(x), skips[level]], axis=-1), f"dec{level}", 2 * level)
    return twin.logits(x)


def net2(model, seen, slice_block="two_conv", skips="centre", activation="relu"):
    """Logits (x, y, classes) of one stack (x, y, K, channels)."""
    twin, maps, x, flat = Twin(model, activation), {}, np.asarray(seen, np.float64), (2, 2, 1)
    for level in (1, 2, 3, 4):
        maps[level] = twin.block(x, f"enc{level}")
        x = pooled(maps[level], flat)
    for name in ("slices_1", "slices_2") if slice_block == "two_conv" else ("slices_1",):
        x = twin.along_z(x, name)
    for level in (4, 3, 2, 1):
        skip, centre = maps[level], seen.shape[2] // 2
        skip = skip[:, :, centre : centre + 1] if skips == "centre" else twin.along_z(skip, f"skip{level}_slices")
        x = twin.block(np.concatenate([grown(x, flat), skip], axis=-1), f"dec{level}")
    return twin.logits(x)[:, :, 0]


def unet3d(model, image):
    """Logits (x, y, z, classes) of one image (x, y, z, 1), by moving statistics."""
    twin, skips, x = Twin(model), {}, np.asarray(image, np.float64)

    def block(x, name):
        for i in (1, 2):
            norm = model.get_layer(f"{name}_{i}_norm")
            parts = (norm.moving_mean, norm.moving_variance, norm.gamma, norm.beta)
            mean, variance, gamma, beta = (np.asarray(part, np.float64) for part in parts)
            x = convolved(x, *twin.weights(f"{name}_{i}"))
            x = relu(gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta)
        return x

    for level in (1, 2, 3):
        skips[level] = block(x, f"enc{level}")
        x = pooled(skips[level])
    x = block(x, "bottleneck")
    for level in (3, 2, 1):
        kernel, bias = twin.weights(f"up{level}")  # (2, 2, 2, out, in)
        x = np.einsum("xyzi,abcoi->xaybzco", x, kernel).reshape(*(2 * n for n in x.shape[:3]), -1) + bias
        x = block(np.concatenate([x, skips[level]], axis=-1), f"dec{level}")
    return twin.logits(x)

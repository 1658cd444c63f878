"""The networks of the paper written down a second time, in NumPy at double precision, from the paper's text and tables.

The networks under test are float32 and tiny here, so that plain loops over the taps of a kernel are fast enough.
"""

import itertools

import keras
import numpy as np


def randomise(model, seed=0):
    """Give every variable, biases and moving statistics included, random values that keep activations alive; returns `model`."""
    rng = np.random.default_rng(seed)
    draws = {
        "kernel": lambda shape: rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape),
        "bias": lambda shape: rng.normal(0, 0.3, shape),
        "gamma": lambda shape: rng.uniform(0.7, 1.3, shape),
        "beta": lambda shape: rng.normal(0, 0.2, shape),
        "moving_mean": lambda shape: rng.normal(0, 0.2, shape),
        "moving_variance": lambda shape: rng.uniform(0.5, 1.5, shape),
        "alpha": lambda shape: rng.uniform(0.05, 0.4, shape),
    }
    for variable in model.variables:
        if "seed" not in variable.name:
            variable.assign(draws[variable.name](variable.shape).astype(np.float32))
    return model


def small_network():
    """Two convolutions and a head of three outputs, which every backend compiles in seconds."""
    image = keras.Input((4, 5, 6, 1))
    x = keras.layers.Conv3D(4, 3, padding="same", activation="relu", name="deep")(image)
    x = keras.layers.Conv3D(6, 3, padding="same", activation="relu", name="features")(x)
    return randomise(keras.Model(image, keras.layers.Conv3D(3, 1, name="logits")(x)))


def image(shape, channels=1, seed=1):
    return np.random.default_rng(seed).normal(size=(*shape, channels)).astype(np.float32)


class Twin:
    """The weights of a network, and its layers by the names they have there.

    Args:
        model: of `dr_unet.model.build`.
        keep_z: pool in-plane only.
        changes: name of a layer -> function that replaces its output.
    """

    def __init__(self, model, keep_z=False, changes=None):
        self.model, self.step, self.changes = model, (2, 2, 1 if keep_z else 2), changes or {}
        self.seen = {}
        self.norms = iter([layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)])
        self.prelus = iter([layer for layer in model.layers if isinstance(layer, keras.layers.PReLU)])

    def note(self, name, x):
        self.seen[name] = x = self.changes.get(name, lambda x: x)(x)
        return x

    def weights(self, name):
        layer = self.model.get_layer(name)
        return np.asarray(layer.kernel, np.float64), np.asarray(layer.bias, np.float64)

    def conv(self, x, name, dilation=1):
        return self.note(name, convolved(x, *self.weights(name), dilation))

    def norm(self, x):
        layer = next(self.norms)
        gamma, beta, mean, variance = (
            np.asarray(v, np.float64) for v in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
        )
        return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta

    def prelu(self, x):
        return np.where(x > 0, x, np.asarray(next(self.prelus).alpha, np.float64).ravel() * x)

    def block(self, x, name):
        x = relu(self.norm(self.conv(x, f"{name}_1")))
        return relu(self.norm(self.conv(x, f"{name}_2")))

    def pool(self, x, name):
        return self.note(name, split(x, self.step).max(axis=(1, 3, 5)))

    def merge(self, skip, x, level):
        return self.note(f"merge{level}", np.concatenate([skip, x], axis=-1))

    def up(self, x, name):
        for axis, step in enumerate(self.step):
            x = np.repeat(x, step, axis=axis)
        return self.conv(x, name)

    def down(self, x, name):
        kernel, bias = self.weights(name)
        return self.prelu(np.einsum("xaybzci,abcio->xyzo", split(x, self.step), kernel) + bias)

    def transposed(self, x, name):
        kernel, bias = self.weights(name)  # (a, b, c, out, in)
        shape = [n * step for n, step in zip(x.shape, self.step, strict=False)]
        return self.prelu(np.einsum("xyzi,abcoi->xaybzco", x, kernel).reshape(*shape, -1) + bias)

    def stage(self, x, name, convolutions):
        """V-Net's: the input, brought to the filters of the stage where it has others, is added before the last PReLU."""
        onto, filters = x, self.weights(f"{name}_1")[0].shape[-1]
        if x.shape[-1] != filters:
            onto = self.conv(x, f"{name}_onto")
        for i in range(1, convolutions):
            x = self.prelu(self.norm(self.conv(x, f"{name}_{i}")))
        return self.prelu(self.norm(self.conv(x, f"{name}_{convolutions}")) + onto)


def logits(network, model, image, keep_z=False, changes=None, **options):
    """Logits (x, y, z, outputs) float64 of one image (x, y, z, channels)."""
    return run(network, model, image, keep_z, changes, **options)["logits"]


def run(network, model, image, keep_z=False, changes=None, **options):
    """Output of every named layer of the DR-UNet or 3D U-Net, "features" and "logits" of all."""
    twin = Twin(model, keep_z, changes)
    forward = {"dr_unet": dr_unet, "unet3d": unet3d, "vnet": vnet}[network]
    features = twin.note("features", forward(twin, np.asarray(image, np.float64), **options))
    twin.conv(features, "logits")
    assert next(twin.norms, None) is None and next(twin.prelus, None) is None
    return twin.seen


def dr_unet(twin, x, projection=False, bottleneck_norm=False):
    skips = {}
    for level in (1, 2, 3):
        skips[level] = twin.block(x, f"enc{level}")
        x = twin.note(f"res{level}", np.concatenate([x, skips[level]], axis=-1))
        if projection:
            x = twin.conv(x, f"res{level}_projection")
        x = twin.pool(x, f"pool{level}")
    total = 0
    for dilation in (1, 2, 4, 8):
        x = twin.conv(x, f"bottleneck_d{dilation}", dilation)
        x = relu(twin.norm(x) if bottleneck_norm else x)
        total = total + x
    x = twin.note("bottleneck_sum", total)
    for level in (3, 2, 1):
        x = twin.block(twin.merge(skips[level], twin.up(x, f"up{level}"), level), f"dec{level}")
    return x


def unet3d(twin, x):
    skips = {}
    for level in (1, 2, 3):
        skips[level] = twin.block(x, f"enc{level}")
        x = twin.pool(skips[level], f"pool{level}")
    x = twin.block(x, "bottleneck")
    for level in (3, 2, 1):
        x = twin.block(twin.merge(skips[level], twin.up(x, f"up{level}"), level), f"dec{level}")
    return x


def vnet(twin, x):
    skips, x = {}, np.repeat(x, twin.weights("enc1_1")[0].shape[-1], axis=-1)
    for level in (1, 2, 3):
        skips[level] = twin.stage(x, f"enc{level}", level)
        x = twin.down(skips[level], f"down{level}")
    x = twin.stage(x, "bottleneck", 3)
    for level in (3, 2, 1):
        x = twin.stage(twin.merge(skips[level], twin.transposed(x, f"up{level}"), level), f"dec{level}", level)
    return x


def convolved(x, kernel, bias, dilation=1):
    """Convolution of odd extent whose result keeps the size, zeros outside."""
    reach = [dilation * (n // 2) for n in kernel.shape[:3]]
    padded = np.pad(x, [*((r, r) for r in reach), (0, 0)])
    result = np.zeros((*x.shape[:3], kernel.shape[-1])) + bias
    for tap in itertools.product(*map(range, kernel.shape[:3])):
        first = [dilation * t for t in tap]
        result += padded[tuple(slice(f, f + n) for f, n in zip(first, x.shape, strict=False))] @ kernel[tap]
    return result


def split(x, step):
    """(x, y, z, channels) as blocks: (x / a, a, y / b, b, z / c, c, channels)."""
    return x.reshape(*(m for n, s in zip(x.shape, step, strict=False) for m in (n // s, s)), -1)


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))

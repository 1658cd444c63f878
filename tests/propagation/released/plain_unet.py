"""The released networks once more, in plain numpy: slow, one image at a time, no Keras."""

import numpy as np


def roi_net(weights, image, slope=0.0):
    levels = encoder(weights, image, (2, 2, 2, 2, 2, 2), slope)
    return 1 / (1 + np.exp(-decoder(weights, levels[-1], levels[:-1], slope)))


def lvrv_net(weights, before, image, mask, slope=0.0):
    classes = weights["seg_block1/bias"].size
    context = np.concatenate([before, *(np.where(mask == c, 1.0, 0.0) for c in range(classes))], axis=2)
    below = encoder(weights, context, (2, 2, 2, 2, 2, 1), slope, "context_")[-1]
    levels = encoder(weights, image, (2, 2, 2, 2, 2, 1), slope)
    lowest = unit(weights, np.concatenate([levels[-1], below], axis=2), "expan_conv_block32", 2, slope)
    exponentials = np.exp(decoder(weights, lowest, levels[:-1], slope))
    return exponentials / exponentials.sum(axis=2, keepdims=True)


def apparentflow_net(weights, first, second, slope=0.0):
    levels = encoder(weights, np.concatenate([first, second], axis=2), (2, 2, 2, 2, 2), slope)
    return decoder(weights, levels[-1], levels[:-1], slope)


def encoder(weights, x, repeats, slope, prefix=""):
    levels = []
    for i, count in enumerate(repeats):
        if i:
            x = np.maximum.reduce([x[a::2, b::2] for a in (0, 1) for b in (0, 1)])
        x = unit(weights, x, f"{prefix}conv_block{2**i}", count, slope)
        levels.append(x)
    return levels


def decoder(weights, x, skips, slope):
    total = 0.0
    for i in reversed(range(len(skips))):
        x = np.concatenate([doubled(x), skips[i]], axis=2)
        x = unit(weights, x, f"expan_conv_block{2**i}", 2, slope)
        if i <= 2:
            total = conv(weights, x, f"seg_block{2**i}") + (doubled(total) if i < 2 else 0)
    return total


def unit(weights, x, name, count, slope):
    for i in range(count):
        x = conv(weights, x, f"{name}_conv{i}")
        gamma, beta, mean, variance = (
            weights[f"{name}_conv{i}_bn/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        x = (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta
        x = np.where(x > 0, x, slope * x)
    return x


def conv(weights, x, name):
    kernel = weights[f"{name}/kernel"].astype(np.float64)
    border = kernel.shape[0] // 2
    padded = np.pad(x, ((border, border), (border, border), (0, 0)))
    rows, columns = x.shape[:2]
    return weights[f"{name}/bias"] + sum(
        padded[i : i + rows, j : j + columns] @ kernel[i, j] for i, j in np.ndindex(kernel.shape[:2])
    )


def doubled(x):
    return x.repeat(2, axis=0).repeat(2, axis=1)

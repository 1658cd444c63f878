"""The networks of Baumgartner 2017 once more, in plain TensorFlow operations: an independent twin of `acdc_segmenter_tf.model`.

Written from the paper and the layer tables of the authors' TensorFlow 1 code, not from `model.py`, so that the two can be held
against each other. Nothing is built or stored here: the filters of every layer are those of the weights that come in.
"""

import tensorflow as tf

EPSILON = 1e-3  # batch normalisation, authors' code
DECAY = 0.99  # of its moving averages, authors' code


def logits(name, weights, image, training=False):
    """Logits `(B, x, y[, z], labels)` of the authors' network `name` for `image`, `(B, x, y[, z], 1)` float32.

    Can be wrapped in `tf.function` and differentiated with respect to the image and to every `W`, `gamma` and `beta`.

    Args:
        name: "VGG16_FCN_8_bn", "unet2D_bn", "unet2D_bn_modified", "unet3D_bn" or "unet3D_bn_modified".
        weights: checkpoint name ("conv1_1/W", "conv1_1_bn/gamma", ...) -> array, tensor or `tf.Variable`.
        training: normalise with the statistics of the batch; moving averages given as `tf.Variable` are then updated too.

    Raises:
        KeyError: an unknown name, or a weight that is absent.
        ValueError, tf.errors.InvalidArgumentError: an image extent or weights that do not fit the network.
    """
    network = {
        "VGG16_FCN_8_bn": fcn8,
        "unet2D_bn": unet2d,
        "unet2D_bn_modified": unet2d,  # the two differ in the shapes of their weights only
        "unet3D_bn": unet3d,
        "unet3D_bn_modified": unet3d_modified,
    }[name]
    return network(Units(weights, training), tf.convert_to_tensor(image))


def shapes(name, width=None, labels=4):
    """Checkpoint name -> shape of every weight of the authors' network `name`.

    Kernels are (x, y[, z], in, out), of transposed convolutions (x, y[, z], out, in). `width` is the number of filters of the
    paper's narrowest layer, None for the paper's own: 64, in the 3D networks 32.
    """
    kernels = {}

    def conv(extent, *layers):  # name, channels, filters
        for layer, channels, filters in layers:
            kernels[layer] = (*extent, channels, filters), filters

    def up(extent, layer, channels, filters):
        kernels[layer] = (*extent, filters, channels), filters

    if name == "VGG16_FCN_8_bn":
        w = width or 64
        conv((3, 3), ("conv1_1", 1, w), ("conv1_2", w, w), ("conv2_1", w, 2 * w), ("conv2_2", 2 * w, 2 * w))
        conv((3, 3), ("conv3_1", 2 * w, 4 * w), ("conv3_2", 4 * w, 4 * w), ("conv3_3", 4 * w, 4 * w))
        conv((3, 3), ("conv4_1", 4 * w, 8 * w), ("conv4_2", 8 * w, 8 * w), ("conv4_3", 8 * w, 8 * w))
        conv((3, 3), ("conv5_1", 8 * w, 8 * w), ("conv5_2", 8 * w, 8 * w), ("conv5_3", 8 * w, 8 * w))
        conv((7, 7), ("conv6", 8 * w, 64 * w))
        conv((1, 1), ("conv7", 64 * w, 64 * w))
        conv((1, 1), ("score5", 64 * w, labels), ("score4", 8 * w, labels), ("score3", 4 * w, labels))
        up((4, 4), "upscore1", labels, labels)
        up((4, 4), "upscore2", labels, labels)
        up((16, 16), "upscore3", labels, labels)
    elif name in ("unet2D_bn", "unet2D_bn_modified"):
        w = width or 64
        u4, u3, u2, u1 = (8 * w, 4 * w, 2 * w, w) if name == "unet2D_bn" else (labels,) * 4
        conv((3, 3), ("conv1_1", 1, w), ("conv1_2", w, w), ("conv2_1", w, 2 * w), ("conv2_2", 2 * w, 2 * w))
        conv((3, 3), ("conv3_1", 2 * w, 4 * w), ("conv3_2", 4 * w, 4 * w), ("conv4_1", 4 * w, 8 * w), ("conv4_2", 8 * w, 8 * w))
        conv((3, 3), ("conv5_1", 8 * w, 16 * w), ("conv5_2", 16 * w, 16 * w))
        up((4, 4), "upconv4", 16 * w, u4)
        conv((3, 3), ("conv6_1", u4 + 8 * w, 8 * w), ("conv6_2", 8 * w, 8 * w))
        up((4, 4), "upconv3", 8 * w, u3)
        conv((3, 3), ("conv7_1", u3 + 4 * w, 4 * w), ("conv7_2", 4 * w, 4 * w))
        up((4, 4), "upconv2", 4 * w, u2)
        conv((3, 3), ("conv8_1", u2 + 2 * w, 2 * w), ("conv8_2", 2 * w, 2 * w))
        up((4, 4), "upconv1", 2 * w, u1)
        conv((3, 3), ("conv9_1", u1 + w, w), ("conv9_2", w, w))
        conv((1, 1), ("pred", w, labels))
    else:
        w = width or 32
        conv((3, 3, 3), ("conv1_1", 1, w), ("conv1_2", w, 2 * w), ("conv2_1", 2 * w, 2 * w), ("conv2_2", 2 * w, 4 * w))
        conv((3, 3, 3), ("conv3_1", 4 * w, 4 * w), ("conv3_2", 4 * w, 8 * w))
        conv((3, 3, 3), ("conv4_1", 8 * w, 8 * w), ("conv4_2", 8 * w, 16 * w))
        up((4, 4, 4), "upconv3", 16 * w, 16 * w)
        conv((3, 3, 3), ("conv5_1", 24 * w, 8 * w), ("conv5_2", 8 * w, 8 * w))
        up((4, 4, {"unet3D_bn": 4, "unet3D_bn_modified": 2}[name]), "upconv2", 8 * w, 8 * w)
        conv((3, 3, 3), ("conv6_1", 12 * w, 4 * w), ("conv6_2", 4 * w, 4 * w))
        up((4, 4, 2), "upconv1", 4 * w, 4 * w)
        conv((3, 3, 3), ("conv8_1", 6 * w, 2 * w), ("conv8_2", 2 * w, 2 * w))
        conv((1, 1, 1), ("pred", 2 * w, labels))

    result = {}
    for layer, (kernel, filters) in kernels.items():
        result[f"{layer}/W"] = kernel
        result |= {f"{layer}_bn/{part}": (filters,) for part in ("gamma", "beta", "moving_mean", "moving_variance")}
    return result


def fcn8(units, x):
    conv, up = units.conv, units.up
    x = conv("conv1_2", conv("conv1_1", x, "SAME"), "SAME")
    x = max_pool(x, [2, 2])
    x = conv("conv2_2", conv("conv2_1", x, "SAME"), "SAME")
    x = max_pool(x, [2, 2])
    x = conv("conv3_3", conv("conv3_2", conv("conv3_1", x, "SAME"), "SAME"), "SAME")
    third = max_pool(x, [2, 2])
    x = conv("conv4_3", conv("conv4_2", conv("conv4_1", third, "SAME"), "SAME"), "SAME")
    fourth = max_pool(x, [2, 2])
    x = conv("conv5_3", conv("conv5_2", conv("conv5_1", fourth, "SAME"), "SAME"), "SAME")
    x = max_pool(x, [2, 2])
    x = conv("conv7", conv("conv6", x, "SAME"), "SAME")
    x = up("upscore1", conv("score5", x, "SAME"), [2, 2]) + conv("score4", fourth, "SAME")
    x = up("upscore2", x, [2, 2]) + conv("score3", third, "SAME")
    return up("upscore3", x, [8, 8], relu=False)


def unet2d(units, x):
    conv, up = units.conv, units.up
    x = tf.pad(x, [[0, 0], [92, 92], [92, 92], [0, 0]])
    first = conv("conv1_2", conv("conv1_1", x))
    second = conv("conv2_2", conv("conv2_1", max_pool(first, [2, 2])))
    third = conv("conv3_2", conv("conv3_1", max_pool(second, [2, 2])))
    fourth = conv("conv4_2", conv("conv4_1", max_pool(third, [2, 2])))
    x = conv("conv5_2", conv("conv5_1", max_pool(fourth, [2, 2])))
    x = beside(up("upconv4", x, [2, 2]), fourth)
    x = beside(up("upconv3", conv("conv6_2", conv("conv6_1", x)), [2, 2]), third)
    x = beside(up("upconv2", conv("conv7_2", conv("conv7_1", x)), [2, 2]), second)
    x = beside(up("upconv1", conv("conv8_2", conv("conv8_1", x)), [2, 2]), first)
    return conv("pred", conv("conv9_2", conv("conv9_1", x)), relu=False)


def unet3d(units, x):
    return volume_unet(units, x, padding_z=44, step_z=2)


def unet3d_modified(units, x):
    return volume_unet(units, x, padding_z=16, step_z=1)


def volume_unet(units, x, padding_z, step_z):
    """`step_z`: pooling and upsampling along z between the first three stages; the deepest stage always halves z."""
    conv, up = units.conv, units.up
    x = tf.pad(x, [[0, 0], [44, 44], [44, 44], [padding_z, padding_z], [0, 0]])
    first = conv("conv1_2", conv("conv1_1", x))
    second = conv("conv2_2", conv("conv2_1", max_pool(first, [2, 2, step_z])))
    third = conv("conv3_2", conv("conv3_1", max_pool(second, [2, 2, step_z])))
    x = conv("conv4_2", conv("conv4_1", max_pool(third, [2, 2, 2])))
    x = beside(up("upconv3", x, [2, 2, 2]), third)
    x = beside(up("upconv2", conv("conv5_2", conv("conv5_1", x)), [2, 2, step_z]), second)
    x = beside(up("upconv1", conv("conv6_2", conv("conv6_1", x)), [2, 2, step_z]), first)
    return conv("pred", conv("conv8_2", conv("conv8_1", x)), relu=False)


class Units:
    """The two building blocks: (transposed) convolution without bias, batch normalisation, ReLU unless `relu` is False."""

    def __init__(self, weights, training):
        self.weights = weights
        self.training = training

    def conv(self, name, x, padding="VALID", relu=True):
        operation = {4: tf.nn.conv2d, 5: tf.nn.conv3d}[x.shape.rank]
        x = operation(x, self.weights[f"{name}/W"], strides=[1] * x.shape.rank, padding=padding)
        return self.finish(name, x, relu)

    def up(self, name, x, factors, relu=True):
        kernel = self.weights[f"{name}/W"]  # (..., filters, channels)
        operation = {4: tf.nn.conv2d_transpose, 5: tf.nn.conv3d_transpose}[x.shape.rank]
        extent = [n * factor for n, factor in zip(x.shape[1:-1], factors, strict=True)]
        output_shape = tf.stack([tf.shape(x)[0], *extent, kernel.shape[-2]])
        y = operation(x, kernel, output_shape, strides=[1, *factors, 1], padding="SAME")
        y.set_shape([x.shape[0], *extent, kernel.shape[-2]])
        return self.finish(name, y, relu)

    def finish(self, name, x, relu):
        gamma, beta, mean, variance = (
            self.weights[f"{name}_bn/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        if not self.training:
            x = tf.nn.batch_normalization(x, mean, variance, beta, gamma, EPSILON)
        else:
            if x.shape.rank == 4:  # the fused operation; its variance is corrected by n / (n - 1)
                x, batch_mean, batch_variance = tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=EPSILON)
            else:
                batch_mean, batch_variance = tf.nn.moments(x, list(range(x.shape.rank - 1)))
                x = tf.nn.batch_normalization(x, batch_mean, batch_variance, beta, gamma, EPSILON)
            for average, now in ((mean, batch_mean), (variance, batch_variance)):
                if isinstance(average, tf.Variable):
                    average.assign_sub((1 - DECAY) * (average - now))
        return tf.nn.relu(x) if relu else x


def max_pool(x, size):
    return tf.nn.max_pool(x, size, strides=size, padding="SAME")


def beside(up, skip):
    """`up`, then the centre of `skip` at the same extent, along the channels."""
    begin = [(s - u) // 2 for s, u in zip(skip.shape[1:-1], up.shape[1:-1], strict=True)]
    return tf.concat([up, tf.slice(skip, [0, *begin, 0], [-1, *up.shape[1:-1], -1])], axis=-1)

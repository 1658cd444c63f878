"""The network of Penso 2020 once more, in plain Keras and as a loop over levels: a rival in speed, and a twin in numbers."""

import keras

LEVELS = ("enc1", "enc2", "enc3", "enc4", "bottom")


def unet(shape=(176, 176), classes=4, width=48, layers=4, growth=16):
    """From images to the probabilities of a softmax; layers with weights are called as those of `dense_unet.model`."""

    def unit(x, filters, name):
        x = keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal", name=name)(x)
        return keras.layers.ReLU()(keras.layers.BatchNormalization(name=f"{name}_bn")(x))

    x = image = keras.Input((*shape, 1))
    skips = []
    for level, name in enumerate(LEVELS):
        x = keras.layers.MaxPooling2D()(x) if level else x
        x = unit(unit(x, width * 2**level, f"{name}_1"), width * 2**level, f"{name}_2")
        skips.append(x)
    for level in range(4, 0, -1):
        skip, filters = skips[level - 1], width * 2 ** (level - 1)
        for i in range(layers):
            skip = keras.layers.Concatenate()([skip, unit(skip, growth, f"dense{level}_{i + 1}")])
        up = keras.layers.Conv2DTranspose(classes, 4, 2, padding="same", name=f"up{level}")(x)
        x = keras.layers.Concatenate()([skip, up])
        x = unit(unit(x, filters, f"dec{level}_1"), filters, f"dec{level}_2")
    return keras.Model(image, keras.layers.Conv2D(classes, 1, activation="softmax", name="logits")(x))

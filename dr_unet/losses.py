"""The losses of Vesal 2020, section 3.4, as they are meant and as they are printed; sums run over all voxels of the batch.

| name | meant | printed |
|---|---|---|
| Dice, eq. 2 | 1 - (2 sum(y p) + s) / (sum y + sum p + s) | 1 - sum(y p) / (sum y + sum p): at least 0.5 |
| BCE, eq. 3 | mean of -[y log p + (1 - y) log(1 - p)] | mean of -[p log p + (1 - y)(1 - p)] |
| BCE-Dice, eq. 4 | BCE + Dice | the sum of the two above |
| multi-class Dice, eq. 5 | mean of eq. 2 over all classes, background included | the same of eq. 2 as printed |
"""

from shared.framework import keras, ops


class BceDice(keras.losses.Loss):
    """Eq. 4: labels (B, x, y, z), foreground where not 0, against the logit (B, x, y, z, 1) of a sigmoid.

    Args:
        smoothing: s.
        as_printed: the printed formulas instead.
    """

    def __init__(self, smoothing, as_printed=False, name="bce_dice"):
        super().__init__(name=name, reduction="none")
        self.smoothing, self.as_printed = smoothing, as_printed

    def call(self, y_true, y_pred):
        logit = y_pred[..., 0]
        y, p = ops.cast(y_true > 0, logit.dtype), ops.sigmoid(logit)
        dice = 1 - ratio(ops.sum(y * p), ops.sum(y) + ops.sum(p), self.smoothing, self.as_printed)
        if self.as_printed:
            return dice - ops.mean(p * ops.log(p + keras.config.epsilon()) + (1 - y) * (1 - p))
        return dice + ops.mean(ops.softplus(logit) - y * logit)


class MulticlassDice(keras.losses.Loss):
    """Eq. 5: labels (B, x, y, z) of class indices against the logits (B, x, y, z, classes) of a softmax.

    Args:
        smoothing: s.
        as_printed: the printed formula instead.
    """

    def __init__(self, smoothing, as_printed=False, name="multiclass_dice"):
        super().__init__(name=name, reduction="none")
        self.smoothing, self.as_printed = smoothing, as_printed

    def call(self, y_true, y_pred):
        p = ops.softmax(y_pred, axis=-1)
        y = ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1], dtype=p.dtype)
        voxels = tuple(range(len(p.shape) - 1))
        together, apart = ops.sum(y * p, axis=voxels), ops.sum(y, axis=voxels) + ops.sum(p, axis=voxels)
        return 1 - ops.mean(ratio(together, apart, self.smoothing, self.as_printed))


class EndToEnd(keras.losses.Loss):
    """Loss of the segmentation, the first channels of the logits, plus `weight` times BCE-Dice of the localiser, the last one."""

    def __init__(self, segmentation, localisation, weight, name="end_to_end"):
        super().__init__(name=name, reduction="none")
        self.segmentation, self.localisation, self.weight = segmentation, localisation, weight

    def call(self, y_true, y_pred):
        located = self.localisation.call(y_true, y_pred[..., -1:])
        return self.segmentation.call(y_true, y_pred[..., :-1]) + self.weight * located


def ratio(together, apart, smoothing, as_printed):
    """The Dice coefficient of sums: of products, and of both sides."""
    return together / (apart + keras.config.epsilon()) if as_printed else (2 * together + smoothing) / (apart + smoothing)

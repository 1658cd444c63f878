"""The loss of Zheng 2018, section 2.4: cross entropy that stays finite and ignores pixels already within tolerance.

With p' = a p + b, a = 0.999, b = 0.0005 (so a + 2 b = 1) and t = 0.02, a pixel of label g and predicted probability p costs

    0             where |g - p'| < t
    -ln(p')       where g = 1 else
    -ln(1 - p')   where g = 0 else

at most -ln(b) = 7.6. Pixels close enough to their label give no gradient. This balances the classes: most of the background,
which is four fifths of a slice, soon counts no more.
"""

from shared.framework import Tensor, keras, ops

SLOPE, OFFSET, TOLERANCE = 0.999, 0.0005, 0.02  # a, b and t of the paper


def stabilised_cross_entropy(g: Tensor, p: Tensor) -> Tensor:
    """The loss of every pixel: labels `g` in {0, 1} and probabilities `p` of one shape."""
    of_label = SLOPE * ops.where(g > 0.5, p, 1 - p) + OFFSET  # p', or 1 - p' = a (1 - p) + b
    return ops.where(1 - of_label < TOLERANCE, 0.0, -ops.log(of_label))


class MultiScale(keras.losses.Loss):
    """The sum of the pixels' losses over all masks and all scales of a network of `model`; the mean over the batch.

    Labels (B, x, y, masks) of 0 and 1; predictions (B, x, y, scales * masks) as the networks give them, finest scale first,
    coarser ones with every pixel repeated. A coarse label is 1 where at least half of the pixels that it covers are 1 (ours).
    """

    def __init__(self, scales: int, name: str = "stabilised_cross_entropy") -> None:
        super().__init__(name=name, reduction="sum_over_batch_size")
        self.scales = scales

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        labels, total = ops.cast(y_true > 0, "float32"), 0.0
        for scale, p in enumerate(ops.split(ops.cast(y_pred, "float32"), self.scales, axis=-1)):
            step = 2**scale
            g = labels if step == 1 else ops.cast(ops.average_pool(labels, step, step) >= 0.5, "float32")
            total += ops.sum(stabilised_cross_entropy(g, p[:, ::step, ::step]), axis=(1, 2, 3))
        return total

"""How near the networks come to what the machine can do: GFLOP/s of prediction and of a training step in float32 and bfloat16,
beside the rates of a matrix product and of a 2D convolution, all measured in this one run.

Counted are the multiplications and additions of the convolutions; a training step has three times those of a prediction.
"""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.timing import seconds
from dense_unet.recipe import DENSE
from shared.datasets import Case
from shared.lazy import lazily

with lazily():
    from acdc_segmenter_tf import model as acdc_networks
    from dense_unet import predict as dense
    from dr_unet import model as dr_networks
    from shared.framework import keras, ops
    from shared.learning import arithmetic, effort
    from two_stage_unet import model as two_stage_networks

MATRIX, CHANNELS, PIXELS, IMAGES = 3072, 128, 128, 4  # of the two rates
PRECISIONS = ("float32", "bfloat16")
GIGA = 1e9

NETWORKS: dict[str, tuple[Callable[[], "keras.Model"], int]] = {  # name -> network, and its batch
    "2D U-Net (mod.), 10 slices of 212 x 212": (lambda: acdc_networks.build("unet2d_modified", (212, 212)), 10),
    "dense U-Net, 2 slices of 176 x 176": (lambda: dense.network(DENSE), 2),
    "DR-UNet, f 8, 128 x 96 x 64": (lambda: dr_networks.build("dr_unet", (128, 96, 64), 1, 8), 1),
    "DR-UNet, f 32, 64 x 64 x 16": (lambda: dr_networks.build("dr_unet", (64, 64, 16), 4, 32, keep_z=True), 1),
    "Net1, w 16, 64 x 64 x 48": (lambda: two_stage_networks.build("net1", (64, 64, 48), 8, 16), 1),
}
HEADER = "| network | precision | GFLOP | predict | of convolution | training step | of convolution |"


def limits(cases: Sequence[Case], folder: Path, rounds: int) -> None:
    """A table with a row for each network and precision."""
    rates = {precision: (of_matrices(precision, rounds), of_convolutions(precision, rounds)) for precision in PRECISIONS}
    for precision, (product, convolution) in rates.items():
        print(f"{precision}: matrix product {product:.0f} GFLOP/s, convolution {convolution:.0f} GFLOP/s", flush=True)
    print(f"\n{HEADER}\n|{'---|' * 7}")
    for name, (build, batch) in NETWORKS.items():
        for precision in PRECISIONS:
            with arithmetic.building_in(precision):
                model = build()
            forward = batch * effort.operations(model) / GIGA
            predict_s, step_s = (statistics.median(times) for times in measured(model, batch, rounds))
            shown = [f"{work / took:.0f} GFLOP/s ({took:.2f} s) | {work / took / rates[precision][1]:.2f}"
                     for work, took in ((forward, predict_s), (3 * forward, step_s))]  # fmt: skip
            print(f"| {name} | {precision} | {forward:.1f} | {' | '.join(shown)} |", flush=True)
    print()


def of_matrices(precision: str, rounds: int) -> float:
    """GFLOP/s of the product of two square matrices."""
    one = ops.ones((MATRIX, MATRIX), dtype=precision)
    return 2 * MATRIX**3 / best(lambda: ops.matmul(one, one), rounds) / GIGA


def of_convolutions(precision: str, rounds: int) -> float:
    """GFLOP/s of 3 x 3 convolutions."""
    images = ops.ones((IMAGES, PIXELS, PIXELS, CHANNELS), dtype=precision)
    kernel = ops.ones((3, 3, CHANNELS, CHANNELS), dtype=precision)
    work = 2 * IMAGES * PIXELS**2 * 9 * CHANNELS**2
    return work / best(lambda: ops.conv(images, kernel, padding="same"), rounds) / GIGA


def best(run: Callable[[], object], rounds: int) -> float:
    """The least seconds of a few runs: of a limit the best run counts."""
    return min(seconds(lambda: ops.convert_to_numpy(run())[..., 0].sum()) for _ in range(rounds + 2))


def measured(model: "keras.Model", batch: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of predictions and of training steps."""
    images = np.random.default_rng(0).normal(size=(batch, *model.input_shape[1:])).astype(np.float32)
    outputs = model.output_shape[-1]
    labels = np.random.default_rng(1).integers(0, max(outputs, 2), (batch, *model.output_shape[1:-1]))
    if outputs == 1:
        loss, labels = keras.losses.BinaryCrossentropy(from_logits=True), labels[..., None]
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=False)
    runs = partial(model.predict_on_batch, images), partial(model.train_on_batch, images, labels)
    predictions, steps = ([seconds(run) for _ in range(rounds + 2)][2:] for run in runs)
    return predictions, steps

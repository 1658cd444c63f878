"""Wang 2018 at full widths: an iteration of each of the four steps, and a whole CT from file to file, with their memory.

    python -m benchmarks.two_stage {1,2,3,4,predict} FOLDER [--rounds 3]

measures one of them in a separate process, so that the peak memory is its alone, and prints one line of JSON. Beside each is what
the same networks need in plain Keras: `train_on_batch` on an example that lies ready, and `predict` on arrays that hold all
stacks at once. The CT is made of noise, 512 x 512 x 300 voxels of 0.45 x 0.45 x 0.6 mm; the heart is taken to be 130 mm wide.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from benchmarks.timing import alone, median_of, peak_gib
from shared import cli
from shared.datasets import Case
from shared.lazy import lazily
from shared.learning.batches import Batches
from shared.learning.prepared import store
from shared.scans import volume
from two_stage_unet import predict as prediction
from two_stage_unet import train as training_command
from two_stage_unet.recipe import TWO_STAGE
from two_stage_unet.sampling import Cubes, Joints, Stacks, Wholes, slices_about

with lazily():
    from shared import framework
    from shared.framework import keras
    from shared.learning import arithmetic, training
    from two_stage_unet import augmentation, losses

SHAPE, SPACING_MM = (512, 512, 300), (0.45, 0.45, 0.6)
HEART_MM = 130
CLASSES = len(TWO_STAGE.preparation.structures) + 1


def two_stage(cases: Sequence[Case], folder: Path, rounds: int) -> None:
    """All of it, a line each."""
    for what in ("1", "2", "3", "4", "predict"):
        run = alone("benchmarks.two_stage", what, str(folder), "--rounds", str(min(rounds, 3)))
        name = "predict a CT of 512 x 512 x 300, file to file" if what == "predict" else f"step {what}, {run['input']}"
        print(f"two-stage U-Net, {name}: {run['seconds']:.2f} s, {run['peak_gib']:.1f} GiB; plain Keras "
              f"{run['plain_seconds']:.2f} s; {run['seconds'] / run['plain_seconds']:.2f}x", flush=True)  # fmt: skip
    print()


def main() -> None:
    parser = cli.Parser(prog="python -m benchmarks.two_stage", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("1", "2", "3", "4", "predict"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    training.seed_everything(0)
    measure = predict if options.what == "predict" else step
    result = measure(options.what, options.folder, options.rounds)
    print(json.dumps({**result, "peak_gib": round(peak_gib(), 2)}))


def step(what: str, folder: Path, rounds: int) -> dict[str, Any]:
    """An iteration of a step of the training: drawn, transformed and learnt; and learnt alone."""
    examples, move, build, loss = parts(what, folder)
    with arithmetic.building_in(TWO_STAGE.precision):
        model = build()
    model.compile(keras.optimizers.Adam(TWO_STAGE.learning_rate), loss, jit_compile=False)
    batches, move = Batches(examples, 1, 0, training_command.drawn(TWO_STAGE, f"step {what}")), framework.compiled(move)
    ready = move(*batches[0])
    image = ready[0]["stacks"] if isinstance(ready[0], dict) else ready[0]
    return {
        "seconds": median_of(lambda: model.train_on_batch(*move(*batches[0])), rounds),
        "plain_seconds": median_of(lambda: model.train_on_batch(*ready), rounds),
        "input": " x ".join(map(str, image.shape)),
    }


def parts(what: str, folder: Path) -> tuple[Any, Callable[..., Any], Callable[[], Any], Any]:
    """Examples, transform, network and loss of a step; of the edges the greatest."""
    given, edge = TWO_STAGE.preparation, (TWO_STAGE.edges[-1:], TWO_STAGE.cubes[-1:])
    extents = np.round(np.array(SHAPE) * SPACING_MM / given.coarse_mm).astype(int).tolist()
    coarse, fine = stored(folder, "coarse", extents), stored(folder, "fine", SHAPE, regions=("region0",))
    counts = [1] * CLASSES
    dice = losses.of(TWO_STAGE, counts)

    def built(name: str) -> Callable[[], Any]:
        return lambda: prediction.network(TWO_STAGE, name)

    if what == "1":
        return Wholes(coarse, given.coarse_mm), augmentation.cubes, built(prediction.NET1), losses.foreground(TWO_STAGE)
    if what == "2":
        cubes = Cubes(coarse, given.coarse_mm, *edge)
        return cubes, augmentation.cubes, built(prediction.NET1), losses.both(TWO_STAGE, counts)
    if what == "3":
        shapes = (TWO_STAGE.net1_edge, TWO_STAGE.slices, TWO_STAGE.stacks)
        each = {prediction.NET1: dice, prediction.NET2: dice}
        return Joints(coarse, fine, given.coarse_mm, *edge, *shapes), augmentation.joint, built(prediction.JOINT), each
    stacks = Stacks(fine, [SPACING_MM], ["region0"], TWO_STAGE.slices, TWO_STAGE.stacks, TWO_STAGE.stack_edge)
    return stacks, augmentation.stacks, built(prediction.NET2), dice


def stored(folder: Path, name: str, shape: Sequence[int], regions: Sequence[str] = ()) -> list[Path]:
    """A prepared case of noise, all classes in it."""

    def make() -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        grey = {channel: rng.uniform(-1, 1, shape).astype(np.float32) for channel in (*regions, "image")}
        return {**grey, "label": rng.integers(0, CLASSES, shape).astype(np.uint8)}

    return [store(folder, name, make)]


def predict(what: str, folder: Path, rounds: int) -> dict[str, Any]:
    """A CT from file to file, and the networks' part of it in plain Keras."""
    with arithmetic.building_in("auto"):
        net1, net2 = (prediction.network(TWO_STAGE, name) for name in (prediction.NET1, prediction.NET2))
    segmenter = prediction.Segmenter(net1, net2, TWO_STAGE, dict(enumerate(TWO_STAGE.preparation.structures, start=1)))
    path, output = folder / "ct.nii.gz", folder / "seg.nii.gz"
    if not path.exists():
        grey = np.random.default_rng(0).integers(-1000, 1000, SHAPE).astype(np.int16)
        volume.write(volume.from_array(grey, spacing_mm=SPACING_MM), path)
    starts, shape = heart()
    prediction.tile = lambda classes, fine, margin_mm: (starts, shape)  # untrained networks cannot find it
    ours = median_of(lambda: volume.write(prediction.predict(segmenter, volume.read(path)), output), 1)
    plain = median_of(lambda: plain_keras(net1, net2, volume.read(path), starts, shape), 1)
    return {"seconds": ours, "plain_seconds": plain}


def heart() -> tuple[list[int], list[int]]:
    """Starts and shape of the tile, in voxels."""
    shape = [min(round(HEART_MM / mm), n) for mm, n in zip(SPACING_MM, SHAPE, strict=True)]
    shape = [shape[0] // 16 * 16, shape[1] // 16 * 16, shape[2]]
    return [(n - size) // 2 for n, size in zip(SHAPE, shape, strict=True)], shape


def plain_keras(net1: Any, net2: Any, scan: volume.Volume, starts: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """What one writes first: zoom, predict, zoom back, all stacks of the tile in one array, predict."""
    image = scan.array.astype(np.float32)
    image = (image - image.min()) / (image.max() - image.min()) * 2 - 1
    coarse = ndimage.zoom(image, np.array(SPACING_MM) / TWO_STAGE.preparation.coarse_mm, order=1)
    padded = np.pad(coarse, [(0, -n % 16) for n in coarse.shape], constant_values=-1)
    logits = net1.predict(padded[None, ..., None], verbose=0)[0][tuple(slice(0, n) for n in coarse.shape)]
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    region = 1 - 2 * exponentials[..., 0] / exponentials.sum(axis=-1)
    region = ndimage.zoom(region, np.array(image.shape) / region.shape, order=1)
    seen = np.stack([region, image], axis=-1)
    seen = seen[tuple(slice(start, start + n) for start, n in zip(starts[:2], shape[:2], strict=True))]
    middles = range(starts[2], starts[2] + shape[2])
    stacks = np.stack([seen[:, :, slices_about(z, TWO_STAGE.slices, image.shape[2])] for z in middles])
    return net2.predict(stacks, batch_size=prediction.STACKS_AT_ONCE, verbose=0).argmax(axis=-1)


if __name__ == "__main__":
    main()

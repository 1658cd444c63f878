"""Measure the 3D networks once, in a separate process, so that the peak memory is theirs alone; print one line of JSON.

    python -m benchmarks.volumetric {step,predict} EXPERIMENT [--plain] [--rounds 3] [--scan FILE]

`step`: one training step of the paper's recipe on random voxels. `predict`: one scan from file to file with untrained weights,
and the localiser's share of that time. `--plain`: Keras' own batch normalisation.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.timing import median_of, peak_gib
from dr_unet import predict as prediction
from dr_unet.recipe import RECIPES, Recipe
from shared import cli
from shared.lazy import lazily
from shared.scans import volume

with lazily():
    from dr_unet import losses
    from dr_unet import model as networks
    from shared.framework import keras
    from shared.learning import arithmetic


def main() -> None:
    parser = cli.Parser(prog="python -m benchmarks.volumetric", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("step", "predict"))
    parser.add_argument("experiment", choices=RECIPES)
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scan", type=Path)
    options = parser.parse_args()
    if options.plain:
        networks.NORMS["batch"] = keras.layers.BatchNormalization
    recipe = RECIPES[options.experiment]
    with arithmetic.building_in(recipe.precision):
        model = prediction.network(recipe)
        localiser = prediction.network(recipe, prediction.LOCALISER) if recipe.method == "multi_stage" else None
    if options.what == "step":
        result = step(recipe, model, options.rounds)
    else:
        structures = dict(enumerate(recipe.preparation.structures, start=1))
        result = predict(prediction.Segmenter(model, localiser, recipe, structures), options.scan, options.rounds)
    print(json.dumps({**result, "peak_gib": round(peak_gib(), 2)}))


def step(recipe: Recipe, model: "keras.Model", rounds: int) -> dict:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(recipe.batch_size, *model.input.shape[1:])).astype(np.float32)
    labels = rng.integers(0, len(recipe.preparation.structures) + 1, images.shape[:-1]).astype(np.uint8)
    model.compile(keras.optimizers.Adam(recipe.learning_rate), losses.of(recipe), jit_compile=False)
    return {"seconds": median_of(lambda: model.train_on_batch(images, labels), rounds), "input": list(images.shape)}


def predict(segmenter: prediction.Segmenter, path: Path, rounds: int) -> dict:
    scan = volume.read(path)
    prepared = prediction.prepare(scan, segmenter.recipe.preparation)
    located = median_of(lambda: prediction.locate(segmenter.localiser, prepared, segmenter.recipe), rounds)
    with tempfile.TemporaryDirectory() as folder:
        whole = median_of(
            lambda: volume.write(prediction.predict(segmenter, volume.read(path)), Path(folder) / "seg.nii.gz"), rounds
        )
    return {"seconds": whole, "localiser_seconds": located, "input": list(scan.array.shape)}


if __name__ == "__main__":
    main()

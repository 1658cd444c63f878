"""Medians and ratios, everything measured in this one run: networks against plain TensorFlow, metrics against MedPy, the data
path by itself, one volume from file to file, ten steps of the full recipe, the 3D networks with their memory, the two-stage
U-Net, masks carried from slice to slice, and the network with dense skips.

    python -m benchmarks.bench [--data-root ACDC] [--rounds 5] [PART ...]

where a part is networks, metrics, data, predict, recipe, volumetric, two_stage, propagation or dense_unet; or limits, growth,
presets or scans, which are measured only if they are named.

Without --data-root the volumes are the phantom's. The networks' rival is a twin of the authors' TensorFlow 1 graph in plain
TensorFlow operations (float32, fused batch normalisation, Adam). The authors called MedPy's `dc`, `hd` and `assd`. Up to 0.4 its
`assd` was the mean of the two directed means, which is our ASSD; from 0.5 on it pools both directions, which is our ASD.
"""

import importlib.metadata
import re
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy import ndimage

from acdc_segmenter_tf import predict as prediction
from acdc_segmenter_tf import train as training_command
from acdc_segmenter_tf.recipe import UNET2D_MODIFIED, Recipe, quick
from benchmarks.dense import dense_unet
from benchmarks.growth import growth
from benchmarks.limits import limits
from benchmarks.plain_tensorflow import networks
from benchmarks.presets import presets
from benchmarks.scans import scans
from benchmarks.timing import alone, clock, peak_gib, report, seconds
from benchmarks.two_stage import two_stage
from propagation import predict as propagating
from propagation import train as propagation_command
from propagation.beating import database
from propagation.recipe import PROPAGATION
from shared import cli, datasets, provenance
from shared.datasets import Case
from shared.lazy import lazily
from shared.learning import inference
from shared.learning.batches import Batches, stream
from shared.learning.examples import Slices
from shared.learning.prepared import store_all
from shared.scans import postprocess, volume
from shared.scoring import metrics

with lazily():
    from acdc_segmenter_tf import losses as acdc_losses
    from acdc_segmenter_tf import model as acdc_networks
    from propagation import losses as propagation_losses
    from shared.framework import keras
    from shared.learning import arithmetic, training


def main() -> None:
    parser = cli.Parser(prog="python -m benchmarks.bench", description=__doc__.splitlines()[0])
    known = {**PARTS, **ASKED}
    parts_help = f"any of {', '.join(known)} (default: all but {', '.join(ASKED)})"
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=parts_help)
    parser.add_argument("--data-root", type=Path, help="ACDC")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in known]
    if unknown:
        parser.error(f"part {unknown[0]}: expected any of {', '.join(known)}")
    with cli.one_line_errors(), tempfile.TemporaryDirectory() as folder:
        found = options.data_root is not None
        cases = datasets.find("acdc" if found else "phantom", options.data_root or Path(folder) / "phantom")
        versions, commit = provenance.versions(), provenance.commit()
        print(f"{provenance.hardware()}; TensorFlow {versions['tensorflow']}, Keras {versions['keras']}; commit {commit}; "
              f"{len(cases)} volumes of {'ACDC' if found else 'the phantom'}; medians of {options.rounds} rounds\n")  # fmt: skip
        for part in options.parts:
            known[part](cases, Path(folder), options.rounds)


def metrics_(cases: Sequence[Case], folder: Path, rounds: int) -> None:
    """Dice, HD and pooled surface distance of three structures in 20 volumes, against MedPy from 0.5 on.

    One mask is moved and one voxel thicker in its slices, so that the two surfaces have different sizes and pooling matters.
    """
    try:
        from medpy.metric import binary
    except ImportError:
        print("metrics against MedPy: not run, `pip install -e .[bench]` brings it\n")
        return
    thicker = np.ones((3, 3, 1), bool)
    pairs = []
    for case in cases[:20]:
        labels = volume.read_labels(case.label)
        for value in case.structures:
            mask = labels.array == value
            if mask.any():
                moved = ndimage.binary_dilation(np.roll(mask, (2, -1), axis=(0, 1)), thicker)
                pairs.append((moved, mask, labels.spacing_mm))

    def ours() -> list[tuple[float, float, float]]:
        result = []
        for a, b, spacing_mm in pairs:
            distances_mm = metrics.surface_distances_mm(a, b, spacing_mm)
            result.append((metrics.dice(a, b), metrics.hausdorff_of(*distances_mm), metrics.asd_of(*distances_mm)))
        return result

    def medpys() -> list[tuple[float, float, float]]:
        return [(binary.dc(a, b), binary.hd(a, b, spacing_mm), binary.assd(a, b, spacing_mm)) for a, b, spacing_mm in pairs]

    report(f"Dice, HD, ASD of {len(pairs)} masks in 20 volumes", {"MedPy": medpys, "ours": ours}, min(rounds, 3))
    pooled_mm = np.array(medpys())[:, 2]
    assd_mm = [metrics.assd_mm(a, b, spacing_mm) for a, b, spacing_mm in pairs]
    print(f"MedPy {importlib.metadata.version('medpy')}: largest difference between the two "
          f"{np.abs(np.array(ours()) - np.array(medpys())).max():.2g}; our ASSD (the authors', MedPy's up to 0.4) differs "
          f"from its pooled one by up to {np.abs(assd_mm - pooled_mm).max():.2g} mm\n")  # fmt: skip


def stored(recipe: Recipe, cases: Sequence[Case], folder: Path) -> list[Path]:
    """Paths of the cases as the networks of a recipe see them."""
    names = [case.name for case in cases]
    return list(store_all(folder, cases, names, lambda case: training_command.prepared(case, recipe.preparation)).values())


def data(cases: Sequence[Case], folder: Path, rounds: int) -> None:
    """Preparing every volume, and the input pipeline with nothing behind it."""
    for name, recipe in (("paper", UNET2D_MODIFIED), ("quick", quick(UNET2D_MODIFIED))):
        start = time.perf_counter()
        paths = stored(recipe, cases, folder / name)
        print(f"prepare {len(cases)} volumes for the {name} preset, to disk: {time.perf_counter() - start:.1f} s")
        batches = Batches(Slices(paths), recipe.batch_size, seed=0)
        start = time.perf_counter()
        count = sum(1 for _ in stream(batches, 0, 200))
        supply = count * recipe.batch_size / (time.perf_counter() - start)
        with arithmetic.building_in(recipe.precision):
            model = prediction.network(recipe)
        model.compile(training_command.optimizer(recipe), acdc_losses.of(recipe), jit_compile=False)
        batch = batches[0]
        model.train_on_batch(*batch)
        took = statistics.median(seconds(partial(model.train_on_batch, *batch)) for _ in range(3))
        need = recipe.batch_size / took
        print(f"input pipeline alone: {supply:.0f} examples/s; the training step ({took:.2f} s) takes {need:.1f} examples/s: "
              f"{supply / need:.0f} times what it needs\n")  # fmt: skip


def predict(cases: Sequence[Case], folder: Path, rounds: int) -> None:
    """One volume from file to file with the paper's network, and where the time goes."""
    case, output = cases[0], folder / "segmentation.nii.gz"
    with arithmetic.building_in("auto") as precision:
        segmenter = prediction.Segmenter(
            acdc_networks.build("unet2d_modified", (212, 212)), UNET2D_MODIFIED, dict(case.structures)
        )
    spent: dict[str, list[float]] = {"read": [], "prepare": [], "network": [], "restore": [], "components": [], "write": []}
    for _ in range(rounds + 1):
        with clock(spent["read"]):
            scan = volume.read(case.image)
        with clock(spent["prepare"]):
            prepared = prediction.prepare(scan, UNET2D_MODIFIED.preparation)
            images = np.moveaxis(prepared.array, 2, 0)[..., None]
        with clock(spent["network"]):
            probabilities = inference.probabilities(segmenter.model, images, UNET2D_MODIFIED.batch_size)
        with clock(spent["restore"]):
            native = prediction.restore(prepared.with_array(np.moveaxis(probabilities, 0, 2)), scan, UNET2D_MODIFIED)
            classes = native.argmax(axis=3).astype(np.uint8)
        with clock(spent["components"]):
            classes = postprocess.largest_components(classes)
        with clock(spent["write"]):
            volume.write(scan.with_array(classes), output)
    medians = {part: statistics.median(times[1:]) for part, times in spent.items()}
    total = sum(medians.values())
    print(f"predict one volume {scan.array.shape}, file to file, {precision}: {total:.2f} s (the paper: 1.1 s on a Titan Xp)")
    print("  " + ", ".join(f"{part} {took:.3f} s ({100 * took / total:.0f} %)" for part, took in medians.items()) + "\n")


def recipe(cases: Sequence[Case], folder: Path, rounds: int) -> None:
    """Ten steps of the paper's default recipe, from stored volumes on, with the memory they take."""
    training.seed_everything(0)
    paths = stored(UNET2D_MODIFIED, cases, folder / "paper")
    batches = Batches(Slices(paths), UNET2D_MODIFIED.batch_size, seed=0)
    with arithmetic.building_in(UNET2D_MODIFIED.precision) as precision:
        model = prediction.network(UNET2D_MODIFIED)
    optimizer = training_command.optimizer(UNET2D_MODIFIED)
    model.compile(optimizer, acdc_losses.of(UNET2D_MODIFIED), jit_compile=False)
    times: list[float] = []
    losses: list[float] = []
    for batch in stream(batches, 0, 10):
        with clock(times):
            losses.append(float(model.train_on_batch(*batch)))
    print(f"ten steps of the paper's recipe ({UNET2D_MODIFIED.batch_size} slices of 212 x 212, {precision}): "
          f"{statistics.median(times[1:]):.1f} s per step, running loss {losses[0]:.3f} -> {losses[-1]:.3f}, "
          f"peak memory {peak_gib():.1f} GiB\n", flush=True)  # fmt: skip


def volumetric(cases: Sequence[Case], folder: Path, rounds: int) -> None:
    """DR-UNet with its memory: training steps of the paper's segmenters, f=8 against Keras' batch norm on TensorFlow's own choice
    of kernels, and whole scans from file to file; each runs in a separate process."""
    plain = {} if re.search("avx512_vnni|avx512_bf16|avx_vnni|amx_", cpu_flags()) else {"TF_ENABLE_ONEDNN_OPTS": "0"}
    rounds = min(rounds, 3)
    step = ("benchmarks.volumetric", "step")
    ours, wide = (
        alone(*step, experiment, "--rounds", str(rounds)) for experiment in ("multi_stage_f8", "multi_stage_keep_z_f32")
    )
    theirs = alone(*step, "multi_stage_f8", "--plain", "--rounds", "1", **plain)
    print(f"training step, multi_stage_f8, {ours['input']}: {took(ours)}; plain Keras {took(theirs)}; "
          f"{ours['seconds'] / theirs['seconds']:.2f}x", flush=True)  # fmt: skip
    print(f"training step, multi_stage_keep_z_f32, {wide['input']}: {took(wide)}", flush=True)
    atrium = folder / "atrium.nrrd"
    grey = np.random.default_rng(0).integers(0, 255, (640, 640, 88)).astype(np.uint8)
    volume.write(volume.from_array(grey, spacing_mm=(0.625, 0.625, 0.625)), atrium)
    for experiment, scan in (("multi_stage_f8", atrium), ("multi_stage_f16", atrium), ("multi_stage_keep_z_f32", cases[0].image)):
        run = alone("benchmarks.volumetric", "predict", experiment, "--scan", str(scan), "--rounds", str(rounds))
        print(f"predict {experiment}, {run['input']}, file to file: {took(run)}; of that the localiser with its map "
              f"{run['localiser_seconds']:.2f} s (the paper: below 1 s on a Titan X)", flush=True)  # fmt: skip
    print()


def propagation(cases: Sequence[Case], folder: Path, rounds: int) -> None:
    """The paper's two networks and the moving heart behind them: a training step, an example, one volume from file to file."""
    cases = [case for case in cases if case.phase in propagation_command.BEATING][:4]
    names, given = [case.name for case in cases], PROPAGATION.preparation
    paths = list(store_all(folder / "hearts", cases, names, lambda case: database.prepared(case, given)).values())
    common = {"spacing_mm": given.spacing_mm, "variants": PROPAGATION.variants, "instants": PROPAGATION.instants}
    with arithmetic.building_in(PROPAGATION.precision):
        first, second = propagating.network(PROPAGATION, propagating.INITIALIZATION), propagating.network(PROPAGATION)
    slices = {"used": PROPAGATION.initialization_instants, "margin": PROPAGATION.initialization_margin}
    carrying = {"used": PROPAGATION.instants, "mask_lag": PROPAGATION.mask_lag}
    for model, scales, kind, options in ((first, 3, database.Slices, slices), (second, 2, database.Steps, carrying)):
        moving = Batches(kind(paths, [True] * len(paths), 0, **common, **options), 1, seed=0)
        took = statistics.mean(seconds(partial(moving.__getitem__, i)) for i in range(10 * rounds))
        batch = moving[0]
        model.compile(keras.optimizers.SGD(PROPAGATION.learning_rate), propagation_losses.MultiScale(scales), jit_compile=False)
        step = statistics.median([seconds(partial(model.train_on_batch, *batch)) for _ in range(rounds + 1)][1:])
        print(f"{model.name}: training step {step:.2f} s; an example of the moving heart {took:.3f} s on one core")
    segmenter = propagating.Segmenter(first, second, PROPAGATION, propagating.STRUCTURES)
    output = folder / "wall.nii.gz"
    took = statistics.median(
        seconds(lambda: volume.write(propagating.predict(segmenter, volume.read(cases[0].image), base=1), output))
        for _ in range(rounds)
    )
    print(f"carry a mask through one volume, file to file: {took:.1f} s (the paper: about 3 s on a GPU)\n", flush=True)


def took(run: Mapping[str, float]) -> str:
    return f"{run['seconds']:.2f} s, {run['peak_gib']:.1f} GiB"


def cpu_flags() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""


PARTS = {
    "networks": networks,
    "metrics": metrics_,
    "data": data,
    "predict": predict,
    "recipe": recipe,
    "volumetric": volumetric,
    "two_stage": two_stage,
    "propagation": propagation,
    "dense_unet": dense_unet,
}
ASKED = {"limits": limits, "growth": growth, "presets": presets, "scans": scans}  # only if they are named


if __name__ == "__main__":
    main()

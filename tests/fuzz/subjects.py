"""What is fuzzed: every kind of file and of arguments, with the reader or the command that reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from shared import datasets, held_out, phantom
from shared.comparison import cost, entrants, scored
from shared.datasets import splits
from shared.lazy import lazily
from shared.scans import volume
from shared.scoring import tables
from tests.fuzz import originals
from tests.fuzz.originals import CINE, SCAN, TINY_RUN

with lazily():
    from acdc_segmenter_tf import released
    from dr_unet import localisation
    from dr_unet import recipe as dr_unet_recipe
    from propagation import masks
    from propagation.released import weights as propagation_weights


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Files of one kind and what reads them.

    Attributes:
        name: of the kind.
        make: writes the valid files into a folder.
        reader: `reader(folder)`, raises nothing but InputError and OSError; None where a command reads the files.
        command: module of the command, whose `main` is called inside the folder.
        arguments: of the command.
        damages: patterns of the files that are damaged; none: the arguments are changed instead.
        label_map: what the command writes, and the scan that it has to lie on; () where it writes none.
        stops: "module.name" of functions that take long, in whose place one is called that says that it was.
        rounds, sampled: how many inputs are made, and how many of these belong to the sample of the suite.
    """

    name: str
    make: Callable[[Path], None]
    reader: Callable[[Path], object] | None = None
    command: str = ""
    arguments: tuple = ()
    damages: tuple = ("**/*",)
    label_map: tuple = ()
    stops: tuple = ()
    rounds: int = 60
    sampled: int = 6


def image(name, scan=SCAN):
    """The subject of one image file."""
    write = originals.raw if name.startswith(("raw", "pair")) else originals.packed
    read = lambda folder: volume.read(folder / name)  # noqa: E731
    return Subject(name=name, make=lambda folder: write(folder / name, scan), reader=read, rounds=110)


def read_data_set(name, structures):
    def read(folder):
        for case in datasets.find(name, folder / "data"):
            datasets.load_reference(case, datasets.load_image(case))
            datasets.load_pair(case, structures)

    return read


def read_regions(folder):
    recipe = dr_unet_recipe.RECIPES["multi_stage_f8"]
    if (folder / localisation.REGIONS).exists():
        sides = {"train": [SimpleNamespace(name="a")], "validation": [], "test": [SimpleNamespace(name="b")]}
        localisation.find_regions(recipe, SimpleNamespace(folder=folder, side=sides.get))
        localisation.share_line(folder, "test")


def read_compared(folder):
    cases = [case for case in datasets.find("acdc", folder / "data") if case.patient == "patient005"]
    entrant = entrants.of_folder("net", folder / "predictions", cases)
    scored.evaluate(entrants.Contest(title="", folder=folder, cases=cases, entrants=[entrant], structures=cases[0].structures))
    cost.kept(folder)


def read_keras_file(folder, cache=[]):  # noqa: B006
    cache[:] = cache or [originals.narrow_network()]
    propagation_weights.fill(cache[0], folder / "roi_net.h5")


def read_checkpoint(folder, cache=[]):  # noqa: B006
    cache[:] = cache or [originals.small_network()]
    released.fill(cache[0], released.Checkpoint(folder))


def arguments(name, command, *words, make=originals.everything, **more):
    """The subject of the arguments of a command."""
    return Subject(name=f"arguments of {name}", make=make, command=command, arguments=words, damages=(), **more)


DATA = ("--dataset", "acdc", "--data-root", "data")
FETCH = ("fetch", "roi_net", "--to", ".", "--base", "http://127.0.0.1:9")  # where nobody answers
PREDICTION = ("--weights", "run", "scan.nii.gz", "-o", "seg.nii.gz")
ON_SCAN = ("seg.nii.gz", "scan.nii.gz")
SUBJECTS = [
    *(image(name) for name in ("scan.nii", "scan.nii.gz", "packed.nrrd", "raw.nrrd", "pair.nhdr")),
    *(image(name) for name in ("packed.mha", "raw.mha", "pair.mhd")),
    image("cine.nii.gz", CINE),
    Subject(name="label map", make=originals.label_folders, damages=("references/a_ED.nii.gz",),
            reader=lambda folder: volume.read_labels(folder / "references/a_ED.nii.gz")),
    Subject(name="DICOM slices", make=originals.slices, reader=lambda folder: volume.read(folder / "scan"), rounds=100),
    Subject(name="DICOM study", make=originals.study, reader=lambda folder: volume.read(folder / "scan"), rounds=60),
    Subject(name="Enhanced DICOM", make=originals.enhanced, reader=lambda folder: volume.read(folder / "scan.dcm"), rounds=100),
    Subject(name="acdc", make=originals.acdc, reader=read_data_set("acdc", ("RV", "Myo", "LV"))),
    Subject(name="Info.cfg", make=originals.acdc, reader=read_data_set("acdc", ("LV",)), damages=("**/Info.cfg",)),
    Subject(name="lasc", make=originals.lasc, reader=read_data_set("lasc", ("LA",))),
    Subject(name="mmwhs", make=originals.mmwhs, reader=read_data_set("mmwhs_mr", ("LV", "PA"))),
    Subject(name="nnunet", make=originals.nnunet, reader=read_data_set("nnunet", ("RV", "LV"))),
    Subject(name="dataset.json", make=originals.nnunet, damages=("**/dataset.json",),
            reader=read_data_set("nnunet", ("RV", "LV"))),
    Subject(name="stacom", make=originals.stacom, reader=read_data_set("stacom", ("BV",))),
    Subject(name="split file", make=originals.split, damages=("split.json",),
            reader=lambda folder: splits.given(str(folder / "split.json"), "acdc", datasets.find("acdc", folder / "data"))),
    Subject(name="cases.csv", make=originals.tables, damages=("**/cases.csv",), reader=lambda folder: tables.summarise(
        tables.read_cases(next(folder.rglob("cases.csv"), folder / "cases.csv"), held_out.COLUMNS))),
    Subject(name="bases.csv", make=originals.bases, reader=lambda folder: masks.read_bases(folder / "bases.csv")),
    Subject(name="regions.csv", make=originals.regions, reader=read_regions),
    Subject(name="authors' .h5", make=originals.keras_file, reader=read_keras_file, rounds=80, sampled=3),
    Subject(name="authors' checkpoint", make=originals.checkpoint, reader=read_checkpoint, rounds=80, sampled=0),
    Subject(name="SHA256SUMS", make=originals.checksums, command="propagation.released.__main__", damages=("SHA256SUMS", "*.h5"),
            arguments=FETCH, rounds=60, sampled=3),
    Subject(name="evaluation", make=originals.label_folders, command="shared.evaluation",
            arguments=("predictions", "references", "--structures", "1=RV,2=Myo,3=LV"), rounds=60),
    Subject(name="table", make=originals.tables, command="scripts.reproduce_table",
            arguments=("baumgartner2017", "1", "--report-only", "--workdir", "runs"), rounds=40),
    Subject(name="basal", make=originals.label_folders, command="dense_unet.basal", arguments=("references", "-o", "slices.csv"),
            rounds=40, sampled=3),
    Subject(name="comparison", make=originals.compared, damages=("predictions/*", "cost.json"), reader=read_compared),
    Subject(name="mesh", make=originals.heart_labels, command="propagation.mesh.__main__",
            arguments=("labels.nii.gz", "-o", "heart.stl"), rounds=40, sampled=0),
    Subject(name="run of acdc_segmenter_tf", make=originals.acdc_run, command="acdc_segmenter_tf.predict", arguments=PREDICTION,
            label_map=ON_SCAN, damages=("run/**/*",), rounds=50, sampled=3),
    Subject(name="scan to segment", make=originals.acdc_run, command="acdc_segmenter_tf.predict", arguments=PREDICTION,
            label_map=ON_SCAN, damages=("scan.nii.gz",), rounds=60, sampled=0),
    Subject(name="tables beside label maps", make=originals.predicted, command="acdc_segmenter_tf.predict",
            arguments=("--weights", "run", "scan.nii.gz", "-o", "out"), label_map=("out/scan.nii.gz", "scan.nii.gz"),
            damages=("out/*",), rounds=25, sampled=0),
    Subject(name="run of dr_unet", make=originals.dr_unet_run, command="dr_unet.predict", arguments=PREDICTION, label_map=ON_SCAN,
            rounds=30, sampled=0),
    Subject(name="run of dense_unet", make=originals.dense_run, command="dense_unet.predict", arguments=PREDICTION,
            label_map=ON_SCAN, rounds=30, sampled=0),
    Subject(name="run of two_stage_unet", make=originals.two_stage_run, command="two_stage_unet.predict", arguments=PREDICTION,
            label_map=ON_SCAN, rounds=30, sampled=0),
    Subject(name="run of propagation", make=originals.propagation_run, command="propagation.predict",
            arguments=("--weights", "run", "scan_ED.nii.gz", "-o", "seg.nii.gz", "--bases", "bases.csv"),
            label_map=("seg.nii.gz", "scan_ED.nii.gz"), rounds=30, sampled=0),
    Subject(name="run to go on with", make=originals.trained, command="acdc_segmenter_tf.train", arguments=(*DATA, *TINY_RUN),
            damages=("runs/acdc_segmenter_tf/**/*",), rounds=12, sampled=0),
    arguments("shared.evaluation", "shared.evaluation", "predictions", "references", "--structures", "acdc", "-o", "out.csv"),
    arguments("dense_unet.basal", "dense_unet.basal", "references", "-o", "slices.csv", "--structures", "1=RV,2=Myo,3=LV",
              make=originals.label_folders, rounds=40, sampled=3),
    arguments("shared.phantom", "shared.phantom.__main__", "nnunet", "made", "--patients", "1", "--seed", "0",
              make=originals.label_folders,
              stops=("shared.phantom.layouts.draw_patient", "shared.phantom.layouts.render_atrium",
                     "shared.phantom.layouts.render_whole_heart")),
    arguments("propagation.mesh", "propagation.mesh.__main__", "labels.nii.gz", "-o", "heart.stl", "--labels", "2,3",
              "--step-mm", "4", "--smoothing-mm", "2", make=originals.heart_labels, rounds=40, sampled=0),
    arguments("propagation.released", "propagation.released.__main__", *FETCH, make=originals.checksums, rounds=30, sampled=2),
    arguments("reproduce_table", "scripts.reproduce_table", "baumgartner2017", "2", "--report-only", "--workdir", "runs",
              "--preset", "quick", "--fold", "0", make=originals.tables, rounds=40, sampled=3),
    arguments("compare_methods", "scripts.compare_methods", *DATA, "--methods", "fcn8,unet2d", "--preset", "quick", "--split",
              "common", "--report-only", "--workdir", "runs", "--also", "net=predictions", make=originals.compared,
              stops=("shared.comparison.scored.evaluate",), rounds=40, sampled=3),
    arguments("propagation.figures", "propagation.figures", *DATA, "--patient", "patient001", "-o", "sheet.png",
              "--variants", "0", make=lambda folder: phantom.write_acdc(folder / "data", patients=1), rounds=25, sampled=0),
    arguments("acdc_segmenter_tf.predict", "acdc_segmenter_tf.predict", *PREDICTION, label_map=ON_SCAN, sampled=0),
    arguments("propagation.predict", "propagation.predict", "--weights", "run", "scan_ED.nii.gz", "-o", "seg.nii.gz",
              "--base", "1", make=originals.propagation_run, rounds=30, sampled=0),
    *(arguments(f"{package}.train", f"{package}.train", *DATA, "--set", f"{field}=8", "--set", f"{more}=0.5", "--fold", "0",
                "--seed", "7", "--preset", "quick", "--workdir", "runs", make=lambda folder: originals.acdc(folder, patients=5),
                stops=(f"{package}.train.train",), rounds=60, sampled=4)
      for package, field, more in (("acdc_segmenter_tf", "width", "rotation_deg"), ("dense_unet", "growth", "chance"),
                                   ("dr_unet", "epochs", "learning_rate"), ("two_stage_unet", "net2_width", "dropout"),
                                   ("propagation", "size", "rv_wall_mm"))),
]  # fmt: skip

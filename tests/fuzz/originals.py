"""What is damaged: small valid files of every kind that the package reads, each with the reader or the command that reads it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import SimpleITK as sitk

from shared import datasets, held_out, phantom, report, runs, splits, volume
from shared.files import read_csv, write_csv, write_json, write_text
from shared.lazy import lazily
from tests.conftest import shrunk
from tests.dr_unet.conftest import GRIDS
from tests.dr_unet.conftest import TINY as DR_UNET
from tests.propagation import authors_files
from tests.propagation.conftest import TINY as PROPAGATION
from tests.scripts.test_reproduce_table import case_rows
from tests.shared.test_dicom import SHARED, enhanced_frames, write_enhanced, write_stack, write_study
from tests.volumes import oblique

with lazily():
    from acdc_segmenter_tf import model, predict, released, train
    from dr_unet import localisation
    from dr_unet import predict as dr_unet_predict
    from dr_unet import recipe as dr_unet_recipe
    from propagation import masks
    from propagation import predict as propagation_predict
    from propagation import recipe as propagation_recipe
    from propagation import released as propagation_released
    from tests.acdc_segmenter_tf import test_released
    from tests.propagation import test_released as test_propagation_released

CINE = oblique((6, 5, 3, 4), frame_s=0.04)
SCAN = CINE.frame(0)  # 0, 4, 8, ...
LABELS = SCAN.with_array((SCAN.array // 4 % 4).astype(np.uint8))
TINY_RUN = ["--preset", "quick", "--set", "width=2", "--set", "image_shape=36,36", "--set", "steps=2", "--set",
            "validate_every=2", "--set", "precision=float32", "--workdir", "runs"]  # fmt: skip


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


# Images -------------------------------------------------------------------------------------------------------------------------


def image(name, scan=SCAN):
    def make(folder):
        if name.endswith((".nii", ".nii.gz")) or name == "packed.nrrd" or name == "packed.mha":
            volume.write(scan, folder / name)
        else:  # raw voxels, and a header of its own, are not written by the package
            sitk.WriteImage(sitk.GetImageFromArray(scan.array.T), str(folder / name), useCompression=False)

    return Subject(name=name, make=make, reader=lambda folder: volume.read(folder / name), rounds=110)


def slices(folder):
    write_stack(folder / "scan", SCAN)


def enhanced(folder):
    write_enhanced(folder / "scan.dcm", CINE, enhanced_frames(CINE), SHARED)


def label_folders(folder):
    for name in ("predictions", "references"):
        volume.write(LABELS, folder / name / "a_ED.nii.gz")
        volume.write(LABELS, folder / name / "b.nrrd")


# Data sets ----------------------------------------------------------------------------------------------------------------------


def read_data_set(name, structures):
    def read(folder):
        for case in datasets.find(name, folder / "data"):
            datasets.load_reference(case, datasets.load_image(case))
            datasets.load_pair(case, structures)

    return read


def acdc(folder):
    for patient in ("patient001", "patient002"):
        place = folder / "data" / "training" / patient
        write_text(place / "Info.cfg", "ED: 1\nES: 12\nGroup: DCM\nHeight: 184.0\nNbFrame: 30\nWeight: 95.0\n")
        for frame in (1, 12):
            volume.write(SCAN, place / f"{patient}_frame{frame:02d}.nii.gz")
            volume.write(LABELS, place / f"{patient}_frame{frame:02d}_gt.nii.gz")


def lasc(folder):
    for name in ("AAA", "BBB"):
        volume.write(SCAN, folder / "data" / "Training Set" / name / "lgemri.nrrd")
        volume.write(
            LABELS.with_array(np.uint8(255) * (LABELS.array > 1)), folder / "data" / "Training Set" / name / "laendo.nrrd"
        )


def nnunet(folder):
    labels = {"background": 0, "RV": 1, "Myo": 2, "LV": 3, "ignore": 4}
    write_json(
        folder / "data" / "dataset.json",
        {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz"},
    )
    for name in ("a_ED", "a_ES"):
        volume.write(SCAN, folder / "data" / "imagesTr" / f"{name}_0000.nii.gz")
        volume.write(LABELS, folder / "data" / "labelsTr" / f"{name}.nii.gz")


def stacom(folder):
    volume.write(CINE, folder / "data" / "v1" / "cine_sax.nii.gz")
    volume.write(LABELS.with_array(LABELS.array // 3), folder / "data" / "v1" / "mask_ed.nii.gz")


# Tables -------------------------------------------------------------------------------------------------------------------------


def tables(folder):
    """What commands wrote, in a run folder that is finished as far as files tell."""
    run = runs.folder_of(folder / "runs", "acdc_segmenter_tf", "unet2d_modified_wxent", "paper", "acdc", 0)
    write_csv(run / held_out.CASES, case_rows())
    write_text(run / runs.SUMMARY, "")


def bases(folder):
    write_text(folder / "bases.csv", "patient,ed_base,es_base\npatient001,0,1\npatient002,1,\n")


def regions(folder):
    starts = {f"start_{axis}": start for axis, start in zip("xyz", (3, -1, 0), strict=True)}
    rows = [
        {"case": name, "side": side, "found": 1, **starts, "share_inside": 0.75} for name, side in (("a", "train"), ("b", "test"))
    ]
    write_csv(folder / localisation.REGIONS, rows)


def read_regions(folder):
    recipe = dr_unet_recipe.RECIPES["multi_stage_f8"]
    if (folder / localisation.REGIONS).exists():
        localisation.find_regions(recipe, {"train": [SimpleNamespace(name="a")], "test": [SimpleNamespace(name="b")]}, folder)
        localisation.share_line(folder, "test")


# Runs ---------------------------------------------------------------------------------------------------------------------------


def write_run(folder, package, tiny, networks, structures):
    """A run folder with networks that were never trained: stage ("" is the last) -> network. Without fingerprints of the weights,
    as runs are while they train, so that damaged weights are read."""
    split = splits.Split(("patient001",), ("patient002",), ("patient002",))
    identity = runs.identity(package, "fuzz", "quick", "acdc", 0, 0, tiny, structures, split, ["digest"])
    for stage, network in networks.items():
        (folder / stage).mkdir(parents=True, exist_ok=True)
        network.save_weights(folder / stage / runs.BEST)
    write_json(folder / "run.json", {**identity, "command": "train", "commit": "c", "hardware": "h", "seconds": {"train": 1.0}})


def heart(folder):
    """A scan that the networks take, and tables of an earlier command."""
    phantom.write_acdc(folder / "heart", patients=1)
    scan = volume.read(next(folder.rglob("*_frame01.nii.gz")))
    volume.write(replace(scan, array=scan.array[20:-20, 20:-20, ::2]), folder / "scan.nii.gz")
    shutil.rmtree(folder / "heart")


def heart_labels(folder):
    phantom.write_acdc(folder / "heart", patients=1)
    labels = volume.read(next(folder.rglob("*_frame01_gt.nii.gz")))
    volume.write(labels, folder / "labels.nii.gz")
    shutil.rmtree(folder / "heart")


def acdc_run(folder):
    heart(folder)
    tiny = shrunk()
    write_run(folder / "run", "acdc_segmenter_tf", tiny, {"": predict.network(tiny)}, datasets.acdc.STRUCTURES)


def predicted(folder):
    acdc_run(folder)
    predict.main(["--weights", str(folder / "run"), str(folder / "scan.nii.gz"), "-o", str(folder / "out")])
    rows = [{**row, "scan": f"{row['scan']}_before"} for row in read_csv(folder / "out" / "volumes.csv")]
    write_csv(folder / "out" / "volumes.csv", rows)


def dr_unet_run(folder):
    heart(folder)
    quick = dr_unet_recipe.quick(dr_unet_recipe.RECIPES["multi_stage_f32"])
    tiny = replace(quick, **DR_UNET, **GRIDS["heart"], input_factors=(1, 1, 1))
    networks = {"": dr_unet_predict.network(tiny), dr_unet_predict.LOCALISER: dr_unet_predict.localiser_network(tiny)}
    write_run(folder / "run", "dr_unet", tiny, networks, datasets.acdc.STRUCTURES)


def propagation_run(folder):
    heart(folder)
    write_text(folder / "bases.csv", "patient,ed_base,es_base\nscan,0,1\n")
    (folder / "scan.nii.gz").rename(folder / "scan_ED.nii.gz")
    tiny = replace(propagation_recipe.quick(propagation_recipe.RECIPES["propagation"]), **PROPAGATION)
    networks = {"": propagation_predict.propagation_network(tiny),
                propagation_predict.INITIALIZATION: propagation_predict.initialization_network(tiny)}  # fmt: skip
    write_run(folder / "run", "propagation", tiny, networks, propagation_predict.STRUCTURES)


def trained(folder):
    """A run that was trained to its last step, but neither scored nor finished."""
    phantom.write_acdc(folder / "data", patients=5)
    train.main(["--dataset", "acdc", "--data-root", str(folder / "data"), *TINY_RUN[:-1], str(folder / "runs")])
    run = next((folder / "runs").rglob("run.json")).parent
    for name in (runs.SUMMARY, held_out.CASES):
        (run / name).unlink()
    record = json.loads((run / "run.json").read_text())
    write_json(run / "run.json", {key: value for key, value in record.items() if key != "weights"})


# The authors' files -------------------------------------------------------------------------------------------------------------


def narrow_network():
    return test_propagation_released.narrow("roi_net")


def keras_file(folder):
    authors_files.write(folder / "roi_net.h5", test_propagation_released.seeded_weights(narrow_network()))


def read_keras_file(folder, cache=[]):  # noqa: B006
    cache[:] = cache or [narrow_network()]
    propagation_released.fill(cache[0], folder / "roi_net.h5")


def checksums(folder):
    keras_file(folder)
    digest = propagation_released.sha256(folder / "roi_net.h5")
    write_text(folder / propagation_released.SUMS, f"{'0' * 64}  lvrv_net.h5\n{digest}  roi_net.h5\n")


def small_network():
    return model.build("unet2d_modified", (20, 20), width=2)


def checkpoint(folder):
    weights = test_released.seeded_weights(test_released.NAME, width=2)
    test_released.save(folder / "model.ckpt-99", weights | test_released.training_state(weights))


def read_checkpoint(folder, cache=[]):  # noqa: B006
    cache[:] = cache or [small_network()]
    released.fill(cache[0], released.Checkpoint(folder))


def everything(folder):
    """What arguments of any command may name."""
    acdc_run(folder)
    acdc(folder)
    label_folders(folder)
    bases(folder)


def arguments(name, command, *words, **more):
    return Subject(
        name=f"arguments of {name}", make=more.pop("make", everything), command=command, arguments=words, damages=(), **more
    )


DATA = ("--dataset", "acdc", "--data-root", "data")
FETCH = ("fetch", "roi_net", "--to", ".", "--base", "http://127.0.0.1:9")  # where nobody answers
PREDICTION = ("--weights", "run", "scan.nii.gz", "-o", "seg.nii.gz")
ON_SCAN = ("seg.nii.gz", "scan.nii.gz")
SUBJECTS = [
    *(image(name) for name in ("scan.nii", "scan.nii.gz", "packed.nrrd", "raw.nrrd", "pair.nhdr")),
    *(image(name) for name in ("packed.mha", "raw.mha", "pair.mhd")),
    image("cine.nii.gz", CINE),
    Subject(name="label map", make=label_folders, reader=lambda folder: volume.read_labels(folder / "references/a_ED.nii.gz"),
            damages=("references/a_ED.nii.gz",)),
    Subject(name="DICOM slices", make=slices, reader=lambda folder: volume.read(folder / "scan"), rounds=100),
    Subject(name="DICOM study", make=lambda folder: write_study(folder / "scan", CINE),
            reader=lambda folder: volume.read(folder / "scan"), rounds=60),
    Subject(name="Enhanced DICOM", make=enhanced, reader=lambda folder: volume.read(folder / "scan.dcm"), rounds=100),
    Subject(name="acdc", make=acdc, reader=read_data_set("acdc", ("RV", "Myo", "LV"))),
    Subject(name="Info.cfg", make=acdc, reader=read_data_set("acdc", ("LV",)), damages=("**/Info.cfg",)),
    Subject(name="lasc", make=lasc, reader=read_data_set("lasc", ("LA",))),
    Subject(name="nnunet", make=nnunet, reader=read_data_set("nnunet", ("RV", "LV"))),
    Subject(name="dataset.json", make=nnunet, reader=read_data_set("nnunet", ("RV", "LV")), damages=("**/dataset.json",)),
    Subject(name="stacom", make=stacom, reader=read_data_set("stacom", ("BV",))),
    Subject(name="cases.csv", make=tables, damages=("**/cases.csv",), reader=lambda folder: report.summarise(
        report.read_cases(next(folder.rglob("cases.csv"), folder / "cases.csv"), held_out.COLUMNS))),
    Subject(name="bases.csv", make=bases, reader=lambda folder: masks.read_bases(folder / "bases.csv")),
    Subject(name="regions.csv", make=regions, reader=read_regions),
    Subject(name="authors' .h5", make=keras_file, reader=read_keras_file, rounds=80, sampled=3),
    Subject(name="authors' checkpoint", make=checkpoint, reader=read_checkpoint, rounds=80, sampled=0),
    Subject(name="SHA256SUMS", make=checksums, command="propagation.released", damages=("SHA256SUMS", "*.h5"),
            arguments=FETCH, rounds=60, sampled=3),
    Subject(name="evaluation", make=label_folders, command="shared.evaluation",
            arguments=("predictions", "references", "--structures", "1=RV,2=Myo,3=LV"), rounds=60),
    Subject(name="table", make=tables, command="scripts.reproduce_table",
            arguments=("baumgartner2017", "1", "--report-only", "--workdir", "runs"), rounds=40),
    Subject(name="mesh", make=heart_labels, command="propagation.mesh", arguments=("labels.nii.gz", "-o", "heart.stl"),
            rounds=40, sampled=0),
    Subject(name="run of acdc_segmenter_tf", make=acdc_run, command="acdc_segmenter_tf.predict", arguments=PREDICTION,
            label_map=ON_SCAN, damages=("run/**/*",), rounds=50, sampled=3),
    Subject(name="scan to segment", make=acdc_run, command="acdc_segmenter_tf.predict", arguments=PREDICTION,
            label_map=ON_SCAN, damages=("scan.nii.gz",), rounds=60, sampled=0),
    Subject(name="tables beside label maps", make=predicted, command="acdc_segmenter_tf.predict",
            arguments=("--weights", "run", "scan.nii.gz", "-o", "out"), label_map=("out/scan.nii.gz", "scan.nii.gz"),
            damages=("out/*",), rounds=25, sampled=0),
    Subject(name="run of dr_unet", make=dr_unet_run, command="dr_unet.predict", arguments=PREDICTION, label_map=ON_SCAN,
            rounds=30, sampled=0),
    Subject(name="run of propagation", make=propagation_run, command="propagation.predict",
            arguments=("--weights", "run", "scan_ED.nii.gz", "-o", "seg.nii.gz", "--bases", "bases.csv"),
            label_map=("seg.nii.gz", "scan_ED.nii.gz"), rounds=30, sampled=0),
    Subject(name="run to go on with", make=trained, command="acdc_segmenter_tf.train", arguments=(*DATA, *TINY_RUN),
            damages=("runs/acdc_segmenter_tf/**/*",), rounds=16, sampled=0),
    arguments("shared.evaluation", "shared.evaluation", "predictions", "references", "--structures", "acdc", "-o", "out.csv"),
    arguments("shared.phantom", "shared.phantom.__main__", "nnunet", "made", "--patients", "1", "--seed", "0", make=label_folders,
              stops=("shared.phantom.layouts.draw_patient", "shared.phantom.layouts.render_atrium")),
    arguments("propagation.mesh", "propagation.mesh", "labels.nii.gz", "-o", "heart.stl", "--labels", "2,3", "--step-mm", "4",
              "--smoothing-mm", "2", make=heart_labels, rounds=40, sampled=0),
    arguments("propagation.released", "propagation.released", *FETCH, make=checksums, rounds=30, sampled=2),
    arguments("reproduce_table", "scripts.reproduce_table", "baumgartner2017", "2", "--report-only", "--workdir", "runs",
              "--preset", "quick", "--fold", "0", make=tables, rounds=40, sampled=3),
    arguments("propagation.figures", "propagation.figures", *DATA, "--patient", "patient001", "-o", "sheet.png",
              "--variants", "0", make=lambda folder: phantom.write_acdc(folder / "data", patients=1), rounds=25, sampled=0),
    arguments("acdc_segmenter_tf.predict", "acdc_segmenter_tf.predict", *PREDICTION, label_map=ON_SCAN, sampled=0),
    arguments("propagation.predict", "propagation.predict", "--weights", "run", "scan_ED.nii.gz", "-o", "seg.nii.gz",
              "--base", "1", make=propagation_run, rounds=30, sampled=0),
    *(arguments(f"{package}.train", f"{package}.train", *DATA, "--set", f"{field}=8", "--set", f"{more}=0.5", "--fold", "0",
                "--seed", "7", "--preset", "quick", "--workdir", "runs", make=acdc,
                stops=(f"{package}.train.train",), rounds=60, sampled=4)
      for package, field, more in (("acdc_segmenter_tf", "width", "rotation_deg"), ("dr_unet", "epochs", "learning_rate"),
                                   ("propagation", "size", "rv_wall_mm"))),
]  # fmt: skip

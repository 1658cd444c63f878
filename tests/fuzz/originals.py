"""What is damaged: small valid files of every kind that the package reads, the same bytes every time but for durations."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pydicom
import SimpleITK as sitk

from shared import datasets, held_out, phantom, recipes, runs
from shared.comparison import cost
from shared.files import read_csv, write_csv, write_json, write_text
from shared.lazy import lazily
from shared.scans import volume
from tests.conftest import shrunk
from tests.dense_unet.conftest import TINY as DENSE
from tests.dr_unet.conftest import GRIDS
from tests.dr_unet.conftest import TINY as DR_UNET
from tests.experiments import ORIGIN, baumgartner
from tests.propagation.conftest import TINY as PROPAGATION
from tests.propagation.released import authors_files
from tests.scripts.test_reproduce_table import case_rows
from tests.shared.scans.test_dicom import SHARED, enhanced_frames, write_enhanced, write_stack, write_study
from tests.two_stage_unet.conftest import TINY as TWO_STAGE
from tests.volumes import oblique

with lazily():
    from acdc_segmenter_tf import model, predict, train
    from dense_unet import predict as dense_predict
    from dense_unet import recipe as dense_recipe
    from dr_unet import localisation
    from dr_unet import predict as dr_unet_predict
    from dr_unet import recipe as dr_unet_recipe
    from propagation import predict as propagation_predict
    from propagation import recipe as propagation_recipe
    from propagation.released import fetching as propagation_fetching
    from shared.learning import training
    from tests.acdc_segmenter_tf import test_released
    from tests.propagation.released import small
    from two_stage_unet import predict as two_stage_predict
    from two_stage_unet import recipe as two_stage_recipe

CINE = oblique((6, 5, 3, 4), frame_s=0.04)
RANDOM = ("1.2.826.0.1.3680043.", "2.25.")  # how identifiers of GDCM and pydicom begin
SCAN = CINE.frame(0)  # 0, 4, 8, ...
LABELS = SCAN.with_array((SCAN.array // 4 % 4).astype(np.uint8))
TINY_RUN = ["--preset", "quick", "--set", "width=2", "--set", "image_shape=36,36", "--set", "steps=2", "--set",
            "validate_every=2", "--set", "precision=float32", "--workdir", "runs"]  # fmt: skip


# Images -------------------------------------------------------------------------------------------------------------------------


def packed(path, scan):
    volume.write(scan, path)


def raw(path, scan):
    """Raw voxels, and headers with their data beside them, which the package reads but does not write."""
    sitk.WriteImage(sitk.GetImageFromArray(scan.array.T), str(path), useCompression=False)


def slices(folder):
    write_stack(folder / "scan", SCAN)
    settle(folder)


def study(folder):
    write_study(folder / "scan", CINE)
    settle(folder)


def enhanced(folder):
    write_enhanced(folder / "scan.dcm", CINE, enhanced_frames(CINE), SHARED)
    settle(folder)


def settle(folder):
    """Take what is new in every writing, dates and random identifiers, out of DICOM files."""
    for number, path in enumerate(sorted(path for path in folder.rglob("*") if path.is_file())):
        dataset = pydicom.dcmread(path)
        for part in (dataset.file_meta, dataset):
            for element in part:
                if element.VR in ("DA", "TM"):
                    element.value = ""
                elif element.VR == "UI" and str(element.value).startswith(RANDOM):
                    element.value = f"1.2.3.{element.tag.element}.{number}"
        dataset.save_as(path)


def label_folders(folder):
    for name in ("predictions", "references"):
        volume.write(LABELS, folder / name / "a_ED.nii.gz")
        volume.write(LABELS, folder / name / "b.nrrd")


# Data sets ----------------------------------------------------------------------------------------------------------------------


def acdc(folder, patients=2):
    for patient in (f"patient{number:03d}" for number in range(1, patients + 1)):
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


def mmwhs(folder):
    values = np.array([0, 500, 205, 850], np.uint16)
    for name in ("mr_train_1001", "mr_train_1002"):
        volume.write(SCAN, folder / "data" / "mr_train" / f"{name}_image.nii.gz")
        volume.write(LABELS.with_array(values[LABELS.array]), folder / "data" / "mr_train" / f"{name}_label.nii.gz")


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
    run = baumgartner(folder / "runs").folder
    write_json(run / runs.RECORD, {"recipe": {"width": 16}})
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


# Runs ---------------------------------------------------------------------------------------------------------------------------


def write_run(folder, package, tiny, networks, structures):
    """A run folder with networks that were never trained: stage ("" is the last) -> network. Without fingerprints of the weights,
    as runs are while they train, so that damaged weights are read."""
    split = {"train": ["patient001"], "validation": ["patient002"], "test": ["patient002"]}
    record = {"package": package, "experiment": "fuzz", "preset": "quick", "dataset": "acdc", "fold": 0, "seed": 0,
              "recipe": recipes.flat(tiny), "structures": structures, "split": split, "data": "digest", "backend": "tensorflow",
              "ignore": None, **ORIGIN, "seconds": {"train": 1.0}}  # fmt: skip
    for stage, network in networks.items():
        (folder / stage).mkdir(parents=True, exist_ok=True)
        network.save_weights(folder / stage / runs.BEST)
    write_json(folder / runs.RECORD, record)


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
    training.seed_everything(0)
    tiny = shrunk()
    write_run(folder / "run", "acdc_segmenter_tf", tiny, {"": predict.network(tiny)}, datasets.acdc.STRUCTURES)


def predicted(folder):
    acdc_run(folder)
    predict.main(["--weights", str(folder / "run"), str(folder / "scan.nii.gz"), "-o", str(folder / "out")])
    rows = [{**row, "scan": f"{row['scan']}_before"} for row in read_csv(folder / "out" / "volumes.csv")]
    write_csv(folder / "out" / "volumes.csv", rows)


def dr_unet_run(folder):
    heart(folder)
    training.seed_everything(0)
    quick = dr_unet_recipe.quick(dr_unet_recipe.RECIPES["multi_stage_f32"])
    tiny = recipes.replace(quick, **DR_UNET, **GRIDS["heart"], input_factors=(1, 1, 1))
    localiser = dr_unet_predict.LOCALISER
    networks = {"": dr_unet_predict.network(tiny), localiser: dr_unet_predict.network(tiny, localiser)}
    write_run(folder / "run", "dr_unet", tiny, networks, datasets.acdc.STRUCTURES)


def dense_run(folder):
    heart(folder)
    training.seed_everything(0)
    tiny = recipes.replace(dense_recipe.quick(dense_recipe.DENSE), **DENSE)
    structures = datasets.values_to_write(datasets.acdc.STRUCTURES, tiny.preparation.structures)
    write_run(folder / "run", "dense_unet", tiny, {"": dense_predict.network(tiny)}, structures)


def two_stage_run(folder):
    heart(folder)
    training.seed_everything(0)
    quick = two_stage_recipe.quick(two_stage_recipe.RECIPES["two_stage"])
    tiny = recipes.replace(quick, **TWO_STAGE, steps=(1, 4))
    stages = {"": two_stage_predict.NET2, "step1": two_stage_predict.NET1}
    networks = {stage: two_stage_predict.network(tiny, name) for stage, name in stages.items()}
    write_run(folder / "run", "two_stage_unet", tiny, networks, datasets.acdc.STRUCTURES)


def split(folder):
    acdc(folder, patients=5)
    sides = {"train": ["patient001", "patient002"], "validation": ["patient003"], "test": ["patient004"]}
    write_json(folder / "split.json", sides)


def compared(folder):
    """Label maps of the one patient that tests on the common split, and what their prediction cost."""
    acdc(folder, patients=5)
    for phase in ("ED", "ES"):
        volume.write(LABELS, folder / "predictions" / f"patient005_{phase}.nii.gz")
    measured = cost.Prediction(1000, 2.5, 0.5, "patient005_ED", "two cores", "digest")
    write_json(folder / cost.KEPT, {"net": asdict(measured)})


def propagation_run(folder):
    heart(folder)
    write_text(folder / "bases.csv", "patient,ed_base,es_base\nscan,0,1\n")
    (folder / "scan.nii.gz").rename(folder / "scan_ED.nii.gz")
    training.seed_everything(0)
    tiny = recipes.replace(propagation_recipe.quick(propagation_recipe.RECIPES["propagation"]), **PROPAGATION)
    first = propagation_predict.INITIALIZATION
    networks = {"": propagation_predict.network(tiny), first: propagation_predict.network(tiny, first)}
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
    return small.narrow("roi_net")


def keras_file(folder):
    authors_files.write(folder / "roi_net.h5", small.seeded_weights(narrow_network()))


def checksums(folder):
    keras_file(folder)
    digest = propagation_fetching.sha256(folder / "roi_net.h5")
    write_text(folder / propagation_fetching.SUMS, f"{'0' * 64}  lvrv_net.h5\n{digest}  roi_net.h5\n")


def small_network():
    return model.build("unet2d_modified", (20, 20), width=2)


def checkpoint(folder):
    weights = test_released.seeded_weights(test_released.NAME, width=2)
    test_released.save(folder / "model.ckpt-99", weights | test_released.training_state(weights))


def everything(folder):
    """What arguments of any command may name."""
    acdc_run(folder)
    acdc(folder)
    label_folders(folder)
    bases(folder)

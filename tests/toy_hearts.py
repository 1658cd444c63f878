"""Hearts of a few voxels in ACDC's layout, and label maps that differ from their references in known ways."""

import numpy as np

from shared import datasets
from shared.datasets import splits
from shared.files import write_json, write_text
from shared.runs import Experiment
from shared.scans import volume
from shared.scans.volume import from_array

SPACING_MM = (2.0, 2.0, 10.0)
GROUPS = ("DCM", "HCM", "MINF", "NOR", "RV")


def heart(es=False):
    """(14, 12, 8): RV 1, Myo 2 and LV 3 in slices 1 to 6, from base to apex; every voxel has 0.04 ml.

    LV: 4 x 4 voxels (at ES 2 x 4) in slices 1 to 4, 2 x 2 in 5 and 6. RV: 2 x 4 in slices 1 to 4.
    """
    labels = np.zeros((14, 12, 8), np.uint8)
    labels[1:3, 4:8, 1:5] = 1
    labels[4:10, 3:9, 1:7] = 2
    labels[5 : 7 if es else 9, 4:8, 1:5] = 3
    labels[6:8, 5:7, 5:7] = 3
    return labels


def write_acdc(root, patients=10):
    """The data set; patient005 and patient010 test on the common split. Returns its cases."""
    for number in range(1, patients + 1):
        name = f"patient{number:03d}"
        place = root / "training" / name
        write_text(place / "Info.cfg", f"ED: 1\nES: 9\nGroup: {GROUPS[(number // 5) % 5]}\n")
        for frame, es in ((1, False), (9, True)):
            grey = heart(es) * 40.0 + np.random.default_rng(number).normal(0, 5, heart().shape)
            volume.write(from_array(grey.astype(np.int16), SPACING_MM), place / f"{name}_frame{frame:02d}.nii.gz")
            volume.write(from_array(heart(es), SPACING_MM), place / f"{name}_frame{frame:02d}_gt.nii.gz")
    return datasets.find("acdc", root)


def shifted(labels):
    """One voxel further along y."""
    return np.roll(labels, 1, axis=1)


def without_apex(labels):
    """The last two slices are missing."""
    return labels * (np.arange(labels.shape[2]) < 5)


def write_maps(folder, cases, change=lambda labels: labels):
    """Label maps called like the cases, in the place of what a program would have predicted."""
    for case in cases:
        reference = volume.read_labels(case.label)
        changed = change(reference.array).astype(np.uint8)
        volume.write(reference.with_array(changed), folder / f"{case.name}.nii.gz")


def finish_run(workdir, package, name, cases, change, structures=None, split="common", fields=()):
    """The folder of a run that is finished as far as files tell. Returns it."""
    experiment = Experiment(package=package, name=name, preset="quick", dataset="acdc", split=split, workdir=workdir)
    given = splits.given(split, "acdc", cases)
    write_maps(experiment.folder / "predictions", given.of(cases, "test"), change)
    record = {"command": "train", "commit": "c0ffee", "hardware": "two cores", "recipe": dict(fields), "weights": {"w": "digest"},
              "structures": structures or {"1": "RV", "2": "Myo", "3": "LV"}, "seconds": {"prepare train": 5, "train net": 90},
              "split": {side: list(getattr(given, side)) for side in splits.SIDES}}  # fmt: skip
    write_json(experiment.folder / "run.json", record)
    write_text(experiment.folder / "summary.md", "")
    return experiment.folder

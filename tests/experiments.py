"""The experiments that tests train, one function per paper, and a run that is open without training."""

from shared.datasets.splits import Split
from shared.lifecycle import Run
from shared.runs import Experiment, Record

ORIGIN = {"command": "train", "commit": "c", "hardware": "h"}


def baumgartner(workdir, name="unet2d_modified_wxent", dataset="acdc", **more):
    return Experiment(package="acdc_segmenter_tf", name=name, dataset=dataset, workdir=workdir, **more)


def penso(workdir, name="dense_half_wce", dataset="acdc", **more):
    return Experiment(package="dense_unet", name=name, dataset=dataset, workdir=workdir, **more)


def vesal(workdir, name="multi_stage_f8", dataset="lasc", **more):
    return Experiment(package="dr_unet", name=name, dataset=dataset, workdir=workdir, **more)


def zheng(workdir, name="propagation", dataset="acdc", **more):
    return Experiment(package="propagation", name=name, dataset=dataset, workdir=workdir, **more)


def open_run(experiment, cases, digest="digest"):
    """A run in which all cases train."""
    split = Split(tuple({case.patient: None for case in cases}), ("nobody",), ("nobody",))
    record = Record(experiment.folder, {}, lambda: ORIGIN)
    return Run(experiment, tuple(cases), split, {case.name: digest for case in cases}, record)

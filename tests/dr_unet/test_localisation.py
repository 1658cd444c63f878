"""Localisers: what they learn, the regions that they find, and which run may lend its own to another."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dr_unet import localisation
from dr_unet import predict as prediction
from dr_unet import train as training_command
from dr_unet.gcam import Region
from shared import datasets
from shared.datasets import splits
from shared.errors import InputError
from shared.files import read_csv, write_csv, write_json
from shared.scans import volume
from shared.scans.volume import from_array
from tests.dr_unet.commands import refused, settings
from tests.experiments import vesal

# What it learns -------------------------------------------------------------------------------------------------------------


def learned(preparation, image, labels):
    """Image and labels that the localiser learns from where a case has these on the working grid."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(localisation, "prepared_pair", lambda *_: (image, labels))
        channels = localisation.prepared(None, preparation)
    return channels["image"], channels["label"]


def test_the_localiser_learns_any_structure_at_low_resolution(tiny):
    preparation = tiny("multi_stage_f32", localiser_factors=(2, 2, 1)).preparation
    labels = from_array(np.random.default_rng(0).integers(0, 4, preparation.image_shape).astype(np.uint8))
    image = labels.with_array(labels.array.astype(np.float32))
    seen, marked = learned(preparation, image, labels)
    blocks = (labels.array > 0).reshape(16, 2, 16, 2, 16).sum(axis=(1, 3))
    assert set(np.unique(marked)) == {0, 1}
    np.testing.assert_array_equal(marked[blocks != 2], (blocks > 2)[blocks != 2])
    np.testing.assert_allclose(seen, image.array.reshape(16, 2, 16, 2, 16).mean(axis=(1, 3)))


def test_ignored_voxels_stay_ignored_on_the_way_to_the_localiser(tiny):
    labels = np.zeros((24, 24, 16), np.uint8)
    labels[:8], labels[8:12] = datasets.IGNORED, 2
    _, seen = learned(tiny("multi_stage_f8").preparation, from_array(labels.astype(np.float32)), from_array(labels))
    assert seen.shape == (24, 24, 8)
    assert (seen[:8] == datasets.IGNORED).all() and (seen[8:12] == 1).all() and not seen[12:].any()


# Regions --------------------------------------------------------------------------------------------------------------------


def test_regions_csv_has_every_case_and_what_its_region_holds(multi_stage, lasc_cases, tiny):
    recipe, rows = tiny("multi_stage_f8"), read_csv(multi_stage / "regions.csv")
    given = recipe.preparation
    assert {row["case"] for row in rows} == {case.name for case in lasc_cases} and len(rows) == 10
    split = json.loads((multi_stage / "run.json").read_text())["split"]
    localiser = prediction.load(multi_stage).localiser
    by_name = {case.name: case for case in lasc_cases}
    for row in rows:
        assert row["case"] in split[row["side"]] and row["found"] in (0, 1) and 0 <= row["share_inside"] <= 1
        starts = [int(row[f"start_{axis}"]) for axis in "xyz"]
        assert all(0 <= s <= n - m for s, n, m in zip(starts, given.image_shape, given.crop_shape, strict=True))
    for row in (rows[0], rows[-1]):
        image, labels = datasets.load_pair(by_name[row["case"]], ("LA",))
        x, y, z = (int(row[f"start_{axis}"]) for axis in "xyz")
        foreground = prediction.prepare_labels(labels, given).array > 0
        share = np.count_nonzero(foreground[x : x + 16, y : y + 16, z : z + 16]) / np.count_nonzero(foreground)
        assert row["share_inside"] == pytest.approx(share)
        assert prediction.locate(localiser, prediction.prepare(image, given), recipe)[1].starts == (x, y, z)


@pytest.mark.parametrize(("old", "new"), [
    ("a,test,1,3,", "a,test,1,,"), ("a,test,1,3,", "a,test,1,3.5,"), ("a,test,1,3,", "a,test,1,1e9,"), ("a,test,1,", "a,test,,"),
    ("a,test", "c,test"), ("b,train,1,0,0,0,0.5\n", ""),
])  # fmt: skip
def test_regions_that_are_damaged_or_of_other_cases_are_refused(old, new, tmp_path):
    text = "case,side,found,start_x,start_y,start_z,share_inside\na,test,1,3,-1,0,0.75\nb,train,1,0,0,0,0.5\n"
    path = tmp_path / "regions.csv"
    path.write_text(text)
    shape = (16, 16, 16)
    assert localisation.read_regions(path, {"a", "b"}, shape)["a"] == Region((3, -1, 0), shape, True)
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=r"regions\.csv: not the regions of this run's 2 cases; remove the file"):
        localisation.read_regions(path, {"a", "b"}, shape)


def test_the_summary_says_what_the_test_regions_hold(multi_stage):
    shares = [row["share_inside"] for row in read_csv(multi_stage / "regions.csv") if row["side"] == "test"]
    line = next(line for line in (multi_stage / "summary.md").read_text().splitlines() if line.startswith("Share"))
    assert f"2 test volumes: mean {np.mean(shares):.4f}, least {min(shares):.4f}" in line
    assert all(f" {share:.4f}" in line.partition("below 0.995:")[2] for share in shares if share < 0.995)


# A lent localiser -----------------------------------------------------------------------------------------------------------


def without_atrium(cases, folder):
    """The cases with all-zero label maps in `folder`."""
    for case in cases:
        reference = volume.read(case.label)
        volume.write(reference.with_array(np.zeros_like(reference.array)), folder / f"{case.name}.nrrd")
    return [replace(case, label=folder / f"{case.name}.nrrd") for case in cases]


@pytest.fixture(scope="module")
def borrowed(multi_stage, lasc_cases, tiny, tmp_path_factory):
    """A run with the localiser of another, and no atrium in any test scan."""
    folder = tmp_path_factory.mktemp("borrowed")
    recipe = tiny("multi_stage_f8", epochs=1, crop_shape=(16, 24, 16))
    test = splits.hold_out(lasc_cases, 5, 5, 0, 0).of(lasc_cases, "test")
    cases = [*(case for case in lasc_cases if case not in test), *without_atrium(test, folder)]
    return training_command.train(recipe, cases, vesal(folder / "runs"), localiser=multi_stage)


def test_a_lent_localiser_is_used_as_it_is(borrowed, multi_stage):
    weights = Path("localiser") / "best.weights.h5"
    assert (borrowed / weights).read_bytes() == (multi_stage / weights).read_bytes()
    assert sorted(path.name for path in (borrowed / "localiser").iterdir()) == ["best.weights.h5"]
    record = json.loads((borrowed / "run.json").read_text())
    assert record["localiser"] and list(record["result"]) == ["segmenter"]
    theirs, ours = ({row["case"]: row["start_x"] for row in read_csv(run / "regions.csv")} for run in (multi_stage, borrowed))
    assert theirs == ours  # along x the crops are as wide


def test_test_scans_without_atrium_are_scored_and_drawn(borrowed):
    rows = {row["case"]: row for row in read_csv(borrowed / "regions.csv") if row["side"] == "test"}
    assert all(math.isnan(row["share_inside"]) for row in rows.values())
    for row in read_csv(borrowed / "cases.csv"):
        assert row["case"] in rows and row["reference_ml"] == 0
        assert row["dice"] == (1 if row["volume_ml"] == 0 else 0)
    assert "No foreground in any of the 2 test volumes." in (borrowed / "summary.md").read_text()
    assert (borrowed / "figures/localisation.png").exists() and (borrowed / "figures/volumes.png").exists()


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        (["1", "0.9"], "2 test volumes: mean 0.9500, least 0.9000; below 0.995: B 0.9000."),
        (["1", "0.996"], "mean 0.9980, least 0.9960; below 0.995: none."),
        (["", "0.9"], "1 of 2 test volumes: mean 0.9000, least 0.9000; below 0.995: B 0.9000."),
        (["", ""], "No foreground in any of the 2 test volumes"),
    ],
)
@pytest.mark.parametrize("others", ["1", ""])
def test_the_share_of_volumes_without_foreground_is_left_out(shares, words, others, tmp_path):
    rows = [{"case": name, "side": "test", "share_inside": share} for name, share in zip("AB", shares, strict=True)]
    write_csv(tmp_path / "regions.csv", [*rows, {"case": "C", "side": "train", "share_inside": others}])
    assert words in localisation.share_line(tmp_path, "test")


@pytest.mark.parametrize(
    ("dataset", "experiment", "more", "words"),
    [
        ("lasc", "multi_stage_f8", ["--set", "keep_z=true"], "trained with keep_z False, this experiment has True"),
        ("acdc", "multi_stage_f32", [], "trained with structures ('LA',), this experiment has ('RV', 'Myo', 'LV')"),
        ("lasc", "multi_stage_f8", ["--set", "localiser_width=3"], "trained with localiser_width 2, this experiment has 3"),
        ("lasc", "multi_stage_f8", ["--fold", "1"], "trained on patients that this experiment holds out, among them "),
        ("lasc", "dr_unet_f8", [], "both experiments must be multi-stage, found multi_stage and single"),
    ],
)
def test_a_localiser_of_another_kind_is_refused(
    dataset, experiment, more, words, multi_stage, lasc_root, phantom_root, tiny, tmp_path, capsys
):
    root = {"lasc": lasc_root, "acdc": phantom_root}[dataset]
    error = refused(capsys, "--dataset", dataset, "--data-root", root, "--experiment", experiment, "--workdir", tmp_path / "runs",
                    "--localiser", multi_stage, *settings(tiny(experiment)), *more)  # fmt: skip
    assert words in error and not (tmp_path / "runs").exists()


def test_a_lent_localiser_has_not_seen_who_a_given_split_holds_out(multi_stage, lasc_root, tiny, tmp_path, capsys):
    """The paper's own rule, which says otherwise, does not count then."""
    sides = json.loads((multi_stage / "run.json").read_text())["split"]
    learned, *others = sides["train"]
    for name, split in (("leak", {"train": [*others, *sides["test"]], "validation": sides["validation"], "test": [learned]}),
                        ("less", {**sides, "train": others})):  # fmt: skip
        write_json(tmp_path / f"{name}.json", split)
    arguments = ["--dataset", "lasc", "--data-root", lasc_root, "--experiment", "multi_stage_f8", "--localiser", multi_stage,
                 "--workdir", tmp_path / "runs", *settings(tiny("multi_stage_f8", epochs=1))]  # fmt: skip
    assert f"holds out, among them {learned}" in refused(capsys, *arguments, "--split", tmp_path / "leak.json")
    assert not (tmp_path / "runs").exists()
    training_command.main([str(argument) for argument in (*arguments, "--split", tmp_path / "less.json")])
    assert (tmp_path / "runs/dr_unet/multi_stage_f8-quick/lasc/split_less/summary.md").exists()


@pytest.mark.parametrize(("file", "words"), [(None, "not a run of this package"), ("run.json", "localiser/best.weights.h5")])
def test_what_lends_no_localiser_is_refused(file, words, multi_stage, lasc_root, tiny, tmp_path, capsys):
    if file:
        (tmp_path / file).write_bytes((multi_stage / file).read_bytes())
    error = refused(capsys, "--dataset", "lasc", "--data-root", lasc_root, "--experiment", "multi_stage_f8",
                    "--workdir", tmp_path / "runs", "--localiser", tmp_path, *settings(tiny("multi_stage_f8")))  # fmt: skip
    assert words in error and not (tmp_path / "runs").exists()

"""How a finished run is scored, and how its folds are pooled."""

import re
from pathlib import Path

import numpy as np
import pytest

from shared import held_out, runs
from shared.datasets import Case
from shared.errors import InputError
from shared.files import read_csv, write_csv, write_json
from shared.held_out import Scorer
from shared.runs import Experiment, Record
from shared.scans import volume
from shared.scoring import tables
from tests.experiments import ORIGIN


def square(*columns):
    """(4, 4, 2) labels: the given columns are 1."""
    array = np.zeros((4, 4, 2), np.uint8)
    array[list(columns)] = 1
    return volume.from_array(array, (2.0, 2.0, 5.0))


@pytest.fixture
def cases(tmp_path):
    found = []
    for name in ("a", "b"):
        image, label = tmp_path / f"{name}.nii", tmp_path / f"{name}_gt.nii"
        volume.write(square(1).with_array(np.arange(32, dtype=np.int16).reshape(4, 4, 2)), image)
        volume.write(square(1), label)
        found.append(Case(patient=name, phase="", image=image, label=label, group="", structures={1: "LA"}))
    return found


@pytest.fixture
def evaluate(tmp_path, cases):
    """Scores the two cases with a `Scorer` of these functions, and returns the run folder and its summary."""

    def evaluate(history="val_loss", predict=lambda *_: (square(1, 2), {}), **functions):
        experiment = Experiment(package="paper", name="small", dataset="acdc", workdir=tmp_path)
        row = {"step": 1, "loss": 0.5, history: 0.5, "val_dice": 0.5}
        write_csv(experiment.folder / "history.csv", [row, row])
        identity = {"dataset": "acdc", "data": "d" * 20, "structures": {1: "LA"}}
        record = Record(experiment.folder, identity, lambda: ORIGIN)
        record.took("train", 3.0)
        held_out.evaluate(experiment, record, cases, Scorer(predict=predict, **functions))
        return experiment.folder, (experiment.folder / "summary.md").read_text()

    return evaluate


def test_scores_on_the_scans_grid_alone(evaluate):
    folder, summary = evaluate()
    assert "paper's grid" not in summary and summary.count("| LA | all |") == 1
    assert [path.name for path in folder.glob("cases*.csv")] == ["cases.csv"]
    assert runs.read_record(folder)["seconds"].keys() == {"train", "evaluate"}
    assert summary.startswith("# small (paper) on acdc, fold 0\n") and "- command: `train`" in summary


def test_scores_on_the_papers_grid_too(evaluate, capsys):
    asked = []

    def predict(case, scan, reference):
        asked.append((case.name, scan.array.max(), reference.array.sum()))
        return square(1, 2), {held_out.RESAMPLED: (square(1), square(*((1,) if case.name == "a" else (1, 2, 3))))}

    folder, summary = evaluate(predict=predict)
    assert asked == [("a", 31, 8), ("b", 31, 8)]
    native, other = (read_csv(folder / name) for name in ("cases.csv", "cases_resampled.csv"))
    assert [list(row) for row in other] == [list(row) for row in native]
    assert [row["dice"] for row in native] == pytest.approx([2 / 3] * 2)  # 2 * 1 / (2 + 1)
    assert [(row["case"], row["dice"]) for row in other] == [("a", 1), ("b", 0.5)]  # 2 * 1 / (1 + 3)
    first, second = summary.split("On the paper's grid:")
    assert "| LA | all | 2 | 0.667 (0.000) |" in first and "| LA | all | 2 | 0.750 (0.250) |" in second
    assert "On the paper's grid:" in capsys.readouterr().out


def test_scores_are_read_as_the_run_wrote_them(evaluate):
    folder, _ = evaluate()
    path, columns = folder / "cases.csv", ["dice"]
    rows, text = held_out.read_scores(folder, "cases.csv", columns), path.read_text()
    assert [(row["case"], row["dice"]) for row in rows] == [("a", pytest.approx(2 / 3)), ("b", pytest.approx(2 / 3))]
    path.write_bytes(text.replace("\n", "\r\n").encode())  # as another system copies it
    assert held_out.read_scores(folder, "cases.csv", columns) == rows
    for changed in (text.replace("0.66666", "0.76666"), "".join(text.splitlines(keepends=True)[:-1])):
        path.write_text(changed)
        with pytest.raises(InputError, match="cases.csv: changed since; put the file back as the run wrote it, or remove"):
            held_out.read_scores(folder, "cases.csv", columns)


@pytest.mark.parametrize(("held", "other"), [(["a"], "b"), (["a", "b", "c"], "c"), (["b", "a"], "")])
def test_scores_are_of_the_patients_that_the_run_held_out(held, other, evaluate):
    folder, _ = evaluate()
    record = runs.read_record(folder) | {"split": {"train": ["x"], "validation": ["y"], "test": held}}
    write_json(folder / "run.json", record)
    if not other:
        assert len(held_out.read_scores(folder, "cases.csv", ["dice"])) == 2
        return
    with pytest.raises(InputError, match=f"not the scores of the patients that the run held out, such as {other}; put"):
        held_out.read_scores(folder, "cases.csv", ["dice"])


def test_a_pair_called_cases_is_scored_in_the_place_of_the_label_map(evaluate):
    folder, summary = evaluate(predict=lambda *_: (square(1, 2), {held_out.CASES: (square(3), square(3))}))
    assert [row["dice"] for row in read_csv(folder / "cases.csv")] == [1, 1] and summary.count("| LA | all |") == 1
    assert (volume.read_labels(folder / "predictions" / "a.nii.gz").array == square(1, 2).array).all()


def test_every_further_scoring_has_a_file_and_a_table(evaluate):
    further = {"cases_alone.csv": (square(1), square(1)), held_out.RESAMPLED: (square(1), square(1, 2, 3))}
    folder, summary = evaluate(predict=lambda *_: (square(1, 2), further))
    assert {path.name for path in folder.glob("cases*.csv")} == {"cases.csv", "cases_alone.csv", "cases_resampled.csv"}
    native, alone, resampled = re.split(r"\n(?:cases_alone\.csv:|On the paper's grid:)\n", summary)
    for part, dice in ((native, "0.667"), (alone, "1.000"), (resampled, "0.500")):
        assert part.count(f"| LA | all | 2 | {dice} (0.000) |") == part.count("| LA | all |") == 1


def test_a_reference_that_is_not_the_one_on_disk(evaluate):
    asked = []

    def reference(case, scan, on_disk):
        asked.append((case.name, scan.array.max(), on_disk.array.sum()))
        return square(1, 2)

    folder, _ = evaluate(reference=reference)
    assert [row["dice"] for row in read_csv(folder / "cases.csv")] == [1, 1]
    assert set(asked) == {("a", 31, 8), ("b", 31, 8)}


def test_a_paper_adds_lines_to_the_summary_when_everything_is_scored(evaluate, tmp_path):
    def finish():
        (folder,) = tmp_path.rglob("fold0")
        assert (folder / "cases.csv").exists() and not (folder / "summary.md").exists()
        return [f"{len(list((folder / 'predictions').iterdir()))} label maps"]

    assert "\n\n2 label maps\n\n- command: " in evaluate(finish=finish)[1]


@pytest.mark.parametrize(
    "ranked, shown",
    [("a", {"best": "a"}), ("ab", {"best": "b", "worst": "a"}), ("abc", {"best": "c", "median": "b", "worst": "a"})],
)
def test_no_case_is_shown_twice(ranked, shown):
    assert list(tables.best_median_worst(ranked).items()) == list(shown.items())


def test_each_file_is_read_once(evaluate, monkeypatch):
    read = []

    def counted(function):
        return lambda path, *more: read.append(Path(path).name) or function(path, *more)

    for name in ("read_grey", "read_labels"):
        monkeypatch.setattr(volume, name, counted(getattr(volume, name)))
    monkeypatch.setattr(held_out, "draw", lambda *_: None)  # reads the few cases that it shows
    evaluate(predict=lambda *_: (square(1), {held_out.RESAMPLED: (square(1), square(1))}), reference=lambda *_: square(1))
    assert read == ["a.nii", "a_gt.nii", "b.nii", "b_gt.nii"]


def test_a_history_without_validation_loss(evaluate):
    folder, _ = evaluate(history="val_jaccard")
    assert (folder / "figures/learning_curve.png").stat().st_size > 0


def rows(*dices, phase=""):
    scores = {"jaccard": 0.5, "sensitivity": 0.5, "hausdorff_mm": 3.0, "assd_mm": 1.0, "volume_ml": 9.0, "reference_ml": 9.0}
    return [
        {"case": f"00{i}", "patient": f"00{i}", "phase": phase, "group": "", "structure": "LA", "dice": dice, **scores}
        for i, dice in enumerate(dices)
    ]


def test_pooling_folds(tmp_path, capsys):
    """Mean and std of 0.6, 0.7 and 1.0, 1.0, 0.7 are 0.8 and sqrt((0.04 + 0.01 + 0.04 + 0.04 + 0.01) / 5) = 0.167; the mean of
    the folds' means would be 0.775."""
    target = tmp_path / "large-quick" / "lasc"
    folders = [target / "fold0", target / "fold3"]
    for folder, dices in zip(folders, ((0.6, 0.7), (1.0, 1.0, 0.7)), strict=True):
        write_csv(folder / "cases.csv", rows(*dices))
    write_csv(folders[0] / "cases_resampled.csv", rows(0.2, 0.4))
    held_out.pool(folders, target)
    pooled = read_csv(target / "cases.csv")
    assert list(pooled[0]) == ["fold", *rows(1)[0]]
    assert [(row["fold"], row["case"], row["dice"]) for row in pooled] == [
        (0, "000", 0.6), (0, "001", 0.7), (3, "000", 1.0), (3, "001", 1.0), (3, "002", 0.7),
    ]  # fmt: skip
    summary = (target / "summary.md").read_text()
    assert summary.startswith("# large-quick on lasc, 2 folds\n") and "fold0, fold3" in summary
    assert "| LA | all | 5 | 0.800 (0.167) |" in summary and "paper's grid" not in summary
    assert capsys.readouterr().out.splitlines()[-1].endswith(str(target / "summary.md"))
    assert not (target / "cases_resampled.csv").exists()  # one fold has none

    write_csv(folders[1] / "cases_resampled.csv", rows(0.6))
    for folder in folders:
        write_csv(folder / "cases_alone.csv", rows(0.3))
    held_out.pool(folders, target)
    assert [(row["fold"], row["dice"]) for row in read_csv(target / "cases_alone.csv")] == [(0, 0.3), (3, 0.3)]
    assert [(row["fold"], row["dice"]) for row in read_csv(target / "cases_resampled.csv")] == [(0, 0.2), (0, 0.4), (3, 0.6)]
    summary, resampled = (target / "summary.md").read_text().split("On the paper's grid:")
    native, alone = summary.split("cases_alone.csv:")
    assert "0.800 (0.167)" in native and "| LA | all | 2 | 0.300 (0.000) |" in alone
    assert "| LA | all | 3 | 0.400 (0.163) |" in resampled  # sqrt((0.04 + 0 + 0.04) / 3)


def test_a_fold_without_its_scores_is_not_pooled(tmp_path):
    folders = [tmp_path / "fold0", tmp_path / "fold1"]
    write_csv(folders[0] / "cases.csv", rows(0.6))
    for order in (folders, folders[::-1]):
        with pytest.raises(InputError, match=r"fold1/cases\.csv: expected a table"):
            held_out.pool(order, tmp_path)
    assert not (tmp_path / "summary.md").exists()

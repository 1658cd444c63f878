"""What growth costs: how long a training takes to start, and its memory, with 100, 1,000 and 10,000 prepared cases; evaluation of
100 and 1,000 pairs of label maps; pooling the tables of 1,000 runs.

Scans are small, and label maps and tables are links to a few, so that they need little place. Each number is of another process.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.timing import alone, peak_gib
from shared import cli, held_out
from shared.comparison import cost
from shared.datasets import Case
from shared.files import write_csv, write_json
from shared.scans import volume
from shared.scoring import scores

CASES, PAIRS, RUNS = (100, 1000, 10_000), (100, 1000), (100, 1000)
ENDS = 5  # patients who validate, and who test, whatever the number of cases
SCAN, LABELS = (40, 40, 4), (160, 160, 40)


def growth(cases: Sequence[Case], folder: Path, rounds: int) -> None:
    """A line for every number; `rounds` does not matter."""
    for count in CASES:
        data = dataset(folder / f"data{count}", count)
        first, second = (training(data, folder / f"runs{count}") for _ in range(2))
        print(f"training with {count} cases: {first[0]:.1f} s to prepare them and take one step, {first[1]:.2f} GiB; "
              f"{second[0]:.1f} s, {second[1]:.2f} GiB when they are prepared", flush=True)  # fmt: skip
    for count in PAIRS:
        ours, theirs = pairs(folder / f"pairs{count}", count)
        command = ["-m", "shared.evaluation", str(ours), str(theirs), "--structures", "acdc", "-o", str(folder / "pairs.csv")]
        seconds, gib = cost.measure([sys.executable, *command])
        print(f"evaluation of {count} pairs of {' x '.join(map(str, LABELS))}: {seconds:.1f} s, {gib:.2f} GiB", flush=True)
    for count in RUNS:
        found = alone("benchmarks.growth", str(runs(folder / f"tables{count}", count)))
        print(f"pooling {count} runs: {found['seconds']:.1f} s, {found['gib']:.2f} GiB", flush=True)
    print()


def dataset(folder: Path, count: int) -> Path:
    """A data set in the layout of nnU-Net, with the split of its patients beside it."""
    rng = np.random.default_rng(0)
    images, labels = folder / "imagesTr", folder / "labelsTr"
    for place in (images, labels):
        place.mkdir(parents=True)
    names = [f"case{i:05}" for i in range(count)]
    classes = np.zeros(SCAN, np.uint8)
    for value, half in ((1, 12), (2, 8), (3, 4)):
        classes[20 - half : 20 + half, 20 - half : 20 + half] = value
    affine = np.diag([4.0, 4.0, 10.0, 1.0])
    for name in names:  # no two images are alike, or they would be prepared once
        grey = (classes * 40 + rng.integers(0, 60, SCAN)).astype(np.int16)
        volume.write(volume.Volume(grey, (4.0, 4.0, 10.0), affine), images / f"{name}_0000.nii.gz")
    volume.write(volume.Volume(classes, (4.0, 4.0, 10.0), affine), labels / f"{names[0]}.nii.gz")
    for name in names[1:]:
        os.link(labels / f"{names[0]}.nii.gz", labels / f"{name}.nii.gz")
    meaning = {"background": 0, "RV": 1, "Myo": 2, "LV": 3}
    facts = {"labels": meaning, "file_ending": ".nii.gz", "channel_names": {"0": "MRI"}, "numTraining": count}
    write_json(folder / "dataset.json", facts)
    ends = {"validation": names[:ENDS], "test": names[ENDS : 2 * ENDS]}
    write_json(folder / "split.json", {"train": names[2 * ENDS :], **ends})
    return folder


def training(data: Path, workdir: Path) -> tuple[float, float]:
    """Seconds and largest memory (GiB) of a training of one step; its run is removed, its prepared cases stay."""
    fields = {"steps": 1, "width": 4, "image_shape": "36,36", "validate_every": 1, "batch_size": 4, "precision": "float32"}
    settings = [word for field, value in fields.items() for word in ("--set", f"{field}={value}")]
    places = ["--data-root", str(data), "--split", str(data / "split.json"), "--workdir", str(workdir)]
    command = ["-m", "acdc_segmenter_tf.train", "--dataset", "nnunet", "--preset", "quick", *settings, *places]
    found = cost.measure([sys.executable, *command])
    shutil.rmtree(workdir / "acdc_segmenter_tf")
    return found


def pairs(folder: Path, count: int) -> tuple[Path, Path]:
    """Two folders of label maps: nested balls, and the same moved by two voxels."""
    x, y, z = np.indices(LABELS)
    radius = np.sqrt((x - 80) ** 2 + (y - 80) ** 2 + (2 * (z - 20)) ** 2)
    classes = np.select([radius < 20, radius < 30, radius < 36], [3, 2, 1], 0).astype(np.uint8)
    found = []
    for side, array in (("predictions", classes), ("references", np.roll(classes, 2, axis=0))):
        place = folder / side
        place.mkdir(parents=True)
        volume.write(volume.from_array(array, (1.25, 1.25, 2.5)), place / "case00000.nii.gz")
        for i in range(1, count):
            os.link(place / "case00000.nii.gz", place / f"case{i:05}.nii.gz")
        found.append(place)
    return found[0], found[1]


def runs(folder: Path, count: int) -> Path:
    """A folder with that many scored runs of 40 cases with three structures each."""
    labels = volume.from_array(np.pad(np.full((4, 4, 4), 3, np.uint8), 4), (1.0, 1.0, 1.0))
    rows = []
    for i in range(40):
        about = {"case": f"case{i:03}", "patient": f"p{i // 2:03}", "phase": ("ED", "ES")[i % 2], "group": "NOR"}
        rows += scores.score(labels, labels, {1: "RV", 2: "Myo", 3: "LV"}, about)
    write_csv(folder / "fold0" / "cases.csv", rows)
    for i in range(1, count):
        (folder / f"fold{i}").mkdir()
        os.link(folder / "fold0" / "cases.csv", folder / f"fold{i}" / "cases.csv")
    return folder


def main() -> None:
    """Pool the runs in a folder, and print a line of JSON."""
    parser = cli.Parser(prog="python -m benchmarks.growth", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="holds fold0, fold1, ...")
    folder = parser.parse_args().folder
    start = time.perf_counter()
    held_out.pool(sorted(folder.glob("fold*")), folder)
    print(json.dumps({"seconds": time.perf_counter() - start, "gib": peak_gib()}))


if __name__ == "__main__":
    main()

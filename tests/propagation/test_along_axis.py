"""With and without propagation, slice by slice: the numbers of a comparison worked out by hand."""

import math

import numpy as np
import pytest

from propagation import along_axis
from shared import datasets
from shared.scans import volume


def compared(found):
    reference = np.zeros((6, 6, 8), np.uint8)
    reference[1:5, 1:5, 2:6] = 1
    make = volume.from_array
    case = datasets.Case(patient="a", phase="ED", image=None, label=None, group="", structures={})
    return along_axis.Compared(case, make(reference), make(reference), {name: make(mask) for name, mask in found.items()},
                               make(reference), 2, 3, 1.0)  # fmt: skip


def test_dice_slice_by_slice():
    half = np.zeros((6, 6, 8), np.uint8)
    half[1:5, 1:3, 2:4] = 1  # half of the wall in slices 2 and 3, nothing in 4 and 5
    rows = along_axis.slice_rows(compared({"without": half}))
    assert [row["slice"] for row in rows] == [0, 1, 2, 3] and [row["position"] for row in rows] == pytest.approx(
        [0, 1 / 3, 2 / 3, 1]
    )
    assert [row["dice"] for row in rows] == pytest.approx([2 / 3, 2 / 3, 0, 0])
    assert [row["next_slice_dice"] for row in rows][:2] == [1, 0]
    assert all(math.isnan(row["next_slice_dice"]) for row in rows[2:])  # nothing there, and the last has no next
    assert [row["reference_next_slice_dice"] for row in rows[:3]] == [1, 1, 1]
    lines = along_axis.method_lines(rows)
    assert "| without | 0.333 | 0.000 | 2 of 4 | 0.500 |" in lines and "| reference | | | | 1.000 |" in lines


def test_the_first_method_is_the_runs_own():
    masks = {"with propagation": np.ones((6, 6, 8), np.uint8), "without": np.zeros((6, 6, 8), np.uint8)}
    assert compared(masks).own.array.all() and not compared({"without": masks["without"]}).own.array.any()


def test_how_far_the_found_base_is_off():
    bases = [{"reference": 8, "automatic": automatic, "slice_mm": 1.25} for automatic in (8, 10, 0, 16)]
    line = along_axis.base_line(bases)
    assert "5.6 mm off on average (median 6.2 mm), within 5 mm in 2 and within 10 mm in 4 of 4 scans" in line

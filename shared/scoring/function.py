"""What clinicians read off label maps: volumes (ml), ejection fraction (%) and myocardial mass (g)."""

import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from shared.scans.volume import Volume
from shared.scoring import metrics

Row = dict[str, Any]  # of volumes.csv or function.csv; some columns hold text, the others numbers

LARGEST_ML = 1000.0  # of a cavity; the most dilated hearts hold half of it
LEAST = 0.1  # a cavity below this share of its other volumes was missed by the network (ours: no heart has an EF of 90 %)


def volumes_ml(scan: str | PathLike, labels: Volume, structures: Mapping[int, str]) -> list[Row]:
    """One row per frame: the volume of every structure in ml; several values may have one name."""
    return [
        {"scan": str(scan), "frame": t + 1}
        | {
            f"{name}_ml": metrics.volume_ml(metrics.mask_of(labels.frame(t).array, structures, name), labels.spacing_mm)
            for name in dict.fromkeys(structures.values())
        }
        for t in range(labels.frames)
    ]


def columns(structures: Mapping[int, str]) -> tuple[list[str], list[str]]:
    """The columns of a row of `volumes_ml`, and those of a row of `function`."""
    volumes: Row = {"scan": "", "frame": 1} | {f"{name}_ml": 1.0 for name in structures.values()}
    return list(volumes), list(measured(volumes, volumes, structures))


def of_cine(rows: Sequence[Row], structures: Mapping[int, str]) -> Row | None:
    """The row of `function` for a cine: ED is the frame with the largest LV, ES the one with the smallest.

    Frames without LV, or with less than `LEAST` of the median, cannot be end-systole. They are left out, with a warning.

    Args:
        rows: those of `volumes_ml`, for the frames that were segmented.
        structures: label value -> name; "LV" is one of the names.

    Returns:
        The row; None, with a warning, where fewer than two frames are left.
    """
    scan, least = rows[0]["scan"], LEAST * np.median([row["LV_ml"] for row in rows])
    usable = [row for row in rows if row["LV_ml"] > 0 and row["LV_ml"] >= least]
    missed = ", ".join(str(row["frame"]) for row in rows if row not in usable)
    left_out = f" (no LV, or hardly any, was found in frame {missed})" if missed else ""
    if len(usable) < 2:
        count = f"{len(usable)} of {len(rows)} frames"
        warnings.warn(f"{scan}: no ejection fraction, since only {count} can be used{left_out}", stacklevel=2)
        return None
    if missed:
        warnings.warn(f"{scan}: ED and ES are chosen among the other frames{left_out}", stacklevel=2)
    by_lv = sorted(usable, key=lambda row: row["LV_ml"])
    return function(by_lv[-1], by_lv[0], structures)


def function(ed: Row, es: Row, structures: Mapping[int, str]) -> Row:
    """End-diastolic and end-systolic volume (ml) and ejection fraction (%) of both ventricles, and myocardial mass (g) at ED.

    A warning tells where an ejection fraction is missing or cannot be right.

    Args:
        ed, es: rows of `volumes_ml`.
        structures: label value -> name.
    """
    for cavity in metrics.CAVITIES:
        doubt = doubt_of(cavity, ed, es) if cavity in structures.values() else ""
        if doubt:
            warnings.warn(doubt, stacklevel=2)
    return measured(ed, es, structures)


def measured(ed: Row, es: Row, structures: Mapping[int, str]) -> Row:
    """The numbers of `function`, without its warnings."""
    row = {"ed_scan": ed["scan"], "ed_frame": ed["frame"], "es_scan": es["scan"], "es_frame": es["frame"]}
    for cavity in metrics.CAVITIES:
        if cavity in structures.values():
            edv, esv = ed[f"{cavity}_ml"], es[f"{cavity}_ml"]
            ef = float("nan") if place(ed) == place(es) else metrics.ejection_fraction(edv, esv)
            row |= {f"{cavity}_edv_ml": edv, f"{cavity}_esv_ml": esv, f"{cavity}_ef_percent": ef}
    if "Myo" in structures.values():
        row["Myo_mass_g"] = metrics.mass_g(ed["Myo_ml"])
    return row


def doubt_of(cavity: str, ed: Row, es: Row) -> str:
    """Why the ejection fraction of a cavity is missing or doubtful, in one line; empty where it is credible."""
    edv, esv = ed[f"{cavity}_ml"], es[f"{cavity}_ml"]
    both = f"{cavity}: {edv:.1f} ml at ED ({place(ed)}), {esv:.1f} ml at ES ({place(es)})"
    if place(ed) == place(es):
        return f"{cavity}: ED and ES are the same frame ({place(ed)}), hence no ejection fraction"
    if not edv or not esv:
        return f"{both}: it was not found in one of them, hence no ejection fraction"
    if max(edv, esv) > LARGEST_ML:
        return f"{both}: no cavity is that large; look at the label maps"
    if esv > edv:
        return f"{both}: it is larger at ES than at ED; are the two swapped?"
    if esv == edv:
        return f"{both}: it does not move; is one the copy of the other?"
    if esv < LEAST * edv:
        return f"{both}: an ejection fraction above {100 * (1 - LEAST):.0f} % is not credible; look at the label maps"
    return ""


def place(row: Row) -> str:
    """The scan and the frame that a row of `volumes_ml` belongs to."""
    return f"{row['scan']}, frame {row['frame']}"

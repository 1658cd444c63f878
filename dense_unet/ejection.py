"""How much the ejection fraction of the LV depends on which basal slices count. The paper introduces EF and reports none: ours.

    python -m dense_unet.ejection --dataset acdc --data-root DIR -o FOLDER

EF is taken from the reference contours of every patient under each of `RULES`; no network is needed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dense_unet import slicewise
from dense_unet.basal import CLOSED, HALF, Surroundings
from shared import cli, datasets
from shared.datasets import Case
from shared.errors import InputError
from shared.files import write_csv
from shared.lazy import lazily
from shared.progress import Progress
from shared.scans import orientation
from shared.scoring import metrics
from shared.scoring.published import PHASES

with lazily():
    from shared.scoring import plots

ALL = "all slices"
Fractions = dict[str, float]  # rule -> EF in percent


@dataclass(frozen=True)
class Phase:
    """The LV of one label map: its volume in each slice (z,), in ml, and what surrounds it."""

    slices_ml: np.ndarray
    found: Surroundings

    def all(self) -> float:
        return float(self.slices_ml.sum())

    def kept(self, least: float) -> float:
        """The volume in the slices that a criterion keeps."""
        return float(self.slices_ml[self.found.kept(least)].sum())

    def without_base(self) -> float:
        """The volume without the most basal slice."""
        base = self.found.most_basal(0)
        return self.all() - (0 if base is None else float(self.slices_ml[base]))


# rule -> volume at ED and volume at ES, in ml
RULES: dict[str, Callable[[Phase, Phase], tuple[float, float]]] = {
    ALL: lambda ed, es: (ed.all(), es.all()),
    "criterion A": lambda ed, es: (ed.kept(HALF), es.kept(HALF)),
    "criterion B": lambda ed, es: (ed.kept(CLOSED), es.kept(CLOSED)),
    "no base at ED": lambda ed, es: (ed.without_base(), es.all()),
    "no base at ES": lambda ed, es: (ed.all(), es.without_base()),
    "no base at both": lambda ed, es: (ed.without_base(), es.without_base()),
}


def phase_of(case: Case) -> Phase:
    """Measure the reference of a case."""
    scan = datasets.load_image(case)
    reference = datasets.load_reference(case, scan)
    labels = orientation.all_slices_last(scan, reference)[1]
    lv = np.isin(labels.array, [value for value, name in case.structures.items() if name == "LV"])
    slices_ml = np.count_nonzero(lv, axis=(0, 1)) * labels.voxel_ml
    return Phase(slices_ml, slicewise.surroundings(case, scan, reference))


def fractions(ed: Phase, es: Phase) -> Fractions:
    """EF under each rule."""
    return {rule: metrics.ejection_fraction(*volumes_ml(ed, es)) for rule, volumes_ml in RULES.items()}


def table(found: Mapping[str, Fractions]) -> list[str]:
    """Markdown: how EF changes against all slices, over patients, in points.

    Args:
        found: patient -> EF under each rule.
    """
    lines = [f"| against {ALL} | n | mean (std) | least | most | changed |", "|---|---|---|---|---|---|"]
    for rule in RULES:
        change = np.array([each[rule] - each[ALL] for each in found.values()])
        change = change[np.isfinite(change)]
        if rule != ALL and len(change) > 1:
            mean, std = change.mean(), change.std(ddof=1)
            lines.append(
                f"| {rule} | {len(change)} | {mean:+.1f} ({std:.1f}) | {change.min():+.1f} | {change.max():+.1f} "
                f"| {np.count_nonzero(change)} |"
            )
    return lines


def measured(cases: Sequence[Case]) -> dict[str, Fractions]:
    """EF under each rule of every patient with both phases.

    Raises:
        InputError: fewer than two patients have them.
    """
    of_patient: dict[str, dict[str, Case]] = {}
    for case in cases:
        of_patient.setdefault(case.patient, {})[case.phase] = case
    paired = {patient: phases for patient, phases in of_patient.items() if set(PHASES) <= set(phases)}
    if len(paired) < 2:
        raise InputError(f"{len(paired)} patients have labels at {' and '.join(PHASES)}; expected at least 2")
    return {
        patient: fractions(*(phase_of(paired[patient][phase]) for phase in PHASES))
        for patient in Progress("measuring", len(paired)).over(paired)
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = cli.Parser(prog="python -m dense_unet.ejection", description=__doc__.splitlines()[0])
    cli.add_data(parser)
    parser.add_argument("-o", "--output", required=True, type=cli.workdir, help="folder that gets ejection.csv and ejection.png")
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        root = cli.data_root(options.dataset, options.data_root, options.output)
        found = measured(datasets.labelled(datasets.find(options.dataset, root)))
        write_csv(options.output / "ejection.csv", [{"patient": patient, **each} for patient, each in found.items()])
        by_rule = {rule: [each[rule] for each in found.values()] for rule in RULES}
        picture = options.output / "ejection.png"
        plots.paired(picture, [("EF of the LV, reference contours", by_rule)], "EF (%)")
        print("\n".join([*table(found), "", f"wrote {options.output / 'ejection.csv'}", f"picture: {picture}"]))


if __name__ == "__main__":
    main()

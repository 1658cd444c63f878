"""report.html of a comparison: every case with the Dice of all methods, and all its slices with all their label maps."""

from shared import runs
from shared.comparison import report, scored
from shared.comparison.entrants import REFERENCE, Contest
from shared.comparison.scored import Scored
from shared.datasets import load_image
from shared.files import visible
from shared.reports import page, views
from shared.reports.scored import of_methods


def write(contest: Contest, found: Scored) -> None:
    """Write the page of a contest in which at least one method has label maps, beside its tables and figures, which are in it."""
    cases = {case.name: case for case in contest.cases}
    first, *others = (entrant.name for entrant in contest.pictured)

    def view_of(name: str) -> views.View:
        case = cases[name]
        scan = load_image(case)
        layers = {}
        for entrant in contest.pictured:
            layers[entrant.name], layers[REFERENCE] = scored.on_scan(contest, entrant, case, scan)
        return views.view(scan, layers, contest.structures, page.share(len(cases)))

    columns, entries = of_methods(found.cases, view_of)
    text = (contest.folder / report.PAGE).read_text(encoding="utf-8")
    page.write(
        contest.folder / runs.REPORT,
        page.Page(
            title=contest.title,
            text=text.partition("\n")[2],  # without its title
            columns=columns,
            entries=entries,
            structures=list(dict.fromkeys(contest.structures.values())),
            layers=(first, REFERENCE, *others),
            figures=visible(contest.folder / "figures", "*.png"),
        ),
    )

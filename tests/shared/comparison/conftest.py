"""A data set of toy hearts, and a contest of label maps that differ from its references in known ways."""

import pytest

from shared.comparison import entrants
from shared.comparison.entrants import Contest, Entrant
from shared.datasets import splits
from tests import toy_hearts


@pytest.fixture(scope="session")
def toy_cases(tmp_path_factory):
    """All cases of ten patients in ACDC's layout."""
    return toy_hearts.write_acdc(tmp_path_factory.mktemp("toys") / "acdc")


@pytest.fixture(scope="session")
def test_side(toy_cases):
    """patient005 and patient010, each at ED and ES."""
    return splits.common("acdc", toy_cases).of(toy_cases, "test")


@pytest.fixture
def contest(test_side, tmp_path):
    """An exact method, one that shifts, one that misses the apex, and one that was not run."""
    changes = {"exact": lambda labels: labels, "shifted": toy_hearts.shifted, "short": toy_hearts.without_apex}
    found = []
    for name, change in changes.items():
        toy_hearts.write_maps(tmp_path / name, test_side, change)
        found.append(entrants.of_folder(name, tmp_path / name, test_side))
    found.append(Entrant(key="absent", name="absent"))
    return Contest(title="Toys", folder=tmp_path / "out", cases=test_side, entrants=found, structures=test_side[0].structures)

import pytest

from propagation.beating.anatomy import heart_of
from tests.propagation.beating import drawn


@pytest.fixture(scope="session")
def parts():
    return drawn.anatomy()


@pytest.fixture(scope="session")
def heart(parts):
    return heart_of(parts[0], drawn.SPACING_MM)

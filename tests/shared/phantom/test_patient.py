"""Patients: the same arguments draw the same one."""

import numpy as np
import pytest

from shared.errors import InputError
from shared.phantom.mri import render
from shared.phantom.patient import draw_patient


def test_one_seed_one_patient():
    patient = draw_patient(3, "HCM", seed=1)
    assert patient == draw_patient(3, "HCM", seed=1)
    assert patient != draw_patient(3, "HCM", seed=2) and patient != draw_patient(4, "HCM", seed=1)
    first = render(patient, 0.5)
    render(draw_patient(1, "NOR"), 0)
    for array, again in zip(first[:2], render(patient, 0.5)[:2], strict=True):
        np.testing.assert_array_equal(array, again)


@pytest.mark.parametrize("arguments", [(1, "XXX"), (0, "NOR"), (1, "NOR", -1)])
def test_a_patient_that_cannot_be_drawn(arguments):
    with pytest.raises(InputError, match="expected"):
        draw_patient(*arguments)

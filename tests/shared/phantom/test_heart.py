"""Anatomy and motion: walls that thicken, and the beat."""

import numpy as np

from shared.phantom.heart import beat, fit_heart, volumes_ml, walls
from shared.phantom.patient import draw_patient


def test_walls_thicken_and_a_scar_does_not():
    def thickening(group):
        patient = draw_patient(1, group)
        heart = fit_heart(patient)
        apex_mm = patient.length_mm + 0.7 * heart.wall_mm
        depth_mm = patient.scar_depth * patient.length_mm  # the same tissue lies deeper in systole
        later_mm = apex_mm - (apex_mm - depth_mm) * (1 - patient.shortening)
        angles = np.radians(np.arange(0, 360, 10))
        diastole, systole = walls(heart, 0, [depth_mm], angles), walls(heart, 1, [later_mm], angles)
        return (systole.epicardium - systole.cavity) / (diastole.epicardium - diastole.cavity) - 1

    assert 0.3 < thickening("NOR").min() and thickening("NOR").max() < 0.8
    assert thickening("MINF").min() < 0.15


def test_the_beat():
    phases = beat(25, 9)
    assert phases.shape == (25,) and phases[0] == 0 and phases[8] == 1 and phases.argmax() == 8
    assert (np.diff(phases[:9]) > 0).all() and (np.diff(phases[8:]) <= 0).all() and phases[-1] < 0.1
    heart = fit_heart(draw_patient(1, "DCM"))
    volumes = [volumes_ml(heart, phase)[2] for phase in np.linspace(0, 1, 6)]
    assert (np.diff(volumes) < 5).all() and volumes[-1] < volumes[0]

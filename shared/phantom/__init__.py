"""A parametric beating heart: drawn, rendered as MRI with its labels, and written in the challenges' layouts.

`heart` holds anatomy and motion, `mri` and `atrium` the pictures, `layouts` the files. (seed, number) determines a patient fully.
"""

from shared.phantom.atrium import render_atrium
from shared.phantom.heart import GROUPS, Patient, beat, draw_patient
from shared.phantom.layouts import biventricular_walls, group_of, write_acdc, write_lasc, write_nnunet, write_stacom
from shared.phantom.mri import render

__all__ = [
    "GROUPS",
    "Patient",
    "beat",
    "biventricular_walls",
    "draw_patient",
    "group_of",
    "render",
    "render_atrium",
    "write_acdc",
    "write_lasc",
    "write_nnunet",
    "write_stacom",
]

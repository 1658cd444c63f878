"""A parametric beating heart: drawn, rendered as MRI with its labels, and written in the challenges' layouts.

`patient` draws the sizes, `heart` holds anatomy and motion, `mri` and `atrium` the pictures, `layouts` the files. The modules
`whole_heart*` draw all four chambers and the great vessels, which do not beat. The same (seed, number) gives the same patient.
"""

from shared.phantom.atrium import render_atrium
from shared.phantom.heart import beat
from shared.phantom.layouts import (
    biventricular_walls,
    group_of,
    write_acdc,
    write_lasc,
    write_mmwhs,
    write_nnunet,
    write_stacom,
)
from shared.phantom.mri import render
from shared.phantom.patient import GROUPS, Patient, draw_patient, on_square_grid
from shared.phantom.whole_heart_scan import render_whole_heart

__all__ = [
    "GROUPS",
    "Patient",
    "beat",
    "biventricular_walls",
    "draw_patient",
    "group_of",
    "on_square_grid",
    "render",
    "render_atrium",
    "render_whole_heart",
    "write_acdc",
    "write_lasc",
    "write_mmwhs",
    "write_nnunet",
    "write_stacom",
]

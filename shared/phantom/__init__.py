from shared.phantom.heart import GROUPS, Patient, draw_patient
from shared.phantom.mri import render

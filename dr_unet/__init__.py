"""Vesal et al. 2020: 3D DR-UNet with localisation, multi-stage and end-to-end. `README.md` beside this file says what holds."""

from shared import startup

startup.settings()

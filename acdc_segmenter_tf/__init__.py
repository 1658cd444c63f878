"""Baumgartner et al. 2017: FCN-8, 2D and 3D U-Nets for the ACDC challenge. `README.md` beside this file says what holds."""

from shared import startup

startup.settings()

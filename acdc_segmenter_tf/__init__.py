"""Baumgartner et al. 2017: FCN-8, 2D and 3D U-Nets for the ACDC challenge. `README.md` beside this file says what holds."""

import shared  # noqa: F401  before TensorFlow, whose banner it silences

"""Zheng et al. 2018: a biventricular mask carried from slice to slice, meshes made from it, and the networks that the authors
released for their later papers. `README.md` beside this file says what holds."""

from shared import startup

startup.settings()

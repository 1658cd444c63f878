"""Wang et al. 2018: a two-stage U-Net for the seven structures of MM-WHS, on CT and MR at full resolution."""

from shared import startup

startup.settings()

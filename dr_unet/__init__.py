"""Vesal et al. 2020: 3D DR-UNet with localisation, multi-stage and end-to-end. `README.md` in this folder says what holds.

    import dr_unet
    from shared.scans import volume
    segmenter = dr_unet.load("runs/dr_unet/multi_stage_f8-quick/lasc/fold0")
    labels = dr_unet.predict(segmenter, volume.read("scan.nii.gz"))
    volume.write(labels, "seg.nii.gz")

`RECIPES` holds the paper's experiments, `network(recipe)` gives an untrained network of one, `build` any other.
"""

from shared import notebook, startup

startup.settings()
__getattr__ = notebook.exported(__name__, load="predict", network="predict", build="model", RECIPES="recipe")

"""Wang et al. 2018: two U-Nets for whole hearts in CT and MR at full resolution. `README.md` in this folder says what holds.

    import two_stage_unet
    from shared.scans import volume
    segmenter = two_stage_unet.load("runs/two_stage_unet/two_stage-quick/mmwhs_ct/fold0")
    labels = two_stage_unet.predict(segmenter, volume.read("scan.nii.gz"))
    volume.write(labels, "seg.nii.gz")

`RECIPES` holds the paper's experiments, `network(recipe)` gives an untrained network of one, `build` any other.
"""

from shared import notebook, startup

startup.settings()
__getattr__ = notebook.exported(__name__, load="predict", network="predict", build="model", RECIPES="recipe")

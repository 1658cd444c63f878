"""Penso et al. 2020: a U-Net with dense skips for both ventricles, and the basal slices that count. `README.md` says what holds.

    import dense_unet
    from shared.scans import volume
    segmenter = dense_unet.load("runs/dense_unet/dense_half_wce-quick/acdc/fold0")
    labels = dense_unet.predict(segmenter, volume.read("scan.nii.gz"))
    volume.write(labels, "seg.nii.gz")

`RECIPES` holds the paper's experiments, `network(recipe)` gives an untrained network of one, `build` any other.
"""

from shared import notebook, startup

startup.settings()
__getattr__ = notebook.exported(__name__, load="predict", network="predict", build="model", RECIPES="recipe")

"""Baumgartner et al. 2017: FCN-8, 2D and 3D U-Nets for the ACDC challenge. `README.md` in this folder says what holds.

    import acdc_segmenter_tf
    from shared.scans import volume
    segmenter = acdc_segmenter_tf.load("runs/acdc_segmenter_tf/unet2d_modified_wxent-quick/acdc/fold0")
    labels = acdc_segmenter_tf.predict(segmenter, volume.read("scan.nii.gz"))
    volume.write(labels, "seg.nii.gz")

`RECIPES` holds the paper's experiments, `network(recipe)` gives an untrained network of one, `build` any other.
"""

from shared import notebook, startup

startup.settings()
__getattr__ = notebook.exported(__name__, load="predict", network="predict", build="model", RECIPES="recipe")

"""Zheng et al. 2018: a biventricular mask carried from slice to slice, meshes made from it, and the networks that the authors
released for their later papers. `README.md` in this folder says what holds.

    import propagation
    from shared.scans import volume
    segmenter = propagation.load("runs/propagation/propagation-quick/acdc/fold0")
    labels = propagation.predict(segmenter, volume.read("scan.nii.gz"))
    volume.write(labels, "wall.nii.gz")

`RECIPES` holds the paper's experiments, `network(recipe)` gives an untrained network of one, `build` any other.
"""

from shared import notebook, startup

startup.settings()
__getattr__ = notebook.exported(__name__, load="predict", network="predict", build="model", RECIPES="recipe")

"""The networks that the authors released for their later papers, their weights, and the pipeline around them.

    from propagation.released import load_released
    from propagation.released.predict import load_nets, segment
    from shared.scans import volume

    model = load_released("lvrv_net", "weights/lvrv_net.h5")       # a keras.Model
    labels = segment(volume.read("scan.nii.gz"), load_nets("weights"))    # a label map on the scan's own grid

The command `python -m propagation.released` downloads the weights and says what a weight file is.

    model.py          the networks
    weights.py        the authors' files -> our networks
    fetching.py       the authors' addresses, and files that have the right checksum (with transfer.py, the download itself)
    variants.py       the ways to run the pipeline, and its settings
    predict.py        scan -> label map
    heart.py          where the heart is
    plausibility.py   which masks of a slice are believed
    images.py         slices as the networks take them
    flow.py           motion between two frames
"""

from propagation.released.weights import load_released

__all__ = ["load_released"]

"""The ways to run the released pipeline, and its settings. Numbers are those of the authors' code."""

from dataclasses import dataclass

LVC, LVM, RVC = 1, 2, 3  # the networks' classes: LV cavity, LV myocardium, RV cavity


@dataclass(frozen=True)
class Variant:
    """One way to use a segmentation network.

    Attributes:
        network: a key of `NETWORKS`.
        from_zero: start at slice 0, whatever the base. Otherwise start at the base, and see the image of the slice above it.
        earlier: number of slices above the given base that are segmented too.
        kept: classes of which only the largest component is kept.
    """

    network: str
    from_zero: bool = False
    earlier: int = 0
    kept: tuple[int, ...] = ()


VARIANTS = {
    "lvrv": Variant("lvrv_net", kept=(RVC,)),
    "lv": Variant("lv_net", earlier=1),
    "finetune": Variant("lvrv_net_finetune", from_zero=True, kept=(LVC, LVM, RVC)),
}


@dataclass(frozen=True, kw_only=True)
class Released:
    """How the released pipeline is run.

    Attributes:
        eight_bit: cut grey values to whole numbers, because the networks were trained on PNG files.
        stretch: stretch every probability map to 0..255 by itself before it is resized. The authors do it, though it favours
            classes that are likely nowhere.
        leaky_slope: of the activations below 0, used in `load_nets` (see `model.build`).
        apex_first: the scan's slices go from apex to base.
        roi_slices: first and last slice that roi_net sees, as fractions of the slices: 0.1 and 0.5 on ACDC, 0.2 and 0.6 on UK
            Biobank.
        roi_frames: frames of a cine that roi_net sees; the first should be end-diastole.
        centre_mm: without a roi_net, the side of the square at the centre of the slices that is segmented (ours).
    """

    eight_bit: bool = True
    stretch: bool = False
    leaky_slope: float = 0.0
    apex_first: bool = False
    roi_slices: tuple[float, float] = (0.1, 0.5)
    roi_frames: tuple[int, ...] = (0,)
    centre_mm: float = 160.0


DEFAULT = Released()

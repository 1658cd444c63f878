"""Penso et al. 2020, "Automated Left and Right Chamber Segmentation in Cardiac MRI Using Dense Fully Convolutional Neural
Network", Computing in Cardiology 2020.

    python -m dense_unet.train --dataset acdc --data-root DIR [--experiment NAME] [--preset quick]

should reach a mean Dice of 0.944 / 0.908 / 0.851 (LV / RV / Myo; criterion A, weighted cross entropy) on the authors' patients,
who are not public. No code of the authors is known. What each number comes from: "paper", or "ours" where the paper is silent or
contradicts itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from shared.recipes import check, number, one_of, replace, require, several, structures, whole
from shared.scoring.published import NATIVE, Column, Row, Scoring, Table, printed

NETWORKS, UPSAMPLING = ("dense", "plain"), ("classes", "width")
WEIGHTS = ("inverse_root", "inverse", "unet_map")
PRECISIONS = ("float32", "bfloat16", "auto")


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What the examples of the network depend on: the pixels that it sees, and the slices that count."""

    structures: Annotated[tuple[str, ...], structures()]
    size: Annotated[int, whole(16, 1024)]
    paper_pixel_mm: Annotated[tuple[float, ...], several(number(0, 50), 2)]
    paper_crop_factor: Annotated[int, whole(1, 16)]
    spacing_mm: Annotated[float, number(0.05, 50)]
    surrounded: Annotated[float, number(0, 1)]

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    network: Annotated[str, one_of(*NETWORKS)]
    preparation: Preparation
    width: Annotated[int, whole(1, 512)]
    dense_layers: Annotated[tuple[int, ...], several(whole(0, 64), 4)]
    growth: Annotated[int, whole(1, 512)]
    upsampling: Annotated[str, one_of(*UPSAMPLING)]
    class_weights: Annotated[str, one_of(*WEIGHTS)]
    border_weight: Annotated[float, number(0, 1000)]
    border_sigma_px: Annotated[float, number(0, 1000, above=True)]
    dice_weight: Annotated[float, number(0, 1000)]
    smoothing: Annotated[float, number(0, 1e6, above=True)]
    rotation_deg: Annotated[float, number(0, 180)]
    gamma: Annotated[tuple[float, ...], several(number(0.01, 100), 2)]
    blur_px: Annotated[float, number(0, 10)]
    chance: Annotated[float, number(0, 1)]
    batch_size: Annotated[int, whole(1, 10_000)]
    epochs: Annotated[int, whole(1, 10**6)]
    learning_rate: Annotated[float, number(0, 10, above=True)]
    final_learning_rate: Annotated[float, number(0, 10)]
    beta_1: Annotated[float, number(0, 1, below=True)]
    beta_2: Annotated[float, number(0, 1, below=True)]
    epsilon: Annotated[float, number(0, 1, above=True)]
    validation_volumes: Annotated[int, whole(1, 10**6)]
    validation_share: Annotated[float, number(0, 1, above=True, below=True)]
    test_share: Annotated[float, number(0, 1, above=True, below=True)]
    split_seed: Annotated[int, whole(0, 2**32 - 1)]
    precision: Annotated[str, one_of(*PRECISIONS)]

    def __post_init__(self) -> None:
        check(self)
        require(self.gamma[0] <= self.gamma[1], self, "gamma", "the smaller number first")
        least = self.preparation.paper_pixel_mm
        require(least[0] <= least[1], self.preparation, "paper_pixel_mm", "the smaller number first")
        require(self.preparation.size % 16 == 0, self.preparation, "size", "a multiple of 16, for four poolings")


DENSE = Recipe(
    network="dense",  # paper
    preparation=Preparation(
        structures=("LV", "RV", "Myo"),  # paper
        size=176,  # paper
        paper_pixel_mm=(0.59, 0.70),  # paper; such images, to two decimals, are cropped and shrunk as the next line says
        paper_crop_factor=2,  # ours: the central 352 x 352 pixels of 512 x 512, in blocks of 2 x 2
        spacing_mm=1.3,  # ours: all other images are resampled to this, and cropped or padded
        surrounded=0.5,  # paper: criterion A, myocardium around at least 50 % of the LV
    ),
    width=48,  # paper
    dense_layers=(4, 4, 4, 4),  # ours
    growth=16,  # ours
    upsampling="classes",  # paper
    class_weights="inverse_root",  # ours: the paper gives neither weights nor formula
    border_weight=10.0,  # ours: of the U-Net paper; for class_weights=unet_map
    border_sigma_px=5.0,  # ours: of the U-Net paper
    dice_weight=0.0,  # paper: WCE alone
    smoothing=1.0,  # ours
    rotation_deg=15.0,  # paper
    gamma=(0.7, 1.5),  # ours: the paper names gamma correction and blurring, but no ranges
    blur_px=1.0,  # ours: largest standard deviation
    chance=0.5,  # ours: of a gamma correction, and of a blur
    batch_size=8,  # ours
    epochs=150,  # ours
    learning_rate=1e-4,  # ours
    final_learning_rate=1e-4,  # ours: constant
    beta_1=0.9,  # ours: the default of Keras
    beta_2=0.999,  # ours: the default of Keras
    epsilon=1e-7,  # ours: the default of Keras
    validation_volumes=10**6,  # ours: as many as there are
    validation_share=0.15,  # paper
    test_share=0.15,  # paper
    split_seed=0,  # ours
    precision="float32",  # ours: paper silent
)
CLOSED = replace(DENSE, surrounded=1.0)  # paper: criterion B, myocardium around 100 % of the LV

RECIPES = {
    "dense_half_wce": DENSE,
    "dense_half_wce_dice": replace(DENSE, dice_weight=0.2),  # paper
    "dense_closed_wce": CLOSED,
    "dense_closed_wce_dice": replace(CLOSED, dice_weight=0.2),
    "plain_half_wce": replace(DENSE, network="plain"),  # ours: what the dense blocks are for
}
DEFAULT = "dense_half_wce"


def quick(recipe: Recipe) -> Recipe:
    """The same experiment, narrower and shorter: minutes on two CPU cores."""
    return replace(
        recipe,
        width=16,
        epochs=16,
        learning_rate=1e-3,
        final_learning_rate=1e-5,
        validation_volumes=20,
        precision="auto",
    )


def medium(recipe: Recipe) -> Recipe:
    """The same experiment between quick and the paper's: an evening on two CPU cores, minutes on a GPU."""
    return replace(quick(recipe), width=32, epochs=40)


PRESETS: dict[str, Callable[[Recipe], Recipe]] = {"paper": lambda recipe: recipe, "medium": medium, "quick": quick}

# The paper's tables, over the 15 % of its patients that test, at ED and ES. Only Table 3 says how much numbers scatter.
SLICES, BASAL = "scores_slices.csv", "scores_basal.csv"
CORRECTED, FCN = "FCN+corr, corrected by a physician", "FCN"


def around(bias: float, two_sigma: float) -> tuple[float, float, float]:
    """A bias with its limits of agreement."""
    return bias, bias - two_sigma, bias + two_sigma


PUBLISHED = {
    1: Table(
        title="Criteria and losses, ED and ES pooled",
        dataset="acdc",
        folds=(0,),
        scorings=(NATIVE, Scoring(SLICES, "slice by slice, in 2D, where either mask has the structure", "_slices")),
        columns=tuple(
            Column(measure, statistic, structure=structure)
            for structure in ("LV", "RV", "Myo")
            for measure, statistic in (("dice", "mean"), ("hausdorff_mm", "median"), ("sensitivity", "mean"))
        ),
        rows=(
            Row("A (at least 50 %), WCE", "dense_half_wce", printed(
                0.944, 7.2, 0.948, 0.908, 7.3, 0.881, 0.851, 5.9, 0.828)),
            Row("A (at least 50 %), WCE+Dice", "dense_half_wce_dice", printed(
                0.942, 7.4, 0.966, 0.892, 9.3, 0.844, 0.849, 5.8, 0.815)),
            Row("B (100 %), WCE", "dense_closed_wce", printed(
                0.946, 6.2, 0.950, 0.909, 7.1, 0.882, 0.853, 5.4, 0.831)),
            Row("B (100 %), WCE+Dice", "dense_closed_wce_dice", printed(
                0.944, 6.5, 0.969, 0.897, 8.2, 0.853, 0.851, 5.5, 0.817)),
        ),
    ),
    2: Table(
        title="The basal slice of each volume",
        dataset="acdc",
        folds=(0,),
        scorings=(Scoring(BASAL, "in 2D, in the most basal slice that the criterion keeps"),),
        columns=tuple(
            Column(measure, statistic, structure=structure)
            for structure in ("LV", "Myo")
            for measure, statistic in (("dice", "mean"), ("hausdorff_mm", "median"))
        ),
        rows=(
            Row(f"A (at least 50 %), {CORRECTED}", "", printed(0.927, 7.5, 0.811, 13.5)),
            Row(f"A (at least 50 %), {FCN}", "dense_half_wce", printed(0.909, 9.7, 0.808, 13.0)),
            Row(f"B (100 %), {CORRECTED}", "", printed(0.958, 4.7, 0.874, 4.5)),
            Row(f"B (100 %), {FCN}", "dense_closed_wce", printed(0.959, 5.0, 0.873, 4.5)),
        ),
    ),
    3: Table(
        title="Clinical measures against manual ones",
        dataset="acdc",
        folds=(0,),
        scorings=(NATIVE,),
        columns=tuple(
            Column(measure, statistic, structure=structure, phase=phase)
            for measure, structure in (("volume", "LV"), ("volume", "RV"), ("mass", "Myo"))
            for statistic in ("r_squared", "agreement_2_sigma")
            for phase in ("ED", "ES")
        ),
        rows=(
            Row(CORRECTED, "", printed(
                0.99, 0.98, around(-2, 13), around(-2, 14), 0.98, 0.96, around(4, 14), around(7, 12),
                0.92, 0.91, around(7, 26), around(6, 28))),
            Row(FCN, "dense_half_wce", printed(
                0.99, 0.98, around(-1, 12), around(-1, 14), 0.99, 0.95, around(6, 12), around(6, 14),
                0.92, 0.92, around(6, 26), around(5, 26))),
        ),
    ),
}  # fmt: skip

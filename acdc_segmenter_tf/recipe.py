"""Baumgartner, Koch, Pollefeys, Konukoglu 2017, "An Exploration of 2D and 3D Deep Learning Techniques for Cardiac MR Image
Segmentation", arXiv 1709.04496 (ACDC challenge, STACOM 2017).

    python -m acdc_segmenter_tf.train --dataset acdc --data-root DIR [--experiment NAME] [--preset quick]

should take about a day per experiment on one GPU (the paper: 24 h on a Titan Xp) and reach a mean Dice of 0.950 / 0.893 / 0.899
(LV / RV / Myo, the 2D U-Net (mod.) with weighted cross entropy). The comment of each number says where it comes from:
"paper", "authors' code" (the released TensorFlow 1 code), or "ours" where both are silent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from shared.recipes import check, flag, number, one_of, replace, require, several, structures, whole
from shared.scoring.published import NATIVE, Column, Row, Table, printed

NETWORKS_2D, NETWORKS_3D = ("fcn8", "unet2d", "unet2d_modified"), ("unet3d", "unet3d_modified")
LOSSES = ("cross_entropy", "weighted_cross_entropy", "dice_foreground", "dice_all_classes", "dice_paper_formula")
PRECISIONS = ("float32", "bfloat16", "auto")


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What the input of a network depends on."""

    structures: Annotated[tuple[str, ...], structures()]
    spacing_mm: Annotated[tuple[float, ...], several(number(0.05, 50), 2, 3)]
    image_shape: Annotated[tuple[int, ...], several(whole(1, 2048), 2, 3)]

    def __post_init__(self) -> None:
        check(self)

    @property
    def is_3d(self) -> bool:
        return len(self.image_shape) == 3


@dataclass(frozen=True, kw_only=True)
class Recipe:
    network: Annotated[str, one_of(*NETWORKS_2D, *NETWORKS_3D)]
    width: Annotated[int, whole(1, 512)]
    preparation: Preparation
    anti_alias_inference: Annotated[bool, flag()]
    loss: Annotated[str, one_of(*LOSSES)]
    background_weight: Annotated[float, number(0, 1000)]
    foreground_weight: Annotated[float, number(0, 1000, above=True)]
    rotation_deg: Annotated[float, number(0, 180)]
    scale_crop_px: Annotated[int, whole(0, 2048)]
    flip: Annotated[bool, flag()]
    batch_size: Annotated[int, whole(1, 10_000)]
    steps: Annotated[int, whole(1, 10**9)]
    learning_rate: Annotated[float, number(0, 10, above=True)]
    final_learning_rate: Annotated[float, number(0, 10)]
    warmup_learning_rate: Annotated[float, number(0, 10)]
    warmup_steps: Annotated[int, whole(0, 10**9)]
    beta_1: Annotated[float, number(0, 1, below=True)]
    beta_2: Annotated[float, number(0, 1, below=True)]
    epsilon: Annotated[float, number(0, 1, above=True)]
    validate_every: Annotated[int, whole(1, 10**9)]
    validation_modulus: Annotated[int, whole(2, 10_000)]
    precision: Annotated[str, one_of(*PRECISIONS)]

    def __post_init__(self) -> None:
        check(self)
        axes, given = 3 if self.network in NETWORKS_3D else 2, self.preparation
        for field, values in (("spacing_mm", given.spacing_mm), ("image_shape", given.image_shape)):
            require(len(values) == axes, given, field, f"{axes} values for the network {self.network}")
        require(self.scale_crop_px < min(given.image_shape) - 1, self, "scale_crop_px", "less than the image is wide")
        if axes == 3:  # the authors have random transforms in 2D only
            for field, value in (("rotation_deg", self.rotation_deg), ("scale_crop_px", self.scale_crop_px), ("flip", self.flip)):
                require(not value, self, field, f"0 or false for {self.network}, since only 2D networks have it")


UNET2D_MODIFIED = Recipe(
    network="unet2d_modified",
    width=64,  # paper 2.2, figure 2
    preparation=Preparation(
        structures=("RV", "Myo", "LV"),  # paper 2: label values 1, 2, 3
        spacing_mm=(1.36719, 1.36719),  # authors' code; the paper rounds to 1.37; slices keep their spacing
        image_shape=(212, 212),  # authors' code; the paper's 396 x 396 is this plus the zeros padded inside the network
    ),
    anti_alias_inference=False,  # paper; the authors' code smooths before down-sampling since February 2019
    loss="weighted_cross_entropy",  # authors' code; the numbers of Table 2 are those of this loss (README, deviations)
    background_weight=0.1,  # paper 2.3
    foreground_weight=0.3,  # paper 2.3
    rotation_deg=0.0,  # paper: no augmentation; authors' code, FCN-8 from February 2019: 15
    scale_crop_px=0,  # authors' code: 30, switched off everywhere
    flip=False,  # paper: no augmentation; authors' code, FCN-8 from February 2019: True
    batch_size=10,  # authors' code
    steps=3_020_000,  # authors' code: 20000 epochs of 151 steps, cut by the 24 h of the paper
    learning_rate=0.01,  # paper 2.3
    final_learning_rate=0.01,  # paper: constant
    warmup_learning_rate=0.001,  # authors' code
    warmup_steps=50,  # authors' code
    beta_1=0.9,  # paper 2.3
    beta_2=0.999,  # paper 2.3
    epsilon=1e-8,  # authors' code: TensorFlow 1's default; Keras' is 1e-7
    validate_every=100,  # authors' code
    validation_modulus=5,  # authors' code: a patient validates iff its number modulo 5 is 0
    precision="float32",  # ours: both are silent; the hardware of 2017 computed in it
)

UNET3D_MODIFIED = replace(
    UNET2D_MODIFIED,
    network="unet3d_modified",
    width=32,  # paper 2.2: the first convolution
    spacing_mm=(2.5, 2.5, 5.0),  # paper 3
    image_shape=(116, 116, 28),  # authors' code; the paper's 204 x 204 x 60 includes the network's padding
    batch_size=1,  # authors' code
    steps=3_200_000,  # authors' code: 20000 epochs of 160 steps
)

RECIPES = {
    "unet2d_modified_wxent": UNET2D_MODIFIED,
    "unet2d_modified_xent": replace(UNET2D_MODIFIED, loss="cross_entropy"),
    "unet2d_modified_dice": replace(UNET2D_MODIFIED, loss="dice_foreground"),  # ours: the 2017 code's variant, of three
    "unet2d_wxent": replace(UNET2D_MODIFIED, network="unet2d"),
    "fcn8_wxent": replace(UNET2D_MODIFIED, network="fcn8", image_shape=(224, 224)),  # authors' code
    "unet3d_modified_wxent": UNET3D_MODIFIED,
    "unet3d_wxent": replace(UNET3D_MODIFIED, network="unet3d"),  # ours: its loss is not known, it has no result in the paper
}
DEFAULT = "unet2d_modified_wxent"


def quick(recipe: Recipe) -> Recipe:
    """The same experiment, narrower and shorter: a real result in minutes on two CPU cores."""
    shorter = replace(recipe, final_learning_rate=1e-4, precision="auto")
    if recipe.preparation.is_3d:
        return replace(shorter, width=8, image_shape=(84, 84, 28), steps=480, validate_every=80)
    shape = (160, 160) if recipe.network == "fcn8" else (164, 164)
    return replace(shorter, width=16, image_shape=shape, batch_size=5, steps=3000, validate_every=250)


def medium(recipe: Recipe) -> Recipe:
    """The same experiment between quick and the paper's: an evening on two CPU cores, minutes on a GPU."""
    shorter, shape = quick(recipe), recipe.preparation.image_shape
    if recipe.preparation.is_3d:
        return replace(shorter, image_shape=shape, steps=1500, validate_every=150)
    return replace(shorter, width=32, image_shape=shape, rotation_deg=15.0, steps=5000, validate_every=500)


PRESETS: dict[str, Callable[[Recipe], Recipe]] = {"paper": lambda recipe: recipe, "medium": medium, "quick": quick}

# The paper's tables (its section 4), over the 20 validation patients: fold 0.
PUBLISHED = {
    1: Table(
        title="Losses, 2D U-Net (mod.), ED and ES pooled (40 volumes)",
        dataset="acdc",
        folds=(0,),
        scorings=(NATIVE,),
        columns=tuple(
            Column(measure, structure=structure) for structure in ("LV", "RV", "Myo") for measure in ("dice", "assd_mm")
        ),
        rows=(
            Row("Cross entropy", "unet2d_modified_xent", printed(
                (0.950, 0.029), (0.43, 0.41), (0.891, 0.084), (1.06, 1.04), (0.888, 0.031), (0.52, 0.22))),
            Row("Weighted cross entropy", "unet2d_modified_wxent", printed(
                (0.950, 0.036), (0.52, 0.75), (0.893, 0.083), (1.04, 1.06), (0.899, 0.032), (0.51, 0.35))),
            Row("Dice", "unet2d_modified_dice", printed(
                (0.944, 0.051), (0.56, 0.77), (0.843, 0.137), (2.13, 2.03), (0.891, 0.029), (0.55, 0.24))),
        ),
    ),
    2: Table(
        title="Architectures (20 volumes per phase)",
        dataset="acdc",
        folds=(0,),
        scorings=(NATIVE,),
        columns=tuple(
            Column(measure, phase=phase) for phase in ("ED", "ES") for measure in ("dice", "assd_mm", "hausdorff_mm")
        ),
        rows=(
            Row("FCN-8", "fcn8_wxent", structure="LV", cells=printed(
                (0.960, 0.018), (0.41, 0.49), (5.77, 3.05), (0.926, 0.061), (0.64, 0.80), (7.31, 3.39))),
            Row("2D U-Net", "unet2d_wxent", structure="LV", cells=printed(
                (0.965, 0.014), (0.36, 0.38), (5.63, 2.79), (0.937, 0.051), (0.54, 0.64), (6.85, 3.52))),
            Row("2D U-Net (mod.)", "unet2d_modified_wxent", structure="LV", cells=printed(
                (0.966, 0.017), (0.37, 0.48), (5.71, 4.22), (0.935, 0.042), (0.67, 0.92), (8.23, 8.29))),
            Row("3D U-Net (mod.)", "unet3d_modified_wxent", structure="LV", cells=printed(
                (0.939, 0.022), (0.63, 0.50), (8.69, 4.25), (0.905, 0.039), (0.70, 0.38), (9.13, 4.10))),
            Row("FCN-8", "fcn8_wxent", structure="RV", cells=printed(
                (0.932, 0.025), (0.57, 0.45), (12.24, 5.51), (0.835, 0.100), (1.63, 1.07), (13.89, 4.24))),
            Row("2D U-Net", "unet2d_wxent", structure="RV", cells=printed(
                (0.936, 0.028), (0.65, 0.48), (12.43, 6.13), (0.838, 0.085), (1.72, 1.22), (14.52, 5.28))),
            Row("2D U-Net (mod.)", "unet2d_modified_wxent", structure="RV", cells=printed(
                (0.934, 0.039), (0.66, 0.74), (12.17, 6.02), (0.852, 0.095), (1.42, 1.19), (13.46, 6.24))),
            Row("3D U-Net (mod.)", "unet3d_modified_wxent", structure="RV", cells=printed(
                (0.888, 0.069), (1.17, 1.21), (14.91, 5.02), (0.781, 0.101), (2.26, 1.40), (16.24, 5.39))),
            Row("FCN-8", "fcn8_wxent", structure="Myo", cells=printed(
                (0.869, 0.029), (0.55, 0.23), (9.16, 6.74), (0.890, 0.027), (0.62, 0.24), (9.69, 5.28))),
            Row("2D U-Net", "unet2d_wxent", structure="Myo", cells=printed(
                (0.885, 0.027), (0.52, 0.29), (9.01, 7.66), (0.904, 0.029), (0.55, 0.28), (10.06, 5.79))),
            Row("2D U-Net (mod.)", "unet2d_modified_wxent", structure="Myo", cells=printed(
                (0.892, 0.027), (0.45, 0.22), (8.65, 6.02), (0.906, 0.034), (0.56, 0.44), (9.66, 6.21))),
            Row("3D U-Net (mod.)", "unet3d_modified_wxent", structure="Myo", cells=printed(
                (0.802, 0.053), (0.91, 0.34), (11.87, 6.25), (0.839, 0.066), (0.90, 0.42), (10.95, 3.47))),
        ),
    ),
    3: Table(
        title="Clinical measures, 2D U-Net (mod.) (20 patients; EF in %, volumes in ml)",
        dataset="acdc",
        folds=(0,),
        scorings=(NATIVE,),
        columns=tuple(
            Column(measure, statistic, phase=phase)
            for statistic in ("correlation", "agreement")
            for measure, phase in (("ef", ""), ("volume", "ED"), ("volume", "ES"))
        ),
        rows=(
            Row("LV", "unet2d_modified_wxent", structure="LV", cells=printed(
                0.972, 0.998, 0.994, (-0.45, -9.68, 8.78), (1.28, -7.27, 9.83), (2.55, -14.86, 19.96))),
            Row("RV", "unet2d_modified_wxent", structure="RV", cells=printed(
                0.868, 0.961, 0.965, (6.25, -13.08, 25.58), (-0.45, -28.89, 27.99), (-8.08, -33.87, 17.71))),
            Row("Myo", "unet2d_modified_wxent", structure="Myo", cells=printed(
                None, 0.995, 0.988, None, (-5.24, -15.27, 4.79), (-0.71, -17.89, 16.47))),
        ),
    ),
}  # fmt: skip

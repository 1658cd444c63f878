"""Vesal, Maier, Ravikumar 2020, "Fully Automated 3D Cardiac MRI Localisation and Segmentation Using Deep Neural Networks",
Journal of Imaging 6(7):65.

    python -m dr_unet.train --dataset {lasc,acdc} --data-root DIR [--experiment NAME] [--fold all] [--preset quick]

should reach a mean Dice of 0.912 on LASC (multi-stage, 16 filters) and 0.884 on ACDC (multi-stage, Keep Z) on the held-out fifth
of the patients, averaged over five folds. No code of the authors is known. The comment of each number says where it comes
from: "paper", or "ours" where the paper is silent or contradicts itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from shared.recipes import check, flag, name, number, one_of, replace, require, several, structures, whole
from shared.scoring.published import NATIVE, Column, Row, Scoring, Table, printed

NETWORKS, NORMS, JOINS = ("dr_unet", "unet3d", "vnet"), ("batch", "instance"), ("multiply", "concat", "add")
BINARY_LOSSES, MULTICLASS_LOSSES = (("bce_dice", "bce_dice_as_printed"), ("multiclass_dice", "multiclass_dice_as_printed"))
Grid = Annotated[tuple[int, ...], several(whole(1, 2048), 3)]
Factors = Annotated[tuple[int, ...], several(whole(1, 64), 3)]
PRECISIONS = ("float32", "bfloat16", "auto")


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What the input of the networks depends on."""

    structures: Annotated[tuple[str, ...], structures()]
    clahe_clip: Annotated[float, number(0, 1000, above=True)]
    clahe_tile_mm: Annotated[float, number(1, 10_000)]
    spacing_mm: Annotated[tuple[float, ...], several(number(0.05, 50), 3)]
    image_shape: Grid
    input_factors: Factors
    localiser_factors: Factors
    localiser_shape: Grid
    crop_shape: Grid

    def __post_init__(self) -> None:
        check(self)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the input of a network that works on the whole grid."""
        return tuple(n // factor for n, factor in zip(self.image_shape, self.input_factors, strict=True))

    @property
    def outputs(self) -> int:
        """Logits per voxel: one for a single structure, else one per class, background included."""
        return len(self.structures) + 1 if len(self.structures) > 1 else 1


@dataclass(frozen=True, kw_only=True)
class Recipe:
    method: Annotated[str, one_of("single", "multi_stage", "end_to_end")]
    network: Annotated[str, one_of(*NETWORKS)]
    width: Annotated[int, whole(1, 512)]
    localiser_width: Annotated[int, whole(1, 512)]
    keep_z: Annotated[bool, flag()]
    projection: Annotated[bool, flag()]
    normalisation: Annotated[str, one_of(*NORMS)]
    bottleneck_norm: Annotated[bool, flag()]
    vnet_kernel: Annotated[int, whole(1, 15)]
    join: Annotated[str, one_of(*JOINS)]
    preparation: Preparation
    gcam_score: Annotated[str, one_of("logits", "predicted", "probabilities")]
    gcam_layer: Annotated[str, name()]
    gcam_threshold: Annotated[float, number(0, 1)]
    largest_components: Annotated[bool, flag()]
    rotation_deg: Annotated[float, number(0, 180)]
    zoom: Annotated[float, number(0, 0.9)]
    gamma: Annotated[tuple[float, ...], several(number(0.01, 100), 2)]
    loss: Annotated[str, one_of(*BINARY_LOSSES, *MULTICLASS_LOSSES)]
    localiser_loss: Annotated[str, one_of(*BINARY_LOSSES)]
    localiser_weight: Annotated[float, number(0, 1000)]
    smoothing: Annotated[float, number(0, 1e6, above=True)]
    batch_size: Annotated[int, whole(1, 10_000)]
    localiser_batch_size: Annotated[int, whole(1, 10_000)]
    epochs: Annotated[int, whole(1, 10**6)]
    localiser_epochs: Annotated[int, whole(1, 10**6)]
    patience: Annotated[int, whole(1, 10**6)]
    learning_rate: Annotated[float, number(0, 10, above=True)]
    final_learning_rate: Annotated[float, number(0, 10)]
    beta_1: Annotated[float, number(0, 1, below=True)]
    beta_2: Annotated[float, number(0, 1, below=True)]
    epsilon: Annotated[float, number(0, 1, above=True)]
    test_parts: Annotated[int, whole(2, 10_000)]
    folds: Annotated[int, whole(2, 10_000)]
    split_seed: Annotated[int, whole(0, 2**32 - 1)]
    precision: Annotated[str, one_of(*PRECISIONS)]

    def __post_init__(self) -> None:
        check(self)
        given = self.preparation
        losses = BINARY_LOSSES if given.outputs == 1 else MULTICLASS_LOSSES
        count = "one structure" if given.outputs == 1 else "several structures"
        require(self.loss in losses, self, "loss", f"{' or '.join(losses)} for {count}")
        multi_stage = self.method == "multi_stage"
        name, factors = ("localiser_factors", given.localiser_factors) if multi_stage else ("input_factors", given.input_factors)
        require(self.gamma[0] <= self.gamma[1], self, "gamma", "the smaller number first")
        divided = all(n % factor == 0 for n, factor in zip(given.image_shape, factors, strict=True))
        require(divided, given, "image_shape", f"a multiple of {name} {','.join(map(str, factors))}")


LASC = Recipe(
    method="multi_stage",  # paper 3.2: "single", "multi_stage" or "end_to_end"
    network="dr_unet",  # paper 3.1
    width=16,  # paper, table 2: the best row
    localiser_width=8,  # ours: the paper's "below one million parameters" leaves only 8
    keep_z=False,  # paper 3.1: pooling in x, y and z
    projection=False,  # paper 3.1: plain concatenation; the first author's later 2D code projects
    normalisation="batch",  # paper 3.1; "instance" where batches are too small for it
    bottleneck_norm=False,  # ours: as the first author's later 2D code
    vnet_kernel=3,  # ours: comparable size; the original V-Net has 5
    join="multiply",  # paper, its equation; its text also says dot product, addition and concatenation
    preparation=Preparation(
        structures=("LA",),  # paper 4.1
        clahe_clip=2.0,  # ours
        clahe_tile_mm=47.5,  # ours: 8 x 8 tiles on full scans of 360 to 400 mm; a cropped one gets fewer, not smaller ones
        spacing_mm=(0.625, 0.625, 0.625),  # paper 4.1: the data's own
        image_shape=(576, 576, 88),  # ours: the smaller of the two sizes in the data
        input_factors=(2, 2, 1),  # ours: single networks and end-to-end see 288 x 288 x 88
        localiser_factors=(4, 4, 2),  # ours
        localiser_shape=(144, 144, 48),  # ours: 44 slices padded to a multiple of 8
        crop_shape=(256, 256, 88),  # ours: 160 mm in-plane, every slice
    ),
    gcam_score="logits",  # ours: the paper does not define the score of a segmentation network
    gcam_layer="features",  # paper 3.2: "the final convolution"; ours: the input of the 1x1x1 head
    gcam_threshold=0.5,  # ours
    largest_components=False,  # ours: the paper mentions no clean-up of label maps
    rotation_deg=0.0,  # ours: the paper mentions no augmentation; in-plane, either way
    zoom=0.0,  # ours: as above; share of the slice that a random crop may lose before it is enlarged again
    gamma=(1.0, 1.0),  # ours: as above; least and greatest exponent of the grey values
    loss="bce_dice",  # paper 3.4, equation 4
    localiser_loss="bce_dice",  # paper 3.4
    localiser_weight=1.0,  # ours: without it nothing ties the first network of end-to-end to localisation
    smoothing=1.0,  # ours: as the first author's later code
    batch_size=1,  # ours
    localiser_batch_size=4,  # ours
    epochs=300,  # ours: at most
    localiser_epochs=300,  # ours: at most
    patience=30,  # ours: the paper stops "when the validation accuracy stopped increasing"
    learning_rate=1e-4,  # paper 4.2
    final_learning_rate=1e-4,  # paper 4.2: fixed
    beta_1=0.9,  # paper 4.2
    beta_2=0.999,  # paper 4.2
    epsilon=1e-7,  # ours: the default of Keras, which the paper used
    test_parts=5,  # paper 4.1: 80 % for training and validation, 20 % held out
    folds=5,  # paper 4.1: five-fold cross validation inside the 80 %
    split_seed=0,  # ours
    precision="float32",  # ours: the paper is silent; the hardware of its day computed in it
)

ACDC = replace(
    LASC,
    width=32,  # paper 4.2
    structures=("RV", "Myo", "LV"),  # paper 4.1
    spacing_mm=(1.25, 1.25, 10.0),  # paper 4.1
    image_shape=(256, 256, 16),  # paper 4.1
    input_factors=(1, 1, 1),  # paper 4.1
    localiser_factors=(2, 2, 1),  # ours
    localiser_shape=(128, 128, 16),  # ours
    crop_shape=(128, 128, 16),  # ours: 160 mm in-plane, every slice
    loss="multiclass_dice",  # paper 3.4, equation 5
    batch_size=4,  # ours
)

LASC_8 = replace(LASC, width=8)
ACDC_WHOLE = replace(ACDC, batch_size=1)  # ours: a whole volume has the voxels of four crops

RECIPES = {
    "unet3d_f8": replace(LASC_8, method="single", network="unet3d"),
    "vnet_f8": replace(LASC_8, method="single", network="vnet"),
    "dr_unet_f8": replace(LASC_8, method="single"),
    "multi_stage_f8": LASC_8,
    "end_to_end_f8": replace(LASC_8, method="end_to_end"),
    "multi_stage_f16": LASC,
    "unet3d_f32": replace(ACDC_WHOLE, method="single", network="unet3d"),
    "vnet_f32": replace(ACDC_WHOLE, method="single", network="vnet"),
    "dr_unet_f32": replace(ACDC_WHOLE, method="single"),
    "multi_stage_f32": ACDC,
    "end_to_end_f32": replace(ACDC_WHOLE, method="end_to_end"),
    "multi_stage_keep_z_f32": replace(ACDC, keep_z=True),
    "end_to_end_keep_z_f32": replace(ACDC_WHOLE, method="end_to_end", keep_z=True),
}
DEFAULT = {"acdc": "multi_stage_keep_z_f32", "lasc": "multi_stage_f16"}  # by data set; the first is for all other data sets


def quick(recipe: Recipe) -> Recipe:
    """The same experiment on a coarser grid around the image's centre, narrower and shorter: minutes on two CPU cores."""
    shorter = replace(recipe, width=8, normalisation="instance", learning_rate=1e-3, final_learning_rate=2e-5, precision="auto")
    if recipe.preparation.structures != LASC.preparation.structures:
        image = {"image_shape": (128, 128, 16), "localiser_shape": (64, 64, 16), "crop_shape": (80, 80, 16)}
        return replace(shorter, spacing_mm=(2.0, 2.0, 10.0), batch_size=2, epochs=8, localiser_epochs=4, **image)
    against_outliers = {"rotation_deg": 20.0, "zoom": 0.15, "gamma": (0.5, 2.0), "largest_components": True}
    left_atrium = replace(shorter, localiser_batch_size=1, epochs=30, localiser_epochs=15, **against_outliers)
    if recipe.method != "multi_stage":
        return replace(left_atrium, spacing_mm=(1.25, 1.25, 1.25), image_shape=(112, 80, 48), input_factors=(1, 1, 1))
    return replace(
        left_atrium,
        spacing_mm=(1.0, 1.0, 1.25),
        image_shape=(144, 112, 48),
        localiser_factors=(2, 2, 2),
        localiser_shape=(72, 56, 24),
        crop_shape=(128, 88, 48),
        epochs=50,
    )


def medium(recipe: Recipe) -> Recipe:
    """The same experiment between quick and the paper's: an evening on two CPU cores, minutes on a GPU."""
    multi_stage = recipe.method == "multi_stage"
    if recipe.preparation.structures == LASC.preparation.structures:
        return replace(quick(recipe), width=16, epochs=75 if multi_stage else 100)
    grid = {"spacing_mm": recipe.preparation.spacing_mm, "crop_shape": recipe.preparation.crop_shape}
    image = {"image_shape": (208, 208, 16), "localiser_shape": (104, 104, 16)}
    turned = {"rotation_deg": 20.0, "zoom": 0.15}
    return replace(quick(recipe), width=16, epochs=60 if multi_stage else 30, localiser_epochs=8, **turned, **grid, **image)


PRESETS: dict[str, Callable[[Recipe], Recipe]] = {"paper": lambda recipe: recipe, "medium": medium, "quick": quick}


COLUMNS = ("dice", "hausdorff_mm", "hausdorff_voxels", "hausdorff_slice_mm", "asd_mm")
RESAMPLED = Scoring("cases_resampled.csv", "on the paper's grid, 10 x 1.25 x 1.25 mm (the quick preset's own is coarser)")
Numbers = tuple[float, float]  # mean and std


def row(label: str, experiment: str, dice: Numbers, hausdorff: Numbers, asd: Numbers, structure: str = "") -> Row:
    """A row of the paper. Which Hausdorff distance the authors used is open, so theirs stands next to each of ours."""
    return Row(label, experiment, printed(dice, hausdorff, hausdorff, hausdorff, asd), structure)


# The paper's tables: 20 held-out patients, all folds pooled. Rows without an experiment are methods that need another detector.
PUBLISHED = {
    2: Table(
        title="LASC, left atrium (8 and 16: filters of the first block)",
        dataset="lasc",
        folds=(0, 1, 2, 3, 4),
        scorings=(NATIVE,),
        columns=tuple(Column(measure, structure="LA") for measure in COLUMNS),
        rows=(
            row("3D U-Net, 8", "unet3d_f8", (0.843, 0.187), (25.569, 21.107), (1.853, 1.536)),
            row("3D V-Net, 8", "vnet_f8", (0.842, 0.209), (26.397, 25.387), (1.628, 1.136)),
            row("3D DR-UNet, 8", "dr_unet_f8", (0.874, 0.098), (24.612, 11.829), (1.728, 1.200)),
            row("multi-stage, 8", "multi_stage_f8", (0.904, 0.029), (21.685, 7.793), (1.539, 0.615)),
            row("end-to-end, 8", "end_to_end_f8", (0.889, 0.062), (21.734, 11.216), (1.621, 0.889)),
            row("Yang et al., 16", "", (0.893, 0.067), (24.45, 12.455), (1.455, 1.211)),
            row("multi-stage, 16", "multi_stage_f16", (0.912, 0.031), (20.308, 8.305), (1.386, 0.486)),
        ),
    ),
    3: Table(
        title="ACDC, mean over LV, RV and Myo, ED and ES pooled (32 filters)",
        dataset="acdc",
        folds=(0, 1, 2, 3, 4),
        scorings=(RESAMPLED, replace(NATIVE, suffix="_native")),
        columns=tuple(Column(measure, structure="mean") for measure in COLUMNS),
        rows=(
            row("3D U-Net", "unet3d_f32", (0.825, 0.123), (7.282, 7.013), (1.680, 4.505)),
            row("3D V-Net", "vnet_f32", (0.842, 0.080), (5.894, 2.664), (0.586, 0.406)),
            row("3D DR-UNet", "dr_unet_f32", (0.848, 0.056), (5.729, 2.573), (0.591, 0.461)),
            row("Mask-RCNN", "", (0.853, 0.088), (5.127, 2.312), (0.505, 0.821)),
            row("multi-stage", "multi_stage_f32", (0.850, 0.068), (5.815, 2.715), (0.575, 0.465)),
            row("end-to-end", "end_to_end_f32", (0.837, 0.078), (5.991, 2.598), (0.608, 0.370)),
            row("multi-stage, Keep Z", "multi_stage_keep_z_f32", (0.884, 0.053), (4.916, 2.247), (0.415, 0.244)),
            row("end-to-end, Keep Z", "end_to_end_keep_z_f32", (0.875, 0.084), (5.583, 3.447), (0.543, 0.651)),
        ),
    ),
    4: Table(
        title="ACDC per structure, ED and ES pooled (32 filters)",
        dataset="acdc",
        folds=(0, 1, 2, 3, 4),
        scorings=(RESAMPLED, replace(NATIVE, suffix="_native")),
        columns=tuple(Column(measure) for measure in COLUMNS),
        rows=(
            row("3D U-Net", "unet3d_f32", (0.889, 0.128), (3.943, 2.69), (0.568, 0.86), "LV"),
            row("3D U-Net", "unet3d_f32", (0.781, 0.203), (11.751, 19.97), (3.780, 16.82), "RV"),
            row("3D U-Net", "unet3d_f32", (0.805, 0.113), (6.153, 3.55), (0.693, 1.08), "Myo"),
            row("3D V-Net", "vnet_f32", (0.908, 0.066), (3.683, 1.522), (0.424, 0.25), "LV"),
            row("3D V-Net", "vnet_f32", (0.809, 0.121), (8.231, 4.25), (0.777, 0.70), "RV"),
            row("3D V-Net", "vnet_f32", (0.809, 0.079), (5.769, 2.43), (0.556, 0.31), "Myo"),
            row("3D DR-UNet", "dr_unet_f32", (0.904, 0.081), (3.588, 1.54), (0.439, 0.32), "LV"),
            row("3D DR-UNet", "dr_unet_f32", (0.825, 0.109), (8.097, 3.78), (0.78, 0.69), "RV"),
            row("3D DR-UNet", "dr_unet_f32", (0.814, 0.098), (5.501, 2.64), (0.550, 0.42), "Myo"),
            row("multi-stage", "multi_stage_f32", (0.910, 0.090), (3.634, 2.39), (0.422, 0.47), "LV"),
            row("multi-stage", "multi_stage_f32", (0.820, 0.107), (8.046, 5.79), (0.789, 1.21), "RV"),
            row("multi-stage", "multi_stage_f32", (0.821, 0.131), (5.766, 3.19), (0.513, 0.62), "Myo"),
            row("end-to-end", "end_to_end_f32", (0.901, 0.080), (3.799, 2.47), (0.474, 0.46), "LV"),
            row("end-to-end", "end_to_end_f32", (0.811, 0.120), (8.166, 6.11), (0.776, 1.23), "RV"),
            row("end-to-end", "end_to_end_f32", (0.800, 0.201), (6.007, 4.19), (0.575, 0.71), "Myo"),
            row("multi-stage, Keep Z", "multi_stage_keep_z_f32", (0.928, 0.057), (3.054, 1.24), (0.313, 0.17), "LV"),
            row("multi-stage, Keep Z", "multi_stage_keep_z_f32", (0.871, 0.075), (6.975, 3.44), (0.515, 0.41), "RV"),
            row("multi-stage, Keep Z", "multi_stage_keep_z_f32", (0.853, 0.06), (4.718, 2.32), (0.418, 0.19), "Myo"),
            row("end-to-end, Keep Z", "end_to_end_keep_z_f32", (0.920, 0.070), (3.623, 2.39), (0.397, 0.41), "LV"),
            row("end-to-end, Keep Z", "end_to_end_keep_z_f32", (0.86, 0.097), (7.889, 5.59), (0.727, 1.11), "RV"),
            row("end-to-end, Keep Z", "end_to_end_keep_z_f32", (0.846, 0.108), (5.237, 3.09), (0.504, 0.60), "Myo"),
        ),
    ),
}

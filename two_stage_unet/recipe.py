"""Wang, MacGillivray, Macnaught, Yang, Newby 2018, "A Two-Stage U-Net Model for 3D Multi-class Segmentation on Full-Resolution
Cardiac Data", STACOM 2018, LNCS 11395, 191-199 (MM-WHS challenge).

    python -m two_stage_unet.train --dataset {mmwhs_ct,mmwhs_mr} --data-root DIR [--experiment NAME] [--fold all] [--preset quick]

should reach a mean Dice over seven structures of 0.869 in CT and 0.912 in MR (Net1 + Net2). No code of the authors is known. What
each number comes from: "paper", or "ours" where the paper is silent or contradicts itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from shared.recipes import check, flag, number, one_of, replace, require, several, structures, whole
from shared.scoring.published import BY_EYE, MEAN, NATIVE, WHOLE, Column, Row, Table, printed

REGIONS, WEIGHTS = ("foreground", "expected_label", "softmax"), ("inverse_count", "uniform", "printed")
ACTIVATIONS, NORMALISATIONS = ("relu", "selu"), ("none", "batch", "instance")
SLICE_BLOCKS, SKIPS = ("two_conv", "single"), ("centre", "slice_conv")
PRECISIONS = ("float32", "bfloat16", "auto")


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What the input of the networks depends on, except for the soft region that Net1 finds."""

    structures: Annotated[tuple[str, ...], structures()]
    coarse_mm: Annotated[float, number(0.5, 50)]
    fine_mm: Annotated[float, number(0, 50)]
    percentiles: Annotated[tuple[float, ...], several(number(0, 100), 2)]

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    method: Annotated[str, one_of("two_stage", "unet3d")]
    preparation: Preparation
    net1_width: Annotated[int, whole(1, 512)]
    net2_width: Annotated[int, whole(1, 512)]
    unet3d_width: Annotated[int, whole(1, 512)]
    bottleneck: Annotated[bool, flag()]
    typical_extent: Annotated[int, whole(16, 1024)]
    slices: Annotated[int, whole(3, 99)]
    slice_block: Annotated[str, one_of(*SLICE_BLOCKS)]
    skips: Annotated[str, one_of(*SKIPS)]
    region: Annotated[str, one_of(*REGIONS)]
    net1_activation: Annotated[str, one_of(*ACTIVATIONS)]
    net2_activation: Annotated[str, one_of(*ACTIVATIONS)]
    dropout: Annotated[float, number(0, 1, below=True)]
    net1_normalisation: Annotated[str, one_of(*NORMALISATIONS)]
    net2_normalisation: Annotated[str, one_of(*NORMALISATIONS)]
    unet3d_normalisation: Annotated[str, one_of(*NORMALISATIONS)]
    steps: Annotated[tuple[int, ...], several(whole(1, 4))]
    iterations: Annotated[tuple[int, ...], several(whole(1, 10**9), 4)]
    unet3d_iterations: Annotated[int, whole(1, 10**9)]
    validate_every: Annotated[int, whole(1, 10**9)]
    edges: Annotated[tuple[int, ...], several(whole(16, 1024))]
    cubes: Annotated[tuple[int, ...], several(whole(1, 100))]
    net1_edge: Annotated[int, whole(16, 1024)]
    stacks: Annotated[int, whole(1, 1000)]
    stack_edge: Annotated[int, whole(0, 1024)]
    unet3d_edge: Annotated[int, whole(8, 1024)]
    class_weights: Annotated[str, one_of(*WEIGHTS)]
    dice_as_printed: Annotated[bool, flag()]
    smoothing: Annotated[float, number(0, 1e6, above=True)]
    learning_rate: Annotated[float, number(0, 10, above=True)]
    final_learning_rate: Annotated[float, number(0, 10)]
    beta_1: Annotated[float, number(0, 1, below=True)]
    beta_2: Annotated[float, number(0, 1, below=True)]
    epsilon: Annotated[float, number(0, 1, above=True)]
    clip_norm: Annotated[float, number(0, 1e6)]
    rotation_deg: Annotated[float, number(0, 180)]
    translation: Annotated[float, number(0, 1)]
    shear_deg: Annotated[float, number(0, 45)]
    scaling: Annotated[float, number(0, 0.9)]
    flip: Annotated[bool, flag()]
    elastic_mm: Annotated[float, number(0, 100)]
    elastic_nodes: Annotated[int, whole(4, 32)]
    gamma: Annotated[tuple[float, ...], several(number(0.01, 100), 2)]
    tile_margin_mm: Annotated[float, number(0, 1000)]
    largest_components: Annotated[bool, flag()]
    test_parts: Annotated[int, whole(2, 10_000)]
    folds: Annotated[int, whole(2, 10_000)]
    report_folds: Annotated[bool, flag()]
    split_seed: Annotated[int, whole(0, 2**32 - 1)]
    precision: Annotated[str, one_of(*PRECISIONS)]

    def __post_init__(self) -> None:
        check(self)
        low, high = self.preparation.percentiles
        require(low < high, self.preparation, "percentiles", "the smaller number first")
        require(self.gamma[0] <= self.gamma[1], self, "gamma", "the smaller number first")
        require(self.slices % 2 == 1, self, "slices", "an odd number, so that one slice is in the middle")
        require(list(self.steps) == sorted(set(self.steps)), self, "steps", "some of 1,2,3,4, in this order")
        require(4 in self.steps, self, "steps", "4 among them, since only step 4 ends with a network that is ready")
        require(min(self.steps) < 4, self, "steps", "at least one that trains Net1, for which step 4 is too late")
        require(len(self.cubes) == len(self.edges), self, "cubes", f"as many numbers as edges, {len(self.edges)}")


TWO_STAGE = Recipe(
    method="two_stage",  # paper
    preparation=Preparation(
        structures=("LV", "Myo", "RV", "LA", "RA", "AA", "PA"),  # paper, in the order of its tables
        coarse_mm=3.0,  # paper: Net1; isotropic
        fine_mm=0.0,  # paper: full resolution; 0 is the scan's own grid
        percentiles=(0.0, 100.0),  # ours: of the grey values that become -1 and 1 (paper); the darkest and the brightest
    ),
    net1_width=16,  # ours
    net2_width=32,  # ours
    unet3d_width=32,  # ours
    bottleneck=False,  # ours: the text counts 4 + 4 blocks
    typical_extent=128,  # ours: voxels of 3 mm that Net1 sees along an axis, for which its initial weights keep the variance
    slices=9,  # paper
    slice_block="two_conv",  # ours: the printed kernel, 1x1x(K-1), leaves two slices
    skips="centre",  # ours
    region="foreground",  # ours: the paper gives Net2 two channels, but Net1 eight outputs
    net1_activation="relu",  # paper; the preprint mentions SELU
    net2_activation="relu",  # paper
    dropout=0.2,  # paper
    net1_normalisation="none",  # paper: none is mentioned
    net2_normalisation="none",  # paper
    unet3d_normalisation="batch",  # ours: as Cicek 2016
    steps=(1, 2, 3, 4),  # paper
    iterations=(3200, 3200, 3200, 3200),  # paper: 200 epochs of 16, in each step
    unet3d_iterations=12_800,  # ours: as many as the four steps have together
    validate_every=160,  # ours: ten epochs
    edges=(64, 128, 256),  # paper
    cubes=(4, 2, 1),  # ours: cubes per iteration, for each edge
    net1_edge=64,  # ours: voxels of 3 mm that Net1 sees about a cube in step 3, at least
    stacks=4,  # ours: stacks of slices per cube in step 3, and per iteration in step 4
    stack_edge=0,  # paper: whole slices in step 4; otherwise a square of this edge about the drawn voxel
    unet3d_edge=128,  # ours
    class_weights="inverse_count",  # ours: the printed weights are unusable
    dice_as_printed=False,  # ours: as printed it cannot see what is found outside a class
    smoothing=1.0,  # ours
    learning_rate=1e-4,  # paper
    final_learning_rate=1e-4,  # ours: constant, with a fresh Adam in each step
    beta_1=0.9,  # ours: the default of Keras
    beta_2=0.999,  # ours: the default of Keras
    epsilon=1e-7,  # ours: the default of Keras
    clip_norm=0.0,  # ours: gradients of any length; otherwise that of each variable is at most this long
    rotation_deg=10.0,  # ours: the paper names the kinds of augmentation, but no ranges
    translation=0.1,  # ours: share of the extent
    shear_deg=5.0,  # ours
    scaling=0.1,  # ours
    flip=True,  # ours: one axis, with probability 1/2
    elastic_mm=5.0,  # ours: standard deviation at the nodes
    elastic_nodes=4,  # ours: per axis
    gamma=(1.0, 1.0),  # ours: the paper changes no grey values; least and greatest exponent
    tile_margin_mm=10.0,  # ours
    largest_components=False,  # ours: the paper mentions no clean-up of label maps
    test_parts=4,  # paper: 5 of 20 volumes are held out
    folds=3,  # paper: of the 15 others
    report_folds=False,  # ours: the text also allows to report the validation part of each fold
    split_seed=0,  # ours
    precision="float32",  # ours: paper silent
)

RECIPES = {
    "two_stage": TWO_STAGE,
    "without_step_1": replace(TWO_STAGE, steps=(2, 3, 4)),  # paper: what each step is for, judged by eye there
    "without_step_2": replace(TWO_STAGE, steps=(1, 3, 4)),
    "without_step_3": replace(TWO_STAGE, steps=(1, 2, 4)),
    "unet3d": replace(TWO_STAGE, method="unet3d", coarse_mm=2.0),  # paper: the 3D U-Net at 2 mm
}
DEFAULT = "two_stage"


def quick(recipe: Recipe) -> Recipe:
    """The same experiment, narrower, coarser and shorter: minutes on two CPU cores. Chosen by validation cases of LASC."""
    return replace(
        recipe,
        coarse_mm=2.0 if recipe.method == "unet3d" else 4.0,
        fine_mm=2.0,
        percentiles=(1.0, 99.0),  # the brightest voxels of MR differ from scan to scan
        typical_extent=64,
        net1_width=8,
        net2_width=16,
        unet3d_width=8,
        net2_normalisation="instance",  # without it, these few iterations do not teach Net2 several structures
        unet3d_normalisation="instance",
        net1_activation="selu",  # of the preprint, made for networks without normalisation
        dropout=0.0,
        slices=5,
        iterations=(150, 500, 150, 4500),  # paper: only step 4 needs to converge
        unet3d_iterations=2000,
        validate_every=200,
        edges=(32, 48, 96),  # 96 coarse voxels are a whole chest, as prediction shows it to Net1
        cubes=(2, 2, 1),
        net1_edge=32,
        stack_edge=96,  # about what the tile of prediction holds; whole slices take up to four times as long
        unet3d_edge=64,
        learning_rate=5e-4,
        final_learning_rate=2e-5,
        clip_norm=1.0,  # without it, networks without normalisation may end with background everywhere
        rotation_deg=20.0,
        scaling=0.15,
        gamma=(0.5, 2.0),  # scans of MR differ in contrast
        tile_margin_mm=30.0,  # a coarse grid of 4 mm misses what lies beyond 10 mm
        precision="auto",
    )


def medium(recipe: Recipe) -> Recipe:
    """The same experiment between quick and the paper's: an evening on two CPU cores, minutes on a GPU."""
    longer = {"iterations": (300, 1000, 300, 10_000), "unet3d_iterations": 4000, "unet3d_width": 16}
    return replace(quick(recipe), largest_components=True, **longer)


PRESETS: dict[str, Callable[[Recipe], Recipe]] = {"paper": lambda recipe: recipe, "medium": medium, "quick": quick}

# The paper's tables: Dice and Jaccard of five held-out volumes, without standard deviations.
STRUCTURES = ("LV", "Myo", "RV", "LA", "RA", "AA", "PA")
NET1 = "cases_net1.csv"
OVERLAP = tuple(Column(measure, structure=structure) for structure in STRUCTURES for measure in ("dice", "jaccard"))

CHALLENGE = {  # structure -> Dice, Jaccard, ASD (mm) in CT, and in MR
    "LV": ((0.7995, 0.6999, 4.4067), (0.8632, 0.7693, 1.9916)),
    "Myo": ((0.7293, 0.6091, 5.4854), (0.7443, 0.6049, 2.3106)),
    "RV": ((0.7857, 0.6841, 4.8816), (0.8485, 0.7469, 1.8925)),
    "LA": ((0.9044, 0.8285, 1.3978), (0.8524, 0.7483, 1.7081)),
    "RA": ((0.7936, 0.6906, 4.1707), (0.8396, 0.7404, 2.7566)),
    "AA": ((0.8735, 0.8113, 3.7898), (0.8236, 0.7095, 4.2610)),
    "PA": ((0.6482, 0.5169, 6.0041), (0.7876, 0.6657, 2.9296)),
}


def challenge_rows(label: str, dataset: str, part: int, whole: tuple[float, float], whole_asd_mm: float) -> tuple[Row, ...]:
    """The rows of one modality of Table 4. How the distance of a whole heart was taken is not known: it is only quoted."""
    return (
        *(Row(label, "two_stage", printed(*both[part]), structure=name, dataset=dataset) for name, both in CHALLENGE.items()),
        Row(label, "two_stage", printed(*whole, None), structure=WHOLE, dataset=dataset),
        Row(label, "", printed(None, None, whole_asd_mm), structure=WHOLE),
    )


def row(label: str, experiment: str, dice: tuple[float, ...], jaccard: tuple[float, ...], file: str = "") -> Row:
    """A row of Table 2 or 3."""
    return Row(label, experiment, printed(*(each for pair in zip(dice, jaccard, strict=True) for each in pair)), file=file)


PUBLISHED: dict[int | str, Table] = {
    2: Table(
        title="CT, seven structures",
        dataset="mmwhs_ct",
        folds=(0, 1, 2), scorings=(NATIVE,),
        columns=OVERLAP,
        rows=(
            row("3D U-Net, 2 mm", "unet3d", (0.6451, 0.8301, 0.7873, 0.7768, 0.6784, 0.8306, 0.7123),
                (0.4889, 0.7126, 0.6572, 0.6397, 0.5217, 0.7143, 0.5560)),
            row("Net1", "two_stage", (0.6774, 0.8107, 0.8136, 0.8118, 0.7997, 0.8889, 0.8086),
                (0.5399, 0.6979, 0.6977, 0.6908, 0.6717, 0.8030, 0.6802), NET1),
            row("Net1 + Net2", "two_stage", (0.8374, 0.8588, 0.8600, 0.8613, 0.8620, 0.9176, 0.8846),
                (0.7823, 0.8210, 0.8233, 0.8256, 0.8268, 0.8534, 0.7959)),
        ),
    ),
    3: Table(
        title="MR, seven structures",
        dataset="mmwhs_mr",
        folds=(0, 1, 2), scorings=(NATIVE,),
        columns=OVERLAP,
        rows=(
            row("3D U-Net, 2 mm", "unet3d", (0.8296, 0.9141, 0.9173, 0.8946, 0.8792, 0.9202, 0.8847),
                (0.7106, 0.8419, 0.8479, 0.8107, 0.7894, 0.8526, 0.7938)),
            row("Net1", "two_stage", (0.8811, 0.9367, 0.9131, 0.9334, 0.8572, 0.8750, 0.9204),
                (0.7877, 0.8813, 0.8430, 0.8757, 0.7694, 0.7833, 0.8528), NET1),
            row("Net1 + Net2", "two_stage", (0.8813, 0.9377, 0.9125, 0.9338, 0.9220, 0.8758, 0.9210),
                (0.7879, 0.8829, 0.8422, 0.8764, 0.8568, 0.7847, 0.8539)),
        ),
    ),
    4: Table(
        title="the challenge's secret test set in the paper, our held-out patients",
        dataset="mmwhs_ct",
        folds=(0, 1, 2), scorings=(NATIVE,),
        columns=(Column("dice"), Column("jaccard"), Column("asd_mm")),
        rows=(
            *challenge_rows("CT, Net1 + Net2", "mmwhs_ct", 0, (0.8060, 0.6970), 4.1971),
            *challenge_rows("MR, Net1 + Net2", "mmwhs_mr", 1, (0.8323, 0.7201), 2.4718),
        ),
    ),
    "steps": Table(
        title="the training without one of its steps, and the baseline",
        dataset="mmwhs_ct",
        folds=(0, 1, 2), scorings=(NATIVE,),
        columns=(Column("dice", structure=MEAN), Column("assd_mm", structure=MEAN)),
        rows=tuple(
            Row(label, experiment, (BY_EYE, BY_EYE), file=file)
            for label, experiment, file in (
                ("all steps", "two_stage", ""), ("without step 1", "without_step_1", ""),
                ("without step 2", "without_step_2", ""), ("without step 3", "without_step_3", ""),
                ("all steps, Net1", "two_stage", NET1), ("3D U-Net, 2 mm", "unet3d", ""),
            )
        ),
    ),
}  # fmt: skip

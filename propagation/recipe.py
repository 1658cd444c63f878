"""Zheng, Delingette, Duchateau, Ayache 2018, "3D Consistent Biventricular Myocardial Segmentation Using Deep Learning for Mesh
Generation", arXiv 1803.11080.

    python -m propagation.train --dataset {stacom,acdc} --data-root DIR [--experiment NAME] [--fold all] [--preset quick]

should reach a 3D Dice of about 0.78 below the base on the STACOM volunteers, the two numbers that the paper gives. No code or
weights of this paper were released, and the figure with the networks' filter sizes could not be had. The comment of
each number says where it comes from: "paper", "later code" (the authors' networks of the follow-ups), or "ours" where the paper
is silent.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from shared.recipes import check, flag, number, one_of, replace, require, several, whole
from shared.scoring.published import Column, Row, Scoring, Table, printed

NORMS = ("batch", "instance")
PRECISIONS = ("float32", "bfloat16", "auto")


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What the input of the networks depends on."""

    size: Annotated[int, whole(4, 2048)]
    spacing_mm: Annotated[float, number(0.05, 50)]
    percentiles: Annotated[tuple[float, ...], several(number(0, 100), 2)]
    rv_wall_mm: Annotated[float, number(0, 50, above=True)]

    def __post_init__(self) -> None:
        check(self)
        require(self.size % 4 == 0, self, "size", "a multiple of 4")
        require(self.percentiles[0] < self.percentiles[1], self, "percentiles", "a lower number before a higher one")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    method: Annotated[str, one_of("propagation", "initialization")]
    preparation: Preparation
    initialization_groups: Annotated[tuple[int, ...], several(whole(1, 64), 3)]
    initialization_channels: Annotated[tuple[int, ...], several(whole(1, 1024), 3)]
    propagation_groups: Annotated[tuple[int, ...], several(whole(1, 64), 2)]
    propagation_channels: Annotated[tuple[int, ...], several(whole(1, 1024), 2)]
    kernel: Annotated[int, whole(1, 31)]
    slope: Annotated[float, number(0, 1)]
    normalisation: Annotated[str, one_of(*NORMS)]
    rotation_deg: Annotated[float, number(0, 180)]
    gaussian_noise: Annotated[float, number(0, 1)]
    impulse_noise: Annotated[float, number(0, 1)]
    mask_lag: Annotated[int, whole(0, 1000)]
    binary_input: Annotated[bool, flag()]
    variants: Annotated[int, whole(1, 10_000)]
    instants: Annotated[int, whole(1, 1000)]
    initialization_instants: Annotated[int, whole(1, 1000)]
    initialization_margin: Annotated[float, number(0, 0.5, below=True)]
    batch_size: Annotated[int, whole(1, 10_000)]
    initialization_steps: Annotated[int, whole(1, 10**9)]
    propagation_steps: Annotated[int, whole(1, 10**9)]
    validate_every: Annotated[int, whole(1, 10**9)]
    learning_rate: Annotated[float, number(0, 10, above=True)]
    final_learning_rate: Annotated[float, number(0, 10)]
    momentum: Annotated[float, number(0, 1, below=True)]
    folds: Annotated[int, whole(2, 10_000)]
    split_seed: Annotated[int, whole(0, 2**32 - 1)]
    precision: Annotated[str, one_of(*PRECISIONS)]

    def __post_init__(self) -> None:
        check(self)
        enough = self.initialization_instants <= self.instants
        require(enough, self, "initialization_instants", f"at most the {self.instants} instants")


PROPAGATION = Recipe(
    method="propagation",  # paper 2.2; "initialization": that network alone on every slice, the paper's ablation
    preparation=Preparation(
        size=128,  # paper 2.3
        spacing_mm=1.25,  # paper 2.1: isotropic
        percentiles=(5.0, 95.0),  # ours: mean and std of the voxels strictly between; later code does so for each slice
        rv_wall_mm=3.75,  # ours: where a data set has the RV cavity only, its wall is a ring of three pixels around it
    ),
    initialization_groups=(8, 5, 4),  # ours: receptive fields of 33, 21 and 17 pixels
    initialization_channels=(64, 48, 32),  # ours
    propagation_groups=(8, 5),  # ours
    propagation_channels=(64, 48),  # ours
    kernel=5,  # ours
    slope=0.25,  # paper 2.3
    normalisation="batch",  # paper 2.3
    rotation_deg=180.0,  # later code; paper: "random rotation"
    gaussian_noise=0.1,  # ours
    impulse_noise=0.01,  # ours
    mask_lag=0,  # ours: slices by which the mask may lag behind its slice in training; 0: the reference's mask as it is
    binary_input=False,  # ours: the mask goes on as probabilities, which the paper's definition of a predicted mask is
    variants=31,  # paper 2.5: 1 healthy, 30 infarcted
    instants=30,  # paper 2.5
    initialization_instants=10,  # paper 2.5: around end-diastole
    initialization_margin=1 / 6,  # paper 2.5: of the slices, left out at the base and at the apex
    batch_size=1,  # paper 2.5
    initialization_steps=300_000,  # paper 2.5
    propagation_steps=600_000,  # paper 2.5
    validate_every=10_000,  # ours
    learning_rate=1e-4,  # paper 2.5
    final_learning_rate=1e-4,  # ours: fixed
    momentum=0.0,  # ours: "stochastic gradient descent"
    folds=5,  # paper 3: of three volunteers each
    split_seed=0,  # ours
    precision="float32",  # ours
)

RECIPES = {
    "propagation": PROPAGATION,
    "initialization": replace(PROPAGATION, method="initialization"),
}
DEFAULT = "propagation"


def quick(recipe: Recipe) -> Recipe:
    """The same experiment with narrower networks, fewer motions and fewer steps: minutes on two CPU cores."""
    return replace(
        recipe,
        initialization_groups=(8, 3, 3),
        initialization_channels=(32, 16, 8),
        propagation_groups=(4, 3),
        propagation_channels=(32, 16),
        normalisation="instance",  # normalises each slice by itself, as batch norm with one example does in training
        mask_lag=8,  # a network trained so briefly on perfect masks copies them, and its errors add up from step to step
        variants=4,
        batch_size=4,
        initialization_steps=5000,
        propagation_steps=4000,
        validate_every=500,
        learning_rate=2e-5,
        final_learning_rate=2e-7,
        momentum=0.9,
        precision="auto",
    )


def medium(recipe: Recipe) -> Recipe:
    """The same experiment between quick and the paper's: an evening on two CPU cores, minutes on a GPU."""
    return replace(
        quick(recipe),
        initialization_channels=(48, 24, 12),
        propagation_channels=(48, 24),
        variants=8,
        initialization_steps=12_000,
        propagation_steps=10_000,
        validate_every=1000,
    )


PRESETS: dict[str, Callable[[Recipe], Recipe]] = {"paper": lambda recipe: recipe, "medium": medium, "quick": quick}

# The paper names 3D Dice at ED, over all slices below the base, of two of its fifteen volunteers, and no other number.
PUBLISHED = {
    1: Table(
        title="STACOM volunteers at ED, biventricular wall, 3D Dice below the base (the paper gives v1 and v2 only)",
        dataset="stacom",
        folds=(0, 1, 2, 3, 4),
        scorings=(Scoring("cases_resampled.csv", "on the paper's grid, 1.25 mm isotropic, below the base"),),
        columns=(Column("dice", structure="BV"),),
        rows=(
            Row("with propagation, v1", "propagation", printed(0.7851), patient="v1"),
            Row("with propagation, v2", "propagation", printed(0.7817), patient="v2"),
        ),
    ),
}

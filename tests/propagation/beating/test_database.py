"""What the networks are shown: which slices, whose masks, and that every example can be made again."""

import numpy as np
import pytest
from scipy import ndimage

from propagation import figures, masks
from propagation.beating.database import Slices, Steps, prepared
from propagation.recipe import PROPAGATION
from propagation.train import turn
from shared.errors import InputError
from shared.learning.batches import Batches
from shared.learning.prepared import store
from shared.recipes import replace

SHAPE, BASE = (32, 32, 20), 4
OPTIONS = {"spacing_mm": 2.5, "variants": 3, "instants": 10}


def stored(path, numbered=False):
    """A prepared heart: LV ring and RV crescent from slice BASE on, its cavity labelled; or the slice's number as grey value
    and a pixel of the label that tells it."""
    x, y, z = np.indices(SHAPE)
    lv = np.hypot(x - 18, y - 16)
    rv = np.hypot(x - 9, y - 16)
    cavity = lv < 4.5
    wall = (lv < 8) & ~cavity | (rv < 8) & (rv > 6) & (lv > 8)
    label = np.where(wall, 1, np.where(cavity, 2, 0)) * ((z >= BASE) & (z < 18))
    if numbered:
        label = np.where((x == z) & (y == 0) & (z >= BASE), 1, label)
    return store(path.parent, path.stem, lambda: {"image": z if numbered else label == 1, "label": label})


@pytest.fixture
def heart(tmp_path):
    return stored(tmp_path / "heart.npy")


@pytest.fixture
def numbers(tmp_path):
    return stored(tmp_path / "numbers.npy", numbered=True)


def test_one_example_for_every_variant_and_instant(heart, numbers):
    assert len(Steps([heart, numbers], [True, False], 0, used=10, mask_lag=0, **OPTIONS)) == 2 * 3 * 10
    assert len(Slices([heart], [True], 0, used=4, margin=1 / 6, **OPTIONS)) == 3 * 4


def test_a_step_goes_to_the_next_four_slices_below_the_base(numbers):
    steps = Steps([numbers], [False], 0, used=10, mask_lag=0, **OPTIONS)
    starts = {1: set(), -1: set()}
    rng = np.random.default_rng(0)
    for position in 12 * list(range(len(steps))):
        inputs, wall = steps.one(position, rng)
        assert inputs.shape == (32, 32, 6) and wall.shape == (32, 32, 4) and wall.dtype == np.uint8
        shown = [int(inputs[0, 0, channel]) for channel in (0, 2, 3, 4, 5)]
        direction = shown[1] - shown[0]
        assert abs(direction) == 1 and shown == [shown[0] + direction * k for k in range(5)]
        starts[direction].add(shown[0])
        label = np.load(numbers)["label"] == 1
        np.testing.assert_array_equal(inputs[..., 1], label[..., shown[0]])
        np.testing.assert_array_equal(wall, label[..., shown[1:]])
    assert starts == {1: set(range(BASE, 16)), -1: set(range(BASE + 4, 20))}


def test_a_mask_may_lag_behind_its_slice(numbers):
    """By 0 to 3 slices in the direction that the step comes from, never beyond the base or the end."""
    steps, label = Steps([numbers], [False], 0, used=10, mask_lag=3, **OPTIONS), np.load(numbers)["label"] == 1
    lags = set()
    rng = np.random.default_rng(0)
    for position in 12 * list(range(len(steps))):
        inputs, wall = steps.one(position, rng)
        z, after = int(inputs[0, 0, 0]), int(inputs[0, 0, 2])
        back = [int(np.clip(z - (after - z) * lag, BASE, 19)) for lag in range(4)]
        lag = [(inputs[..., 1] == label[..., each]).all() for each in back].index(True)
        lags.add((after - z, lag))
        np.testing.assert_array_equal(wall, label[..., [z + (after - z) * k for k in range(1, 5)]])
    assert lags == {(direction, lag) for direction in (1, -1) for lag in range(4)}


def test_the_outer_slices_are_left_out_for_the_initialization_network(numbers):
    slices = Slices([numbers], [False], 0, used=10, margin=1 / 6, **OPTIONS)
    shown = set()
    rng = np.random.default_rng(0)
    for position in 12 * list(range(len(slices))):
        inputs, wall = slices.one(position, rng)
        assert inputs.shape == wall.shape == (32, 32, 1)
        shown.add(int(inputs[0, 0, 0]))
    assert shown == set(range(BASE + 2, 18))  # 16 slices below the base, a sixth of them is 2


def test_end_diastole_is_the_scan_itself_and_other_instants_are_not(heart):
    steps = Steps([heart], [True], 0, used=10, mask_lag=0, **OPTIONS)
    label = np.load(heart)["label"] == 1
    image, wall = steps.slices(0, 1, 0, [6, 7])
    np.testing.assert_array_equal(wall, label[..., [6, 7]])
    np.testing.assert_array_equal(image, label[..., [6, 7]])
    image, moved = steps.slices(0, 0, 4, [6, 7])  # near end-systole
    assert (moved != label[..., [6, 7]]).mean() > 0.01
    np.testing.assert_array_equal(moved, image >= 0.5)  # image and mask moved together
    areas = [np.count_nonzero(ndimage.label(part == 0)[0] == ndimage.label(part == 0)[0][18, 16]) for part in
             (label[..., 7], moved[..., 1])]  # fmt: skip
    assert 0.3 * areas[0] < areas[1] < 0.8 * areas[0]  # the cavity contracts


def test_instants_lie_around_end_diastole(heart):
    slices = Slices([heart], [True], 0, used=4, margin=0.0, **OPTIONS)
    places = [slices.place(position) for position in range(len(slices))]
    assert places == [(0, variant, instant) for variant in range(3) for instant in (-2, -1, 0, 1)]


def test_an_example_depends_on_seed_epoch_and_index_alone(heart):
    first, again, other = (Batches(Steps([heart], [True], seed, used=10, mask_lag=0, **OPTIONS), 1, seed) for seed in (0, 0, 1))
    for step in (3, 2 * len(first) + 17):
        for part, same in zip(first[step], again[step], strict=True):
            np.testing.assert_array_equal(part, same)
    assert any(not np.array_equal(first[step][0], other[step][0]) for step in range(5))


def test_the_seed_makes_other_infarcts_and_the_generator_other_slices(heart):
    first, other = (Steps([heart], [True], seed, used=10, mask_lag=0, **OPTIONS) for seed in (0, 1))
    infarcted = next(p for p in range(len(first)) if first.place(p) == (0, 1, 4))

    def shown(steps, seed):
        return steps.one(infarcted, np.random.default_rng(seed))[0]

    np.testing.assert_array_equal(shown(first, 2), shown(first, 2))
    assert not np.array_equal(shown(first, 2), shown(other, 2))
    assert len({shown(first, seed).tobytes() for seed in range(8)}) > 4


def test_the_rotation_says_nothing_about_slice_direction_and_lag(numbers):
    """A thousand examples as training draws them. Both once came from one generator, and the lag was a function of the angle."""
    label = np.load(numbers)["label"] == 1
    draw = turn(replace(PROPAGATION, size=SHAPE[0]))
    batches = Batches(Steps([numbers], [False], 0, used=10, mask_lag=8, **OPTIONS), 10, 0, draw)
    drawn = []
    for step in range(100):
        for inputs, _, (yy, yx, *_) in zip(*batches[step], strict=True):
            z, direction = int(inputs[0, 0, 0]), int(inputs[0, 0, 2] - inputs[0, 0, 0])
            lag = next(k for k in range(9) if (inputs[..., 1] == label[..., np.clip(z - direction * k, BASE, 19)]).all())
            drawn.append((z, direction, lag, np.arctan2(yx, yy)))
    z, direction, lag, angle = np.array(drawn).T
    assert np.ptp(angle) > 6 and len(set(lag)) == 9
    upright = np.abs(angle) < np.pi / 12
    assert 50 < upright.sum() < 120 and np.bincount(lag[upright].astype(int)).max() < upright.sum() / 2
    for turned in (angle, np.abs(angle), np.cos(2 * angle)):
        assert np.abs(np.corrcoef([turned, z, direction, lag])[0, 1:]).max() < 0.13


def test_cases_that_cannot_be_used(tmp_path, heart):
    voxels = np.load(heart)
    for name, part, message in (
        ("short", voxels[:, :, 16:], "at least 5 slices from the base on"),
        ("empty", np.where(True, np.zeros_like(voxels), voxels), "at least 5 slices"),
    ):
        path = tmp_path / f"{name}.npy"
        np.save(path, part)
        with pytest.raises(InputError, match=f"{name}.npy: expected {message}"):
            Steps([path], [False], 0, used=1, mask_lag=0, **OPTIONS)
    voxels["label"] = np.where(voxels["label"] == 2, 0, voxels["label"]) * (np.indices(SHAPE)[0] < 12)
    np.save(tmp_path / "open.npy", voxels)
    with pytest.raises(InputError, match="open.npy: no heart that could be moved"):
        Steps([tmp_path / "open.npy"], [True], 0, used=1, mask_lag=0, **OPTIONS)


# Prepared cases -------------------------------------------------------------------------------------------------------------


def test_prepared_cases_begin_at_the_base_and_keep_the_cavity(tiny, phantom_cases):
    preparation, case = tiny(size=48, spacing_mm=2.5).preparation, phantom_cases[0]
    label = prepared(case, preparation)["label"]
    wall, cavity = (label == value for value in (1, 2))
    labelled = masks.load(case, preparation.rv_wall_mm)
    ml = np.prod(labelled.scan.spacing_mm) / 1000
    # the voxels' volume is the reference's, but for half a slice of the base that linear interpolation cannot see
    slice_ml = (labelled.classes.array[..., labelled.base] > 0).sum() * ml
    assert 0.93 < (label > 0).sum() * 2.5**3 / 1000 / ((labelled.classes.array > 0).sum() * ml - slice_ml / 2) < 1.07
    assert wall.any() and cavity.any()
    middle = [np.mean(np.nonzero(wall)[axis]) for axis in (0, 1)]
    assert np.abs(np.array(middle) - 23.5).max() < 2  # the heart is in the middle of its square


# The sheet to look at -------------------------------------------------------------------------------------------------------


def test_a_sheet_of_beats(phantom_root, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    figures.main(
        ["--dataset", "acdc", "--data-root", str(phantom_root), "--patient", "patient002", "-o", str(sheet), "--variants", "0,3"]
    )
    assert sheet.read_bytes().startswith(b"\x89PNG") and capsys.readouterr().out == f"wrote {sheet}\n"


@pytest.mark.parametrize(
    ("patient", "variants", "message"),
    [("patient099", "0", "no labelled end-diastolic scan; "), ("patient002", "0,-1", "expected whole numbers such as 0,1,2")],
)
def test_a_sheet_that_cannot_be(phantom_root, tmp_path, capsys, patient, variants, message):
    arguments = ["--dataset", "acdc", "--data-root", str(phantom_root), "--patient", patient, f"--variants={variants}"]
    with pytest.raises(SystemExit) as ended:
        figures.main([*arguments, "-o", str(tmp_path / "sheet.png")])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "sheet.png").exists()

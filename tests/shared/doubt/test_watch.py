"""What a prediction command asks about each label map."""

import math
from pathlib import Path

import numpy as np
import pytest

from shared.doubt import judge, watch
from shared.doubt.judge import Verdict
from shared.doubt.watch import Watch
from shared.errors import InputError
from shared.files import write_json
from tests.shared.doubt.test_judge import pair
from tests.shared.doubt.test_signs import ACDC


@pytest.fixture
def held():
    scan, labels = pair()
    return judge.held([judge.measured(scan, labels, ACDC)])


def cine():
    """Three frames: the heart, a constant image, the heart without its LV."""
    scan, labels = pair()
    grey = np.stack([scan.array, 0 * scan.array, scan.array], axis=3)
    found = np.stack([labels.array, 0 * labels.array, np.where(labels.array == 3, 0, labels.array)], axis=3)
    return scan.with_array(grey), labels.with_array(found)


def test_every_frame_has_a_verdict(held):
    first, constant, last = Watch(held, ACDC).verdicts(*cine(), Path("cine.nii"), shown=[0, 2])
    assert (
        first.doubt < 0.2
        and constant == Verdict(1.0, "a constant image")
        and last.doubt > 0.9
        and "LV volume 0 ml" in last.reasons
    )


def test_a_second_opinion_is_asked_once_and_compared_frame_by_frame(held):
    scan, labels = cine()
    asked = []

    def second(scan, path):
        asked.append(path)
        assert scan.frames == 2  # never the constant one, which networks refuse
        return labels.with_array(np.roll(labels.array[..., [0, 2]], 12, axis=0))

    alone, both = (Watch(held, ACDC, who).verdicts(scan, labels, Path("cine.nii"), [0, 2]) for who in (None, second))
    assert asked == [Path("cine.nii")] and both[0].doubt > alone[0].doubt and "second opinion" in both[0].reasons


def test_nothing_is_known_of_weights_that_are_no_run(tmp_path):
    assert watch.held_by(tmp_path / "model.ckpt") == {}
    (verdict,) = Watch({}, ACDC).verdicts(*pair(), Path("a"), [0])
    assert np.isnan(verdict.doubt) and not verdict.flagged


def test_what_training_held_is_read_and_checked(tmp_path):
    write_json(tmp_path / "run.json", {"held": {"LV volume": [1, 2]}})
    assert watch.held_by(tmp_path) == watch.held_by(tmp_path / "best.weights.h5") == {"LV volume": [1, 2]}
    write_json(tmp_path / "run.json", {"held": {"LV volume": [1]}})
    with pytest.raises(InputError, match="held: expected a table of two numbers each"):
        watch.held_by(tmp_path)


def test_in_words():
    fine, bad, worse = Verdict(0.2), Verdict(0.6, "LV length 90 mm"), Verdict(0.9, "")
    assert watch.in_words("a.nii", [fine]) == ""
    assert watch.in_words("a.nii", [bad]) == "doubt 0.60 about a.nii: LV length 90 mm"
    assert watch.in_words("a.nii", [fine, bad, worse]) == (
        "doubt 0.90 about a.nii, frame 3 (2 of 3 frames are above 0.5): several small signs"
    )


def test_function_that_rests_on_a_doubted_frame():
    rows = [{"scan": "a", "frame": frame, "doubt": doubt} for frame, doubt in ((1, 0.2), (2, 0.99), (3, math.nan), (4, 0.6))]
    both = {"ed_scan": "a", "ed_frame": 2, "es_scan": "a", "es_frame": 1}
    text = "volumes and ejection fraction rest on a doubted label map: "
    assert watch.doubted_ends(both, rows) == text + "ED (frame 2, doubt 0.99)"
    assert watch.doubted_ends({**both, "es_frame": 4.0}, rows).endswith("ED (frame 2, doubt 0.99) and ES (frame 4, doubt 0.60)")
    assert watch.doubted_ends({**both, "ed_frame": 3}, rows) == watch.doubted_ends({**both, "ed_scan": "b"}, rows) == ""

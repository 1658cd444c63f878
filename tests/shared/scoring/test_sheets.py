"""Pictures of a scan and its label map."""

import numpy as np
import pytest
from PIL import Image

from shared import prediction_command
from shared.datasets.acdc import STRUCTURES
from shared.scans import volume
from shared.scans.volume import from_array
from shared.scoring import sheets


def example(slices, frames=()):
    """A scan with a disk of 3 (LV) in every slice but the first and the last."""
    x, y = np.meshgrid(np.arange(24) - 12, np.arange(20) - 10, indexing="ij")
    labels = np.zeros((24, 20, slices), np.uint8)
    labels[x**2 + y**2 < 30, 1:-1] = 3
    if frames:
        labels = np.stack([np.where(np.arange(24)[:, None, None] < 12 + t, labels, 0) for t in range(*frames)], axis=-1)
    image = np.random.default_rng(0).uniform(0, 200, labels.shape) + 400 * (labels == 3)
    return from_array(image.astype(np.float32), (1.5, 1.5, 8.0)), from_array(labels, (1.5, 1.5, 8.0))


def test_the_slices_with_labels_and_no_more_than_fit():
    labels = example(9)[1].array
    assert sheets.slices_of(labels, 20).tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert sheets.slices_of(labels, 3).tolist() == [1, 4, 7]
    assert sheets.slices_of(0 * labels, 20).tolist() == list(range(9))


@pytest.mark.parametrize("slices", [3, 9, 40])
def test_a_sheet_is_drawn_beside_the_label_map(slices, tmp_path):
    scan, labels = example(slices)
    first = sheets.draw(tmp_path / "a.b.nii.gz", scan, labels, STRUCTURES)
    assert first == tmp_path / "a.b.png"
    before = first.read_bytes()
    pixels = np.asarray(Image.open(first).convert("RGB")).astype(int)
    blue = np.abs(pixels - [49, 130, 189]).sum(axis=-1) < 40  # the third colour, that of the LV
    assert blue.sum() > 50 and sheets.draw(tmp_path / "a.b.nii.gz", scan, labels, STRUCTURES).read_bytes() == before


def test_a_cine_is_animated_and_shows_every_frame(tmp_path):
    scan, labels = example(8, frames=(0, 6))
    path = sheets.draw(tmp_path / "cine.nii.gz", scan, labels, STRUCTURES)
    with Image.open(path) as picture:
        assert path.suffix == ".gif" and picture.n_frames == 6 and picture.info["duration"] == 80


@pytest.mark.parametrize("slices_last", [True, False])
def test_nothing_found_one_slice_and_other_axes(slices_last, tmp_path):
    scan, labels = example(5)
    if not slices_last:
        scan, labels = (from_array(each.array.transpose(2, 0, 1), (8.0, 1.5, 1.5)) for each in (scan, labels))
    sheets.draw(tmp_path / "a.nii", scan, labels.with_array(0 * labels.array), STRUCTURES)
    one = [from_array(each.array[:, :, 2:3] if slices_last else each.array[2:3], each.spacing_mm) for each in (scan, labels)]
    assert sheets.draw(tmp_path / "b.nii", *one, STRUCTURES).exists()


def test_the_command_draws_only_if_it_is_asked_to(tmp_path, capsys):
    scan, labels = example(5)
    volume.write(scan, tmp_path / "s.nii.gz")

    class Segmenter:
        structures = STRUCTURES

    def run(*more):
        words = ["--weights", "w", str(tmp_path / "s.nii.gz"), "-o", str(tmp_path / "out"), *more]
        options = prediction_command.parser("paper", "", "").parse_args(words)
        prediction_command.command(options, lambda weights: Segmenter, lambda _, scan, path: scan.with_array(labels.array))
        return capsys.readouterr().out

    assert "picture" not in run() and not (tmp_path / "out/s.png").exists()
    assert f"picture: {tmp_path / 'out' / 's.png'}" in run("--pictures") and (tmp_path / "out/s.png").exists()

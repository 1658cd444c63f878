"""The authors' weight files: their addresses, and downloads that are checked."""

import hashlib
import re
from pathlib import Path

from propagation.released.transfer import check_place, download
from propagation.released.weights import load_released
from shared.errors import InputError
from shared.files import write_text

BASE = "http://www-sop.inria.fr/members/Qiao.Zheng/"
LATER = "CardiacMotionFlow"  # both repositories of the authors ship weights of roi_net and lvrv_net
ADDRESSES = {
    "roi_net": "CardiacSegmentationPropagation/ROI/model_roi_net_epoch050.h5",
    "lvrv_net": "CardiacSegmentationPropagation/LVRV_Segmentation/model_lvrv_net_epoch080.h5",
    "lv_net": "CardiacSegmentationPropagation/LV_Segmentation/model_lv_net_epoch080.h5",
    "roi_net_later": f"{LATER}/ROI/model_roi_net_epoch050.h5",
    "lvrv_net_later": f"{LATER}/segmentation/model_lvrv_net_epoch080.h5",
    **{f"lvrv_net_finetune_fold{i}": f"{LATER}/segmentation/model_lvrv_net_finetune_fold{i}_epoch1000.h5" for i in range(6)},
    **{f"apparentflow_net_fold{i}": f"{LATER}/flow/model_apparentflow_net_fold{i}_epoch050.h5" for i in range(6)},
}
USUAL = ("roi_net", "lvrv_net")  # what is needed to segment a scan
SUMS = "SHA256SUMS"


def fetch(name: str, folder: str | Path, base: str = BASE) -> Path:
    """Download the file called `name` (a key of `ADDRESSES`) to `folder`/`name`.h5; one that is there already is only checked.

    An interrupted download is continued from `name`.h5.part. The file gets its final name after it has been read in full as the
    network that it should be. SHA256SUMS in the folder keeps its checksum, and a later download must have the same.

    Returns:
        The file's path.

    Raises:
        InputError: no answer at the address, a download that was cut, or another content than expected.
        OSError: the folder cannot be written.
    """
    if name not in ADDRESSES:
        raise InputError(f"unknown released file {name!r}: expected one of {', '.join(ADDRESSES)}")
    folder = Path(folder)
    target, part = folder / f"{name}.h5", folder / f"{name}.h5.part"
    check_place(target)
    if target.exists():
        verify(name, target, folder)
        return target
    folder.mkdir(parents=True, exist_ok=True)
    url = f"{base.rstrip('/')}/{ADDRESSES[name]}"
    download(url, part)
    try:
        verify(name, part, folder)
    except InputError as error:
        part.unlink()  # the next try starts anew, since going on would not mend it
        raise InputError(f"{url}: downloaded and thrown away: {error}") from error
    part.replace(target)
    return target


def verify(name: str, path: Path, folder: Path) -> None:
    """Compare the checksum of a file with the one in SHA256SUMS; where there is none, read the file as its network and add one.

    Raises:
        InputError: another checksum, or not the weights of the network.
    """
    sums = folder / SUMS
    try:
        lines = sums.read_text(encoding="utf-8").splitlines() if sums.exists() else []
    except ValueError as error:
        raise InputError(f"{sums}: expected checksums, as `sha256sum` writes them; found no text ({error})") from error
    known = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    digest = sha256(path)
    expected = known.get(f"{name}.h5")
    if expected is None:
        load_released(re.sub(r"_(later|fold\d)$", "", name), path, size=32)
        write_text(sums, "".join(f"{line}\n" for line in [*lines, f"{digest}  {name}.h5"]))
    elif digest != expected:
        raise InputError(
            f"{path}: expected the sha256 {expected} of {sums}, found {digest}; remove that line to accept another file"
        )


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

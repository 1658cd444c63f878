"""A data set as one small archive, to train where its scans are too large to go: labelled scans, references and tables alone.

    python -m shared.pack --dataset acdc --data-root DIR -o acdc.tar.xz [--levels 256]
    mkdir -p data && tar -xf acdc.tar.xz -C data

The archive unpacks to the layout of the data set, so every command takes it as `--data-root`. Grey values are rounded to about
`levels` values, evenly spaced, which is what makes it small; references and everything else about a file stay as they are.
Patients without any reference and further frames of a cine are left out.
"""

import functools
import gzip
import io
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared import cli, datasets
from shared.datasets import Case
from shared.errors import InputError
from shared.files import files_below, written_whole
from shared.progress import Progress
from shared.scans import volume

LEVELS = 256
RANGE = (0.1, 99.9)  # percentiles of the grey values between which `levels` are counted; what lies beyond gets further ones
TABLES = (".cfg", ".csv", ".json", ".tsv", ".txt")
SUFFIX = ".tar.xz"


@dataclass(frozen=True)
class Rounded:
    """A scan with fewer grey values.

    Attributes:
        scan: `Volume`.
        error: root mean square of what rounding changed, as a share of the range between the percentiles.
    """

    scan: volume.Volume
    error: float


def rounded(scan: volume.Volume, levels: int) -> Rounded:
    """Round grey values to multiples of a step from the darkest value on; values of whole-number types stay whole.

    Args:
        scan: of any size and type.
        levels: how many steps the range between the percentiles has; where it has fewer values than that, nothing changes.
    """
    array, kind = scan.array.astype(np.float64), scan.array.dtype
    low, high = np.percentile(array, RANGE)
    whole = np.issubdtype(kind, np.integer)
    step = (high - low) / levels
    step = max(1.0, round(step)) if whole else step
    if step == 0 or (whole and step == 1):
        return Rounded(scan, 0.0)
    start = array.min()
    found = start + step * np.rint((array - start) / step)
    if whole:
        found = np.minimum(found, np.iinfo(kind).max)
    found = found.astype(kind)
    return Rounded(scan.with_array(found), float(np.sqrt(np.mean((found - array) ** 2)) / (high - low)))


def images_of(cases: Sequence[Case]) -> set[Path]:
    """The scans of the patients that have a reference. A patient's table may name scans without one, so these are among them."""
    labelled = {case.patient for case in cases if case.label is not None}
    return {case.image for case in cases if case.patient in labelled}


def members(cases: Sequence[Case], root: Path, levels: int) -> Iterator[tuple[Path, bytes, float | None]]:
    """Every file of the archive, sorted: its path below `root`, its content, and of a scan the error of `rounded`.

    A table that lies beside scans is left out with them, since it would name files that are not there.
    """
    images = images_of(cases)
    emptied = {case.image.parent for case in cases} - {image.parent for image in images}
    references = {path for case in cases if case.label is not None for path in volume.data_files(case.label)}
    tables = {path for path in files_below(root) if path.suffix.lower() in TABLES and path.parent not in emptied}
    files = sorted(images | references | tables)
    for path in Progress("packing", len(files)).over(files):
        if path in images:
            found = rounded(volume.read_grey(path), levels)
            yield path.relative_to(root), written(found.scan, path.name), found.error
        else:
            yield path.relative_to(root), path.read_bytes(), None


def written(scan: volume.Volume, name: str) -> bytes:
    """What a file of this name holds after `volume.write`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        volume.write(scan, path)
        return path.read_bytes()


def stored(name: str, content: bytes) -> bytes:
    """The content of a member: that of a .gz file without its own compression, which would hide it from that of the archive."""
    if not name.lower().endswith(".gz"):
        return content
    return gzip.compress(gzip.decompress(content), compresslevel=0, mtime=0)


def pack(dataset: str, root: Path, output: Path, levels: int = LEVELS) -> str:
    """Write the archive; its bytes depend on the data and `levels` only.

    Args:
        dataset: a name in `datasets.DATASETS`.
        root: the folder that it was unpacked to.
        output: name of the archive.
        levels: see `rounded`.

    Returns:
        What was packed, and how much precision was lost.

    Raises:
        InputError: a name without the suffix, data that cannot be used, or a format that cannot be written.
    """
    if not output.name.endswith(SUFFIX):
        raise InputError(f"{output}: expected a name that ends in {SUFFIX}")
    cases = datasets.find(dataset, root)
    count = len(datasets.labelled(cases))
    foreign = sorted(image for image in images_of(cases) if not image.name.lower().endswith(volume.WRITABLE))
    if foreign:
        raise InputError(f"{foreign[0]}: scans of this format cannot be packed; expected {', '.join(volume.WRITABLE)}")
    errors = []
    with written_whole(output) as temporary, tarfile.open(temporary, "w:xz") as archive:
        for path, content, error in members(cases, root, levels):
            errors += [] if error is None else [error]
            member = tarfile.TarInfo(f"{datasets.FOLDERS.get(dataset, dataset)}/{path.as_posix()}")
            content = stored(path.name, content)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    lost = f"rounded to {levels} grey values: error {100 * np.mean(errors):.2f} % of the range (root mean square, mean of scans)"
    return f"{count} cases, {output.stat().st_size / 2**20:.1f} MiB; {lost}, at most {100 * max(errors):.2f} %"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = cli.Parser(prog="python -m shared.pack", description=__doc__.splitlines()[0])
    cli.add_data(parser)
    parser.add_argument("-o", "--output", required=True, type=Path, help=f"name of the archive, such as acdc{SUFFIX}")
    levels = functools.partial(cli.within, low=2, high=2**16)
    parser.add_argument("--levels", type=levels, default=LEVELS, help=f"grey values of a scan that stay (default: {LEVELS})")
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        root = cli.data_root(options.dataset, options.data_root, options.output.parent)
        print(pack(options.dataset, root, options.output, options.levels))
        print(f"wrote {options.output}")


if __name__ == "__main__":
    main()

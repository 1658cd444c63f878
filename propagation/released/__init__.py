"""The authors' Keras 2 weight files (.h5) -> our networks: `model = load_released("lvrv_net", "model_lvrv_net_epoch080.h5")`.

    python -m propagation.released fetch [NAME...] [--to DIR]    # download, continue, compare checksums
    python -m propagation.released check FILE...                 # say what a file is

Only tensors are read, from `/LAYER/LAYER/kernel:0` and the like, by name. What a file must hold comes from our own network. Files
that hold a whole model have the same under `/model_weights`; their description of the model is not looked at.
"""

import contextlib
import hashlib
import re
from pathlib import Path

import h5py

from propagation.released.transfer import check_place, download
from shared import cli
from shared.errors import InputError
from shared.files import write_text
from shared.lazy import lazily
from shared.learning import foreign
from shared.learning.foreign import Stored, listed, printable, reason

with lazily():
    from propagation.released import model as networks

SIGNATURE = "seg_block1/kernel"  # (1, 1, width, outputs): no two of the networks share it, but for fine-tuned ones
LAYERS_LIMIT = 1000  # groups in a file; the largest network has 138

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
USUAL = ("roi_net", "lvrv_net")  # what segmenting a scan takes
SUMS = "SHA256SUMS"


def load_released(name, path, size=None, leaky_slope=0.0):
    """The network with the weights of a file, a `keras.Model`.

    Args:
        name: a key of `NETWORKS`, or None: told by what the file holds, where lvrv_net stands for its fine-tuned form too.
        path: the file.
        size, leaky_slope: as in `model.build`.

    Raises:
        InputError: no readable file there, or its tensors are not exactly those of the network.
    """
    if name is not None and name not in networks.NETWORKS:
        raise InputError(f"unknown released network {name!r}: expected one of {', '.join(networks.NETWORKS)}")
    found = identify(path)
    if name is not None and kind(name) != found:
        raise InputError(f"{path}: expected the weights of {name}, found those of {found}")
    model = networks.build(name or found, size, leaky_slope)
    fill(model, path)
    return model


def identify(path):
    """The key of `NETWORKS` that a file belongs to; "lvrv_net" for the fine-tuned one too, whose tensors are alike.

    One tensor tells; the others are left to `fill` to check.

    Raises:
        InputError: no readable file there, or of none of the networks.
    """
    with tensors(path) as found:
        shape = found[SIGNATURE].shape if SIGNATURE in found else None
        for name, network in networks.NETWORKS.items():
            if shape == (1, 1, network.width, network.outputs):
                return name
        listing = listed([f"{tensor} {dataset.shape}" for tensor, dataset in found.items()]) or "no tensors"
    expected = "; ".join(f"{name} has {SIGNATURE} (1, 1, {n.width}, {n.outputs})" for name, n in networks.NETWORKS.items())
    raise InputError(f"{path}: none of the released networks ({expected}); found {listing}")


def kind(name):
    """What `identify` says of the network called `name`."""
    return "lvrv_net" if name == "lvrv_net_finetune" else name


def fill(model, path):
    """Put the tensors of a file into the variables of `model`: all of them, into all of them, or none into any.

    Raises:
        InputError: tensors that are missing, left over, of another shape, not float32, without data, not finite or not readable.
    """
    variables = {f"{layer.name}/{variable.name}": variable for layer in model.layers for variable in layer.weights}
    with tensors(path) as found:
        stored = {
            tensor: Stored(dataset.shape, str(dataset.dtype), dataset.id.get_storage_size() == dataset.nbytes)
            for tensor, dataset in found.items()
        }
        foreign.fill(variables, stored, lambda tensor: found[tensor][()], f"{path}: not the authors' weights of {model.name}")


@contextlib.contextmanager
def tensors(path):
    """Yield the `h5py.Dataset` of every tensor of the open file by name, `LAYER/kernel`; nothing is read yet.

    The file is walked three levels deep, not further: links may lead in circles. Links to elsewhere, and datasets that are put
    together from elsewhere or have to be unpacked, are refused: Keras writes neither.

    Raises:
        InputError: no such file, not HDF5, cut, damaged, or arranged in another way.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the authors' weights, an HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            yield dict(walk(file["model_weights"] if plain(file, "model_weights") else file))
    except InputError:
        raise
    except Exception as error:  # h5py raises many kinds
        raise InputError(f"{path}: expected the authors' weights, an HDF5 file; found {reason(error)}") from error


def walk(root):
    """Name and dataset of the tensors below `root`: layer, then the layer's name scope, then the tensor."""
    seen = set()
    for layer in children(root):
        for scope in children(root[layer]):
            for tensor in children(root[layer][scope]):
                dataset = root[layer][scope][tensor]
                name = printable(f"{layer}/{tensor.removesuffix(':0')}")
                if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
                    raise ValueError(f"{name} is not a tensor")
                storage = dataset.id.get_create_plist()
                if storage.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or storage.get_external_count():
                    raise ValueError(f"{name} is compressed, in chunks or in another file")
                if name in seen:
                    raise ValueError(f"{name} occurs twice")
                seen.add(name)
                yield name, dataset


def children(group):
    """Names of what a group holds itself."""
    if not isinstance(group, h5py.Group):
        raise ValueError(f"{printable(group.name)} is not a group")
    if len(group) > LAYERS_LIMIT:
        raise ValueError(f"{len(group)} entries in {printable(group.name)}")
    names = list(group)
    for name in names:
        if not plain(group, name):
            raise ValueError(f"{printable(name)} is a link to elsewhere")
    return names


def plain(group, name):
    """Is there a `name` in the group, and not a link to elsewhere?"""
    return isinstance(group.get(name, getlink=True), h5py.HardLink)


def describe(path):
    """One line on a weight file, after reading it in full.

    Raises:
        InputError: as `load_released`.
    """
    model = load_released(None, path, size=32)
    name = " or ".join(name for name in networks.NETWORKS if kind(name) == model.name)
    return f"{path}: {name}, {model.count_params():,} weights in {len(model.weights)} tensors, sha256 {sha256(path)}"


def fetch(name, folder, base=BASE):
    """Download the file called `name` (a key of `ADDRESSES`) to `folder`/`name`.h5; one that is there already is only checked.

    What an interrupted download left in `name`.h5.part is continued. The file takes its name once it has been read in full as
    the network it should be. SHA256SUMS in the folder keeps its checksum, which a later download has to have too.

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
        part.unlink()  # going on with it would not mend it
        raise InputError(f"{url}: downloaded and thrown away: {error}") from error
    part.replace(target)
    return target


def verify(name, path, folder):
    """Compare the checksum with the one in SHA256SUMS; where there is none, read the file as its network and add one.

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


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments=None):
    parser = cli.Parser(prog="python -m propagation.released", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fetching = commands.add_parser("fetch", help="download weights from the authors' site")
    fetching.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(ADDRESSES)} (default: {' '.join(USUAL)})"
    )  # fmt: skip
    fetching.add_argument("--to", type=Path, default=Path("weights"), metavar="DIR", help="folder (default: weights)")
    fetching.add_argument("--base", default=BASE, metavar="URL", help="where a copy of the authors' folders lies")
    checking = commands.add_parser("check", help="say what a weight file is")
    checking.add_argument("files", nargs="+", type=Path, metavar="FILE")
    for command in (fetching, checking):
        cli.add_debug(command)
    options = parser.parse_args(arguments)
    with cli.one_line_errors(options.debug):
        if options.command == "check":
            for path in options.files:
                print(describe(path))
        else:
            for name in options.names or USUAL:
                print(f"{fetch(name, options.to, options.base)}: the weights of {name}")

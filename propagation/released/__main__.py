"""The command `python -m propagation.released`."""

from collections.abc import Sequence
from pathlib import Path

from propagation import released
from propagation.released.fetching import ADDRESSES, BASE, USUAL, fetch, sha256
from propagation.released.weights import kind, load_released
from shared import cli
from shared.lazy import lazily

with lazily():
    from propagation.released import model as networks


def main(arguments: Sequence[str] | None = None) -> None:
    parser = cli.Parser(prog="python -m propagation.released", description=released.__doc__.splitlines()[0])
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


def describe(path: Path) -> str:
    """One line on a weight file, after reading it in full.

    Raises:
        InputError: see `load_released`.
    """
    model = load_released(None, path, size=32)
    name = " or ".join(name for name in networks.NETWORKS if kind(name) == model.name)
    return f"{path}: {name}, {model.count_params():,} weights in {len(model.weights)} tensors, sha256 {sha256(path)}"


if __name__ == "__main__":
    main()

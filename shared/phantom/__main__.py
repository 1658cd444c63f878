"""python -m shared.phantom {acdc,lasc,mmwhs,nnunet,stacom} OUT [--patients N] [--seed S] [--cine] [--spacing-mm MM]"""

from collections.abc import Callable, Sequence

from shared import cli
from shared.phantom import write_acdc, write_lasc, write_mmwhs, write_nnunet, write_stacom

WRITERS: dict[str, Callable] = {
    "acdc": write_acdc,
    "lasc": write_lasc,
    "mmwhs": write_mmwhs,
    "nnunet": write_nnunet,
    "stacom": write_stacom,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = cli.Parser(prog="python -m shared.phantom", description="Write a made-up heart in a challenge's own layout.")
    parser.add_argument("layout", choices=WRITERS)
    parser.add_argument("out", metavar="OUT", help="folder to make")
    parser.add_argument(
        "--patients", type=int, default=20, help="how many patients or cases (default 20); mmwhs: of each modality"
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed makes other patients (default 0)")
    parser.add_argument("--cine", action="store_true", help="acdc: also write every frame of the beat")
    parser.add_argument("--spacing-mm", type=float, help="mmwhs: size of the voxels (default 1.2)")
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    if options.cine and options.layout != "acdc":
        parser.error("--cine goes with acdc only")
    if options.spacing_mm is not None and options.layout != "mmwhs":
        parser.error("--spacing-mm goes with mmwhs only")
    more = ({"cine": True} if options.cine else {}) | (
        {"spacing_mm": options.spacing_mm} if options.spacing_mm is not None else {}
    )
    with cli.one_line_errors(options.debug):
        root = WRITERS[options.layout](options.out, options.patients, seed=options.seed, progress=tell, **more)
        print(f"{root}: {options.layout} layout, {options.patients} patients, seed {options.seed}")


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()

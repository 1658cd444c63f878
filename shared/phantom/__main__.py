"""python -m shared.phantom {acdc,lasc,mmwhs,nnunet,stacom} OUT [--patients N] [--seed S] [--cine] [--size N] [--spacing-mm MM]"""

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
    parser.add_argument("--size", type=int, help="acdc: pixels on both sides of a picture; 512 gives pixels of 0.59 to 0.70 mm")
    parser.add_argument("--spacing-mm", type=float, help="mmwhs: size of the voxels (default 1.2)")
    cli.add_debug(parser)
    options = parser.parse_args(arguments)
    own = {"cine": ("acdc", options.cine or None), "size": ("acdc", options.size), "spacing_mm": ("mmwhs", options.spacing_mm)}
    more = {name: value for name, (_, value) in own.items() if value is not None}
    for name in more:
        if own[name][0] != options.layout:
            parser.error(f"--{name.replace('_', '-')} goes with {own[name][0]} only")
    with cli.one_line_errors(options.debug):
        root = WRITERS[options.layout](options.out, options.patients, seed=options.seed, progress=tell, **more)
        print(f"{root}: {options.layout} layout, {options.patients} patients, seed {options.seed}")


def tell(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()

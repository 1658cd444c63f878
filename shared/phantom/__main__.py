"""python -m shared.phantom {acdc,lasc,nnunet} OUT [--patients N] [--seed S] [--cine]"""

import argparse
import sys

from shared.errors import InputError
from shared.phantom import write_acdc, write_lasc, write_nnunet


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def main(arguments=None):
    """Write the phantom as the command line asks; exit status 0, or 2 after one line on what is wrong."""
    parser = _Parser(prog="python -m shared.phantom", description="Write a made-up heart in a challenge's own layout.")
    parser.add_argument("layout", choices=("acdc", "lasc", "nnunet"))
    parser.add_argument("out", metavar="OUT", help="folder to make")
    parser.add_argument("--patients", type=int, default=20, help="how many patients or cases (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other patients (default 0)")
    parser.add_argument("--cine", action="store_true", help="acdc: also write every frame of the beat")
    chosen = parser.parse_args(arguments)
    if chosen.cine and chosen.layout != "acdc":
        parser.error("--cine goes with acdc only")
    write = {"acdc": write_acdc, "lasc": write_lasc, "nnunet": write_nnunet}[chosen.layout]
    options = {"cine": True} if chosen.cine else {}
    try:
        root = write(chosen.out, chosen.patients, seed=chosen.seed, progress=lambda line: print(line, flush=True), **options)
    except (InputError, OSError) as error:
        parser.error(str(error))
    print(f"{root}: {chosen.layout} layout, {chosen.patients} patients, seed {chosen.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Where a result comes from besides its recipe: the data, the code, the libraries and the machine."""

import concurrent.futures
import functools
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from shared.datasets import Case
from shared.files import fingerprint
from shared.progress import counted
from shared.scans import volume

FRAMEWORKS = ("keras", "tensorflow", "jax")
PREPARING = ("numpy", "scipy", "nibabel", "pydicom", "SimpleITK", "opencv-python-headless")  # what networks see depends on them


def fingerprints(cases: Sequence[Case]) -> dict[str, str]:
    """Case name -> fingerprint of the content of its image and label, read in parallel."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = pool.map(lambda case: fingerprint(*contents(case.image), *contents(case.label)), cases)
        return dict(zip((case.name for case in cases), found, strict=True))


def contents(path: Path | None) -> list[Path]:
    """The files behind a path: the file itself, a header and its data file, or the files of a DICOM folder."""
    return [] if path is None else volume.data_files(path)


@functools.cache
def code(package: str) -> str:
    """Fingerprint of the sources of `shared` and of a paper's package, and of the libraries that prepare its cases.

    It covers all sources: if one were left out, a change in it would leave outdated prepared cases in use.
    """
    sources = [path for name in ("shared", package) for path in sorted(folder_of(name).rglob("*.py"))]
    return fingerprint([version(name) for name in PREPARING], *sources)


def version(name: str) -> str:
    """Of an installed library; "" where it is not installed, as readers of file formats that a data set does not need."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def folder_of(package: str) -> Path:
    """Where the sources of a package are."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the sources of {package} cannot be found")
    return Path(spec.origin).parent


def origin() -> dict[str, object]:
    """Commit, versions and hardware, as run.json has them."""
    return {"commit": commit(), "versions": versions(), "hardware": hardware()}


def versions() -> dict[str, str]:
    """Versions of Python, the backend, the frameworks and the libraries that prepare cases."""
    from shared.framework import keras  # here: reading a run loads no framework

    found = {"python": platform.python_version(), "backend": keras.backend.backend()}
    return found | {name: number for name in (*FRAMEWORKS, *PREPARING) if (number := version(name))}


def commit() -> str:
    """Commit of the source tree, "+" where it has changes; "unknown" outside a checkout."""
    try:
        command = ["git", "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        described = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip() or "unknown"


def accelerators() -> list[str]:
    """Names of the accelerators that the backend computes on."""
    from shared.framework import keras

    if keras.backend.backend() == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]


def hardware() -> str:
    """The accelerators, or else the processor and how many of its cores we may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ", ".join(accelerators()) or f"{processor()}, {counted(cores, 'core')}"


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()

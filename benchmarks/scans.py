"""Two thousand scans by `predict --list`: scans per second in this process and on Ray, memory over time, and what is left when
processes and a machine of the cluster are killed on the way.

The scans are pieces of the phantom, 96 x 96 x 6, and the network is the 2D U-Net (mod.) at width 8, trained for one step.
"""

import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared import cluster
from shared.datasets import Case
from shared.files import read_csv, write_csv
from shared.lazy import library
from shared.scans import preprocess, volume

COUNT, DIFFERENT = 2000, 40
SHAPE = (96, 96, 6)
KILLS = 20
EVERY_S = 1.0  # between two looks at the memory


def scans(cases: Sequence[Case], folder: Path, rounds: int) -> None:
    """All of it; `rounds` does not matter."""
    run, table = trained(folder), written(cases, folder / "scans")
    plain = predicted(run, table, folder / "plain")
    print(f"{COUNT} scans in one process: {said(plain)}", flush=True)
    for cores, workers in ((2, 1), (1, 2)):
        found = predicted(run, table, folder / f"ray{workers}", "--ray", "--cores", str(cores))
        print(f"on Ray, {workers} at a time with {cores} cores each: {said(found)}", flush=True)
    print(killed(run, table, folder / "killed"), flush=True)


def trained(folder: Path) -> Path:
    """A run folder."""
    fields = {"steps": 1, "width": 8, "image_shape": "100,100", "validate_every": 1, "batch_size": 4, "precision": "float32"}
    settings = [word for field, value in fields.items() for word in ("--set", f"{field}={value}")]
    command = ["-m", "acdc_segmenter_tf.train", "--dataset", "phantom", "--preset", "quick", *settings, "--workdir", str(folder)]
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return next(folder.glob("acdc_segmenter_tf/*/phantom/fold0"))


def written(cases: Sequence[Case], folder: Path) -> Path:
    """The table of all scans, which are links to `DIFFERENT` files."""
    folder.mkdir()
    pieces = []
    for case in cases[:DIFFERENT]:
        pieces.append(folder / f"piece_{case.name}.nii.gz")
        volume.write(preprocess.crop_or_pad(volume.read(case.image), SHAPE), pieces[-1])
    names = [folder / f"scan{i:05}.nii.gz" for i in range(COUNT)]
    for i, name in enumerate(names):
        os.link(pieces[i % len(pieces)], name)
    write_csv(folder.parent / "scans.csv", [{"scan": str(name)} for name in names])
    return folder.parent / "scans.csv"


def command(run: Path, table: Path, output: Path, *more: str) -> list[str]:
    words = ["--weights", str(run), "--list", str(table), "-o", str(output), *more]
    return [sys.executable, "-m", "acdc_segmenter_tf.predict", *words]


def predicted(run: Path, table: Path, output: Path, *more: str) -> dict[str, float]:
    """Seconds of a prediction command, and the memory of its process in the first and in the last fifth of the time, in MiB."""
    process = subprocess.Popen(command(run, table, output, *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    start, seen = time.perf_counter(), []
    while process.poll() is None:
        seen.append(memory_mib(process.pid))
        time.sleep(EVERY_S)
    seconds = time.perf_counter() - start
    check(output)
    fifth = max(len(seen) // 5, 1)
    after_start = seen[fifth : 2 * fifth] or seen
    return {"seconds": seconds, "early": statistics.median(after_start), "late": statistics.median(seen[-fifth:])}


def memory_mib(process: int) -> float:
    """The memory that a process has now; 0 when it has ended."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0


def said(found: dict[str, float]) -> str:
    memory = f"memory {found['early']:.0f} MiB in the second fifth of the time, {found['late']:.0f} MiB in the last"
    return f"{found['seconds']:.0f} s, {COUNT / found['seconds']:.1f} scans/s; the command's {memory}"


def check(output: Path) -> None:
    """Every scan is in the table once, its label map is whole, and nothing else lies there."""
    rows = [Path(row["scan"]).name for row in read_csv(output / "volumes.csv", ("scan",))]
    maps = sorted(path.name for path in output.iterdir() if path.name not in ("volumes.csv", "function.csv"))
    if sorted(rows) != maps or len(set(rows)) != COUNT:
        raise SystemExit(f"{output}: {len(rows)} rows, {len(set(rows))} scans, {len(maps)} files, expected {COUNT} of each")
    for name in maps:
        if volume.read_labels(output / name).array.shape != SHAPE:
            raise SystemExit(f"{output / name}: not whole")


def killed(run: Path, table: Path, output: Path) -> str:
    """The same on a cluster of two machines, both here, while worker processes and the second machine are killed."""
    ray = library("ray", "cluster")
    machines = library("ray.cluster_utils", "cluster").Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    second = machines.add_node(num_cpus=1)
    process = subprocess.Popen(
        command(run, table, output, "--ray", machines.address), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    printed: list[str] = []
    reader = threading.Thread(target=lambda: printed.extend(process.stdout or ()))
    reader.start()
    start, dice, kills, machine_died = time.perf_counter(), random.Random(0), 0, False
    while process.poll() is None:
        time.sleep(dice.uniform(1.0, 4.0))
        workers = list(working())
        if kills < KILLS and workers and output.exists():
            os.kill(dice.choice(workers), signal.SIGKILL)
            kills += 1
        if kills >= KILLS // 2 and not machine_died:
            machines.remove_node(second, allow_graceful=False)
            machine_died = True
    reader.join()
    seconds = time.perf_counter() - start
    machines.shutdown()
    ray.shutdown()
    if process.returncode:
        raise SystemExit("".join(printed[-5:]))
    check(output)
    died = f"{kills} worker processes and one of two machines killed on the way"
    return f"on Ray, {died}: {seconds:.0f} s; every scan once in the table, every label map whole, nothing else in the folder"


def working() -> Iterator[int]:
    """The processes that work on a scan now."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            title = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(f"ray::{cluster.work.__name__}".encode()):
            yield int(place.name)

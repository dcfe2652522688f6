"""A file of 1 GB read from beginning to end by our program on each driver, beside cat and dd."""

import os
import subprocess
import time
from dataclasses import dataclass

from measure import SERVER_CPU, MeasureError, pin
from report import Row

FILE_BYTES = 1_000_000_000
READ_SECONDS_MAX = 120
CPU_TARGETS = {"uring": 1.15}


@dataclass
class Reader:
    name: str
    command: list
    environment: dict
    says_bytes: bool = False


@dataclass
class Run:
    cpu_s: float
    wall_s: float


def read_once(reader):
    """CPU and wall time of one run of the whole program."""
    began = time.monotonic()
    process = subprocess.Popen([str(part) for part in reader.command],
                               env={**os.environ, **reader.environment},
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
                               if reader.says_bytes else subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, preexec_fn=pin(SERVER_CPU))
    said = process.stdout.read() if reader.says_bytes else None
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise MeasureError(f"{reader.name} ended with exit code {process.returncode}.")
    if said is not None and int(said) != FILE_BYTES:
        raise MeasureError(f"{reader.name} read {int(said)} bytes instead of {FILE_BYTES}.")
    return Run(used.ru_utime + used.ru_stime, wall)


def make_file(path):
    """Sparse: after the first reading its pages lie in the page cache like any others."""
    if not path.exists() or path.stat().st_size != FILE_BYTES:
        with open(path, "wb") as file:
            file.truncate(FILE_BYTES)


def read_beside_cat(report, program, folder, drivers, rounds):
    if not program.exists():
        raise MeasureError(f"{program} is missing: build the release preset first.")
    path = folder / "one-gigabyte"
    make_file(path)
    readers = [Reader("cat", ["cat", path], {}),
               Reader("dd bs=128k", ["dd", f"if={path}", "of=/dev/null", "bs=128k"], {})]
    readers += [Reader(driver, [program, path], {"RINGLET_DRIVER": driver}, says_bytes=True)
                for driver in drivers]
    runs = {reader.name: [] for reader in readers}
    for turn in range(rounds + 1):
        for reader in readers:
            run = read_once(reader)
            if turn > 0:  # The first one fills the page cache.
                runs[reader.name].append(run)
    path.unlink()
    cat_cpu = min(run.cpu_s for run in runs["cat"])
    for name, all_runs in runs.items():
        cpu = sorted(run.cpu_s for run in all_runs)
        wall = min(run.wall_s for run in all_runs)
        report.add(Row("files", "1 GB read from the page cache, CPU of the whole program", name,
                       cpu[0], "s", cpu[len(cpu) // 4], ratio=cpu[0] / cat_cpu,
                       target=CPU_TARGETS.get(name), note=f"wall {wall:.3f} s"))

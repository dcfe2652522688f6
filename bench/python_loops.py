"""The Python event loop beside asyncio's, uvloop, rloop and aiofastnet: `scripts/bench python`.

All servers of a comparison are one and the same program on different loops. Everything is
installed into build/bench/venv for Debian's own interpreter, which is built with PGO and LTO; with
another one, what a loop costs drowns in what the interpreter costs.
"""

import itertools
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from measure import SERVER_CPU, MeasureError, Server, free_port, pin
from report import Row
from secure import floor as tls_floor
from secure import make_certificate, measured

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
INTERPRETER = "/usr/bin/python3"
PEERS = ("uvloop", "rloop", "rsloop", "zuvloop")
CALLS_TARGETS = {"call_soon, chain": ("rloop", 1 / 1.3), "call_soon, burst": ("rloop", 1 / 1.3),
                 "call_soon_threadsafe": ("rloop", 1), "call_later and cancel": ("rloop", 1),
                 "await sleep(0)": ("rloop", 1), "gather of tasks": ("rloop", 1),
                 "latency under a chain": ("uvloop", 2)}
ECHO_BYTES = 1024
LARGE_BYTES = (16 * 1024, 64 * 1024)
PROTOCOL_RATIO_MAX = 1.15
STREAMS_RATIO_MAX = 1 / 1.4
SOCK_RATIO_MAX = 1 / 2.2
TLS_RATIO_MAX = {256: 1 / 1.9, 8192: 1 / 1.7}
UVICORN_RATIO_MAX = 1 / 1.06
TORNADO_RATIO_MAX = 1 / 1.2
IMPORT_MS_MAX = 5


class Environment:
    """The virtual environment with Ringlet and the peers."""

    def __init__(self, bench):
        self.folder = bench.folder / "venv"
        self.python = self.folder / "bin" / "python"
        if not self.python.exists():
            self.run([INTERPRETER, "-m", "venv", self.folder])
        self.run([self.python, "-m", "pip", "install", "-q", f"{ROOT}[bench]"])
        # Not every peer has a wheel for every interpreter: what cannot be had is left out.
        for peer in (*PEERS, "aiofastnet"):
            subprocess.run([self.python, "-m", "pip", "install", "-q", "--only-binary", ":all:",
                            peer], capture_output=True, check=False)
        self.loops = ["asyncio", *(peer for peer in PEERS if self.has(peer)), "ringlet"]

    def run(self, command):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise MeasureError(f"{command}: {(done.stdout + done.stderr).strip()[-500:]}")

    def has(self, module):
        return subprocess.run([self.python, "-c", f"import {module}"], capture_output=True,
                              check=False).returncode == 0

    def server(self, stack, name, *command, **environment):
        port = free_port()
        server = Server(name, [self.python, *[str(port) if part is None else part
                                              for part in command]], port, environment)
        stack.callback(server.close)
        return server


def rows(bench, work, figures, floor, targets):
    """A row for each figure; `targets`: {name: (whom it is held against, most of its ratio)}."""
    for name, figure in figures.items():
        peer, most = targets.get(name, (floor, None))
        if peer not in figures:
            peer, most = floor, None
        bench.report.add(Row("python", work, name, figure.minimum, "ns", figure.lower_quartile,
                             ratio=None if name == peer else figure.minimum / figures[peer].minimum,
                             target=most, details=figure.as_json(),
                             note="" if name == peer else f"of {peer}"))


def scheduling(bench, python):
    """Each loop in a process of its own, in turn, pinned; the least of all rounds."""
    found = {}
    for _ in range(2 if bench.quick else 6):
        for loop in python.loops:
            done = subprocess.run([python.python, HERE / "python_calls.py", loop, "3"],
                                  capture_output=True, text=True, check=True, timeout=300,
                                  preexec_fn=pin(SERVER_CPU))
            for line in done.stdout.splitlines():
                work, least, _ = line.split("\t")
                found.setdefault(work, {}).setdefault(loop, []).append(float(least))
    for work, loops in found.items():
        peer, most = CALLS_TARGETS[work]
        for loop, taken in loops.items():
            ours = loop == "ringlet" and peer in loops
            bench.report.add(Row("python", work, loop, min(taken), "ns", statistics.median(taken),
                                 ratio=min(taken) / min(loops[peer]) if ours else None,
                                 target=most if ours else None, note=f"of {peer}" if ours else ""))


def echo(bench, python, style, connections, targets, sizes=(ECHO_BYTES,)):
    with ExitStack() as stack:
        servers = [bench.floor(stack, "echo")]
        for loop in python.loops:
            if style == "streams" and loop == "rloop":
                continue  # it closes streams' connections late and runs out of descriptors
            servers.append(python.server(stack, loop, HERE / "python_echo.py", loop, style, None))
        servers.append(python.server(stack, "ringlet on epoll", HERE / "python_echo.py", "ringlet",
                                     style, None, RINGLET_DRIVER="epoll"))
        for size, count in itertools.product(sizes, connections):
            figures = measured(bench, servers, "bench_load", "echo", count, size)
            rows(bench, f"echo by {style}, {size // 1024} KiB, {count} connections, "
                 "CPU per message", figures, "floor", targets)


def tls(bench, python):
    certificate = make_certificate(bench.folder)
    with ExitStack() as stack:
        loops = [loop for loop in ("asyncio", "uvloop", "ringlet") if loop in python.loops]
        if "uvloop" in loops and python.has("aiofastnet"):
            loops.insert(-1, "aiofastnet")
        servers = [tls_floor(bench, stack, certificate, "epoll")]
        servers += [python.server(stack, loop, HERE / "python_echo.py", loop, "protocol", None,
                                  *certificate) for loop in loops]
        for size, most in TLS_RATIO_MAX.items():
            for count in (10, 100):
                figures = measured(bench, servers, "bench_tls_echo_load", "echo", count, size)
                rows(bench, f"TLS echo by protocol, {size} B, {count} connections, "
                     "CPU per message", figures, "floor", {"ringlet": ("uvloop", most)})


def frameworks(bench, python):
    program = HERE / "python_web.py"
    for framework, loops, peer, most in (
            ("uvicorn", ("asyncio", "uvloop", "ringlet"), "uvloop", UVICORN_RATIO_MAX),
            ("tornado", ("asyncio", "uvloop", "ringlet"), "asyncio", TORNADO_RATIO_MAX)):
        if not python.has(framework):
            bench.report.remark(f"{framework} could not be installed; left out.")
            continue
        with ExitStack() as stack:
            servers = [python.server(stack, loop, program, framework, loop, None)
                       for loop in loops if loop in python.loops]
            figures = measured(bench, servers, "bench_load", "http", 64, 1)
            rows(bench, f"{framework} unchanged, plaintext, 64 connections, CPU per request",
                 figures, peer, {"ringlet": (peer, most)})


def import_time(bench, python):
    """Of a whole process, `import asyncio` taken off; the least of many, in turn."""
    taken = {}
    for _ in range(10 if bench.quick else 40):
        for module in ("asyncio", "asyncio, uvloop", "asyncio, ringlet"):
            code = ("import time; t = time.process_time_ns(); import " + module +
                    "; print(time.process_time_ns() - t)")
            done = subprocess.run([python.python, "-I", "-c", code], capture_output=True, text=True,
                                  check=False, preexec_fn=pin(SERVER_CPU))
            if done.returncode == 0:
                taken.setdefault(module, []).append(int(done.stdout))
    for module, times in taken.items():
        more = (min(times) - min(taken["asyncio"])) / 1e6
        last = module.endswith("ringlet")
        bench.report.add(Row("python", "import, over import asyncio", module, round(more, 2), "ms",
                             target=IMPORT_MS_MAX if last else None))


def measure(bench):
    if not Path(INTERPRETER).exists():
        raise MeasureError(f"{INTERPRETER} is missing.")
    python = Environment(bench)
    bench.report.remark(f"Python {sys.version.split()[0]} runs this, {INTERPRETER} the loops: "
                        f"{', '.join(python.loops)}.")
    scheduling(bench, python)
    against = {name: ("floor", PROTOCOL_RATIO_MAX) for name in ("ringlet",)}
    echo(bench, python, "protocol", (10, 100), against)
    behind_none = {"ringlet": ("uvloop", 1)}
    echo(bench, python, "protocol", (10, 100), behind_none, LARGE_BYTES)
    echo(bench, python, "buffered", (100,), behind_none, (ECHO_BYTES, LARGE_BYTES[-1]))
    echo(bench, python, "streams", (10, 100), {"ringlet": ("uvloop", STREAMS_RATIO_MAX)})
    echo(bench, python, "sock", (10, 100), {"ringlet": ("uvloop", SOCK_RATIO_MAX)})
    tls(bench, python)
    frameworks(bench, python)
    import_time(bench, python)
    bench.report.save()
    python.run([python.python, HERE / "plot.py", bench.report.path, bench.folder])
    bench.report.remark(f"Drawn: {bench.folder}/python_calls.svg and python_servers.svg.")

"""All of Ringlet's figures beside their targets: `scripts/bench`, or this after a release build.

Prints a table for each comparison, writes build/bench/results.json and ends with the targets that
were missed. A missed target is a finding, not a failure: the exit status is 0 unless the measuring
itself broke. docs/measuring.md says how the figures are taken.
"""

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import crawls
import files
import python_loops
import secure
import words
from measure import Load, MeasureError, Server, compare, free_port, private_bytes
from report import Report, Row
from web import Nginx, find_nginx

ROOT = Path(__file__).resolve().parent.parent
SECTIONS = ("echo", "http", "memory", "book", "site", "tls", "files", "processes", "primes",
            "micro", "words", "python")
ECHO_BYTES = (1024, 10240)
ECHO_CONNECTIONS = (10, 100, 1000)
ECHO_TARGETS = {"uring": 1.05, "epoll": 1.10}
HTTP_CONNECTIONS = 64
HTTP_DEPTHS = {1: 1.10, 16: 1.6}
IDLE_CONNECTIONS = 10_000
IDLE_BYTES_MAX = 1024
IDLE_SETTLE_S = 1.0
MICRO_SECONDS_MAX = 120
PROCESSES = 1000
PROCESSES_AT_ONCE = 16
PRIMES_RATIO_MAX = 1.2
DRIVERS = ("uring", "epoll")


class Bench:
    """Where the programs are, how long to measure and who is told."""

    def __init__(self, arguments):
        self.build = arguments.build.resolve()
        self.examples = self.build / "examples"
        self.quick = arguments.quick
        self.with_scrapy = arguments.with_scrapy
        self.rounds = arguments.rounds or (6 if self.quick else 24)
        self.folder = self.build.parent / "bench"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.report = Report(self.folder / "results.json", self.quick)

    def tool(self, name):
        return self.build / "bench" / name

    def example(self, name):
        program = self.examples / name
        if not program.exists():
            raise MeasureError(f"{program} is missing: build the release preset first.")
        return program

    def our_servers(self, stack, example):
        """Our server on each driver, started and to be ended by `stack`."""
        servers = []
        for driver in DRIVERS:
            port = free_port()
            server = Server(driver, [self.example(example), port], port,
                            {"RINGLET_DRIVER": driver})
            stack.callback(server.close)
            servers.append(server)
        return servers

    def floor(self, stack, mode, *rest):
        port = free_port()
        server = Server("floor", [self.tool("bench_floor"), mode, port, *rest], port)
        stack.callback(server.close)
        return server

    def compared(self, servers, *load):
        mode, *rest = load
        with ExitStack() as stack:
            pairs = []
            for server in servers:
                generator = Load(self.tool("bench_load"), mode, server.port, *rest)
                stack.callback(generator.close)
                pairs.append((server, generator))
            return compare(pairs, self.rounds)


def measure_echo(bench):
    with ExitStack() as stack:
        servers = [bench.floor(stack, "echo"), *bench.our_servers(stack, "echo_server")]
        if bench.tool("bench_uring_echo").exists():
            port = free_port()
            bare = Server("bare io_uring", [bench.tool("bench_uring_echo"), port], port)
            stack.callback(bare.close)
            servers.append(bare)
        for size in ECHO_BYTES:
            for connections in ECHO_CONNECTIONS:
                figures = bench.compared(servers, "echo", connections, size)
                work = f"{size // 1024} KiB, {connections} connections, CPU per message"
                bench.report.add_figures("echo", work, figures, "floor", ECHO_TARGETS)


def response_length(port):
    """How long the server's answer to GET /plaintext is, from status line to last byte."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(f"GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"Hello, World!"):
            part = connection.recv(4096)
            if not part or len(answer) > 4096:
                raise MeasureError(f"GET /plaintext was not answered with Hello, World!: {answer}")
            answer += part
    return len(answer)


def measure_http(bench):
    with ExitStack() as stack:
        ours = bench.our_servers(stack, "http_echo")
        length = response_length(ours[0].port)
        servers = [bench.floor(stack, "http", length), *ours]
        if find_nginx():
            servers.append(Nginx(bench.folder / "nginx-plain"))
            stack.callback(servers[-1].close)
        for depth, target in HTTP_DEPTHS.items():
            figures = bench.compared(servers, "http", HTTP_CONNECTIONS, depth)
            work = (f"plaintext, {HTTP_CONNECTIONS} connections x{depth}, {length} byte response, "
                    "CPU per request")
            bench.report.add_figures("http", work, figures, "floor", {"uring": target})
            if "nginx" in figures:
                bench.report.add(Row("http", f"x{depth}: uring beside nginx", "uring",
                                     figures["uring"].minimum, "ns",
                                     ratio=figures["uring"].minimum / figures["nginx"].minimum,
                                     target=1.0))


def measure_memory(bench):
    with ExitStack() as stack:
        servers = [bench.floor(stack, "echo"), *bench.our_servers(stack, "echo_server")]
        for server in servers:
            before = settled_private_bytes(server)
            load = Load(bench.tool("bench_load"), "echo", server.port, IDLE_CONNECTIONS, 64)
            silent = (settled_private_bytes(server) - before) / IDLE_CONNECTIONS
            load.round(20, IDLE_CONNECTIONS)
            used = (settled_private_bytes(server) - before) / IDLE_CONNECTIONS
            load.close()
            work = f"{IDLE_CONNECTIONS:,} idle TCP connections, private memory of each"
            bench.report.add(Row(
                "memory", work, server.name, max(silent, used), "B",
                target=None if server.name == "floor" else IDLE_BYTES_MAX,
                note=f"{silent:.0f} B before the first message, {used:.0f} B after one echo each"))


def settled_private_bytes(server):
    time.sleep(IDLE_SETTLE_S)
    return private_bytes(server.process.pid)


def measure_book(bench):
    bench.example("crawler")
    crawls.book(bench.report, bench.examples, bench.folder, 3 if bench.quick else 10)


def measure_site(bench):
    bench.example("crawler")
    crawls.site(bench.report, bench.examples, bench.folder, 1 if bench.quick else 5,
                bench.with_scrapy)


def measure_processes(bench):
    """Each of the rounds starts every subject once, so that all see the same machine."""
    subjects = {"posix_spawn + waitpid": [bench.tool("bench_spawn"), PROCESSES],
                "ringlet": [bench.tool("bench_processes"), PROCESSES],
                f"ringlet, {PROCESSES_AT_ONCE} at once":
                    [bench.tool("bench_processes"), PROCESSES, PROCESSES_AT_ONCE]}
    found = {name: ([], []) for name in subjects}
    for _ in range(3 if bench.quick else 10):
        for name, command in subjects.items():
            done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                                  check=True, timeout=MICRO_SECONDS_MAX)
            for figures, value in zip(found[name], done.stdout.split()):
                figures.append(float(value))
    floor = found["posix_spawn + waitpid"]
    for index, what in enumerate(("CPU of the parent", "time")):
        for name, figures in found.items():
            ratio = None if figures is floor else min(figures[index]) / min(floor[index])
            bench.report.add(Row("processes", f"{PROCESSES:,} x /bin/true, {what} for each", name,
                                 min(figures[index]), "ns", sorted(figures[index])[
                                     (len(figures[index]) - 1) // 4], ratio))


def measure_primes(bench):
    program = bench.example("primes")
    for driver in DRIVERS:
        done = subprocess.run([program, "--json", "--repeat", "5" if bench.quick else "20"],
                              env={**os.environ, "RINGLET_DRIVER": driver}, capture_output=True,
                              text=True, timeout=MICRO_SECONDS_MAX)
        if done.returncode != 0:
            raise MeasureError(f"primes on {driver}: {done.stderr.strip()}")
        found = json.loads(done.stdout)
        work = (f"{found['primes']:,} primes, 50 ms a write, {driver} "
                f"(ideal {found['ideal_s']:.3f} s)")
        for name in ("serial_extrapolated", "batched", "overlapped"):
            value = found[f"{name}_s"]
            last = name == "overlapped"
            bench.report.add(Row("primes", work, name.replace("_", ", "), value, "s",
                                 ratio=found["ratio"] if last else value / found["ideal_s"],
                                 target=PRIMES_RATIO_MAX if last else None))


def measure_tls(bench):
    secure.measure(bench)


def measure_files(bench):
    files.read_beside_cat(bench.report, bench.tool("bench_read_file"), bench.folder, DRIVERS,
                          3 if bench.quick else 10)


def measure_micro(bench):
    environment = {**os.environ, "BENCH_ROUNDS": "10" if bench.quick else "60"}
    found = {}
    for subject, name in (("ringlet", "bench_micro"), ("ringlet", "bench_micro_fibers"),
                          ("asio awaitables", "bench_micro_asio"),
                          ("Boost.Context", "bench_micro_context")):
        if not bench.tool(name).exists():
            bench.report.remark(f"{name} was not built; left out.")
            continue
        try:
            done = subprocess.run([bench.tool(name)], env=environment, capture_output=True,
                                  text=True, check=True, timeout=MICRO_SECONDS_MAX)
        except subprocess.SubprocessError as error:
            bench.report.remark(f"{subject}: {error}")
            continue
        for line in done.stdout.splitlines():
            work, minimum, quartile = line.split("\t")
            found.setdefault(work, {})[subject] = float(minimum), float(quartile)
    for work, subjects in found.items():
        for subject, (minimum, quartile) in subjects.items():
            peer = subjects.get("asio awaitables") or subjects.get("Boost.Context")
            ratio = minimum / peer[0] if peer and subject == "ringlet" else None
            bench.report.add(Row("micro", work, subject, minimum, "ns", quartile, ratio))


def measure_words(bench):
    bench.example("word_count")
    words.words(bench.report, bench.examples, bench.folder, 1 if bench.quick else 3,
                64 * 2**20 if bench.quick else 2**30)


def measure_python(bench):
    python_loops.measure(bench)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Ringlet's figures beside their targets.")
    parser.add_argument("--quick", action="store_true", help="samples: fewer rounds, less load")
    parser.add_argument("sections", nargs="*", metavar="SECTION",
                        help=f"all if none: {', '.join(SECTIONS)}")
    parser.add_argument("--only", action="append", choices=SECTIONS, default=[],
                        help="the same as SECTION; may be repeated")
    parser.add_argument("--rounds", type=int, help="undisturbed rounds wanted of each server")
    parser.add_argument("--with-scrapy", action="store_true",
                        help="also crawl the site with Scrapy (installs it from PyPI)")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    arguments = parser.parse_args()
    arguments.sections += arguments.only
    for section in arguments.sections:
        if section not in SECTIONS:
            parser.error(f"there is no section {section}")
    return arguments


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def main():
    arguments = parse_arguments()
    bench = Bench(arguments)
    if raise_descriptor_limit() < IDLE_CONNECTIONS + 100:
        bench.report.remark("The hard limit of open files is too low for all idle connections.")
    broken = 0
    for section in arguments.sections or SECTIONS:
        try:
            globals()[f"measure_{section}"](bench)
        except (MeasureError, OSError, subprocess.SubprocessError) as error:
            broken += 1
            bench.report.remark(f"{section}: could not be measured. {error}")
        bench.report.save()
    bench.report.finish()
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

"""The steady way to measure CPU time per answer; docs/measuring.md says why it is done so.

All servers of a comparison run at once on one CPU and the load runs on the other. Short rounds go
round the servers in turn. CPU time is what the scheduler counted (ns, every thread and child). A
round in which the hypervisor took time away, or in which the server stood in a queue behind other
programs, is dropped and repeated, a bounded number of times. The figure is the minimum, with the
lower quartile beside it; Student's t over the ratios within each turn says whether two servers
really differ.
"""

import ctypes
import math
import os
import select
import signal
import socket
import statistics
import subprocess
import time
from dataclasses import dataclass, field

SERVER_CPU = 0
LOAD_CPU = 1
SETTLE_S = 0.003
START_S_MAX = 10.0
REPEAT_FACTOR_MAX = 3
WAITED_SHARE_MAX = 0.05
CLEAN_ROUNDS_MIN = 3
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class MeasureError(Exception):
    """Something the figures need is missing or broke; the text is a sentence for the reader."""


def cpu_of(role):
    """The CPU of the server's or the load's side: two of those this process may use, or its one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[role % len(allowed)]


def pin(cpu):
    """For preexec_fn: pins the child to the server's or the load's CPU, where there are two, and
    has it ended when the harness ends, however that happens."""
    def run():
        os.sched_setaffinity(0, {cpu_of(cpu)})
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    return run


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def process_tree(pid):
    """The process and all its descendants."""
    tree, pending = [], [pid]
    while pending:
        at = pending.pop()
        tree.append(at)
        try:
            for task in os.listdir(f"/proc/{at}/task"):
                with open(f"/proc/{at}/task/{task}/children") as children:
                    pending.extend(int(child) for child in children.read().split())
        except OSError:
            continue
    return tree


def scheduler_ns(pid):
    """(time on a CPU, time ready but waiting for one) of all threads of the process tree, in ns."""
    ran = waited = 0
    for process in process_tree(pid):
        try:
            for task in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{task}/schedstat") as schedstat:
                    fields = schedstat.read().split()
                ran += int(fields[0])
                waited += int(fields[1])
        except OSError:
            continue
    return ran, waited


def stolen_ticks():
    with open("/proc/stat") as stat:
        return int(stat.readline().split()[8])


def private_bytes(pid):
    """Private memory of the process tree, from smaps_rollup."""
    total = 0
    for process in process_tree(pid):
        with open(f"/proc/{process}/smaps_rollup") as rollup:
            for line in rollup:
                if line.startswith(("Private_Clean:", "Private_Dirty:", "Private_Hugetlb:")):
                    total += int(line.split()[1]) * 1024
    return total


class Server:
    """A server under measurement: started pinned, ended by its own process handle."""

    def __init__(self, name, command, port, environment=None):
        self.name = name
        self.port = port
        self.process = subprocess.Popen(
            [str(part) for part in command], env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            preexec_fn=pin(SERVER_CPU))
        os.set_blocking(self.process.stderr.fileno(), False)
        self._wait_until_listening()

    def said(self):
        """What the server has written to stderr since the last call."""
        return (self.process.stderr.read() or b"").decode(errors="replace").strip()

    def _wait_until_listening(self):
        give_up = time.monotonic() + START_S_MAX
        while time.monotonic() < give_up and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        said = self.said()
        self.close()
        raise MeasureError(f"{self.name} did not start to listen on port {self.port}. {said}")

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stderr.close()


@dataclass
class Round:
    answers: int
    errors: int
    p50_us: float
    p99_us: float
    seconds: float
    cpu_ns: int = 0
    waited_ns: int = 0
    stolen: int = 0

    @property
    def ns_per_answer(self):
        return self.cpu_ns / self.answers

    @property
    def disturbed(self):
        return self.stolen > 0 or self.waited_ns > WAITED_SHARE_MAX * self.seconds * 1e9


class Load:
    """One load generator holding its connections open to one server."""

    def __init__(self, program, mode, port, connections, size, *rest):
        self.process = subprocess.Popen(
            [str(program), mode, f"127.0.0.1:{port}", str(connections), str(size), *rest],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            bufsize=1, preexec_fn=pin(LOAD_CPU))
        self._line(60)

    def _line(self, seconds):
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.close()
            raise MeasureError("The load generator gave up. " + self.said)
        return line.split()

    def round(self, seconds, answers=None):
        limit = "" if answers is None else f" {answers}"
        self.process.stdin.write(f"round {seconds}{limit}\n")
        words = self._line(seconds + 30)
        return Round(int(words[1]), int(words[3]), *(float(words[i]) for i in (5, 7, 9)))

    said = ""

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        if not self.process.stderr.closed:
            self.said = self.process.stderr.read().strip()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            try:
                stream.close()
            except BrokenPipeError:
                continue


def measured_round(server, load, seconds):
    time.sleep(SETTLE_S)
    ran, waited = scheduler_ns(server.process.pid)
    stolen = stolen_ticks()
    result = load.round(seconds)
    time.sleep(SETTLE_S)
    ran_after, waited_after = scheduler_ns(server.process.pid)
    result.cpu_ns = ran_after - ran
    result.waited_ns = waited_after - waited
    result.stolen = stolen_ticks() - stolen
    return result


@dataclass
class Figure:
    """The rounds of one server in one comparison, and what is said of them."""

    name: str
    rounds: list = field(default_factory=list)
    drops_disturbed: bool = True

    def kept(self, one):
        return not (self.drops_disturbed and one.disturbed)

    def samples(self):
        return [one.ns_per_answer for one in self.rounds if self.kept(one)]

    @property
    def minimum(self):
        return min(self.samples())

    @property
    def lower_quartile(self):
        samples = sorted(self.samples())
        return samples[(len(samples) - 1) // 4]

    @property
    def clean(self):
        return sum(not r.disturbed for r in self.rounds)

    def as_json(self):
        rounds = [one for one in self.rounds if self.kept(one)]
        best = max(rounds, key=lambda r: r.answers / r.seconds)
        return {"ns_minimum": round(self.minimum, 1),
                "ns_lower_quartile": round(self.lower_quartile, 1),
                "rounds": len(rounds), "rounds_dropped": len(self.rounds) - len(rounds),
                "disturbed_rounds_kept": not self.drops_disturbed,
                "errors": sum(r.errors for r in self.rounds),
                "answers_per_second_best": round(best.answers / best.seconds),
                "p50_us": best.p50_us, "p99_us": best.p99_us}


def compare(pairs, rounds, seconds=0.25, warm_s=0.25):
    """Measures [(server, load)] in turn and returns {name: Figure}. Where the machine was too busy
    to give each server a few undisturbed rounds, all rounds of all servers are kept, and the
    figures say so."""
    figures = {server.name: Figure(server.name) for server, _ in pairs}
    for server, load in pairs:
        warm = load.round(warm_s)
        if warm.answers == 0:
            raise MeasureError(f"{server.name} answered nothing. {server.said()}")
    for _ in range(rounds * REPEAT_FACTOR_MAX):
        if all(figure.clean >= rounds for figure in figures.values()):
            break
        for server, load in pairs:
            result = measured_round(server, load, seconds)
            if result.answers == 0:
                raise MeasureError(f"{server.name} stopped answering. {server.said()}")
            figures[server.name].rounds.append(result)
    for figure in figures.values():
        figure.drops_disturbed = all(f.clean >= CLEAN_ROUNDS_MIN for f in figures.values())
    return figures


def critical_t(freedom):
    """Two-sided 95 % point of Student's t, by the Cornish-Fisher series around the normal one."""
    z = 1.959964
    return (z + (z ** 3 + z) / (4 * freedom)
            + (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom ** 2)
            + (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * freedom ** 3))


def paired_ratios(figure, floor):
    """The ratio within each turn, where both rounds are undisturbed: what a slow drift of the
    machine (a neighbour's caches, its clock) cannot change."""
    pairs = [(own, its) for own, its in zip(figure.rounds, floor.rounds)
             if figure.kept(own) and floor.kept(its)]
    if len(pairs) < CLEAN_ROUNDS_MIN:
        pairs = list(zip(figure.rounds, floor.rounds))
    return [own.ns_per_answer / its.ns_per_answer for own, its in pairs]


def differs_from(ratios, value):
    """Student's t of the paired ratios against `value`: (t, whether it differs at 95 %)."""
    deviation = statistics.stdev(ratios) if len(ratios) > 2 else 0
    if deviation == 0:
        return 0.0, False
    t = (statistics.fmean(ratios) - value) / (deviation / math.sqrt(len(ratios)))
    return t, abs(t) > critical_t(len(ratios) - 1)

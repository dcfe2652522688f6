#!/usr/bin/env python3
"""CPython's own asyncio tests, of the Python that runs them, on the loops of a factory.

    tests/python/conformance/run.py                             on ringlet
    tests/python/conformance/run.py --factory asyncio:new_event_loop
    tests/python/conformance/run.py --python build/venv-3.13/bin/python --driver epoll test_streams

Every place where a test makes a loop is redirected (redirect.py says which), each module runs in a
process of its own, and a test that does not end in time or kills its process is a failure that
leaves the rest of its module running. Counted are the tests that take a loop; those that never ask
for one test CPython and not the loop, and only their failures are told. The tests of
expected_failures.py have to fail on ringlet. The last line is "N passed, N failed".
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import expected_failures

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
PROCESSES_MAX = 2
RESTARTS_MAX = 60
TRACE_BYTES_MAX = 20_000
DETAIL_LINES_MAX = 40
EXPECTED_SECONDS_MAX = 5  # some of the tests that have to fail do so by not ending


def ask(python, code, package=None):
    """What the interpreter under test prints for a line of Python."""
    command = [python, "-W", "ignore", "-c", code] + ([package] if package else [])
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def find_modules(python, package):
    code = ("import importlib, os, sys; p = importlib.import_module(sys.argv[1]);"
            "print(*sorted(n[:-3] for n in os.listdir(os.path.dirname(p.__file__))"
            " if n.startswith('test_') and n.endswith('.py')))")
    try:
        return ask(python, code, package).split()
    except subprocess.CalledProcessError as error:
        sys.exit(f"{python} has no {package} (on Debian: libpython3-testsuite): {error.stderr}")


class Module:
    """One test module: its process, started again behind a test that ended it, and the outcomes."""

    def __init__(self, options, reasons, name, folder):
        self.options = options
        self.reasons = reasons  # of the tests that are expected to fail
        self.name = name
        self.folder = folder
        self.outcomes = {}  # test -> dict of status, detail, loops, seconds
        self.running = None
        self.finished = False
        self.seconds = 0.0

    def run(self):
        started = time.monotonic()
        for _ in range(RESTARTS_MAX):
            if not self.run_process():
                break
        else:
            self.fail(None, f"its process ended {RESTARTS_MAX} times")
        self.seconds = time.monotonic() - started
        return self

    def run_process(self):
        """One process until its end. True if a test ended it and others are left."""
        order = os.path.join(self.folder, f"{self.name}.order.json")
        with open(order, "w", encoding="utf-8") as file:
            json.dump({"factory": self.options.factory, "package": self.options.package,
                       "module": self.name, "match": self.options.match,
                       "done": [f"{self.options.package}.{test}" for test in self.outcomes]}, file)
        read_fd, write_fd = os.pipe()
        self.running = None
        with tempfile.TemporaryFile() as trace, \
                open(os.path.join(self.folder, f"{self.name}.log"), "ab") as log, \
                tempfile.TemporaryDirectory(prefix="conformance-") as scratch:
            command = [self.options.python, os.path.join(HERE, "child.py"), order, str(write_fd),
                       str(trace.fileno())]
            process = subprocess.Popen(
                command, cwd=scratch, pass_fds=[write_fd, trace.fileno()],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env=dict(os.environ, TMPDIR=scratch))
            os.close(write_fd)
            try:
                hung = not self.follow(process, read_fd)
            finally:
                os.close(read_fd)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if not hung and self.finished and process.returncode == 0:
                return False
            trace.seek(0)
            why = (f"it did not end within {self.options.limit} seconds" if hung else
                   f"its process ended with exit code {process.returncode}")
            where = trace.read(TRACE_BYTES_MAX).decode(errors="replace")
            self.fail(self.running, f"{why}\n{where}")
            return self.running is not None

    def follow(self, process, read_fd):
        """Takes the reports until the process ends. False if it had to be aborted."""
        pending = b""
        while True:
            limit = self.options.limit
            if self.running in self.reasons:
                limit = min(limit, EXPECTED_SECONDS_MAX)
            ready, _, _ = select.select([read_fd], [], [], limit)
            data = ready and os.read(read_fd, 1 << 16)
            if ready and not data:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(self.options.limit)
                    return True
            if not data:
                process.send_signal(signal.SIGABRT)  # faulthandler writes where every thread stands
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                return False
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                self.take(json.loads(line))

    def take(self, report):
        if "start" in report:
            self.running = self.short(report["start"])
        elif "end" in report:
            self.running = None
            self.outcomes[self.short(report["end"])] = {
                key: report[key] for key in ("status", "detail", "loops", "seconds")}
        elif "finished" in report:
            self.finished = True
            if "skipped" in report:
                self.outcomes[f"{self.name}.(module)"] = {
                    "status": "skipped", "detail": report["skipped"], "loops": 1, "seconds": 0}

    def short(self, test):
        """module.Class.test, without the package."""
        return test.replace(f"{self.options.package}.", "", 1)

    def fail(self, test, detail):
        self.outcomes[test or f"{self.name}.(module)"] = {
            "status": "failed", "detail": detail, "loops": 1, "seconds": 0}


def apply_expectations(modules, reasons, whole):
    """Turns the expected failures into "expected", and what contradicts the list into failures."""
    known = {}
    for module in modules:
        known.update(module.outcomes)
    for test, reason in reasons.items():
        outcome = known.get(test)
        if outcome is None:
            owner = next((m for m in modules if m.name == test.split(".")[0]), None)
            if whole and owner:
                owner.fail(test, "it is an expected failure, and there is no such test")
        elif outcome["status"] == "failed":
            outcome["status"] = "expected"
        elif outcome["status"] == "passed":
            outcome.update(status="failed", loops=1,
                           detail=f"it passes, and is listed as an expected failure: {reason}")


def counts(outcomes):
    """Outcome -> number, of the tests that take a loop; those that take none are "loopless"."""
    found = dict.fromkeys(("passed", "failed", "expected", "skipped", "loopless"), 0)
    for outcome in outcomes:
        status = outcome["status"]
        found["loopless" if status == "passed" and not outcome["loops"] else status] += 1
    return found


def summary(modules, total):
    print(f"{'module':24}{'passed':>8}{'failed':>8}{'expected':>9}{'skipped':>8}{'loopless':>9}"
          f"{'seconds':>9}")
    for module in modules:
        found = counts(module.outcomes.values())
        print(f"{module.name:24}{found['passed']:8}{found['failed']:8}{found['expected']:9}"
              f"{found['skipped']:8}{found['loopless']:9}{module.seconds:9.1f}")
    print(f"expected failures: {total['expected']}, skipped: {total['skipped']}, "
          f"tests that take no loop: {total['loopless']}")


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", help="such as test_streams; all if none")
    parser.add_argument("--factory", default="ringlet:new_event_loop", help="module:callable")
    parser.add_argument("--python", default=sys.executable, help="the interpreter under test")
    parser.add_argument("--driver", help="uring or epoll: sets RINGLET_DRIVER")
    parser.add_argument("--limit", type=float, default=60, help="seconds that a test may take")
    parser.add_argument("--match", default="", help="only tests whose names match this expression")
    parser.add_argument("--leave-out", default="", metavar="MODULES", help="separated by commas")
    parser.add_argument("--package", default="test.test_asyncio", help="where the modules are")
    parser.add_argument("--strict", action=argparse.BooleanOptionalAction,
                        help="hold against expected_failures.py; by default on ringlet only")
    parser.add_argument("--out", default=os.path.join(ROOT, "build", "conformance"),
                        help="folder of the logs and result.json")
    options = parser.parse_args(arguments)
    if options.strict is None:
        options.strict = options.factory.startswith("ringlet")
    if options.driver:
        os.environ["RINGLET_DRIVER"] = options.driver
    return options


def main():
    options = parse(sys.argv[1:])
    os.environ.pop("PYTHONASYNCIODEBUG", None)
    version = ask(options.python, "import sys; print(*sys.version_info[:2], sep='.')")
    label = "-".join(filter(None, [
        options.factory.split(":")[0], options.package.split(".")[0], version, options.driver]))
    folder = os.path.join(options.out, label)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    left_out = options.leave_out.split(",")
    names = options.modules or [name for name in find_modules(options.python, options.package)
                                if name not in left_out]
    numbers = tuple(int(part) for part in version.split("."))
    reasons = expected_failures.expected(options.package, numbers) if options.strict else {}
    modules = []
    with concurrent.futures.ThreadPoolExecutor(PROCESSES_MAX) as pool:
        for module in pool.map(lambda name: Module(options, reasons, name, folder).run(), names):
            modules.append(module)
    apply_expectations(modules, reasons, whole=not options.match)
    total = counts(outcome for module in modules for outcome in module.outcomes.values())
    for module in modules:
        for test, outcome in module.outcomes.items():
            if outcome["status"] == "failed":
                print(f"FAIL {test}\n{indent(outcome['detail'])}")
    summary(modules, total)
    with open(os.path.join(folder, "result.json"), "w", encoding="utf-8") as file:
        json.dump({"factory": options.factory, "python": version, "driver": options.driver,
                   "total": total, "tests": {
                       test: outcome for module in modules
                       for test, outcome in module.outcomes.items()}}, file, indent=1)
    print(f"{total['passed']} passed, {total['failed']} failed")
    return 1 if total["failed"] or not total["passed"] else 0


def indent(text):
    lines = text.rstrip().split("\n")
    return "\n".join("    " + line for line in lines[-DETAIL_LINES_MAX:])


if __name__ == "__main__":
    sys.exit(main())

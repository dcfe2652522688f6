#!/usr/bin/env python3
"""The Python suites on the extension as the preset asan-python builds it: every memory error and
all undefined behaviour ends the process that does it, and what is not freed is told at its end.

    cmake --preset asan-python && cmake --build --preset asan-python
    tests/python/sanitized.py [--python build/venv-3.11/bin/python] [--sample]

The interpreter is the one that the preset names, or an environment of it that has pytest. The last
line is "N passed, N failed".
"""

import argparse
import glob
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
# Of CPython's own tests of asyncio, those that the native code has most to do with.
MODULES = ["test_streams", "test_events", "test_sslproto", "test_ssl", "test_sock_lowlevel",
           "test_subprocess", "test_base_events", "test_buffered_proto", "test_sendfile",
           "test_server"]
SAMPLE_MODULES = ["test_streams", "test_sock_lowlevel"]
SAMPLE_SUITES = "test_loop_internals.py", "test_sock.py", "test_stream_transport.py"
# What is not about the code that runs: how the module is linked, its types, programs around it.
LEFT_OUT = "test_package.py", "test_types.py", "test_conformance.py", "test_examples.py"
# Memory that was freed is kept for a while, so that its use is seen.
QUARANTINE_MB = 16
SOAK_GROWN_KIB_MAX = 64 * 1024
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)
total = {"passed": 0, "failed": 0}


def runtime(name):
    """Where the compiler has a shared library."""
    path = subprocess.run(["c++", f"-print-file-name={name}"], capture_output=True, text=True,
                          check=True).stdout.strip()
    if not os.path.isabs(path):
        sys.exit(f"sanitized.py: the compiler has no {name}")
    return os.path.realpath(path)


def environment():
    ignored = os.path.join(HERE, "sanitized.leaks")
    return dict(
        os.environ,
        # In this order: the first has to come before all others, the last knows C++ exceptions.
        LD_PRELOAD=" ".join(map(runtime, ["libasan.so", "libubsan.so", "libstdc++.so.6"])),
        PYTHONPATH=os.path.join(ROOT, "build", "asan-python", "python"),
        PYTHONMALLOC="malloc",
        ASAN_OPTIONS=f"detect_leaks=1:quarantine_size_mb={QUARANTINE_MB}:strict_string_checks=1"
                     ":detect_stack_use_after_return=1:allocator_may_return_null=1",
        LSAN_OPTIONS=f"suppressions={ignored}:print_suppressions=0",
        UBSAN_OPTIONS="print_stacktrace=1")


def run(name, command, limit):
    """Runs a suite; takes its counts from its last lines, pytest's or ours."""
    print(f"--- {name}", flush=True)
    try:
        done = subprocess.run(command, env=environment(), cwd=ROOT, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit,
                              text=True, errors="replace")
        output, code = done.stdout, done.returncode
    except subprocess.TimeoutExpired as over:
        output, code = (over.stdout or b"").decode(errors="replace"), f"none in {limit} s"
    passed = failed = 0
    for line in output.splitlines()[::-1]:
        if found := COUNTS.match(line):
            passed, failed = map(int, found.groups())
            break
        if re.match(r"=* ?\d+ (passed|failed).* in [\d.]+s", line):
            passed, failed = (sum(map(int, re.findall(rf"(\d+) {words}", line)))
                              for words in ("passed", "(?:failed|error)"))
            break
    bad = code != 0 or failed or not passed or "Sanitizer" in output
    if bad:
        print(output[-20_000:], flush=True)
        failed = failed or 1
    total["passed"] += passed
    total["failed"] += failed
    print(f"{name}: {passed} passed, {failed} failed (exit code {code})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--sample", action="store_true", help="a part of it, in a minute")
    parser.add_argument("suites", nargs="*", metavar="SUITE",
                        help="suites, conformance or soak; all if none")
    options = parser.parse_args()
    wanted = set(options.suites or ["suites", "conformance", "soak"])
    files = sorted(os.path.basename(path) for path in glob.glob(os.path.join(HERE, "test_*.py"))
                   if os.path.basename(path) not in LEFT_OUT)
    # One process each: what leaks is told at its end, and under its name.
    for name in SAMPLE_SUITES if options.sample else files:
        if "suites" in wanted:
            run(name, [options.python, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                       os.path.join(HERE, name)], 600)
    modules = SAMPLE_MODULES if options.sample else MODULES
    for driver in ("uring", "epoll"):
        if "conformance" in wanted and not (options.sample and driver == "epoll"):
            run(f"conformance on {driver}",
                [options.python, os.path.join(HERE, "conformance", "run.py"), "--driver", driver,
                 "--out", os.path.join(ROOT, "build", "conformance-asan"), *modules], 1800)
    if "soak" in wanted:
        run("soak", [options.python, os.path.join(HERE, "soak.py"), "--seconds",
                     "10" if options.sample else "60", "--grown-kib", str(SOAK_GROWN_KIB_MAX)],
            900)
    print(f"{total['passed']} passed, {total['failed']} failed")
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())

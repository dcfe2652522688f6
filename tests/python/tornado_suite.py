#!/usr/bin/env python3
"""tornado's own tests (python -m tornado.test) on the loops of a factory.

    tests/python/tornado_suite.py                        on ringlet
    tests/python/tornado_suite.py --factory asyncio:new_event_loop

The last line is "N passed, N failed".
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = """
import atexit, runpy, sys
folder, name = sys.argv[1:]
sys.path.insert(0, folder)
import redirect
factory = redirect.Factory(name)
redirect.redirect_asyncio(factory)
atexit.register(lambda: print(f"{factory.made} loops of {name}", flush=True))
sys.argv = ["tornado.test"]
runpy.run_module("tornado.test", run_name="__main__", alter_sys=True)
"""
LOOPS_MIN = 500  # of some 1200 tests; fewer, and the tests ran on something else


def run(options):
    """The exit code and all output; None if it had to be ended."""
    # tornado's own words for a slow machine: half a second instead of a tenth for what has to begin
    # in time, and half a minute instead of five seconds for each test.
    environment = dict(os.environ, EMULATION="1", ASYNC_TEST_TIMEOUT="30")
    if options.driver:
        environment["RINGLET_DRIVER"] = options.driver
    with tempfile.TemporaryDirectory() as scratch:
        command = [options.python, "-X", "faulthandler", "-c", PROGRAM,
                   os.path.join(HERE, "conformance"), options.factory]
        try:
            done = subprocess.run(command, cwd=scratch, env=environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  timeout=options.limit)
            return done.returncode, done.stdout.decode(errors="replace")
        except subprocess.TimeoutExpired as expired:
            return None, (expired.stdout or b"").decode(errors="replace")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--factory", default="ringlet:new_event_loop")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--driver", help="uring or epoll: sets RINGLET_DRIVER")
    parser.add_argument("--limit", type=float, default=900, help="seconds for all of them")
    options = parser.parse_args()
    code, output = run(options)
    print(output[-20_000:])
    ran = re.search(r"^Ran (\d+) tests? in", output, re.MULTILINE)
    loops = re.search(r"^(\d+) loops of ", output, re.MULTILINE)
    found = {name: int(number) for name, number in re.findall(
        r"\b(failures|errors|skipped|unexpected successes)=(\d+)",
        output[ran.end():] if ran else "")}
    failed = found.get("failures", 0) + found.get("errors", 0) + found.get(
        "unexpected successes", 0)
    passed = (int(ran.group(1)) if ran else 0) - found.get("skipped", 0) - failed
    if code is None:
        print(f"FAIL they did not end within {options.limit} seconds")
        failed += 1
    elif code != 0 and not failed:
        print(f"FAIL they ended with exit code {code}")
        failed += 1
    if not loops or int(loops.group(1)) < LOOPS_MIN:
        print("FAIL they did not take their loops from the factory")
        failed += 1
    print(f"{max(passed, 0)} passed, {failed} failed")
    return 1 if failed or passed <= 0 else 0


if __name__ == "__main__":
    sys.exit(main())

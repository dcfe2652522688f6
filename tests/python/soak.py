#!/usr/bin/env python3
"""One loop under mixed load for a long time, some of it ill-mannered: streams, protocols, TLS, UDP,
unix sockets, sock_*, children, readers and writers, timers, threads, executors, cancellation
storms, resets, half-open peers, servers and loops that come and go, a loop that changes its thread.
Every task ends, nothing reaches the exception handler but what was provoked, and in the end memory,
objects and descriptors are what they were when half of the time was over.

    PYTHONPATH=build/release/python tests/python/soak.py [--seconds 600] [--drivers uring,epoll]

Each driver has its share of the time, in a process of its own under CPython's debug allocator (or
what PYTHONMALLOC says). The last line is "N passed, N failed".
"""

import argparse
import asyncio
import ctypes
import gc
import logging
import os
import re
import resource
import ssl
import subprocess
import sys
import tempfile
import threading

import ringlet
from soak_load import Load

GROWN_KIB_MAX = 4 * 1024    # private memory at the end beside its warmed-up state
GROWN_OBJECTS_MAX = 300     # of those that the garbage collector knows
results = {True: 0, False: 0}


def check(name, holds, detail=""):
    results[bool(holds)] += 1
    print(f"{'ok  ' if holds else 'FAIL'} {name}{'' if holds else ': ' + str(detail)[:2000]}",
          flush=True)


def private_kib():
    with open("/proc/self/status", encoding="ascii") as file:
        return int(re.search(r"RssAnon:\s+(\d+)", file.read()).group(1))


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def measure():
    for _ in range(3):
        gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return descriptors(), private_kib(), len(gc.get_objects()), sys.getallocatedblocks()


async def soak(load, seconds, grown_kib):
    load.loop = loop = asyncio.get_running_loop()
    loop.set_exception_handler(load.on_exception)
    check(f"the driver is {os.environ['RINGLET_DRIVER']}",
          loop.driver == os.environ["RINGLET_DRIVER"], loop.driver)
    # Whatever is taken once (pools, caches, the allocator's arenas) is taken in the first half.
    await load.phase(seconds / 2)
    warm = measure()
    await load.phase(seconds / 2)
    last = measure()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    check("every task has ended", not left, left)
    stats = loop.stats()
    check("no operation, buffer or timer is left",
          stats["operations_live"] + stats["buffers_lent"] + stats["timers_pending"] <= 1, stats)
    check(f"descriptors are what they were ({warm[0]})", last[0] == warm[0], last[0])
    check(f"private memory is flat ({warm[1]} KiB, then {last[1] - warm[1]:+})",
          last[1] - warm[1] < grown_kib, f"grown by {last[1] - warm[1]} KiB")
    check(f"objects are what they were ({warm[2]}, then {last[2] - warm[2]:+}; "
          f"blocks {last[3] - warm[3]:+})", last[2] - warm[2] < GROWN_OBJECTS_MAX,
          f"{last[2] - warm[2]} more")
    idle = [kind.__name__ for kind in load.kinds() if kind.__name__ not in load.rounds]
    check(f"every kind of load has run ({sum(load.rounds.values())} rounds)", not idle, idle)
    check(f"{load.provoked} provoked exceptions were handled, and no other",
          load.provoked == load.handled, load.handled)


def certificate(folder):
    paths = [os.path.join(folder, name) for name in ("certificate.pem", "key.pem")]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost", "-out", paths[0], "-keyout", paths[1]],
        check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*paths)
    return server, ssl.create_default_context(cafile=paths[0])


def soak_here(seconds, grown_kib):
    first = descriptors()
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # in debug mode it tells of slow callbacks
    with tempfile.TemporaryDirectory() as folder:
        load = Load(folder, certificate(folder))
        sys.unraisablehook = lambda what: load.judge(
            "unraisable", False, f"{what.exc_value!r} in {what.object!r}")
        threading.excepthook = lambda what: load.judge("thread", False, repr(what.exc_value))
        ringlet.run(soak(load, seconds, grown_kib))
        gc.collect()
        check("everybody had what was due", not load.wrong,
              f"{len(load.wrong)} not: {load.wrong[:5]}")
    check("the closed loop holds no descriptor", descriptors() == first, descriptors())


def soak_driver(driver, seconds, grown_kib):
    """A process for one driver; its lines are ours, its counts are added up."""
    # So that freed memory goes back to the system, and what is left is what is in use.
    environment = dict(os.environ, RINGLET_DRIVER=driver, MALLOC_ARENA_MAX="2",
                       MALLOC_MMAP_THRESHOLD_="131072", MALLOC_TRIM_THRESHOLD_="131072")
    environment.setdefault("PYTHONMALLOC", "debug")
    print(f"--- {driver}", flush=True)
    child = subprocess.Popen(
        [sys.executable, "-W", "error::ResourceWarning", "-X", "faulthandler", __file__, "--here",
         "--seconds", str(seconds), "--grown-kib", str(grown_kib)],
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    last = ""
    for last in child.stdout:
        if not re.fullmatch(r"\d+ passed, \d+ failed\n", last):
            print(last, end="", flush=True)
    code = child.wait()
    if counts := re.fullmatch(r"(\d+) passed, (\d+) failed\n", last):
        results[True] += int(counts.group(1))
        results[False] += int(counts.group(2))
    check(f"the process on {driver} ends in good order", code == 0 and counts,
          f"exit code {code}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600, help="of all drivers together")
    parser.add_argument("--drivers", default="uring,epoll")
    parser.add_argument("--grown-kib", type=int, default=GROWN_KIB_MAX,
                        help="what private memory may grow by")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        resource.setrlimit(resource.RLIMIT_NOFILE,
                           (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        soak_here(options.seconds, options.grown_kib)
    else:
        drivers = options.drivers.split(",")
        for driver in drivers:
            soak_driver(driver, options.seconds / len(drivers), options.grown_kib)
    print(f"{results[True]} passed, {results[False]} failed")
    return 1 if results[False] else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""uvloop's own tests, of its newest release, on another loop.

    tests/python/uvloop_suite.py                        on ringlet
    tests/python/uvloop_suite.py --factory asyncio:new_event_loop test_tcp

Takes what conformance/run.py takes. The sources come as a source distribution from the package
index into build/uvloop-tests; where that cannot be reached, the one of last time is taken. A
stand-in for the package gives its tests our loop, in both variants that most of them have: uvloop's
own and asyncio's. The last line is "N passed, N failed".
"""

import argparse
import glob
import os
import re
import subprocess
import sys
import tarfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

# Modules about what only uvloop is made of.
LEFT_OUT = {
    "test_cython": "Cython's handles and the debug build of uvloop's extension",
    "test_fs_event": "a watcher of files that only libuv offers",
    "test_libuv_api": "libuv's version and its C interface",
    "test_sourcecode": "the style and the types of uvloop's own source",
}


def version_of(archive):
    return [int(number) for number in re.findall(r"\d+", os.path.basename(archive))]


def fetch(python, folder):
    """The unpacked source distribution."""
    os.makedirs(folder, exist_ok=True)
    found = glob.glob(os.path.join(folder, "uvloop-*.tar.gz"))
    fetched = subprocess.run([python, "-m", "pip", "download", "--quiet", "--no-deps",
                              "--no-binary", "uvloop", "--dest", folder, "uvloop"],
                             check=not found)
    if fetched.returncode:
        print("the newest release cannot be fetched")
    else:
        found = glob.glob(os.path.join(folder, "uvloop-*.tar.gz"))
    archive = max(found, key=version_of)
    source = archive[:-len(".tar.gz")]
    if not os.path.isdir(source):
        with tarfile.open(archive) as file:
            file.extractall(folder)
    return source


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--factory", default="ringlet:new_event_loop")
    parser.add_argument("--python", default=sys.executable)
    options, rest = parser.parse_known_args()
    source = fetch(options.python, os.path.join(ROOT, "build", "uvloop-tests"))
    print(f"{os.path.basename(source)}, without:")
    for module, reason in LEFT_OUT.items():
        print(f"  {module}: {reason}")
    # The folder of the tests alone: beside them lies a package that is not built.
    alone = os.path.join(source, "alone")
    os.makedirs(alone, exist_ok=True)
    if not os.path.exists(os.path.join(alone, "tests")):
        os.symlink(os.path.join(source, "tests"), os.path.join(alone, "tests"))
    paths = [alone] if options.factory.startswith("uvloop") else [
        os.path.join(HERE, "stand_in"), alone]
    environment = dict(
        os.environ, STAND_IN_FACTORY=options.factory,
        STAND_IN_SOURCE=os.path.join(source, "uvloop"),
        PYTHONPATH=os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, os.path.join(HERE, "conformance", "run.py"), "--factory",
         options.factory, "--python", options.python, "--package", "tests", "--leave-out",
         ",".join(LEFT_OUT), *rest], env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())

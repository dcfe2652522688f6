#!/usr/bin/env python3
"""Makes a wheel as others are given it, and sees what systems it is for and what it needs of them.

    build/venv-3.11/bin/python tests/python/wheel_test.py

libssl and libcrypto have to be those that the interpreter uses, so they are not put in. The last
line is "N passed, N failed".
"""

import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OF_THE_SYSTEM = ["libssl.so.3", "libcrypto.so.3"]
results = {True: 0, False: 0}


def check(name, holds, detail=""):
    results[bool(holds)] += 1
    print(f"{'ok  ' if holds else 'FAIL'} {name}{'' if holds else ': ' + str(detail)}")


def run(*command):
    """What a module of this environment prints; nothing when it fails."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True,
                          text=True, timeout=280, env={**os.environ, "PATH": path})
    if done.returncode:
        print(done.stdout, done.stderr)
    return done.stdout if done.returncode == 0 else ""


def only(pattern):
    found = glob.glob(pattern)
    check(f"there is one {os.path.basename(pattern)}", len(found) == 1, found)
    return found[0] if len(found) == 1 else None


def look_at(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    check("it holds the extension, the stubs and the mark of types",
          {"ringlet/__init__.py", "ringlet/py.typed", "ringlet/_native.pyi"} < set(names)
          and sum(name.endswith(".so") for name in names) == 1, names)
    check("and nothing but the package and what a wheel is made of",
          all(re.match(r"ringlet(-[^/]*\.dist-info)?/", name) for name in names), names)
    check("it is smaller than 3 MB", os.path.getsize(wheel) < 3_000_000)
    told = json.loads(run("auditwheel", "show", "--json", wheel) or "{}")
    tag, needed = told.get("sym_tag", ""), sorted(told.get("external_libs", ()))
    check("its symbols are those of a manylinux", re.fullmatch(r"manylinux_2_\d+_\w+", tag), tag)
    check("beside libc it needs libssl and libcrypto alone", needed == sorted(OF_THE_SYSTEM),
          needed)
    return tag


def main():
    with tempfile.TemporaryDirectory() as folder:
        run("pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", folder,
            ".")
        wheel = only(f"{folder}/*-linux_*.whl")
        if wheel is not None:
            tag = look_at(wheel)
            excluded = [word for name in OF_THE_SYSTEM for word in ("--exclude", name)]
            run("auditwheel", "repair", *excluded, "--wheel-dir", folder, wheel)
            wheel = only(f"{folder}/*{tag}*.whl")
        if wheel is not None:
            print(os.path.basename(wheel), os.path.getsize(wheel), "bytes")
    print(f"{results[True]} passed, {results[False]} failed")
    return 1 if results[False] else 0


if __name__ == "__main__":
    sys.exit(main())

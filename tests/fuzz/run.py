#!/usr/bin/env python3
"""Runs the fuzz targets, each from its kept corpus and the tables in tests/data, two at a time.

    tests/fuzz/run.py BUILD [--seconds N] [--keep] [TARGET...]

BUILD is the folder of the fuzz preset's build, --seconds (30) what each target gets; 0 runs what is
kept and looks for nothing new, so that the result is always the same. --keep adds to
tests/fuzz/corpus the shortest inputs that reach what the corpus did not reach. An input that fails
is left in BUILD/failed/TARGET-*; run BUILD/tests/fuzz/fuzz_TARGET with it. The last line is
"N passed, N failed", a target each.
"""

import argparse
import concurrent.futures
import glob
import hashlib
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(os.path.dirname(HERE), "data")
KEPT_BYTES_MAX = 400  # of one input in the corpus
KEPT_MAX = 150        # inputs of one target
INPUT_BYTES_MAX = 1500
PLAIN = set(range(32, 127))


def escaped(data):
    """One line of text, as the tables in tests/data have it."""
    names = {13: "\\r", 10: "\\n", 9: "\\t", 92: "\\\\"}
    # A line that began with '#' would be a comment, and blanks at the ends are easily lost.
    ends = {0, len(data) - 1}
    return "".join(names.get(byte) or
                   (f"\\x{byte:02x}" if byte not in PLAIN or (at in ends and byte in b" #")
                    else chr(byte)) for at, byte in enumerate(data))


def unescaped(text):
    text = re.sub(r"\\\{(\d+):([^}]*)\}", lambda found: found[2] * min(int(found[1]), 50), text)
    special = {"r": b"\r", "n": b"\n", "t": b"\t"}
    return re.sub(rb"\\(x([0-9a-f]{2})|.)",
                  lambda found: bytes([int(found[2], 16)]) if found[2] else
                  special.get(found[1].decode(), found[1]), text.encode())


def lines(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file if line.strip() and not line.startswith("#")]


def corpus_path(target):
    return os.path.join(HERE, "corpus", target + ".txt")


def seeds(target):
    """What the target begins with: the kept inputs and those of the tests' tables."""
    yield from (unescaped(line) for line in lines(corpus_path(target)))
    if target == "request":
        for line in lines(os.path.join(DATA, "http_requests.txt")):
            yield unescaped(line.split(" ", 1)[1])
    elif target == "response":
        for line in lines(os.path.join(DATA, "http_responses.txt")):
            yield b"\0" + unescaped(line.split(" ", 1)[1])
    elif target == "url":
        for line in lines(os.path.join(DATA, "urls.txt")):
            yield b"\n".join(unescaped(word) for word in line.split(" ")[:2])


def write_seeds(target, folder):
    for data in seeds(target):
        with open(os.path.join(folder, hashlib.sha1(data).hexdigest()), "wb") as file:
            file.write(data)


def keep(program, target, folder):
    """Writes the corpus anew: the shortest inputs that together reach all that was reached."""
    with tempfile.TemporaryDirectory() as short, tempfile.TemporaryDirectory() as merged:
        for path in glob.glob(os.path.join(folder, "*")):
            if os.path.getsize(path) <= KEPT_BYTES_MAX:
                os.link(path, os.path.join(short, os.path.basename(path)))
        subprocess.run([program, "-merge=1", merged, short], stdin=subprocess.DEVNULL,
                       capture_output=True, check=True)
        kept = []
        for path in glob.glob(os.path.join(merged, "*")):
            with open(path, "rb") as file:
                kept.append(file.read())
    kept = sorted(kept, key=lambda data: (len(data), data))[:KEPT_MAX]
    with open(corpus_path(target), "w", encoding="utf-8") as file:
        file.write(f"# Inputs of fuzz_{target}, a line each; escapes as in "
                   "tests/data/http_requests.txt.\n")
        file.writelines(escaped(data) + "\n" for data in kept if data)


def run(target, options):
    program = os.path.join(options.build, "tests/fuzz", "fuzz_" + target)
    failed = os.path.join(options.build, "failed", target + "-")
    os.makedirs(os.path.dirname(failed), exist_ok=True)
    dictionary = os.path.join(HERE, "dictionaries", target + ".dict")
    # Both sides of a memory: what a limit lets through may be large, what leaks grows.
    length = f"-max_total_time={options.seconds}" if options.seconds > 0 else "-runs=0"
    command = [program, length, f"-max_len={INPUT_BYTES_MAX}",
               "-timeout=20", "-rss_limit_mb=2000", f"-artifact_prefix={failed}",
               "-print_final_stats=1"]
    if os.path.exists(dictionary):
        command.append("-dict=" + dictionary)
    with tempfile.TemporaryDirectory() as folder:
        write_seeds(target, folder)
        done = subprocess.run(command + [folder], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        said = done.stdout.decode(errors="replace")
        if done.returncode == 0 and options.keep:
            keep(program, target, folder)
    tried = re.search(r"number_of_executed_units: *(\d+)", said)
    reached = re.findall(r"cov: (\d+)", said)
    return done.returncode == 0, tried and tried[1], reached and reached[-1], said


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build")
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_intermixed_args()
    there = sorted(os.path.basename(path)[:-4] for path in glob.glob(os.path.join(HERE, "*.cpp")))
    there.remove("main")
    targets = options.targets or there
    passed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for target, (good, tried, reached, said) in zip(
                targets, pool.map(lambda each: run(each, options), targets)):
            passed += good
            print(f"{'ok  ' if good else 'FAIL'} {target}: {tried} inputs, coverage {reached}",
                  flush=True)
            if not good:
                print(said[-6000:], flush=True)
    print(f"{passed} passed, {len(targets) - passed} failed")
    return 0 if passed == len(targets) else 1


if __name__ == "__main__":
    sys.exit(main())

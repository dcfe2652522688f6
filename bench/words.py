"""Counting the words of a large file: the pipeline of generators beside the same in plain loops and
in Python's generators, by CPU; and that the pipeline's memory stays flat."""

import random
import subprocess
import sys
import time
from pathlib import Path

from crawls import run_command
from measure import MeasureError, private_bytes
from report import Row

VOCABULARY = 30_000
PIECE_WORDS = 1_000_000
PRIVATE_BYTES_MAX = 32 * 2**20
LOOK_EVERY_S = 0.05


def make_text(path, size):
    """At least `size` bytes of words, frequent and rare as in a language (Zipf's law)."""
    randomly = random.Random(1)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    vocabulary = ["".join(randomly.choices(letters, k=randomly.randint(2, 10)))
                  for _ in range(VOCABULARY)]
    weights = [1 / (rank + 1) for rank in range(VOCABULARY)]
    found = randomly.choices(vocabulary, weights, k=PIECE_WORDS)
    piece = "\n".join(" ".join(found[at:at + 12])
                      for at in range(0, PIECE_WORDS, 12)).encode() + b"\n"
    with open(path, "wb") as file:
        while file.tell() < size:
            file.write(piece)
        return file.tell()


def most_private_bytes(command):
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        try:
            most = max(most, private_bytes(process.pid))
        except OSError:
            break  # it has just ended
        time.sleep(LOOK_EVERY_S)
    if process.wait() != 0 or most == 0:
        raise MeasureError(f"{command[0]} ended with status {process.returncode}.")
    return most


def words(report, programs, folder, times, size):
    text = folder / "words.txt"
    try:
        size = make_text(text, size)
        program = programs / "word_count"
        commands = {"plain loops": [program, text, "--plain"], "pipeline": [program, text],
                    "Python generators": [sys.executable,
                                          Path(__file__).parent / "word_count.py", text]}
        found = {}
        said = set()
        for turn in range(times):
            for name, command in commands.items():
                if turn == 0 or name != "Python generators":
                    _, cpu_s, output = run_command(command)
                    found.setdefault(name, []).append(cpu_s)
                    said.add(output)
        if len(said) != 1:
            raise MeasureError(f"the programs counted differently: {said}")
        work = f"word_count of {size / 2**20:,.0f} MiB, CPU"
        floor = min(found["plain loops"])
        for name, samples in found.items():
            ratio = None if name == "plain loops" else min(samples) / floor
            report.add(Row("words", work, name, min(samples), "s", ratio=ratio,
                           note=f"{min(samples) / size * 2**30:.2f} s per GiB"))
        report.add(Row("words", f"word_count of {size / 2**20:,.0f} MiB, most private memory",
                       "pipeline", most_private_bytes(commands["pipeline"]), "B",
                       target=PRIVATE_BYTES_MAX))
    finally:
        text.unlink(missing_ok=True)

#!/usr/bin/env python3
"""word_count, run as a user runs it: the pipeline of generators, the plain loops and Python's
generators (bench/word_count.py) count the same words, and the pipeline's memory stays flat.

    tests/examples/word_count_test.py [FOLDER OF THE PROGRAMS]     default: build/release/examples

The last line is "N passed, N failed".
"""

import os
import random
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FOLDER = sys.argv[1] if len(sys.argv) > 1 else "build/release/examples"
SECONDS_MAX = 120
BLOCK_BYTES = 256 * 1024
WORD_BYTES_MAX = 64 * 1024
LARGE_BYTES = 64 * 1024 * 1024
PRIVATE_BYTES_MAX = 32 * 1024 * 1024
results = {True: 0, False: 0}


def check(name, holds, detail=""):
    results[bool(holds)] += 1
    if not holds:
        print(f"FAIL: {name}: {str(detail)[:800]}", flush=True)


def command(*arguments):
    return [os.path.join(FOLDER, "word_count"), *arguments]


def run(*arguments, driver="uring"):
    return subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=SECONDS_MAX, env={**os.environ, "RINGLET_DRIVER": driver})


def expected(text):
    """What all three have to print, counted in yet another way."""
    found = text.split()
    counts = {}
    for word in found:
        counts[word] = counts.get(word, 0) + 1
    top = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:10]
    lines = [b"%d %s\n" % (count, word) for word, count in top]
    return b"".join(lines) + b"%d words\n" % len(found)


def texts():
    """Names with texts: words at, over and around the ends of blocks, and bytes of every kind."""
    randomly = random.Random(4)
    vocabulary = [b"w%d" % number for number in range(5000)]
    yield "empty", b""
    yield "one word", b"alone"
    yield "no word", b" \t\r\n\v\f " * 1000
    yield "no end of line", b"a b a"
    yield "some", b" ".join(randomly.choices(vocabulary, k=300_000))
    for around in (-2, -1, 0, 1, 2):
        yield f"a word that ends at a block {around:+}", b"x" * 9 + b" " + b"y " * (
            (BLOCK_BYTES + around - 10) // 2) + b"last" * 3 + b" z"
        yield f"a word over a block's end {around:+}", b"s " * (
            BLOCK_BYTES // 2 - 20) + b"l" * (40 + around) + b" s s"
    yield "the longest word", b"s " * 1000 + b"l" * WORD_BYTES_MAX + b" s" * 200_000
    yield "bytes of every kind", bytes(randomly.randrange(256) for _ in range(300_000))
    yield "exactly a block", b"abc " * (BLOCK_BYTES // 4)


def compare(folder):
    path = os.path.join(folder, "text")
    for name, text in texts():
        with open(path, "wb") as file:
            file.write(text)
        wanted = expected(text)
        for driver in ("uring", "epoll"):
            done = run(*command(path), driver=driver)
            check(f"{name}: pipeline on {driver}", done.stdout == wanted, (done, wanted))
        done = run(*command("--plain", path))
        check(f"{name}: plain loops", done.stdout == wanted, (done, wanted))
        done = run(sys.executable, os.path.join(ROOT, "bench/word_count.py"), path)
        check(f"{name}: Python", done.stdout == wanted, (done, wanted))
    done = run(*command("--top", "1", path))
    check("--top 1", done.stdout == b"65536 abc\n65536 words\n", done)


def refusals(folder):
    path = os.path.join(folder, "long")
    with open(path, "wb") as file:
        file.write(b"l" * (WORD_BYTES_MAX + BLOCK_BYTES))
    for options in ([], ["--plain"]):
        done = run(*command(*options, path))
        check(f"a word that is too long is refused {options}",
              done.returncode == 1 and b"65536 bytes" in done.stderr, done)
        for wrong in (os.path.join(folder, "missing"), folder):
            done = run(*command(*options, wrong))
            check(f"{wrong} is refused {options}",
                  done.returncode == 1 and done.stderr.startswith(b"word_count: "), done)
    check("no file at all is refused", run(*command()).returncode != 0)
    short = os.path.join(folder, "short")
    with open(short, "wb") as file:
        file.write(b"one two")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(short), stdout=full, stderr=subprocess.PIPE, timeout=60)
    check("output that cannot be written is told",
          done.returncode == 1 and b"No space left" in done.stderr, done)


def private_bytes(pid):
    total = 0
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            if line.startswith("Private_"):
                total += int(line.split()[1]) * 1024
    return total


def flat_memory(folder):
    path = os.path.join(folder, "large")
    piece = b" ".join(b"word%d" % (number % 20_000) for number in range(100_000)) + b"\n"
    with open(path, "wb") as file:
        for _ in range(LARGE_BYTES // len(piece) + 1):
            file.write(piece)
    process = subprocess.Popen(command(path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    most = 0
    while process.poll() is None:
        try:
            most = max(most, private_bytes(process.pid))
        except (OSError, ValueError):
            break  # it has just ended
    output = process.communicate(timeout=SECONDS_MAX)[0]
    wanted = (LARGE_BYTES // len(piece) + 1) * 100_000
    check("the large file is counted", output.endswith(b"%d words\n" % wanted), output)
    check("its memory stays flat", 0 < most <= PRIVATE_BYTES_MAX, most)


with tempfile.TemporaryDirectory() as temporary:
    compare(temporary)
    refusals(temporary)
    flat_memory(temporary)
print(f"{results[True]} passed, {results[False]} failed")
sys.exit(1 if results[False] else 0)

#!/usr/bin/env python3
"""four_ways, run as a user runs it, against a server of good and bad answers: the coroutine, the
callbacks, the future chain and the fiber give the same answer and the same figures.

    tests/examples/four_ways_test.py [FOLDER OF THE PROGRAMS]      default: build/release/examples

The last line is "N passed, N failed".
"""

import collections
import http.server
import os
import re
import socket
import subprocess
import sys
import threading

FOLDER = sys.argv[1] if len(sys.argv) > 1 else "build/release/examples"
WAYS = ["coroutine", "callback", "future", "fiber"]
PAGE = bytes(range(256)) * 500
SECONDS_MAX = 60
results = {True: 0, False: 0}
asked = collections.Counter()


def check(name, holds, detail=""):
    results[bool(holds)] += 1
    if not holds:
        print(f"FAIL: {name}: {str(detail)[:800]}", flush=True)


def fingerprint(body):
    """FNV-1a, as the program computes it."""
    state = 14695981039346656037
    for byte in body:
        state = (state ^ byte) * 1099511628211 % 2**64
    return state


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        asked[self.path] += 1
        status, body, announced = 200, PAGE, None
        if self.path == "/busy":  # for two of three requests
            status, body = (200, b"at last") if asked[self.path] % 3 == 0 else (503, b"busy")
        elif self.path == "/always-busy":
            status, body = 503, b"busy as ever"
        elif self.path == "/missing":
            status, body = 404, b"not here"
        elif self.path == "/empty":
            body = b""
        elif self.path == "/cut":
            body, announced = b"only this", 1000
        elif self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/page")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        self.end_headers()
        self.wfile.write(body)
        if announced is not None:
            self.close_connection = True

    def log_message(self, *_):
        pass


def run(*arguments, driver=None):
    environment = {**os.environ, "RINGLET_DRIVER": driver} if driver else None
    return subprocess.run([os.path.join(FOLDER, "four_ways"), *arguments], env=environment,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=SECONDS_MAX)


def same_four(name, url, wanted, exit_code, driver):
    """Runs all four; their lines must be one and the same after the way's name."""
    done = run(url, driver=driver)
    name = f"{name} on {driver}"
    lines = [line.split(None, 1) for line in done.stdout.splitlines()]
    check(f"{name}: exit code {exit_code}", done.returncode == exit_code, done)
    check(f"{name}: one line of each", [line[0] for line in lines] == WAYS, done)
    figures = {line[1] for line in lines if len(line) == 2}
    check(f"{name}: the same answer and figures", len(figures) == 1, figures)
    check(f"{name}: the right ones", all(re.search(wanted, each) for each in figures), figures)
    check(f"{name}: nothing on stderr", not done.stderr, done.stderr)


def success(status, body, tries=1, connections=1, requests=None):
    return (rf"^status {status}, {len(body)} bytes, fingerprint {fingerprint(body):016x}, "
            rf"{tries} tries, {requests or tries} requests, {connections} connections$")


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        for driver in ("uring", "epoll"):
            same_four("page", base + "/page", success(200, PAGE), 0, driver)
            same_four("empty", base + "/empty", success(200, b""), 0, driver)
            same_four("missing", base + "/missing", success(404, b"not here"), 0, driver)
            same_four("busy twice", base + "/busy", success(200, b"at last", 3), 0, driver)
            same_four("always busy", base + "/always-busy", success(503, b"busy as ever", 3), 0,
                      driver)
            same_four("moved", base + "/moved", success(200, PAGE, 1, 1, r"\d"), 0, driver)
            same_four("cut", base + "/cut",
                      r"/cut: response body: .*, 1 requests, 1 connections$", 1, driver)
            same_four("nobody there", nobody, r": connect: .*refused.*, 1 requests, "
                      r"0 connections$", 1, driver)
            same_four("no URL", "nonsense", r"^nonsense: url: ", 1, driver)
    for way in WAYS:
        done = run(base + "/page", "--only", way)
        check(f"--only {way}", re.fullmatch(rf"{way} +status 200, .*\n", done.stdout), done)
    check("--only of no way is refused", run(base + "/page", "--only", "magic").returncode != 0)
    check("no URL at all is refused", run().returncode != 0)
    server.shutdown()
    print(f"{results[True]} passed, {results[False]} failed")
    return 1 if results[False] else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""The small example programs, run as a user runs them: echo_server, http_echo, delay_server and a
short experiment.

    tests/examples/servers_test.py [FOLDER OF THE PROGRAMS]      default: build/release/examples

The last line is "N passed, N failed".
"""

import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

FOLDER = sys.argv[1] if len(sys.argv) > 1 else "build/release/examples"
SECONDS_MAX = 20
results = {True: 0, False: 0}


def check(name, holds, detail=""):
    results[bool(holds)] += 1
    if not holds:
        print(f"FAIL: {name}: {str(detail)[:500]}", flush=True)


@contextlib.contextmanager
def running(name):
    """Starts a server on a free port, gives the port, and checks that SIGTERM ends it well."""
    server = subprocess.Popen([os.path.join(FOLDER, name), "0"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        found = re.search(r":(\d+)\b", line)
        check(f"{name}: says where it listens", found, line)
        yield int(found.group(1))
        server.send_signal(signal.SIGUSR1)
        dump = server.stderr.readline()
        check(f"{name}: SIGUSR1 tells what it waits for", "live tasks" in dump, dump)
        server.send_signal(signal.SIGTERM)
        said = server.communicate(timeout=SECONDS_MAX)[1]
        check(f"{name}: SIGTERM ends it in good order", server.returncode == 0,
              f"{server.returncode}: {said}")
        check(f"{name}: nothing to complain of", "Sanitizer" not in said, said)
    finally:
        server.kill()
        server.communicate()


def refuses(name, *arguments, codes=(2,)):
    run = subprocess.run([os.path.join(FOLDER, name), *arguments], stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, timeout=SECONDS_MAX)
    check(f"{name} {' '.join(arguments)}: a sentence and exit code {codes}",
          run.returncode in codes and run.stderr.strip(), f"{run.returncode}: {run.stderr}")


def connect(port):
    return socket.create_connection(("127.0.0.1", port), SECONDS_MAX)


def read_all(sock):
    parts = []
    while part := sock.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def round_trip(port, data):
    """Sends while it reads, so that no buffer can block the other side; then half-closes."""
    with connect(port) as sock, concurrent.futures.ThreadPoolExecutor(1) as reader:
        answer = reader.submit(read_all, sock)
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return answer.result(SECONDS_MAX)


def echo_server():
    with running("echo_server") as port:
        for size in (1, 1000, 100_000, 5_000_000):
            data = os.urandom(size)
            check(f"echo of {size} bytes", round_trip(port, data) == data)
        idle = [connect(port) for _ in range(50)]
        for number, sock in enumerate(idle):
            sock.sendall(b"%d" % number)
        answers = [sock.recv(10) for sock in idle]
        check("50 connections at once", answers == [b"%d" % n for n in range(50)], answers)
        idle[0].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        idle[0].close()  # a reset
        check("a reset harms nobody else", round_trip(port, b"still here") == b"still here")
        refuses("echo_server", str(port), codes=(1, 2))
        for sock in idle:
            sock.close()
    refuses("echo_server")
    refuses("echo_server", "many")
    refuses("echo_server", "99999")


def ask(port, method, target, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS_MAX)
    try:
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def http_echo():
    with running("http_echo") as port:
        status, body = ask(port, "GET", "/a/b?c=d", headers={"X-One": "1"})
        seen = json.loads(body)
        check("http_echo: GET", status == 200 and seen["method"] == "GET" and seen["body"] == ""
              and seen["target"] == "/a/b?c=d" and ["X-One", "1"] in seen["headers"], body)
        status, body = ask(port, "POST", "/", "a body")
        check("http_echo: a body", json.loads(body)["body"] == "a body", body)
        status, body = ask(port, "PUT", "/", iter([b"in ", b"chunks"]))
        check("http_echo: chunks", json.loads(body)["body"] == "in chunks", body)
        status, body = ask(port, "GET", "/plaintext")
        check("http_echo: /plaintext", (status, body) == (200, b"Hello, World!"), (status, body))
        status, body = ask(port, "HEAD", "/plaintext")
        check("http_echo: HEAD has no body", (status, body) == (200, b""), (status, body))
        with connect(port) as sock:
            request = b"GET /plaintext HTTP/1.1\r\nHost: x\r\n"
            sock.sendall((request + b"\r\n") * 15 + request + b"Connection: close\r\n\r\n")
            answers = read_all(sock)
            check("http_echo: 16 pipelined requests", answers.count(b"Hello, World!") == 16)
        with connect(port) as sock:
            sock.sendall(b"GET / of something else\r\n\r\n")
            answer = read_all(sock)
            check("http_echo: what is no request gets 400", answer.startswith(b"HTTP/1.1 400 "),
                  answer[:80])
        refuses("http_echo", str(port), codes=(1, 2))
    refuses("http_echo", "x")


def delay_server():
    with running("delay_server") as port:
        started = time.monotonic()
        status, body = ask(port, "GET", "/add?name=one&delay=200")
        took = time.monotonic() - started
        check("delay_server: waits as asked", status == 200 and 0.19 < took < 2, f"{took:.3f} s")
        check("delay_server: names the name", b"one" in body, body)
        started = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(30) as pool:
            answers = list(pool.map(
                lambda n: ask(port, "GET", f"/add?name=n{n}&delay=300"), range(30)))
        took = time.monotonic() - started
        check("delay_server: 30 at once take as long as one",
              all(status == 200 for status, _ in answers) and took < 3, f"{took:.3f} s")
        for target in ("/add?name=x&delay=-1", "/add?name=x&delay=many",
                       "/add?name=x&delay=99999999999999999999", "/nothing"):
            status, _ = ask(port, "GET", target)
            check(f"delay_server: {target} is refused", 400 <= status < 500, status)
    refuses("delay_server", "-1")


def experiment():
    with tempfile.TemporaryDirectory() as folder:
        report = os.path.join(folder, "report.html")
        run = subprocess.run(
            [os.path.join(FOLDER, "experiment"), "--urls", "40", "--delay", "5", "--report",
             report], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        check("experiment: runs", run.returncode == 0, f"{run.returncode}: {run.stderr}")
        check("experiment: prints its table", re.search(r"\b100\b.*\d\.\d{3}", run.stdout),
              run.stdout)
        check("experiment: writes its report",
              os.path.exists(report) and os.path.getsize(report) > 10_000)
        run = subprocess.Popen([os.path.join(FOLDER, "experiment"), "--urls", "1", "--delay",
                                "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
        run.stdout.readline()  # its title: it has begun
        run.send_signal(signal.SIGUSR1)
        dump = run.stderr.readline()
        run.communicate(timeout=60)
        check("experiment: SIGUSR1 tells what it waits for",
              "live tasks" in dump and run.returncode == 0, (run.returncode, dump))
        refuses("experiment", "--urls", "5", "--report", os.path.join(folder, "no/report.html"))
    refuses("experiment", "--urls", "0")
    refuses("experiment", "--no-such-option")


for program in (echo_server, http_echo, delay_server, experiment):
    try:
        program()
    except Exception as failure:  # one program that breaks must not hide the others
        check(program.__name__, False, repr(failure))
print(f"{results[True]} passed, {results[False]} failed")
sys.exit(1 if results[False] else 0)

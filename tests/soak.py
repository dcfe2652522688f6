#!/usr/bin/env python3
"""The servers and the crawler under mixed load for a long time, some of it ill-mannered: resets,
requests that come a byte at a time, peers that open and say nothing or half-close, more connections
than there are descriptors, little memory. Nothing may die, every honest request has its answer, and
in the end memory and descriptors are what they were.

    tests/soak.py [--seconds 600] [--programs build/release/examples]

The last line is "N passed, N failed".
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time

DESCRIPTORS_MAX = 200          # of each server; the load asks for more
MEMORY_BYTES_MAX = 768 << 20   # of address space, for each server
GROWN_KIB_MAX = 4 * 1024       # private memory at the end beside its warmed-up state
CRAWLER_MIB_MAX = 200
LINGERING_SECONDS_MAX = 90     # a keep-alive connection of a peer that has vanished
PEER_SECONDS_MAX = 30
BODY_MAX = 200_000
results = {True: 0, False: 0}


def check(name, holds, detail=""):
    results[bool(holds)] += 1
    print(f"{'ok  ' if holds else 'FAIL'} {name}{'' if holds else ': ' + str(detail)[:2000]}",
          flush=True)


def bound():
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS_MAX, DESCRIPTORS_MAX))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))


class Server:
    def __init__(self, programs, name):
        self.name = name
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [os.path.join(programs, name), "0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self.errors, text=True, preexec_fn=bound)
        line = self.process.stdout.readline()
        found = re.search(r":(\d+)\b", line)
        if not found:
            raise OSError(f"{name} does not say where it listens: {line}")
        self.port = int(found.group(1))

    def private_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            return int(re.search(r"RssAnon:\s+(\d+)", file.read()).group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def alive(self):
        return self.process.poll() is None

    def end(self):
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PEER_SECONDS_MAX)
        self.errors.seek(0)
        said = self.errors.read()
        check(f"{self.name} ends in good order", self.process.returncode == 0 and not said.strip(),
              f"{self.process.returncode}: {said}")
        self.process.kill()


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), PEER_SECONDS_MAX)


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


class Load:
    """One kind of peer, again and again until `stop`. Only an honest one may expect an answer."""

    def __init__(self, web, echo, stop):
        self.web, self.echo, self.stop = web, echo, stop
        self.random = random.Random(17)
        self.answered = 0
        self.wrong = []
        self.crowded = threading.Event()  # descriptors are exhausted now: anything may be refused

    def honest_http(self):
        calm = not self.crowded.is_set()
        connection = http.client.HTTPConnection("127.0.0.1", self.web.port,
                                                timeout=PEER_SECONDS_MAX)
        try:
            for _ in range(20):
                body = self.random.randbytes(self.random.randrange(BODY_MAX)).hex()[:BODY_MAX]
                connection.request("POST", "/soak?x", body, {"X-Soak": "yes"})
                answer = connection.getresponse()
                seen = json.loads(answer.read())
                self.judge("http", answer.status == 200 and seen["body"] == body, answer.status)
        except (OSError, http.client.HTTPException) as failure:
            self.judge("http", not calm or self.crowded.is_set(), repr(failure))
        finally:
            connection.close()

    def honest_echo(self):
        calm = not self.crowded.is_set()
        data = self.random.randbytes(self.random.randrange(1, BODY_MAX))
        try:
            with connect(self.echo) as sock:
                sender = threading.Thread(target=lambda: (sock.sendall(data),
                                                          sock.shutdown(socket.SHUT_WR)))
                sender.start()
                parts = []
                while part := sock.recv(1 << 16):
                    parts.append(part)
                sender.join()
                self.judge("echo", b"".join(parts) == data, "other bytes")
        except OSError as failure:
            self.judge("echo", not calm or self.crowded.is_set(), repr(failure))

    def judge(self, what, good, detail):
        self.answered += bool(good)
        if not good:
            self.wrong.append(f"{what}: {detail}")

    def resets(self):
        post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n"
        get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
        for server, text in ((self.web, post), (self.web, get * 30), (self.echo, b"x" * 50_000)):
            sock = connect(server)
            sock.sendall(text[:self.random.randrange(1, len(text))])
            time.sleep(self.random.random() / 100)
            reset(sock)

    def slowloris(self):
        """Heads that never end, a byte at a time; given up at once where the server has."""
        socks = [connect(self.web) for _ in range(20)]
        try:
            for byte in b"GET / HTTP/1.1\r\nHost: " + b"x" * 200:
                for sock in socks:
                    with contextlib.suppress(OSError):
                        sock.send(bytes([byte]))
                if self.stop.wait(0.3):
                    break
        finally:
            for sock in socks:
                sock.close()

    def half_open(self):
        """Peers that say nothing, half-close in the middle, or read nothing of what they ask."""
        socks = [connect(server) for server in (self.web, self.echo) for _ in range(5)]
        for sock in socks[:3]:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")
            sock.shutdown(socket.SHUT_WR)
        deaf = connect(self.web)
        deaf.settimeout(0.2)
        with contextlib.suppress(OSError):
            deaf.sendall(b"GET /plaintext HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000)
        self.stop.wait(1)
        for sock in [*socks, deaf]:
            sock.close()

    def crowd(self):
        """More connections than the server has descriptors, then room for the others again."""
        self.stop.wait(2)
        self.crowded.set()
        socks = []
        try:
            for server in (self.web, self.echo):
                for _ in range(DESCRIPTORS_MAX + 60):
                    sock = socket.socket()
                    sock.setblocking(False)
                    sock.connect_ex(("127.0.0.1", server.port))
                    socks.append(sock)
            self.stop.wait(1)
        finally:
            for sock in socks:
                sock.close()
            # What the crowd has left in the accept queues has to be seen through first.
            time.sleep(2)
            self.crowded.clear()
        self.stop.wait(6)

    def keep(self, peer):
        while not self.stop.is_set():
            try:
                peer()
            except OSError as failure:
                if not self.crowded.is_set():
                    self.wrong.append(f"{peer.__name__}: {failure!r}")
                    self.stop.wait(0.1)


def crawl(programs, web, stop, seconds):
    """Crawls of many URLs of the server, each a row, memory bounded."""
    rounds, bad, most = 0, [], 0
    with tempfile.TemporaryDirectory() as folder:
        urls, rows = os.path.join(folder, "urls"), os.path.join(folder, "rows")
        with open(urls, "w", encoding="ascii") as file:
            file.writelines(f"http://127.0.0.1:{web.port}/page/{n}\n" for n in range(2000))
        while not stop.is_set():
            run = subprocess.Popen(
                [os.path.join(programs, "crawler"), "--urls", urls, "--depth", "0", "--quiet",
                 "--ignore-robots", "--per-host", "10", "--timeout", "20", "--output", rows],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            said = run.stderr.read()
            _, status, usage = os.wait4(run.pid, 0)
            run.returncode = os.waitstatus_to_exitcode(status)
            most = max(most, usage.ru_maxrss // 1024)
            rounds += 1
            with open(rows, encoding="utf-8") as file:
                count = len({json.loads(line)["url"] for line in file})
            if run.returncode != 0 or count != 2000:
                bad.append(f"exit code {run.returncode}, {count} rows, {said[-500:]}")
            stop.wait(min(5, seconds / 10))
    check(f"{rounds} crawls: a row for each of 2,000 URLs", rounds > 0 and not bad, bad[:3])
    check(f"the crawler's memory stays below {CRAWLER_MIB_MAX} MiB", most < CRAWLER_MIB_MAX, most)


def settle(server, descriptors):
    """Waits until the server has closed what its peers have left."""
    end = time.monotonic() + LINGERING_SECONDS_MAX
    while server.descriptors() > descriptors and time.monotonic() < end:
        time.sleep(0.5)


def soak(programs, seconds):
    servers = web, echo = Server(programs, "http_echo"), Server(programs, "echo_server")
    first = {server: server.descriptors() for server in servers}
    stop = threading.Event()
    load = Load(web, echo, stop)
    peers = [load.honest_http, load.honest_echo, load.resets, load.slowloris, load.half_open,
             load.crowd]
    threads = [threading.Thread(target=load.keep, args=(peer,)) for peer in peers]
    threads.append(threading.Thread(target=crawl, args=(programs, web, stop, seconds)))
    for thread in threads:
        thread.start()
    # Whatever is taken once (pools, tables, the allocator's arenas) is taken in the first half.
    stop.wait(seconds / 2)
    warm = {server: server.private_kib() for server in servers}
    stop.wait(seconds / 2)
    stop.set()
    for thread in threads:
        thread.join()
    for server in servers:
        check(f"{server.name} is alive", server.alive())
        settle(server, first[server])
        check(f"{server.name}: descriptors are what they were ({first[server]})",
              server.descriptors() == first[server], server.descriptors())
        grown = server.private_kib() - warm[server]
        check(f"{server.name}: private memory is flat ({warm[server]} KiB)",
              grown < GROWN_KIB_MAX, f"grown by {grown} KiB")
    check(f"{load.answered} honest requests have the right answer",
          load.answered > 0 and not load.wrong, f"{len(load.wrong)} not: {load.wrong[:5]}")
    load.honest_http()
    load.honest_echo()
    check("afterwards all is as before", not load.wrong, load.wrong[-2:])
    for server in servers:
        server.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--programs", default="build/release/examples")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_NOFILE,
                       (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    soak(options.programs, options.seconds)
    print(f"{results[True]} passed, {results[False]} failed")
    return 1 if results[False] else 0


if __name__ == "__main__":
    sys.exit(main())

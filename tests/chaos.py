#!/usr/bin/env python3
"""The crawler across a network that delays and loses packets: two network namespaces, nginx in one,
the crawler in the other, between them tc's netem or, in a kernel without it, a wire of our own made
of two tun devices. Every URL has to end as a row, and all but a few with their page.

    tests/chaos.py [--crawler build/release/examples/crawler] [--urls N] [--loss PERCENT]

Where namespaces cannot be made it says so and counts as one passed. The last line is
"N passed, N failed".
"""

import argparse
import contextlib
import ctypes
import fcntl
import hashlib
import heapq
import itertools
import json
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

DELAY_MS = 20
JITTER_MS = 10
LARGE_EVERY = 10              # each so manieth page is large
LARGE_BYTES = 200_000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
PACKET_BYTES_MAX = 1 << 16
CRAWL_SECONDS_MAX = 300
results = {True: 0, False: 0}


def check(name, holds, detail=""):
    results[bool(holds)] += 1
    print(f"{'ok  ' if holds else 'FAIL'} {name}{'' if holds else ': ' + str(detail)[:2000]}",
          flush=True)


def ip(*words, **options):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, **options)


class OwnWire:
    """Two tun devices; each packet of one appears at the other late, or never."""

    def __init__(self, names, loss):
        self.loss, self.random, self.ended = loss, random.Random(23), False
        self.carried = self.lost = 0
        self.ends = []
        for name in names:
            end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
            self.ends.append(end)
        self.thread = threading.Thread(target=self.carry, daemon=True)

    def carry(self):
        waiting, number = [], itertools.count()
        while not self.ended:
            pause = max(0, waiting[0][0] - time.monotonic()) if waiting else 0.1
            for end in select.select(self.ends, [], [], min(pause, 0.1))[0]:
                with contextlib.suppress(BlockingIOError):
                    while packet := os.read(end, PACKET_BYTES_MAX):
                        if self.random.random() * 100 < self.loss:
                            self.lost += 1
                            continue
                        late = (DELAY_MS + self.random.random() * JITTER_MS) / 1000
                        other = self.ends[1 - self.ends.index(end)]
                        heapq.heappush(waiting,
                                       (time.monotonic() + late, next(number), other, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, other, packet = heapq.heappop(waiting)
                with contextlib.suppress(OSError):
                    os.write(other, packet)
                    self.carried += 1

    def close(self):
        self.ended = True
        self.thread.join()
        for end in self.ends:
            os.close(end)


def netem(spaces, names, loss):
    """A veth pair with netem at both ends; False where the kernel has none."""
    ip("link", "add", names[0], "type", "veth", "peer", "name", names[1])
    for space, name in zip(spaces, names):
        ip("link", "set", name, "netns", space)
        done = subprocess.run(
            ["ip", "netns", "exec", space, "tc", "qdisc", "add", "dev", name, "root", "netem",
             "delay", f"{DELAY_MS}ms", f"{JITTER_MS}ms", "loss", f"{loss}%"],
            capture_output=True, check=False)
        if done.returncode != 0:
            ip("-n", space, "link", "del", name)
            return False
    return True


def write_site(folder, count):
    """Pages of a known content; path -> bytes."""
    pages = {}
    for number in range(count):
        body = f"<html><body>page {number}</body></html>\n".encode()
        if number % LARGE_EVERY == 0:
            body += b"<!-- " + bytes(97 + n % 26 for n in range(LARGE_BYTES)) + b" -->\n"
        pages[f"/{number}.html"] = body
        with open(os.path.join(folder, f"{number}.html"), "wb") as file:
            file.write(body)
    return pages


def start_nginx(folder, space, address):
    conf = os.path.join(folder, "nginx.conf")
    with open(conf, "w", encoding="utf-8") as file:
        file.write(f"""daemon off; master_process off; pid "{folder}/pid";
            error_log "{folder}/log"; events {{ }}
            http {{ access_log off; types {{ text/html html; }}
                client_body_temp_path "{folder}/b"; proxy_temp_path "{folder}/p";
                fastcgi_temp_path "{folder}/f"; uwsgi_temp_path "{folder}/u";
                scgi_temp_path "{folder}/s";
                server {{ listen {address}:80; root "{folder}/site"; }} }}""")
    return subprocess.Popen(["ip", "netns", "exec", space, shutil.which("nginx") or
                             "/usr/sbin/nginx", "-e", f"{folder}/log", "-p", folder, "-c", conf],
                            stdin=subprocess.DEVNULL)


def crawl(options, folder, space, address, pages):
    urls, rows = os.path.join(folder, "urls"), os.path.join(folder, "rows")
    with open(urls, "w", encoding="utf-8") as file:
        file.writelines(f"http://{address}{path}\n" for path in pages)
    started = time.monotonic()
    run = subprocess.run(
        ["ip", "netns", "exec", space, options.crawler, "--urls", urls, "--depth", "0", "--quiet",
         "--ignore-robots", "--concurrency", "50", "--per-host", "50", "--timeout", "60",
         "--output", rows], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        timeout=CRAWL_SECONDS_MAX, check=False)
    check(f"the crawl ends in good order, in {time.monotonic() - started:.1f} s",
          run.returncode == 0 and "Sanitizer" not in run.stderr, run.stderr)
    with open(rows, encoding="utf-8") as file:
        found = [json.loads(line) for line in file]
    by_url = {row["url"]: row for row in found}
    check("every URL is a row, and one row", len(found) == len(by_url) == len(pages),
          f"{len(found)} rows, {len(by_url)} URLs of {len(pages)}")
    good = [row for row in found if row.get("status") == 200 and not row.get("error")]
    short = [row["url"] for row in good
             if row["bytes"] != len(pages[row["url"].removeprefix(f"http://{address}")])]
    check("what is called good is whole", not short, short[:5])
    causes = sorted({row["error"] for row in found if row.get("error")})
    check(f"{len(good)} of {len(pages)} arrive, the others say why", len(good) > len(pages) * 0.98,
          causes[:5])


def chaos(options):
    mark = hashlib.sha1(str(os.getpid()).encode()).hexdigest()[:6]
    spaces = [f"ringlet-{mark}-{side}" for side in "ab"]
    names = [f"rl{mark}{side}" for side in "ab"]
    addresses = ["10.213.7.1", "10.213.7.2"]
    wire, nginx = None, None
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        os.mkdir(os.path.join(folder, "site"))
        pages = write_site(os.path.join(folder, "site"), options.urls)
        try:
            for space in spaces:
                ip("netns", "add", space)
            if not netem(spaces, names, options.loss):
                wire = OwnWire(names, options.loss)
                for space, name in zip(spaces, names):
                    ip("link", "set", name, "netns", space)
            for space, name, own, other in zip(spaces, names, addresses, addresses[::-1]):
                ip("-n", space, "addr", "add", f"{own}/32", "dev", name)
                ip("-n", space, "link", "set", name, "up")
                ip("-n", space, "link", "set", "lo", "up")
                ip("-n", space, "route", "add", f"{other}/32", "dev", name)
            if wire:
                wire.thread.start()
            print(f"{options.loss} % loss and {DELAY_MS} to {DELAY_MS + JITTER_MS} ms each way, by "
                  f"{'a wire of tun devices' if wire else 'netem'}", flush=True)
            nginx = start_nginx(folder, spaces[0], addresses[0])
            time.sleep(1)
            crawl(options, folder, spaces[1], addresses[0], pages)
            if wire:
                check(f"the wire lost {wire.lost} packets and carried {wire.carried}", wire.lost)
        finally:
            if nginx:
                nginx.terminate()
                nginx.wait()
            if wire and wire.thread.is_alive():
                wire.close()
            for space in spaces:
                subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


def refusal():
    """Why this machine cannot do it, or nothing."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    for program in ("ip", "tc"):
        if not shutil.which(program):
            return f"there is no {program} here (the package iproute2)"
    if ctypes.CDLL(None, use_errno=True).unshare(0x40000000) != 0:  # CLONE_NEWNET
        return "the kernel refuses network namespaces: " + os.strerror(ctypes.get_errno())
    return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crawler", default="build/release/examples/crawler")
    parser.add_argument("--urls", type=int, default=500)
    parser.add_argument("--loss", type=float, default=2)
    options = parser.parse_args()
    options.crawler = os.path.abspath(options.crawler)
    if why := refusal():
        print(f"skipped: {why}")
        results[True] += 1
    else:
        chaos(options)
    print(f"{results[True]} passed, {results[False]} failed")
    return 1 if results[False] else 0


if __name__ == "__main__":
    sys.exit(main())

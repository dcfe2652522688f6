"""The crawls: the book's 500 slow pages by the clock, and a real site by CPU, beside its peers."""

import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import LOAD_CPU, MeasureError, Server, cpu_of, free_port
from report import Row
from web import Nginx, documentation_root, find_nginx

BOOK_URLS = 500
BOOK_DELAY_MS = 100
BOOK_SECONDS_MAX = 0.510
SITE_TO_WGET_MAX = 0.6
SITE_TO_SCRAPY_MAX = 1 / 15
COMMAND_SECONDS_MAX = 300
WGET_SAW_ERROR_PAGES = 8  # The site has no robots.txt, for one.


def run_command(command, folder=None):
    """Runs a client on the load's CPU; returns (seconds by the clock, CPU seconds, what it said).

    Pinning this process for a moment, instead of the child in a preexec_fn, leaves subprocess its
    quick way to start one: forking a Python took 4 ms, which the clock counted.
    """
    accepted = (0, WGET_SAW_ERROR_PAGES) if command[0] == "wget" else (0,)
    own_cpus = os.sched_getaffinity(0)
    with tempfile.TemporaryFile() as said:
        os.sched_setaffinity(0, {cpu_of(LOAD_CPU)})
        try:
            begin = time.monotonic()
            process = subprocess.Popen([str(part) for part in command], cwd=folder, stdout=said,
                                       stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        finally:
            os.sched_setaffinity(0, own_cpus)
        ended = os.pidfd_open(process.pid)
        try:
            in_time = select.select([ended], [], [], COMMAND_SECONDS_MAX)[0]
            seconds = time.monotonic() - begin
        finally:
            os.close(ended)
        if not in_time:
            process.kill()
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
        if not in_time:
            raise MeasureError(f"{command[0]} took more than {COMMAND_SECONDS_MAX} s.")
        said.seek(0)
        output = said.read().decode(errors="replace")
        if process.returncode not in accepted:
            raise MeasureError(
                f"{command[0]} ended with status {process.returncode}. {output[-600:]}")
    return seconds, usage.ru_utime + usage.ru_stime, output


def rows_of(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines if line.strip()]


def book(report, programs, folder, times):
    """P11: the crawl as the crawler's summary times it, from the first request to the last row;
    the whole process, its start and its end included, stands beside it."""
    port = free_port()
    urls, rows = folder / "book_urls.txt", folder / "book_rows.jsonl"
    urls.write_text("".join(
        f"http://127.0.0.1:{port}/add?name={name}&delay={BOOK_DELAY_MS}\n"
        for name in range(BOOK_URLS)))
    command = [programs / "crawler", "--urls", urls, "--depth", 0, "--concurrency", 100,
               "--per-host", 100, "--ignore-robots", "--output", rows]
    server = Server("delay_server", [programs / "delay_server", port], port)
    try:
        samples = []
        for _ in range(times):
            whole, _, summary = run_command(command)
            crawl = re.search(r" pages in ([0-9.]+) s:", summary)
            if crawl is None:
                raise MeasureError(f"The crawler's summary has no time in it: {summary}")
            samples.append((float(crawl[1]), whole))
            answered = sum(row["status"] == 200 for row in rows_of(rows))
            if answered != BOOK_URLS:
                raise MeasureError(f"The book's crawl brought {answered} of {BOOK_URLS} pages.")
    finally:
        server.close()
    work = f"{BOOK_URLS} URLs of {BOOK_DELAY_MS} ms, 100 at a time"
    quarter = (len(samples) - 1) // 4
    crawls, wholes = (sorted(each) for each in zip(*samples))
    report.add(Row("book crawl", work, "crawler", crawls[0], "s", crawls[quarter],
                   target=BOOK_SECONDS_MAX,
                   note="first request to last row; the ideal is 0.500 s"))
    report.add(Row("book crawl", work, "whole process", wholes[0], "s", wholes[quarter],
                   note="with starting the program and its exit"))


def site(report, programs, folder, times, with_scrapy):
    """P17. CPU of the client only, user and system, start of the process included."""
    root = documentation_root()
    if root is None or find_nginx() is None:
        report.remark("The site crawl needs the packages nginx and python3.11-doc; left out.")
        return
    server = Nginx(folder / "nginx-site", root)
    found = {}
    start = f"http://127.0.0.1:{server.port}/index.html"
    commands = {"crawler": [programs / "crawler", start, "--depth", 1000, "--concurrency", 100,
                            "--per-host", 100, "--quiet", "--output", folder / "site.jsonl"]}
    if shutil.which("wget"):
        commands["wget -r"] = ["wget", "-r", "-l", "inf", "-q", "-nH", "-P", "wget", start]
    if with_scrapy:
        spider = Path(__file__).parent / "scrapy_site.py"
        commands["scrapy"] = [scrapy_python(folder), spider, start]
    try:
        for name, command in commands.items():
            samples = []
            for _ in range(times if name != "scrapy" else 1):
                server.forget_pages()
                samples.append(run_command(command, folder)[1])
                shutil.rmtree(folder / "wget", ignore_errors=True)
            found[name] = (sorted(samples), *server.pages())
    finally:
        server.close()
    add_site_rows(report, found)


def add_site_rows(report, found):
    limits = {"wget -r": SITE_TO_WGET_MAX, "scrapy": SITE_TO_SCRAPY_MAX}
    ours = found["crawler"][0][0]
    for name, (samples, requests, pages) in found.items():
        row = Row("site crawl", "Python's documentation, links followed, CPU of the client", name,
                  samples[0], "s", samples[(len(samples) - 1) // 4],
                  note=f"{pages} pages, {requests} requests")
        report.add(row)
    for name, limit in limits.items():
        if name in found:
            report.add(Row("site crawl", f"crawler beside {name}", "crawler", ours, "s",
                           ratio=ours / found[name][0][0], target=round(limit, 4)))


def scrapy_python(folder):
    """Debian's interpreter in a virtual environment with Scrapy, made once."""
    environment = folder / "scrapy"
    python = environment / "bin" / "python"
    if not (environment / "complete").exists():
        system_python = shutil.which("python3", path=os.defpath) or sys.executable
        subprocess.run([system_python, "-m", "venv", environment], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "scrapy"], check=True)
        (environment / "complete").touch()
    return python

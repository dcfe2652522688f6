"""The crawls: the book's 500 slow pages by the clock, and a real site by CPU, beside its peers."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import LOAD_CPU, MeasureError, Server, free_port, pin
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
    """Runs a client pinned to the load's CPU; returns (seconds by the clock, CPU seconds)."""
    accepted = (0, WGET_SAW_ERROR_PAGES) if command[0] == "wget" else (0,)
    begin = time.monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([str(part) for part in command], cwd=folder, stdout=said,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                   preexec_fn=pin(LOAD_CPU))
        status = usage = None
        while status is None and time.monotonic() - begin < COMMAND_SECONDS_MAX:
            done, code, used = os.wait4(process.pid, os.WNOHANG)
            if done:
                status, usage = os.waitstatus_to_exitcode(code), used
            else:
                time.sleep(0.0005)
        seconds = time.monotonic() - begin
        if status is None:
            process.kill()
            process.wait()
            raise MeasureError(f"{command[0]} took more than {COMMAND_SECONDS_MAX} s.")
        process.returncode = status
        if status not in accepted:
            said.seek(0)
            tail = said.read()[-600:].decode(errors="replace")
            raise MeasureError(f"{command[0]} ended with status {status}. {tail}")
    return seconds, usage.ru_utime + usage.ru_stime


def rows_of(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines if line.strip()]


def book(report, programs, folder, times):
    """P11. The clock runs from the start of the process to its end: nothing is left out."""
    port = free_port()
    urls, rows = folder / "book_urls.txt", folder / "book_rows.jsonl"
    urls.write_text("".join(
        f"http://127.0.0.1:{port}/add?name={name}&delay={BOOK_DELAY_MS}\n"
        for name in range(BOOK_URLS)))
    command = [programs / "crawler", "--urls", urls, "--depth", 0, "--concurrency", 100,
               "--per-host", 100, "--ignore-robots", "--quiet", "--output", rows]
    server = Server("delay_server", [programs / "delay_server", port], port)
    try:
        samples = []
        for _ in range(times):
            samples.append(run_command(command)[0])
            answered = sum(row["status"] == 200 for row in rows_of(rows))
            if answered != BOOK_URLS:
                raise MeasureError(f"The book's crawl brought {answered} of {BOOK_URLS} pages.")
    finally:
        server.close()
    samples.sort()
    report.add(Row("book crawl", f"{BOOK_URLS} URLs of {BOOK_DELAY_MS} ms, 100 at a time",
                   "crawler", samples[0], "s", samples[(len(samples) - 1) // 4],
                   target=BOOK_SECONDS_MAX,
                   note="whole process by the clock; the ideal is 0.500 s"))


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

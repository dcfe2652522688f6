#!/usr/bin/env python3
"""The crawler against a server of hostile answers, bad options, Ctrl-C and 100,000 URLs.

    tests/crawler/crawler_test.py --crawler build/dev/examples/crawler
    tests/crawler/crawler_test.py --sample ...      20,000 URLs in the long run instead

Every run of the crawler has to end in a bounded time, without a crash or a sanitizer's report.
The last line is "N passed, N failed".
"""

import argparse
import collections
import http.client
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import hostile_server  # noqa: E402
from output_checks import few_descriptors, files_named_twice, lost_output  # noqa: E402
from output_checks import read_rows, wait_for  # noqa: E402

RUN_SECONDS_MAX = 120
HOSTILE_RSS_MAX_MB = 400  # many answers at once, each up to the size limit
FLAT_BYTES_PER_URL = 100  # what a URL may cost once the crawl has warmed up

FINE = ""  # the row has no error

# path -> (status or None for any, what the error has to match). Every path of the server is here.
TRUNCATED = "end(ed)? before|truncated|closed"
HEADER = "header"
LENGTH = "content-length"
REDIRECT = "redirect"
CODING = "compress|gzip|deflate|encod|coding|decod"
SIZE = "larger|limit|too (large|long|big|many)"
TIME = "time|seconds| ms"
EXPECTED = {
    "/good": (200, FINE), "/empty-body": (200, FINE), "/http-1.0": (200, FINE),
    "/until-close": (200, FINE), "/204": (204, FINE), "/304": (304, FINE), "/404": (404, FINE),
    "/500": (500, FINE), "/999": (None, ".*"), "/early-hints": (200, FINE),
    "/204-with-body": (204, FINE), "/length-twice-same": (None, f"^$|{LENGTH}"),
    "/truncated": (None, TRUNCATED), "/truncated-chunked": (None, TRUNCATED),
    "/truncated-head": (None, TRUNCATED), "/closed": (None, TRUNCATED),
    "/reset": (None, "reset"), "/reset-in-body": (None, "reset"),
    "/bad-status-line": (None, "status line|HTTP"), "/bad-version": (None, "version|HTTP"),
    "/no-head": (None, "HTTP"), "/noise": (None, "HTTP"),
    "/bad-header": (None, HEADER), "/bad-header-name": (None, HEADER),
    "/bad-header-byte": (None, HEADER), "/folded-header": (None, HEADER),
    "/many-headers": (None, HEADER), "/long-header": (None, HEADER),
    "/length-twice": (None, LENGTH), "/length-negative": (None, LENGTH),
    "/length-overflow": (None, f"{LENGTH}|{SIZE}"),
    "/length-and-chunked": (None, LENGTH),
    "/unknown-transfer": (None, "transfer.coding|transfer-encoding"),
    "/bad-chunk": (None, "chunk"), "/chunk-overflow": (None, "chunk|larger"),
    "/chunk-extensions": (None, "chunk extension"),
    "/trailer-bomb": (None, "trailer"), "/upgrade": (None, "protocol|upgrade"),
    "/extra-answer": (200, FINE), "/extra-bytes": (200, FINE),
    "/loop": (None, REDIRECT), "/loop-of-two": (None, REDIRECT),
    "/loop-of-two-b": (None, REDIRECT), "/to-ftp": (None, REDIRECT), "/to-file": (None, REDIRECT),
    "/to-javascript": (None, REDIRECT), "/to-bad-url": (None, REDIRECT),
    "/to-nowhere": (None, ".*"), "/to-good": (200, FINE),
    "/gzip": (200, FINE), "/deflate-zlib": (200, FINE), "/deflate-raw": (200, FINE),
    "/gzip-two-members": (None, f"^$|{CODING}"), "/gzip-empty": (None, f"^$|{CODING}"),
    "/gzip-broken": (None, CODING), "/gzip-truncated": (None, CODING),
    "/gzip-bad-sum": (None, CODING), "/gzip-not": (None, CODING),
    "/gzip-layers": (None, CODING), "/unknown-coding": (None, CODING),
    "/bad-utf8": (200, FINE), "/utf16": (200, FINE), "/nul-bytes": (200, FINE),
    "/bad-urls": (200, "links: too long to follow: 1"), "/mislabelled": (200, FINE),
    "/endless-drip": (None, TIME), "/slow-headers": (None, TIME), "/stall": (None, TIME),
    "/stall-in-head": (None, TIME), "/stall-in-body": (None, TIME),
    "/chain/3": (200, FINE), "/chain/500": (None, REDIRECT),
    "/no-such-page": (404, FINE),
    **{f"/stale/{n}": (200, FINE) for n in range(40)},
}
# What keeps the server busy, in a run of its own with all the time it needs: there it is a limit
# that has to end what would not end.
EXPECTED_HEAVY = {
    "/huge-page": (200, FINE), "/deep-page": (200, FINE), "/gzip-bomb": (None, SIZE),
    "/endless-chunked": (None, SIZE), "/endless-until-close": (None, SIZE),
    "/endless-length": (None, SIZE), "/endless-headers": (None, HEADER),
    "/endless-header": (None, HEADER), "/endless-1xx": (None, "1xx|informational"),
    "/endless-status-line": (None, f"{SIZE}|status line"),
}

Run = collections.namedtuple("Run", "code out err seconds rss_mb rows bad_rows")


class Server:
    """The hostile server, as a child; ends with this program."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "hostile_server.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ports = json.loads(self.process.stdout.readline())

    def url(self, site, path="/", host="127.0.0.1"):
        return f"http://{host}:{self.ports[site]}{path}"

    def control(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["control"], timeout=10)
        connection.request("GET", path)
        return json.load(connection.getresponse())

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)


class Checks:
    """Counts what holds, and says what does not."""

    def __init__(self, options, folder, server):
        self.crawler = options.crawler
        self.report = options.report or os.path.join(folder, "hostile.html")
        self.folder = folder
        self.server = server
        self.sample = options.sample
        self.passed = self.failed = 0
        with open(self.crawler, "rb") as file:
            image = file.read()
        self.sanitized = b"__asan_init" in image or b"__tsan_init" in image
        self.timeout = 6 if self.sanitized else 2  # what the crawler is given as --timeout

    def check(self, name, holds, detail=""):
        if holds:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAIL: {name}: {str(detail)[:1000]}", flush=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def crawl(self, name, *options, during=None, output=True, seconds=RUN_SECONDS_MAX,
              descriptors=None):
        """Runs the crawler once, checks that it ended in good order, and reads its rows."""

        def prepare():
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if descriptors:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        rows_path = self.path("rows.jsonl")
        if os.path.exists(rows_path):
            os.unlink(rows_path)
        command = [self.crawler, *map(str, options)]
        if output:
            command += ["--output", rows_path]
        started = time.monotonic()
        with open(self.path("out"), "w+b") as out, open(self.path("err"), "w+b") as err:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                preexec_fn=prepare)
            watchdog = threading.Timer(seconds, process.kill)
            watchdog.start()
            helper = threading.Thread(target=during, args=(process,)) if during else None
            if helper:
                helper.start()
            _, status, usage = os.wait4(process.pid, 0)
            watchdog.cancel()
            process.returncode = code = os.waitstatus_to_exitcode(status)
            if helper:
                helper.join()
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        rows, bad_rows = read_rows(rows_path)
        run = Run(code, *texts, time.monotonic() - started, usage.ru_maxrss / 1024, rows, bad_rows)
        self.check(f"{name}: ends by itself, in good order",
                   code >= 0 and not re.search("Sanitizer|runtime error:|terminate called",
                                               run.err),
                   f"code {code} after {run.seconds:.1f} s; {run.err[-2000:]}")
        self.check(f"{name}: every row is a line of JSON", not bad_rows, bad_rows[:2])
        return run


def error_of(row):
    return row.get("error") or ""


def expect(test, name, expected, *options):
    """Crawls the URLs of `expected`, and checks that each has its one row, as it says there."""
    with open(test.path("urls.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(expected) + "\n")
    run = test.crawl(name, "--urls", test.path("urls.txt"), "--depth", 0, *options)
    test.check(f"{name}: exit code 0", run.code == 0, f"{run.code}: {run.err[-500:]}")
    if not test.sanitized:
        test.check(f"{name}: bounded memory", run.rss_mb < HOSTILE_RSS_MAX_MB,
                   f"{run.rss_mb:.0f} MB")
    by_url = collections.defaultdict(list)
    for row in run.rows:
        by_url[row["url"]].append(row)
    for url, (status, pattern) in expected.items():
        rows = by_url.pop(url, [])
        test.check(f"{url}: one row", len(rows) == 1, rows)
        for row in rows[:1]:
            test.check(f"{url}: status", status in (None, row["status"]), row)
            holds = (not error_of(row) if pattern == FINE
                     else re.search(pattern, error_of(row), re.IGNORECASE))
            test.check(f"{url}: the cause", holds, row)
    test.check(f"{name}: no row for anything else", not by_url, list(by_url)[:3])
    return run


def hostile_answers(test):
    """Each bad answer gives one row that says its cause, whatever the others do."""
    server = test.server
    expected = {server.url("main", path): what for path, what in EXPECTED.items()}
    expected[server.url("dead")] = (None, "refused")
    expected["http://no-such-host.invalid/"] = (None, "resolv|look.?up|not known|no address")
    server.control("/reset")
    run = expect(test, "hostile answers", expected, "--timeout", test.timeout,
                 "--concurrency", 50, "--per-host", 50, "--report", test.report)
    test.check("hostile answers: bounded time", run.seconds < 60, f"{run.seconds:.1f} s")
    fields = {"url", "final_url", "status", "bytes", "ms", "type", "depth", "links", "error"}
    test.check("rows have the fields promised", all(set(row) == fields for row in run.rows),
               [row for row in run.rows if set(row) != fields][:1])
    redirected = [row for row in run.rows if row["url"].endswith(("/to-good", "/chain/3"))]
    test.check("a redirect's row names where it ended",
               sorted(urllib.parse.urlsplit(row["final_url"]).path for row in redirected)
               == ["/chain/0", "/good"], redirected)
    test.check("no answer was taken for another's",
               all(row["status"] != 418 for row in run.rows), "a smuggled answer has a row")
    seen = server.control("/stats")["main"]["requests"]
    often = {path: count for path, count in seen.items()
             if count > 2 and not path.startswith(("/good", "/chain", "/loop"))}
    test.check("a request is sent at most twice", not often, often)


def heavy_answers(test):
    """Where time does not end an endless answer, a limit does."""
    server = test.server
    expected = {server.url("main", path): what for path, what in EXPECTED_HEAVY.items()}
    expect(test, "heavy answers", expected, "--timeout", RUN_SECONDS_MAX, "--per-host", 4)


def bad_pages(test):
    """Pages that are hard to read, with their links followed."""
    server = test.server
    server.control("/reset")
    pages = ["/deep-page", "/bad-utf8", "/utf16", "/nul-bytes", "/bad-urls", "/mislabelled",
             "/gzip", "/deflate-zlib", "/deflate-raw"]
    run = test.crawl("bad pages", *(server.url("main", path) for path in pages), "--depth", 1,
                     "--timeout", test.timeout, "--same-site")
    test.check("bad pages: exit code 0", run.code == 0, run.err[-500:])
    good = [row for row in run.rows if row["url"] == server.url("main", "/good")]
    test.check("bad pages: the good link in them is followed once", len(good) == 1, good)
    links = {urllib.parse.urlsplit(row["url"]).path: row["links"] for row in run.rows}
    for name in ("/gzip", "/deflate-zlib", "/deflate-raw"):
        test.check(f"{name}: the body was decoded", links.get(name) == 1, links.get(name))
    test.check("bad pages: nothing but http is asked for",
               all(row["url"].startswith("http://") for row in run.rows), run.rows[:3])
    run = test.crawl("a huge page", server.url("main", "/huge-page"), "--depth", 1,
                     "--max-pages", 500, "--per-host", 20)
    test.check("a huge page: --max-pages holds", len(run.rows) == 500, len(run.rows))
    test.check("a huge page: its links are counted", run.rows and max(
        row["links"] for row in run.rows) == hostile_server.PAGE_LINKS, run.rows[:1])


def robots(test):
    """RFC 9309: what is disallowed is not asked for; what that means when robots.txt fails."""
    server = test.server
    server.control("/reset")
    run = test.crawl("robots", server.url("robots"), "--depth", 3)
    seen = server.control("/stats")["robots"]["requests"]
    test.check("robots: what is disallowed is not asked for",
               not {"/private", "/private/x", "/a.secret"} & set(seen), seen)
    test.check("robots: the longest rule wins", "/private/open" in seen, seen)
    test.check("robots: robots.txt is read once", seen.get("/robots.txt") == 1, seen)
    test.check("robots: equal URLs are one", seen.get("/public") == 1, seen)
    denied = [row for row in run.rows if "robots" in error_of(row)]
    test.check("robots: what was left out has its cause",
               {urllib.parse.urlsplit(row["url"]).path for row in denied}
               == {"/private", "/private/x", "/a.secret"}, run.rows)
    server.control("/reset")
    run = test.crawl("ignored robots", server.url("robots"), "--depth", 3, "--ignore-robots")
    seen = server.control("/stats")["robots"]["requests"]
    test.check("--ignore-robots asks for all", "/private/x" in seen, seen)
    for site, allowed in (("robots_500", False), ("robots_loop", None), ("robots_noise", True)):
        server.control("/reset")
        run = test.crawl(site, server.url(site), "--depth", 1, "--timeout", test.timeout)
        asked = set(server.control("/stats")[site]["requests"]) - {"/robots.txt"}
        test.check(f"{site}: ", allowed is None or bool(asked) == allowed, asked)
        test.check(f"{site}: the first URL has a row", len(run.rows) >= 1, run.rows)
        if site == "robots_500":
            test.check("robots_500: no rule is blamed", error_of(run.rows[0])
                       == f"robots: {server.url(site, '/robots.txt')} is unavailable (500)",
                       run.rows)


def reach(test):
    """How far a crawl goes: depth, number of pages, sites, and each URL once."""
    server = test.server
    for depth, pages in ((0, 1), (1, 11), (2, 111)):
        run = test.crawl(f"depth {depth}", server.url("tree"), "--depth", depth)
        test.check(f"--depth {depth}", len(run.rows) == pages, len(run.rows))
        test.check(f"--depth {depth}: rows say their depth",
                   {row["depth"] for row in run.rows} == set(range(depth + 1)), run.rows[:2])
    run = test.crawl("max-pages", server.url("tree"), "--depth", 9, "--max-pages", 37)
    test.check("--max-pages", len(run.rows) == 37, len(run.rows))
    other = server.url("other", "/n/1", "127.0.0.2")
    start = server.url("main", "/links?" + urllib.parse.urlencode([("u", "/n/1"), ("u", other)]))
    run = test.crawl("same-site", start, "--depth", 1, "--same-site")
    test.check("--same-site stays", other not in {row["url"] for row in run.rows}, run.rows)
    run = test.crawl("any-site", start, "--depth", 1, "--any-site")
    test.check("--any-site goes", other in {row["url"] for row in run.rows}, run.rows)
    server.control("/reset")
    same = ["/a", "/./a", "/b/../a", "/%61", "/a#part"]
    run = test.crawl("equal URLs", *(server.url("main", path) for path in same),
                     server.url("main", "/a").replace("http", "HTTP", 1), "--depth", 0)
    seen = server.control("/stats")["main"]["requests"]
    test.check("equal URLs are asked for once", seen.get("/a") == 1 and len(run.rows) == 1, seen)


def concurrency(test):
    """The limits, as the server sees them."""
    server = test.server
    server.control("/reset")
    urls = [server.url("main", f"/slow/{n}?ms=100") for n in range(40)]
    test.crawl("per-host", *urls, "--depth", 0, "--per-host", 3, "--concurrency", 20)
    most = server.control("/stats")["main"]["active_max"]
    test.check("--per-host is kept, and used", most == 3, most)
    server.control("/reset")
    urls = [server.url("main", f"/slow/{n}?ms=100", host)
            for n in range(10) for host in hostile_server.HOSTS]
    run = test.crawl("concurrency", *urls, "--depth", 0, "--per-host", 10, "--concurrency", 7)
    most = server.control("/stats")["all"]["active_max"]
    test.check("--concurrency is kept, and used", most == 7, most)
    test.check("concurrency: all have rows", len(run.rows) == 80, len(run.rows))


def interrupts(test):
    """Ctrl-C and SIGTERM: what is in flight is finished, rows and summary are written."""
    server = test.server
    urls = [server.url("main", f"/slow/{n}?ms=400") for n in range(500)]
    with open(test.path("urls.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(urls) + "\n")
    for number in (signal.SIGINT, signal.SIGTERM):
        server.control("/reset")

        def interrupt(process, number=number):
            wait_for(lambda: server.control("/stats")["main"]["count"] > 25)
            process.send_signal(number)

        run = test.crawl(number.name, "--urls", test.path("urls.txt"), "--depth", 0, "--per-host",
                         10, "--concurrency", 10, "--report", test.path("cut.html"),
                         during=interrupt)
        asked = server.control("/stats")["main"]["count"] - 1  # robots.txt
        test.check(f"{number.name}: it stops", run.seconds < 15, run.seconds)
        finished = [row for row in run.rows if row["status"] == 200]
        test.check(f"{number.name}: what was in flight is finished and written",
                   20 < len(finished) == asked < 400, f"{asked} asked, {len(finished)} written")
        test.check(f"{number.name}: the exit code is the one --help tells", run.code == 130
                   if number == signal.SIGINT else run.code in (130, 143), run.code)
        test.check(f"{number.name}: a summary", re.search(r"\d", run.err + run.out), run.err)
        test.check(f"{number.name}: the report is written",
                   os.path.exists(test.path("cut.html")) and
                   os.path.getsize(test.path("cut.html")) > 1000, "no report")
        os.unlink(test.path("cut.html"))


def refused_options(test):
    """A sentence on stderr, exit code 2, and not one request."""
    server = test.server
    good = server.url("main", "/good")
    bad = {
        "no URL": [], "an unknown option": ["--no-such-option", good],
        "a count that is no number": ["--concurrency", "many", good],
        "no concurrency": ["--concurrency", "0", good],
        "a negative depth": ["--depth", "-1", good], "no pages": ["--max-pages", "0", good],
        "no per-host": ["--per-host", "0", good], "no time": ["--timeout", "0", good],
        "negative time": ["--timeout", "-1", good], "time that is none": ["--timeout", "x", good],
        "a count too large": ["--concurrency", "99999999999999999999", good],
        "a URL without host": ["http://"], "a URL of another scheme": ["ftp://127.0.0.1/"],
        "no URL at all": ["not a url"], "a URL with a blank": ["http://a b/"],
        "a port too high": ["http://127.0.0.1:99999/"], "a file as URL": ["file:///etc/passwd"],
        "a good and a bad URL": [good, "http://["],
        "a missing list": ["--urls", test.path("missing.txt")],
        "a folder as list": ["--urls", test.folder],
        "a missing value": [good, "--depth"],
        "an unwritable report": [good, "--report", test.path("missing/report.html")],
        "an unwritable output": [good, "--output", test.path("missing/rows.jsonl")],
        "a folder as output": [good, "--output", test.folder],
        "a user agent of two lines": [good, "--user-agent", "a\r\nb: c"],
    }
    with open(test.path("bad.txt"), "w", encoding="utf-8") as file:
        file.write(f"{good}\nhttp://[\n")
    bad["a bad URL in a list"] = ["--urls", test.path("bad.txt")]
    server.control("/reset")
    for name, options in bad.items():
        run = test.crawl(name, *options, output=False, seconds=20)
        sentence = run.err.strip()
        test.check(f"{name}: exit code 2", run.code == 2, f"{run.code}: {sentence[:300]}")
        test.check(f"{name}: a sentence", 10 < len(sentence) < 400
                   and sentence.count("\n") <= 1, repr(sentence[:600]))
        test.check(f"{name}: nothing on stdout", run.out == "", run.out[:200])
    test.check("refused options: not one request", server.control("/stats")["main"]["count"] == 0)
    run = test.crawl("a full disk", good, "--depth", 0, "--output", "/dev/full", output=False)
    test.check("a full disk: a sentence and exit code 2", run.code == 2 and run.err.strip(),
               f"{run.code}: {run.err[-300:]}")


def output(test):
    """What goes where."""
    good = test.server.url("main", "/good")
    run = test.crawl("output to stdout", good, "--depth", 0, "--output", "-", output=False)
    test.check("--output -: one row on stdout, and nothing else",
               len(run.out.splitlines()) == 1 and json.loads(run.out)["status"] == 200, run.out)
    test.check("a summary on stderr", re.search(r"\d", run.err), run.err)
    test.check("no progress line where there is no terminal", "\r" not in run.err, run.err)
    run = test.crawl("quiet", good, "--depth", 0, "--quiet")
    test.check("--quiet says nothing", run.err + run.out == "", run.err + run.out)
    run = test.crawl("help", "--help", output=False)
    options = ["--urls", "--depth", "--max-pages", "--concurrency", "--per-host", "--timeout",
               "--same-site", "--any-site", "--ignore-robots", "--cacert", "--insecure",
               "--user-agent", "--output",
               "--report", "--quiet", "130"]
    test.check("--help names every option and the exit codes", run.code == 0 and
               all(option in run.out for option in options),
               [option for option in options if option not in run.out])


def rss_bytes(pid):
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def long_run(test):
    """Many URLs: every one has its row, and the memory stays where it was after a tenth."""
    server = test.server
    count = 20_000 if test.sample else 100_000
    hosts = hostile_server.HOSTS
    with open(test.path("urls.txt"), "w", encoding="utf-8") as file:
        for n in range(count):
            file.write(server.url("main", f"/n/{n}", hosts[n % len(hosts)]) + "\n")
    server.control("/reset")
    memory = []

    def watch(process):
        while size := rss_bytes(process.pid):
            memory.append((server.control("/stats")["main"]["count"], size))
            time.sleep(0.2)

    run = test.crawl("a long run", "--urls", test.path("urls.txt"), "--depth", 0, "--concurrency",
                     100, "--per-host", 20, during=watch, seconds=600)
    test.check("a long run: exit code 0", run.code == 0, f"{run.code}: {run.err[-500:]}")
    test.check("a long run: a row for each URL", len(run.rows) == count, len(run.rows))
    test.check("a long run: each URL once", len({row["url"] for row in run.rows}) == count)
    wrong = [row for row in run.rows if row["status"] != 200 or error_of(row)]
    test.check("a long run: every answer is there", not wrong, wrong[:2])
    early = [size for done, size in memory if done >= count // 10]
    if test.sanitized or not early:
        return
    grown = max(early) - early[0]
    print(f"{count} URLs in {run.seconds:.1f} s; memory after a tenth {early[0] >> 20} MiB, "
          f"at most {max(early) >> 20} MiB")
    test.check("a long run: the memory is flat", grown < FLAT_BYTES_PER_URL * count,
               f"{grown} bytes more, {grown / count:.0f} for each URL")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--crawler", default="build/dev/examples/crawler")
    parser.add_argument("--sample", action="store_true", help="a shorter long run")
    parser.add_argument("--report", help="where to keep the report of the hostile answers")
    parser.add_argument("--only", help="only the parts whose names contain this")
    options = parser.parse_args()
    if not os.access(options.crawler, os.X_OK):
        print(f"there is no crawler at {options.crawler}\n0 passed, 1 failed")
        return 1
    server = Server()
    try:
        with tempfile.TemporaryDirectory(prefix="ringlet-crawler-") as folder:
            test = Checks(options, folder, server)
            for part in (hostile_answers, heavy_answers, bad_pages, robots, reach, concurrency,
                         interrupts, refused_options, files_named_twice, lost_output,
                         few_descriptors, output, long_run):
                if not options.only or options.only in part.__name__:
                    started = time.monotonic()
                    part(test)
                    print(f"{part.__name__}: {time.monotonic() - started:.1f} s", flush=True)
    finally:
        server.stop()
    uncovered = set(hostile_server.ANSWERS) - set(EXPECTED) - set(EXPECTED_HEAVY)
    test.check("every answer of the server is expected something of", not uncovered, uncovered)
    print(f"{test.passed} passed, {test.failed} failed")
    return 1 if test.failed else 0


if __name__ == "__main__":
    sys.exit(main())

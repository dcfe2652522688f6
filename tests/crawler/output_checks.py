"""What crawler_test.py checks of files, standard output and descriptors. No program of its own."""

import collections
import http.server
import json
import os
import resource
import subprocess
import threading
import time

import hostile_server


def read_rows(path):
    rows, bad = [], []
    if os.path.exists(path):
        with open(path, "rb") as lines:
            for line in lines:
                try:
                    rows.append(json.loads(line))
                except ValueError:
                    bad.append(line)
    return rows, bad


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until and not condition():
        time.sleep(0.05)


def files_named_twice(test):
    """One file for two purposes, under whatever names: a sentence, and nothing is touched."""
    server, path = test.server, test.path
    good = server.url("main", "/good")
    texts = {"list.txt": good + "\n", "old.jsonl": '{"old": 1}\n', "old.html": "old"}

    def write_all():
        for name, text in texts.items():
            with open(path(name), "w", encoding="utf-8") as file:
                file.write(text)

    write_all()
    os.link(path("list.txt"), path("hard.txt"))
    os.symlink(path("list.txt"), path("soft.txt"))
    os.symlink(path("new.jsonl"), path("dangling"))
    urls, rows, report = ["--urls", path("list.txt")], "--output", "--report"
    twice = {
        "the list as output": [*urls, rows, path("list.txt")],
        "the list as report": [*urls, report, path("list.txt")],
        "the list, linked, as output": [*urls, rows, path("hard.txt")],
        "the list through a symlink": [*urls, report, path("soft.txt")],
        "the list by another path": [*urls, rows, path("../" + os.path.basename(test.folder) +
                                                       "/./list.txt")],
        "the CA file as output": [good, "--cacert", path("old.jsonl"), rows, path("old.jsonl")],
        "one new file twice": [*urls, rows, path("new.jsonl"), report, path("new.jsonl")],
        "one old file twice": [*urls, rows, path("old.html"), report, path("old.html")],
        "where a symlink leads": [*urls, rows, path("new.jsonl"), report, path("dangling")],
        "the summary's file": [*urls, rows, path("out")],
        "a report to -": [*urls, report, "-"],
        "an unwritable report": [*urls, rows, path("old.jsonl"), report, path("no/report.html")],
        "a bad CA file": [*urls, rows, path("old.jsonl"), report, path("old.html"), "--cacert",
                          path("list.txt")],
    }
    server.control("/reset")
    for name, options in twice.items():
        run = test.crawl(name, *options, output=False, seconds=20)
        test.check(f"{name}: a sentence and exit code 2",
                   run.code == 2 and run.err.count("\n") == 1, f"{run.code}: {run.err[:300]}")
        for file, text in texts.items():
            with open(path(file), encoding="utf-8") as stored:
                test.check(f"{name}: {file} is as it was", stored.read() == text)
        test.check(f"{name}: no file is left", not os.path.exists(path("new.jsonl")))
        write_all()
    test.check("named twice: not one request", server.control("/stats")["main"]["count"] == 0)
    run = test.crawl("one device twice", *urls, "--depth", 0, rows, "/dev/null", report,
                     "/dev/null", output=False)
    test.check("a device may be named twice", run.code == 0, run.err)


def lost_output(test):
    """What cannot be written is a sentence and exit code 2, whatever was to be written."""
    good = test.server.url("main", "/good")
    urls, report = test.path("many.txt"), test.path("kept.html")
    with open(urls, "w", encoding="utf-8") as file:
        file.writelines(test.server.url("dead", f"/{n}\n") for n in range(3000))

    def run(shell, *options):
        done = subprocess.run(["bash", "-c", shell, test.crawler, *options], timeout=60,
                              check=False, capture_output=True, text=True)
        return done.returncode, done.stderr

    reader_gone = 'set -o pipefail; "$0" "$@" | head -1 > /dev/null'
    code, said = run(reader_gone, "--urls", urls, "--depth", "0", "--output", "-", "--report",
                     report, "--quiet")
    test.check("a reader that goes: a sentence and exit code 2", code == 2 and
               "standard output: Broken pipe" in said, f"{code}: {said}")
    test.check("a reader that goes: the report is written", os.path.getsize(report) > 1000)
    for name, shell, options in (
            ("the summary on a full disk", '"$0" "$@" > /dev/full', ["--depth", "0", good]),
            ("the report on a full disk", '"$0" "$@"',
             ["--depth", "0", "--report", "/dev/full", good]),
            ("the help on a full disk", '"$0" "$@" > /dev/full', ["--help"]),
            ("rows to a closed stdout", '"$0" "$@" >&-', ["--quiet", "--output", "-", good]),
            ("a summary to a closed stdout", '"$0" "$@" >&-', ["--depth", "0", good])):
        code, said = run(shell, *options)
        test.check(f"{name}: a sentence and exit code 2", code == 2 and said.count("\n") == 1,
                   f"{code}: {said}")
    code, said = run('"$0" "$@" <&- >&- 2>&-', "--quiet", "--depth", "0", good, "--output",
                     test.path("rows.jsonl"))
    rows, bad_rows = read_rows(test.path("rows.jsonl"))
    test.check("all of them closed: the rows are in their file, alone",
               code == 0 and len(rows) == 1 and not bad_rows, f"{code}: {rows} {bad_rows}")


class KeptAlive(http.server.BaseHTTPRequestHandler):
    """Answers everything, and keeps its connections."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200 if self.path != "/robots.txt" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def few_descriptors(test):
    """Kept connections make room, and no site suffers for what this machine lacks."""
    with http.server.ThreadingHTTPServer(("", 0), KeptAlive) as many_hosts:
        threading.Thread(target=many_hosts.serve_forever, daemon=True).start()
        with open(test.path("hosts.txt"), "w", encoding="utf-8") as file:
            file.writelines(f"http://127.0.{n // 100 + 1}.{n % 100 + 1}:"
                            f"{many_hosts.server_port}/\n" for n in range(200))
        run = test.crawl("30 descriptors", "--urls", test.path("hosts.txt"), "--depth", 0,
                         "--concurrency", 15, "--timeout", 20, descriptors=30)
        many_hosts.shutdown()
        bad = [row for row in run.rows if row["error"]]
        test.check("30 descriptors: every host answers", len(run.rows) == 200 and not bad,
                   f"{len(run.rows)} rows, {len(bad)} failed: {bad[:2]}")
    with open(test.crawler, "rb") as program:
        if b"__ubsan_" in program.read():
            return  # UBSan opens a pipe to look at an object, and takes a refusal for a bad one
    server = test.server
    server.control("/reset")
    urls = [server.url("main", f"/n/{n}", hostile_server.HOSTS[1]) for n in range(40)]

    def starve(process):
        wait_for(lambda: server.control("/stats")["main"]["count"] > 1)
        before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, before[1]))
        time.sleep(1.5)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)

    run = test.crawl("no descriptors for a while", server.url("main", "/slow/0?ms=1000"), *urls,
                     "--depth", 0, "--concurrency", 1, during=starve)
    causes = collections.Counter(row["error"] for row in run.rows)
    test.check("no descriptors for a while: rows say so, and the host is asked again later",
               causes[""] > 1 and len(causes) == 2 and
               any("Too many open files" in cause for cause in causes), causes)

#!/usr/bin/env python3
"""Opens a report in headless Chromium and checks what it drew against the figures embedded in it.

Usage: report_test.py REPORT.html...
Both kinds of report are understood. A check that fails is a sentence; the last line counts them,
and the exit code is 0 only if there was at least one check and none failed.
"""

import html.parser
import json
import math
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ELEMENTS_MAX = 2000  # as in report.h
CLASSES = ("ok", "redirect", "client", "server", "failed")
TOLERANCE_PX = 0.02  # positions are written with two decimals

passed = failed = 0


def check(condition, sentence):
    global passed, failed
    if condition:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {sentence}")


class Page(html.parser.HTMLParser):
    """A page's elements, as (name, attributes, chart it is in), and the texts of its scripts."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.texts = {}
        self.charts = []  # (attributes of the chart, its elements)
        self.depth = 0
        self.open = None
        self.feed(text)
        self.close()

    def handle_starttag(self, name, attributes):
        attributes = dict(attributes)
        self.elements.append((name, attributes))
        self.open = attributes.get("id") or name
        if self.depth:
            self.charts[-1][1].append((name, attributes))
            self.depth += name == "div"
        elif "chart" in attributes.get("class", "").split():
            self.charts.append((attributes, []))
            self.depth = 1

    def handle_endtag(self, name):
        self.open = None
        if self.depth and name == "div":
            self.depth -= 1

    def handle_data(self, text):
        if self.open:
            self.texts[self.open] = self.texts.get(self.open, "") + text


def find_browser():
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        path = shutil.which(name)
        if path:
            return path
    sys.exit("Chromium is not installed: install the package chromium (scripts/setup does).")


def rendered(browser, report):
    """The page's elements after its scripts ran. The sandbox needs what root often lacks."""
    with tempfile.TemporaryDirectory(prefix="report_test.") as folder:
        command = [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", f"--user-data-dir={folder}/profile",
            "--window-size=1280,900", "--virtual-time-budget=10000", "--dump-dom", report.as_uri(),
        ]
        environment = dict(os.environ, HOME=folder, XDG_CONFIG_HOME=folder, XDG_CACHE_HOME=folder)
        try:
            done = subprocess.run(command, capture_output=True, timeout=120, env=environment)
        except subprocess.TimeoutExpired:
            return None, "Chromium did not finish in two minutes"
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0 or "<html" not in text:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        return None, f"Chromium ended with code {done.returncode}: {' '.join(last)}"
    return text, None


def status_class(run, i):
    status = run["status"][i]
    if run["error"][i] >= 0 or not 200 <= status <= 599:
        return "failed"
    return CLASSES[status // 100 - 2]


def check_bars(svg, bars, run, where):
    left, right = float(svg["data-left"]), float(svg["data-right"])
    seconds = max([1] + run["end"]) / 1e6
    check(math.isclose(float(svg["data-seconds"]), seconds),
          f"{where}: the time axis ends elsewhere")
    numbers = sorted(int(bar["data-i"]) for bar in bars)
    check(numbers == list(range(len(run["urls"]))), f"{where}: the bars are not one per request")
    wrong = {"position": 0, "width": 0, "range": 0, "url": 0, "colour": 0}
    for bar in bars:
        i = int(bar["data-i"])
        x, width = float(bar["x"]), float(bar["width"])
        per_second = (right - left) / seconds
        expected_x = min(left + run["start"][i] / 1e6 * per_second, right - 1)
        expected_width = max(1, left + run["end"][i] / 1e6 * per_second - expected_x)
        wrong["position"] += abs(x - expected_x) > TOLERANCE_PX
        wrong["width"] += abs(width - expected_width) > TOLERANCE_PX
        wrong["range"] += not (x >= left - TOLERANCE_PX and width > 0
                               and x + width <= right + TOLERANCE_PX)
        wrong["url"] += bar["data-url"] != run["urls"][i]
        wrong["colour"] += status_class(run, i) not in bar["class"].split()
    for what, count in wrong.items():
        check(count == 0, f"{where}: {count} of {len(bars)} bars have a wrong {what}")


def check_timeline(elements, run, where):
    count = len(run["urls"])
    svgs = [a for name, a in elements if name == "svg"]
    bars = [a for name, a in elements if name == "rect" and "bar" in a.get("class", "").split()]
    canvases = [a for name, a in elements if name == "canvas"]
    if count == 0:
        check(not bars and not canvases, f"{where}: there are bars without requests")
        return
    check(len(svgs) == 1, f"{where}: the timeline was not drawn")
    if len(svgs) != 1:
        return
    if count <= ELEMENTS_MAX:
        check(len(bars) == count, f"{where}: {len(bars)} bars for {count} requests")
        check_bars(svgs[0], bars, run, where)
        return
    check(len(canvases) == 1, f"{where}: there is no canvas for {count} requests")
    for canvas in canvases:
        check(int(canvas["data-count"]) == count,
              f"{where}: {canvas['data-count']} bars were painted for {count} requests")
        left, right = float(svgs[0]["data-left"]), float(svgs[0]["data-right"])
        first = left + run["start"][0] / max(run["end"]) * (right - left)
        check(abs(float(canvas["data-least"]) - first) <= TOLERANCE_PX,
              f"{where}: the painted bars begin at {canvas['data-least']} instead of {first:.2f}")
        check(abs(float(canvas["data-most"]) - right) <= TOLERANCE_PX,
              f"{where}: the painted bars end at {canvas['data-most']} instead of {right:.2f}")


def peak_concurrency(run):
    """Where one request ends in the instant another starts, the end comes first."""
    events = sorted([(t, 1) for t in run["start"]] + [(t, 0) for t in run["end"]])
    now = peak = 0
    for _, start in events:
        now += 1 if start else -1
        peak = max(peak, now)
    return peak


def check_chart(kind, elements, run, data, where):
    svgs = [a for name, a in elements if name == "svg"]
    columns = [a for name, a in elements if a.get("class") == "column"]
    if kind == "timeline":
        check_timeline(elements, run, where)
    elif kind == "concurrency" and run["urls"]:
        if "totals" in run:
            totals, now, peak = run["totals"], 0, 0
            for started, ended in zip(totals["started"], totals["ended"]):
                now += started - ended
                peak = max(peak, now)
            drawn = [int(a["data-peak"]) for a in svgs]
            check(now == 0 and drawn == [peak], f"{where}: the peak {drawn} is not {peak}")
        elif all(s < e for s, e in zip(run["start"], run["end"])):
            drawn = [int(a["data-peak"]) for a in svgs]
            check(drawn == [peak_concurrency(run)], f"{where}: the peak {drawn} is wrong")
        check(any(name == "path" for name, _ in elements), f"{where}: there is no line")
    elif kind == "latency":
        answered = sum(status > 0 for status in run["status"])
        if "totals" in run:
            answered = sum(count for _, count in run["totals"]["latencies"])
        drawn = sum(int(a["data-count"]) for a in columns)
        check(drawn == answered, f"{where}: {drawn} requests are shown of {answered} answered")
        marks = sum("percentile" == a.get("class") for _, a in elements)
        check(marks == (3 if answered else 0), f"{where}: {marks} percentiles are marked")
    elif kind in ("throughput", "transfer"):
        total = sum(run["bytes"]) if kind == "transfer" else len(run["urls"])
        if "totals" in run:
            total = sum(run["totals"]["bytes" if kind == "transfer" else "ended"])
        drawn = sum(float(a["data-total"]) for a in svgs)
        check(math.isclose(drawn, total), f"{where}: {drawn} is shown in all instead of {total}")
    elif kind == "sweep":
        points = sum(name == "circle" for name, _ in elements)
        measured = sum(len(series["points"]) for series in data["sweep"])
        check(points == measured, f"{where}: {points} points for {measured} measurements")
    elif kind == "phases":
        check(any("data-phase" in a for _, a in elements), f"{where}: there is no phase")


def check_self_contained(page, source, where):
    """Nothing may be loaded: neither by an element, nor by the style sheet, nor by the script."""
    references = ("src", "href", "srcset", "data", "action", "poster", "xlink:href")
    loading = [f"<{name} {key}={value}>" for name, attributes in page.elements
               for key, value in attributes.items()
               if key in references and not (value or "").startswith(("data:", "#"))]
    check(not loading, f"{where}: it refers to something outside: {loading[:3]}")
    outside_data = re.sub(r'(?s)<script type="application/json".*?</script>', "", source)
    code = "".join(re.findall(r"(?s)<(?:script|style)>(.*?)</(?:script|style)>", outside_data))
    words = ("http:", "https:", "@import", "url(", "fetch(", "XMLHttpRequest", "WebSocket")
    found = [word for word in words if word in code]
    check(code and not found, f"{where}: its style sheet or script holds {found}")
    check("default-src 'none'" in source, f"{where}: it does not forbid the browser to load things")


def check_report(browser, path):
    where = path.name
    source = path.read_text("utf-8", "replace")
    text, problem = rendered(browser, path)
    check(problem is None, f"{where}: {problem}")
    if problem:
        return
    page = Page(text)
    check_self_contained(page, source, where)
    check("script-error" not in page.texts, f"{where}: {page.texts.get('script-error')}")
    try:
        data = json.loads(page.texts["data"])
    except (KeyError, ValueError) as error:
        check(False, f"{where}: the embedded figures cannot be read: {error!r}")
        return
    check(any(a.get("data-chart") == "timeline" for a, _ in page.charts) or not data["runs"],
          f"{where}: there is no timeline")
    for attributes, elements in page.charts:
        kind, number = attributes["data-chart"], int(attributes["data-run"])
        run = data["runs"][number] if number < len(data["runs"]) else None
        check(len(elements) > 0, f"{where}: chart {kind} {number} is empty")
        check_chart(kind, elements, run, data, f"{where}, {kind} {number}")
    broken = [f"<{name} {key}>" for _, elements in page.charts for name, attributes in elements
              for key, value in attributes.items()
              if key != "data-url" and re.search(r"\b(NaN|undefined|Infinity)\b", value or "")]
    check(not broken, f"{where}: no number was drawn in {broken[:3]}")


def main():
    if len(sys.argv) < 2:
        sys.exit("Say which report to open: report_test.py REPORT.html...")
    browser = find_browser()
    for name in sys.argv[1:]:
        path = pathlib.Path(name).resolve()
        check(path.is_file(), f"there is no report {name}")
        if path.is_file():
            check_report(browser, path)
    print(f"{passed} passed, {failed} failed")
    sys.exit(0 if passed and not failed else 1)


main()

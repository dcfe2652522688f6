#!/usr/bin/env python3
"""Draws what has been measured of Python; `scripts/bench python` does it at its end.

    build/bench/venv/bin/python bench/plot.py build/bench/results.json docs/figures

Writes python_calls.svg (scheduling, ns) and python_servers.svg (CPU for each message, as multiples
of the bare server's in C). The same results give the same bytes.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "ringlet", "font.size": 9,
                            "axes.spines.top": False, "axes.spines.right": False})

from matplotlib import pyplot  # noqa: E402  (after the choice of what draws)

COLOURS = {"ringlet": "#1f6feb", "ringlet on epoll": "#79b0ff", "rloop": "#57606a",
           "rsloop": "#6e7781", "zuvloop": "#848d97",
           "uvloop": "#8c959f", "aiofastnet": "#afb8c1", "asyncio": "#d0d7de"}
SERVERS_CONNECTIONS = ", 100 connections"
BAR = 0.8


def table(results, wanted):
    """{work: {subject: value}} of the Python rows whose work `wanted` gives a short name."""
    found = {}
    for row in results["rows"]:
        name = wanted(row["work"]) if row["section"] == "python" else None
        if name:
            found.setdefault(name, {})[row["subject"]] = row["value"]
    return found


def calls(work):
    return work if "CPU" not in work and "import" not in work and "latency" not in work else None


def servers(work):
    if SERVERS_CONNECTIONS not in work:
        return None
    name = work.split(SERVERS_CONNECTIONS)[0]
    return name.replace("TLS echo by protocol", "TLS echo").replace("echo by ", "")


def bars(axes, works, unit, scale):
    """A group of horizontal bars for each work, the subjects in the order of COLOURS."""
    subjects = [name for name in COLOURS if any(name in values for values in works.values())]
    thick = BAR / len(subjects)
    for place, (work, values) in enumerate(works.items()):
        of = values["floor"] if scale else 1
        for at, subject in enumerate(name for name in subjects if name in values):
            value = values[subject] / of
            y = place - BAR / 2 + (at + 0.5) * thick
            axes.barh(y, value, thick * 0.92, color=COLOURS[subject])
            axes.text(value, y, f" {value:,.2f}" if scale else f" {value:,.0f}", va="center",
                      fontsize=7)
    axes.set_yticks(range(len(works)), list(works))
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=COLOURS[name]) for name in subjects]
    axes.legend(handles, subjects, frameon=False, loc="lower right")


def draw(path, works, title, unit, scale):
    if not works:
        sys.exit(f"plot.py: the results have nothing for {path.name}: run scripts/bench python")
    figure, axes = pyplot.subplots(figsize=(7.5, 0.6 + 0.75 * len(works)))
    bars(axes, works, unit, scale)
    axes.set_title(title, loc="left", fontsize=10)
    if scale:
        axes.axvline(1, color="#57606a", linewidth=0.8, linestyle=":")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    results = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    draw(folder / "python_calls.svg", table(results, calls), "Scheduling: less is better",
         "ns of CPU", False)
    draw(folder / "python_servers.svg", table(results, servers),
         "Echo, 100 connections: less is better", "CPU for each message, a bare server in C is 1",
         True)


if __name__ == "__main__":
    main()

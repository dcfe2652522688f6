"""Draws crawls as timelines, one beside the other, into one page that needs nothing else.

A request is a line from when it began to when it ended; below, how many ran at each moment.
"""

import html
import json
import re

WIDTH, HEIGHT, BELOW = 520, 360, 90
LEFT, TOP, GAP, RIGHT = 46, 8, 34, 10

STYLE = '''
:root { color-scheme: light dark; --page: #f5f6f8; --card: #fff; --text: #1b2330;
  --soft: #5b6675; --grid: #e3e7ed; --line: #2f6fdb; --area: #2f6fdb40; }
@media (prefers-color-scheme: dark) { :root { --page: #12161d; --card: #1a2029;
  --text: #e4e9f0; --soft: #98a4b5; --grid: #2c3542; --line: #6ea4ff; --area: #6ea4ff40; } }
body { margin: 0; padding: 28px 20px; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 1180px; margin: 0 auto; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 16px; margin: 0; }
p { color: var(--soft); margin: 0 0 14px; }
.runs { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 14px; }
section { background: var(--card); border: 1px solid var(--grid); border-radius: 10px;
  padding: 14px 16px; min-width: 0; display: flex; flex-direction: column; }
svg { display: block; width: 100%; height: auto; margin-top: auto; }
svg text { font-size: 12px; fill: var(--soft); }
.grid { stroke: var(--grid); } .request { stroke: var(--line); }
.running { fill: var(--area); stroke: var(--line); }
'''


def read_report(path):
    """The first run in a page that the C++ crawler or experiment wrote, as a run of ours."""
    with open(path, encoding='utf-8') as file:
        data = re.search(r'<script type="application/json" id="data">(.*?)</script>',
                         file.read(), re.DOTALL).group(1)
    run = json.loads(data)['runs'][0]
    spans = [(start / 1e6, end / 1e6) for start, end in zip(run['start'], run['end'])]
    return {'seconds': max(end for _, end in spans), 'spans': spans}


def running_at(spans):
    """How many run, as (time, count) at each change."""
    changes = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    count, steps = 0, [(0.0, 0)]
    for at, change in changes:
        count += change
        steps.append((at, count))
    return steps


def tick_step(most):
    """A round step that divides `most` into two to six."""
    step = 10.0 ** -6
    while True:
        for factor in (1, 2, 5):
            if most / (step * factor) <= 6:
                return step * factor
        step *= 10


def draw(run, seconds_max):
    """One run as SVG."""
    spans = sorted(run['spans'])
    inner = WIDTH - LEFT - RIGHT
    bottom = TOP + HEIGHT

    def across(at):
        return LEFT + inner * at / seconds_max

    parts = []
    step = tick_step(seconds_max)
    for number in range(int(seconds_max / step) + 1):
        x = across(number * step)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" '
                     f'y2="{bottom + GAP + BELOW}"/>'
                     f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">'
                     f'{number * step:g} s</text>')
    each = HEIGHT / max(1, len(spans))
    for number, (start, end) in enumerate(spans):
        y = TOP + each * (number + 0.5)
        parts.append(f'<line class="request" x1="{across(start):.1f}" x2="{across(end):.1f}" '
                     f'y1="{y:.2f}" y2="{y:.2f}" stroke-width="{max(0.4, each * 0.7):.2f}"/>')
    steps = running_at(spans)
    most = max(count for _, count in steps) or 1
    base = bottom + GAP + BELOW
    path, earlier = [f'M{LEFT},{base}'], base
    for at, count in steps:
        y = base - BELOW * count / most
        path.append(f'L{across(at):.1f},{earlier:.1f}L{across(at):.1f},{y:.1f}')
        earlier = y
    parts.append(f'<path class="running" d="{"".join(path)}"/>')
    for text, y in ((len(spans), TOP + 10), (most, bottom + GAP + 10), (0, base)):
        parts.append(f'<text x="{LEFT - 6}" y="{y}" text-anchor="end">{text}</text>')
    return (f'<svg viewBox="0 0 {WIDTH} {base + 6}" role="img" '
            f'aria-label="{len(spans)} requests over time">{"".join(parts)}</svg>')


def page(title, about, runs):
    """The page as text; `runs` is a list of (name, run), drawn to one scale."""
    longest = max(run['seconds'] for _, run in runs) * 1.02
    cards = ''.join(
        f'<section><h2>{html.escape(name)}</h2>'
        f'<p>{len(run["spans"])} requests in {run["seconds"]:.3f} s</p>'
        f'{draw(run, longest)}</section>' for name, run in runs)
    return (f'<!doctype html><html lang="en"><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width">'
            f'<title>{html.escape(title)}</title><style>{STYLE}</style>'
            f'<main><h1>{html.escape(title)}</h1><p>{html.escape(about)}</p>'
            f'<div class="runs">{cards}</div></main></html>\n')

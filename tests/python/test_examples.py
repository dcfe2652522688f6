"""The crawls of examples/python against delay_server, and the page that shows them."""

import html.parser
import importlib
import json
import os
import re
import subprocess
import sys

import pytest
import ringlet

pytest.importorskip('aiohttp')
pytest.importorskip('tornado')

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
EXAMPLES = os.path.join(ROOT, 'examples', 'python')
PROGRAMS = os.path.join(ROOT, 'build', 'release', 'examples')

needs_programs = pytest.mark.skipif(
    not os.path.exists(os.path.join(PROGRAMS, 'crawler')) or
    not os.path.exists(os.path.join(PROGRAMS, 'delay_server')),
    reason='needs the release build of the C++ examples')


@pytest.fixture
def modules(monkeypatch):
    """Imports a module of the examples."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


def program(name, *arguments, **environment):
    path = os.path.dirname(os.path.dirname(ringlet.__file__))
    done = subprocess.run(
        [sys.executable, os.path.join(EXAMPLES, name), *arguments], capture_output=True,
        text=True, timeout=120, env={**os.environ, 'PYTHONPATH': path, **environment})
    assert (done.returncode, done.stderr) == (0, ''), done.stdout + done.stderr
    return done.stdout


@needs_programs
@pytest.mark.parametrize('name', ['asyncio', 'tornado'])
def test_a_crawl_makes_every_request_and_so_many_at_a_time(name, driver, modules, tmp_path):
    spans = tmp_path / 'spans.json'
    with modules('compare_crawls').delay_server(PROGRAMS) as server:
        said = program(f'crawl_{name}.py', server, '--count', '60', '--concurrency', '20',
                       '--delay', '100', '--spans', str(spans))
    assert re.fullmatch(r'60 requests in \d+\.\d{3} s on ringlet \(ideal 0\.300 s\)\n', said)
    run = json.loads(spans.read_text(encoding='ascii'))
    assert len(run['spans']) == 60 and run['seconds'] >= 0.3
    assert all(end - start >= 0.1 for start, end in run['spans'])
    steps = modules('timelines').running_at(run['spans'])
    assert max(count for _, count in steps) == 20


@needs_programs
def test_the_page_shows_all_runs_beside_each_other(modules, tmp_path):
    report = tmp_path / 'crawls.html'
    said = program('compare_crawls.py', PROGRAMS, '--report', str(report), '--count', '40',
                   '--concurrency', '20', '--delay', '50')
    assert len(re.findall(r'^\d+\.\d{3} s  40 requests  (?:C\+\+|Python): ', said, re.M)) == 5
    text = report.read_text(encoding='utf-8')
    opened = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            opened.append(tag)
            assert not {'src', 'href'} & {name for name, _ in attributes}  # needs nothing else

    Reader().feed(text)
    assert opened.count('svg') == opened.count('section') == 5
    assert text.count('class="request"') == 5 * 40
    assert text.count('40 requests in ') == 5


def test_how_many_run_at_each_moment_is_counted(modules):
    running_at = modules('timelines').running_at
    assert running_at([(0.0, 2.0), (1.0, 3.0)]) == [
        (0.0, 0), (0.0, 1), (1.0, 2), (2.0, 1), (3.0, 0)]
    # One that begins when another ends does not run beside it.
    assert max(count for _, count in running_at([(0.0, 1.0), (1.0, 2.0)])) == 1


def test_ticks_are_round_and_few(modules):
    tick_step = modules('timelines').tick_step
    for most, step in ((0.5, 0.1), (1.2, 0.2), (0.06, 0.01), (30.0, 5.0), (7.0, 2.0)):
        assert tick_step(most) == pytest.approx(step)


def test_names_are_escaped(modules):
    text = modules('timelines').page('<t>', '&', [('<b>', {'seconds': 1, 'spans': [(0, 1)]})])
    assert '<b>' not in text and '&lt;b&gt;' in text and '<p>&amp;</p>' in text

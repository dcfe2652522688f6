#!/usr/bin/env python3
"""The crawl of the book in C++ and in two styles of Python, drawn beside each other.

    examples/python/compare_crawls.py build/release/examples --report crawls.html

Starts delay_server on a free port, makes the same requests of it by the C++ crawler, by asyncio
with aiohttp and by tornado, the Python ones on Ringlet's loop and on asyncio's own, says how long
each took, and writes the timelines.
"""

import argparse
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

import timelines

HERE = os.path.dirname(os.path.abspath(__file__))


@contextlib.contextmanager
def delay_server(programs):
    """A server on a free port of the loopback; gives its address as http://127.0.0.1:PORT."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([os.path.join(programs, 'delay_server'), str(port)],
                              stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with socket.socket() as trial:
                if trial.connect_ex(('127.0.0.1', port)) == 0:
                    break
            time.sleep(0.02)
        else:
            raise SystemExit('delay_server did not start')
        yield f'http://127.0.0.1:{port}'
    finally:
        server.terminate()
        server.wait()


def crawl_cpp(programs, server, options, folder):
    """The same requests by the C++ crawler, read back from its report."""
    urls, report = os.path.join(folder, 'urls'), os.path.join(folder, 'crawl.html')
    with open(urls, 'w', encoding='ascii') as file:
        for number in range(options.count):
            file.write(f'{server}/add?name={number}&delay={options.delay}\n')
    most = str(options.concurrency)
    subprocess.run(
        [os.path.join(programs, 'crawler'), '--quiet', '--depth', '0', '--ignore-robots',
         '--max-pages', str(options.count), '--concurrency', most, '--per-host', most,
         '--urls', urls, '--report', report], check=True)
    return timelines.read_report(report)


def crawl_python(name, loop, server, options, folder):
    """The same requests by one of the Python crawls, in a process of its own."""
    spans = os.path.join(folder, f'{name}-{loop}.json')
    subprocess.run(
        [sys.executable, os.path.join(HERE, f'crawl_{name}.py'), server, '--loop', loop,
         '--count', str(options.count), '--delay', str(options.delay),
         '--concurrency', str(options.concurrency), '--spans', spans],
        check=True, stdout=subprocess.DEVNULL)
    with open(spans, encoding='ascii') as file:
        return json.load(file)


def crawls(server, options, folder):
    """Each of the crawls once: (what it is, its run)."""
    yield 'C++: crawler', crawl_cpp(options.programs, server, options, folder)
    for name, words in (('asyncio', 'asyncio with aiohttp'), ('tornado', 'tornado')):
        for loop in ('ringlet', 'asyncio'):
            where = "Ringlet's loop" if loop == 'ringlet' else "asyncio's own loop"
            yield (f'Python: {words}, on {where}',
                   crawl_python(name, loop, server, options, folder))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('programs', help='the folder of the C++ examples')
    parser.add_argument('--report', required=True, help='FILE.html for the timelines')
    parser.add_argument('--count', type=int, default=500)
    parser.add_argument('--delay', type=int, default=100)
    parser.add_argument('--concurrency', type=int, default=100)
    parser.add_argument('--rounds', type=int, default=2, help='of each; the fastest is shown')
    options = parser.parse_args()
    runs = {}
    with tempfile.TemporaryDirectory() as folder, delay_server(options.programs) as server:
        # Round by round, so that the first one to be run does not alone pay for cold caches.
        for _ in range(options.rounds):
            for name, run in crawls(server, options, folder):
                if name not in runs or run['seconds'] < runs[name]['seconds']:
                    runs[name] = run
    for name, run in runs.items():
        print(f"{run['seconds']:.3f} s  {len(run['spans'])} requests  {name}")
    ideal = -(-options.count // options.concurrency) * options.delay / 1000
    about = (f'{options.count} URLs whose answers take {options.delay} ms, '
             f'{options.concurrency} at a time: at best {ideal:.3f} s.')
    with open(options.report, 'w', encoding='utf-8') as file:
        file.write(timelines.page('The same crawl, three ways', about, list(runs.items())))


if __name__ == '__main__':
    main()

"""What the two crawls share: the command line, the clock, and how a result is told."""

import argparse
import asyncio
import json
import time

import ringlet

now = time.perf_counter


def main(about, crawl):
    """Runs `crawl(urls, concurrency)` as the command line says and prints how long it took."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('server', help='where delay_server answers, as http://127.0.0.1:8000')
    parser.add_argument('--count', type=int, default=500, help='how many URLs (%(default)s)')
    parser.add_argument('--delay', type=int, default=100, help='MS of each answer (%(default)s)')
    parser.add_argument('--concurrency', type=int, default=100, help='at a time (%(default)s)')
    parser.add_argument('--loop', choices=['ringlet', 'asyncio'], default='ringlet')
    parser.add_argument('--spans', help='FILE.json for when each request began and ended')
    options = parser.parse_args()
    urls = [f'{options.server}/add?name={number}&delay={options.delay}'
            for number in range(options.count)]

    async def timed():
        begun = now()
        spans = await crawl(urls, options.concurrency)
        return begun, now(), spans

    run = ringlet.run if options.loop == 'ringlet' else asyncio.run
    begun, ended, spans = run(timed())
    ideal = -(-options.count // options.concurrency) * options.delay / 1000
    print(f'{len(spans)} requests in {ended - begun:.3f} s on {options.loop} '
          f'(ideal {ideal:.3f} s)')
    if options.spans:
        with open(options.spans, 'w', encoding='ascii') as file:
            json.dump({'seconds': ended - begun,
                       'spans': [[first - begun, last - begun] for first, last in spans]}, file)

#!/usr/bin/env python3
"""The book's crawl with tornado's HTTP client (its examples 8-6 and 8-7), on Ringlet's loop.

    build/release/examples/delay_server 8000 &
    examples/python/crawl_tornado.py http://127.0.0.1:8000 --count 500 --concurrency 100

Tornado runs on asyncio's loop, whichever that is; so it runs on Ringlet's without knowing.
"""

import crawl_options
from tornado import gen
from tornado.httpclient import AsyncHTTPClient
from tornado.locks import Semaphore
from tornado.queues import Queue


async def crawl(urls, concurrency):
    """Fetches them all and returns the spans of time that the requests took."""
    client = AsyncHTTPClient(force_instance=True, max_clients=concurrency)
    semaphore = Semaphore(concurrency)
    waiting, spans = Queue(), []

    async def fetch(url):
        try:
            begun = crawl_options.now()
            answer = await client.fetch(url)
            spans.append((begun, crawl_options.now()))
            assert answer.body.startswith(b'added ')
        finally:
            semaphore.release()
            waiting.task_done()

    for url in urls:
        waiting.put_nowait(url)
    running = []
    while not waiting.empty():
        await semaphore.acquire()
        running.append(gen.convert_yielded(fetch(waiting.get_nowait())))
    await waiting.join()
    await gen.multi(running)  # tells of one that failed
    client.close()
    return spans


if __name__ == '__main__':
    crawl_options.main(__doc__, crawl)

#!/usr/bin/env python3
"""The book's crawl with asyncio and aiohttp (its example 8-8), on Ringlet's loop.

    build/release/examples/delay_server 8000 &
    examples/python/crawl_asyncio.py http://127.0.0.1:8000 --count 500 --concurrency 100

A semaphore lets so many requests run at a time, and as_completed() takes each answer when it is
there. --loop asyncio does the same on asyncio's own loop.
"""

import asyncio

import aiohttp
import crawl_options


async def fetch(session, semaphore, spans, url):
    """One request, once its turn has come; when it began and ended goes to `spans`."""
    async with semaphore:
        begun = crawl_options.now()
        async with session.get(url) as answer:
            answer.raise_for_status()
            text = await answer.text()
        spans.append((begun, crawl_options.now()))
        return text


async def crawl(urls, concurrency):
    """Fetches them all and returns the spans of time that the requests took."""
    semaphore = asyncio.Semaphore(concurrency)
    spans = []
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:
        requests = [fetch(session, semaphore, spans, url) for url in urls]
        for next_answer in asyncio.as_completed(requests):
            assert (await next_answer).startswith('added ')
    return spans


if __name__ == '__main__':
    crawl_options.main(__doc__, crawl)

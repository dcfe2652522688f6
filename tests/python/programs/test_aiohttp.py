"""aiohttp's server and client, over TCP, TLS and unix sockets."""

import asyncio
import os

import aiohttp
import pytest
from aiohttp import web


async def hello(request):
    return web.Response(text=f"hello {request.match_info['name']}")


async def count(request):
    total = 0
    async for chunk in request.content.iter_any():
        total += len(chunk)
    return web.json_response({"bytes": total})


async def stream(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for i in range(100):
        await response.write(b"%d\n" % i * 100)
    await response.write_eof()
    return response


async def slow(request):
    await asyncio.sleep(30)


async def echo(request):
    peer = web.WebSocketResponse()
    await peer.prepare(request)
    async for message in peer:
        await peer.send_str(message.data[::-1])
    return peer


class Site:
    """A server on whatever `listen` makes, for as long as the block lasts."""

    def __init__(self, listen, files=None):
        self.listen = listen
        app = web.Application(client_max_size=1 << 26)
        app.add_routes([
            web.get("/hello/{name}", hello), web.post("/count", count), web.get("/stream", stream),
            web.get("/slow", slow), web.get("/echo", echo)])
        if files:
            app.router.add_static("/files", files)
        self.runner = web.AppRunner(app, shutdown_timeout=0.2)

    async def __aenter__(self):
        await self.runner.setup()
        await self.listen(self.runner).start()
        address = self.runner.addresses[0]
        return address[1] if isinstance(address, tuple) else address

    async def __aexit__(self, *error):
        await self.runner.cleanup()


def on_tcp(runner):
    return web.TCPSite(runner, "127.0.0.1", 0)


async def exercise(session, base):
    async def get(i):
        async with session.get(f"{base}/hello/{i}") as response:
            assert response.status == 200
            return await response.text()

    assert await asyncio.gather(*map(get, range(200))) == [f"hello {i}" for i in range(200)]
    async with session.get(f"{base}/stream") as response:
        body = await response.read()
    assert body == b"".join(b"%d\n" % i * 100 for i in range(100))
    async with session.post(f"{base}/count", data=b"x" * 5_000_000) as response:
        assert await response.json() == {"bytes": 5_000_000}
    async with session.ws_connect(f"{base}/echo") as peer:
        for text in ("abc", "x" * 300_000 + "y"):
            await peer.send_str(text)
            assert await peer.receive_str() == text[::-1]


def test_tcp(run):
    async def main():
        async with Site(on_tcp) as port, aiohttp.ClientSession() as session:
            await exercise(session, f"http://127.0.0.1:{port}")

    run(main())


def test_tls(run, server_context, client_context):
    async def main():
        def on_tls(runner):
            return web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_context)

        connector = aiohttp.TCPConnector(ssl=client_context)
        async with Site(on_tls) as port, aiohttp.ClientSession(connector=connector) as session:
            await exercise(session, f"https://localhost:{port}")
            await asyncio.sleep(0.1)

    run(main())


def test_unix(run, short_folder):
    path = os.path.join(short_folder, "aiohttp")

    async def main():
        connector = aiohttp.UnixConnector(path)
        async with Site(lambda runner: web.UnixSite(runner, path)), aiohttp.ClientSession(
                connector=connector) as session:
            await exercise(session, "http://localhost")

    run(main())


def test_a_file_is_sent_whole(run, tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "big.bin").write_bytes(content)

    async def main():
        async with Site(on_tcp, tmp_path) as port, aiohttp.ClientSession() as session:
            url = f"http://127.0.0.1:{port}/files/big.bin"
            async with session.get(url) as response:
                assert await response.read() == content
            async with session.get(url, headers={"Range": "bytes=1000-1999"}) as response:
                assert response.status == 206
                assert await response.read() == content[1000:2000]

    run(main())


def test_a_timeout_ends_the_request_and_not_the_session(run):
    async def main():
        async with Site(on_tcp) as port, aiohttp.ClientSession() as session:
            short = aiohttp.ClientTimeout(total=0.1)
            with pytest.raises(asyncio.TimeoutError):
                await session.get(f"http://127.0.0.1:{port}/slow", timeout=short)
            async with session.get(f"http://127.0.0.1:{port}/hello/again") as response:
                assert await response.text() == "hello again"

    run(main())


def test_a_refused_connection_says_so(run):
    async def main():
        async with Site(on_tcp) as port:
            pass
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"http://127.0.0.1:{port}/hello/nobody")

    run(main())

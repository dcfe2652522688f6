"""websockets' server and client."""

import asyncio

import pytest
import websockets.exceptions
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve


async def echo(peer):
    async for message in peer:
        if message == "leave":
            await peer.close(4000, "as asked")
        else:
            await peer.send(message)


async def exercise(url, **options):
    async def converse(i):
        async with connect(url, **options) as peer:
            for message in (f"text {i}", b"bytes", "long" * 200_000):
                await peer.send(message)
                assert await peer.recv() == message
            await (await peer.ping())

    await asyncio.gather(*map(converse, range(20)))


def test_tcp(run):
    async def main():
        async with serve(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            await exercise(f"ws://127.0.0.1:{port}")

    run(main())


def test_tls(run, server_context, client_context):
    async def main():
        async with serve(echo, "127.0.0.1", 0, ssl=server_context) as server:
            port = server.sockets[0].getsockname()[1]
            await exercise(f"wss://localhost:{port}", ssl=client_context)

    run(main())


def test_the_peer_hears_why_it_is_closed(run):
    async def main():
        async with serve(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}") as peer:
                await peer.send("leave")
                with pytest.raises(websockets.exceptions.ConnectionClosedError) as closed:
                    await peer.recv()
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4000, "as asked")

    run(main())


def test_a_server_that_closes_ends_its_connections(run):
    async def main():
        server = await serve(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}") as peer:
            server.close()
            with pytest.raises(websockets.exceptions.ConnectionClosedOK):
                await peer.recv()
            await server.wait_closed()
        with pytest.raises(ConnectionRefusedError):
            await connect(f"ws://127.0.0.1:{port}", open_timeout=5)

    run(main())

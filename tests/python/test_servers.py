"""Servers on the native accept: what asyncio promises of them, and the benchmark's echo servers."""

import asyncio
import contextlib
import contextvars
import gc
import os
import resource
import socket
import subprocess
import sys
import threading

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_a_closed_server_is_gone_at_once(run):
    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, '127.0.0.1', 0)
        address = server.sockets[0].getsockname()
        server.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        again = await loop.create_server(asyncio.Protocol, *address)
        again.close()

    run(main())


def test_a_server_out_of_descriptors_says_so_and_goes_on(loop, run, monkeypatch):
    made = None
    monkeypatch.setattr(asyncio.constants, 'ACCEPT_RETRY_DELAY', 0.05)

    class Counting(asyncio.Protocol):
        def connection_made(self, transport):
            made.set()

    async def main():
        nonlocal made
        made = asyncio.Event()
        caught = []
        loop.set_exception_handler(lambda _, context: caught.append(context))
        server = await loop.create_server(Counting, '127.0.0.1', 0, start_serving=False)
        address = server.sockets[0].getsockname()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        client = socket.socket()
        client.setblocking(False)
        lowest_free = os.dup(0)
        os.close(lowest_free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
        try:
            await server.start_serving()
            client.connect_ex(address)
            while not caught:
                await asyncio.sleep(0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        await made.wait()
        assert caught[0]['message'] == 'socket.accept() out of system resource'
        assert isinstance(caught[0]['exception'], OSError)
        server.close()
        client.close()

    run(main())


def test_a_socket_object_that_cannot_be_set_up_closes_nothing_early_or_twice(run, monkeypatch):
    def refuse(*_):
        raise OSError('not now')

    async def main():
        loop = asyncio.get_running_loop()
        streams = loop.create_future()
        server = await asyncio.start_server(lambda *both: streams.set_result(both), '127.0.0.1', 0)
        peer = socket.create_connection(server.sockets[0].getsockname(), timeout=20)
        reader, writer = await streams
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, 'setblocking', refuse)
            with pytest.raises(OSError, match='not now'):
                writer.get_extra_info('socket')
        gc.collect()
        peer.sendall(b'still there')
        assert await reader.readexactly(11) == b'still there'
        writer.write(b'yes')
        assert await loop.run_in_executor(None, peer.recv, 100) == b'yes'
        number = writer.get_extra_info('socket').fileno()
        writer.close()
        await writer.wait_closed()
        # Whoever gets the number next keeps it.
        taken = os.dup2(peer.fileno(), number)
        del streams, reader, writer
        gc.collect()
        os.close(taken)
        peer.close()
        server.close()

    run(main())


def test_a_factory_that_raises_costs_only_its_connection(loop, run):
    made = []

    def factory():
        made.append(1)
        if len(made) == 1:
            raise ZeroDivisionError
        return asyncio.Protocol()

    async def main():
        server = await loop.create_server(factory, '127.0.0.1', 0)
        address = server.sockets[0].getsockname()
        with socket.create_connection(address, timeout=10) as refused:
            assert await loop.run_in_executor(None, lambda: refused.recv(1)) == b''
        with socket.create_connection(address, timeout=10) as client:
            client.sendall(b'x')
            while len(made) < 2:
                await asyncio.sleep(0.01)
        server.close()

    run(main())


@pytest.mark.parametrize('style', ['protocol', 'streams', 'sock', 'buffered'])
def test_the_echo_servers_of_the_benchmark_echo(driver, style):
    with socket.create_server(('127.0.0.1', 0)) as probe:
        port = probe.getsockname()[1]
    server = subprocess.Popen([sys.executable, os.path.join(ROOT, 'bench', 'python_echo.py'),
                               'ringlet', style, str(port)])
    try:
        for _ in range(500):
            try:
                client = socket.create_connection(('127.0.0.1', port), timeout=10)
                break
            except ConnectionRefusedError:
                assert server.poll() is None
                threading.Event().wait(0.02)
        with client:
            for size in (1, 1000, 100_000):
                client.sendall(b'x' * size)
                got = 0
                while got < size:
                    got += len(client.recv(size))
                assert got == size
    finally:
        server.terminate()
        server.wait()


def test_a_server_that_was_out_of_descriptors_keeps_its_context(loop, run, monkeypatch):
    variable = contextvars.ContextVar('variable', default='none')
    monkeypatch.setattr(asyncio.constants, 'ACCEPT_RETRY_DELAY', 0.05)
    loop.set_exception_handler(lambda *_: None)
    seen = []

    class Told(asyncio.Protocol):
        def connection_made(self, transport):
            seen.append(variable.get())

    async def main():
        variable.set('server')
        server = await loop.create_server(Told, '127.0.0.1', 0)
        variable.set('later')
        address = server.sockets[0].getsockname()
        clients = [socket.socket() for _ in range(2)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest = os.dup(0)
        os.close(lowest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            clients[0].connect(address)
            await asyncio.sleep(0.02)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        clients[1].connect(address)
        while len(seen) < 2:
            await asyncio.sleep(0.01)
        assert seen == ['server', 'server']
        server.close()
        for client in clients:
            client.close()

    run(main())


def test_a_listening_socket_that_its_owner_closed_is_not_reported(loop, run):
    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context))

    async def main():
        listener = socket.create_server(('127.0.0.1', 0))
        address = listener.getsockname()
        server = await asyncio.start_server(lambda *_: None, sock=listener)
        await asyncio.sleep(0.01)
        listener.close()
        with contextlib.suppress(ValueError):  # asyncio's own, about the descriptor
            server.close()
        await asyncio.sleep(0.02)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        assert reports == []

    run(main())


def test_in_debug_mode_a_server_and_its_connections_end_as_well(loop, run):
    loop.set_debug(True)
    loop.slow_callback_duration = 0

    async def serve(reader, writer):
        writer.write(await reader.read(10))
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, '127.0.0.1', 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b'x')
        assert await reader.read() == b'x'
        writer.close()
        await writer.wait_closed()
        server.close()
        del server
        await asyncio.sleep(0.01)

    run(main())

"""Descriptors that somebody else still waits for when a transport takes them over, or closes them.

asyncio has one selector for all: a transport's registration takes the place of others, and its end
takes them away.
"""

import asyncio
import os
import socket

import pytest
from sockets import tcp_pair


@pytest.fixture
def ends():
    """Two connected TCP sockets, neither blocking; whoever closes one does so before."""
    ours, theirs = tcp_pair()
    for each in (ours, theirs):
        each.setblocking(False)
    yield ours, theirs
    for each in (ours, theirs):
        each.close()


async def turns():
    for _ in range(5):
        await asyncio.sleep(0.001)


async def ends_orderly(sock):
    return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 10), 5) == b''


async def stay_pending(task):
    await turns()
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize('method', ['add_reader', 'add_writer'])
def test_a_watched_socket_given_to_a_transport_is_closed_with_it(run, ends, method):
    async def main():
        loop = asyncio.get_running_loop()
        ours, theirs = ends
        getattr(loop, method)(ours, lambda: None)
        await turns()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        await turns()
        transport.close()
        assert await ends_orderly(theirs)

    run(main())


def test_a_reader_is_called_no_more_once_a_transport_reads(run, ends):
    class Collect(asyncio.Protocol):
        data = b''

        def data_received(self, data):
            self.data += data

    async def main():
        loop = asyncio.get_running_loop()
        ours, theirs = ends
        called = []
        loop.add_reader(ours, called.append, 1)
        transport, protocol = await loop.create_connection(Collect, sock=ours)
        await turns()
        theirs.send(b'data')
        await turns()
        assert protocol.data == b'data' and called == []
        transport.close()
        await turns()

    run(main())


def test_a_receive_that_waits_for_a_transports_socket_never_ends(run, ends):
    async def main():
        loop = asyncio.get_running_loop()
        ours, theirs = ends
        receiving = asyncio.ensure_future(loop.sock_recv(ours, 10))
        await turns()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        await turns()
        transport.close()
        assert await ends_orderly(theirs)
        await stay_pending(receiving)

    run(main())


def test_an_accept_that_waits_for_a_servers_socket_never_ends(run):
    async def main():
        loop = asyncio.get_running_loop()
        listener = socket.create_server(('127.0.0.1', 0))
        listener.setblocking(False)
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        await turns()
        server = await asyncio.start_server(lambda reader, writer: writer.close(), sock=listener)
        await turns()
        server.close()
        await stay_pending(accepting)

    run(main())


@pytest.mark.parametrize('waits', ['reader', 'receive', 'sendfile'])
def test_a_wait_for_a_socket_long_closed_does_not_touch_the_next_of_its_number(run, ends, tmp_path,
                                                                               waits):
    path = tmp_path / 'large'
    path.write_bytes(bytes(16 << 20))

    async def main():
        loop = asyncio.get_running_loop()
        first, peer = ends
        called = []
        file = open(path, 'rb')
        waiting = asyncio.ensure_future(
            loop.sock_recv(first, 10) if waits == 'receive' else
            loop.sock_sendfile(first, file) if waits == 'sendfile' else asyncio.sleep(60))
        if waits == 'reader':
            loop.add_reader(first, called.append, 1)
        await turns()
        number = first.fileno()
        first.close()
        other, theirs = tcp_pair()
        if other.fileno() != number:
            os.dup2(other.fileno(), number)
            other.close()
            other = socket.socket(fileno=number)
        other.setblocking(False)
        theirs.setblocking(False)
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=other)
        transport.write(b'x')
        assert await loop.sock_recv(theirs, 10) == b'x'
        transport.close()
        assert await ends_orderly(theirs)
        assert called == []
        theirs.close()
        waiting.cancel()
        await asyncio.wait([waiting])
        file.close()

    run(main())


def test_a_transport_closed_while_it_sends_a_file_ends_with_it(run, ends, tmp_path):
    path = tmp_path / 'large'
    path.write_bytes(bytes(16 << 20))

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)
        ours, theirs = ends
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=ours)
        with open(path, 'rb') as file:
            sending = asyncio.ensure_future(loop.sendfile(transport, file))
            await turns()
            transport.abort()
            await turns()
            sending.cancel()
            await asyncio.wait([sending])
        while True:
            try:
                if not await asyncio.wait_for(loop.sock_recv(theirs, 1 << 20), 5):
                    break
            except ConnectionError:
                break

    run(main())


def test_a_pollable_file_of_proc_can_be_watched(run):
    async def main():
        loop = asyncio.get_running_loop()
        with open('/proc/self/mounts', 'rb', buffering=0) as mounts:
            called = loop.create_future()
            loop.add_reader(mounts, lambda: called.done() or called.set_result(None))
            await called
            assert loop.remove_reader(mounts)

    run(main())

"""asyncio's streams on the native transport: all that asyncio promises of them holds."""

import asyncio
import gc
import os
import socket
import sys
import weakref

import pytest
from ringlet import _native, _stream_classes


async def opened(limit=2 ** 16):
    """A reader and a writer, and the plain socket at the other end."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(20)
    reader, writer = await asyncio.open_connection(sock=ours, limit=limit)
    return reader, writer, theirs


async def closed(writer, peer):
    writer.close()
    await writer.wait_closed()
    peer.close()


def test_streams_are_still_asyncio_s(run):
    served = []

    async def serve(reader, writer):
        served.append((reader, writer))
        writer.write(await reader.readexactly(3))
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, '127.0.0.1', 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b'abc')
        assert await reader.read() == b'abc'
        for each in (reader, served[0][0]):
            assert isinstance(each, asyncio.StreamReader)
            assert repr(each).startswith('<StreamReader')
        assert isinstance(served[0][1], asyncio.StreamWriter)
        assert repr(served[0][1]).startswith('<StreamWriter transport=<SocketTransport')
        writer.close()
        server.close()

    run(main())


def test_they_take_the_fast_path(run):
    async def main():
        served = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(lambda *ends: served.set_result(ends), '127.0.0.1', 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        its_reader, its_writer = await served
        for each in (reader, its_reader):
            assert type(each) is _stream_classes.StreamReader
            call = each.read(1)
            assert type(call) is _native.StreamCall
            call.close()
        if sys.version_info < (3, 13):  # from then on nobody but the handler has it
            assert type(its_writer) is _stream_classes.StreamWriter
        for each in (writer, its_writer):
            each.close()
        server.close()

    run(main())


def test_reads_of_every_kind_take_what_they_should(run):
    async def main():
        reader, writer, peer = await opened()
        peer.sendall(b'0123456789line\nuntil;rest')
        assert await reader.read(0) == b''
        assert await reader.readexactly(0) == b''
        assert await reader.read(3) == b'012'
        assert await reader.readexactly(4) == b'3456'
        assert await reader.read(n=3) == b'789'
        assert await reader.readline() == b'line\n'
        assert await reader.readuntil(b';') == b'until;'
        assert not reader.at_eof()
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await reader.readexactly(10)
        assert caught.value.partial == b'rest'
        assert caught.value.expected == 10
        assert reader.at_eof()
        assert await reader.read(5) == b''
        assert await reader.read() == b''
        await closed(writer, peer)

    run(main())


def test_wrong_arguments_are_refused_as_asyncio_does(run):
    async def main():
        reader, writer, peer = await opened()
        with pytest.raises(ValueError, match='readexactly size can not be less than zero'):
            await reader.readexactly(-1)
        for wrong in ((), (1, 2)):
            with pytest.raises(TypeError):
                await reader.readexactly(*wrong)
        with pytest.raises(TypeError):
            await reader.read(1, 2, 3, 4)
        with pytest.raises(TypeError):
            await reader.read('x')
        await closed(writer, peer)

    run(main())


def test_a_message_in_pieces_is_put_together(run):
    async def main():
        reader, writer, peer = await opened()
        sent = os.urandom(300_000)
        sending = asyncio.get_running_loop().run_in_executor(None, peer.sendall, sent)
        assert await reader.readexactly(len(sent)) == sent
        await sending
        await closed(writer, peer)

    run(main())


def test_two_cannot_read_at_once(run):
    async def main():
        reader, writer, peer = await opened()
        first = asyncio.ensure_future(reader.read(10))
        await asyncio.sleep(0)
        for second in (reader.read(10), reader.readexactly(10), reader.readline()):
            with pytest.raises(RuntimeError, match='called while another coroutine is already'):
                await second
        peer.sendall(b'x')
        assert await first == b'x'
        await closed(writer, peer)

    run(main())


@pytest.mark.parametrize('kind', ['read', 'readexactly'])
def test_a_cancelled_read_loses_nothing(run, kind):
    async def main():
        reader, writer, peer = await opened()
        for _ in range(3):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(getattr(reader, kind)(5), 0.01)
        reading = asyncio.get_running_loop().create_task(getattr(reader, kind)(5))
        await asyncio.sleep(0)
        peer.sendall(b'12345')
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await reader.readexactly(5) == b'12345'
        await closed(writer, peer)

    run(main())


def test_an_exception_of_the_stream_reaches_who_waits_and_who_comes_later(run):
    async def main():
        reader, writer, peer = await opened()
        reading = asyncio.ensure_future(reader.read(5))
        await asyncio.sleep(0)
        reader.set_exception(ZeroDivisionError('said'))
        for wait in (reading, reader.read(5), reader.readexactly(5), writer.drain()):
            with pytest.raises(ZeroDivisionError, match='said'):
                await wait
        writer.transport.abort()
        peer.close()
        await asyncio.sleep(0.01)

    run(main())


def test_more_than_the_limit_pauses_the_transport(run):
    async def main():
        reader, writer, peer = await opened(limit=1000)
        peer.sendall(b'x' * 2001)
        while writer.transport.is_reading():
            await asyncio.sleep(0.01)
        assert await reader.read(500) == b'x' * 500
        assert not writer.transport.is_reading()
        assert await reader.readexactly(501) == b'x' * 501
        assert writer.transport.is_reading()
        peer.sendall(b'y' * 5000)
        assert await reader.readexactly(6000) == b'x' * 1000 + b'y' * 5000
        await closed(writer, peer)

    run(main())


def test_drain_waits_while_the_peer_does_not_read(run):
    async def serve(reader, writer):
        writer.write(b'x' * 20_000_000)
        draining = asyncio.ensure_future(writer.drain())
        await asyncio.sleep(0.05)
        finished.append(draining.done())
        await draining
        finished.append(writer.transport.get_write_buffer_size() <= 65536)
        writer.close()

    finished = []

    async def main():
        server = await asyncio.start_server(serve, '127.0.0.1', 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.transport.pause_reading()
        await asyncio.sleep(0.1)
        writer.transport.resume_reading()
        assert len(await reader.read()) == 20_000_000
        assert finished == [False, True]
        writer.close()
        server.close()

    run(main())


def test_drain_tells_of_a_lost_connection(run):
    async def serve(reader, writer):
        writer.transport.abort()
        with pytest.raises(ConnectionResetError):
            for _ in range(3):
                await writer.drain()
        told.set()

    async def main():
        nonlocal told
        told = asyncio.Event()
        server = await asyncio.start_server(serve, '127.0.0.1', 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await told.wait()
        writer.close()
        server.close()

    told = None
    run(main())


def test_what_is_never_awaited_is_told(run):
    async def main():
        reader, writer, peer = await opened()
        with pytest.warns(RuntimeWarning, match="'StreamReader.read' was never awaited"):
            reader.read(1)
        waits = reader.readexactly(1)
        assert asyncio.iscoroutine(waits)
        waits.close()
        with pytest.raises(RuntimeError, match='cannot reuse'):
            await waits
        await closed(writer, peer)

    run(main())


def test_classes_of_others_and_patched_ones_are_left_alone(run, monkeypatch):
    class Reader(asyncio.StreamReader):
        def feed_data(self, data):
            super().feed_data(data.upper())

    async def read_one(make_reader):
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        reader = make_reader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.create_connection(lambda: protocol, sock=ours)
        theirs.sendall(b'abc')
        got = await reader.readexactly(3)
        transport.close()
        theirs.close()
        return got, type(reader)

    async def main():
        assert await read_one(Reader) == (b'ABC', Reader)
        assert (await read_one(asyncio.StreamReader))[0] == b'abc'
        feed_data = asyncio.StreamReader.feed_data
        monkeypatch.setattr(asyncio.StreamReader, 'feed_data',
                            lambda self, data: feed_data(self, data.title()))
        assert await read_one(asyncio.StreamReader) == (b'Abc', asyncio.StreamReader)

    run(main())


def test_a_reader_that_waits_for_ever_is_collected(run):
    async def main():
        reader, writer, peer = await opened()
        reading = asyncio.ensure_future(reader.read(1))
        await asyncio.sleep(0.01)
        gone = weakref.ref(reader)
        writer.transport.abort()
        peer.close()
        await asyncio.sleep(0.01)
        assert await reading == b''
        del reader, writer, reading
        gc.collect()
        assert gone() is None

    run(main())


def test_arguments_may_be_named_as_asyncio_names_them(run):
    async def main():
        async def echo(reader, writer):
            writer.write(data=await reader.readexactly(n=6))
            writer.close()

        server = await asyncio.start_server(echo, '127.0.0.1', 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection('127.0.0.1', port)
        writer.transport.write(data=b'ab')
        writer.transport.writelines(list_of_data=[b'c', b'd'])
        writer.writelines(data=[b'e', b'f'])
        assert await reader.read(n=-1) == b'abcdef'
        protocol = writer.transport.get_protocol()
        writer.transport.set_protocol(protocol=protocol)
        for wrong in ({}, {'bytes': b'x'}, {'data': b'x', 'more': 1}):
            with pytest.raises(TypeError):
                writer.transport.write(**wrong)
        with pytest.raises(TypeError):
            writer.write(b'x', data=b'x')
        loop = asyncio.get_running_loop()
        assert loop.remove_reader(fd=0) is False
        assert loop.remove_writer(fd=0) is False
        writer.close()
        server.close()

    run(main())


def test_drain_looks_when_it_is_awaited(run):
    async def main():
        reader, writer, peer = await opened()
        drain = writer.drain()
        writer.write(bytes(1 << 24))
        task = asyncio.ensure_future(drain)
        await asyncio.sleep(0.01)
        assert not task.done()
        peer.setblocking(False)
        loop = asyncio.get_running_loop()
        received = 0
        while received < 1 << 24:
            received += len(await loop.sock_recv(peer, 1 << 20))
        await task
        peer.close()
        writer.close()

    run(main())


def test_a_drain_that_waits_is_cancelled_or_fails(run):
    async def main():
        reader, writer, peer = await opened()
        writer.write(bytes(1 << 24))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.01)
        task = asyncio.ensure_future(writer.drain())
        await asyncio.sleep(0.01)
        peer.close()
        with pytest.raises(ConnectionError):
            await task
        given_up = writer.drain()
        given_up.close()
        with pytest.raises(RuntimeError):
            await given_up
        writer.close()

    run(main())

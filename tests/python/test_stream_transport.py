"""The native socket transport: what asyncio promises of it, under load and when things go wrong."""

import asyncio
import contextvars
import gc
import os
import socket
import struct
import weakref

import pytest
from recorder import Recorder, connected, lost

MEGABYTE = 1024 * 1024


def in_thread(function):
    return asyncio.get_running_loop().run_in_executor(None, function)


def read_all(sock):
    data = bytearray()
    while chunk := sock.recv(65536):
        data += chunk
    return bytes(data)


def capture(loop):
    """The contexts given to the loop's exception handler from now on."""
    caught = []
    loop.set_exception_handler(lambda _, context: caught.append(context))
    return caught


def test_it_is_an_asyncio_transport(run):
    async def main():
        protocol, peer = await connected()
        transport = protocol.transport
        assert isinstance(transport, asyncio.Transport)
        assert weakref.ref(transport)() is transport
        assert transport._start_tls_compatible
        sock = transport.get_extra_info('socket')
        assert isinstance(sock, asyncio.trsock.TransportSocket)
        assert sock is transport.get_extra_info('socket')
        assert transport.get_extra_info('peername') == peer.getsockname()
        assert transport.get_extra_info('sockname') == peer.getpeername()
        assert transport.get_extra_info('nothing', 7) == 7
        assert repr(transport).startswith('<SocketTransport fd=')
        transport.close()
        assert 'closing' in repr(transport)
        await protocol.until(lost)
        assert 'closed' in repr(transport)
        assert transport.get_extra_info('peername') == peer.getsockname()
        peer.close()

    run(main())


@pytest.mark.parametrize('unix', [False, True])
def test_big_writes_with_back_pressure_arrive_whole_and_in_order(run, unix):
    async def main():
        protocol, peer = await connected(unix=unix)
        parts = [bytes([i]) * (MEGABYTE + i) for i in range(8)]
        for part in parts:
            protocol.transport.write(part)
        assert protocol.told == ['made', 'pause']
        assert protocol.transport.get_write_buffer_size() > 64 * 1024
        protocol.transport.write_eof()
        assert await in_thread(lambda: read_all(peer)) == b''.join(parts)
        await protocol.until(lambda p: p.told[-1] == 'resume')
        assert protocol.transport.get_write_buffer_size() == 0
        peer.close()
        await protocol.until(lost)
        assert protocol.told == ['made', 'pause', 'resume', 'eof', 'lost']

    run(main())


def test_what_was_written_may_be_changed_afterwards(run):
    async def main():
        protocol, peer = await connected()
        block = bytearray(b'a' * (8 * MEGABYTE))
        protocol.transport.write(block)
        view = memoryview(block)
        protocol.transport.write(view[:MEGABYTE])
        view.release()
        block[:] = b'b' * len(block)
        block.clear()
        protocol.transport.close()
        assert await in_thread(lambda: read_all(peer)) == b'a' * (9 * MEGABYTE)
        await protocol.until(lost)
        peer.close()

    run(main())


def test_small_pieces_and_lists_are_sent_in_order(run):
    async def main():
        protocol, peer = await connected()
        expected = bytearray()
        for i in range(2000):
            pieces = [b'%d,' % i, bytearray(b'x'), memoryview(b'yz'), b'']
            expected += b''.join(pieces)
            if i % 2:
                protocol.transport.writelines(pieces)
            else:
                for piece in pieces:
                    protocol.transport.write(piece)
        protocol.transport.close()
        assert await in_thread(lambda: read_all(peer)) == expected
        await protocol.until(lost)
        peer.close()

    run(main())


def test_wrong_data_is_refused_as_asyncio_does(run):
    async def main():
        protocol, peer = await connected()
        transport = protocol.transport
        for wrong in ('text', 5, None, [b'list']):
            with pytest.raises(TypeError, match='data argument must be a bytes-like object, not'):
                transport.write(wrong)
        with pytest.raises(TypeError):
            transport.writelines([b'good', 'bad'])
        with pytest.raises(ValueError, match='must be >= low'):
            transport.set_write_buffer_limits(high=1, low=2)
        transport.set_write_buffer_limits(high=0)
        assert transport.get_write_buffer_limits() == (0, 0)
        transport.set_write_buffer_limits(low=10)
        assert transport.get_write_buffer_limits() == (10, 40)
        transport.write_eof()
        with pytest.raises(RuntimeError, match='after write_eof'):
            transport.write(b'late')
        transport.abort()
        await protocol.until(lost)
        peer.close()

    run(main())


def test_a_reset_is_told_with_its_error(run):
    async def main():
        protocol, peer = await connected()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        peer.close()
        await protocol.until(lost)
        assert isinstance(protocol.told[-1], ConnectionResetError)
        assert protocol.told[:-1] == ['made']

    run(main())


def test_writes_to_a_lost_connection_warn_from_the_sixth_on(run, caplog):
    async def main():
        protocol, peer = await connected()
        transport = protocol.transport
        transport.abort()
        for _ in range(5):
            transport.write(b'x')
        said = [r for r in caplog.records if 'socket.send() raised exception' in r.message]
        assert len(said) == 1
        await protocol.until(lost)
        peer.close()

    run(main())


def test_half_closed_the_other_half_goes_on(run):
    class Stays(Recorder):
        def eof_received(self):
            super().eof_received()
            return True

    async def main():
        protocol, peer = await connected(Stays)
        peer.sendall(b'question')
        peer.shutdown(socket.SHUT_WR)
        await protocol.until(lambda p: p.told[-1] == 'eof')
        assert protocol.data == b'question'
        assert not protocol.transport.is_closing()
        protocol.transport.write(b'answer')
        protocol.transport.close()
        assert await in_thread(lambda: read_all(peer)) == b'answer'
        await protocol.until(lost)
        peer.close()

    run(main())


def test_paused_nothing_is_told_and_nothing_gets_lost(run):
    class Pausing(Recorder):
        def data_received(self, data):
            assert not self.paused
            super().data_received(data)
            self.paused = True
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self.resume)

        def resume(self):
            self.paused = False
            self.transport.resume_reading()

    Pausing.paused = False

    async def main():
        protocol, peer = await connected(Pausing)
        sent = os.urandom(3 * MEGABYTE)

        def send():
            peer.sendall(sent)
            peer.close()

        await in_thread(send)
        await protocol.until(lost)
        assert protocol.data == sent
        assert protocol.told.count('eof') == 1

    run(main())


def test_a_paused_transport_leaves_the_rest_in_the_kernel(run):
    async def main():
        protocol, peer = await connected()
        protocol.transport.pause_reading()
        assert not protocol.transport.is_reading()
        await asyncio.sleep(0.02)
        peer.sendall(b'x' * 1000)
        await asyncio.sleep(0.05)
        assert protocol.data == b''
        assert protocol.transport._sock.recv(300) == b'x' * 300
        protocol.transport.resume_reading()
        await protocol.until(lambda p: len(p.data) == 700)
        protocol.transport.close()
        await protocol.until(lost)
        peer.close()

    run(main())


def test_a_buffered_protocol_gets_all_through_its_buffer(run):
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self):
            self.buffer = bytearray(1000)
            self.data = bytearray()
            self.done = asyncio.get_running_loop().create_future()

        def connection_made(self, transport):
            self.transport = transport

        def get_buffer(self, sizehint):
            return memoryview(self.buffer)[:1 + len(self.data) % 1000]

        def buffer_updated(self, nbytes):
            self.data += self.buffer[:nbytes]

        def connection_lost(self, exc):
            self.done.set_result(exc)

    async def main():
        protocol, peer = await connected(Buffered)
        sent = os.urandom(300_000)

        def send():
            peer.sendall(sent)
            peer.close()

        await in_thread(send)
        assert await protocol.done is None
        assert protocol.data == sent

    run(main())


def test_a_protocol_is_replaced_in_mid_stream(run):
    class First(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.second = Recorder()
            self.second.told.append('made')
            self.transport.set_protocol(self.second)

    async def main():
        protocol, peer = await connected(First)
        peer.sendall(b'one')
        await protocol.until(lambda p: p.data)
        peer.sendall(b'two')
        await protocol.second.until(lambda p: p.data)
        assert (protocol.data, protocol.second.data) == (b'one', b'two')
        assert protocol.transport.get_protocol() is protocol.second
        peer.close()
        await protocol.second.until(lost)
        assert protocol.told == ['made', 'data']

    run(main())


def test_one_may_write_in_connection_made_and_close_in_data_received(run):
    class Hasty(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(b'hello')

        def data_received(self, data):
            super().data_received(data)
            self.transport.write(b'bye')
            self.transport.close()

    async def main():
        protocol, peer = await connected(Hasty)
        assert await in_thread(lambda: peer.recv(5)) == b'hello'
        peer.sendall(b'x')
        assert await in_thread(lambda: read_all(peer)) == b'bye'
        await protocol.until(lost)
        assert protocol.told == ['made', 'data', 'lost']
        peer.close()

    run(main())


def test_abort_drops_what_waits_close_sends_it(run):
    async def main():
        protocol, peer = await connected()
        protocol.transport.write(b'x' * (16 * MEGABYTE))
        protocol.transport.abort()
        assert protocol.transport.get_write_buffer_size() == 0
        got = await in_thread(lambda: read_all(peer))
        assert len(got) < 16 * MEGABYTE
        await protocol.until(lost)
        assert protocol.told == ['made', 'pause', 'lost']
        peer.close()

    run(main())


def test_what_was_written_last_is_sent_though_the_loop_ends(loop):
    async def main():
        protocol, peer = await connected()
        protocol.transport.pause_reading()
        protocol.transport.write(b'last ')
        protocol.transport.write(b'words')
        return protocol, peer

    protocol, peer = loop.run_until_complete(main())
    assert peer.recv(100) == b'last words'
    protocol.transport.write(b'between runs')
    assert peer.recv(100) == b'between runs'
    with pytest.warns(ResourceWarning):
        loop.close()
        del protocol
        gc.collect()
    assert peer.recv(100) == b''
    peer.close()


@pytest.mark.parametrize('end', ['abort', 'close', 'write_eof'])
def test_a_small_write_arrives_whatever_comes_next(run, end):
    async def main():
        protocol, peer = await connected()
        protocol.transport.write(b'refused')
        getattr(protocol.transport, end)()
        assert await in_thread(lambda: read_all(peer)) == b'refused'
        peer.close()
        await protocol.until(lost)

    run(main())


def test_without_room_to_collect_every_write_goes_at_once(run):
    async def main():
        protocol, peer = await connected()
        protocol.transport.write(b'collected ')
        protocol.transport.set_write_buffer_limits(high=0)
        protocol.transport.write(b'now')
        assert protocol.transport.get_write_buffer_size() == 0
        assert peer.recv(100) == b'collected now'
        protocol.transport.close()
        await protocol.until(lost)
        assert protocol.told == ['made', 'lost']
        peer.close()

    run(main())


@pytest.mark.parametrize('where', ['connection_made', 'data_received', 'eof_received',
                                   'pause_writing', 'connection_lost', 'get_buffer'])
def test_what_a_callback_raises_is_reported(loop, run, where):
    class Failing(Recorder):
        pass

    class FailingBuffered(asyncio.BufferedProtocol):
        def get_buffer(self, sizehint):
            raise ZeroDivisionError

        def connection_lost(self, exc):
            self.ended = exc

    def fail(self, *_):
        raise ZeroDivisionError

    setattr(Failing, where, fail)

    async def main():
        caught = capture(loop)
        factory = FailingBuffered if where == 'get_buffer' else Failing
        protocol, peer = await connected(factory)
        if where == 'pause_writing':
            protocol.transport.write(b'x' * (16 * MEGABYTE))
            protocol.transport.abort()
        elif where == 'eof_received':
            peer.close()
        elif where == 'connection_lost':
            protocol.transport.close()
        else:
            peer.sendall(b'x')
        while not caught:
            await asyncio.sleep(0.01)
        assert isinstance(caught[0]['exception'], ZeroDivisionError)
        messages = {
            'connection_made': 'Exception in callback',
            'connection_lost': 'Exception in callback',
            'data_received': 'Fatal error: protocol.data_received() call failed.',
            'eof_received': 'Fatal error: protocol.eof_received() call failed.',
            'get_buffer': 'Fatal error: protocol.get_buffer() call failed.',
            'pause_writing': 'protocol.pause_writing() failed',
        }
        assert caught[0]['message'].startswith(messages[where])
        await asyncio.sleep(0.02)
        if where in ('data_received', 'eof_received'):
            assert isinstance(protocol.told[-1], ZeroDivisionError)
        if where == 'get_buffer':
            assert isinstance(protocol.ended, ZeroDivisionError)
        assert len(caught) == 1
        peer.close()
        await asyncio.sleep(0.02)

    run(main())


@pytest.mark.parametrize('kind', [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_callback_ends_the_run(loop, kind):
    class Interrupting(Recorder):
        def data_received(self, data):
            raise kind

    async def main():
        protocol, peer = await connected(Interrupting)
        peer.sendall(b'x')
        await asyncio.sleep(20)

    with pytest.raises(kind):
        loop.run_until_complete(main())


def test_a_connection_keeps_its_context(run):
    variable = contextvars.ContextVar('variable', default='unset')

    class Contextual(Recorder):
        def data_received(self, data):
            self.told.append(variable.get())
            variable.set('set in the connection')
            super().data_received(data)

    async def main():
        variable.set('as it was')
        protocol, peer = await connected(Contextual)
        for _ in range(2):
            peer.sendall(b'x')
            await protocol.until(lambda p: p.told[-1] == 'data')
            protocol.told.append('-')
        assert protocol.told == ['made', 'as it was', 'data', '-', 'set in the connection', 'data',
                                 '-']
        assert variable.get() == 'as it was'
        peer.close()
        await protocol.until(lost)

    run(main())


def test_a_transport_that_is_forgotten_warns_and_closes(loop, run):
    async def main():
        protocol, peer = await connected()
        protocol.transport.pause_reading()
        await asyncio.sleep(0.05)
        return protocol, peer

    protocol, peer = run(main())
    with pytest.warns(ResourceWarning, match='unclosed transport <SocketTransport'):
        del protocol
        gc.collect()
    assert peer.recv(1) == b''
    peer.close()


def test_sendfile_goes_straight_to_the_socket(run, tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(os.urandom(2 * MEGABYTE))

    async def main():
        loop = asyncio.get_running_loop()
        protocol, peer = await connected()
        receiving = in_thread(lambda: read_all(peer))
        protocol.transport.write(b'before')
        with open(path, 'rb') as file:
            sending = asyncio.ensure_future(
                loop.sendfile(protocol.transport, file, fallback=False))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match='sendfile is in progress'):
                protocol.transport.write(b'between')
            assert await sending == 2 * MEGABYTE
        protocol.transport.write(b'after')
        protocol.transport.close()
        assert await receiving == b'before' + path.read_bytes() + b'after'
        peer.close()

    run(main())


def test_extra_info_takes_no_other_names(run):
    async def main():
        protocol, peer = await connected()
        with pytest.raises(TypeError):
            protocol.transport.get_extra_info('socket', other=1)
        protocol.transport.abort()
        peer.close()

    run(main())

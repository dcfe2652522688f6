"""connect_read_pipe and connect_write_pipe on pipes, FIFOs and terminals; names looked up."""

import asyncio
import os
import pty
import socket
import threading
import tty

import pytest

from sockets import settle


class Reader(asyncio.Protocol):
    def __init__(self):
        self.data = b''
        self.ended = False
        self.lost = None
        self.changed = asyncio.Event()

    def data_received(self, data):
        self.data += data
        self.changed.set()

    def eof_received(self):
        self.ended = True

    def connection_lost(self, exc):
        self.lost = [exc]
        self.changed.set()

    async def until(self, condition):
        while not condition(self):
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 10)


class Writer(asyncio.BaseProtocol):
    def __init__(self):
        self.flow = []
        self.lost = None
        self.changed = asyncio.Event()

    until = Reader.until

    def pause_writing(self):
        self.flow.append('pause')

    def resume_writing(self):
        self.flow.append('resume')
        self.changed.set()

    def connection_lost(self, exc):
        self.lost = [exc]
        self.changed.set()


def opened(fd, mode):
    return os.fdopen(fd, mode, buffering=0)


def make_pipe(_):
    return os.pipe()


def make_fifo(folder):
    path = str(folder / 'fifo')
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    return reading, os.open(path, os.O_WRONLY)


def make_socketpair(_):
    return tuple(end.detach() for end in socket.socketpair())


KINDS = [make_pipe, make_fifo, make_socketpair]


@pytest.mark.parametrize('make', KINDS)
def test_what_is_written_is_read_to_its_end(loop, run, tmp_path, make):
    reading, writing = make(tmp_path)

    async def main():
        source, reader = await loop.connect_read_pipe(Reader, opened(reading, 'rb'))
        sink, writer = await loop.connect_write_pipe(Writer, opened(writing, 'wb'))
        data = os.urandom(1_000_000)
        sink.write(data)
        assert writer.flow == ['pause']
        await writer.until(lambda w: w.flow == ['pause', 'resume'])
        sink.write_eof()
        await reader.until(lambda r: r.lost)
        assert reader.data == data and reader.ended and reader.lost == [None]
        await writer.until(lambda w: w.lost)
        assert writer.lost == [None] and source.is_closing()

    run(main())


@pytest.mark.parametrize('make', KINDS)
def test_a_reader_that_goes_away_ends_the_writer(loop, run, tmp_path, make):
    reading, writing = make(tmp_path)

    async def main():
        sink, writer = await loop.connect_write_pipe(Writer, opened(writing, 'wb'))
        await settle()
        assert not sink.is_closing()
        os.close(reading)
        await writer.until(lambda w: w.lost)
        assert writer.lost == [None] or isinstance(writer.lost[0], BrokenPipeError)

    run(main())


def test_a_full_pipe_whose_reader_goes_away_breaks(loop, run):
    reading, writing = os.pipe()

    async def main():
        sink, writer = await loop.connect_write_pipe(Writer, opened(writing, 'wb'))
        sink.write(bytes(500_000))
        await settle()
        os.close(reading)
        await writer.until(lambda w: w.lost)
        assert isinstance(writer.lost[0], BrokenPipeError)

    run(main())


def test_a_paused_reader_is_given_nothing(loop, run):
    reading, writing = os.pipe()

    async def main():
        source, reader = await loop.connect_read_pipe(Reader, opened(reading, 'rb'))
        source.pause_reading()
        os.write(writing, b'held')
        await asyncio.sleep(0.02)
        assert reader.data == b''
        source.resume_reading()
        await reader.until(lambda r: r.data == b'held')
        os.close(writing)
        await reader.until(lambda r: r.lost)

    run(main())


def test_a_terminal_is_read_and_written(loop, run):
    ours, theirs = pty.openpty()
    tty.setraw(theirs)

    async def main():
        source, reader = await loop.connect_read_pipe(Reader, opened(os.dup(ours), 'rb'))
        sink, writer = await loop.connect_write_pipe(Writer, opened(ours, 'wb'))
        sink.write(b'to the program\n')
        assert await loop.run_in_executor(None, os.read, theirs, 100) == b'to the program\n'
        os.write(theirs, b'to the terminal')
        await reader.until(lambda r: r.data == b'to the terminal')
        os.close(theirs)  # a hangup: EIO, which ends it without an error
        await reader.until(lambda r: r.lost)
        sink.close()
        await writer.until(lambda w: w.lost)
        assert reader.lost[0] is None or isinstance(reader.lost[0], OSError)

    run(main())


def test_files_are_refused(loop, run, tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(b'x')

    async def main():
        with open(path, 'rb', buffering=0) as file:
            with pytest.raises(ValueError, match='Pipe transport is for pipes/sockets only'):
                await loop.connect_read_pipe(Reader, file)

    run(main())


def test_pipes_come_and_go_and_leave_nothing(loop, run, descriptors):
    async def storm():
        for _ in range(30):
            reading, writing = os.pipe()
            source, _ = await loop.connect_read_pipe(Reader, opened(reading, 'rb'))
            sink, _ = await loop.connect_write_pipe(Writer, opened(writing, 'wb'))
            sink.write(b'x')
            sink.abort()
            source.close()
        await asyncio.sleep(0.01)

    run(storm())
    before = descriptors()
    run(storm())
    assert descriptors() == before


# --- names ---

def test_numeric_addresses_take_no_thread(loop, run):
    async def main():
        with socket.create_server(('127.0.0.1', 0)) as listener:
            port = listener.getsockname()[1]
            _, writer = await asyncio.open_connection('127.0.0.1', port)
            writer.close()
            with socket.socket() as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, ('127.0.0.1', port))
            transport, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=('127.0.0.1', port))
            transport.close()
        assert loop._default_executor is None
        assert threading.active_count() == threads

    threads = threading.active_count()
    run(main())


def test_names_are_looked_up_by_the_executor(loop, run):
    async def main():
        found = await loop.getaddrinfo('localhost', 80, type=socket.SOCK_STREAM)
        assert any(info[4][:2] in (('127.0.0.1', 80), ('::1', 80)) for info in found)
        assert loop._default_executor is not None
        assert (await loop.getnameinfo(('127.0.0.1', 80),
                                       socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
                == ('127.0.0.1', '80'))
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo('no.such.host.invalid', 80)
        await loop.shutdown_default_executor()

    run(main())

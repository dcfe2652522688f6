"""sendfile and sock_sendfile: what lies in the page cache at once, the rest by splice."""

import asyncio
import errno
import os
import socket

import pytest
import ringlet
from recorder import connected
from ringlet import _sendfile

MEGABYTE = 1024 * 1024


@pytest.fixture
def path(tmp_path):
    """A file of three megabytes and a bit."""
    made = tmp_path / 'file'
    made.write_bytes(os.urandom(3 * MEGABYTE + 12345))
    return made


@pytest.fixture
def small(tmp_path):
    made = tmp_path / 'small'
    made.write_bytes(os.urandom(5000))
    return made


@pytest.fixture(params=['cached', 'spliced'], autouse=True)
def way(request, monkeypatch):
    """How files go: as they would here, where what was written is cached, or by splice."""
    if request.param == 'spliced':
        monkeypatch.setattr(_sendfile, '_is_cached', lambda *part: False)
    return request.param


@pytest.fixture
def splices(loop, monkeypatch):
    """The sizes of the steps that go through the driver."""
    seen = []
    splice = loop._splice

    def counted(*arguments):
        seen.append(arguments[-1])
        return splice(*arguments)

    monkeypatch.setattr(loop, '_splice', counted)
    return seen


async def receive_all(sock, sizes=65536):
    loop = asyncio.get_running_loop()
    data = bytearray()
    while chunk := await loop.sock_recv(sock, sizes):
        data += chunk
    return bytes(data)


async def receive_some(sock, count):
    """At least so much, and what is there then."""
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < count:
        data += await loop.sock_recv(sock, 65536)
    return data


@pytest.mark.parametrize('offset, count', [(0, None), (0, 1), (17, None), (4097, 2 * MEGABYTE),
                                           (MEGABYTE, 100 * MEGABYTE), (0, 256 * 1024),
                                           (3 * MEGABYTE, 256 * 1024 + 1)])
def test_a_part_of_a_file_arrives(run, pair, path, offset, count):
    async def main():
        loop = asyncio.get_running_loop()
        whole = path.read_bytes()
        wanted = whole[offset:] if count is None else whole[offset:offset + count]
        receiving = asyncio.ensure_future(receive_all(pair[1]))
        with open(path, 'rb') as file:
            sent = await loop.sock_sendfile(pair[0], file, offset, count, fallback=False)
            assert sent == len(wanted)
            assert file.tell() == offset + sent
        pair[0].shutdown(socket.SHUT_WR)
        assert await receiving == wanted

    run(main())


def test_what_is_not_cached_goes_through_the_driver(run, pair, small, splices, way):
    async def main():
        loop = asyncio.get_running_loop()
        with open(small, 'rb') as file:
            assert await loop.sock_sendfile(pair[0], file) == 5000
        assert splices == ([] if way == 'cached' else [256 * 1024])
        pair[0].shutdown(socket.SHUT_WR)
        assert await receive_all(pair[1]) == small.read_bytes()

    run(main())


def test_what_the_kernel_has_dropped_is_spliced(run, pair, path, splices):
    async def main():
        loop = asyncio.get_running_loop()
        receiving = asyncio.ensure_future(receive_all(pair[1]))
        with open(path, 'rb') as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), MEGABYTE, 0, os.POSIX_FADV_DONTNEED)
            try:
                os.preadv(file.fileno(), [bytearray(1)], 2 * MEGABYTE, os.RWF_NOWAIT)
                pytest.skip('this file system keeps everything')
            except OSError:
                pass
            assert await loop.sock_sendfile(pair[0], file) == path.stat().st_size
        assert splices
        pair[0].shutdown(socket.SHUT_WR)
        assert await receiving == path.read_bytes()

    run(main())


def test_others_have_their_turn_between_the_pieces(run, path, monkeypatch, way):
    async def main():
        loop = asyncio.get_running_loop()
        calls = []
        monkeypatch.setattr(os, 'sendfile', lambda out, fd, at, count: (
            calls.append(count), min(count, 700_000, path.stat().st_size - at))[1])
        monkeypatch.setattr(loop, '_splice_now', lambda pipe, out, count: (
            calls.append(count), len(os.read(pipe, count)))[1])
        turns = 0

        async def other():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.ensure_future(other())
        with socket.socket() as nobody, open(path, 'rb') as file:
            assert await loop.sock_sendfile(nobody, file) == path.stat().st_size
        task.cancel()
        assert max(calls) <= MEGABYTE
        if way == 'cached':
            assert calls[:2] == [MEGABYTE, MEGABYTE - 700_000]  # no more than is known to be there
        assert turns >= len(calls) - 1 >= 3

    run(main())


def test_an_error_of_the_disk_is_told(run, pair, path, monkeypatch, way):
    if way == 'cached':
        pytest.skip('no disk is asked')

    async def main():
        loop = asyncio.get_running_loop()
        done = []

        def fails(*arguments):
            step = loop.create_future()
            step.set_result(-errno.EIO)
            return step

        def late(fd):
            done.append(fd)
            if len(done) == 2:
                monkeypatch.setattr(loop, '_splice', fails)

        splice_now = loop._splice_now
        monkeypatch.setattr(loop, '_splice_now', lambda *of: (late(of[0]), splice_now(*of))[1])
        receiving = asyncio.ensure_future(receive_all(pair[1]))
        with open(path, 'rb') as file:
            with pytest.raises(OSError) as told:
                await loop.sock_sendfile(pair[0], file)
            assert told.value.errno == errno.EIO
            sent = file.tell()
        pair[0].shutdown(socket.SHUT_WR)
        assert 0 < sent < path.stat().st_size
        assert await receiving == path.read_bytes()[:sent]

    run(main())


def test_a_connection_that_is_gone_in_between_is_a_connection_error(run, pair, path, monkeypatch):
    async def main():
        loop = asyncio.get_running_loop()
        sendfile, splice_now, calls = os.sendfile, loop._splice_now, []

        def count(call, *arguments):
            calls.append(arguments)
            if len(calls) == 2:
                raise OSError(errno.ENOTCONN, 'not connected')
            return call(*arguments)

        monkeypatch.setattr(os, 'sendfile', lambda *of: count(sendfile, *of))
        monkeypatch.setattr(loop, '_splice_now', lambda *of: count(splice_now, *of))
        receiving = asyncio.ensure_future(receive_all(pair[1]))
        with open(path, 'rb') as file, pytest.raises(ConnectionError, match='not connected'):
            await loop.sock_sendfile(pair[0], file)
        pair[0].shutdown(socket.SHUT_WR)
        await receiving

    run(main())


def test_a_transport_sends_a_file_between_what_is_written(run, path):
    async def main():
        loop = asyncio.get_running_loop()
        protocol, peer = await connected()
        peer.setblocking(False)
        receiving = asyncio.ensure_future(receive_all(peer))
        protocol.transport.write(b'before')
        with open(path, 'rb') as file:
            assert await loop.sendfile(protocol.transport, file) == path.stat().st_size
        protocol.transport.write(b'after')
        protocol.transport.close()
        assert await receiving == b'before' + path.read_bytes() + b'after'
        peer.close()

    run(main())


@pytest.mark.parametrize('received', [0, 1, MEGABYTE])
def test_cancelled_the_file_stands_where_what_was_sent_ends(run, pair, path, descriptors,
                                                            received):
    before = descriptors()

    async def main():
        loop = asyncio.get_running_loop()
        with open(path, 'rb') as file:
            sending = asyncio.ensure_future(loop.sock_sendfile(pair[0], file))
            await asyncio.sleep(0)
            got = await receive_some(pair[1], received)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            receiving = asyncio.ensure_future(receive_all(pair[1]))
            rest = await loop.sock_sendfile(pair[0], file, file.tell())
            pair[0].shutdown(socket.SHUT_WR)
            assert rest > 0
            assert got + await receiving == path.read_bytes()

    run(main())
    assert descriptors() == before


def test_a_peer_that_goes_away_is_an_error_and_the_position_tells_how_far(run, pair, path):
    async def main():
        loop = asyncio.get_running_loop()
        with open(path, 'rb') as file:
            sending = asyncio.ensure_future(loop.sock_sendfile(pair[0], file))
            await receive_some(pair[1], MEGABYTE)
            pair[1].close()
            with pytest.raises(ConnectionError):
                await sending
            assert MEGABYTE <= file.tell() < path.stat().st_size

    run(main())


def test_a_file_that_shrinks_meanwhile_ends_early(run, pair, path):
    async def main():
        loop = asyncio.get_running_loop()
        before = path.read_bytes()
        with open(path, 'rb') as file:
            sending = asyncio.ensure_future(loop.sock_sendfile(pair[0], file))
            got = await receive_some(pair[1], MEGABYTE)
            os.truncate(path, 2 * MEGABYTE)
            receiving = asyncio.ensure_future(receive_all(pair[1]))
            sent = await sending
            pair[0].shutdown(socket.SHUT_WR)
            got += await receiving
            assert 2 * MEGABYTE <= sent < len(before)
            assert len(got) == sent == file.tell()
            assert got[:2 * MEGABYTE] == before[:2 * MEGABYTE]

    run(main())


def test_a_socket_that_is_not_connected_is_refused(run, path):
    async def main():
        loop = asyncio.get_running_loop()
        with socket.socket() as sock, open(path, 'rb') as file:
            sock.setblocking(False)
            with pytest.raises(asyncio.SendfileNotAvailableError):
                await loop.sock_sendfile(sock, file, fallback=False)
            assert file.tell() == 0
            with pytest.raises(OSError):
                await loop.sock_sendfile(sock, file)

    run(main())


def test_a_file_closed_with_the_cancel_is_no_other_error_and_no_other_file_moves(run, pair, path,
                                                                                 small):
    async def main():
        loop = asyncio.get_running_loop()
        file = open(path, 'rb')
        sending = asyncio.ensure_future(loop.sock_sendfile(pair[0], file))
        await receive_some(pair[1], 1)
        number = file.fileno()
        sending.cancel()
        file.close()
        with open(small, 'rb', buffering=0) as other:
            assert other.fileno() == number
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert other.tell() == 0

    run(main())


def test_without_a_descriptor_for_a_pipe_the_file_arrives_all_the_same(run, pair, path, way,
                                                                       monkeypatch):
    def fails():
        raise OSError(errno.EMFILE, 'Too many open files')

    monkeypatch.setattr(os, 'pipe', fails)

    async def main():
        loop = asyncio.get_running_loop()
        receiving = asyncio.ensure_future(receive_all(pair[1]))
        with open(path, 'rb') as file:
            await loop.sock_sendfile(pair[0], file, fallback=False)
        pair[0].shutdown(socket.SHUT_WR)
        assert await receiving == path.read_bytes()

    run(main())


def test_a_file_without_a_size_sends_nothing(run, pair):
    async def main():
        with open('/proc/self/status', 'rb') as file:
            loop = asyncio.get_running_loop()
            assert await loop.sock_sendfile(pair[0], file, fallback=False) == 0
            assert await loop.sock_sendfile(pair[0], file, 1 << 40) == 0

    run(main())


def test_a_loop_that_is_closed_meanwhile_leaves_no_descriptor(driver, pair, path, descriptors,
                                                              way):
    before = descriptors()
    loop = ringlet.new_event_loop()
    with open(path, 'rb') as file:
        with_loop = descriptors()
        call = loop.sock_sendfile(pair[0], file)
        call.send(None)  # the first step is under way, and nobody waits for it
        if way == 'spliced':
            assert descriptors() == with_loop + 2
        loop.close()
        call.close()
    assert descriptors() == before

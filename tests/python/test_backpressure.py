"""A protocol that pauses reading holds its peer back, however often it does so."""

import array
import asyncio
import fcntl
import socket
import termios

SIZE = 64 << 20
AHEAD_MAX = 24 << 20  # what sockets, kernel and loop may hold between the two


class Sink(asyncio.Protocol):
    """Pauses at each piece it gets, and goes on in the next turn if `again` says so."""

    def __init__(self, again):
        self.again = again
        self.got = bytearray()
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.got += data
        self.transport.pause_reading()
        if self.again:
            asyncio.get_running_loop().call_soon(self.transport.resume_reading)

    def connection_lost(self, exc):
        self.over.set_result(exc)


async def pair(again):
    loop = asyncio.get_running_loop()
    made = loop.create_future()

    def factory():
        made.set_result(Sink(again))
        return made.result()

    server = await loop.create_server(factory, '127.0.0.1', 0)
    source, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
    server.close()
    return source, await made


def test_a_peer_that_reads_nothing_is_sent_little(run):
    async def main():
        source, sink = await pair(again=False)
        source.write(bytes(SIZE))
        await asyncio.sleep(0.3)
        assert SIZE - source.get_write_buffer_size() < AHEAD_MAX
        assert len(sink.got) < AHEAD_MAX
        source.abort()
        sink.transport.abort()
        await sink.over

    run(main())


def test_a_peer_that_pauses_at_each_piece_gets_all_in_order_and_in_time(run):
    async def main():
        source, sink = await pair(again=True)
        content = bytes(range(256)) * 4096 * 16
        ahead = 0
        for _ in range(4):
            source.write(content)
        source.close()
        while not sink.over.done():
            sent = 4 * len(content) - source.get_write_buffer_size()
            ahead = max(ahead, sent - len(sink.got))
            await asyncio.sleep(0)
        assert await sink.over is None
        assert sink.got == content * 4
        assert ahead < AHEAD_MAX

    run(main())


def test_what_came_before_the_end_is_delivered_before_the_end(run):
    async def main():
        source, sink = await pair(again=False)
        source.write(b'x' * 300_000)
        source.close()
        while len(sink.got) < 300_000:
            assert not sink.over.done()
            sink.transport.resume_reading()
            await asyncio.sleep(0.01)
        sink.transport.resume_reading()
        assert await sink.over is None

    run(main())


def test_a_buffered_protocol_reads_straight_into_its_buffer(run):
    class Tight(asyncio.BufferedProtocol):
        def __init__(self):
            self.buffer = bytearray(10)
            self.got = []
            self.over = asyncio.get_running_loop().create_future()

        def connection_made(self, transport):
            self.transport = transport

        def get_buffer(self, sizehint):
            return self.buffer

        def buffer_updated(self, nbytes):
            self.got.append(bytes(self.buffer[:nbytes]))
            self.transport.pause_reading()

        def connection_lost(self, exc):
            self.over.set_result(exc)

    def left_in_the_kernel(transport):
        count = array.array('i', [0])
        fcntl.ioctl(transport.get_extra_info('socket').fileno(), termios.FIONREAD, count)
        return count[0]

    async def main():
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        transport, protocol = await asyncio.get_running_loop().create_connection(Tight, sock=ours)
        await asyncio.sleep(0.01)
        protocol.buffer.extend(b'..')  # nobody holds it while there is nothing to read
        theirs.sendall(bytes(range(100)))
        for turn in range(1, 9):
            while len(protocol.got) < turn:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.002)
            assert len(protocol.got) == turn
            assert left_in_the_kernel(transport) == 100 - 12 * turn
            transport.resume_reading()
        theirs.close()
        while not protocol.over.done():
            transport.resume_reading()
            await asyncio.sleep(0.001)
        assert b''.join(protocol.got) == bytes(range(100))
        assert await protocol.over is None

    run(main())

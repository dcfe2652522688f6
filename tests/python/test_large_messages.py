"""Large messages: received straight into objects of their size, see stream_receive.cpp."""

import asyncio
import os
import random
import socket
import subprocess
import sys

import pytest


class Collector(asyncio.Protocol):
    def __init__(self):
        self.data = bytearray()
        self.sizes = []
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        assert type(data) is bytes
        self.data += data
        self.sizes.append(len(data))

    def eof_received(self):
        self.ended.set_result(True)

    async def until(self, size):
        while len(self.data) < size:
            await asyncio.sleep(0)


async def connected(factory=Collector):
    """A transport, its protocol, and the plain socket at the other end, which does not wait."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    return *await loop.create_connection(factory, sock=ours), theirs


async def warmed(factory=Collector):
    """The same, when large messages have been received for a while."""
    transport, protocol, peer = await connected(factory)
    loop = asyncio.get_running_loop()
    for _ in range(4):
        before = len(protocol.data)
        await loop.sock_sendall(peer, bytes(1 << 18))
        await protocol.until(before + (1 << 18))
    protocol.data.clear()
    protocol.sizes.clear()
    return transport, protocol, peer


def test_messages_of_all_sizes_arrive_whole_and_in_order(run):
    dice = random.Random(7)
    sizes = [dice.choice([1, 100, 4000, 16 << 10, 40000, 64 << 10, 300000]) for _ in range(150)]
    message = b''.join(dice.randbytes(size) if hasattr(dice, 'randbytes') else os.urandom(size)
                       for size in sizes)

    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol, peer = await connected()

        async def send():
            at = 0
            for size in sizes:
                await loop.sock_sendall(peer, message[at:at + size])
                at += size
                if dice.random() < 0.5:
                    await asyncio.sleep(0)
            peer.shutdown(socket.SHUT_WR)

        async def interrupt():
            while not protocol.ended.done():
                transport.pause_reading()
                await asyncio.sleep(0.001)
                transport.resume_reading()
                await asyncio.sleep(0.003)

        await asyncio.gather(send(), interrupt(), protocol.ended)
        assert protocol.data == message
        peer.close()
        await asyncio.sleep(0)
        assert transport.is_closing()

    run(main())


def test_large_messages_come_in_large_pieces_and_small_ones_still_come(run):
    async def main():
        transport, protocol, peer = await warmed()
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(peer, bytes(1 << 19))
        await protocol.until(1 << 19)
        assert max(protocol.sizes) > 64 << 10
        for number in range(100):
            protocol.data.clear()
            peer.send(b'%d' % number)
            await protocol.until(len(b'%d' % number))
            assert protocol.data == b'%d' % number
        transport.abort()
        peer.close()

    run(main())


@pytest.mark.parametrize('act', ['close', 'abort', 'pause'])
def test_it_is_closed_or_paused_by_what_comes(run, act):
    async def main():
        transport, protocol, peer = await warmed()
        told = []

        def once(data):
            told.append(len(data))
            {'close': transport.close, 'abort': transport.abort,
             'pause': transport.pause_reading}[act]()

        protocol.data_received = once
        loop = asyncio.get_running_loop()
        sending = loop.create_task(loop.sock_sendall(peer, bytes(1 << 20)))
        await asyncio.sleep(0.02)
        assert len(told) == 1
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        transport.abort()
        peer.close()

    run(main())


def test_the_protocol_becomes_another_kind_and_back(run):
    class Lender(asyncio.BufferedProtocol):
        def __init__(self):
            self.data = bytearray()
            self.buffer = bytearray(5000)

        def get_buffer(self, hint):
            return self.buffer

        def buffer_updated(self, count):
            self.data += self.buffer[:count]

        until = Collector.until

    async def main():
        transport, protocol, peer = await warmed()
        loop = asyncio.get_running_loop()
        message = os.urandom(1 << 18)
        for kind in (Lender, Collector, Lender, Collector):
            other = kind()
            transport.set_protocol(other)
            await loop.sock_sendall(peer, message)
            await other.until(len(message))
            assert other.data == message
        reader = asyncio.StreamReader(limit=1 << 20)
        transport.set_protocol(asyncio.StreamReaderProtocol(reader))
        reader.set_transport(transport)
        await loop.sock_sendall(peer, message)
        assert await reader.readexactly(len(message)) == message
        transport.abort()
        peer.close()

    run(main())


def test_the_peer_s_reset_is_told(run):
    async def main():
        server = socket.create_server(('127.0.0.1', 0))
        loop = asyncio.get_running_loop()
        lost = loop.create_future()

        class Told(Collector):
            def connection_lost(self, exception):
                lost.set_result(exception)

        transport, protocol = await loop.create_connection(Told, *server.getsockname())
        peer, _ = server.accept()
        peer.setblocking(False)
        await loop.sock_sendall(peer, bytes(1 << 20))
        await protocol.until(1 << 20)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        peer.close()
        assert isinstance(await lost, ConnectionResetError)
        server.close()

    run(main())


ECHO_OF_LARGE_MESSAGES = '''
import asyncio, resource, socket, ringlet

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

async def main():
    ends = [socket.socketpair() for _ in range(16)]
    for pair in ends:
        pair[0].setblocking(False)
        await asyncio.get_running_loop().create_connection(Echo, sock=pair[0])
    message, buffer = bytes(32768), bytearray(32768)
    for round in range(120):
        if round == 20:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _, peer in ends:
            peer.sendall(message)
        await asyncio.sleep(0.001)
        for _, peer in ends:
            peer.settimeout(0)
            got = 0
            while got < len(message):
                try:
                    got += peer.recv_into(buffer)
                except BlockingIOError:
                    await asyncio.sleep(0)
            peer.settimeout(None)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / (100 * len(ends)))

ringlet.run(main())
'''


@pytest.mark.skipif('libasan' in os.environ.get('LD_PRELOAD', ''), reason='its malloc is its own')
def test_large_messages_do_not_take_their_pages_from_the_kernel_each_time(driver):
    faults = subprocess.run([sys.executable, '-c', ECHO_OF_LARGE_MESSAGES], check=True,
                            capture_output=True, text=True, timeout=60).stdout
    assert float(faults) < 2  # a message has 8 pages

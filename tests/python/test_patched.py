"""What programs put in the place of asyncio's methods, or of their own, is called as in asyncio."""

import asyncio
import socket
import time

import pytest
import ringlet


class Plain(asyncio.Protocol):
    pass


class Bare(asyncio.BaseProtocol):
    pass


async def connected(factory):
    ours, theirs = socket.socketpair()
    theirs.settimeout(20)
    return *await asyncio.get_running_loop().create_connection(factory, sock=ours), theirs


def test_a_callback_that_is_replaced_later_is_called(run):
    async def main():
        got = asyncio.get_running_loop().create_future()
        transport, protocol, peer = await connected(Plain)
        protocol.data_received = got.set_result
        peer.send(b'x')
        assert await got == b'x'
        transport.abort()
        peer.close()

    run(main())


def test_a_buffered_protocol_s_too(run):
    class Lender(asyncio.BufferedProtocol):
        pass

    async def main():
        got = asyncio.get_running_loop().create_future()
        transport, protocol, peer = await connected(Lender)
        protocol.get_buffer = lambda hint: bytearray(10)
        protocol.buffer_updated = got.set_result
        peer.send(b'xy')
        assert await got == 2
        transport.abort()
        peer.close()

    run(main())


def test_a_protocol_need_not_have_the_callback_yet(loop, run):
    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context))

    async def main():
        got = asyncio.get_running_loop().create_future()
        transport, protocol, peer = await connected(Bare)
        transport.set_protocol(Bare())
        transport.get_protocol().data_received = got.set_result
        peer.send(b'x')
        assert await got == b'x'
        transport.set_protocol(Bare())
        peer.send(b'x')
        while not transport.is_closing():
            await asyncio.sleep(0)
        assert [type(each['exception']) for each in reports] == [AttributeError]
        peer.close()

    run(main())


def test_patched_writers_are_left_alone(run, monkeypatch):
    calls = []
    plain = asyncio.StreamWriter.write

    def traced(self, data):
        calls.append(data)
        plain(self, data)

    monkeypatch.setattr(asyncio.StreamWriter, 'write', traced)

    async def serve(reader, writer):
        writer.write(await reader.readexactly(1))
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, '127.0.0.1', 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b'x')
        assert await reader.read() == b'x'
        writer.close()
        server.close()
        assert calls == [b'x', b'x']

    run(main())


def test_a_server_s_protocol_keeps_its_callback(run):
    async def serve(reader, writer):
        protocol = writer.transport.get_protocol()
        for _ in range(100):
            writer.transport.set_protocol(protocol)
        writer.write(b'%d' % (protocol._client_connected_cb is serve))
        writer.close()

    async def main():
        server = await asyncio.start_server(serve, '127.0.0.1', 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b'1'
        writer.close()
        server.close()

    run(main())


def test_a_loop_may_have_a_time_of_its_own(driver):
    class Travelling(ringlet.EventLoop):
        ahead = 0

        def time(self):
            return super().time() + self.ahead

    loop = Travelling()

    async def main():
        loop.call_soon(setattr, loop, 'ahead', 1000)
        began = time.monotonic()
        await asyncio.sleep(500)
        assert time.monotonic() - began < 5
        handle = loop.call_later(0.01, told.append, 'later')
        assert 0 < handle.when() - loop.time() <= 0.01
        loop.call_at(loop.time() + 0.02, told.append, 'at')
        await asyncio.sleep(0.05)
        assert told == ['later', 'at']

    told = []
    loop.run_until_complete(main())
    loop.close()


def test_what_its_time_raises_ends_the_run(driver):
    class Broken(ringlet.EventLoop):
        broken = False

        def time(self):
            if self.broken:
                raise ZeroDivisionError
            return super().time()

    loop = Broken()
    loop.call_later(0.01, print)
    loop.call_soon(setattr, loop, 'broken', True)
    with pytest.raises(ZeroDivisionError):
        loop.run_forever()
    loop.broken = False
    loop.close()


@pytest.mark.parametrize('truth', [1, None, 'yes', []])
def test_debug_mode_takes_what_is_true_or_false(loop, truth):
    loop.set_debug(truth)
    assert loop.get_debug() is bool(truth)
    loop.set_debug(False)

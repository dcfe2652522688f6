"""Many connections and many loops: nothing is left behind of them."""

import asyncio
import gc
import threading

import pytest
import ringlet


def test_a_thousand_connections_leave_nothing_behind(run, descriptors):
    async def echo(reader, writer):
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    async def client(port):
        reader, writer = await asyncio.open_connection('127.0.0.1', port)
        writer.write(b'ping')
        assert await reader.readexactly(4) == b'ping'
        writer.close()
        await writer.wait_closed()

    async def main():
        server = await asyncio.start_server(echo, '127.0.0.1', 0, backlog=200)
        port = server.sockets[0].getsockname()[1]
        counts = []
        for _ in range(11):
            await asyncio.gather(*(client(port) for _ in range(100)))
            await asyncio.sleep(0.05)
            transports = sum(isinstance(o, asyncio.Transport) for o in gc.get_objects())
            counts.append((descriptors(), transports))
        assert counts[-1][0] <= counts[0][0] and counts[-1][1] <= counts[0][1]
        server.close()
        await server.wait_closed()

    run(main())


def test_storms_of_cancellation_leave_a_working_loop(run, descriptors):
    async def silent(reader, writer):
        try:
            await reader.read()
        finally:
            writer.close()

    async def client(port):
        _, writer = await asyncio.open_connection('127.0.0.1', port)
        try:
            while True:
                writer.write(b'x' * 100_000)
                await writer.drain()
        finally:
            writer.transport.abort()

    async def main():
        server = await asyncio.start_server(silent, '127.0.0.1', 0)
        port = server.sockets[0].getsockname()[1]
        before = descriptors()
        for delay in (0, 0.001, 0.01, 0.03):
            tasks = [asyncio.ensure_future(client(port)) for _ in range(50)]
            await asyncio.sleep(delay)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(100):
            if descriptors() <= before:
                break
            await asyncio.sleep(0.02)
        assert descriptors() <= before
        server.close()

    run(main())


def test_ten_thousand_loops_leave_nothing_behind(driver, descriptors):
    def resident_kib():
        with open('/proc/self/status', encoding='ascii') as status:
            return next(int(line.split()[1]) for line in status if line.startswith('RssAnon'))

    def some(count):
        for _ in range(count):
            loop = ringlet.new_event_loop()
            loop.call_soon(loop.stop)
            loop.run_forever()
            loop.close()
        return descriptors(), resident_kib()

    open_before, before = some(500)
    open_after, after = some(10_000)
    assert open_after == open_before
    assert after - before < 2048


@pytest.mark.filterwarnings('ignore::ResourceWarning')  # a recorded one would keep its transport
def test_loops_are_closed_with_their_transports_open(driver, descriptors):
    async def main():
        accepted = []  # newer Pythons close a connection whose writer is gone
        server = await asyncio.start_server(lambda r, w: accepted.append(w), '127.0.0.1', 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection('127.0.0.1', port)
        writer.write(b'x' * (16 * 1024 * 1024))
        return server, writer, accepted

    def once():
        loop = ringlet.new_event_loop()
        kept = loop.run_until_complete(main())
        loop.close()
        with pytest.raises(RuntimeError, match='closed'):
            kept[1].transport.abort()

    once()
    before = descriptors()
    for _ in range(20):
        once()
    assert descriptors() == before


@pytest.mark.filterwarnings('ignore::ResourceWarning')
def test_what_was_lost_as_its_loop_was_closed_can_be_garbage(driver, descriptors):
    class Newer:
        pass

    async def main():
        server = await asyncio.start_server(lambda r, w: w.transport.abort(), '127.0.0.1', 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection('127.0.0.1', port)
        writer.write(b'x' * (16 * 1024 * 1024))
        return server, writer

    def once():
        loop = ringlet.new_event_loop()
        server, writer = loop.run_until_complete(main())
        loop.close()
        assert 'closed' in repr(writer.transport)  # makes its socket object
        newer = Newer()  # than the socket, and so it is taken apart after it
        newer.cycle = newer
        newer.transport = writer.transport

    once()
    gc.collect()
    before = descriptors()
    for _ in range(5):
        once()
        gc.collect()
    assert descriptors() == before


def test_loops_in_several_threads_do_not_disturb_each_other(driver):
    async def echo(reader, writer):
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    async def main():
        server = await asyncio.start_server(echo, '127.0.0.1', 0)
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection('127.0.0.1', port)
        for i in range(200):
            writer.write(b'%04d' % i)
            assert await reader.readexactly(4) == b'%04d' % i
        writer.close()
        await writer.wait_closed()
        server.close()
        passed.append(True)

    passed = []
    threads = [threading.Thread(target=ringlet.run, args=(main(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert passed == [True] * 4

"""TLS on the loop: the native path and the way back to CPython's, on both drivers."""

import asyncio
import os
import ssl
import subprocess
import weakref

import pytest
import ringlet

pytestmark = pytest.mark.skipif(not hasattr(asyncio, 'timeout'),
                                reason='the native path begins with CPython 3.11')


@pytest.fixture(scope='module')
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp('certificate')
    paths = str(folder / 'cert.pem'), str(folder / 'key.pem')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                    'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost',
                    '-addext', 'subjectAltName=DNS:localhost', '-out', paths[0], '-keyout',
                    paths[1]], check=True, capture_output=True)
    return paths


@pytest.fixture
def contexts(certificate):
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificate)
    return server, ssl.create_default_context(cafile=certificate[0])


@pytest.fixture(params=['uring', 'epoll'])
def run(request, monkeypatch):
    """Runs a coroutine on a loop of each driver; what reaches the exception handler fails it."""
    monkeypatch.setenv('RINGLET_DRIVER', request.param)

    def runner(coroutine, allowed=0):
        failures = []

        async def main():
            loop = asyncio.get_running_loop()
            assert loop.driver == request.param
            loop.set_exception_handler(lambda loop, context: failures.append(context))
            return await asyncio.wait_for(coroutine, 60)

        result = ringlet.run(main())
        assert len(failures) == allowed, failures
        return result

    return runner


class Recorder(asyncio.Protocol):
    def __init__(self):
        loop = asyncio.get_running_loop()
        self.events = []
        self.received = bytearray()
        self.lost = loop.create_future()
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        self.events.append('made')

    def data_received(self, data):
        assert type(data) is bytes
        self.received += data

    def eof_received(self):
        self.events.append('eof')

    def pause_writing(self):
        self.events.append('pause')

    def resume_writing(self):
        self.events.append('resume')

    def connection_lost(self, error):
        self.events.append('lost')
        self.lost.set_result(error)


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


async def serve(protocol, context):
    server = await asyncio.get_running_loop().create_server(protocol, '127.0.0.1', 0, ssl=context)
    return server, server.sockets[0].getsockname()[1]


async def connect(port, context, protocol=Recorder):
    return await asyncio.get_running_loop().create_connection(
        protocol, '127.0.0.1', port, ssl=context, server_hostname='localhost')


def test_the_native_path_is_taken():
    assert ringlet._tls.backend == 'native'


@pytest.mark.parametrize('size', [1, 256, 16384, 16385, 300_000, 3_000_000])
def test_messages_of_all_sizes_come_back_whole(run, contexts, size):
    async def main():
        server, port = await serve(Echo, contexts[0])
        transport, recorder = await connect(port, contexts[1])
        data = os.urandom(size)
        transport.write(data)
        await until(lambda: len(recorder.received) >= size)
        assert recorder.received == data
        transport.close()
        assert await recorder.lost is None
        server.close()

    run(main())


def test_the_callers_buffer_may_change_after_write(run, contexts):
    async def main():
        server, port = await serve(Echo, contexts[0])
        transport, recorder = await connect(port, contexts[1])
        data = bytearray(b'a' * 1000)
        transport.write(data)
        data[:] = b'b' * 1000
        transport.write(memoryview(data))
        transport.writelines([b'c', bytearray(b'd')])
        await until(lambda: len(recorder.received) == 2002)
        assert recorder.received == b'a' * 1000 + b'b' * 1000 + b'cd'
        with pytest.raises(TypeError):
            transport.write('text')
        transport.write(b'')
        transport.abort()
        await recorder.lost
        server.close()

    run(main())


def test_a_writer_is_paused_and_resumed(run, contexts):
    async def main():
        receivers = []

        def receiver():
            receivers.append(Recorder())
            return receivers[-1]

        server, port = await serve(receiver, contexts[0])
        transport, recorder = await connect(port, contexts[1])
        await until(lambda: receivers and receivers[0].transport)
        receivers[0].transport.pause_reading()
        transport.set_write_buffer_limits(high=100_000)
        sent = 0
        while 'pause' not in recorder.events:
            transport.write(b'x' * 65536)
            sent += 65536
            await asyncio.sleep(0)
            assert sent < 200_000_000
        assert transport.get_write_buffer_size() > 0
        receivers[0].transport.resume_reading()
        await until(lambda: len(receivers[0].received) == sent)
        await until(lambda: 'resume' in recorder.events)
        transport.close()
        await recorder.lost
        await receivers[0].lost
        assert receivers[0].events == ['made', 'eof', 'lost']
        server.close()

    run(main())


def test_a_paused_reader_gets_nothing_until_it_resumes(run, contexts):
    async def main():
        server, port = await serve(Echo, contexts[0])
        transport, recorder = await connect(port, contexts[1])
        transport.pause_reading()
        transport.write(b'x' * 500_000)
        await asyncio.sleep(0.1)
        assert not recorder.received
        transport.resume_reading()
        await until(lambda: len(recorder.received) == 500_000)
        transport.close()
        await recorder.lost
        server.close()

    run(main())


def test_what_waited_comes_before_what_arrives_while_reading_resumes(run, contexts):
    async def main():
        servers = []

        def server_side():
            servers.append(Recorder())
            return servers[-1]

        server, port = await serve(server_side, contexts[0])
        transport, recorder = await connect(port, contexts[1])
        await until(lambda: servers and servers[0].transport)
        transport.pause_reading()
        servers[0].transport.write(b'one')
        await asyncio.sleep(0.05)
        servers[0].transport.write(b'two')
        transport.resume_reading()
        await until(lambda: len(recorder.received) == 6)
        assert recorder.received == b'onetwo'
        transport.close()
        await recorder.lost
        server.close()

    run(main())


def test_closing_inside_data_received_ends_it_there(run, contexts):
    class Once(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.close()

    async def main():
        server, port = await serve(Echo, contexts[0])
        transport, recorder = await connect(port, contexts[1], Once)
        transport.write(b'one')
        assert await recorder.lost is None
        assert recorder.events == ['made', 'lost'] or recorder.events == ['made', 'eof', 'lost']
        server.close()

    run(main())


def test_an_exception_in_data_received_is_fatal_and_told(run, contexts):
    class Bad(Recorder):
        def data_received(self, data):
            raise ValueError('bad')

    async def main():
        server, port = await serve(Echo, contexts[0])
        transport, recorder = await connect(port, contexts[1], Bad)
        transport.write(b'one')
        assert isinstance(await recorder.lost, ValueError)
        server.close()

    run(main(), allowed=1)


def test_bytes_that_are_no_record_are_an_ssl_error(run, contexts):
    async def main():
        recorders = []

        def recorder():
            recorders.append(Recorder())
            return recorders[-1]

        server, port = await serve(recorder, contexts[0])
        transport, _ = await connect(port, contexts[1])
        await until(lambda: recorders and recorders[0].transport)
        raw = transport.get_extra_info('socket')
        os.write(raw.fileno(), b'this is no TLS record at all')
        error = await recorders[0].lost
        assert isinstance(error, ssl.SSLError), error
        transport.abort()
        server.close()

    run(main())


def test_a_plain_connection_becomes_tls(run, contexts):
    async def main():
        loop = asyncio.get_running_loop()

        class Upgrades(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport

            def data_received(self, data):
                assert data == b'STARTTLS'
                self.transport.write(b'go')
                self.task = loop.create_task(self.upgrade())

            async def upgrade(self):
                inner = Recorder()
                secure = await loop.start_tls(self.transport, inner, contexts[0], server_side=True)
                await until(lambda: inner.received)
                secure.write(inner.received)

        server, port = await serve(Upgrades, None)
        transport, recorder = await loop.create_connection(Recorder, '127.0.0.1', port)
        transport.write(b'STARTTLS')
        await until(lambda: recorder.received == b'go')
        inner = Recorder()
        secure = await loop.start_tls(transport, inner, contexts[1], server_hostname='localhost')
        secure.write(b'over TLS')
        await until(lambda: inner.received == b'over TLS')
        assert secure.get_extra_info('ssl_object').version() == 'TLSv1.3'
        assert secure.get_extra_info('peername')[1] == port
        secure.close()
        await inner.lost
        server.close()
        with pytest.raises(TypeError):
            await loop.start_tls(object(), inner, contexts[1])
        with pytest.raises(TypeError):
            await loop.start_tls(transport, inner, None)

    run(main())


def test_tls_runs_in_tls(run, contexts):
    async def main():
        loop = asyncio.get_running_loop()

        class Outer(Echo):
            """The server's outer layer; after the first byte, a second one inside of it."""

            def data_received(self, data):
                self.task = loop.create_task(self.upgrade())

            async def upgrade(self):
                inner = Recorder()
                self.transport.write(b'?')  # what the client sends from now on is for the inner one
                twice = await loop.start_tls(self.transport, inner, contexts[0], server_side=True)
                await until(lambda: len(inner.received) == 200_000)
                twice.write(inner.received)

        server, port = await serve(Outer, contexts[0])
        transport, recorder = await connect(port, contexts[1])
        transport.write(b'!')
        await until(lambda: recorder.received == b'?')
        inner = Recorder()
        twice = await loop.start_tls(transport, inner, contexts[1], server_hostname='localhost')
        data = os.urandom(200_000)
        twice.write(data)
        await until(lambda: len(inner.received) == len(data))
        assert inner.received == data
        twice.close()
        await inner.lost
        server.close()

    run(main())


def test_buffered_protocols_are_filled(run, contexts):
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self):
            self.buffer = bytearray(1000)
            self.received = bytearray()

        def get_buffer(self, hint):
            return self.buffer

        def buffer_updated(self, count):
            self.received += self.buffer[:count]

    async def main():
        server, port = await serve(Echo, contexts[0])
        transport, protocol = await connect(port, contexts[1], Buffered)
        data = os.urandom(50_000)
        transport.write(data)
        await until(lambda: len(protocol.received) == len(data))
        assert protocol.received == data
        transport.close()
        await asyncio.sleep(0.05)
        server.close()

    run(main())


class Equal:
    """Equal to whatever it is compared with; comparing calls a function."""

    def __init__(self, function):
        self.function = function

    def __hash__(self):
        return hash(-1)

    def __eq__(self, other):
        self.function()
        return True


class ListOfEquals(asyncio.Protocol, list):
    data_received = list.remove  # native code: nothing but its caller holds the protocol

    def __init__(self, function):
        self.append(Equal(function))


class DictOfEquals(asyncio.BufferedProtocol, dict):
    get_buffer = dict.__getitem__

    def __init__(self, function):
        self[Equal(function)] = bytearray(100)


@pytest.mark.parametrize('kind', [ListOfEquals, DictOfEquals])
def test_a_protocol_that_takes_its_own_place_away_lives_until_it_returns(run, contexts, kind):
    class Next(asyncio.BufferedProtocol):
        def get_buffer(self, hint):
            return bytearray(100)

        def buffer_updated(self, count):
            counts.append(count)

    counts = []
    transports = []
    alive = []
    watched = None

    def replace():
        if transports:
            transports.pop().set_protocol(Next())
            alive.append(watched() is not None)

    async def main():
        nonlocal watched
        server, port = await serve(Echo, contexts[0])
        transport, protocol = await connect(port, contexts[1], lambda: kind(replace))
        watched = weakref.ref(protocol)
        del protocol
        transports.append(transport)
        transport.write(b'one')
        await until(lambda: alive)
        assert alive == [True]
        assert watched() is None
        transport.write(b'three')
        await until(lambda: 5 in counts)
        transport.close()
        await asyncio.sleep(0.05)
        server.close()

    run(main())


def test_a_certificate_that_is_not_trusted_is_refused(run, contexts):
    async def main():
        server, port = await serve(Echo, contexts[0])
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(port, ssl.create_default_context())
        await asyncio.sleep(0.05)
        server.close()

    run(main())


def test_tls_begun_twice_without_a_word_in_between(run, contexts):
    async def serve_twice(reader, writer):
        await writer.start_tls(contexts[0])
        await writer.start_tls(contexts[0])
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    async def main():
        server = await asyncio.start_server(serve_twice, '127.0.0.1', 0)
        for _ in range(10):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            await writer.start_tls(contexts[1], server_hostname='localhost')
            await writer.start_tls(contexts[1], server_hostname='localhost')
            writer.write(b'hello\n')
            assert await asyncio.wait_for(reader.readline(), 10) == b'HELLO\n'
            writer.close()
        server.close()

    run(main())


def test_a_protocol_that_pauses_after_start_tls_gets_nothing_before_it_resumes(run, contexts):
    async def serve_word(reader, writer):
        await writer.start_tls(contexts[0])
        writer.write(b'word')
        writer.close()

    async def main():
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(serve_word, '127.0.0.1', 0)
        transport, _ = await loop.create_connection(Recorder, *server.sockets[0].getsockname())
        inner = Recorder()
        secure = await loop.start_tls(transport, inner, contexts[1], server_hostname='localhost')
        secure.pause_reading()
        await asyncio.sleep(0.05)
        assert not inner.received
        secure.resume_reading()
        await until(lambda: bytes(inner.received) == b'word')
        secure.close()
        server.close()

    run(main())

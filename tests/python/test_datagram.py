"""loop.create_datagram_endpoint: transports of datagrams."""

import asyncio
import contextvars
import gc
import os
import socket
import sys
import warnings
import weakref
from asyncio import selector_events

import pytest
import ringlet

from sockets import settle


class Recorder(asyncio.DatagramProtocol):
    """Records what it is told, and tells who waits for a number of events."""

    def __init__(self):
        self.transport = None
        self.received = []
        self.errors = []
        self.flow = []
        self.lost = None
        self.changed = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        self.received.append((data, addr))
        self.changed.set()

    def error_received(self, exc):
        self.errors.append(exc)
        self.changed.set()

    def connection_lost(self, exc):
        self.lost = [exc]
        self.changed.set()

    def pause_writing(self):
        self.flow.append('pause')

    def resume_writing(self):
        self.flow.append('resume')
        self.changed.set()

    async def until(self, condition):
        while not condition(self):
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 10)


class Echo(Recorder):
    def datagram_received(self, data, addr):
        super().datagram_received(data, addr)
        self.transport.sendto(data, addr)


def has_v6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(('::1', 0))
    except OSError:
        return False
    return True


HOSTS = ['127.0.0.1', pytest.param('::1', marks=pytest.mark.skipif(not has_v6(), reason='no v6'))]


async def endpoint(loop, factory=Recorder, **options):
    options = options or {'local_addr': ('127.0.0.1', 0)}
    return await loop.create_datagram_endpoint(factory, **options)


# --- there and back ---

@pytest.mark.parametrize('host', HOSTS)
def test_datagrams_go_there_and_back(loop, run, host):
    async def main():
        server, echo = await endpoint(loop, Echo, local_addr=(host, 0))
        client, recorder = await endpoint(loop, local_addr=(host, 0))
        assert isinstance(server, asyncio.DatagramTransport)
        there = server.get_extra_info('sockname')
        client.sendto(b'one', there)
        client.sendto(bytearray(b'two'), there[:2])
        client.sendto(memoryview(b'three'), tuple(there))
        await recorder.until(lambda r: len(r.received) == 3)
        assert recorder.received == [(b'one', there), (b'two', there), (b'three', there)]
        assert {addr for _, addr in echo.received} == {client.get_extra_info('sockname')}
        assert all(type(data) is bytes for data, _ in recorder.received)
        server.close()
        client.close()

    run(main())


def test_a_connected_endpoint_needs_no_address(loop, run):
    async def main():
        server, _ = await endpoint(loop, Echo)
        there = server.get_extra_info('sockname')
        client, recorder = await endpoint(loop, remote_addr=there)
        assert client.get_extra_info('peername') == there
        client.sendto(b'a')
        client.sendto(b'b', None)
        client.sendto(b'c', there)
        await recorder.until(lambda r: len(r.received) == 3)
        assert [data for data, _ in recorder.received] == [b'a', b'b', b'c']
        with pytest.raises(ValueError, match='Invalid address: must be None or'):
            client.sendto(b'd', ('127.0.0.1', 9))
        server.close()
        client.close()

    run(main())


def test_unix_datagrams_have_paths_for_addresses(loop, run, tmp_path):
    async def main():
        names = [str(tmp_path / name) for name in ('one', 'two')]
        server, echo = await endpoint(loop, Echo, local_addr=names[0], family=socket.AF_UNIX)
        client, recorder = await endpoint(loop, local_addr=names[1], family=socket.AF_UNIX)
        client.sendto(b'hello', names[0])
        await recorder.until(lambda r: r.received)
        assert recorder.received == [(b'hello', names[0])]
        assert echo.received == [(b'hello', names[1])]
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless:
            nameless.sendto(b'who', names[0])
            with warnings.catch_warnings():
                loop.set_exception_handler(lambda *_: None)  # it cannot be answered
                await echo.until(lambda r: len(r.received) == 2)
        assert echo.received[1] == (b'who', None)
        server.close()
        client.close()

    run(main())


def test_many_senders_are_told_apart(loop, run):
    async def main():
        server, recorder = await endpoint(loop)
        there = server.get_extra_info('sockname')
        senders = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(200)]
        for number, each in enumerate(senders):
            each.bind(('127.0.0.1', 0))
            each.sendto(b'%d' % number, there)
            await recorder.until(lambda r, n=number: len(r.received) > n)
        assert recorder.received == [(b'%d' % number, each.getsockname())
                                     for number, each in enumerate(senders)]
        for _, addr in recorder.received:
            server.sendto(b'back', addr)
        for each in senders:
            assert each.recv(10) == b'back'
            each.close()
        server.close()

    run(main())


def test_the_order_of_a_burst_is_kept(loop, run):
    async def main():
        server, recorder = await endpoint(loop)
        client, _ = await endpoint(loop, remote_addr=server.get_extra_info('sockname'))
        for number in range(100):
            client.sendto(b'%d' % number)
        await recorder.until(lambda r: len(r.received) == 100)
        assert [int(data) for data, _ in recorder.received] == list(range(100))
        server.close()
        client.close()

    run(main())


@pytest.mark.parametrize('size', [1, 1472, 9000, 65507])
def test_datagrams_of_every_size_are_whole(loop, run, size):
    async def main():
        server, recorder = await endpoint(loop)
        client, _ = await endpoint(loop, remote_addr=server.get_extra_info('sockname'))
        message = os.urandom(size)
        client.sendto(message)
        await recorder.until(lambda r: r.received)
        assert recorder.received[0][0] == message
        server.close()
        client.close()

    run(main())


def test_an_empty_datagram_is_received(loop, run):
    async def main():
        server, recorder = await endpoint(loop)
        client, _ = await endpoint(loop, remote_addr=server.get_extra_info('sockname'))
        client.get_extra_info('socket')
        with socket.socket(type=socket.SOCK_DGRAM) as plain:
            plain.sendto(b'', server.get_extra_info('sockname'))
            await recorder.until(lambda r: r.received)
        assert recorder.received[0][0] == b''
        client.sendto(b'')
        client.sendto(b'x')
        await recorder.until(lambda r: r.received[-1][0] == b'x')
        sent_empty = len(recorder.received) == 3
        assert sent_empty == (sys.version_info >= (3, 13))
        server.close()
        client.close()

    run(main())


def test_names_are_resolved_by_the_socket(loop, run):
    async def main():
        server, recorder = await endpoint(loop)
        client, _ = await endpoint(loop)
        client.sendto(b'x', ('localhost', server.get_extra_info('sockname')[1]))
        await recorder.until(lambda r: r.received)
        server.close()
        client.close()

    run(main())


# --- errors ---

def test_nobody_listening_is_told_to_a_connected_endpoint(loop, run):
    async def main():
        with socket.socket(type=socket.SOCK_DGRAM) as gone:
            gone.bind(('127.0.0.1', 0))
            there = gone.getsockname()
        client, recorder = await endpoint(loop, remote_addr=there)
        client.sendto(b'x')
        await recorder.until(lambda r: r.errors)
        assert isinstance(recorder.errors[0], ConnectionRefusedError)
        assert not client.is_closing()
        # The next one that is sent may be told of it as well; the transport works on.
        with socket.socket(type=socket.SOCK_DGRAM) as back:
            back.bind(there)
            client.sendto(b'y')
            client.sendto(b'z')
            assert back.recv(10) in (b'y', b'z')
        client.close()

    run(main())


def test_what_cannot_be_sent_is_told(loop, run):
    async def main():
        client, recorder = await endpoint(loop)
        client.sendto(bytes(70000), client.get_extra_info('sockname'))
        assert len(recorder.errors) == 1 and recorder.errors[0].errno == 90  # EMSGSIZE
        for wrong in ('text', 17, None, [b'x']):
            with pytest.raises(TypeError, match='data argument must be a bytes-like object'):
                client.sendto(wrong, client.get_extra_info('sockname'))
        with pytest.raises(TypeError):
            client.sendto()
        with pytest.raises(TypeError):
            client.sendto(b'x', None, None)
        with pytest.raises(TypeError):
            client.sendto(b'x', address=None)
        assert not client.is_closing()
        client.close()

    run(main())


@pytest.mark.parametrize('address', [('127.0.0.1', 'port'), ('127.0.0.1', -1), 17, ('127.0.0.1',),
                                     ('127.0.0.1', 1 << 40), (b'\xff', 1)])
def test_a_senseless_address_is_fatal_as_in_asyncio(loop, run, address):
    async def main():
        said = []
        loop.set_exception_handler(lambda _, context: said.append(context))
        client, recorder = await endpoint(loop)
        client.sendto(b'x', address)
        await recorder.until(lambda r: r.lost or r.errors)
        if recorder.lost:
            assert said[0]['message'] == 'Fatal write error on datagram transport'
            assert said[0]['transport'] is client
        client.close()

    run(main())


def test_an_exception_in_a_callback_is_reported_and_no_end(loop, run):
    class Failing(Recorder):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            raise RuntimeError(data.decode())

    async def main():
        said = []
        loop.set_exception_handler(lambda _, context: said.append(context))
        server, recorder = await endpoint(loop, Failing)
        for word in (b'one', b'two'):
            server.sendto(word, server.get_extra_info('sockname'))
        await recorder.until(lambda r: len(r.received) == 2)
        assert [str(context['exception']) for context in said] == ['one', 'two']
        assert not server.is_closing()
        server.close()

    run(main())


def test_a_keyboard_interrupt_in_a_callback_ends_the_run(loop):
    class Interrupting(Recorder):
        def datagram_received(self, data, addr):
            raise KeyboardInterrupt

    async def main():
        server, _ = await endpoint(loop, Interrupting)
        server.sendto(b'x', server.get_extra_info('sockname'))
        try:
            await asyncio.sleep(10)
        finally:
            server.close()

    task = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.run_until_complete(settle())


# --- flow ---

def test_a_full_socket_pauses_the_protocol_and_keeps_the_order(loop, run, tmp_path):
    async def main():
        name = str(tmp_path / 'slow')
        slow = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        slow.bind(name)
        slow.setblocking(False)
        client, recorder = await endpoint(loop, remote_addr=name, family=socket.AF_UNIX)
        client.set_write_buffer_limits(high=2000)
        assert client.get_write_buffer_limits() == (500, 2000)
        sent = 0
        while not recorder.flow:
            client.sendto(b'%06d' % sent * 50)
            sent += 1
            assert sent < 10000
        assert client.get_write_buffer_size() > 2000
        assert 'write=<polling' in repr(client)
        got = []
        while len(got) < sent:
            try:
                got.append(int(slow.recv(1000)[:6]))
            except BlockingIOError:
                await asyncio.sleep(0.001)
        assert got == list(range(sent))
        await recorder.until(lambda r: r.flow[-1] == 'resume')
        assert recorder.flow == ['pause', 'resume']
        client.close()
        slow.close()

    run(main())


def test_close_sends_what_is_buffered_and_abort_does_not(loop, run, tmp_path):
    async def main():
        for end in ('close', 'abort'):
            name = str(tmp_path / end)
            slow = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            slow.bind(name)
            slow.setblocking(False)
            client, recorder = await endpoint(loop, remote_addr=name, family=socket.AF_UNIX)
            sent = 0
            while client.get_write_buffer_size() < 1000:
                client.sendto(b'%06d' % sent)
                sent += 1
            getattr(client, end)()
            assert client.is_closing()
            got = 0
            for _ in range(2000):
                try:
                    slow.recv(1000)
                    got += 1
                except BlockingIOError:
                    if recorder.lost:
                        break
                    await asyncio.sleep(0.001)
            assert recorder.lost == [None]
            assert (got == sent) == (end == 'close')
            slow.close()

    run(main())


@pytest.mark.skipif('pause_reading' not in vars(selector_events._SelectorTransport),
                    reason='asyncio has no pause_reading for datagrams here')
def test_pausing_holds_datagrams_back_in_order(loop, run):
    class Pausing(Recorder):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            self.transport.pause_reading()

    async def main():
        server, recorder = await endpoint(loop, Pausing)
        with socket.socket(type=socket.SOCK_DGRAM) as plain:
            for number in range(12):
                plain.sendto(b'%d' % number, server.get_extra_info('sockname'))
        for number in range(12):
            await recorder.until(lambda r, n=number: len(r.received) == n + 1)
            await asyncio.sleep(0.002)
            assert len(recorder.received) == number + 1
            server.resume_reading()
        assert [int(data) for data, _ in recorder.received] == list(range(12))
        server.close()

    run(main())


# --- ends ---

def test_nothing_is_received_after_close(loop, run):
    class Closing(Recorder):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            self.transport.close()

    async def main():
        server, recorder = await endpoint(loop, Closing)
        there = server.get_extra_info('sockname')
        for _ in range(5):
            server.sendto(b'x', there)
        await recorder.until(lambda r: r.lost)
        await settle()
        assert recorder.lost == [None] and len(recorder.received) == 1
        # The address is free again.
        with socket.socket(type=socket.SOCK_DGRAM) as again:
            again.bind(there)
        server.sendto(b'x', there)
        server.close()
        server.abort()

    run(main())


def test_extra_info_and_repr_are_those_of_asyncio(loop, run):
    async def main():
        server, recorder = await endpoint(loop)
        info = server.get_extra_info
        assert type(info('socket')).__name__ == 'TransportSocket'
        assert info('sockname') == info('socket').getsockname()
        assert info('peername') is None and info('nothing', 17) == 17
        assert server.get_protocol() is recorder
        assert 'read=polling' in repr(server) and 'idle, bufsize=0' in repr(server)
        with pytest.raises(RuntimeError, match='is used by transport'):
            loop.add_reader(info('socket').fileno(), print)
        server.close()
        assert 'closing' in repr(server)
        await settle()
        assert 'closed' in repr(server)

    run(main())


def test_callbacks_have_the_context_of_the_maker(loop, run):
    variable = contextvars.ContextVar('variable', default='none')
    seen = []

    class Looking(Recorder):
        def datagram_received(self, data, addr):
            seen.append(variable.get())
            variable.set('left behind')
            super().datagram_received(data, addr)

    async def main():
        variable.set('maker')
        server, recorder = await endpoint(loop, Looking)
        variable.set('other')
        server.sendto(b'x', server.get_extra_info('sockname'))
        await recorder.until(lambda r: r.received)
        assert variable.get() == 'other'
        server.close()

    run(main())
    assert seen == ['maker']


def test_sockets_of_the_program_are_taken_over(loop, run):
    async def main():
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        left.setblocking(False)
        transport, recorder = await endpoint(loop, sock=left)
        right.send(b'hello')
        await recorder.until(lambda r: r.received)
        assert recorder.received == [(b'hello', None)]
        transport.close()
        await settle()
        assert left.fileno() == -1
        right.close()

    run(main())


def test_endpoints_come_and_go_and_leave_nothing(loop, run, descriptors):
    async def storm(rounds):
        for _ in range(rounds):
            server, recorder = await endpoint(loop, Echo)
            client, _ = await endpoint(loop, remote_addr=server.get_extra_info('sockname'))
            client.sendto(b'x')
            await asyncio.sleep(0)
            client.abort()
            server.close()
            task = asyncio.ensure_future(endpoint(loop))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(0.01)

    run(storm(10))
    gc.collect()
    before = descriptors(), len(gc.get_objects())
    blocks = sys.getallocatedblocks()
    run(storm(200))
    gc.collect()
    assert descriptors() == before[0]
    assert abs(len(gc.get_objects()) - before[1]) < 50
    assert sys.getallocatedblocks() - blocks < 400


def test_an_endpoint_left_open_warns_and_is_collected(driver, descriptors):
    before = descriptors()
    for _ in range(5):
        loop = ringlet.new_event_loop()
        transport, protocol = loop.run_until_complete(endpoint(loop))
        gone = weakref.ref(protocol)
        loop.close()
        del loop, protocol
        with pytest.warns(ResourceWarning, match='unclosed transport'):
            del transport
            gc.collect()
        assert gone() is None
    assert descriptors() == before


def test_a_loop_dropped_with_an_endpoint_is_collected(driver, descriptors):
    before = descriptors()
    for _ in range(5):
        loop = ringlet.new_event_loop()
        loop.run_until_complete(endpoint(loop))
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', ResourceWarning)
            del loop
            gc.collect()
    assert descriptors() == before


def test_what_was_ready_before_runs_before_the_datagram_is_given(loop):
    order = []

    class Ordered(Recorder):
        def datagram_received(self, data, addr):
            order.append(data)

    server, _ = loop.run_until_complete(endpoint(loop, Ordered))
    server.sendto(b'datagram', server.get_extra_info('sockname'))
    loop.call_soon(order.append, 'ready')
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    assert order == ['ready', b'datagram']
    server.close()
    loop.run_until_complete(settle())


def test_the_sockets_of_a_pair_need_no_address(run):
    class Receiver(asyncio.DatagramProtocol):
        def __init__(self):
            self.got = asyncio.Queue()

        def datagram_received(self, data, addr):
            self.got.put_nowait((data, addr))

    async def main():
        loop = asyncio.get_running_loop()
        ends = []
        for sock in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM):
            sock.setblocking(False)
            ends.append(await loop.create_datagram_endpoint(Receiver, sock=sock))
        (source, _), (target, receiver) = ends
        assert source.get_extra_info('peername') == ''
        for i in range(100):  # more than the kernel queues
            source.sendto(b'%d' % i)
        got = [(await receiver.got.get())[0] for _ in range(100)]
        assert got == [b'%d' % i for i in range(100)]
        source.close()
        target.close()
        await asyncio.sleep(0)

    run(main())

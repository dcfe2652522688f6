"""What is done again and again leaves nothing behind: no reference, no object, no descriptor.

Where the interpreter counts them (a debug build of CPython: python3-dbg), references are held
against each other too, and every operation on them is checked by CPython's assertions.
"""

import asyncio
import contextlib
import contextvars
import gc
import os
import socket
import ssl
import subprocess
import sys
import threading
import weakref

import pytest
import ringlet
from sockets import fill, settle

ROUNDS = 60
SLOW = {'child', 'tls_echo', 'start_tls', 'loops', 'loop_in_threads'}


def counts():
    for _ in range(3):
        gc.collect()
    found = {'objects': len(gc.get_objects()),
             'descriptors': len(os.listdir('/proc/self/fd'))}
    if sys.getallocatedblocks():  # none under another allocator than CPython's
        found['blocks'] = sys.getallocatedblocks()
    if hasattr(sys, 'gettotalrefcount'):
        found['references'] = sys.gettotalrefcount()
    return found


def nothing(*_):
    pass


class Provoked(Exception):
    pass


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Client(asyncio.Protocol):
    def __init__(self):
        self.lost = asyncio.get_running_loop().create_future()
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        transport.write(b'hello')

    def data_received(self, data):
        self.transport.close()

    def connection_lost(self, error):
        self.lost.set_result(error)


class BufferedClient(asyncio.BufferedProtocol, Client):
    def get_buffer(self, sizehint):
        return bytearray(100)

    def buffer_updated(self, count):
        self.transport.abort()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.got = asyncio.get_running_loop().create_future()

    def datagram_received(self, data, address):
        self.got.set_result(data)


@pytest.fixture(scope='module')
def contexts(tmp_path_factory):
    folder = tmp_path_factory.mktemp('certificate')
    paths = str(folder / 'cert.pem'), str(folder / 'key.pem')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
                    'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost',
                    '-addext', 'subjectAltName=DNS:localhost', '-out', paths[0], '-keyout',
                    paths[1]], check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*paths)
    return server, ssl.create_default_context(cafile=paths[0])


class Scenarios:
    """Each method is one round, on a loop that lives through all of them."""

    def __init__(self, contexts):
        self.contexts = contexts

    async def call_soon(self, loop):
        loop.call_soon(nothing)
        loop.call_soon(nothing, 1, 2, 3, 4, 5)
        loop.call_soon(nothing, object()).cancel()
        loop.call_soon_threadsafe(nothing, b'x')

    async def timers(self, loop):
        loop.call_later(60, nothing, object()).cancel()
        loop.call_later(0, nothing)
        loop.call_at(loop.time(), nothing, object())
        await asyncio.sleep(0.0001)

    async def tasks(self, loop):
        task = loop.create_task(asyncio.sleep(60))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await loop.create_task(asyncio.sleep(0))

    async def contexts_of_calls(self, loop):
        done = loop.create_future()
        variable = contextvars.ContextVar('variable')
        context = contextvars.copy_context()
        context.run(variable.set, object())
        loop.call_soon(variable.set, object())
        loop.call_soon(lambda: done.set_result(variable.get()), context=context)
        await done

    async def exceptions(self, loop):
        def fail():
            raise Provoked

        loop.set_exception_handler(nothing)
        loop.call_soon(fail)
        loop.call_later(0, fail)
        await settle()
        await asyncio.sleep(0.0001)
        loop.set_exception_handler(None)

    async def watchers(self, loop):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            done = loop.create_future()
            loop.add_reader(ours, nothing)
            loop.add_reader(ours, lambda: (ours.recv(1), done.done() or done.set_result(None)))
            loop.add_writer(ours, nothing)
            theirs.send(b'x')
            await done
            loop.remove_reader(ours)
            loop.remove_writer(ours)
            await asyncio.sleep(0)
            with contextlib.suppress(ValueError):
                loop.add_reader(-1, nothing)

    async def socket_calls(self, loop):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            for end in (ours, theirs):
                end.setblocking(False)
            waiting = loop.create_task(loop.sock_recv(ours, 10))
            await asyncio.sleep(0)
            await loop.sock_sendall(theirs, b'hello')
            await waiting
            for call in (loop.sock_recv(ours, 10), loop.sock_recv_into(ours, bytearray(9))):
                given_up = loop.create_task(call)
                await asyncio.sleep(0)
                given_up.cancel()
                await asyncio.wait([given_up])
            fill(ours)
            given_up = loop.create_task(loop.sock_sendall(ours, bytes(100_000)))
            await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.wait([given_up])
            loop.sock_recv(ours, 10).close()
            with contextlib.suppress(TypeError):
                await loop.sock_recv(ours, 'x')

    async def accepts(self, loop):
        with socket.create_server(('127.0.0.1', 0)) as listener, socket.socket() as client:
            for end in (listener, client):
                end.setblocking(False)
            accepting = loop.create_task(loop.sock_accept(listener))
            await loop.sock_connect(client, listener.getsockname())
            connection, _ = await accepting
            connection.close()

    async def connections(self, loop):
        server = await loop.create_server(Echo, '127.0.0.1', 0)
        address = server.sockets[0].getsockname()
        for kind in (Client, BufferedClient):
            _, client = await loop.create_connection(kind, *address)
            client.transport.get_extra_info('peername')
            await client.lost
        del client, _
        server.close()
        await server.wait_closed()
        await settle()

    async def refused_connections(self, loop):
        with socket.create_server(('127.0.0.1', 0)) as listener:
            address = listener.getsockname()
        with pytest.raises(OSError):
            await loop.create_connection(Client, *address)

    async def resets(self, loop):
        ours, theirs = socket.socketpair()
        transport, client = await loop.create_connection(Client, sock=ours)
        theirs.close()  # with what was sent unread
        transport.write(b'x')
        await client.lost

    async def paused(self, loop):
        ours, theirs = socket.socketpair()
        with theirs:
            transport, client = await loop.create_connection(Client, sock=ours)
            transport.pause_reading()
            theirs.send(b'x' * 1000)
            await settle()
            transport.set_write_buffer_limits(10)
            transport.write(bytes(1_000_000))
            transport.resume_reading()
            await settle()
            transport.abort()
            await client.lost

    async def streams(self, loop):
        ours, theirs = socket.socketpair()
        (reader, here), (_, there) = [await asyncio.open_connection(sock=end)
                                      for end in (ours, theirs)]
        there.write(b'hello\n')
        await reader.readline()
        waiting = loop.create_task(reader.read())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        for writer in (here, there):
            writer.close()
            await writer.wait_closed()

    async def tls_echo(self, loop):
        server = await loop.create_server(Echo, '127.0.0.1', 0, ssl=self.contexts[0])
        _, client = await loop.create_connection(
            Client, *server.sockets[0].getsockname(), ssl=self.contexts[1],
            server_hostname='localhost')
        await client.lost
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0.005)

    async def start_tls(self, loop):
        ends = socket.socketpair()
        protocols = [asyncio.Protocol(), asyncio.Protocol()]
        raw = [(await loop.create_connection(lambda p=protocol: p, sock=end))[0]
               for protocol, end in zip(protocols, ends)]
        above = await asyncio.gather(
            loop.start_tls(raw[0], protocols[0], self.contexts[0], server_side=True),
            loop.start_tls(raw[1], protocols[1], self.contexts[1], server_hostname='localhost'))
        for transport in above:
            transport.abort()
        await settle()

    async def datagrams(self, loop):
        transport, receiver = await loop.create_datagram_endpoint(
            Datagrams, local_addr=('127.0.0.1', 0))
        sender, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, remote_addr=transport.get_extra_info('sockname'))
        sender.sendto(b'hello')
        await receiver.got
        sender.close()
        transport.close()
        await settle()

    async def child(self, loop):
        child = await asyncio.create_subprocess_exec('cat', stdin=subprocess.PIPE,
                                                     stdout=subprocess.PIPE)
        await child.communicate(b'hello')
        await settle()

    async def executor(self, loop):
        await loop.run_in_executor(None, nothing)

    async def loops(self, loop):
        def run():
            other = ringlet.new_event_loop()
            other.call_later(60, nothing, other)
            other.call_soon(nothing, other)
            ours, theirs = socket.socketpair()
            with ours, theirs:
                other.add_reader(ours, nothing, other)
                other.run_until_complete(asyncio.sleep(0))
                other.close()
            ringlet.new_event_loop().close()

        await loop.run_in_executor(None, run)

    async def loop_in_threads(self, loop):
        other = ringlet.new_event_loop()
        for _ in range(2):
            thread = threading.Thread(target=other.run_until_complete, args=(asyncio.sleep(0),))
            thread.start()
            await loop.run_in_executor(None, thread.join)
        other.close()


NAMES = [name for name in vars(Scenarios) if not name.startswith('_')]


@pytest.mark.parametrize('name', NAMES)
def test_a_scenario_leaves_nothing_behind(loop, contexts, name):
    scenario = getattr(Scenarios(contexts), name)
    rounds = ROUNDS if name not in SLOW else ROUNDS // 2

    async def repeat(count):
        for _ in range(count):
            await asyncio.wait_for(scenario(loop), 30)

    loop.run_until_complete(repeat(rounds))  # whatever is made once
    first = counts()
    grown = {}
    # Caches that still fill do so more and more slowly, a leak does it in every round: where it is
    # not clear which of the two it is, more rounds tell.
    for _ in range(5):
        loop.run_until_complete(repeat(rounds))
        last = counts()
        grown = {what: last[what] - first[what] for what in first}
        if grown['descriptors'] == 0 and all(more < rounds for more in grown.values()):
            break
        first = last
        rounds *= 2
    else:
        pytest.fail(f'{grown} more after {rounds // 2} rounds')
    assert loop.stats()['operations_live'] <= 1
    loop.run_until_complete(loop.shutdown_default_executor())


def test_the_check_sees_a_leak(loop, contexts):
    kept = []

    async def leak(loop):
        kept.append(object())
        kept.append([])

    Leaky = type('Leaky', (Scenarios,), {'call_soon': lambda self, loop: leak(loop)})
    before = counts()
    for _ in range(ROUNDS):
        loop.run_until_complete(Leaky(contexts).call_soon(loop))
    after = counts()
    assert all(after[what] - before[what] >= ROUNDS for what in after if what != 'descriptors')


def test_a_loop_that_is_garbage_takes_all_that_waits_in_it_along(driver):
    with pytest.warns(ResourceWarning):
        other = ringlet.new_event_loop()
        ours, theirs = socket.socketpair()

        class Held:
            pass

        held = [Held() for _ in range(4)]
        gone = [weakref.ref(each) for each in held]
        for each in held:
            each.loop = other
        other.call_soon(nothing, held[0])
        other.call_later(60, nothing, held[1])
        other.add_reader(ours, nothing, held[2])
        other.create_task(asyncio.sleep(0, held[3])).cancel()
        other.run_until_complete(asyncio.sleep(0))
        other.call_soon(nothing, held[0])
        del held, each, other
        gc.collect()
        gc.collect()
    assert [ref() for ref in gone] == [None] * 4
    ours.close()
    theirs.close()


def test_a_closed_loop_lets_go_of_what_never_ran(driver):
    class Owner:
        def run(self):
            pass

    loop = ringlet.new_event_loop()
    owner = Owner()
    gone = weakref.ref(owner)
    owner.handles = [loop.call_soon(owner.run), loop.call_later(60, owner.run)]
    loop.close()
    del owner
    gc.collect()
    assert gone() is None


@pytest.mark.filterwarnings('ignore::ResourceWarning')
def test_a_loop_that_is_garbage_goes_though_others_hold_its_handles(driver):
    ours, theirs = socket.socketpair()
    before = len(os.listdir('/proc/self/fd'))

    class Held:
        pass

    loop = ringlet.new_event_loop()
    gone = weakref.ref(loop)
    held = Held()
    held.loop = loop
    held.handles = [loop.call_soon(nothing, held), loop.call_later(60, nothing, held)]
    loop.create_task(asyncio.sleep(1000))  # its frame holds the timer
    loop.add_reader(ours, nothing, held)
    theirs.send(b'x')
    loop.run_until_complete(asyncio.sleep(0.01))
    again = loop.call_soon(nothing, held)
    loop._add_callback(again)
    loop._add_callback(again)
    again.cancel()
    del loop, held, again
    gc.collect()
    gc.collect()
    assert gone() is None
    assert len(os.listdir('/proc/self/fd')) == before
    ours.close()
    theirs.close()

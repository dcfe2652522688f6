"""loop.sock_*: calls on sockets that the program made itself."""

import asyncio
import collections.abc
import contextvars
import socket
import ssl
import warnings

import pytest

from sockets import drain, fill, settle


# --- receiving and sending ---

def test_recv_takes_what_is_there_without_a_turn(loop, pair):
    left, right = pair
    right.send(b'there')
    call = loop.sock_recv(left, 100)
    with pytest.raises(StopIteration) as stop:
        call.send(None)
    assert stop.value.value == b'there'


def test_recv_waits_for_data(loop, run, pair):
    left, right = pair

    async def main():
        loop.call_later(0.01, right.send, b'late')
        assert await loop.sock_recv(left, 100) == b'late'
        loop.call_later(0.01, right.shutdown, socket.SHUT_WR)
        assert await loop.sock_recv(left, 100) == b''

    run(main())


def test_data_that_came_since_the_last_receive_is_not_missed(loop, run, pair):
    left, right = pair

    async def main():
        for number in range(200):
            right.send(b'%d' % number)
            if number % 3 == 0:
                await asyncio.sleep(0)
            assert await loop.sock_recv(left, 100) == b'%d' % number
            right.send(b'ab')
            assert await loop.sock_recv(left, 1) == b'a'
            assert await loop.sock_recv_into(left, bytearray(5)) == 1
        right.close()
        assert await loop.sock_recv(left, 100) == b''
        assert await loop.sock_recv(left, 100) == b''

    run(main())


def test_bursts_of_datagrams_are_taken_without_a_turn_each(loop, run):
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    left.setblocking(False)

    async def main():
        for number in range(5):
            right.send(b'%d' % number)
        turns = loop.stats()['turns']
        got = [await loop.sock_recv(left, 100) for _ in range(5)]
        assert got == [b'0', b'1', b'2', b'3', b'4']
        assert loop.stats()['turns'] == turns

    with left, right:
        run(main())


@pytest.mark.parametrize('limit', [0, 1, 1000, 65536, 65537, 1 << 20, (1 << 20) + 1])
def test_recv_returns_at_most_its_limit(loop, run, pair, limit):
    left, right = pair
    right.send(b'x' * 5000)

    async def main():
        return await loop.sock_recv(left, limit)

    assert run(main()) == b'x' * min(limit, 5000)


def test_recv_of_a_large_datagram_is_whole(loop, run):
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        left.setblocking(False)
        message = bytes(range(256)) * 700
        right.send(message)

        async def main():
            return await loop.sock_recv(left, 1 << 20)

        assert run(main()) == message


def test_recv_into_fills_any_writable_buffer(loop, run, pair):
    left, right = pair

    async def main():
        buffer = bytearray(10)
        loop.call_soon(right.send, b'abc')
        assert await loop.sock_recv_into(left, buffer) == 3
        right.send(b'0123456789')
        assert await loop.sock_recv_into(left, memoryview(buffer)[8:]) == 2
        return bytes(buffer)

    assert run(main()) == b'abc\0\0\0\0\x0001'


def test_a_buffer_may_be_resized_while_recv_into_waits(loop, run, pair):
    left, right = pair

    async def main():
        buffer = bytearray(1)
        task = asyncio.ensure_future(loop.sock_recv_into(left, buffer))
        await settle()
        buffer.extend(bytes(9))
        right.send(b'0123456789')
        assert await task == 10
        assert buffer == b'0123456789'

    run(main())


@pytest.mark.parametrize('make', [bytes, bytearray, memoryview])
def test_sendall_sends_all_past_a_full_socket(loop, run, pair, make):
    left, right = pair
    size = 3_000_000

    async def main():
        task = asyncio.ensure_future(loop.sock_sendall(left, make(b'y' * size)))
        got = 0
        while got < size:
            data = await loop.sock_recv(right, 1 << 17)
            assert data == b'y' * len(data)
            got += len(data)
        assert await task is None
        assert got == size

    run(main())


def test_sendall_counts_bytes_not_items(loop, run, pair):
    left, right = pair

    async def main():
        await loop.sock_sendall(left, memoryview(bytes(16)).cast('I'))
        await loop.sock_sendall(left, b'')
        assert await loop.sock_recv(right, 100) == bytes(16)

    run(main())


def test_a_bytearray_cannot_be_resized_while_sendall_has_it(loop, run, pair):
    left, right = pair
    fill(left)

    async def main():
        data = bytearray(100)
        task = asyncio.ensure_future(loop.sock_sendall(left, data))
        await settle()
        with pytest.raises(BufferError):
            data.clear()
        drain(right)
        await task
        data.clear()

    run(main())


def test_both_directions_wait_at_once(loop, run, pair):
    left, right = pair
    fill(left)

    async def main():
        reading = asyncio.ensure_future(loop.sock_recv(left, 10))
        writing = asyncio.ensure_future(loop.sock_sendall(left, b'end'))
        await settle()
        assert not reading.done() and not writing.done()
        drain(right)
        await writing
        right.send(b'back')
        assert await reading == b'back'

    run(main())


def test_each_of_many_waiters_is_served(loop, run):
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        left.setblocking(False)

        async def main():
            tasks = [asyncio.ensure_future(loop.sock_recv(left, 10)) for _ in range(5)]
            await settle()
            for number in range(5):
                right.send(b'%d' % number)
                await asyncio.sleep(0.01)
            assert sorted(await asyncio.gather(*tasks)) == [b'0', b'1', b'2', b'3', b'4']

        run(main())


def test_recvfrom_and_sendto_carry_addresses(loop, run):
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
        for each in (one, two):
            each.setblocking(False)
            each.bind(('127.0.0.1', 0))

        async def main():
            waiting = asyncio.ensure_future(loop.sock_recvfrom(two, 100))
            await settle()
            assert await loop.sock_sendto(one, b'hello', two.getsockname()) == 5
            assert await waiting == (b'hello', one.getsockname())
            buffer = bytearray(10)
            await loop.sock_sendto(one, b'0123456789', two.getsockname())
            assert await loop.sock_recvfrom_into(two, buffer) == (10, one.getsockname())
            await loop.sock_sendto(one, b'abcdef', two.getsockname())
            assert await loop.sock_recvfrom_into(two, buffer, 3) == (3, one.getsockname())
            assert buffer == b'abc3456789'

        run(main())


def test_accept_gives_a_socket_that_does_not_block(loop, run):
    with socket.create_server(('127.0.0.1', 0)) as listener:
        listener.setblocking(False)

        async def main():
            tasks = [asyncio.ensure_future(loop.sock_accept(listener)) for _ in range(3)]
            await settle()
            clients = [socket.create_connection(listener.getsockname()) for _ in range(3)]
            accepted = await asyncio.gather(*tasks)
            assert {a for _, a in accepted} == {c.getsockname() for c in clients}
            for each, _ in accepted:
                assert each.gettimeout() == 0
                each.close()
            for each in clients:
                each.close()

        run(main())


def test_connect_resolves_names_and_tells_of_refusal(loop, run):
    with socket.create_server(('127.0.0.1', 0)) as listener:
        port = listener.getsockname()[1]

        async def main():
            with socket.socket() as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, ('localhost', port))
                assert sock.getpeername() == ('127.0.0.1', port)
            listener.close()
            with socket.socket() as sock:
                sock.setblocking(False)
                with pytest.raises(ConnectionRefusedError):
                    await loop.sock_connect(sock, ('127.0.0.1', port))

        run(main())


def test_keywords_name_the_arguments(loop, run, pair):
    left, right = pair

    async def main():
        await loop.sock_sendall(sock=right, data=b'abc')
        assert await loop.sock_recv(left, n=1) == b'a'
        buffer = bytearray(2)
        assert await loop.sock_recv_into(sock=left, buf=buffer) == 2

    run(main())
    for arguments, keywords in [((), {}), ((left,), {}), ((left, 1, 2), {}),
                                ((left,), {'size': 3}), ((left, 1), {'n': 1})]:
        with pytest.raises(TypeError):
            loop.sock_recv(*arguments, **keywords)


# --- errors ---

def test_errors_are_those_of_the_socket(loop, run, pair):
    left, right = pair

    async def main():
        with pytest.raises(TypeError):
            await loop.sock_recv(left, 'many')
        with pytest.raises(ValueError, match='negative buffersize in recv'):
            await loop.sock_recv(left, -1)
        with pytest.raises((TypeError, BufferError)):
            await loop.sock_recv_into(left, b'read only')
        with pytest.raises(TypeError, match="a bytes-like object is required, not 'str'"):
            await loop.sock_sendall(left, 'text')
        right.close()
        with pytest.raises(BrokenPipeError):
            await loop.sock_sendall(left, b'gone')
        left.close()
        with pytest.raises(OSError, match='Bad file descriptor'):
            await loop.sock_recv(left, 1)

    run(main())


def test_a_reset_while_waiting_is_told(loop, run):
    with socket.create_server(('127.0.0.1', 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        server.setblocking(False)

        async def main():
            task = asyncio.ensure_future(loop.sock_recv(server, 1))
            await settle()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
            client.close()
            with pytest.raises(ConnectionResetError):
                await task
            server.close()

        run(main())


def test_a_tls_socket_is_refused(loop, run):
    async def main():
        context = ssl.create_default_context()
        with context.wrap_socket(socket.socket(), server_hostname='x') as sock:
            sock.setblocking(False)
            with pytest.raises(TypeError, match='Socket cannot be of type SSLSocket'):
                await loop.sock_recv(sock, 1)

    run(main())


def test_debug_mode_refuses_a_blocking_socket(loop, run):
    left, right = socket.socketpair()
    loop.set_debug(True)

    async def main():
        for call in (loop.sock_recv(left, 1), loop.sock_sendall(left, b'x'),
                     loop.sock_recv_into(left, bytearray(1)), loop.sock_accept(left)):
            with pytest.raises(ValueError, match='the socket must be non-blocking'):
                await call

    with left, right:
        run(main())


def test_a_blocking_socket_does_not_block_the_loop(loop, run):
    left, right = socket.socketpair()

    async def main():
        task = asyncio.ensure_future(loop.sock_recv(left, 10))
        await settle()
        assert not task.done()
        right.send(b'x')
        assert await task == b'x'

    with left, right:
        run(main())


def test_the_socket_of_a_transport_is_refused_to_waiters(loop, run, pair):
    left, right = pair

    async def main():
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=left)
        with pytest.raises(RuntimeError, match='is used by transport'):
            await loop.sock_recv(left, 1)
        transport.close()
        await asyncio.sleep(0.01)

    run(main())


class Counting(socket.socket):
    def __init__(self, **given):
        super().__init__(**given)
        self.received = 0

    def recv(self, *arguments):
        self.received += 1
        return super().recv(*arguments)


def test_methods_that_a_socket_overrides_are_used(loop, run, pair):
    left, right = pair

    async def main():
        with Counting(fileno=left.detach()) as sock:
            sock.setblocking(False)
            loop.call_later(0.01, right.send, b'x')
            assert await loop.sock_recv(sock, 10) == b'x'
            assert sock.received == 2

    run(main())


# --- the awaitable ---

def test_it_counts_as_a_coroutine(loop, run, pair):
    left, right = pair

    async def main():
        call = loop.sock_recv(left, 1)
        assert isinstance(call, collections.abc.Coroutine) and asyncio.iscoroutine(call)
        assert call.__name__ == 'sock_recv' and 'sock_recv' in repr(call)
        task = loop.create_task(call)
        assert 'sock_recv' in repr(task)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(loop.sock_recv(left, 1), 0.01)
        right.send(b'ab')
        assert await task == b'a'
        assert await asyncio.gather(loop.sock_recv(left, 1), loop.sock_sendall(left, b'x')) \
            == [b'b', None]
        with pytest.raises(RuntimeError, match='cannot reuse already awaited coroutine'):
            await call

    run(main())


def test_nothing_happens_before_it_is_awaited(loop, run, pair):
    left, right = pair
    call = loop.sock_sendall(right, b'x')
    with pytest.raises(BlockingIOError):
        left.recv(1)
    with pytest.warns(RuntimeWarning, match="'EventLoop.sock_sendall' was never awaited"):
        del call
    call = loop.sock_recv(left, 1)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        call.close()
        del call


def test_it_may_be_stepped_by_hand(loop, pair):
    left, right = pair
    call = loop.sock_recv(left, 10)
    future = call.send(None)
    assert asyncio.isfuture(future)
    assert call.cr_await is future
    with pytest.raises(RuntimeError, match="await wasn't used with future"):
        call.send(None)
    call = loop.sock_recv(left, 10)
    call.send(None)
    with pytest.raises(KeyError):
        call.throw(KeyError)
    call = loop.sock_recv(left, 10)
    call.send(None)
    with pytest.raises(KeyError, match='why'):
        call.throw(KeyError('why'))
    with pytest.raises(TypeError):
        loop.sock_recv(left, 10).throw(17)


def test_a_context_is_kept_across_the_wait(loop, run, pair):
    left, right = pair
    variable = contextvars.ContextVar('variable', default=0)

    async def main():
        variable.set(1)
        loop.call_later(0.01, right.send, b'x')
        await loop.sock_recv(left, 1)
        assert variable.get() == 1

    run(main())


def test_nothing_is_received_at_once(loop, run):
    async def main():
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        assert await asyncio.wait_for(loop.sock_recv(ours, 0), 5) == b''
        assert await asyncio.wait_for(loop.sock_recv_into(ours, bytearray()), 5) == 0
        with pytest.raises(TypeError, match='read-write'):
            await loop.sock_recv_into(ours, b'abc')
        ours.close()
        theirs.close()

    run(main())

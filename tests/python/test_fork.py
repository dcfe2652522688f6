"""A loop and os.fork(): it belongs to the process that made it, and each may have its own."""

import asyncio
import gc
import multiprocessing
import os
import socket
import time
import weakref
from multiprocessing import forkserver, resource_tracker

import pytest
import ringlet

pytestmark = pytest.mark.filterwarnings(
    'ignore:.*multi-threaded.*fork.*:DeprecationWarning')


def in_child(work):
    """Runs `work()` in a forked child and returns what it returned or how it failed, as text."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = str(work())
        except BaseException as error:
            said = f'{type(error).__name__}: {error}'
        os.write(theirs, said.encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        said = pipe.read()
    assert os.waitpid(pid, 0)[1] == 0
    return said


@pytest.fixture
def busy(loop):
    """The loop, with a reader, a timer and an echo server that have been waited for."""
    async def serve(reader, writer):
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async def begin():
        server = await asyncio.start_server(serve, '127.0.0.1', 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        return server, reader, writer

    server, reader, writer = loop.run_until_complete(begin())
    ours, theirs = socket.socketpair()
    heard = []
    loop.add_reader(ours, lambda: heard.append(ours.recv(10)))

    async def works():
        """That everything of the parent's goes on."""
        writer.write(b'hello')
        assert await asyncio.wait_for(reader.readexactly(5), 10) == b'hello'
        theirs.send(b'x')
        begun = loop.time()
        await asyncio.sleep(0.02)
        assert loop.time() - begun >= 0.019
        assert heard.pop() == b'x' and not heard
        return True

    loop.works = works
    assert loop.run_until_complete(works())
    yield loop
    loop.remove_reader(ours)
    writer.close()
    server.close()
    loop.run_until_complete(asyncio.sleep(0.01))
    ours.close()
    theirs.close()
    del loop.works


def test_running_an_inherited_loop_is_an_error_that_says_what_to_do(busy):
    def run():
        busy.call_soon(busy.stop)
        busy.run_forever()

    for _ in range(3):
        said = in_child(run)
        assert said.startswith('RuntimeError: ') and 'fork' in said and 'new' in said, said
        assert busy.run_until_complete(busy.works())


def test_a_child_that_closes_the_inherited_loop_does_no_harm(busy):
    for _ in range(3):
        assert in_child(busy.close) == 'None'
        assert busy.run_until_complete(busy.works())


def test_a_child_that_takes_the_inherited_readers_away_does_no_harm(busy):
    def meddle():
        for fd in range(200):
            try:
                busy.remove_reader(fd)
                busy.remove_writer(fd)
            except (ValueError, OSError, RuntimeError):
                pass
        return busy.close()

    assert in_child(meddle) == 'None'
    assert busy.run_until_complete(busy.works())


@pytest.mark.filterwarnings('ignore::ResourceWarning')
def test_a_child_that_collects_the_inherited_loop_does_no_harm(driver):
    loop = ringlet.new_event_loop()
    ours, theirs = os.pipe()
    heard = []
    loop.add_reader(ours, lambda: heard.append(os.read(ours, 1)))
    loop.run_until_complete(asyncio.sleep(0.001))
    kept, gone = [loop], weakref.ref(loop)

    def collect():
        nonlocal loop
        loop = None
        kept.clear()
        gc.collect()
        return gone() is None

    assert in_child(collect) == 'True'
    os.write(theirs, b'a')
    loop.run_until_complete(asyncio.sleep(0.02))
    assert heard == [b'a']
    loop.close()
    os.close(ours)
    os.close(theirs)


def test_a_child_may_make_a_loop_of_its_own(busy):
    async def main():
        await asyncio.sleep(0.01)
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        theirs.send(b'in the child')
        read = await reader.readexactly(12)
        writer.close()
        theirs.close()
        return read.decode()

    assert in_child(lambda: ringlet.run(main())) == 'in the child'
    assert busy.run_until_complete(busy.works())


def test_a_fork_inside_a_running_loop_leaves_the_parent_at_work(busy):
    async def main():
        async def inner():
            await asyncio.sleep(0.001)
            return 'own loop'

        def work():
            asyncio._set_running_loop(None)
            return ringlet.run(inner())

        said = in_child(work)
        await busy.works()
        return said

    assert busy.run_until_complete(main()) == 'own loop'


async def square(number):
    await asyncio.sleep(0.001)
    return number * number


def run_square(number):
    return ringlet.run(square(number))


@pytest.fixture
def no_helpers():
    """Ends the processes that multiprocessing would keep until the interpreter ends."""
    yield
    for helper in (forkserver._forkserver, resource_tracker._resource_tracker):
        helper._stop()


@pytest.mark.parametrize('method', ['fork', 'spawn', 'forkserver'])
def test_workers_of_multiprocessing_have_loops_of_their_own(busy, no_helpers, method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(run_square, range(10)) == [n * n for n in range(10)]
        pool.close()
        pool.join()
    assert busy.run_until_complete(busy.works())


def test_a_subprocess_made_by_the_loop_of_a_child_works(busy):
    async def main():
        process = await asyncio.create_subprocess_exec(
            'echo', 'from a child', stdout=asyncio.subprocess.PIPE)
        said, _ = await process.communicate()
        return said.decode().strip()

    def work():
        asyncio.set_event_loop(None)
        return ringlet.run(main())

    begun = time.monotonic()
    assert in_child(work) == 'from a child'
    assert time.monotonic() - begun < 20

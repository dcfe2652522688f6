"""A loop that is made in one thread, run in others, and closed or collected in another again."""

import asyncio
import gc
import os
import signal
import socket
import threading
import weakref

import pytest
import ringlet


def in_thread(work):
    """Runs `work()` in a new thread and returns what it returned or raises what it raised."""
    outcome = []

    def body():
        try:
            outcome.append((work(), None))
        except BaseException as error:
            outcome.append((None, error))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(60)
    assert outcome, 'the thread did not end'
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


@pytest.fixture
def made(driver):
    """A loop that was made and has run in a thread that is gone."""
    def make():
        loop = ringlet.new_event_loop()
        loop.run_until_complete(asyncio.sleep(0.001))
        return loop

    return in_thread(make)


def test_a_loop_goes_on_from_thread_to_thread_with_all_that_waits(made):
    ours, theirs = socket.socketpair()
    heard, rung = [], []

    async def begin():
        made.add_reader(ours, lambda: heard.append(ours.recv(1)))
        made.call_later(0.02, rung.append, 'timer')

        async def serve(reader, writer):
            while data := await reader.read(100):
                writer.write(data)
            writer.close()

        server = await asyncio.start_server(serve, '127.0.0.1', 0)
        return server, *await asyncio.open_connection(*server.sockets[0].getsockname())

    server, reader, writer = in_thread(lambda: made.run_until_complete(begin()))

    async def go_on(number):
        theirs.send(b'x')
        writer.write(b'%d' % number)
        read = await asyncio.wait_for(reader.readexactly(1), 20)
        await asyncio.sleep(0.03)
        return read

    for number in range(5):
        assert in_thread(lambda n=number: made.run_until_complete(go_on(n))) == b'%d' % number
        assert len(heard) == number + 1
    assert rung == ['timer']

    async def end():
        made.remove_reader(ours)
        writer.close()
        server.close()
        await asyncio.sleep(0.01)

    made.run_until_complete(end())
    in_thread(made.close)
    assert made.is_closed()
    ours.close()
    theirs.close()


def test_a_loop_is_closed_in_another_thread_while_things_wait(made, descriptors):
    ours, theirs = os.pipe()
    before = descriptors()
    made.add_reader(ours, print)
    timer = made.call_later(60, print)
    made.run_until_complete(asyncio.sleep(0.001))
    in_thread(made.close)
    assert made.is_closed() and timer.cancelled()
    assert descriptors() < before
    os.close(ours)
    os.close(theirs)


@pytest.mark.filterwarnings('ignore::ResourceWarning')
def test_a_loop_is_collected_in_another_thread(driver, descriptors):
    before = descriptors()
    for _ in range(20):
        loop = ringlet.new_event_loop()
        loop.call_later(60, loop.stop)
        loop.run_until_complete(asyncio.sleep(0))
        gone = weakref.ref(loop)
        held = [loop]
        del loop

        def collect():
            held.clear()
            gc.collect()
            return gone() is None

        assert in_thread(collect)
    assert descriptors() == before


def test_two_threads_cannot_run_one_loop_at_once(loop):
    refused = []

    def meddle():
        try:
            loop.run_until_complete(asyncio.sleep(0))
        except RuntimeError as error:
            refused.append(str(error))

    async def main():
        await loop.run_in_executor(None, meddle)
        return await asyncio.sleep(0.001, 'well')

    with pytest.warns(RuntimeWarning, match='never awaited'):
        assert loop.run_until_complete(main()) == 'well'
        gc.collect()
    assert refused == ['This event loop is already running']


def test_a_reader_is_removed_before_the_loop_has_a_thread(driver):
    loop = ringlet.new_event_loop()
    ours, theirs = socket.socketpair()
    loop.add_reader(ours, print)
    assert loop.remove_reader(ours)
    in_thread(lambda: loop.run_until_complete(asyncio.sleep(0.001)))
    loop.close()
    ours.close()
    theirs.close()


def test_a_reader_is_removed_by_another_thread_than_the_loop_s(driver):
    """Not allowed, as in asyncio, where it mostly works: it must not end the process."""
    ours, theirs = socket.socketpair()

    async def main():
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, print)
        await asyncio.sleep(0.01)
        other = threading.Thread(target=loop.remove_reader, args=(ours,))
        other.start()
        while other.is_alive():
            await asyncio.sleep(0)
        assert not loop.remove_reader(ours)

    ringlet.run(main())
    ours.close()
    theirs.close()


def test_a_loop_with_a_signal_handler_is_closed_in_another_thread(driver, descriptors):
    before = descriptors()
    loop = ringlet.new_event_loop()
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.run_until_complete(asyncio.sleep(0))

    def close():
        with pytest.raises(ValueError):  # asyncio's own: signals are the main thread's
            loop.close()
        return descriptors()

    assert in_thread(close) == before
    assert loop.is_closed()
    loop.close()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)

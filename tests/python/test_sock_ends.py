"""loop.sock_*: calls that are cancelled, and loops that end beneath them."""

import asyncio
import gc
import sys
import threading
import time
import warnings

import pytest
import ringlet

from sockets import fill, settle


def test_a_cancelled_wait_loses_no_data(loop, run, pair):
    left, right = pair

    async def main():
        for _ in range(100):
            task = loop.create_task(loop.sock_recv(left, 10))
            await settle()
            right.send(b'kept')
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await loop.sock_recv(left, 10) == b'kept'

    run(main())


def test_a_cancel_that_comes_with_the_data_loses_none(loop, run, pair):
    left, right = pair

    async def main():
        lost = 0
        for turns in range(6):
            task = loop.create_task(loop.sock_recv(left, 10))
            await settle()
            right.send(b'kept')
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                lost += await task != b'kept'
            except asyncio.CancelledError:
                lost += await loop.sock_recv(left, 10) != b'kept'
        assert lost == 0

    run(main())


def test_a_storm_of_cancellations_leaves_nothing_behind(loop, run, pair, descriptors):
    left, right = pair
    fill(left)

    async def storm(rounds):
        for _ in range(rounds):
            buffer = bytearray(1000)
            tasks = [loop.create_task(call) for call in (
                loop.sock_recv(left, 1000), loop.sock_recv_into(left, buffer),
                loop.sock_sendall(left, bytes(100)), loop.sock_recvfrom(left, 10))]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await settle()

    run(storm(20))
    gc.collect()
    before = descriptors(), len(gc.get_objects()), sys.getrefcount(left), sys.getrefcount(loop)
    blocks = sys.getallocatedblocks()
    run(storm(500))
    gc.collect()
    assert descriptors() == before[0]
    assert abs(len(gc.get_objects()) - before[1]) < 20
    assert sys.getrefcount(left) == before[2] and sys.getrefcount(loop) == before[3]
    assert sys.getallocatedblocks() - blocks < 200
    assert loop.stats()['operations_live'] <= 2


def test_a_cancelled_wait_lets_the_descriptor_be_closed_for_good(loop, run, pair):
    left, right = pair

    async def main():
        task = loop.create_task(loop.sock_recv(left, 10))
        await settle()
        task.cancel()
        left.close()
        assert await asyncio.wait_for(loop.sock_recv(right, 10), 5) == b''

    run(main())


def test_the_loop_may_be_closed_while_calls_wait(driver, pair, descriptors):
    left, _ = pair
    before = descriptors()
    for _ in range(20):
        loop = ringlet.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # tasks destroyed while pending
        task = loop.create_task(loop.sock_recv(left, 10))
        loop.call_later(0.001, loop.stop)
        loop.run_forever()
        loop.close()
        with pytest.raises(asyncio.CancelledError):
            task.get_coro().throw(asyncio.CancelledError)
        del task, loop
    assert descriptors() == before


def test_a_loop_that_is_dropped_with_calls_waiting_is_collected(driver, pair, descriptors):
    left, _ = pair
    before = descriptors()
    for _ in range(20):
        loop = ringlet.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        loop.create_task(loop.sock_recv(left, 10))
        loop.call_later(0.001, loop.stop)
        loop.run_forever()
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', ResourceWarning)
            del loop
            gc.collect()
    assert descriptors() == before


def test_a_closed_loop_waits_for_nothing(driver, pair):
    left, _ = pair
    loop = ringlet.new_event_loop()
    loop.close()
    with pytest.raises(RuntimeError, match='Event loop is closed'):
        loop.sock_recv(left, 1).send(None)


def test_waits_go_on_in_the_next_run(loop, pair):
    left, right = pair
    task = loop.create_task(loop.sock_recv(left, 10))
    loop.run_until_complete(settle())
    assert not task.done()
    right.send(b'later')
    assert loop.run_until_complete(task) == b'later'


def test_waits_go_on_when_another_thread_runs_the_loop(loop, pair):
    left, right = pair
    task = loop.create_task(loop.sock_recv(left, 10))
    loop.run_until_complete(settle())
    right.send(b'there')
    thread = threading.Thread(target=loop.run_until_complete, args=(task,))
    thread.start()
    thread.join(10)
    assert task.result() == b'there'


def test_waits_go_on_when_another_thread_runs_the_loop(loop, pair):
    left, right = pair
    task = loop.create_task(loop.sock_recv(left, 10))
    loop.run_until_complete(settle())
    right.send(b'there')
    thread = threading.Thread(target=loop.run_until_complete, args=(task,))
    thread.start()
    thread.join(10)
    assert task.result() == b'there'


def test_another_threads_loop_is_left_alone(loop, run, pair):
    left, _ = pair
    asleep = threading.Event()
    said = []

    def other():
        asleep.wait()
        time.sleep(0.05)
        try:
            loop.sock_recv(left, 1).send(None)
        except RuntimeError as error:
            said.append(str(error))

    thread = threading.Thread(target=other)
    thread.start()

    async def main():
        asleep.set()
        await asyncio.sleep(0.3)

    run(main())
    thread.join()
    assert said and 'Non-thread-safe' in said[0]

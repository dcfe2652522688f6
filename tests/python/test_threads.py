"""A loop that changes its thread, and one that has too much under way to do so."""

import asyncio
import os
import resource
import threading

import pytest


@pytest.fixture
def many_pipes():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    pipes = [os.pipe() for _ in range(1200)]
    yield pipes
    for read, write in pipes:
        os.close(read)
        os.close(write)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def in_thread(function, *arguments):
    """What `function` returned or raised in another thread."""
    result = []

    def call():
        try:
            result.append(function(*arguments))
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return result[0]


def test_a_loop_goes_on_in_one_thread_after_another(loop):
    async def answer(number):
        await asyncio.sleep(0.001)
        return number

    for number in range(5):
        assert in_thread(loop.run_until_complete, answer(number)) == number
    assert loop.run_until_complete(answer(5)) == 5
    assert in_thread(loop.close) is None


def test_with_very_many_operations_it_stays_with_its_thread(loop, many_pipes):
    for read, _ in many_pipes:
        loop.add_reader(read, int)
    loop.run_until_complete(asyncio.sleep(0.001))
    loop.run_until_complete(asyncio.sleep(0.001))
    sleep = asyncio.sleep(0.001)
    elsewhere = in_thread(loop.run_until_complete, sleep)
    if loop.driver == 'epoll':
        assert elsewhere is None
    else:
        assert 'stays with the thread' in str(elsewhere)
        assert 'stays with the thread' in str(in_thread(loop.close))
    assert not loop.is_closed()
    for read, _ in many_pipes:
        loop.remove_reader(read)
    loop.run_until_complete(asyncio.sleep(0.01))
    assert in_thread(loop.run_until_complete, asyncio.sleep(0.001)) is None

"""What the Python tests share: each test that takes `loop` or `run` runs on both drivers.

    cmake --build --preset release --target ringlet_python
    PYTHONPATH=build/release/python python3 -m pytest tests/python
"""

import asyncio
import gc
import os
import socket

import pytest
import ringlet


def pytest_unconfigure(config):
    """Says the counts once more, in the words of all our other tests."""
    reporter = config.pluginmanager.get_plugin('terminalreporter')
    if reporter is not None and not config.option.collectonly:
        passed, failed, broken = (
            len(reporter.stats.get(outcome, ())) for outcome in ('passed', 'failed', 'error'))
        print(f'{passed} passed, {failed + broken} failed')


@pytest.fixture(params=['uring', 'epoll'])
def driver(request, monkeypatch):
    """The name of the driver that loops made in this test have."""
    monkeypatch.setenv('RINGLET_DRIVER', request.param)
    try:
        ringlet.new_event_loop().close()
    except OSError as refused:
        pytest.skip(f'no {request.param} here: {refused}')
    return request.param


@pytest.fixture
def loop(driver):
    """A loop that is closed behind the test."""
    made = ringlet.new_event_loop()
    asyncio.set_event_loop(made)
    yield made
    asyncio.set_event_loop(None)
    if not made.is_closed():
        made.run_until_complete(made.shutdown_asyncgens())
        made.close()


@pytest.fixture
def run(loop):
    """Runs a coroutine on `loop`, for at most 30 seconds."""
    return lambda main: loop.run_until_complete(asyncio.wait_for(main, 30))


@pytest.fixture
def descriptors():
    """A function that counts the open descriptors of the process, garbage collected."""
    def count():
        gc.collect()
        return len(os.listdir('/proc/self/fd'))

    return count


@pytest.fixture
def pair():
    """Two connected stream sockets, neither blocking."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield ends
    for end in ends:
        end.close()

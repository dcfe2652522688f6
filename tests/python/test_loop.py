"""The loop as a whole: timers, exceptions, interrupts, threads, many loops, its end."""

import asyncio
import contextvars
import gc
import logging
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref

import pytest
import ringlet


def python(code, *options):
    """Runs the code on this interpreter with the package that is tested."""
    path = os.path.dirname(os.path.dirname(ringlet.__file__))
    return subprocess.run([sys.executable, *options, '-c', code], capture_output=True, text=True,
                          timeout=60, env={**os.environ, 'PYTHONPATH': path})


def run_for(loop, seconds):
    loop.call_later(seconds, loop.stop)
    loop.run_forever()


@pytest.mark.parametrize('debug', [False, True])
@pytest.mark.parametrize('delay', [0, -1, -1e300, -math.inf, math.nan, 1e-12])
def test_a_timer_that_is_due_is_run_at_once(loop, debug, delay):
    loop.set_debug(debug)
    ran = []
    loop.call_later(delay, ran.append, 'late')
    run_for(loop, 0.01)
    assert ran == ['late']


@pytest.mark.parametrize('debug', [False, True])
@pytest.mark.parametrize('delay', [math.inf, 1e300, 1e18, 1e10])
def test_a_timer_of_the_far_future_neither_runs_nor_disturbs(loop, debug, delay):
    loop.set_debug(debug)
    ran = []
    handle = loop.call_later(delay, ran.append, 'never')
    run_for(loop, 0.01)
    assert not ran and not handle.cancelled()
    handle.cancel()
    run_for(loop, 0)
    assert not ran


def test_timers_run_in_the_order_of_their_times(loop):
    ran = []
    now = loop.time()
    for delay in (0.03, 0.01, 0.02):
        loop.call_at(now + delay, ran.append, delay)
    run_for(loop, 0.05)
    assert ran == [0.01, 0.02, 0.03]


def test_a_timer_never_runs_early(loop):
    early = []

    def check(due):
        early.append(loop.time() < due)

    for delay in range(20):
        due = loop.time() + delay / 1000
        loop.call_at(due, check, due)
    run_for(loop, 0.04)
    assert early == [False] * 20


def test_an_exception_of_a_callback_goes_to_the_handler_and_the_loop_goes_on(loop):
    told, ran = [], []
    loop.set_exception_handler(lambda _, context: told.append(context))

    def fail():
        raise LookupError('mine')

    loop.call_soon(fail)
    loop.call_later(0, fail)
    loop.call_soon(ran.append, 'next')
    run_for(loop, 0.01)
    assert [str(context['exception']) for context in told] == ['mine', 'mine']
    assert all('fail' in context['message'] and 'handle' in context for context in told)
    assert ran == ['next']


@pytest.mark.parametrize('error', [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_comes_out_of_run_forever_and_nothing_is_lost(loop, error):
    ran = []

    def leave():
        raise error('now')

    loop.call_soon(ran.append, 1)
    loop.call_soon(leave)
    loop.call_soon(ran.append, 2)
    with pytest.raises(error, match='now'):
        loop.run_forever()
    assert ran == [1]
    assert not loop.is_running()
    run_for(loop, 0)
    assert ran == [1, 2]


@pytest.mark.parametrize('error', [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_comes_out_of_a_task_too(loop, error):
    async def leave():
        await asyncio.sleep(0.001)
        raise error('now')

    with pytest.raises(error, match='now'):
        loop.run_until_complete(leave())


def test_control_c_wakes_a_loop_that_sleeps(loop):
    timer = threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.sleep(30))
    timer.join()
    assert time.monotonic() - begun < 10


def test_control_c_ends_a_loop_that_is_busy(loop):
    def again():
        loop.call_soon(again)

    again()
    timer = threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    timer.join()


def test_signal_handlers_of_the_loop_are_called_in_a_turn(loop):
    got = []
    loop.add_signal_handler(signal.SIGUSR1, got.append, 'usr1')
    loop.call_later(0.005, os.kill, os.getpid(), signal.SIGUSR1)
    run_for(loop, 0.05)
    assert got == ['usr1']
    assert loop.remove_signal_handler(signal.SIGUSR1)
    assert not loop.remove_signal_handler(signal.SIGUSR1)


def test_a_signal_handler_of_python_runs_while_the_loop_sleeps(loop):
    got = []
    earlier = signal.signal(signal.SIGUSR2, lambda *_: (got.append(1), loop.stop()))
    try:
        timer = threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGUSR2])
        timer.start()
        guard = loop.call_later(20, loop.stop)
        begun = time.monotonic()
        loop.run_forever()
        timer.join()
        guard.cancel()
    finally:
        signal.signal(signal.SIGUSR2, earlier)
    assert got == [1] and time.monotonic() - begun < 10


def test_loops_in_several_threads_do_not_meet(driver):
    results = []

    async def main(number):
        seen = set()
        for _ in range(50):
            await asyncio.sleep(0.0005)
            seen.add(id(asyncio.get_running_loop()))
        return number, len(seen)

    threads = [threading.Thread(target=lambda n=n: results.append(ringlet.run(main(n))))
               for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [(n, 1) for n in range(6)]


def test_call_soon_threadsafe_loses_nothing(loop):
    threads, each = 8, 2000
    ran = []

    def post(number):
        for i in range(each):
            loop.call_soon_threadsafe(ran.append, (number, i))

    posters = [threading.Thread(target=post, args=[n]) for n in range(threads)]

    async def main():
        for poster in posters:
            poster.start()
        while len(ran) < threads * each:
            await asyncio.sleep(0.001)

    loop.run_until_complete(asyncio.wait_for(main(), 30))
    for poster in posters:
        poster.join()
    for n in range(threads):
        assert [i for number, i in ran if number == n] == list(range(each))


def test_call_soon_threadsafe_wakes_a_loop_that_sleeps(loop):
    latencies = []

    def post():
        for _ in range(20):
            time.sleep(0.002)
            loop.call_soon_threadsafe(lambda at: latencies.append(time.monotonic() - at),
                                      time.monotonic())
        loop.call_soon_threadsafe(loop.stop)

    poster = threading.Thread(target=post)
    guard = loop.call_later(30, loop.stop)
    poster.start()
    loop.run_forever()
    poster.join()
    guard.cancel()
    assert len(latencies) == 20 and min(latencies) < 0.1


def test_callbacks_run_in_their_context(loop):
    variable = contextvars.ContextVar('variable', default='none')
    seen = []
    variable.set('here')
    loop.call_soon(lambda: (seen.append(variable.get()), variable.set('inside')))
    other = contextvars.Context()
    loop.call_soon(lambda: seen.append(variable.get()), context=other)
    loop.call_later(0, lambda: seen.append(variable.get()))
    variable.set('later')
    run_for(loop, 0.01)
    assert seen == ['here', 'none', 'here']
    assert variable.get() == 'later'


def test_debug_mode_reports_a_slow_callback(loop, caplog):
    loop.set_debug(True)
    loop.slow_callback_duration = 0.01

    def dawdle():
        time.sleep(0.02)

    with caplog.at_level(logging.WARNING, 'asyncio'):
        loop.call_soon(dawdle)
        run_for(loop, 0.05)
    reports = [record.getMessage() for record in caplog.records]
    assert any('dawdle' in text and 'seconds' in text for text in reports), reports


def test_debug_mode_refuses_call_soon_from_another_thread(loop):
    loop.set_debug(True)
    refused = []

    def post():
        try:
            loop.call_soon(print)
        except RuntimeError as error:
            refused.append(str(error))

    async def main():
        await loop.run_in_executor(None, post)

    loop.run_until_complete(main())
    assert len(refused) == 1 and 'thread' in refused[0].lower()


def test_many_loops_leave_neither_descriptors_nor_memory_behind(driver, descriptors):
    def resident_kib():
        with open('/proc/self/statm', encoding='ascii') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') // 1024

    def use(count):
        for _ in range(count):
            loop = ringlet.new_event_loop()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
        gc.collect()

    use(500)
    before = descriptors(), resident_kib()
    use(9500)
    assert descriptors() == before[0]
    assert resident_kib() - before[1] < 2048


def test_a_closed_loop_refuses_to_work(loop):
    loop.close()
    loop.close()
    assert loop.is_closed()
    for use in (lambda: loop.call_soon(print), lambda: loop.call_later(1, print),
                lambda: loop.call_at(1, print), lambda: loop.call_soon_threadsafe(print),
                loop.run_forever, loop.stats, lambda: loop.driver):
        with pytest.raises(RuntimeError, match='Event loop is closed'):
            use()


def test_close_lets_go_of_what_was_waiting(loop):
    class Thing:
        def method(self):
            pass

    thing = Thing()
    gone = weakref.ref(thing)
    loop.call_soon(thing.method)
    timer = loop.call_later(60, thing.method)
    ours, theirs = os.pipe()
    loop.add_reader(ours, thing.method)
    del thing
    loop.close()
    gc.collect()
    assert gone() is None and timer.cancelled()
    os.close(ours)
    os.close(theirs)


def test_a_running_loop_cannot_be_closed(run):
    async def main():
        with pytest.raises(RuntimeError, match='Cannot close a running event loop'):
            asyncio.get_running_loop().close()

    run(main())


def test_an_unclosed_loop_is_collected_with_a_warning(driver, descriptors):
    before = descriptors()
    loop = ringlet.new_event_loop()
    loop.call_soon(loop.stop)
    loop.call_later(60, loop.stop)  # cycles through the loop
    loop.knot = loop
    gone = weakref.ref(loop)
    with pytest.warns(ResourceWarning, match='unclosed event loop'):
        del loop
        gc.collect()
    assert gone() is None
    assert descriptors() == before


@pytest.mark.parametrize('ending', ['', 'loop.run_until_complete(asyncio.sleep(0.01))',
                                    'loop.close()', 'raise SystemExit(0)'])
def test_the_interpreter_ends_with_a_loop_open(driver, ending):
    done = python(f'''
import asyncio, os, ringlet, warnings
warnings.simplefilter('ignore')  # debug builds of CPython warn of the loop
loop = ringlet.new_event_loop()
a, b = os.pipe()
loop.add_reader(a, print)
loop.call_later(60, print)
loop.call_soon(id, loop)
{ending}
''')
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')


def test_the_interpreter_ends_while_a_daemon_thread_runs_a_loop(driver):
    done = python('''
import asyncio, ringlet, threading, time
threading.Thread(target=ringlet.run, args=[asyncio.sleep(60)], daemon=True).start()
time.sleep(0.1)
print('end')
''')
    assert (done.returncode, done.stdout, done.stderr) == (0, 'end\n', '')


def test_a_reader_and_a_writer_are_called_while_ready(loop):
    ours, theirs = os.pipe()
    seen = []

    def read():
        seen.append(os.read(ours, 1))
        if len(seen) == 3:
            loop.remove_reader(ours)
            loop.stop()

    os.write(theirs, b'abc')
    loop.add_reader(ours, read)
    guard = loop.call_later(20, loop.stop)
    loop.run_forever()
    guard.cancel()
    assert seen == [b'a', b'b', b'c']
    assert not loop.remove_reader(ours)
    loop.add_writer(theirs, loop.stop)
    loop.run_forever()
    assert loop.remove_writer(theirs)
    os.close(ours)
    os.close(theirs)


def test_a_file_removed_while_it_waits_and_closed_at_once_is_closed(loop):
    async def main():
        listener = socket.create_server(('127.0.0.1', 0))
        address = listener.getsockname()
        ours, theirs = os.pipe()
        loop.add_reader(listener, print)
        loop.add_writer(theirs, loop.remove_writer, theirs)
        for _ in range(3):
            await asyncio.sleep(0)
        os.write(theirs, bytes(1 << 16))  # full: the writer waits
        loop.add_writer(theirs, print)
        await asyncio.sleep(0)
        assert loop.remove_reader(listener) and loop.remove_writer(theirs)
        listener.close()
        os.close(theirs)
        socket.create_server(address).close()
        assert len(os.read(ours, 1 << 17)) == 1 << 16
        assert os.read(ours, 1) == b''
        os.close(ours)

    loop.run_until_complete(main())


def test_debug_mode_reports_a_slow_protocol(loop, run, caplog):
    loop.set_debug(True)
    loop.slow_callback_duration = 0.01

    class Slow(asyncio.Protocol):
        def data_received(self, data):
            time.sleep(0.02)
            self.done.set_result(None)

    async def main():
        ours, theirs = socket.socketpair()
        transport, protocol = await loop.create_connection(Slow, sock=ours)
        protocol.done = loop.create_future()
        theirs.send(b'x')
        await protocol.done
        transport.abort()
        theirs.close()

    with caplog.at_level(logging.WARNING, 'asyncio'):
        run(main())
    reports = [record.getMessage() for record in caplog.records]
    assert any('SocketTransport' in text and 'seconds' in text for text in reports), reports


@pytest.mark.skipif(not hasattr(asyncio, 'eager_task_factory'), reason='new in Python 3.12')
def test_eager_tasks_run_at_once_up_to_their_first_wait(loop):
    loop.set_task_factory(asyncio.eager_task_factory)
    steps = []

    async def child(name, pause):
        steps.append(name)
        if pause:
            await asyncio.sleep(0)
            steps.append(f'{name} again')
        return name

    async def main():
        done = loop.create_task(child('short', False), name='given')
        assert done.done() and done.get_name() == 'given' and steps == ['short']
        waits = asyncio.create_task(child('long', True))
        assert not waits.done() and steps == ['short', 'long']
        async with asyncio.TaskGroup() as group:
            group.create_task(child('third', False))
            steps.append('after it')
        assert await waits == 'long'

    loop.run_until_complete(main())
    assert steps == ['short', 'long', 'third', 'after it', 'long again']

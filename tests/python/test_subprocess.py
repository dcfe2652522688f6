"""Child processes: no thread, no signal handler, in loops of any thread."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading

import pytest
import ringlet


async def output_of(*command, given=None):
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate(given)
    return out, process.returncode


def test_exec_and_shell_give_output_and_status(run):
    async def main():
        assert await output_of('cat', given=b'through') == (b'through', 0)
        process = await asyncio.create_subprocess_shell(
            'echo $((6 * 7)); exit 3', stdout=asyncio.subprocess.PIPE)
        assert await process.stdout.read() == b'42\n'
        assert await process.wait() == 3

    run(main())


def test_a_signal_that_ends_it_is_its_status(run):
    async def main():
        process = await asyncio.create_subprocess_exec('sleep', '100')
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == -signal.SIGTERM
        with pytest.raises(ProcessLookupError):
            process.kill()

    run(main())


def test_a_program_that_is_not_there_is_told(run, descriptors):
    before = descriptors()

    async def main():
        for _ in range(10):
            with pytest.raises(FileNotFoundError):
                await asyncio.create_subprocess_exec('/no/such/program')

    run(main())
    assert descriptors() == before


def test_neither_threads_nor_signal_handlers_are_used(run):
    earlier = signal.getsignal(signal.SIGCHLD)

    async def main():
        process = await asyncio.create_subprocess_exec('sleep', '0.1')
        assert threading.active_count() == threads
        assert signal.getsignal(signal.SIGCHLD) is earlier
        assert await process.wait() == 0

    threads = threading.active_count()
    run(main())


def test_many_at_once_are_all_reaped(run, descriptors):
    before = descriptors()

    async def main():
        results = await asyncio.gather(*(
            output_of('sh', '-c', f'cat; exit {number % 7}', given=b'%d' % number)
            for number in range(40)))
        assert results == [(b'%d' % number, number % 7) for number in range(40)]

    run(main())
    assert descriptors() == before
    with contextlib.suppress(ChildProcessError):  # other tests may have left some that run
        assert os.waitpid(-1, os.WNOHANG) == (0, 0)


def test_loops_of_several_threads_have_children(driver):
    results = []

    def work(number):
        async def main():
            for _ in range(5):
                results.append(await output_of('sh', '-c', f'exit {number}'))

        ringlet.run(main())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert sorted(results) == sorted((b'', number) for number in range(4) for _ in range(5))


def test_large_output_and_input_flow_at_once(run):
    async def main():
        data = bytes(range(256)) * 8192
        assert await output_of('cat', given=data) == (data, 0)

    run(main())


def test_a_cancelled_wait_leaves_the_process_to_others(run):
    async def main():
        process = await asyncio.create_subprocess_exec('cat', stdin=asyncio.subprocess.PIPE)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), 0.05)
        process.stdin.close()
        assert await process.wait() == 0

    run(main())


def test_a_storm_of_cancelled_starts_leaves_nothing_behind(run, descriptors):
    async def cat():
        process = await asyncio.create_subprocess_exec('cat', stdin=asyncio.subprocess.PIPE)
        try:
            await process.wait()
        finally:
            process.kill()
            await process.wait()

    async def main():
        for turns in range(12):
            task = asyncio.ensure_future(cat())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        for _ in range(200):
            await asyncio.sleep(0.01)
            gc.collect()
            if descriptors() == before:
                break

    run(asyncio.sleep(0))
    before = descriptors()
    run(main())
    assert descriptors() == before


def test_a_loop_closed_with_a_child_running_lets_go_of_it(driver, descriptors):
    before = descriptors()
    loop = ringlet.new_event_loop()
    process = loop.run_until_complete(_start(loop))
    pid = process.get_pid()
    process._proc.returncode = None
    loop.close()
    del loop
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    process._proc.returncode = -9
    del process
    assert descriptors() == before


async def _start(loop):
    transport, _ = await loop.subprocess_exec(
        asyncio.SubprocessProtocol, 'sleep', '100', stdin=None, stdout=None, stderr=None)
    return transport


@pytest.mark.skipif(sys.version_info >= (3, 12), reason='setting watchers is deprecated')
def test_a_watcher_that_the_program_sets_is_used(driver):
    loop = ringlet.new_event_loop()
    asyncio.set_event_loop(loop)
    watcher = asyncio.SafeChildWatcher()
    watcher.attach_loop(loop)
    asyncio.set_child_watcher(watcher)
    try:
        assert signal.getsignal(signal.SIGCHLD) not in (signal.SIG_DFL, None)
        assert loop.run_until_complete(output_of('echo', 'seen')) == (b'seen\n', 0)
    finally:
        asyncio.set_child_watcher(None)
        asyncio.set_event_loop(None)
        loop.close()

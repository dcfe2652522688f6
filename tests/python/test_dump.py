"""dump_tasks: what each live task waits for, where it was made, and what the loop watches."""

import asyncio
import json
import os
import re
import socket

import pytest
import ringlet


async def sleeper():
    await asyncio.sleep(60)


def with_tasks(run, *coroutines, debug=False):
    """Runs them as tasks until they wait; the dump then as text and as data by task's name."""
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_debug(debug)
        tasks = [loop.create_task(each) for each in coroutines]
        for number, task in enumerate(tasks):
            task.set_name(f'task {number}')
        await asyncio.sleep(0.005)
        text, data = ringlet.dump_tasks(), ringlet.dump_tasks_data()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return text, {task['name']: task for task in data['tasks']}, data

    return run(main())


def test_a_sleep_says_since_when_and_how_long_yet(run):
    text, tasks, _ = with_tasks(run, sleeper())
    task = tasks['task 0']
    assert (task['state'], task['waits_for']) == ('waiting', 'sleep')
    assert 0.004 < task['waits_s'] < 20 and 40 < task['at_most_s'] < 60
    assert re.search(r'- task 0, sleeper \(.*test_dump.py:\d+\), waits \d+\.\d{3} s for sleep, '
                     r'at .*test_dump.py:\d+ in sleeper, at most \d+\.\d{3} s more\n', text), text


def test_each_kind_of_wait_has_a_name(run):
    async def lock():
        taken = asyncio.Lock()
        await taken.acquire()
        await taken.acquire()

    async def semaphore():
        await asyncio.Semaphore(0).acquire()

    async def event():
        await asyncio.Event().wait()

    async def get():
        await asyncio.Queue().get()

    async def receive():
        ours, theirs = socket.socketpair()
        with theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                await reader.read(1)
            finally:
                writer.close()

    async def receive_by_socket():
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            await asyncio.get_running_loop().sock_recv(ours, 1)

    async def future():
        await asyncio.get_running_loop().create_future()

    async def process():
        child = await asyncio.create_subprocess_exec('sleep', '60')
        try:
            await child.wait()
        finally:
            child.kill()
            await child.wait()

    waits = {lock: 'lock', semaphore: 'lock', event: 'event', get: 'queue get',
             receive: 'receive', receive_by_socket: 'receive', future: 'future'}
    _, tasks, _ = with_tasks(run, *[each() for each in waits])
    for number, (each, name) in enumerate(waits.items()):
        task = tasks[f'task {number}']
        assert task['waits_for'] == name, each
        assert task['stack'][0].endswith(f'in {each.__name__}')

    async def started():
        task = asyncio.ensure_future(process())
        for _ in range(2000):
            await asyncio.sleep(0.005)
            data = ringlet.dump_tasks_data()
            seen = {each['waits_for'] for each in data['tasks']}
            if 'process' in seen:
                break
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return seen

    assert 'process' in run(started())


def test_children_stand_below_those_who_wait_for_them(run):
    async def parent():
        await asyncio.gather(sleeper(), sleeper())

    async def waiter(task):
        await task

    async def main():
        child = asyncio.ensure_future(sleeper())
        await waiter(asyncio.ensure_future(waiter(child)))

    text, tasks, data = with_tasks(run, parent(), main())
    assert len(tasks['task 0']['children']) == 2
    assert tasks['task 0']['waits_for'] == 'gather (2 children)'
    by_id = {task['id']: task for task in data['tasks']}
    middle = by_id[tasks['task 1']['children'][0]]
    assert by_id[middle['children'][0]]['coroutine'] == 'sleeper'
    assert re.search(r'^- task 0.*\n  - .*sleeper.*\n  - .*sleeper', text, re.MULTILINE), text
    assert re.search(r'^- task 1.*\n  - .*waiter.*\n    - .*sleeper', text, re.MULTILINE), text


def test_tasks_of_one_name_are_told_apart(run):
    async def pair():
        tasks = [asyncio.ensure_future(sleeper()) for _ in range(3)]
        for task in tasks:
            task.set_name('same')
        await asyncio.gather(*tasks)

    text, _, _ = with_tasks(run, pair())
    assert text.count('- same, sleeper') == 3


def test_a_chain_of_thousands_of_tasks_is_no_recursion(run):
    async def link(task):
        await task

    async def main():
        task = first = asyncio.ensure_future(sleeper())
        for _ in range(3000):
            task = asyncio.ensure_future(link(task))
        await asyncio.sleep(0.01)
        text = ringlet.dump_tasks()
        first.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return text

    assert run(main()).count(' for task ') == 3000


def test_debug_mode_says_where_a_task_was_created(run):
    text, tasks, data = with_tasks(run, sleeper(), debug=True)
    assert data['debug'] is True
    assert 'test_dump.py' in tasks['task 0']['created']
    assert ', created at ' in text


def test_who_asks_is_running_and_who_was_woken_is_ready(run):
    async def main():
        event = asyncio.Event()
        task = asyncio.ensure_future(event.wait())
        task.set_name('woken')
        fresh = asyncio.ensure_future(asyncio.sleep(0))
        await asyncio.sleep(0)
        event.set()
        new = asyncio.ensure_future(asyncio.sleep(0))
        new.set_name('new')
        cancelled = asyncio.ensure_future(sleeper())
        cancelled.set_name('cancelled')
        await asyncio.sleep(0)
        states = {each['name']: each for each in ringlet.dump_tasks_data()['tasks']}
        cancelled.cancel()
        await asyncio.gather(task, fresh, new, cancelled, return_exceptions=True)
        return states, asyncio.current_task().get_name()

    states, me = run(main())
    assert states[me]['state'] == 'running'
    assert states['new']['state'] == 'ready'
    assert states['cancelled']['state'] == 'waiting'


def test_the_loops_descriptors_and_timers_are_told(loop, run):
    ours, theirs = os.pipe()
    loop.add_reader(ours, print)
    timers = [loop.call_later(60, print) for _ in range(3)]
    text, _, data = with_tasks(run)
    assert {'descriptor': ours, 'read': 'print', 'write': None} in data['descriptors']
    assert f'- descriptor {ours}: read by print\n' in text
    assert data['timers'] >= 3 and data['driver'] == loop.driver
    assert f"driver {loop.driver}, at " in text
    for timer in timers:
        timer.cancel()
    loop.remove_reader(ours)
    os.close(ours)
    os.close(theirs)


def test_a_loop_can_be_named_and_need_not_be_ours_nor_run(loop):
    task = loop.create_task(sleeper(), name='later') if hasattr(
        asyncio, 'TaskGroup') else loop.create_task(sleeper())
    data = ringlet.dump_tasks_data(loop)
    assert [each['state'] for each in data['tasks']] == ['ready'] and not data['running']
    assert ringlet.dump_tasks(loop).startswith('1 live task, ')
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    with pytest.raises(RuntimeError):
        ringlet.dump_tasks()
    other = asyncio.SelectorEventLoop()
    json.dumps(ringlet.dump_tasks_data(other))
    assert ringlet.dump_tasks(other).startswith('0 live tasks, ')
    other.close()
    ringlet.dump_tasks(other)


def test_the_data_is_json(run):
    _, _, data = with_tasks(run, sleeper(), asyncio.wait_for(sleeper(), 60))
    assert json.loads(json.dumps(data)) == data


def test_calls_without_frames_wait_as_well(loop, run):
    async def main():
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=theirs)
        tasks = [loop.create_task(loop.sock_recv(ours, 10)), loop.create_task(reader.read(10))]
        fresh = [each['state'] for each in ringlet.dump_tasks_data()['tasks']]
        await asyncio.sleep(0.01)
        waiting = [(each['state'], each['waits_for'])
                   for each in ringlet.dump_tasks_data()['tasks'] if each['state'] != 'running']
        assert fresh.count('ready') == 2
        assert waiting.count(('waiting', 'receive')) == 2, waiting
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()
        ours.close()

    run(main())

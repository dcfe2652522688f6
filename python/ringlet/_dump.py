"""What is everybody waiting for? The live tasks of a loop, as text and as data."""

from __future__ import annotations

import asyncio
import os
from asyncio import events

from ringlet import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FrameType
    from typing import Any, Iterable, Optional

# asyncio's own waits, by the function that waits; C++'s dumps use the same names where they have
# the same wait.
_WAITS = {
    ('tasks', 'sleep'): 'sleep',
    ('tasks', '_wait'): 'wait',
    ('tasks', 'wait_for'): 'with_timeout',
    ('locks', 'acquire'): 'lock',
    ('locks', 'wait'): 'event',
    ('queues', 'get'): 'queue get',
    ('queues', 'put'): 'queue put',
    ('queues', 'join'): 'queue join',
    ('streams', '_wait_for_data'): 'receive',
    ('streams', '_drain_helper'): 'send',
    ('streams', 'wait_closed'): 'close',
    ('base_events', 'create_connection'): 'connect',
    ('base_events', 'getaddrinfo'): 'name look-up',
    ('base_events', 'serve_forever'): 'accept',
    ('base_subprocess', '_wait'): 'process',
    ('subprocess', 'communicate'): 'process',
    ('taskgroups', '__aexit__'): 'task group',
    ('taskgroups', '_aexit'): 'task group',
    ('runners', '_cancel_all_tasks'): 'cancelled tasks',
}
_ASYNCIO = os.path.dirname(os.path.abspath(asyncio.__file__))


def dump_tasks(loop: Optional[asyncio.AbstractEventLoop] = None) -> str:
    """Say what every live task of the running loop, or of `loop`, waits for.

    One line each, below it those that it waits for. In debug mode a line also says where the task
    was created. docs/python.md tells how to read it.
    """
    data = dump_tasks_data(loop)
    tasks = {task['id']: task for task in data['tasks']}
    awaited = {child for task in tasks.values() for child in task['children']}
    lines = [_heading(data)]
    told: set[int] = set()
    # Those that nobody waits for first; what is left then waits in a circle.
    for root in [task for task in tasks if task not in awaited] + list(tasks):
        still = [(root, 0)]
        while still:
            number, depth = still.pop()
            if number not in told:
                told.add(number)
                lines.append('  ' * min(depth, 20) + '- ' + _line(tasks[number]))
                still += [(child, depth + 1) for child in reversed(tasks[number]['children'])]
    for watched in data['descriptors']:
        what = ' and '.join(f'{side} by {watched[side]}' for side in ('read', 'write')
                            if watched[side])
        lines.append(f"- descriptor {watched['descriptor']}: {what}")
    return '\n'.join(lines) + '\n'


def dump_tasks_data(loop: Optional[asyncio.AbstractEventLoop] = None) -> dict[str, Any]:
    """Say the same as data that json.dumps() takes: dicts, lists, strings, numbers, None.

    Of the loop: driver (None on another loop), time, running, debug; timers, operations and ready,
    counts; tasks; descriptors, each with the callbacks that read and write. Of a task: id, name,
    coroutine, where it was defined and created (with created_stack, in debug mode), state
    ("running", "ready" or "waiting"), cancelling, waits_for (a name, or None), waits_s and
    at_most_s (seconds that a sleep has waited and will), stack (of awaits, the outermost first) and
    children (the ids of the tasks that it waits for).
    """
    if loop is None:
        loop = asyncio.get_running_loop()
    now = loop.time()
    current = asyncio.current_task(loop)
    live = sorted(asyncio.all_tasks(loop), key=lambda task: (len(task.get_name()), task.get_name()))
    numbers = {task: number for number, task in enumerate(live)}
    tasks = [_describe(task, task is current, now, numbers) for task in live]
    stats: dict[str, int] = {}
    watched: list[tuple[int, Any, Any]] = []
    driver: Optional[str] = None
    if isinstance(loop, _native.Loop) and not loop.is_closed():
        stats, watched, driver = loop.stats(), loop._watched(), loop.driver
    return {
        'driver': driver,
        'time': now,
        'running': loop.is_running(),
        'debug': loop.get_debug(),
        'timers': stats.get('timers_pending'),
        'operations': stats.get('operations_live'),
        'ready': stats.get('ready'),
        'tasks': tasks,
        'descriptors': [
            {'descriptor': fd, 'read': _callback(reader), 'write': _callback(writer)}
            for fd, reader, writer in watched],
    }


def _describe(task: asyncio.Task[Any], current: bool, now: float,
              numbers: dict[asyncio.Task[Any], int]) -> dict[str, Any]:
    frames, last = _await_chain(task.get_coro())
    waiter = getattr(task, '_fut_waiter', None)
    waiting = waiter is not None or (last is not None and len(frames) > 0)
    state = 'running' if current else 'waiting' if waiting else 'ready'
    if state == 'waiting' and waiter is not None and waiter.done():
        state = 'ready'  # woken, and not run yet
    waits_for, children = _wait_of(frames, waiter, last)
    since, until = _sleep_of(frames) if state == 'waiting' else (None, None)
    created = _created(task)
    code = getattr(task.get_coro(), 'cr_code', None)
    return {
        'id': numbers[task],
        'name': task.get_name(),
        'coroutine': getattr(task.get_coro(), '__qualname__', repr(task.get_coro())),
        'defined': f'{_short(code.co_filename)}:{code.co_firstlineno}' if code else None,
        'created': created[-1] if created else None,
        'created_stack': created,
        'state': state,
        'cancelling': bool(getattr(task, '_must_cancel', False)
                           or (hasattr(task, 'cancelling') and task.cancelling())),
        'waits_for': waits_for if state == 'waiting' else None,
        'waits_s': None if since is None else now - since,
        'at_most_s': None if until is None else max(0.0, until - now),
        'stack': [f'{_place(frame)} in {frame.f_code.co_name}' for frame in frames],
        'children': [numbers[child] for child in children if child in numbers],
    }


def _await_chain(coroutine: Any) -> tuple[list[FrameType], Any]:
    """The frames of a chain of awaits, outermost first, and what the last of them awaits."""
    frames: list[FrameType] = []
    while coroutine is not None:
        for kind in ('cr', 'gi', 'ag'):
            if hasattr(coroutine, f'{kind}_code'):
                break
        else:
            return frames, coroutine
        frame = getattr(coroutine, f'{kind}_frame')
        if frame is None:
            return frames, None
        frames.append(frame)
        coroutine = getattr(coroutine, f'{kind}_yieldfrom' if kind == 'gi' else f'{kind}_await')
    return frames, None


def _wait_of(
    frames: list[FrameType], waiter: Any, last: Any
) -> tuple[Optional[str], Iterable[asyncio.Task[Any]]]:
    """What a wait is called, and the tasks that it waits for."""
    if isinstance(waiter, asyncio.Task):
        return f'task {waiter.get_name()!r}', [waiter]
    if hasattr(waiter, '_children'):
        children = [child for child in waiter._children if isinstance(child, asyncio.Task)]
        return f'gather ({len(waiter._children)} children)', children
    for frame in reversed(frames):
        name = _known_wait(frame.f_code)
        if name is None:
            if _is_asyncio(frame.f_code):
                continue
            break
        held: Any = []
        if name == 'wait':
            held = frame.f_locals.get('fs', ())
        elif name == 'task group':
            held = getattr(frame.f_locals.get('self'), '_tasks', ())
        return name, [child for child in held if isinstance(child, asyncio.Task)]
    if last is not None and not isinstance(last, asyncio.Future):
        return _wait_of_call(last), []
    return 'future', []


def _wait_of_call(awaitable: Any) -> str:
    """What an awaitable that is no coroutine waits for: ours are called as the methods are."""
    if isinstance(awaitable, (_native.SocketCall, _native.StreamCall)):
        name = awaitable.__name__
        for part, wait in (('recv', 'receive'), ('read', 'receive'), ('send', 'send'),
                           ('drain', 'send'), ('accept', 'accept')):
            if part in name:
                return wait
        return name
    name = type(awaitable).__name__
    return 'future' if name == 'FutureIter' else name


def _known_wait(code: CodeType) -> Optional[str]:
    if not _is_asyncio(code):
        return None
    module = os.path.splitext(os.path.basename(code.co_filename))[0]
    return _WAITS.get((module, code.co_name))


def _is_asyncio(code: CodeType) -> bool:
    return os.path.dirname(code.co_filename) == _ASYNCIO


def _sleep_of(frames: list[FrameType]) -> tuple[Optional[float], Optional[float]]:
    """When a sleep began and when it ends: the one wait that knows."""
    if frames and _known_wait(frames[-1].f_code) == 'sleep':
        known = frames[-1].f_locals
        if isinstance(known.get('h'), asyncio.TimerHandle) or hasattr(known.get('h'), 'when'):
            until = known['h'].when()
            return until - known['delay'], until
    return None, None


def _created(task: asyncio.Task[Any]) -> list[str]:
    """In debug mode: the stack that created the task, without asyncio's own part of it."""
    stack = getattr(task, '_source_traceback', None) or []
    ours = os.path.dirname(os.path.abspath(__file__))
    places = [(os.path.dirname(frame.filename), f'{_short(frame.filename)}:{frame.lineno}')
              for frame in stack]
    while places and places[-1][0] in (_ASYNCIO, ours):
        places.pop()
    return [place for _, place in places]


def _place(frame: FrameType) -> str:
    return f'{_short(frame.f_code.co_filename)}:{frame.f_lineno}'


def _short(path: str) -> str:
    return os.path.join(os.path.basename(os.path.dirname(path)), os.path.basename(path))


def _callback(handle: Optional[events.Handle]) -> Optional[str]:
    if handle is None:
        return None
    callback = getattr(handle, '_callback', None)
    return getattr(callback, '__qualname__', None) or repr(callback)


def _heading(data: dict[str, Any]) -> str:
    def many(count: int, what: str) -> str:
        return f'{count} {what}' if count == 1 else f'{count} {what}s'

    parts = [many(len(data['tasks']), 'live task')]
    for key, what in (('operations', 'operation'), ('timers', 'timer')):
        if data[key] is not None:
            parts.append(many(data[key], what))
    parts.append(many(len(data['descriptors']), 'watched descriptor'))
    if data['driver']:
        parts.append(f"driver {data['driver']}")
    return f"{', '.join(parts)}, at {data['time']:.3f} s"


def _line(task: dict[str, Any]) -> str:
    words = [f"{task['name']}, {task['coroutine']}"]
    if task['defined']:
        words[0] += f" ({task['defined']})"
    if task['created']:
        words.append(f"created at {task['created']}")
    if task['cancelling']:
        words.append('cancelled')
    if task['state'] == 'waiting':
        since = '' if task['waits_s'] is None else f" {task['waits_s']:.3f} s"
        words.append(f"waits{since} for {task['waits_for']}")
        if task['stack']:
            words.append(f"at {task['stack'][_user_frame(task['stack'])]}")
        if task['at_most_s'] is not None:
            words.append(f"at most {task['at_most_s']:.3f} s more")
    else:
        words.append(task['state'])
    return ', '.join(words)


def _user_frame(stack: list[str]) -> int:
    """The innermost place that is not asyncio's."""
    for at in range(len(stack) - 1, -1, -1):
        if not stack[at].startswith('asyncio' + os.sep):
            return at
    return len(stack) - 1

"""ringlet.run(): asyncio.run() on a loop of ours, also where asyncio has no Runner."""

from __future__ import annotations

import asyncio
import sys
from asyncio import coroutines, events

from ringlet._loop import EventLoop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Coroutine, TypeVar

    _T = TypeVar('_T')


def run(
    main: Coroutine[Any, Any, _T],
    *,
    debug: bool | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> _T:
    """Run a coroutine to its end on a new loop, as asyncio.run() does, and return its result.

    Tasks that are left then are cancelled and waited for, asynchronous generators and the default
    executor are shut down, and the loop is closed. `loop_factory` makes another loop than ours.
    """
    if events._get_running_loop() is not None:
        raise RuntimeError('ringlet.run() cannot be called from a running event loop')
    factory = loop_factory or EventLoop
    if sys.version_info >= (3, 11):
        with asyncio.Runner(debug=debug, loop_factory=factory) as runner:
            return runner.run(main)
    else:
        return _run_without_runner(main, debug, factory)


def _run_without_runner(
    main: Coroutine[Any, Any, _T],
    debug: bool | None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> _T:
    if not coroutines.iscoroutine(main):
        raise ValueError(f'a coroutine was expected, got {main!r}')
    loop = loop_factory()
    try:
        asyncio.set_event_loop(loop)
        if debug is not None:
            loop.set_debug(debug)
        return loop.run_until_complete(main)
    finally:
        try:
            _end_tasks(loop)
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    # Cancels what is left, lets it end, and tells of what failed on the way.
    left = asyncio.all_tasks(loop)
    if not left:
        return
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    for task in left:
        if not task.cancelled() and task.exception() is not None:
            loop.call_exception_handler({
                'message': 'unhandled exception during ringlet.run() shutdown',
                'exception': task.exception(),
                'task': task,
            })

"""Ringlet: an asyncio event loop on io_uring.

    import ringlet
    ringlet.run(main())
"""

import asyncio as _asyncio

from ringlet._loop import EventLoop

__all__ = ('EventLoop', 'EventLoopPolicy', 'install', 'new_event_loop', 'run')


def new_event_loop():
    """Make an event loop; the factory for asyncio.Runner(loop_factory=...)."""
    return EventLoop()


class EventLoopPolicy(_asyncio.DefaultEventLoopPolicy):
    """An asyncio policy whose loops are Ringlet's."""

    _loop_factory = EventLoop


def install():
    """Make Ringlet's the loop of asyncio.run() and all else that asks asyncio's policy."""
    _asyncio.set_event_loop_policy(EventLoopPolicy())


if hasattr(_asyncio, 'Runner'):

    def run(main, *, debug=None):
        """Run a coroutine to its end on a new loop, as asyncio.run() does."""
        with _asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
            return runner.run(main)

else:
    from ringlet._run import run

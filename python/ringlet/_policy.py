"""The asyncio policy whose loops are Ringlet's. Imported by who asks for it."""

from __future__ import annotations

import asyncio

from ringlet._loop import EventLoop


class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
    """An asyncio policy whose loops are Ringlet's."""

    _loop_factory = EventLoop

    def new_event_loop(self) -> EventLoop:
        """Make an event loop. It is not set as the current one."""
        return EventLoop()

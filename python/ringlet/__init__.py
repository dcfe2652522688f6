"""Ringlet: an asyncio event loop on io_uring.

    import ringlet
    ringlet.run(main())

runs a program written for asyncio on the ring; asyncio.run() does so after ringlet.install().
Where the kernel refuses io_uring, the loop runs on epoll, and says why on stderr.

__version__   the version, as pip knows it
tls_backend   what does TLS: "native" (in the loop itself) or "sslproto" (asyncio's own code)
"""

from __future__ import annotations

import asyncio as _asyncio

from ringlet import _native, _tls
from ringlet._loop import EventLoop
from ringlet._run import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ringlet._dump import dump_tasks, dump_tasks_data
    from ringlet._policy import EventLoopPolicy

__all__ = (
    'EventLoop',
    'EventLoopPolicy',
    'dump_tasks',
    'dump_tasks_data',
    'install',
    'new_event_loop',
    'run',
    'tls_backend',
)

__version__: str = _native.version
tls_backend: str = _tls.backend


def new_event_loop() -> EventLoop:
    """Make an event loop; the factory for asyncio.Runner(loop_factory=...)."""
    return EventLoop()


def install() -> None:
    """Make Ringlet's the loop of asyncio.run() and all else that asks asyncio's policy.

    Policies are deprecated from Python 3.14 on: there, ringlet.run() is the better way.
    """
    from ringlet._policy import EventLoopPolicy as policy
    _asyncio.set_event_loop_policy(policy())


if not TYPE_CHECKING:
    # What few programs want is imported when it is asked for. (And naming asyncio's policy warns
    # from Python 3.14 on.)
    _LATER = {
        'EventLoopPolicy': 'ringlet._policy',
        'dump_tasks': 'ringlet._dump',
        'dump_tasks_data': 'ringlet._dump',
    }

    def __getattr__(name):
        if name not in _LATER:
            raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
        from importlib import import_module
        value = globals()[name] = getattr(import_module(_LATER[name]), name)
        return value

    def __dir__():
        return sorted({*globals(), *_LATER})

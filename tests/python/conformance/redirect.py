"""Sends every place where CPython's asyncio tests make a loop to one factory.

What is redirected: `asyncio.new_event_loop` (and so `asyncio.run`, `Runner`, isolated cases, and
all policies) through the default policy's `_loop_factory`; the classes a test calls by name
(`asyncio.SelectorEventLoop`, `asyncio.EventLoop`, `asyncio.BaseEventLoop`, in `asyncio` and in
`asyncio.unix_events`); the tests' own helper `new_test_loop`, where no virtual time is asked for.

What is not: tests that derive a loop class of their own, call a transport's or protocol's class
with a mocked loop, or run a program that makes its own loop. They never call the factory, and the
runner counts them apart.
"""

import asyncio
import importlib
import re
import sys
import types

# These look into what only the helper's own loop has: its recorded readers, writers and counters.
KEEP_TEST_LOOP = ("test_selector_events", "test_proactor_events", "test_unix_events")

# With every loop redirected these are the same tests as EPollEventLoopTests once more.
REPEATED = re.compile(r"\b(test_events|test_sendfile|test_sock_lowlevel)"
                      r"\.(Select|Poll)EventLoopTests\.")


class Factory:
    """Makes loops, and counts what the running test has made."""

    def __init__(self, name):
        self.name = name
        self.make = resolve(name)
        self.made = 0
        self.loop_type = None

    def __call__(self, *args, **kwargs):
        # The arguments are selectors, which mean nothing to another kind of loop.
        self.made += 1
        loop = self.make()
        self.loop_type = type(loop)
        return loop

    def counting(self, make):
        """Another maker, whose loops count as the factory's."""
        def counted():
            self.made += 1
            return make()

        return counted


def resolve(name):
    """The callable that `module:name` means, unaware of the redirection."""
    module, _, attribute = name.partition(":")
    if module == "asyncio":
        return asyncio.SelectorEventLoop
    return getattr(importlib.import_module(module), attribute or "new_event_loop")


def redirected_class(original, make, factory):
    """A class that stands for `original`: called, it is `make`; derived from, it is as ever."""

    class Redirected(type(original)):
        def __call__(cls, *args, **kwargs):
            if cls is replacement:
                return make(*args, **kwargs)
            return super().__call__(*args, **kwargs)

        def __instancecheck__(cls, instance):
            if cls is not replacement:
                return super().__instancecheck__(instance)
            return isinstance(instance, original) or type(instance) is factory.loop_type

    replacement = Redirected(original.__name__, (original,), {"__module__": original.__module__})
    return replacement


def redirect_asyncio(factory):
    unix_events = asyncio.unix_events
    for name in ("_UnixDefaultEventLoopPolicy", "_DefaultEventLoopPolicy"):
        policy = getattr(unix_events, name, None)
        if policy is not None:
            policy._loop_factory = factory  # an instance: it is not bound as a function would be
    selector_class = redirected_class(asyncio.SelectorEventLoop, factory, factory)
    for module in (asyncio, unix_events):
        for name in ("SelectorEventLoop", "EventLoop"):
            if hasattr(module, name):
                setattr(module, name, selector_class)
    # What calls this then mocks its selector, without which a loop of asyncio's cannot run.
    bare = asyncio.BaseEventLoop
    make = factory if factory.make is not selector_class.__base__ else factory.counting(bare)
    asyncio.BaseEventLoop = redirected_class(bare, make, factory)


def redirect_utils(utils, factory, module):
    """The helpers of test.test_asyncio that make and close loops."""
    case = utils.TestCase
    if module not in KEEP_TEST_LOOP:
        original = case.new_test_loop

        def new_test_loop(self, gen=None):
            if gen is not None:
                return original(self, gen)
            loop = factory()
            self.set_event_loop(loop)
            return loop

        case.new_test_loop = new_test_loop
    close_loop = case.close_loop

    def close_any_loop(loop):
        if hasattr(loop, "_default_executor"):
            return close_loop(loop)
        return loop.close()

    case.close_loop = staticmethod(close_any_loop)


def redirect_module(module, factory):
    """`base_events.BaseEventLoop()` in test_base_events; elsewhere that name is only derived from.

    And `uvloop.new_event_loop()`, where a test module has the package, or what stands for it.
    """
    uvloop = sys.modules.get("uvloop")
    if uvloop is not None and factory.name != "uvloop:new_event_loop":
        uvloop.new_event_loop = factory
    if module.__name__.rpartition(".")[2] == "test_base_events":
        proxy = types.ModuleType(module.base_events.__name__)
        proxy.__dict__.update(module.base_events.__dict__)
        proxy.BaseEventLoop = asyncio.BaseEventLoop
        module.base_events = proxy

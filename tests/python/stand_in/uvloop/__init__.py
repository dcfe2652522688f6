"""Stands for the package `uvloop` when uvloop's own tests run on another loop.

STAND_IN_FACTORY is "module:callable", the maker of that loop; STAND_IN_SOURCE the folder of
uvloop's sources, of which only what is Python (the base of its tests) can be imported.
"""

import asyncio
import importlib
import os

__path__.append(os.environ["STAND_IN_SOURCE"])
_module, _, _name = os.environ["STAND_IN_FACTORY"].partition(":")
_package = importlib.import_module(_module)
_selector_class = asyncio.SelectorEventLoop  # as it is before anyone redirects it
run = _package.run


def new_event_loop():
    return _selector_class() if _module == "asyncio" else getattr(_package, _name)()


def _type():
    loop = new_event_loop()
    loop.close()
    return type(loop)


Loop = _type()


class EventLoopPolicy(asyncio.DefaultEventLoopPolicy):
    _loop_factory = staticmethod(new_event_loop)


def install():
    asyncio.set_event_loop_policy(EventLoopPolicy())

"""The classes that asyncio's streams become on a native transport, see stream_reader.h."""

import asyncio
import collections.abc
import functools
from asyncio import streams

from ringlet import _native

collections.abc.Coroutine.register(_native.StreamCall)


class StreamReader(asyncio.StreamReader):
    """asyncio.StreamReader with read() and readexactly() in C."""


class StreamWriter(asyncio.StreamWriter):
    """asyncio.StreamWriter with write() and drain() in C."""


def _connected(callback, reader, writer):
    if type(writer) is asyncio.StreamWriter:
        writer.__class__ = StreamWriter
    return callback(reader, writer)


_native._set_up_streams(
    streams.StreamReaderProtocol, asyncio.StreamReader, asyncio.StreamWriter, StreamReader,
    StreamWriter, asyncio.IncompleteReadError, functools.partial(functools.partial, _connected))

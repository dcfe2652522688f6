"""The classes that asyncio's streams become on a native transport, see stream_reader.h."""

import asyncio
import collections.abc
from asyncio import streams

from ringlet import _native

collections.abc.Coroutine.register(_native.StreamCall)


class StreamReader(asyncio.StreamReader):
    """asyncio.StreamReader with read() and readexactly() in C."""


class StreamWriter(asyncio.StreamWriter):
    """asyncio.StreamWriter with write() and drain() in C."""


_native._set_up_streams(streams.StreamReaderProtocol, asyncio.StreamReader, asyncio.StreamWriter,
                        StreamReader, StreamWriter, asyncio.IncompleteReadError)

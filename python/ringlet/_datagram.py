"""The datagram transport: asyncio's own above what is native of it."""

import asyncio
import contextlib
import socket
from asyncio import selector_events

from ringlet import _native


class DatagramTransport(_native.DatagramTransport, selector_events._SelectorDatagramTransport,
                        asyncio.DatagramTransport):
    """A transport of datagrams on a socket; see asyncio.DatagramTransport."""

    def __repr__(self):
        info = [self.__class__.__name__]
        if self._sock is None:
            info.append('closed')
        elif self._closing:
            info.append('closing')
        info.append(f'fd={self._sock_fd}')
        if self._loop is not None and not self._loop.is_closed():
            size = self.get_write_buffer_size()
            info.append(f"read={'polling' if self._waiting else 'idle'}")
            info.append(f"write=<{'polling' if size else 'idle'}, bufsize={size}>")
        return f"<{' '.join(info)}>"


class _NoName(str):
    """The empty name of a peer that is there all the same: the other socket of a pair."""

    def __bool__(self):
        return True


def make(loop, sock, protocol, address, waiter, extra):
    """The transport for a socket: asyncio's own for kinds that the native one does not know."""
    kind = selector_events._SelectorDatagramTransport
    if type(sock) is socket.socket and sock.family in (socket.AF_INET, socket.AF_INET6,
                                                       socket.AF_UNIX):
        kind = DatagramTransport
    if sock.family == socket.AF_UNIX:
        # asyncio asks if the name is true to know if the socket is connected.
        with contextlib.suppress(OSError):
            if sock.getpeername() == '':
                extra = {**(extra or {}), 'peername': _NoName()}
    return kind(loop, sock, protocol, address, waiter, extra)

"""Streams: the loop's socket transports, and servers on the native accept."""

import errno
import functools
import os
import socket
from asyncio import constants, trsock
from asyncio.log import logger

from ringlet import _native, _stream_classes  # noqa: F401, the latter sets up the former
from ringlet._transport import SocketTransport


class Streams:
    """The part of the loop that makes socket transports; before asyncio's own in its bases."""

    def _make_socket_transport(self, sock, protocol, waiter=None, *, extra=None, server=None):
        self._ensure_fd_no_transport(sock)
        return SocketTransport(self, sock, protocol, waiter, extra, server)

    def _start_serving(self, protocol_factory, sock, sslcontext=None, server=None, backlog=100,
                       *timeouts):
        self._ensure_fd_no_transport(sock)
        call = (protocol_factory, sock, sslcontext, server, backlog, *timeouts)
        self._acceptors[sock] = _native.Acceptor(
            self, sock.fileno(), None if sslcontext else protocol_factory, SocketTransport, server,
            functools.partial(self._accepted, *call),
            functools.partial(self._accept_failed, *call))

    def _stop_serving(self, sock):
        acceptor = self._acceptors.pop(sock, None)
        if acceptor is not None:
            acceptor.close()
        super()._stop_serving(sock)

    def _accepted(self, protocol_factory, sock, sslcontext, server, backlog, *more):
        *timeouts, fd = more
        try:
            conn = socket.socket(fileno=fd)
        except BaseException:
            os.close(fd)
            raise
        conn.setblocking(False)
        try:
            address = conn.getpeername()
        except OSError:
            address = None
        if self._debug:
            logger.debug('%r got a new connection from %r: %r', server, address, conn)
        self.create_task(self._accept_connection2(
            protocol_factory, conn, {'peername': address}, sslcontext, server, *timeouts))

    def _accept_failed(self, protocol_factory, sock, *more):
        *_, exc = more
        self._acceptors.pop(sock, None)
        if sock.fileno() < 0:
            return  # its owner has closed it
        out = exc.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
        self.call_exception_handler({
            'message': 'socket.accept() out of system resource' if out else
                       'socket.accept() failed',
            'exception': exc,
            'socket': trsock.TransportSocket(sock),
        })
        self.call_later(constants.ACCEPT_RETRY_DELAY, self._serve_again, protocol_factory, sock,
                        *more[:-1])

    def _serve_again(self, protocol_factory, sock, *more):
        if sock.fileno() >= 0:
            self._start_serving(protocol_factory, sock, *more)

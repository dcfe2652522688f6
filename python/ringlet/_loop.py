"""The event loop: the native loop, and CPython's own selector loop for all that is not hot."""

from __future__ import annotations

import asyncio
import collections.abc
import selectors
from asyncio import base_events, format_helpers

from ringlet import _datagram, _native, _tls
from ringlet._processes import Children
from ringlet._sendfile import SendFile
from ringlet._streams import Streams


collections.abc.Coroutine.register(_native.SocketCall)


class _Watched(selectors.BaseSelector):
    """What the base class takes for its selector: a read-only view of the watched descriptors."""

    def __init__(self, loop):
        self._loop = loop

    def register(self, fileobj, events, data=None):
        raise NotImplementedError('use the add_reader and add_writer methods of the loop')

    def unregister(self, fileobj):
        raise NotImplementedError('use the remove_reader and remove_writer methods of the loop')

    def select(self, timeout=None):
        raise NotImplementedError('the loop waits by itself')

    def close(self):
        self._loop = None

    def get_key(self, fileobj):
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        try:
            return self.get_map()[fd]
        except KeyError:
            raise KeyError(f'{fileobj!r} is not registered') from None

    def get_map(self):
        keys = {}
        for fd, reader, writer in self._loop._watched() if self._loop else ():
            events = (selectors.EVENT_READ if reader else 0) | (
                selectors.EVENT_WRITE if writer else 0)
            keys[fd] = selectors.SelectorKey(fd, fd, events, (reader, writer))
        return keys


class TimerHandle(asyncio.TimerHandle):
    """A timer in debug mode, where handles are asyncio's own and so are reports of them."""

    __slots__ = ('_carrier',)

    def cancel(self) -> None:
        super().cancel()
        self._carrier.cancel()


class EventLoop(_native.Loop, Children, SendFile, Streams, asyncio.SelectorEventLoop):
    """An asyncio event loop on io_uring, or on epoll where the kernel refuses io_uring.

    Everything that asyncio's own loop promises holds. In addition:

    driver      "uring" or "epoll". RINGLET_DRIVER forces one.
    stats()     the loop's counters since it was made, a dict of ints
    """

    def __init__(self) -> None:
        _native.Loop.__init__(self)
        self._acceptors = {}  # by the listening socket
        asyncio.SelectorEventLoop.__init__(self, _Watched(self))
        self._pidfds = set()

    def run_forever(self) -> None:
        earlier = self._until_stopped
        self._until_stopped = True
        try:
            super().run_forever()
        finally:
            self._until_stopped = earlier

    def close(self) -> None:
        if self.is_running():
            raise RuntimeError('Cannot close a running event loop')
        if self.is_closed():
            return
        self._check_owner()
        try:
            super().close()
        finally:  # in another thread than the main one, signal handlers cannot be removed
            self._forget_children()
            self._close()

    def _make_datagram_transport(self, sock, protocol, address=None, waiter=None, extra=None):
        self._ensure_fd_no_transport(sock)
        return _datagram.make(self, sock, protocol, address, waiter, extra)

    # TLS, see _tls.

    def _make_ssl_transport(self, rawsock, protocol, sslcontext, waiter=None, *,
                            server_side=False, server_hostname=None, extra=None, server=None,
                            **timeouts):
        ssl_protocol = _tls.SSLProtocol(self, protocol, sslcontext, waiter, server_side,
                                        server_hostname, **timeouts)
        self._make_socket_transport(rawsock, ssl_protocol, extra=extra, server=server)
        return ssl_protocol._app_transport

    async def start_tls(
        self, transport: asyncio.WriteTransport, protocol: asyncio.BaseProtocol,
        sslcontext: _tls.ssl.SSLContext, *, server_side: bool = False,
        server_hostname: str | None = None, **timeouts: float | None,
    ) -> asyncio.Transport | None:
        """Begin TLS on a connection; `transport` and its protocol belong to TLS afterwards."""
        if _tls.backend == 'sslproto':
            return await super().start_tls(transport, protocol, sslcontext,
                                           server_side=server_side,
                                           server_hostname=server_hostname, **timeouts)
        if not isinstance(sslcontext, _tls.ssl.SSLContext):
            raise TypeError('sslcontext is expected to be an instance of ssl.SSLContext, '
                            f'got {sslcontext!r}')
        if not getattr(transport, '_start_tls_compatible', False):
            raise TypeError(f'transport {transport!r} is not supported by start_tls()')
        waiter = self.create_future()
        ssl_protocol = _tls.SSLProtocol(self, protocol, sslcontext, waiter, server_side,
                                        server_hostname, call_connection_made=False, **timeouts)
        # Nothing may arrive at the new protocol before it knows its transport.
        transport.pause_reading()
        transport.set_protocol(ssl_protocol)
        begun = self.call_soon(ssl_protocol.connection_made, transport)
        resumed = self.call_soon(transport.resume_reading)
        try:
            await waiter
        except BaseException:
            transport.close()
            begun.cancel()
            resumed.cancel()
            raise
        return ssl_protocol._app_transport

    # Called by the native loop.

    def _report_handle(self, handle, exception):
        callback = format_helpers._format_callback_source(handle._callback, handle._args)
        self.call_exception_handler({
            'message': f'Exception in callback {callback}',
            'exception': exception,
            'handle': handle,
        })

    def _run_foreign(self, handle):
        try:
            if handle._cancelled:
                return
            if not self._debug:
                handle._run()
                return
            self._current_handle = handle
            started = self.time()
            handle._run()
            took = self.time() - started
            if took >= self.slow_callback_duration:
                self._warn_of(base_events._format_handle(handle), took)
        finally:
            self._current_handle = None
            handle = None  # an exception's traceback may keep this frame for long

    def _report_slow(self, whose, took):
        if took >= self.slow_callback_duration:
            self._warn_of(f'a callback of {whose!r}', took)

    def _warn_of(self, what, took):
        base_events.logger.warning('Executing %s took %.3f seconds', what, took)

    def _debug_handle(self, callback, args, context, method):
        self._check_callback(callback, method)
        handle = asyncio.Handle(callback, args, self, context)
        if handle._source_traceback:
            del handle._source_traceback[-2:]
        self._add_callback(handle)
        return handle

    def _call_soon_debug(self, callback, args, context):
        self._check_thread()
        return self._debug_handle(callback, args, context, 'call_soon')

    def _call_soon_threadsafe_debug(self, callback, args, context):
        return self._debug_handle(callback, args, context, 'call_soon_threadsafe')

    def _call_at_debug(self, when, callback_and_args, context):
        callback, *args = callback_and_args
        self._check_thread()
        self._check_callback(callback, 'call_at')
        timer = TimerHandle(when, callback, tuple(args), self, context)
        if timer._source_traceback:
            del timer._source_traceback[-1]
        timer._carrier = self._carry_at(when, self._add_callback, timer)
        timer._scheduled = True
        return timer

    def _timer_handle_cancelled(self, handle):
        pass

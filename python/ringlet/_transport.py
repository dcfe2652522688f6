"""The socket transport: the native one, and what of it is rare."""

import sys
from asyncio import constants
from asyncio.log import logger

from ringlet import _native


class SocketTransport(_native.StreamTransport):
    """asyncio's transport over a TCP or Unix stream socket."""

    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.TRY_NATIVE
    max_size = 256 * 1024

    def __repr__(self):
        info = [self.__class__.__name__]
        if self._sock is None:
            info.append('closed')
        elif self._closing:
            info.append('closing')
        info.append(f'fd={self._sock_fd}')
        if self._loop is not None and not self._loop.is_closed():
            reading, writing = self._polling
            info.append('read=polling' if reading else 'read=idle')
            state = 'polling' if writing else 'idle'
            info.append(f'write=<{state}, bufsize={self.get_write_buffer_size()}>')
        return f"<{' '.join(info)}>"

    def set_write_buffer_limits(self, high=None, low=None):
        """Set the marks at which the protocol is told to pause and to resume writing."""
        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f'high ({high!r}) must be >= low ({low!r}) must be >= 0')
        self._high_water = int(min(high, sys.maxsize))
        self._low_water = int(min(low, sys.maxsize))
        self._maybe_pause_protocol()

    def _fatal_error(self, exc, message='Fatal error on transport'):
        loop = self._loop
        if loop is None:
            return
        if isinstance(exc, OSError):
            if loop.get_debug():
                logger.debug('%r: %s', self, message, exc_info=exc)
        else:
            loop.call_exception_handler({
                'message': message,
                'exception': exc,
                'transport': self,
                'protocol': self._protocol,
            })
        self._force_close(exc)

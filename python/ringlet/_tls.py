"""TLS: asyncio's own SSLProtocol, its hot path in native code where that can be had."""

import sys
from asyncio import sslproto

from ringlet import _native

try:
    import _ssl
    import ssl
except ImportError:  # a Python without OpenSSL
    ssl = None


def _shares_libssl():
    """Whether Python's ssl module calls the very library that the extension is linked to."""
    path = getattr(_ssl, '__file__', None)
    return path is not None and _native._same_libssl(path)


backend = 'native' if ssl and sys.version_info >= (3, 11) and _shares_libssl() else 'sslproto'

if backend == 'sslproto':
    SSLProtocol = sslproto.SSLProtocol
else:

    class SSLProtocol(_native.TlsProtocol, sslproto.SSLProtocol):
        """Handshake, shutdown and errors are asyncio's; what runs per message is native."""

        max_size = 4 * 1024  # of the buffer that only handshakes use

        def _on_handshake_complete(self, handshake_exc):
            if handshake_exc is None:
                self._adopt(self._sslobj._sslobj)
            upgraded = (handshake_exc is None and not self._app_reading_paused and
                        self._app_state is not sslproto.AppProtocolState.STATE_INIT)
            if upgraded:
                self._held = self._app_reading_paused = True
            super()._on_handshake_complete(handshake_exc)
            if upgraded:
                self._loop.call_soon(self._let_read)

        # After start_tls data waits until whoever awaits that has run, and maybe pauses, sets
        # another protocol or begins TLS once more.
        _held = False

        def _let_read(self):
            if self._held:
                self._resume_reading()

        def _pause_reading(self):
            self._held = False
            super()._pause_reading()

        def _resume_reading(self):
            self._held = False
            super()._resume_reading()

        def _get_app_transport(self):
            transport = super()._get_app_transport()
            transport.write = self._app_write
            return transport

        def connection_lost(self, exc):
            if self._app_transport is not None:  # whoever keeps it keeps no more than that
                self._app_transport.__dict__.pop('write', None)
            super().connection_lost(exc)

        # Called by the native half.

        def _ciphertext(self, data):
            """What came in while it is not the native half's turn."""
            view = memoryview(data)
            while view:
                count = min(len(view), len(self._ssl_buffer))
                self._ssl_buffer_view[:count] = view[:count]
                view = view[count:]
                self.buffer_updated(count)

        def _peer_closed(self):
            self._call_eof_received()
            self._start_shutdown()

"""sendfile: what is cached goes into the socket at once, the rest by splice on the driver."""

import asyncio
import errno
import fcntl
import os
import stat
from asyncio import unix_events

_STEP_BYTES = 1024 * 1024  # of what is cached, before others have their turn
_PIPE_BYTES = 256 * 1024
_F_SETPIPE_SZ = getattr(fcntl, 'F_SETPIPE_SZ', 1031)  # named since Python 3.10


class _Pipe:
    """What a file is spliced through; its descriptors live as long as anybody has it."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer
        try:
            fcntl.fcntl(writer, _F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            pass  # the user has many pipes: it stays smaller, and so do the steps

    def __del__(self, close=os.close):
        close(self.reader)
        close(self.writer)


def _size_of(file):
    """Of a regular file, in bytes; None for anything else."""
    try:
        status = os.fstat(file.fileno())
    except (AttributeError, OSError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _is_cached(fd, offset, count):
    """Whether the first and the last byte can be read without a wait for a disk."""
    byte = bytearray(1)
    try:
        return all(os.preadv(fd, [byte], at, os.RWF_NOWAIT) == 1
                   for at in (offset, offset + count - 1))
    except OSError:
        return False


class _Transfer:
    """A part of a file on its way into a socket."""

    def __init__(self, loop, sock, file, size, offset, count):
        self.loop = loop
        self.sock = sock
        self.fd = file.fileno()
        self.size = size
        self.offset = offset
        self.count = count
        self.sent = 0
        self.cached_end = offset  # what lies before it can be sent without a wait
        self.pipe = None
        self.piped = 0  # bytes in the pipe

    async def run(self, sendfile):
        while wanted := self._next_step():
            if self.piped == 0 and not self._is_at_hand(wanted):
                await self._fill_pipe(wanted)
                if self.piped == 0:
                    return
            try:
                moved = self._move(wanted, sendfile)
            except (BlockingIOError, InterruptedError):
                await self._until_writable()
                continue
            if moved == 0:
                return
            self.sent += moved
            await asyncio.sleep(0)  # others have their turn

    def _next_step(self):
        return _STEP_BYTES if self.count is None else min(_STEP_BYTES, self.count - self.sent)

    def _is_at_hand(self, wanted):
        at = self.offset + self.sent
        if at >= self.cached_end:
            known = min(wanted, self.size - at)
            if known > 0 and not _is_cached(self.fd, at, known) and self._has_pipe():
                return False
            self.cached_end = at + wanted
        return True

    def _has_pipe(self):
        if self.pipe is None:
            try:
                self.pipe = _Pipe(*os.pipe())
            except OSError:
                return False  # out of descriptors: then the disk is waited for
        return True

    async def _fill_pipe(self, wanted):
        moved = await self.loop._splice(self.fd, self.offset + self.sent, self.pipe,
                                        self.pipe.writer, min(wanted, _PIPE_BYTES))
        if moved < 0:
            raise OSError(-moved, os.strerror(-moved))
        self.piped = moved

    def _move(self, wanted, sendfile):
        fd = self.sock.fileno()
        if self.piped == 0:
            at = self.offset + self.sent
            return sendfile(fd, self.fd, at, min(wanted, self.cached_end - at))
        moved = self.loop._splice_now(self.pipe.reader, fd, self.piped)
        self.piped -= moved
        return moved

    async def _until_writable(self):
        fd = self.sock.fileno()
        ready = self.loop.create_future()
        self.loop.add_writer(fd, lambda: ready.done() or ready.set_result(None))
        try:
            await ready
        finally:
            self.loop.remove_writer(fd)

    def leave_position(self, file):
        """Where what was sent ends, unless the file was closed meanwhile."""
        try:
            if file.fileno() == self.fd:
                self.loop._sock_sendfile_update_filepos(self.fd, self.offset + self.sent, self.sent)
        except (OSError, ValueError):
            pass


class SendFile:
    """The part of the loop that sends files; sendfile() and sock_sendfile() come here."""

    async def _sock_sendfile_native(self, sock, file, offset, count):
        size = _size_of(file)
        sendfile = getattr(unix_events.os, 'sendfile', None)  # asyncio's, as it may be patched
        if size is None or sendfile is None or not (count or size):
            return await super()._sock_sendfile_native(sock, file, offset, count)
        transfer = _Transfer(self, sock, file, size, offset, count)
        try:
            await transfer.run(sendfile)
        except OSError as exc:
            if transfer.sent == 0:
                raise asyncio.SendfileNotAvailableError('os.sendfile call failed') from exc
            if exc.errno == errno.ENOTCONN:
                raise ConnectionError('socket is not connected', errno.ENOTCONN) from exc
            raise
        finally:
            transfer.pipe = None  # which a traceback would keep
            transfer.leave_position(file)
        return transfer.sent

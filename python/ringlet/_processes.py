"""Child processes, by pidfd: no thread, no SIGCHLD handler, in loops of any thread.

Before Python 3.12 asyncio's child watcher is a thread for each child, from then on it is by pidfd
too, but forgets the descriptors when a loop is closed. Here the default watcher is left out; one
that the program has set in asyncio's policy is used.
"""

import asyncio
import os
import sys
from asyncio import unix_events
from asyncio.log import logger


def _has_pidfds():
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


if sys.version_info < (3, 12):
    _DEFAULT_WATCHERS = (unix_events.ThreadedChildWatcher,)
elif sys.version_info < (3, 14):
    _DEFAULT_WATCHERS = (unix_events.ThreadedChildWatcher, unix_events.PidfdChildWatcher)
else:
    _DEFAULT_WATCHERS = ()  # policies have none any more, the loop itself has


def _has_own_watcher():
    """Whether the program has chosen how children are watched."""
    policy = asyncio.get_event_loop_policy()
    watcher = getattr(policy, '_watcher', policy)
    return watcher is not None and type(watcher) not in _DEFAULT_WATCHERS


class Children:
    """The part of the event loop that starts and watches child processes."""

    if _DEFAULT_WATCHERS and _has_pidfds():

        async def _make_subprocess_transport(self, protocol, args, shell, stdin, stdout, stderr,
                                             bufsize, extra=None, **kwargs):
            if _has_own_watcher():
                return await super()._make_subprocess_transport(
                    protocol, args, shell, stdin, stdout, stderr, bufsize, extra, **kwargs)
            waiter = self.create_future()
            transport = unix_events._UnixSubprocessTransport(
                self, protocol, args, shell, stdin, stdout, stderr, bufsize, waiter=waiter,
                extra=extra, **kwargs)
            try:
                self._watch_child(transport)
            except OSError:  # out of descriptors: nobody would hear of its end
                transport.close()
                transport._proc.wait()
                raise
            try:
                await waiter
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException:
                transport.close()
                await transport._wait()
                raise
            return transport

    def _watch_child(self, transport):
        try:
            pidfd = os.pidfd_open(transport.get_pid())
        except ProcessLookupError:  # somebody else reaped it
            self._child_ended(transport)
            return
        self._pidfds.add(pidfd)
        self._add_reader(pidfd, self._child_exited, pidfd, transport)

    def _child_exited(self, pidfd, transport):
        self._remove_reader(pidfd)
        self._pidfds.discard(pidfd)
        os.close(pidfd)
        self._child_ended(transport)

    def _child_ended(self, transport):
        pid = transport.get_pid()
        try:
            _, status = os.waitpid(pid, 0)
        except ChildProcessError:
            returncode = 255
            logger.warning('child process pid %d exit status already read: '
                           ' will report returncode 255', pid)
        else:
            returncode = (os.WEXITSTATUS(status) if os.WIFEXITED(status)
                          else -os.WTERMSIG(status))
        self._child_watcher_callback(pid, returncode, transport)

    def _forget_children(self):
        while self._pidfds:
            os.close(self._pidfds.pop())

"""A protocol that writes down what it is told, for tests of transports."""

import asyncio
import socket

from sockets import tcp_pair


class Recorder(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self):
        self.told = []
        self.data = bytearray()
        self.transport = None
        self.changed = asyncio.Event()

    def tell(self, what):
        self.told.append(what)
        self.changed.set()

    def connection_made(self, transport):
        self.transport = transport
        self.tell('made')

    def data_received(self, data):
        assert type(data) is bytes
        self.data += data
        self.tell('data')

    def eof_received(self):
        self.tell('eof')

    def pause_writing(self):
        self.tell('pause')

    def resume_writing(self):
        self.tell('resume')

    def connection_lost(self, exc):
        self.tell(exc if exc is not None else 'lost')

    async def until(self, ready):
        while not ready(self):
            self.changed.clear()
            await self.changed.wait()


def lost(protocol):
    return protocol.told[-1] == 'lost' or isinstance(protocol.told[-1], Exception)


async def connected(factory=Recorder, unix=False):
    """A protocol on a transport, and the plain socket at the other end."""
    loop = asyncio.get_running_loop()
    if unix:
        ours, theirs = socket.socketpair()
    else:
        theirs, ours = tcp_pair()
    ours.setblocking(False)
    theirs.settimeout(20)
    _, protocol = await loop.connect_accepted_socket(factory, ours)
    return protocol, theirs

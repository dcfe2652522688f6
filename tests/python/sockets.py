"""What tests with sockets share."""

import asyncio
import socket


def tcp_pair():
    """Two connected TCP sockets, as socket.socketpair() makes of the other kind."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        return ours, listener.accept()[0]


def fill(sock):
    """Sends until the socket takes no more; how many bytes that were."""
    total = 0
    try:
        while True:
            total += sock.send(bytes(1 << 16))
    except BlockingIOError:
        return total


def drain(sock):
    total = 0
    try:
        while data := sock.recv(1 << 20):
            total += len(data)
    except BlockingIOError:
        pass
    return total


async def settle():
    """Lets everything that was started get to where it waits."""
    for _ in range(5):
        await asyncio.sleep(0)

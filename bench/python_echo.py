"""An echo server in Python, for comparing event loops under one and the same program.

    python python_echo.py LOOP STYLE PORT [CERTIFICATE KEY]

LOOP is asyncio, ringlet, uvloop, rloop or aiofastnet (on uvloop); STYLE is protocol, streams, sock
or buffered. With a certificate it speaks TLS (not sock).
"""

import asyncio
import socket
import ssl
import sys

READ_BYTES_MAX = 64 * 1024


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    def __init__(self):
        self.buffer = bytearray(READ_BYTES_MAX)
        self.view = memoryview(self.buffer)

    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, nbytes):
        self.transport.write(self.view[:nbytes])


async def echo_stream(reader, writer):
    while data := await reader.read(READ_BYTES_MAX):
        writer.write(data)
        await writer.drain()
    writer.close()


async def echo_socket(loop, connection):
    with connection:
        while data := await loop.sock_recv(connection, READ_BYTES_MAX):
            await loop.sock_sendall(connection, data)


async def serve_sockets(loop, port):
    listener = socket.create_server(('127.0.0.1', port), backlog=4096)
    listener.setblocking(False)
    tasks = set()
    while True:
        connection, _ = await loop.sock_accept(listener)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = loop.create_task(echo_socket(loop, connection))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


def tls_context(files):
    if not files:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


async def serve(style, port, certificate):
    loop = asyncio.get_running_loop()
    if style == 'sock':
        await serve_sockets(loop, port)
    elif style == 'streams':
        server = await asyncio.start_server(echo_stream, '127.0.0.1', port, backlog=4096,
                                            ssl=tls_context(certificate))
    else:
        protocol = {'protocol': Echo, 'buffered': BufferedEcho}[style]
        server = await loop.create_server(protocol, '127.0.0.1', port, backlog=4096,
                                          ssl=tls_context(certificate))
    await asyncio.Event().wait()  # rloop's serve_forever() stops listening


def new_loop(name):
    if name == 'asyncio':
        return asyncio.new_event_loop()
    if name == 'aiofastnet':
        loop = new_loop('uvloop')
        __import__(name).patch_loop(loop)
        return loop
    return __import__(name).new_event_loop()


def main():
    name, style, port, *certificate = sys.argv[1:]
    loop = new_loop(name)
    asyncio.set_event_loop(loop)
    loop.run_until_complete(serve(style, int(port), certificate))


if __name__ == '__main__':
    main()

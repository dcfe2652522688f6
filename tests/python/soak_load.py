"""The load of soak.py: each kind of it a method that runs one round of it."""

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import tempfile
import threading
import time

import ringlet

ROUND_SECONDS_MAX = 60  # of one round of any load; a hang is told by it
SETTLE_SECONDS_MAX = 20
BODY_MAX = 200_000
LINGER_NOT = b"\1\0\0\0\0\0\0\0"
HOST = "127.0.0.1"


class Provoked(Exception):
    """What the load raises on purpose."""


def blocking_pair():
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return ends


def nothing(*_):
    pass


class Echo(asyncio.Protocol):
    """Sends back what it gets, with the flow control that its transport asks for."""

    def __init__(self, lost=None):
        self.lost = lost  # a future

    def connection_lost(self, error):
        if self.lost is not None:
            self.lost.set_result(error)

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


class BufferedEcho(asyncio.BufferedProtocol, Echo):
    def __init__(self):
        super().__init__()
        self.buffer = bytearray(3000)

    def get_buffer(self, sizehint):
        return self.buffer

    def buffer_updated(self, count):
        self.transport.write(bytes(self.buffer[:count]))


class Collector(asyncio.Protocol):
    """A client that sends everything and keeps what comes back."""

    def __init__(self, data):
        self.data = data
        self.got = bytearray()
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        transport.writelines([self.data[:100], self.data[100:]])

    def data_received(self, data):
        self.got += data
        if len(self.got) % 7 == 0:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_soon(self.transport.resume_reading)
        if len(self.got) >= len(self.data):
            self.transport.close()

    def connection_lost(self, error):
        if not self.lost.done():
            self.lost.set_result(error)


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.transport = None
        self.got = asyncio.Queue()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.got.put_nowait((data, address))


class Load:
    """Each public method is one round of a kind of load; it ends, and leaves nothing behind."""

    def __init__(self, folder, contexts):
        self.folder = folder
        self.server_context, self.client_context = contexts
        self.random = random.Random(17)
        self.loop = None
        self.stop = False
        self.rounds = {}
        self.wrong = []
        self.provoked = 0   # raised on purpose where the exception handler hears of it
        self.handled = 0
        self.servers = []
        self.other = None   # a loop that changes its thread from round to round
        self.held = None    # what stays open in it meanwhile

    def body(self):
        return self.random.randbytes(self.random.randrange(1, BODY_MAX))

    def judge(self, what, good, detail=""):
        if not good and len(self.wrong) < 100:
            self.wrong.append(f"{what}: {detail}")

    def on_exception(self, loop, context):
        if isinstance(context.get("exception"), Provoked):
            self.handled += 1
        else:
            self.judge("exception handler", False, context)

    # --- what stays open all the time ---

    async def open_servers(self):
        loop = self.loop
        plain = await loop.create_server(Echo, HOST, 0)
        buffered = await loop.create_server(BufferedEcho, HOST, 0)
        secure = await loop.create_server(Echo, HOST, 0, ssl=self.server_context)
        streams = await asyncio.start_server(self.serve_stream, HOST, 0)
        local = await asyncio.start_unix_server(self.serve_stream,
                                                os.path.join(self.folder, "echo"))
        self.servers = [plain, buffered, secure, streams, local]
        self.plain, self.buffered, self.secure, self.streams = (
            server.sockets[0].getsockname()[1] for server in self.servers[:4])

    async def close_servers(self):
        for server in self.servers:
            server.close()
            await server.wait_closed()

    async def serve_stream(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
            writer.write_eof()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    # --- honest peers ---

    async def echo_over(self, what, reader, writer, eof=True):
        data = self.body()
        writer.write(data)
        got = await reader.readexactly(len(data))
        self.judge(what, got == data, "other bytes")
        if eof:
            writer.write_eof()
            self.judge(what, await reader.read() == b"", "bytes behind the end")
        writer.close()
        await writer.wait_closed()

    async def stream_peers(self):
        async def one():
            await self.echo_over("stream", *await asyncio.open_connection(HOST, self.streams))
        await asyncio.gather(*(one() for _ in range(8)))

    async def unix_peers(self):
        path = os.path.join(self.folder, "echo")
        await self.echo_over("unix", *await asyncio.open_unix_connection(path))

    async def protocol_peers(self):
        for port in (self.plain, self.buffered):
            data = self.body()
            _, protocol = await self.loop.create_connection(lambda: Collector(data), HOST, port)
            error = await protocol.lost
            self.judge("protocol", protocol.got == data and error is None, error)

    async def tls_peers(self):
        reader, writer = await asyncio.open_connection(
            HOST, self.secure, ssl=self.client_context, server_hostname="localhost")
        await self.echo_over("tls", reader, writer, eof=False)

    async def upgraded_peers(self):
        """Two ends of a connection that turn to TLS, and then serve and ask as over any other."""
        loop, data = self.loop, self.body()
        server, client = Echo(loop.create_future()), Collector(data)
        ends = [(await loop.create_connection(asyncio.Protocol, sock=end))[0]
                for end in blocking_pair()]
        above = await asyncio.gather(
            loop.start_tls(ends[0], server, self.server_context, server_side=True),
            loop.start_tls(ends[1], client, self.client_context, server_hostname="localhost"))
        server.connection_made(above[0])
        client.connection_made(above[1])
        errors = await asyncio.gather(client.lost, server.lost)
        self.judge("start_tls", client.got == data and errors == [None, None], errors)

    async def datagram_peers(self):
        ends = []
        try:
            for _ in range(2):
                ends.append((await self.loop.create_datagram_endpoint(
                    Datagrams, local_addr=(HOST, 0)))[1])
            here, there = ends
            target = there.transport.get_extra_info("sockname")
            for _ in range(20):
                data = self.random.randbytes(self.random.randrange(1, 9000))
                here.transport.sendto(data, target)
                got, sender = await there.got.get()
                there.transport.sendto(got, sender)
                self.judge("udp", (await here.got.get())[0] == data, "other bytes")
        finally:
            for end in ends:
                end.transport.close()

    async def socket_calls(self):
        loop, data = self.loop, self.body()
        listener = socket.create_server((HOST, 0))
        listener.setblocking(False)
        client = socket.socket()
        client.setblocking(False)
        try:
            accepting = asyncio.ensure_future(loop.sock_accept(listener))
            await loop.sock_connect(client, listener.getsockname())
            server, _ = await accepting
            sending = asyncio.ensure_future(loop.sock_sendall(client, data))
            got, buffer = bytearray(), bytearray(5000)
            while len(got) < len(data):
                if len(got) % 2:
                    got += await loop.sock_recv(server, 100_000)
                else:
                    got += buffer[:await loop.sock_recv_into(server, buffer)]
            await sending
            self.judge("sock_*", got == data, "other bytes")
            server.close()
            self.judge("sock_*", await loop.sock_recv(client, 10) == b"", "no end")
        finally:
            listener.close()
            client.close()

    async def children(self):
        data = self.body()
        child = await asyncio.create_subprocess_exec(
            "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        out, _ = await child.communicate(data)
        self.judge("child", out == data and child.returncode == 0, child.returncode)
        child = await asyncio.create_subprocess_shell("exec sleep 60", stdin=subprocess.DEVNULL)
        child.kill()
        self.judge("killed child", await child.wait() == -9, child.returncode)

    async def pipes(self):
        read_fd, write_fd = os.pipe()
        reader = asyncio.StreamReader()
        transport, _ = await self.loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), open(read_fd, "rb", 0))
        out, _ = await self.loop.connect_write_pipe(asyncio.Protocol, open(write_fd, "wb", 0))
        data = self.body()
        out.write(data)
        out.write_eof()
        self.judge("pipe", await reader.read() == data, "other bytes")
        transport.close()

    async def sent_files(self):
        reader, writer = await asyncio.open_connection(HOST, self.streams)
        data = self.body()
        with tempfile.TemporaryFile() as file:
            file.write(data)
            file.flush()
            file.seek(0)
            await self.loop.sendfile(writer.transport, file)
        self.judge("sendfile", await reader.readexactly(len(data)) == data, "other bytes")
        writer.close()
        await writer.wait_closed()

    # --- the loop itself ---

    async def watchers(self):
        """Readers and writers put on and off, also of descriptors opened anew meanwhile."""
        loop = self.loop
        for _ in range(20):
            ours, theirs = blocking_pair()
            done = loop.create_future()

            def readable():
                if ours.recv(100) == b"x":
                    loop.remove_reader(ours)
                    if not done.done():
                        done.set_result(None)

            for _ in range(3):
                loop.add_reader(ours, nothing)
                loop.add_writer(theirs, nothing)
                loop.remove_writer(theirs)
                loop.remove_reader(ours)
            loop.add_reader(ours, readable)
            loop.add_writer(theirs, lambda: (theirs.send(b"x"), loop.remove_writer(theirs)))
            await done
            if self.random.random() < 0.5:
                loop.add_reader(ours, nothing)
                await asyncio.sleep(0)
                loop.remove_reader(ours)
            ours.close()
            theirs.close()

    async def timers(self):
        loop, ran = self.loop, []
        handles = [loop.call_later(self.random.random() / 20, ran.append, n) for n in range(500)]
        for handle in handles[::2]:
            handle.cancel()
        loop.call_later(3600, nothing).cancel()
        await asyncio.sleep(0.1)
        self.judge("timers", sorted(ran) == list(range(1, 500, 2)), len(ran))
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.sleep(60), 0.001)

    async def threads(self):
        loop, seen = self.loop, []
        done = loop.create_future()

        def run(number):
            for n in range(100):
                loop.call_soon_threadsafe(seen.append, n)
            result = asyncio.run_coroutine_threadsafe(asyncio.sleep(0, number), loop).result(30)
            loop.call_soon_threadsafe(lambda: (seen.append(result), len(seen) == 303 and
                                               done.set_result(None)))

        threads = [threading.Thread(target=run, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        await done
        for thread in threads:
            thread.join()

    async def executors(self):
        out = await asyncio.gather(*(self.loop.run_in_executor(None, pow, n, 2)
                                     for n in range(20)))
        self.judge("executor", out == [n * n for n in range(20)], out)

    async def exceptions(self):
        """What callbacks and protocols raise goes to the exception handler, once each."""
        def fail(*_):
            raise Provoked

        class Failing(Echo):
            data_received = fail

        loop, handled = self.loop, self.handled
        loop.call_soon(fail)
        loop.call_later(0.001, fail)
        loop.call_soon_threadsafe(fail)
        ours, theirs = blocking_pair()
        transport, _ = await loop.create_connection(Failing, sock=ours)
        theirs.send(b"x")
        while self.handled < handled + 4:
            await asyncio.sleep(0.001)
        self.provoked += 4
        theirs.close()
        self.judge("exceptions", transport.is_closing(), "a failed protocol stays connected")

    # --- ill-mannered ones ---

    async def storm(self):
        """Many tasks that wait for all kinds of things, cancelled at once."""
        loop = self.loop
        queue, event, lock = asyncio.Queue(), asyncio.Event(), asyncio.Lock()
        ends = [end for _ in range(10) for end in blocking_pair()]
        listener = socket.create_server((HOST, 0))
        listener.setblocking(False)
        await lock.acquire()

        async def read():
            reader, writer = await asyncio.open_connection(HOST, self.streams)
            try:
                await reader.read()
            finally:
                writer.close()

        async def connect():
            while True:
                _, writer = await asyncio.open_connection(
                    HOST, self.secure, ssl=self.client_context, server_hostname="localhost")
                writer.close()

        waits = [lambda: asyncio.sleep(60), queue.get, event.wait, lock.acquire, read, connect,
                 lambda: loop.sock_recv(ends[0], 1), lambda: loop.sock_accept(listener),
                 lambda: loop.sock_sendall(ends[2], bytes(10_000_000)),
                 lambda: asyncio.wait_for(loop.sock_recv(ends[4], 1), 30),
                 lambda: loop.run_in_executor(None, time.sleep, 0.001)]

        async def forever(wait):
            while True:
                await wait()

        tasks = [loop.create_task(forever(self.random.choice(waits))) for _ in range(60)]
        await asyncio.sleep(self.random.random() / 20)
        for task in tasks:
            task.cancel()
        out = await asyncio.gather(*tasks, return_exceptions=True)
        good = all(isinstance(each, asyncio.CancelledError) for each in out)
        self.judge("storm", good, [each for each in out
                                   if not isinstance(each, asyncio.CancelledError)][:3])
        for each in [*ends, listener]:
            each.close()

    async def resets(self):
        for port in (self.streams, self.plain, self.buffered, self.secure):
            _, writer = await asyncio.open_connection(HOST, port)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                                       LINGER_NOT)
            writer.write(self.random.randbytes(50_000))
            await asyncio.sleep(self.random.random() / 100)
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def half_open(self):
        """Peers that say nothing, half-close in the middle, or read nothing of what they ask."""
        ports = self.streams, self.plain, self.buffered, self.secure
        peers = [await asyncio.open_connection(HOST, port) for port in ports]
        for _, writer in peers[:3]:
            writer.write(b"abc")
            writer.write_eof()
        _, deaf = await asyncio.open_connection(HOST, self.plain)
        deaf.transport.pause_reading()
        with contextlib.suppress(asyncio.TimeoutError):
            for _ in range(20):
                deaf.write(bytes(100_000))
                await asyncio.wait_for(deaf.drain(), 0.01)
        await asyncio.sleep(self.random.random() / 10)
        for _, writer in [*peers, (None, deaf)]:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def short_servers(self):
        """Servers that are closed with connections in their queue and in their hands."""
        server = await asyncio.start_server(self.serve_stream, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        await self.echo_over("short server", *await asyncio.open_connection(HOST, port))
        crowd = []
        for _ in range(10):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((HOST, port))
            crowd.append(sock)
        await asyncio.sleep(self.random.random() / 100)
        server.close()
        for sock in crowd:
            sock.close()
        await server.wait_closed()

    # --- other loops ---

    async def many_loops(self):
        """Loops made, run, and closed with whatever still waits in them."""
        def run():
            loop = ringlet.new_event_loop()
            loop.set_debug(self.random.random() < 0.3)
            ours, theirs = blocking_pair()

            async def main():
                loop.call_later(60, nothing)
                loop.add_reader(ours, nothing)
                loop.call_soon(lambda: loop.call_soon(nothing))
                lost = loop.create_future()
                server = await loop.create_server(lambda: Echo(lost), HOST, 0)
                transport, _ = await loop.create_connection(
                    lambda: Collector(b"x"), *server.sockets[0].getsockname())
                await transport.get_protocol().lost
                await lost
                server.close()

            try:
                loop.run_until_complete(main())
            finally:
                loop.remove_reader(ours)
                loop.close()
                ours.close()
                theirs.close()

        for _ in range(5):
            await self.loop.run_in_executor(None, run)

    async def wandering_loop(self):
        """A loop whose connections stay open from run to run, each run in another thread."""
        async def open_pair():
            ends = blocking_pair()
            return [await asyncio.open_connection(sock=end) for end in ends]

        async def talk():
            (_, here), (there, _) = self.held
            data = self.body()
            here.write(data)
            self.judge("wandering loop", await there.readexactly(len(data)) == data, "other bytes")

        def run():
            if self.other is None:
                self.other = ringlet.new_event_loop()
                self.other.set_exception_handler(self.on_exception)
                self.held = self.other.run_until_complete(open_pair())
            self.other.run_until_complete(asyncio.wait_for(talk(), 30))

        thread = threading.Thread(target=run)
        thread.start()
        await self.loop.run_in_executor(None, thread.join)

    def close_other(self):
        async def close():
            for _, writer in self.held:
                writer.close()
                await writer.wait_closed()

        self.other.run_until_complete(close())
        self.other.close()
        self.other = self.held = None

    # --- all of it ---

    def kinds(self):
        return [self.stream_peers, self.unix_peers, self.protocol_peers, self.tls_peers,
                self.upgraded_peers, self.datagram_peers, self.socket_calls, self.children,
                self.pipes, self.sent_files, self.watchers, self.timers, self.threads,
                self.executors, self.exceptions, self.storm, self.resets, self.half_open,
                self.short_servers, self.many_loops, self.wandering_loop]

    async def keep(self, kind):
        while not self.stop:
            try:
                await asyncio.wait_for(kind(), ROUND_SECONDS_MAX)
                self.rounds[kind.__name__] = self.rounds.get(kind.__name__, 0) + 1
            except Exception as failure:
                self.judge(kind.__name__, False, repr(failure))
                await asyncio.sleep(0.1)
            await asyncio.sleep(self.random.random() / 50)

    async def phase(self, seconds):
        """All kinds of load side by side, from open servers to nothing open at all."""
        self.stop = False
        await self.open_servers()
        tasks = [self.loop.create_task(self.keep(kind)) for kind in self.kinds()]
        await asyncio.sleep(seconds)
        self.stop = True
        await asyncio.gather(*tasks)
        await self.close_servers()
        await self.loop.run_in_executor(None, self.close_other)
        await self.loop.shutdown_default_executor()
        self.loop._default_executor = None
        self.loop._executor_shutdown_called = False
        end = time.monotonic() + SETTLE_SECONDS_MAX
        while len(asyncio.all_tasks()) > 1 and time.monotonic() < end:
            await asyncio.sleep(0.05)

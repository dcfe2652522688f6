"""asyncssh's server and client on one loop."""

import asyncio
import contextlib
import os

import asyncssh
import pytest


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return password == "open"

    def connection_requested(self, dest_host, dest_port, orig_host, orig_port):
        return True  # forwards ports


async def shell(process):
    """What a session runs: says a text back in capitals, and how long it was."""
    text = await process.stdin.read()
    process.stdout.write(text.upper())
    process.stderr.write(f"{process.command} {len(text)}\n")
    await process.stdout.drain()
    process.exit(3)


@contextlib.asynccontextmanager
async def connection(password="open"):
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Server, process_factory=shell, sftp_factory=True,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")])
    try:
        async with asyncssh.connect("127.0.0.1", server.get_port(), known_hosts=None,
                                    username="guest", password=password, client_keys=None,
                                    config=None) as client:
            yield client
    finally:
        server.close()
        await server.wait_closed()


def test_commands_run_side_by_side(run):
    async def main():
        async with connection() as client:
            done = await asyncio.gather(*(
                client.run(f"command {i}", input="text" * 10_000) for i in range(8)))
        for i, result in enumerate(done):
            assert result.stdout == "TEXT" * 10_000
            assert result.stderr == f"command {i} 40000\n"
            assert result.exit_status == 3

    run(main())


def test_a_wrong_password_is_refused(run):
    async def main():
        with pytest.raises(asyncssh.PermissionDenied):
            async with connection("closed"):
                pass

    run(main())


def test_files_are_copied(run, tmp_path):
    content = os.urandom(1_000_000)
    (tmp_path / "here").write_bytes(content)

    async def main():
        async with connection() as client, client.start_sftp_client() as sftp:
            await sftp.put(str(tmp_path / "here"), str(tmp_path / "there"))
            await sftp.get(str(tmp_path / "there"), str(tmp_path / "back"))

    run(main())
    assert (tmp_path / "back").read_bytes() == content


def test_a_port_is_forwarded(run):
    async def main():
        async def serve(reader, writer):
            writer.write((await reader.read(1000))[::-1])
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with connection() as client:
            forward = await client.forward_local_port("127.0.0.1", 0, "127.0.0.1", port)
            reader, writer = await asyncio.open_connection("127.0.0.1", forward.get_port())
            writer.write(b"forward")
            assert await reader.read() == b"drawrof"
            writer.close()
        server.close()
        await server.wait_closed()

    run(main())

"""What the smokes share: a loop to run on, certificates, folders and real servers.

PROGRAMS_FACTORY names another maker of loops than ringlet:new_event_loop, to see that a failure is
the loop's: PROGRAMS_FACTORY=asyncio:new_event_loop pytest tests/python/programs
"""

import asyncio
import importlib
import os
import pwd
import shutil
import socket
import ssl
import subprocess
import tempfile
import time

import pytest

FACTORY = os.environ.get("PROGRAMS_FACTORY", "ringlet:new_event_loop")
SECONDS_MAX = 60


@pytest.fixture(scope="session")
def factory_name():
    return FACTORY


if not FACTORY.startswith("ringlet"):

    @pytest.fixture
    def driver():
        """Another loop has no drivers to choose from."""


@pytest.fixture
def run(driver):
    """Runs a coroutine to its end on a new loop; what its exception handler hears is a failure."""
    module, _, name = FACTORY.partition(":")
    loop = getattr(importlib.import_module(module), name)()
    complaints = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    asyncio.set_event_loop(loop)

    def run_until_complete(coroutine):
        return loop.run_until_complete(asyncio.wait_for(coroutine, SECONDS_MAX))

    try:
        yield run_until_complete
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    assert not complaints


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """(certificate, key) for localhost and 127.0.0.1, as files."""
    folder = tmp_path_factory.mktemp("certificate")
    files = str(folder / "localhost.pem"), str(folder / "localhost.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", files[0], "-keyout", files[1]],
        check=True, capture_output=True)
    return files


@pytest.fixture(scope="session")
def server_context(certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture(scope="session")
def client_context(certificate):
    return ssl.create_default_context(cafile=certificate[0])


@pytest.fixture(scope="session")
def short_folder():
    """A folder whose sockets have names that are short enough; the servers' users may look in."""
    folder = tempfile.mkdtemp(prefix="programs-")
    os.chmod(folder, 0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def wait_until_up(process, log, ask):
    """Until the command `ask` succeeds."""
    deadline = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        if subprocess.run(ask, capture_output=True).returncode == 0:
            return
        time.sleep(0.1)
    with open(log, encoding="utf-8", errors="replace") as file:
        pytest.fail(f"{process.args} is not up: {file.read()}")


def end(process):
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def redis_path(short_folder):
    """The socket of a Redis server that keeps nothing."""
    path, log = os.path.join(short_folder, "redis"), os.path.join(short_folder, "redis.log")
    with open(log, "wb") as output:
        process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly",
             "no", "--dir", short_folder], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    wait_until_up(process, log, ["redis-cli", "-e", "-s", path, "ping"])
    yield path
    end(process)


def postgres_programs():
    """Where Debian keeps initdb and postgres: the newest version's folder."""
    versions = "/usr/lib/postgresql"
    newest = max(os.listdir(versions), key=float)
    return os.path.join(versions, newest, "bin")


def as_postgres():
    """What to put before a command so that a server which refuses root runs it."""
    if os.getuid() != 0:
        return []
    user = pwd.getpwnam("postgres")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@pytest.fixture(scope="session")
def postgres(short_folder, certificate):
    """(folder of the socket, user, TCP port) of a PostgreSQL server that speaks TLS on TCP."""
    folder = os.path.join(short_folder, "postgres")
    os.mkdir(folder, 0o700)
    files = [os.path.join(folder, name) for name in ("server.pem", "server.key")]
    for source, copy in zip(certificate, files):
        shutil.copyfile(source, copy)
        os.chmod(copy, 0o600)
    if os.getuid() == 0:
        for path in (folder, *files):
            shutil.chown(path, "postgres", "postgres")
    programs, data = postgres_programs(), os.path.join(folder, "data")
    log = os.path.join(short_folder, "postgres.log")
    subprocess.run([*as_postgres(), os.path.join(programs, "initdb"), "-D", data, "-U", "smoke",
                    "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"], check=True,
                   capture_output=True, cwd=folder if os.getuid() else "/")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder,
                "fsync": "off", "ssl": "on", "ssl_cert_file": files[0], "ssl_key_file": files[1]}
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [*as_postgres(), os.path.join(programs, "postgres"), "-D", data,
             *(f"--{name}={value}" for name, value in settings.items())],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/")
    os.chmod(folder, 0o755)
    wait_until_up(process, log, [os.path.join(programs, "pg_isready"), "--quiet", "--host", folder,
                                 "--port", str(port)])
    yield folder, "smoke", port
    end(process)

#!/usr/bin/env python3
"""TLS beside others' TLS, in both directions: our programs talk to openssl's s_server and s_client,
to curl and to nginx, with good certificates and with every kind of bad one. The CA and all
certificates are made on the spot by the openssl command, in a folder that goes away.

    tests/net/tls_peers_test.py [FOLDER OF THE PROGRAMS]      default: build/release/examples

The last line is "N passed, N failed".
"""

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

FOLDER = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build/release/examples")
SECONDS_MAX = 30
results = {True: 0, False: 0}


def check(name, holds, detail=""):
    results[bool(holds)] += 1
    if not holds:
        print(f"FAIL: {name}: {str(detail)[:700]}", flush=True)


def check_dump(name, process):
    process.send_signal(signal.SIGUSR1)
    check(f"{name}: SIGUSR1 makes a dump", b"live tasks" in process.stderr.readline())


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*command, given=None, environment=None, seconds=SECONDS_MAX):
    """The finished process; a timeout is an exit code of its own."""
    try:
        return subprocess.run([str(part) for part in command], input=given, capture_output=True,
                              text=True, errors="replace", timeout=seconds,
                              env={**os.environ, **(environment or {})})
    except subprocess.TimeoutExpired as late:
        return subprocess.CompletedProcess(command, -1, str(late.stdout), f"timeout {late.stderr}")


class Authority:
    """A CA in a folder, and the certificates it makes."""

    def __init__(self, folder, name):
        self.folder = folder
        self.name = name
        self.ca = f"{folder}/{name}.pem"
        self.key = f"{folder}/{name}.key"
        self.openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj",
                     f"/CN={name}", "-keyout", self.key, "-out", self.ca, "-addext",
                     "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign,cRLSign")
        with open(f"{folder}/{name}.index", "w", encoding="utf-8"):
            pass
        with open(f"{folder}/{name}.cnf", "w", encoding="utf-8") as file:
            file.write("[ca]\ndefault_ca=d\n[d]\n"
                       f"database={folder}/{name}.index\nserial={folder}/{name}.serial\n"
                       f"new_certs_dir={folder}\ndefault_md=sha256\npolicy=p\nunique_subject=no\n"
                       "copy_extensions=copy\ndefault_crl_days=30\n[p]\ncommonName=supplied\n"
                       "[leaf]\nbasicConstraints=CA:FALSE\n"
                       "[middle]\nbasicConstraints=critical,CA:TRUE\n")
        with open(f"{folder}/{name}.serial", "w", encoding="utf-8") as file:
            file.write("1000\n")

    def openssl(self, *arguments):
        made = run("openssl", *arguments)
        if made.returncode != 0:
            raise RuntimeError(f"openssl {' '.join(arguments)}: {made.stderr}")
        return made.stdout

    def make(self, name, names="DNS:localhost,IP:127.0.0.1,IP:::1", key="ec", start=None, end=None,
             extensions="leaf", self_signed=False):
        """(certificate file, key file) of a certificate so made."""
        base = f"{self.folder}/{name}"
        kind = (["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if key == "ec"
                else ["-newkey", f"rsa:{key}"])
        common = [*kind, "-nodes", "-subj", f"/CN={name}", "-keyout", f"{base}.key",
                  *(["-addext", f"subjectAltName={names}"] if names else [])]
        if self_signed:
            self.openssl("req", "-x509", "-days", "30", *common, "-out", f"{base}.pem")
            return f"{base}.pem", f"{base}.key"
        self.openssl("req", "-new", *common, "-out", f"{base}.csr")
        day = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() - 86400))
        week = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + 7 * 86400))
        self.openssl("ca", "-batch", "-notext", "-config", f"{self.folder}/{self.name}.cnf",
                     "-cert", self.ca, "-keyfile", self.key, "-in", f"{base}.csr", "-out",
                     f"{base}.pem", "-startdate", start or day, "-enddate", end or week,
                     "-extensions", extensions)
        return f"{base}.pem", f"{base}.key"

    def revoke(self, certificate):
        self.openssl("ca", "-config", f"{self.folder}/{self.name}.cnf", "-cert", self.ca,
                     "-keyfile", self.key, "-revoke", certificate)

    def crl(self):
        self.openssl("ca", "-config", f"{self.folder}/{self.name}.cnf", "-cert", self.ca,
                     "-keyfile", self.key, "-gencrl", "-out", f"{self.folder}/{self.name}.crl")
        return f"{self.folder}/{self.name}.crl"


class Lines:
    """A running program whose stdout is read line by line."""

    def __init__(self, *command):
        self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        self.unread = b""

    def line(self, seconds=SECONDS_MAX):
        until = time.monotonic() + seconds
        while b"\n" not in self.unread:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                return ""
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                return ""
            self.unread += piece
        line, self.unread = self.unread.split(b"\n", 1)
        return line.decode(errors="replace")

    def line_with(self, text):
        """The next line that holds the text, or what was said instead."""
        said = []
        while not said or (said[-1] and text not in said[-1]):
            said.append(self.line())
        return "\n".join(said)

    def end(self, name):
        self.process.send_signal(signal.SIGTERM)
        try:
            said = self.process.communicate(timeout=SECONDS_MAX)[1].decode(errors="replace")
        except subprocess.TimeoutExpired:
            self.process.kill()
            said = "did not end"
        check(f"{name}: SIGTERM ends it in good order", self.process.returncode == 0,
              f"{self.process.returncode}: {said}")


@contextlib.contextmanager
def our_server(program, certificate, *options):
    """Our program with that certificate: gives (its lines, its port)."""
    server = Lines(f"{FOLDER}/{program}", "0", "--cert", certificate[0], "--key", certificate[1],
                   *options)
    try:
        line = server.line()
        found = re.search(r":(\d+)\b", line)
        if not found:
            raise RuntimeError(f"{program} did not start: {line}"
                               f"{server.process.stderr.read().decode(errors='replace')}")
        yield server, int(found.group(1))
        server.end(program)
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()


def wait_for_port(port):
    for _ in range(200):
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port}")


@contextlib.contextmanager
def other_server(*command, port):
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port)
        yield
    finally:
        process.terminate()
        process.wait()


def s_server(certificate, *options):
    port = free_port()
    return port, other_server("openssl", "s_server", "-accept", port, "-cert", certificate[0],
                              "-key", certificate[1], "-www", "-quiet", *options, port=port)


def get(port, *options, host="localhost", times=1, **more):
    """Our client's answer, one request after the other."""
    done = run(f"{FOLDER}/https_get", *options, *[f"https://{host}:{port}/"] * times, **more)
    return done.stdout + done.stderr


# Each kind of bad certificate, and what our error has to say.
def bad_certificates(good):
    yield "expired", dict(start="20200101000000Z", end="20200201000000Z"), "has expired"
    yield "not_yet_valid", dict(start="20990101000000Z", end="20990201000000Z"), "not valid yet"
    yield "wrong_host", dict(names="DNS:example.org"), "for another host"
    yield "no_names", dict(names=None), "for another host"
    yield "wrong_ip", dict(names="DNS:localhost,IP:127.0.0.9"), "for another IP address"
    yield "self_signed", dict(self_signed=True), "self-signed"
    yield "weak_key", dict(key="1024"), "too weak"
    del good


def our_client(ca, other):
    """Our client against s_server: good, and every kind of bad."""
    good = ca.make("good")
    port, server = s_server(good)
    with server:
        for host in ("localhost", "127.0.0.1"):
            said = get(port, "--cacert", ca.ca, host=host)
            check(f"s_server: {host} is answered", said.startswith("200 "), said)
        said = get(port, "--cacert", ca.ca, "--fresh", times=4)
        check("s_server: a session is resumed", "4 connections, 3 of them resumed" in said, said)
        said = get(port, "--cacert", other.ca)
        check("s_server: an unknown CA is told", "tls: " in said and "unknown CA" in said, said)
        said = get(port)
        check("s_server: the system does not know it either", "unknown CA" in said, said)
        said = get(port, environment={"SSL_CERT_FILE": ca.ca})
        check("s_server: SSL_CERT_FILE is honoured", said.startswith("200 "), said)
        said = get(port, environment={"SSL_CERT_FILE": "/missing.pem"})
        check("s_server: a missing SSL_CERT_FILE is told", "/missing.pem" in said, said)
        said = get(port, "--insecure")
        check("s_server: --insecure takes it", said.startswith("200 "), said)
    for name, how, cause in bad_certificates(good):
        bad = ca.make(name, **how)
        options = ("-cipher", "DEFAULT@SECLEVEL=0") if name == "weak_key" else ()
        port, server = s_server(bad, *options)
        host = "127.0.0.1" if name == "wrong_ip" else "localhost"
        with server:
            said = get(port, "--cacert", ca.ca, host=host)
            check(f"bad certificate {name}: the error names the cause",
                  f"https://{host}:{port}/: tls: " in said and cause in said, said)
    for version in ("-tls1_2", "-tls1_3"):
        port, server = s_server(good, version)
        with server:
            said = get(port, "--cacert", ca.ca, "--fresh", times=2)
            check(f"s_server {version}: resumed", "1 of them resumed" in said, said)
    for name, options, cause in (
            ("TLS 1.1", ("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"), "version"),
            ("another ALPN", ("-alpn", "h2"), "no application protocol"),
            ("one cipher of no use", ("-tls1_2", "-cipher", "PSK", "-psk", "00"), "alert")):
        port, server = s_server(good, *options)
        with server:
            said = get(port, "--cacert", ca.ca)
            check(f"s_server with {name}: the error names the cause", cause in said, said)


def our_client_and_lists(ca):
    """Revocation, intermediate certificates and client certificates."""
    good, revoked = ca.make("kept"), ca.make("revoked")
    ca.revoke(revoked[0])
    crl = ca.crl()
    for certificate, cause in ((good, "200 "), (revoked, "has been revoked")):
        port, server = s_server(certificate)
        with server:
            said = get(port, "--cacert", ca.ca, "--crl", crl)
            check(f"CRL file: {cause}", cause in said, said)
            said = get(port, "--cacert", ca.ca, "--crl", "/missing.crl")
            check("a missing CRL file is told", "/missing.crl" in said, said)
    client = ca.make("a client", names=None)
    port, server = s_server(good, "-CAfile", ca.ca, "-Verify", "3", "-verify_return_error")
    with server:
        said = get(port, "--cacert", ca.ca, "--cert", client[0], "--key", client[1])
        check("client certificate: shown and taken", said.startswith("200 "), said)
        said = get(port, "--cacert", ca.ca)
        check("client certificate: the lack of one is told", "alert" in said, said)
    encrypted = f"{ca.folder}/encrypted.key"
    ca.openssl("pkey", "-in", client[1], "-aes128", "-passout", "pass:sesame", "-out", encrypted)
    port, server = s_server(good, "-CAfile", ca.ca, "-Verify", "3", "-verify_return_error")
    with server:
        said = get(port, "--cacert", ca.ca, "--cert", client[0], "--key", encrypted,
                   "--pass", "sesame")
        check("an encrypted key opens with its password", said.startswith("200 "), said)
        said = get(port, "--cacert", ca.ca, "--cert", client[0], "--key", encrypted)
        check("and without one says so, and asks nobody", encrypted in said, said)


def slow_and_silent_servers(ca):
    """Handshakes that never come, that come slowly, that are cut, and that are no TLS."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = get(silent.getsockname()[1], "--cacert", ca.ca, "--handshake-timeout", "0.3")
        check("a silent server: a timeout", "tls: timed out after 300 ms" in said, said)
    for name, answer, cause in (("plain HTTP", b"HTTP/1.1 400 Bad\r\n\r\n", "does not speak TLS"),
                                ("nothing, and hangs up", b"", "hung up during the TLS handshake"),
                                ("a cut record", b"\x16\x03\x03\x00\x50\x02", "hung up")):
        with socket.create_server(("127.0.0.1", 0)) as door:
            client = Lines(f"{FOLDER}/https_get", "--cacert", ca.ca,
                           f"https://localhost:{door.getsockname()[1]}/").process
            peer, _ = door.accept()
            peer.recv(10_000)
            check_dump("https_get", client)
            peer.sendall(answer)
            peer.shutdown(socket.SHUT_WR)
            said = client.communicate(timeout=SECONDS_MAX)[0].decode()
            peer.close()
            check(f"a server that says {name}: the error names the cause", cause in said, said)


def python_context(ca, verify=True):
    context = ssl.create_default_context(cafile=ca.ca)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def truncated_answers(ca):
    """An answer that ends with the connection is whole only behind a close_notify."""
    good = ca.make("truncating")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*good)
    for orderly in (True, False):
        with socket.create_server(("127.0.0.1", 0)) as door:
            client = subprocess.Popen(
                [f"{FOLDER}/https_get", "--cacert", ca.ca,
                 f"https://localhost:{door.getsockname()[1]}/"], stdout=subprocess.PIPE, text=True)
            raw, _ = door.accept()
            peer = context.wrap_socket(raw, server_side=True)
            peer.recv(10_000)
            peer.sendall(b"HTTP/1.1 200 OK\r\n\r\nhello")
            if orderly:
                with contextlib.suppress(OSError):
                    peer.unwrap()
            peer.close()
            said = client.communicate(timeout=SECONDS_MAX)[0]
            check(f"an answer that ends {'with' if orderly else 'without'} close_notify",
                  said.startswith("200 5 ") if orderly else "without a close_notify" in said, said)


def s_client(port, *options, given="hello\n", awaited=None):
    """s_client's output when it sends a line and waits for it to come back, or for something else
    to be said."""
    awaited = (awaited or given).encode()
    process = subprocess.Popen(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, bufsize=0)
    process.stdin.write(given.encode())
    said, until = b"", time.monotonic() + SECONDS_MAX
    while awaited not in said and time.monotonic() < until:
        if not select.select([process.stdout], [], [], 0.5)[0] and process.poll() is not None:
            break
        piece = os.read(process.stdout.fileno(), 65536)
        if not piece:
            break
        said += piece
    process.stdin.close()
    try:
        process.wait(timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        said += b"did not end"
    process.stdout.close()
    return said.decode(errors="replace")


def our_server_and_s_client(ca):
    """Our echo server against s_client: versions, resumption, SNI, ALPN, renegotiation."""
    good = ca.make("first")
    second = ca.make("second", names="DNS:second.example,DNS:*.wild.example")
    with our_server("tls_echo", good, "--cert", second[0], "--key", second[1], "--alpn", "echo/1",
                    "--alpn", "http/1.1", "--verbose") as (server, port):
        for version in ("-tls1_2", "-tls1_3"):
            said = s_client(port, version, "-CAfile", ca.ca, "-verify_return_error")
            check(f"s_client {version}: its line comes back", "hello" in said, said)
            check(f"s_client {version}: the chain verifies", "Verify return code: 0" in said, said)
            line = server.line()
            check(f"s_client {version}: we say what was agreed", "secured TLSv1" in line, line)
            session = f"{ca.folder}/session{version}"
            s_client(port, version, "-sess_out", session)
            server.line()
            s_client(port, version, "-sess_in", session)
            line = server.line()
            check(f"s_client {version}: its session is resumed", "resumed" in line, line)
        for name, wanted in (("second.example", "second"), ("a.wild.example", "second"),
                             ("a.b.wild.example", "first"), ("other.example", "first"),
                             ("SECOND.example", "second")):
            said = s_client(port, "-servername", name)
            check(f"SNI {name}: {wanted}", f"subject=CN = {wanted}" in said, said[:900])
            check(f"SNI {name}: we know it", f"name={name}" in server.line())
        said = s_client(port, "-noservername")
        check("no SNI: the first certificate", "subject=CN = first" in said, said[:900])
        server.line()
        said = s_client(port, "-alpn", "h2,echo/1,http/1.1")
        check("ALPN: what the server likes best", "ALPN protocol: echo/1" in said, said[-900:])
        check("ALPN: we know it", "protocol=echo/1" in server.line())
        said = s_client(port, "-alpn", "h2")
        check("ALPN: nothing in common", "no application protocol" in said, said[-900:])
        check("ALPN: we say so", "no protocol (ALPN) in common" in server.line())
        said = s_client(port, "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0")
        check("TLS 1.1 is refused", "hello" not in said.split("---")[-1], said[-300:])
        line = server.line()
        check("TLS 1.1: we say so", "no version" in line, line)
        said = s_client(port, "-tls1_2", given="R\n", awaited="no renegotiation")
        check("renegotiation is refused", "no renegotiation" in said, said[-500:])


def our_server_and_client_certificates(ca, other):
    """Clients that must show a certificate: good, none, of another CA, revoked."""
    good = ca.make("asking")
    client, stranger = ca.make("client 1", names=None), other.make("stranger", names=None)
    revoked = ca.make("client 2", names=None)
    ca.revoke(revoked[0])
    crl = ca.crl()
    with our_server("tls_echo", good, "--client-ca", ca.ca, "--crl", crl, "--verbose") as (
            server, port):
        for version in ("-tls1_2", "-tls1_3"):
            said = s_client(port, version, "-cert", client[0], "-key", client[1])
            check(f"client certificate {version}: taken", "hello" in said, said[-500:])
            line = server.line()
            check(f"client certificate {version}: we know whose", "peer=CN=client 1" in line, line)
            for name, shown, cause in (
                    ("none", (), "showed no certificate"),
                    ("of another CA", ("-cert", stranger[0], "-key", stranger[1]), "unknown CA"),
                    ("revoked", ("-cert", revoked[0], "-key", revoked[1]), "been revoked")):
                s_client(port, version, *shown)
                line = server.line()
                check(f"client certificate {version}, {name}: we name the cause", cause in line,
                      line)
    with our_server("tls_echo", good, "--client-ca", ca.ca, "--client-optional", "--verbose") as (
            server, port):
        s_client(port)
        line = server.line()
        check("a certificate that is optional may be missing", "secured" in line, line)


def our_server_and_curl(ca, other):
    """Our HTTP server against curl."""
    good = ca.make("for curl")
    with our_server("http_echo", good) as (_, port):
        for version in ("--tls-max 1.2", "--tlsv1.3"):
            done = run("curl", "-sS", "--cacert", ca.ca, *version.split(),
                       f"https://localhost:{port}/plaintext")
            check(f"curl {version}: answered", done.stdout == "Hello, World!", done)
        done = run("curl", "-sS", "--cacert", ca.ca, "-o", "/dev/null", "-w",
                   "%{http_version} %{num_connects}\n", f"https://127.0.0.1:{port}/plaintext",
                   f"https://127.0.0.1:{port}/plaintext")
        check("curl: keeps the connection", done.stdout.startswith("1.1 1\n"), done)
        done = run("curl", "-sS", "--cacert", other.ca, f"https://localhost:{port}/")
        check("curl: does not trust it with another CA", done.returncode == 60, done)
        body = "x" * 3_000_000
        done = run("curl", "-sS", "--cacert", ca.ca, "-H", "Expect:", "--data-binary", "@-",
                   f"https://localhost:{port}/big", given=body[:1_000_000])
        check("curl: a large body goes and comes", body[:1_000_000] in done.stdout,
              f"{len(done.stdout)} {done.stderr}")
        done = run("curl", "-sS", f"http://127.0.0.1:{port}/")
        check("curl without TLS: no answer, no harm", done.returncode != 0, done)
        done = run("curl", "-sS", "--cacert", ca.ca, f"https://localhost:{port}/plaintext")
        check("curl: the next one is answered", done.stdout == "Hello, World!", done)


def reload_and_timeouts(ca):
    """New files for new connections, old connections unharmed; clients that dawdle."""
    certificate, key = ca.make("reloaded")
    shown = f"{ca.folder}/shown"
    shutil.copy(certificate, f"{shown}.pem")
    shutil.copy(key, f"{shown}.key")
    with our_server("tls_echo", (f"{shown}.pem", f"{shown}.key"), "--verbose",
                    "--handshake-timeout", "1") as (server, port):
        context = python_context(ca)
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port)),
                                 server_hostname="localhost") as old:
            server.line()
            certificate, key = ca.make("newer")
            shutil.copy(certificate, f"{shown}.pem")
            shutil.copy(key, f"{shown}.key")
            server.process.send_signal(signal.SIGHUP)
            check("reload: done", server.line() == "reloaded")
            said = s_client(port)
            check("reload: new connections see the new certificate", "CN = newer" in said,
                  said[:500])
            server.line()
            old.sendall(b"still here")
            check("reload: old connections live on", old.recv(100) == b"still here")
            with open(f"{shown}.pem", "w", encoding="utf-8") as file:
                file.write("no certificate\n")
            server.process.send_signal(signal.SIGHUP)
            line = server.line()
            check("reload: a bad file is told", line.startswith("not reloaded: certificate file"),
                  line)
            said = s_client(port)
            check("reload: and what was there stays", "CN = newer" in said, said[:500])
            server.line()
        with socket.create_connection(("127.0.0.1", port)) as silent:
            line = server.line_with("took too long")
            check("a silent client: the handshake times out", "took too long" in line, line)
            check("a silent client: is hung up on", silent.recv(10) == b"")
        check_dump("tls_echo", server.process)
        slow_handshake(ca, server, port)


def slow_handshake(ca, server, port):
    """A client whose handshake comes byte by byte, but in time."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = python_context(ca).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                engine.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            for byte in outgoing.read():
                raw.sendall(bytes([byte]))
            if done:
                break
            incoming.write(raw.recv(65536))
        line = server.line_with("secured")
        check("a slow handshake: done in the end", "secured" in line, line)
        engine.write(b"one byte at a time")
        for byte in outgoing.read():
            raw.sendall(bytes([byte]))
        text = b""
        while len(text) < 18:
            try:
                text += engine.read(100)
            except ssl.SSLWantReadError:
                incoming.write(raw.recv(65536))
        check("a slow handshake: and talks", text == b"one byte at a time", text)


def nginx_and_the_crawler(ca, other):
    """The crawler on a site of nginx's, good and bad."""
    good, expired = ca.make("nginx"), ca.make("old_nginx", start="20200101000000Z",
                                              end="20200201000000Z")
    site = f"{ca.folder}/site"
    os.makedirs(site, exist_ok=True)
    os.chmod(ca.folder, 0o755)
    for page in range(5):
        with open(f"{site}/{page}.html", "w", encoding="utf-8") as file:
            file.write(f"<a href={(page + 1) % 5}.html>on</a>" + "x" * 50_000 * page)
    ports = free_port(), free_port()
    servers = "".join(
        f"server {{ listen 127.0.0.1:{port} ssl; root {site}; ssl_certificate {shown[0]}; "
        f"ssl_certificate_key {shown[1]}; types {{ text/html html; }} }}\n"
        for port, shown in zip(ports, (good, expired)))
    with open(f"{ca.folder}/nginx.conf", "w", encoding="utf-8") as file:
        file.write(f"daemon off; worker_processes 1; pid {ca.folder}/nginx.pid;\n"
                   f"error_log {ca.folder}/nginx.log; events {{ }}\nhttp {{ access_log off;\n" +
                   "".join(f"{part}_temp_path {ca.folder}/{part};\n" for part in
                           ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")) + servers + "}\n")
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    with other_server(nginx, "-e", f"{ca.folder}/nginx.log", "-p", ca.folder, "-c",
                      f"{ca.folder}/nginx.conf", port=ports[0]):
        said = get(ports[0], "--cacert", ca.ca, "--fresh", times=3)
        check("nginx: sessions are resumed", "2 of them resumed" in said, said)
        crawler = f"{FOLDER}/crawler"
        url = f"https://localhost:{ports[0]}/0.html"
        done = run(crawler, "--depth", 9, "--output", "-", "--cacert", ca.ca, url)
        check("crawler: the whole site", done.stdout.count('"status":200') == 5, done)
        done = run(crawler, "--depth", 9, "--output", "-", url,
                   environment={"SSL_CERT_FILE": ca.ca})
        check("crawler: SSL_CERT_FILE", done.stdout.count('"status":200') == 5, done)
        done = run(crawler, "--depth", 9, "--output", "-", "--insecure", url)
        check("crawler: --insecure", done.stdout.count('"status":200') == 5, done)
        done = run(crawler, "--ignore-robots", "--output", "-", "--cacert", other.ca, url)
        check("crawler: an unknown CA is a row with its cause",
              "tls: " in done.stdout and "unknown CA" in done.stdout and done.returncode == 0, done)
        done = run(crawler, "--ignore-robots", "--output", "-", "--cacert", ca.ca,
                   f"https://localhost:{ports[1]}/0.html")
        check("crawler: an expired certificate is a row with its cause",
              "has expired" in done.stdout and done.returncode == 0, done)
        for bad in ("/missing.pem", __file__):
            done = run(crawler, "--cacert", bad, url)
            check(f"crawler --cacert {bad}: a sentence and exit code 2",
                  done.returncode == 2 and bad in done.stderr, done)


def main():
    with tempfile.TemporaryDirectory(prefix="ringlet-tls-") as folder:
        ca, other = Authority(folder, "ca"), Authority(folder, "other")
        parts = ((our_client, ca, other), (our_client_and_lists, ca), (slow_and_silent_servers, ca),
                 (truncated_answers, ca), (our_server_and_s_client, ca),
                 (our_server_and_client_certificates, ca, other), (our_server_and_curl, ca, other),
                 (reload_and_timeouts, ca), (nginx_and_the_crawler, ca, other))
        for part, *arguments in parts:
            try:
                part(*arguments)
            except (OSError, RuntimeError, subprocess.SubprocessError) as failure:
                check(f"{part.__name__} runs to its end", False, repr(failure))
    print(f"{results[True]} passed, {results[False]} failed")
    return 1 if results[False] else 0


if __name__ == "__main__":
    sys.exit(main())

"""TLS: an echo through it, and handshakes, beside a bare blocking OpenSSL loop and nginx."""

import subprocess
from contextlib import ExitStack

from measure import Load, Server, compare, free_port
from report import Row
from web import Nginx, find_nginx

DRIVERS = ("uring", "epoll")
ECHO_BYTES = (256, 8192, 1 << 20)
ECHO_CONNECTIONS = (1, 10)
ECHO_TARGET = 1.10
ECHO_TARGET_FROM = 8192
HTTPS_CONNECTIONS = 64


def make_certificate(folder):
    """(certificate, key): self-signed, P-256, as most servers have now."""
    made = folder / "bench.pem", folder / "bench.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=localhost",
                    "-out", made[0], "-keyout", made[1]], check=True, capture_output=True)
    return made


def measured(bench, servers, tool, mode, *load):
    """The figures of servers that are loaded by `tool` in turn."""
    with ExitStack() as stack:
        pairs = []
        for server in servers:
            generator = Load(bench.tool(tool), mode, server.port, *load)
            stack.callback(generator.close)
            pairs.append((server, generator))
        return compare(pairs, bench.rounds)


def floor(bench, stack, certificate, *rest):
    port = free_port()
    server = Server("floor", [bench.tool("bench_tls_floor"), port, *certificate, *rest], port)
    stack.callback(server.close)
    return server


def ours(bench, stack, example, certificate):
    servers = []
    for driver in DRIVERS:
        port = free_port()
        command = [bench.example(example), port, "--cert", certificate[0], "--key", certificate[1]]
        servers.append(Server(driver, command, port, {"RINGLET_DRIVER": driver}))
        stack.callback(servers[-1].close)
    return servers


def measure(bench):
    certificate = make_certificate(bench.folder)
    with ExitStack() as stack:
        servers = [floor(bench, stack, certificate), *ours(bench, stack, "tls_echo", certificate)]
        for size in ECHO_BYTES:
            for connections in ECHO_CONNECTIONS:
                figures = measured(bench, servers, "bench_tls_echo_load", "echo", connections, size)
                targets = dict.fromkeys(DRIVERS, ECHO_TARGET) if size >= ECHO_TARGET_FROM else {}
                bench.report.add_figures(
                    "tls", f"echo of {size:,} bytes, {connections} connections, CPU per message",
                    figures, "floor", targets)
    nginx = None
    with ExitStack() as stack:
        web = ours(bench, stack, "http_echo", certificate)
        if find_nginx():
            nginx = Nginx(bench.folder / "nginx-tls", certificate=certificate)
            stack.callback(nginx.close)
            figures = measured(bench, [nginx, *web], "bench_tls_load", "http", HTTPS_CONNECTIONS,
                               64)
            bench.report.add_figures(
                "tls", f"https plaintext, {HTTPS_CONNECTIONS} connections, CPU per request",
                figures, "nginx", {"uring": 1.0})
        servers = [floor(bench, stack, certificate, "inline"),
                   *ours(bench, stack, "tls_echo", certificate), *([nginx] if nginx else [])]
        for how in ("new", "resumed"):
            figures = measured(bench, servers, "bench_tls_load", "handshake", 1, how)
            bench.report.add_figures("tls", f"handshake, {how}, with one request, CPU of each",
                                     figures, "floor", {})
            for name, figure in figures.items():
                bench.report.add(Row("tls", f"handshakes ({how}) per CPU second", name,
                                     1e9 / figure.minimum, "/s"))

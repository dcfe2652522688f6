"""Debian's nginx on loopback, as a peer for plaintext and as the server of a real site."""

import pathlib
import shutil
import subprocess

from measure import MeasureError, Server, free_port

CONFIGURATION = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    types {{ text/html html; text/css css; text/javascript js; image/png png; image/svg+xml svg; }}
    default_type text/plain;
    log_format page "$status $request_uri";
    access_log off;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    sendfile on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port}{secure} backlog=4096;
        location = /plaintext {{ return 200 "Hello, World!"; }}
        location / {{ root {root}; index index.html; access_log {folder}/pages.log page; }}
    }}
}}
"""


def find_nginx():
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")


def documentation_root():
    """The folder of Python's documentation as Debian installs it, or None."""
    listing = subprocess.run(["dpkg-query", "-L", "python3.11-doc"], capture_output=True,
                             text=True, check=False).stdout
    for line in listing.splitlines():
        if line.endswith("/html/index.html"):
            return pathlib.Path(line).parent
    return None


class Nginx(Server):
    """One worker; the pages it served (not /plaintext) are in a log of its own."""

    def __init__(self, folder, root=None, certificate=None):
        program = find_nginx()
        if program is None:
            raise MeasureError("nginx is not installed.")
        folder = pathlib.Path(folder).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.log = folder / "pages.log"
        configuration = folder / "nginx.conf"
        text = CONFIGURATION.format(folder=folder, port=port, root=root or folder,
                                    secure=" ssl" if certificate else "")
        if certificate:
            text = text.replace("http {\n", "http {\n    ssl_certificate %s;\n"
                                "    ssl_certificate_key %s;\n" % certificate, 1)
        configuration.write_text(text)
        super().__init__("nginx", [program, "-p", folder, "-c", configuration], port)

    def forget_pages(self):
        with open(self.log, "w"):
            pass

    def pages(self):
        """(requests, distinct HTML pages answered 200) since forget_pages."""
        lines = self.log.read_text().split("\n")[:-1]
        html = {uri.split("?")[0] for status, uri in (line.split(" ", 1) for line in lines)
                if status == "200" and uri.split("?")[0].endswith((".html", "/"))}
        return len(lines), len(html)

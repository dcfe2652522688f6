#!/usr/bin/env python3
"""A server of hostile answers, for tests of the crawler: loopback only, bounded in bytes and time.

It serves several sites, each at a port of its own on 127.0.0.1 to 127.0.0.8, and prints their ports
as one line of JSON when all are open; `dead` is a port that nobody listens on. The site `main` has
one path per misbehaviour (the table ANSWERS), `control` answers /stats and /reset: the
concurrency and the requests that the others have seen. It ends when its standard input does.
"""

import asyncio
import functools
import gzip
import json
import random
import socket
import struct
import sys
import urllib.parse
import zlib

HOSTS = [f"127.0.0.{n}" for n in range(1, 9)]
ENDLESS_BYTES_MAX = 1 << 30  # what an endless answer sends before it gives up
ENDLESS_SECONDS_MAX = 60
BOMB_BLOCK = bytes(1 << 24)  # 64 of them make the 1 GiB of the gzip bomb
PAGE_LINKS = 100_000
PLAIN = "Content-Type: text/plain\r\n"
HTML = "Content-Type: text/html\r\n"


def answer(body, fields=HTML, status="200 OK"):
    """A whole, honest answer."""
    body = body.encode() if isinstance(body, str) else body
    return f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


def page(*urls):
    return "<html><body>" + "".join(f'<a href="{url}">x</a>\n' for url in urls) + "</body></html>"


def redirect(location, status="302 Found"):
    return answer("", f"Location: {location}\r\n", status)


def encoded(body, coding, fields=HTML):
    return answer(body, f"{fields}Content-Encoding: {coding}\r\n")


@functools.cache
def gzip_bomb():
    """1 GiB of zeros in 1 MiB: one compressed block, flushed whole, 64 times over."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(BOMB_BLOCK) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + block * 64 + b"\x03\0" + bytes(8)


@functools.cache
def huge_page():
    return answer(page(*(f"/n/{n}" for n in range(PAGE_LINKS))))


def bad_urls_page():
    """Every way in which a link can be no link."""
    return page("http://", "http:///", "//", "http://[", "http://[::1", "http://a b/", "ftp://x/",
                "javascript:alert(1)", "mailto:a@b", "data:text/html,x", "tel:1", "about:blank",
                "http://127.0.0.1:99999/", "http://127.0.0.1:-1/", "http://256.256.256.256.256/",
                "http://%00/", "\x01\x02", "&#0;", "a" * 100_000, "#", "", " ", "?",
                "http://user:pass@/", "file:///etc/passwd", "\\\\host\\share", "http:\\\\[\\",
                "/good", "http://xn--\u00e9/", "blob:x", "javascript://%0aalert(1)")


def chunks(*parts):
    head = f"HTTP/1.1 200 OK\r\n{HTML}Transfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


# What happens after the bytes of an answer: nothing, the end of the stream, a reset.
KEEP, CLOSE, RESET = "keep", "close", "reset"
OK = b"HTTP/1.1 200 OK\r\n"
SMUGGLED = answer("smuggled", PLAIN, "418 Smuggled")
GZIP_PAGE = gzip.compress(page("/good").encode())
NOISE = random.Random(7).randbytes(4096)
DEEP_PAGE = "<div>" * 100_000 + '<a href="/good">x</a>' + "</div>" * 100_000

# path -> (bytes, or a function that gives them; what happens then)
ANSWERS = {
    "/good": (answer(page()), KEEP),
    "/empty-body": (answer(""), KEEP),
    "/http-1.0": (b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\nold", CLOSE),
    "/until-close": (OK + HTML.encode() + b"\r\nno length", CLOSE),
    "/204": (b"HTTP/1.1 204 No Content\r\n\r\n", KEEP),
    "/204-with-body": (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", CLOSE),
    "/304": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", KEEP),
    "/404": (answer("no", PLAIN, "404 Not Found"), KEEP),
    "/500": (answer("no", PLAIN, "500 Internal Server Error"), KEEP),
    "/999": (answer("odd", PLAIN, "999 Odd"), KEEP),
    "/early-hints": (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(page()), KEEP),
    "/length-twice-same": (OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok", CLOSE),

    "/truncated": (OK + b"Content-Length: 1000\r\n\r\nnot all", CLOSE),
    "/truncated-chunked": (chunks(b"first"), CLOSE),
    "/truncated-head": (OK + b"Content-Type: te", CLOSE),
    "/closed": (b"", CLOSE),
    "/reset": (b"", RESET),
    "/reset-in-body": (OK + b"Content-Length: 1000\r\n\r\nnot all", RESET),

    "/bad-status-line": (b"HTTP/1.1 abc OK\r\n\r\n", CLOSE),
    "/bad-version": (b"HTTP/9.9 200 OK\r\nContent-Length: 0\r\n\r\n", CLOSE),
    "/no-head": (b"<html>just a page, as HTTP 0.9 did it</html>\r\n", CLOSE),
    "/noise": (NOISE, CLOSE),
    "/bad-header": (OK + b"this line has no colon\r\n\r\n", CLOSE),
    "/bad-header-name": (OK + b"na me: x\r\n\r\n", CLOSE),
    "/bad-header-byte": (OK + b"Name: a\0b\r\n\r\n", CLOSE),
    "/folded-header": (OK + b"Name: a\r\n b\r\nContent-Length: 0\r\n\r\n", CLOSE),
    "/many-headers": (OK + b"".join(b"X-%d: x\r\n" % n for n in range(5000)) + b"\r\n", CLOSE),
    "/long-header": (OK + b"X: " + b"x" * (1 << 20) + b"\r\n\r\n", CLOSE),
    "/length-twice": (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc", CLOSE),
    "/length-negative": (OK + b"Content-Length: -1\r\n\r\n", CLOSE),
    "/length-overflow": (OK + b"Content-Length: 99999999999999999999999\r\n\r\n", CLOSE),
    "/length-and-chunked": (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
                            b"2\r\nok\r\n0\r\n\r\n", CLOSE),
    "/unknown-transfer": (OK + b"Transfer-Encoding: rot13\r\n\r\nabc", CLOSE),
    "/bad-chunk": (chunks() + b"zz\r\nabc\r\n", CLOSE),
    "/chunk-overflow": (chunks() + b"fffffffffffffffffff\r\nabc\r\n", CLOSE),
    "/chunk-extensions": (chunks() + b"1;" + b"x" * (1 << 20) + b"\r\na\r\n0\r\n\r\n", CLOSE),
    "/trailer-bomb": (chunks(b"a") + b"0\r\n" + b"T: x\r\n" * 100_000 + b"\r\n", CLOSE),
    "/upgrade": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
                 CLOSE),
    # Bytes nobody asked for must never become the answer to the next request.
    "/extra-answer": (answer(page()) + SMUGGLED, KEEP),
    "/extra-bytes": (answer(page()) + b"garbage", KEEP),

    "/loop": (redirect("/loop"), KEEP),
    "/loop-of-two": (redirect("/loop-of-two-b"), KEEP),
    "/loop-of-two-b": (redirect("/loop-of-two"), KEEP),
    "/to-ftp": (redirect("ftp://127.0.0.1/"), KEEP),
    "/to-file": (redirect("file:///etc/passwd"), KEEP),
    "/to-javascript": (redirect("javascript:alert(1)"), KEEP),
    "/to-bad-url": (redirect("http://[bad/"), KEEP),
    "/to-nowhere": (answer("", "", "302 Found"), KEEP),
    "/to-good": (redirect("/good#part"), KEEP),

    "/gzip": (encoded(GZIP_PAGE, "gzip"), KEEP),
    "/deflate-zlib": (encoded(zlib.compress(b"<a href=/good>x</a>"), "deflate"), KEEP),
    "/deflate-raw": (encoded(zlib.compress(b"<a href=/good>x</a>")[2:-4], "deflate"), KEEP),
    "/gzip-two-members": (encoded(GZIP_PAGE + gzip.compress(b"more"), "gzip"), KEEP),
    "/gzip-empty": (encoded(b"", "gzip"), KEEP),
    "/gzip-broken": (encoded(GZIP_PAGE[:20] + NOISE[:40], "gzip"), KEEP),
    "/gzip-truncated": (encoded(GZIP_PAGE[:-12], "gzip"), KEEP),
    "/gzip-bad-sum": (encoded(GZIP_PAGE[:-8] + bytes(8), "gzip"), KEEP),
    "/gzip-not": (encoded(b"this is not gzip at all", "gzip"), KEEP),
    "/gzip-bomb": (lambda: encoded(gzip_bomb(), "gzip"), KEEP),
    "/gzip-layers": (encoded(gzip.compress(GZIP_PAGE), "gzip, gzip, gzip, gzip, gzip"), KEEP),
    "/unknown-coding": (encoded(b"abc", "zopfli"), KEEP),

    "/huge-page": (huge_page, KEEP),
    "/deep-page": (answer(DEEP_PAGE), KEEP),
    "/bad-utf8": (answer(b'<a href="/good">\xff\xfe\x80</a><a href="\xc3(">x</a>'), KEEP),
    "/utf16": (answer("\ufeff<a href='/good'>x</a>".encode("utf-16-le")), KEEP),
    "/nul-bytes": (answer(b"<a href='/go\0od'>x</a>\0\0<a href=/good>"), KEEP),
    "/bad-urls": (answer(bad_urls_page().encode()), KEEP),
    "/mislabelled": (answer(NOISE), KEEP),
}


class Site:
    """One site: which paths it has beyond ANSWERS, and what it has seen."""

    def __init__(self, name, robots=None):
        self.name = name
        self.robots = robots  # the answer to /robots.txt; None: 404
        self.reset()

    def reset(self):
        self.requests = {}
        self.count = 0
        self.active = self.active_max = 0

    def stats(self):
        return {"active_max": self.active_max, "count": self.count, "requests": self.requests}


SITES = {site.name: site for site in [
    Site("control"),
    Site("main"),
    Site("other"),
    Site("tree"),
    Site("robots", answer("User-agent: *\nDisallow: /private\nAllow: /private/open\n"
                          "Disallow: /*.secret$\n", PLAIN)),
    Site("robots_500", answer("", PLAIN, "500 Internal Server Error")),
    Site("robots_loop", redirect("/robots.txt")),
    Site("robots_noise", answer(NOISE, PLAIN)),
]}
ALL_ACTIVE = Site("all")  # concurrency over all sites and addresses


class Connection(asyncio.Protocol):
    """One connection: requests in, answers out, in order; those that take time in a coroutine."""

    def __init__(self, site):
        self.site = site
        self.buffer = b""
        self.task = None
        self.writable = asyncio.Event()
        self.writable.set()

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, _):
        self.writable.set()
        if self.task:
            self.task.cancel()

    def pause_writing(self):
        self.writable.clear()

    def resume_writing(self):
        self.writable.set()

    def data_received(self, data):
        self.buffer += data
        self.take()

    def take(self):
        while self.task is None and not self.transport.is_closing():
            head, end, rest = self.buffer.partition(b"\r\n\r\n")
            if not end:
                break
            self.buffer = rest
            parts = head.split(b" ", 2)
            self.respond(parts[1].decode(errors="replace") if len(parts) == 3 else "?")

    def respond(self, path):
        site = self.site
        if site.name == "control":
            return self.send(control(path))
        site.count += 1
        if site.count <= 2000:  # the long runs only count
            site.requests[path] = site.requests.get(path, 0) + 1
        if path == "/robots.txt":
            return self.send(site.robots or answer("", PLAIN, "404 Not Found"))
        if path.startswith("/n/"):
            return self.send(answer("<p>x"))
        if path in ANSWERS and site.name != "tree":
            data, then = ANSWERS[path]
            return self.send(data() if callable(data) else data, then)
        self.task = asyncio.ensure_future(self.run(path))
        return None

    async def run(self, path):
        """The answers that take time; how many run at once is what the limits are checked by."""
        for site in (self.site, ALL_ACTIVE):
            site.active += 1
            site.active_max = max(site.active_max, site.active)
        try:
            await asyncio.wait_for(slow_answer(self, path), ENDLESS_SECONDS_MAX)
        except asyncio.TimeoutError:
            self.transport.abort()
        finally:
            for site in (self.site, ALL_ACTIVE):
                site.active -= 1
            self.task = None
        self.take()

    def send(self, data, then=KEEP):
        self.transport.write(data)
        if then == CLOSE:
            self.transport.close()
        elif then == RESET:
            asyncio.get_running_loop().call_later(0.05 if data else 0, self.reset)

    def reset(self):
        sock = self.transport.get_extra_info("socket")
        if sock.fileno() >= 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def repeat(self, data, pause=0.0):
        """Sends `data` over and over: as fast as it is read, or with pauses."""
        for _ in range(ENDLESS_BYTES_MAX // len(data)):
            if self.transport.is_closing():
                return
            self.transport.write(data)
            await self.writable.wait()
            await asyncio.sleep(pause)


def endless(name):
    """What an endless answer starts with, what it goes on with, and how slowly."""
    return {
        "/endless-chunked": (chunks(), b"10000\r\n" + b"x" * 0x10000 + b"\r\n", 0),
        "/endless-until-close": (OK + HTML.encode() + b"\r\n", b"<p>" * 20_000, 0),
        "/endless-length": (OK + b"Content-Length: 999999999999\r\n\r\n", b"x" * 0x10000, 0),
        "/endless-drip": (chunks(), b"1\r\nx\r\n", 0.3),
        "/endless-headers": (OK, b"X-More: and more\r\n", 0),
        "/endless-header": (OK + b"X: ", b"x" * 1000, 0),
        "/endless-1xx": (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0),
        "/endless-status-line": (b"HTTP/1.1 200 ", b"O" * 1000, 0),
        "/slow-headers": (b"HTTP/1.1 200 OK\r\nX: ", b"x", 1),
        "/stall": (b"", b"", 0),
        "/stall-in-head": (OK + b"Content-", b"", 0),
        "/stall-in-body": (OK + b"Content-Length: 100\r\n\r\nsome", b"", 0),
    }.get(name)


async def slow_answer(connection, path):
    """/slow/N?ms=M, /chain/N, /stale/N, /links?u=URL&u=URL, the tree, what never ends, the rest."""
    if found := endless(path):
        start, more, pause = found
        connection.transport.write(start)
        if more:
            await connection.repeat(more, pause)
        else:
            await asyncio.sleep(ENDLESS_SECONDS_MAX)
        connection.transport.close()
    elif path.startswith("/slow/"):
        await asyncio.sleep(int(path.partition("?ms=")[2] or 100) / 1000)
        connection.send(answer("<p>slow"))
    elif path.startswith("/chain/"):
        left = int(path.rsplit("/", 1)[1])
        connection.send(redirect(f"/chain/{left - 1}") if left else answer(page()))
    elif path.startswith("/stale/"):
        # Promises to keep the connection, and closes it when the next request may be on its way.
        connection.send(answer("<p>stale"))
        await asyncio.sleep(random.uniform(0, 0.004))
        connection.transport.close()
    elif path.startswith("/links?"):
        connection.send(answer(page(*urllib.parse.parse_qs(path[7:])["u"])))
    elif connection.site.name == "tree" and path.count("/") <= 6:
        base = path.rstrip("/")
        connection.send(answer(page(*(f"{base}/{n}" for n in range(10)))))
    elif path in ("/", "/public", "/private", "/private/open", "/private/x", "/a.secret"):
        connection.send(answer(page("/public", "/private", "/private/open", "/private/x",
                                    "/a.secret", "/public#again", "/./public", "/x/../public")))
    else:
        connection.send(answer("no such page", PLAIN, "404 Not Found"))


def control(path):
    every = [*SITES.values(), ALL_ACTIVE]
    if path == "/reset":
        for site in every:
            site.reset()
    return answer(json.dumps({site.name: site.stats() for site in every}),
                  "Content-Type: application/json\r\n")


async def listen(site):
    """Opens one port on every address of HOSTS, and gives it."""
    loop = asyncio.get_running_loop()
    for _ in range(50):
        first = await loop.create_server(lambda: Connection(site), HOSTS[0], 0, backlog=1024)
        port = first.sockets[0].getsockname()[1]
        try:
            await loop.create_server(lambda: Connection(site), HOSTS[1:], port, backlog=1024)
        except OSError:  # somebody has that port on another address
            first.close()
            continue
        return port
    raise OSError("no port is free on all of " + ", ".join(HOSTS))


async def serve():
    ports = {name: await listen(site) for name, site in SITES.items()}
    with socket.socket() as probe:
        probe.bind((HOSTS[0], 0))  # bound, and never listening: every connect is refused
        ports["dead"] = probe.getsockname()[1]
        print(json.dumps(ports), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())

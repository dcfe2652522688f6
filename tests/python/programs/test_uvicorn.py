"""uvicorn, started by its own command line with our loop."""

import concurrent.futures
import http.client
import json
import os
import re
import signal
import subprocess
import sys

import pytest

APP = '''
import asyncio

started = False

async def app(scope, receive, send):
    global started
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            started = message["type"] == "lifespan.startup"
            await send({"type": message["type"] + ".complete"})
            if not started:
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"].upper()})
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await asyncio.sleep(0)
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"application/json")]})
    loop = type(asyncio.get_running_loop())
    text = '{"loop": "%s", "started": %s, "bytes": %d}' % (
        loop.__module__, str(started).lower(), len(body))
    for part in (text[:5], text[5:]):
        await send({"type": "http.response.body", "body": part.encode(), "more_body": True})
    await send({"type": "http.response.body"})
'''


@pytest.fixture
def server(driver, tmp_path, factory_name):
    """The process and the port of uvicorn with the app above."""
    (tmp_path / "asgi_app.py").write_text(APP)
    # Its own name for asyncio's loop is a word.
    loop = "asyncio" if factory_name.startswith("asyncio") else factory_name
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--loop", loop, "--port", "0", "asgi_app:app"],
        cwd=tmp_path, env=dict(os.environ, PYTHONPATH=os.pathsep.join(
            [str(tmp_path), os.environ.get("PYTHONPATH", "")])),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = []
    for line in process.stderr:
        said.append(line)
        if found := re.search(r"running on http://[\d.]+:(\d+)", line):
            break
    else:
        pytest.fail("".join(said))
    yield process, int(found.group(1))
    process.kill()
    process.communicate()


def ask(port, method="GET", body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    answers = []
    for _ in range(3):  # on one connection
        connection.request(method, "/", body)
        answers.append(json.load(connection.getresponse()))
    connection.close()
    return answers


def test_requests_are_answered_on_our_loop(server, factory_name):
    process, port = server
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for answers in pool.map(lambda _: ask(port), range(40)):
            for answer in answers:
                assert answer["loop"].startswith(factory_name.partition(":")[0])
                assert answer["started"] and answer["bytes"] == 0
    assert ask(port, "POST", b"x" * 1_000_000)[-1]["bytes"] == 1_000_000


def test_a_web_socket_is_upgraded(run, server):
    import websockets.asyncio.client

    async def main():
        async with websockets.asyncio.client.connect(f"ws://127.0.0.1:{server[1]}/") as peer:
            for text in ("hello", "x" * 200_000):
                await peer.send(text)
                assert await peer.recv() == text.upper()

    run(main())


def test_a_signal_ends_it_in_good_order(server):
    process, port = server
    ask(port)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=30)[1]
    assert "Application shutdown complete" in said and "Traceback" not in said, said
    assert process.returncode in (0, -signal.SIGTERM), said

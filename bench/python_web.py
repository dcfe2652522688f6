"""A plaintext answer by uvicorn or tornado, unchanged, on one of several event loops.

    python python_web.py uvicorn|tornado LOOP PORT
"""

import asyncio
import importlib
import sys

ANSWER = b"Hello, World!"


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200,
                "headers": [(b"content-type", b"text/plain"),
                            (b"content-length", str(len(ANSWER)).encode())]})
    await send({"type": "http.response.body", "body": ANSWER})


async def serve_uvicorn(port):
    import uvicorn

    config = uvicorn.Config(application, host="127.0.0.1", port=port, log_level="error",
                            access_log=False, lifespan="off", backlog=4096)
    await uvicorn.Server(config).serve()


async def serve_tornado(port):
    import tornado.web

    class Plaintext(tornado.web.RequestHandler):
        def get(self):
            self.set_header("Content-Type", "text/plain")
            self.write(ANSWER)

    tornado.web.Application([("/plaintext", Plaintext)],
                            log_function=lambda handler: None).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


def main():
    framework, name, port = sys.argv[1:]
    serve = {"uvicorn": serve_uvicorn, "tornado": serve_tornado}[framework]
    loop = importlib.import_module(name).new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(serve(int(port)))


if __name__ == "__main__":
    main()

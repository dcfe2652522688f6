#!/usr/bin/env python3
"""The installed tree, used as a stranger uses it: README's first example against it, by GCC and by
clang, through CMake and through pkg-config, run against a small server.

    tests/install_test.py BUILD        installs BUILD into a folder of its own first
    tests/install_test.py --installed  what is installed in /usr, with the compilers that are there

The last line is "N passed, N failed".
"""

import http.server
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BODY = b"installed, and it works\n"
MAIN = """
int main(int, char** urls) {
    ringlet::loop loop;
    ringlet::run(loop, fetch_all(loop, {urls[1], urls[2]}));
}
"""
PROJECT = """
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES CXX)
find_package(ringlet 0.1 REQUIRED)
add_executable(consumer consumer.cpp)
target_link_libraries(consumer PRIVATE ringlet::ringlet)
"""
results = {True: 0, False: 0}


def check(name, holds, detail=""):
    results[bool(holds)] += 1
    if not holds:
        print(f"FAIL: {name}: {str(detail)[-3000:]}", flush=True)
    return holds


def run(name, *command, **options):
    """Runs it, checks that it succeeds, and gives what it said or None."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=300, **options)
    return done.stdout if check(name, done.returncode == 0, done.stdout) else None


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_):
        pass


def write(folder, name, text):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def try_program(name, program, port):
    urls = [f"http://127.0.0.1:{port}/one", f"http://127.0.0.1:{port}/two?three"]
    said = run(f"{name}: runs", program, *urls)
    if said is not None:
        expected = sorted(f"{url}: 200, {len(BODY)} bytes" for url in urls)
        check(f"{name}: fetches", sorted(said.split("\n"))[1:] == expected, said)


def by_cmake(compiler, folder, prefix, port):
    name = f"{compiler} through CMake"
    build = os.path.join(folder, f"cmake-{compiler}")
    if run(f"{name}: configures", "cmake", "-S", folder, "-B", build, "-DCMAKE_BUILD_TYPE=Debug",
           f"-DCMAKE_PREFIX_PATH={prefix}", f"-DCMAKE_CXX_COMPILER={compiler}") is not None and \
            run(f"{name}: builds", "cmake", "--build", build) is not None:
        try_program(name, os.path.join(build, "consumer"), port)


def by_pkg_config(compiler, folder, libraries, port):
    name = f"{compiler} through pkg-config"
    environment = dict(os.environ)
    if libraries:
        environment["PKG_CONFIG_PATH"] = os.path.join(libraries, "pkgconfig")
    flags = run(f"{name}: is found", "pkg-config", "--cflags", "--libs", "ringlet",
                env=environment)
    program = os.path.join(folder, f"by-pkg-config-{compiler}")
    if flags is not None and run(f"{name}: builds", compiler, "-std=c++20", "-o", program,
                                 "consumer.cpp", *flags.split(), cwd=folder) is not None:
        try_program(name, program, port)


def check_headers(compiler, include):
    """What is installed includes nothing that is not."""
    headers = sorted(os.path.relpath(os.path.join(at, name), include)
                     for at, _, names in os.walk(include) for name in names)
    check("headers are installed", len(headers) > 50, headers)
    for own in ("core/uring.h", "core/epoll_buffers.h"):
        check(f"{own} is nobody else's", own not in headers)
    run("all headers compile", compiler, "-std=c++20", "-fsyntax-only", "-I", include, "-x", "c++",
        "-", "-include", *" -include ".join(headers).split())


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        example = re.search(r"```cpp\n(.*?)```", file.read(), re.DOTALL).group(1)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    compilers = ["g++", "clang++"]
    with tempfile.TemporaryDirectory() as folder:
        write(folder, "consumer.cpp", example + MAIN)
        write(folder, "CMakeLists.txt", PROJECT)
        prefix, libraries = "/usr", None
        if sys.argv[1] == "--installed":
            compilers = [name for name in compilers if shutil.which(name)]
        else:
            prefix = os.path.join(folder, "prefix")
            run("installs", "cmake", "--install", sys.argv[1], "--prefix", prefix)
            # Proves that nothing in it names the place where it was installed first.
            os.rename(prefix, prefix + "-moved")
            prefix += "-moved"
            libraries = next((os.path.dirname(os.path.join(at, "libringlet.a"))
                              for at, _, names in os.walk(prefix) if "libringlet.a" in names), "")
        check_headers(compilers[0], os.path.join(prefix, "include/ringlet"))
        for compiler in compilers:
            by_cmake(compiler, folder, prefix, port)
            by_pkg_config(compiler, folder, libraries, port)
        programs = os.path.join(prefix, "bin")
        run("ringlet-crawler is installed", os.path.join(programs, "ringlet-crawler"), "--quiet",
            "--depth", "0", "--ignore-robots", f"http://127.0.0.1:{port}/page")
    print(f"{results[True]} passed, {results[False]} failed")
    return 1 if results[False] else 0


if __name__ == "__main__":
    sys.exit(main())

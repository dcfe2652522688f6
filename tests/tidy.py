#!/usr/bin/env python3
"""The house rules that a machine can check, each failure a sentence that says what to do.

    tests/tidy.py            every rule; the headers are compiled one by one
    tests/tidy.py --quick    without compiling anything

Each rule counts as one check, and so does each header that has to compile alone. The last line is
"N passed, N failed".
"""

import argparse
import ast
import collections
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import sysconfig

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LINE_MAX = 100
FUNCTION_MAX = 70
STORY_MAX = 100  # a test case reads from top to bottom
HEADER_MAX = 300
SOURCE_MAX = 600
TEST_MAX = 900  # a test file is a row of stories, each read alone
PROSE_MIN, PROSE_MAX = 2, 16

# A layer may include itself and what stands before it.
LAYERS = ["core", "coro", "net", "http", "python", "examples"]

# Modules whose tests are not at tests/<their path>_test.*: where they are, or why there are none.
SERVERS = "tests/examples/servers_test.py"
CRAWLER = "tests/crawler/crawler_test.py"
PEERS = "tests/net/tls_peers_test.py"
TESTED_ELSEWHERE = {
    "core/config": "only constants",
    "coro/pipeline_jobs": "tests/coro/pipeline_test.cpp",
    "coro/spawn_site": "tests/coro/dump_test.cpp",
    "coro/pipeline_stages": "tests/coro/pipeline_test.cpp",
    "core/uring_constants": "only the kernel's constants",
    "core/uring_tags": "only constants",
    "core/fake_suspend": "tests/core/suspend_test.cpp",
    "core/uring_suspend": "tests/core/suspend_test.cpp",
    "core/uring_files": "tests/core/file_operation_test.cpp",
    "net/socket_names": "tests/net/connection_test.cpp",
    "net/datagram": "tests/net/udp_socket_test.cpp",
    "net/descriptor_passing": "tests/net/unix_socket_test.cpp",
    "examples/arguments": SERVERS,
    "examples/delay_server": SERVERS,
    "examples/delay_service": SERVERS,
    "examples/echo_server": SERVERS,
    "examples/experiment": SERVERS,
    "examples/http_echo": SERVERS,
    "examples/slow_store": "tests/examples/primes_test.py",
    "examples/https_get": PEERS,
    "examples/tls_echo": PEERS,
    "examples/crawler/crawl": CRAWLER,
    "examples/crawler/frontier": CRAWLER,
    "examples/crawler/main": CRAWLER,
    "examples/crawler/options": CRAWLER,
    "examples/crawler/output": CRAWLER,
    "net/tls_files": "tests/net/tls_context_test.cpp",
    "net/tls_state": "tests/net/tls_context_test.cpp",
    "examples/crawler/report_page": "tests/examples/crawler/report_test.cpp",
    "examples/crawler/report_style": "tests/examples/crawler/report_test.cpp",
}

# Files that no other file names and that are there all the same.
KNOWN_BY_NAME = {
    "LICENSE", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CMakeLists.txt",
    "CMakePresets.json", "pyproject.toml", ".gitignore", ".clang-format", ".clang-tidy", ".ci/run",
}

# Headers of the system that only core may include, because only drivers speak to the kernel.
KERNEL_HEADERS = {"liburing.h", "sys/epoll.h", "linux/io_uring.h", "sys/eventfd.h"}

WORDS = [
    (r"\bTODO\b(?!.{0,3}#\d)", "a TODO names its issue as #123, or goes"),
    (r"\b(FIXME|XXX|HACK)\b", "say what is true today instead"),
    (r"(?i)\b(hacky?|kludge|quick and dirty|dummy implementation)\b",
     "say what is true today instead"),
    (r"(?i)\b(stub|stubbed|unimplemented)\b", "what is there works, or goes"),
    (r"(?<![\w./])/(work|root|home)/\w", "no path of one machine"),
    (r"(?i)\b(deb|ftp|security|snapshot)\.debian\.org|pypi\.org|pythonhosted\.org|npmjs\.org|"
     r"crates\.io|proxy\.golang\.org|docker\.io|ghcr\.io|pkg\.dev\b", "no host of a registry"),
    (r"\.\./shared\b", "the project stands alone"),
]

CPP = (".h", ".cpp", ".c")
# Vectors are bytes, not prose.
TEXT_EXEMPT = ("docs/figures/", "tests/data/", "tests/fuzz/corpus/", "tests/fuzz/dictionaries/")
# Found by their folder's glob, and built by other presets than this looks at.
BUILT_ELSEWHERE = ("tests/faults/", "tests/fuzz/", "tests/python/", "python/native/",
                   "python/ringlet/")


class Report:
    """Collects what fails, by rule."""

    def __init__(self):
        self.rules = collections.OrderedDict()

    def rule(self, name):
        self.rules.setdefault(name, [])

    def fail(self, name, sentence):
        self.rules.setdefault(name, []).append(sentence)

    def finish(self):
        failed = [name for name, sentences in self.rules.items() if sentences]
        for name in failed:
            print(f"{name}:")
            for sentence in self.rules[name]:
                print(f"  {sentence}")
        print(f"{len(self.rules) - len(failed)} passed, {len(failed)} failed")
        return 1 if failed else 0


def project_files():
    """What git tracks, and what it would track."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted({name for name in listing.split("\0")
                   if name and os.path.isfile(os.path.join(ROOT, name))})


def read(name):
    with open(os.path.join(ROOT, name), "rb") as file:
        return file.read()


def check_text(report, name, data):
    """Bytes, lines and words."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return report.fail("text is UTF-8", f"{name} is not")
    if data and not data.endswith(b"\n"):
        report.fail("files end with a line end", f"{name} does not")
    if data.endswith(b"\n\n"):
        report.fail("files end with a line end", f"{name} ends with an empty line")
    for number, line in enumerate(text.split("\n"), 1):
        place = f"{name}:{number}"
        if re.search(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u2028-\u202e\ufeff]", line):
            report.fail("no control characters", f"{place} holds one: write it as an escape")
        if "\t" in line:
            report.fail("no tabs", f"{place}: indent with spaces, or write \\t")
        if line != line.rstrip():
            report.fail("no trailing blanks", place)
        table = name.endswith(".md") and (line.startswith("|") or "](" in line or "http" in line)
        if len(line) > LINE_MAX and not table:
            report.fail("lines are at most 100 columns", f"{place} has {len(line)}")
        if name == os.path.relpath(__file__, ROOT) or name == "LICENSE":
            continue
        for pattern, advice in WORDS:
            if found := re.search(pattern, line):
                report.fail("no banned words", f"{place}: '{found.group(0)}': {advice}")


def check_cpp_shape(report, name, text):
    """Length, opening and comments of one C++ file."""
    lines = text.count("\n")
    limit = (TEST_MAX if name.startswith("tests/") else
             HEADER_MAX if name.endswith(".h") else SOURCE_MAX)
    if lines > limit:
        report.fail("files have a size that can be read", f"{name}: {lines} lines, {limit} allowed")
    if name.endswith(".h"):
        prose = 0
        for line in text.split("\n"):
            if not line.startswith(("//", "/*", " *")):
                break
            prose += 1
        if not PROSE_MIN <= prose <= PROSE_MAX:
            report.fail("headers open with prose",
                        f"{name} opens with {prose} lines of comment before '#pragma once'")
        if text.count("#pragma once") != 1:
            report.fail("headers open with prose", f"{name} needs one '#pragma once'")
    for number, line in enumerate(text.split("\n"), 1):
        if re.match(r"\s*//\s*[-=*#/]{4,}\s*$", line):
            report.fail("no banners", f"{name}:{number}")
        if re.match(r"\s*// ?\w[\w:<>&*. ]*(\(.*\)|= .*);\s*$", line) or re.match(
                r"\s*// ?(if|for|while|return|#include)\b.*[;{>]\s*$", line):
            report.fail("no commented-out code", f"{name}:{number}: {line.strip()}")


def without_text(source):
    """C++ with comments, strings and characters blanked, line ends kept."""
    token = re.compile(
        r'//[^\n]*|/\*.*?\*/|(?:\b(?:u8|[uUL])?R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)")'
        r'|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)
    return token.sub(lambda found: re.sub(r"[^\n]", " ", found.group(0)), source)


def opens_scope(head):
    """Whether the brace after `head` opens a namespace or a type, and not a function or a value."""
    while found := re.match(r"\s*template\s*<", head):
        depth, at = 1, found.end()
        while at < len(head) and depth:
            depth += {"<": 1, ">": -1}.get(head[at], 0)
            at += 1
        head = head[at:]
        head = re.sub(r"^\s*requires\s*(\([^{}]*\)|[\w:<>, ]+?)\s*(?=\b(class|struct)\b)", "", head)
    return re.match(r"\s*((inline|export|typedef|static|constexpr)\s+)*"
                    r"(namespace|class|struct|union|enum|extern)\b(?!.*\)\s*(const|noexcept)?\s*$)",
                    head, re.DOTALL)


def check_cpp_functions(report, name, text):
    """The length of every outermost brace that is neither a scope nor a value."""
    code = re.sub(r"^[ ]*#(?:[^\n]*\\\n)*[^\n]*",
                  lambda directive: re.sub(r"[^\n]", " ", directive.group(0)),
                  without_text(text), flags=re.MULTILINE)
    stack, start, head_at = [], 0, 0
    for found in re.finditer(r"[{};]", code):
        at, mark = found.start(), found.group(0)
        if mark == "{":
            head = code[head_at:at]
            inside = any(not scope for scope in stack)
            if not inside:
                start = at - len(head.lstrip())
            stack.append(not inside and bool(opens_scope(head)))
        elif mark == "}" and stack:
            scope = stack.pop()
            if not scope and all(stack):
                head = code[start:start + 200].split("{")[0]
                length = code.count("\n", start, at) + 1
                most = STORY_MAX if name.startswith("tests/") else FUNCTION_MAX
                if length > most and not head.rstrip().endswith("="):
                    line = code.count("\n", 0, start) + 1
                    title = " ".join(head.split())[:60]
                    report.fail("functions are at most 70 lines",
                                f"{name}:{line}: '{title}' has {length}")
        head_at = at + 1


def check_python(report, name, text):
    """Length and functions of a Python file."""
    if text.count("\n") > SOURCE_MAX:
        report.fail("files have a size that can be read", f"{name}: {text.count(chr(10))} lines")
    for node in ast.walk(ast.parse(text, name)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = node.end_lineno - node.lineno + 1
            if length > FUNCTION_MAX:
                report.fail("functions are at most 70 lines",
                            f"{name}:{node.lineno}: '{node.name}' has {length}")


def check_includes(report, name, text):
    """Layers see only what stands before them; the kernel's headers are core's."""
    layer = name.split("/")[0]
    for number, line in enumerate(text.split("\n"), 1):
        found = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
        if not found:
            continue
        quote, target = found.groups()
        place = f"{name}:{number}"
        folder = target.split("/")[0]
        if quote == '"':
            if "/" not in target or not os.path.isfile(os.path.join(ROOT, target)):
                report.fail("includes are written from the root", f'{place}: "{target}"')
            elif folder in ("tests", "bench") and folder != layer:
                report.fail("includes point one way", f"{place}: nobody includes {folder}/")
            elif layer in LAYERS and folder in LAYERS and (
                    LAYERS.index(folder) > LAYERS.index(layer)):
                report.fail("includes point one way",
                            f"{place}: {layer} may not include {folder} ({target})")
        elif os.path.isfile(os.path.join(ROOT, target)):
            report.fail("includes are written from the root", f"{place}: <{target}> needs quotes")
        if target.startswith("openssl/") and layer in LAYERS and not (
                name.startswith(("net/tls_", "python/native/tls_"))):
            report.fail("only net/tls_* speaks to OpenSSL", f"{place}: {target}")
        if target in KERNEL_HEADERS and layer in LAYERS and layer != "core":
            report.fail("only core speaks to the kernel", f"{place}: {target}")
    if layer in LAYERS and layer != "core":
        for found in re.finditer(r"\b(io_uring_\w+|epoll_\w+|IORING_\w+|EPOLL\w+)\b",
                                 without_text(text)):
            number = text.count("\n", 0, found.start()) + 1
            report.fail("only core speaks to the kernel", f"{name}:{number}: {found.group(0)}")


def check_tests_exist(report, files):
    """core/x.{h,cpp} has tests/core/x_test.cpp, and every exception is still one."""
    rule = "every module has a test file"
    modules = {os.path.splitext(name)[0] for name in files
               if name.split("/")[0] in LAYERS and name.endswith((".h", ".cpp"))
               and not name.startswith("python/")}  # what Python sees is tested in Python
    tested = {os.path.splitext(name)[0][len("tests/"):-len("_test")] for name in files
              if re.match(r"tests/.*_test\.(cpp|py)$", name)}
    for module in sorted(modules - tested - set(TESTED_ELSEWHERE)):
        report.fail(rule, f"{module} has none at tests/{module}_test.cpp")
    for module, where in TESTED_ELSEWHERE.items():
        if where.startswith("tests/") and where not in files:
            report.fail(rule, f"{module} should be tested by {where}, which does not exist")
        if module not in modules:
            report.fail(rule, f"{module} is excepted in tests/tidy.py and does not exist")
        elif module in tested:
            report.fail(rule, f"{module} is excepted in tests/tidy.py and has a test file")


def check_all_used(report, files, texts):
    """What is tracked is built, included or named by something else that is tracked."""
    compiled = set()
    for preset in ("dev", "release"):
        path = os.path.join(ROOT, "build", preset, "compile_commands.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                compiled |= {os.path.relpath(entry["file"], ROOT) for entry in json.load(file)}
    rule = "every file is used"
    if not compiled:
        report.fail(rule, "nothing is built yet, so this cannot be told: cmake --preset dev")
    for name in files:
        base = os.path.basename(name)
        others = (text for other, text in texts.items() if other != name)
        if name in KNOWN_BY_NAME or name.startswith(TEXT_EXEMPT) or base == "CMakeLists.txt":
            continue
        if name.endswith(".h"):
            used = any(f'"{name}"' in text for text in others)
        elif name.endswith((".cpp", ".c", ".py")) and (
                name in compiled or name.startswith(BUILT_ELSEWHERE)):
            used = True
        elif name.endswith(".cpp"):
            used = not compiled
        elif name.endswith((".py", ".cmake")):  # imported and included without the suffix
            stem = re.escape(os.path.splitext(base)[0])
            suffix = re.escape(os.path.splitext(base)[1])
            use = re.compile(rf"\b{stem}{suffix}\b|\b(import|from)\b.*\b{stem}\b|\({stem}\)")
            used = any(use.search(text) for text in others)
        else:
            used = any(base in text for text in others)
        if not used:
            report.fail(rule, f"{name}: nothing builds, includes or names it")


def check_links(report, name, text):
    """Links between our own documents lead somewhere; code is no link."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    for found in re.finditer(r"\]\((?!\w+:|#)([^)#\s]+)", text):
        target = os.path.normpath(os.path.join(ROOT, os.path.dirname(name), found.group(1)))
        if not os.path.exists(target):
            report.fail("links between documents lead somewhere", f"{name}: {found.group(1)}")


def check_headers_alone(report, headers):
    """Each header compiles as the only one in a file, and twice in it."""
    flags = subprocess.run(
        ["pkg-config", "--cflags", "liburing", "libllhttp", "libxml-2.0", "zlib", "libssl"],
        capture_output=True, text=True, check=True).stdout.split()
    flags += ["-isystem", sysconfig.get_path("include")]
    command = ["g++", "-std=c++20", "-Wall", "-Wextra", "-Wshadow", "-Wconversion",
               "-Wno-sign-conversion", "-Werror", "-I", ROOT, *flags, "-fsyntax-only", "-x", "c++",
               "-"]

    def compile_alone(name):
        include = f'#include "{name}"\n'
        return subprocess.run(command, input=include * 2, capture_output=True, text=True)

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, run in zip(headers, pool.map(compile_alone, headers)):
            rule = f"{name} compiles alone"
            report.rule(rule)
            if run.returncode:
                errors = [line for line in run.stderr.split("\n") if "error" in line]
                report.fail(rule, (errors or [run.stderr.strip()])[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="compile nothing")
    options = parser.parse_args()
    report = Report()
    for rule in ["text is UTF-8", "files end with a line end", "no control characters", "no tabs",
                 "no trailing blanks", "lines are at most 100 columns", "no banned words",
                 "files have a size that can be read", "functions are at most 70 lines",
                 "headers open with prose", "no banners", "no commented-out code",
                 "includes are written from the root", "includes point one way",
                 "only core speaks to the kernel", "only net/tls_* speaks to OpenSSL",
                 "every module has a test file",
                 "every file is used", "links between documents lead somewhere"]:
        report.rule(rule)
    files = project_files()
    texts = {}
    for name in files:
        data = read(name)
        if name.startswith(TEXT_EXEMPT):
            continue
        check_text(report, name, data)
        text = texts[name] = data.decode(errors="replace")
        if name.endswith(CPP):
            check_cpp_shape(report, name, text)
            check_cpp_functions(report, name, text)
            check_includes(report, name, text)
        elif name.endswith(".py"):
            check_python(report, name, text)
        elif name.endswith(".md"):
            check_links(report, name, text)
    check_tests_exist(report, files)
    check_all_used(report, files, texts)
    if not options.quick:
        check_headers_alone(report, [name for name in files if name.endswith(".h")])
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())

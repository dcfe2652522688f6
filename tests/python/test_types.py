"""The types that the package promises: the package itself, its stubs beside what is there at run
time, and a program that uses it, all through mypy's strict mode."""

import os
import site
import subprocess
import sys

import pytest
import ringlet

pytest.importorskip('mypy')

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(ringlet.__file__)))

PROGRAM = '''
import asyncio
import ringlet


async def main(number: int) -> str:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ringlet.EventLoop)
    loop.call_soon(print, number)
    handle: asyncio.TimerHandle = loop.call_later(1, print)
    handle.cancel()
    counts: dict[str, int] = loop.stats()
    print(ringlet.dump_tasks(loop), ringlet.dump_tasks_data()['tasks'], counts)
    return loop.driver


answer: str = ringlet.run(main(1), debug=True)
loop: ringlet.EventLoop = ringlet.new_event_loop()
length: int = len(loop.run_until_complete(main(2)))
loop.close()
ringlet.install()
policy: asyncio.AbstractEventLoopPolicy = ringlet.EventLoopPolicy()
backend: str = ringlet.tls_backend + ringlet.__version__
'''
WRONG = '''
import ringlet


async def main() -> int:
    return 1


answer: str = ringlet.run(main())  # wrong: an int
ringlet.new_event_loop().call_soon(len, 1, 2)  # wrong: one argument too many
ringlet.new_event_loop().driver = 'uring'  # wrong: it cannot be set
ringlet.nonsense  # wrong: there is none
'''


def mypy(*arguments, module='mypy', cache):
    environment = {**os.environ, 'MYPY_CACHE_DIR': cache}
    if PACKAGES not in site.getsitepackages():  # it finds an installed package by itself
        environment |= {'MYPYPATH': PACKAGES, 'PYTHONPATH': PACKAGES}
    return subprocess.run([sys.executable, '-m', module, *arguments], capture_output=True,
                          text=True, cwd=ROOT, env=environment)


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp('mypy'))


def test_the_package_is_clean_in_strict_mode(cache):
    done = mypy('--strict', cache=cache)
    assert done.returncode == 0, done.stdout + done.stderr
    assert 'no issues found' in done.stdout


@pytest.mark.skipif(sys.version_info < (3, 10),
                    reason='the last mypy for it wants imports for checking only at run time')
def test_the_stubs_are_what_is_there(cache, tmp_path):
    # What these two do is asyncio's own protocol, with a native base or without one.
    (tmp_path / 'allowed').write_text('ringlet\\._tls\\.SSLProtocol.*\n', encoding='ascii')
    done = mypy('ringlet', '--mypy-config-file', 'pyproject.toml', '--ignore-unused-allowlist',
                '--allowlist', str(tmp_path / 'allowed'), module='mypy.stubtest', cache=cache)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_program_is_clean_in_strict_mode_and_a_wrong_one_is_not(cache, tmp_path):
    for name, text in (('program', PROGRAM), ('wrong', WRONG)):
        (tmp_path / f'{name}.py').write_text(text, encoding='ascii')
    config = tmp_path / 'empty.ini'
    config.write_text('[mypy]\n', encoding='ascii')
    options = ['--strict', '--config-file', str(config)]
    done = mypy(*options, str(tmp_path / 'program.py'), cache=cache)
    assert done.returncode == 0, done.stdout + done.stderr
    done = mypy(*options, str(tmp_path / 'wrong.py'), cache=cache)
    told = {int(line.split(':')[1]) for line in done.stdout.splitlines() if ': error: ' in line}
    wanted = {number for number, line in enumerate(WRONG.splitlines(), 1) if '# wrong' in line}
    assert told == wanted, done.stdout


def test_the_package_says_that_it_is_typed():
    folder = os.path.dirname(ringlet.__file__)
    assert os.path.exists(os.path.join(folder, 'py.typed'))
    assert os.path.exists(os.path.join(folder, '_native.pyi'))

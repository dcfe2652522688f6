"""What programs and CPython's tests reach for below asyncio's documented surface."""

import asyncio
import contextvars
import gc
import os
import selectors
import socket
import subprocess
import sys
import weakref

import pytest


def test_run_once_is_one_turn(loop):
    ran = []
    loop.call_soon(lambda: (ran.append(1), loop.call_soon(ran.append, 2)))
    loop._run_once()
    assert ran == [1]
    loop._run_once()
    assert ran == [1, 2]


def test_a_run_that_is_refused_leaves_the_one_going_on(loop):
    async def main():
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_forever()
        later = loop.create_future()
        loop.call_later(0.01, later.set_result, "done")
        return await later

    assert loop.run_until_complete(main()) == "done"


def test_ready_and_scheduled_list_the_handles(loop):
    soon = loop.call_soon(print)
    later = loop.call_later(60, print)
    assert loop._ready == [soon]
    assert loop._scheduled == [later]
    later.cancel()
    assert loop._scheduled == []


def test_a_cancelled_handle_is_not_added(loop):
    handle = asyncio.Handle(print, (), loop)
    handle.cancel()
    loop._add_callback(handle)
    assert loop._ready == []


def test_the_selector_knows_what_is_watched(loop):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(KeyError, match="not registered"):
            loop._selector.get_key(ours)
        loop.add_writer(ours, print)
        assert loop._selector.get_key(ours).events == selectors.EVENT_WRITE
        assert loop._selector.get_key(ours.fileno()).fd == ours.fileno()
        loop.remove_writer(ours)


@pytest.mark.parametrize("delay", [-1, -1e-9, 0, 1e-6])
def test_a_timer_that_is_due_does_not_let_the_loop_sleep(loop, delay):
    loop.call_later(delay, loop.stop)
    started = loop.time()
    loop.run_forever()
    assert loop.time() - started < 5


def test_a_timer_is_reported_under_asyncios_name_in_debug_mode(loop, caplog):
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    loop.call_later(0, loop.stop)
    loop.run_forever()
    assert any(record.getMessage().startswith("Executing <TimerHandle when=")
               for record in caplog.records)


@pytest.mark.parametrize("debug", [False, True])
def test_a_task_that_failed_is_freed_when_its_step_is_over(loop, debug):
    async def fail():
        raise ZeroDivisionError

    async def main():
        told = []
        loop.set_exception_handler(lambda _, context: told.append(context["message"]))
        task = weakref.ref(asyncio.ensure_future(fail()))
        await asyncio.sleep(0)
        return task(), told

    loop.set_debug(debug)
    gc.disable()
    try:
        task, told = loop.run_until_complete(main())
    finally:
        gc.enable()
    assert task is None
    assert told == ["Task exception was never retrieved"]


class LastAct:
    """A callback whose end does something."""

    def __init__(self, act):
        self.act = act

    def __call__(self):
        pass

    def __del__(self):
        self.act()


def test_the_end_of_a_replaced_reader_may_remove_the_new_one(loop):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop._add_reader(ours, LastAct(lambda: loop._remove_reader(ours)))
        handle = loop._add_reader(ours, print)
        assert handle.cancelled()
        assert not loop.remove_reader(ours)


def test_a_callback_may_run_a_turn(loop):
    ran = []
    loop.call_soon(lambda: (loop._run_once(), ran.append("inner turn over")))
    for number in range(3):
        loop.call_soon(ran.append, number)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert ran == [0, 1, 2, "inner turn over"]
    assert loop._ready == []


DAEMONS = """
import asyncio, builtins, threading, time, ringlet

def run():
    async def main():
        loop = asyncio.get_running_loop()
        def spin():
            loop.call_soon(spin)
        spin()
        while True:
            await asyncio.sleep(0.0001)
    ringlet.new_event_loop().run_until_complete(main())

class Late:
    def __del__(self):
        time.sleep(0.1)  # lets the threads ask for the GIL of an interpreter that ends

for _ in range(3):
    threading.Thread(target=run, daemon=True).start()
time.sleep(0.1)
builtins.late = Late()
print("over")
"""


def test_loops_in_daemon_threads_do_not_outlive_the_interpreter(driver):
    done = subprocess.run([sys.executable, "-c", DAEMONS], capture_output=True, text=True,
                          timeout=60)
    assert (done.returncode, done.stdout) == (0, "over\n"), done.stderr
    assert "terminate" not in done.stderr


def test_arguments_may_be_named(loop):
    seen = []

    def note(*args):
        seen.append(args)

    ours, theirs = socket.socketpair()
    loop.call_soon(callback=note)
    loop.call_soon_threadsafe(callback=note, context=contextvars.copy_context())
    loop.call_later(delay=0, callback=note)
    loop.call_later(0, callback=note)
    loop.call_at(when=0, callback=note)
    loop.add_writer(fd=theirs, callback=loop.stop)
    loop.add_reader(ours, callback=note)
    loop.run_forever()
    assert loop.remove_reader(fd=ours) and loop.remove_writer(fd=theirs)
    loop.run_until_complete(asyncio.sleep(0.01))
    assert seen == [()] * 5
    for call in (loop.call_soon, loop.call_later, loop.call_at, loop.add_reader):
        with pytest.raises(TypeError, match='missing'):
            call()
    with pytest.raises(TypeError, match='multiple values'):
        loop.call_soon(note, callback=note)
    with pytest.raises(TypeError, match='multiple values'):
        loop.call_later(1, 2, 3, delay=4)
    with pytest.raises(TypeError, match='unexpected'):
        loop.call_soon(note, other=1)
    with pytest.raises(TypeError, match='unexpected'):
        loop.add_reader(ours, note, context=contextvars.copy_context())
    ours.close()
    theirs.close()


def test_a_handle_tells_its_context(loop):
    variable = contextvars.ContextVar('variable')
    variable.set('then')
    seen = []
    handle = loop.call_soon(lambda: (seen.append(variable.get()), variable.set('seen')))
    given = contextvars.copy_context()
    other = loop.call_later(60, print, context=given)
    variable.set('now')
    context = handle.get_context()
    assert context[variable] == 'then' and handle.get_context() is context
    assert other.get_context() is given
    loop.run_until_complete(asyncio.sleep(0))
    assert seen == ['then'] and context[variable] == 'seen'
    other.cancel()


def test_devices_that_cannot_be_waited_for_are_refused(loop):
    with open('/dev/null', 'rb+', buffering=0) as device:
        with pytest.raises(PermissionError):
            loop.add_reader(device, print)
        with pytest.raises(PermissionError):
            loop.add_writer(device, print)
    ours, theirs = os.openpty()
    loop.add_reader(ours, loop.stop)
    os.write(theirs, b'x')
    loop.run_forever()
    assert loop.remove_reader(ours)
    os.close(ours)
    os.close(theirs)


def test_a_timer_made_in_debug_mode_never_leaves_it(loop, monkeypatch):
    seen = []
    carry_at = type(loop)._carry_at

    def watched(self, *args):
        seen.append(self.get_debug())
        return carry_at(self, *args)

    monkeypatch.setattr(type(loop), '_carry_at', watched, raising=False)
    loop.set_debug(True)
    loop.call_later(0, loop.stop)
    loop.run_forever()
    assert seen == [True]

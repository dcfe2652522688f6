"""What scheduling costs on one Python event loop: CPU nanoseconds for each call.

    python_calls.py asyncio|uvloop|rloop|ringlet [ROUNDS]

Prints a line "work<TAB>minimum<TAB>lower quartile" for each kind of work, of ROUNDS (5) rounds.
The last line is a latency, not CPU time: how late a reader runs (median, ns) while a chain of
callbacks keeps the loop busy.
"""

import asyncio
import importlib
import os
import socket
import statistics
import sys
import threading
import time


def new_loop(name):
    return importlib.import_module(name).new_event_loop()


def nothing():
    pass


def chain(loop, count=200_000):
    left = count

    def link():
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(link)
        else:
            loop.stop()

    loop.call_soon(link)
    loop.run_forever()
    return count


def burst(loop, count=100_000):
    for _ in range(count):
        loop.call_soon(nothing)
    loop.call_soon(loop.stop)
    loop.run_forever()
    return count


def threadsafe(loop, count=50_000):
    """Called by another thread while the loop runs; CPU of both sides."""
    def call():
        for _ in range(count):
            loop.call_soon_threadsafe(nothing)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=call)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    return count


def timer(loop, count=100_000):
    for _ in range(count):
        loop.call_later(60, nothing).cancel()
    return count


def sleep_zero(loop, count=50_000):
    async def main():
        for _ in range(count):
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    return count


def gather(loop, count=50_000):
    async def one():
        pass

    async def main():
        for _ in range(count // 100):
            await asyncio.gather(*[one() for _ in range(100)])

    loop.run_until_complete(main())
    return count


WORKS = {"call_soon, chain": chain, "call_soon, burst": burst, "call_soon_threadsafe": threadsafe,
         "call_later and cancel": timer, "await sleep(0)": sleep_zero, "gather of tasks": gather}


def latency_under_load(loop, sender, count=300):
    """Another process sends the time; callbacks are always ready."""
    late = []

    def link():
        if len(late) < count:
            loop.call_soon(link)
        else:
            loop.stop()

    def arrived():
        sent = int.from_bytes(sender.recv(8), "little")
        late.append(time.monotonic_ns() - sent)

    loop.add_reader(sender.fileno(), arrived)
    sender.send(count.to_bytes(8, "little"))
    loop.call_soon(link)
    loop.run_forever()
    loop.remove_reader(sender.fileno())
    return statistics.median(late)


def start_sender():
    """A socket on whose other end a process answers a number with so many times, 0.5 ms apart."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        while order := theirs.recv(8):
            for _ in range(int.from_bytes(order, "little")):
                time.sleep(0.0005)
                theirs.send(time.monotonic_ns().to_bytes(8, "little"))
        os._exit(0)
    theirs.close()
    ours.setblocking(False)
    return ours


def main():
    sender = start_sender()
    loop = new_loop(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    for name, work in WORKS.items():
        taken = []
        for _ in range(rounds):
            started = time.process_time_ns()
            count = work(loop)
            taken.append((time.process_time_ns() - started) / count)
        taken.sort()
        print(name, round(taken[0], 1), round(taken[(rounds - 1) // 4], 1), sep="\t", flush=True)
    late = sorted(latency_under_load(loop, sender) for _ in range(3))
    print("latency under a chain", late[0], late[0], sep="\t")
    sender.close()
    loop.close()


if __name__ == "__main__":
    main()

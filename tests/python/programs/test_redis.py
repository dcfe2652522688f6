"""redis-py against a real server."""

import asyncio
import contextlib

import redis.asyncio


@contextlib.asynccontextmanager
async def client(path):
    connected = redis.asyncio.Redis(unix_socket_path=path, decode_responses=True)
    try:
        yield connected
    finally:
        await connected.aclose()


def test_commands_and_pipelines(run, redis_path):
    async def main():
        async with client(redis_path) as db:
            await db.flushall()
            await asyncio.gather(*(db.set(f"key:{i}", i) for i in range(100)))
            assert await asyncio.gather(*(db.get(f"key:{i}") for i in range(100))) == [
                str(i) for i in range(100)]
            big = "x" * 2_000_000
            await db.set("big", big)
            assert await db.get("big") == big
            async with db.pipeline(transaction=True) as pipe:
                for i in range(500):
                    pipe.incr("counter").lpush("list", i)
                answers = await pipe.execute()
            assert answers[-2:] == [500, 500]

    run(main())


def test_publish_and_subscribe(run, redis_path):
    async def main():
        async with client(redis_path) as db, db.pubsub() as listener:
            await listener.subscribe("news")
            assert (await listener.get_message(timeout=5))["type"] == "subscribe"
            for i in range(10):
                await db.publish("news", f"item {i}")
            heard = [(await listener.get_message(timeout=5))["data"] for _ in range(10)]
            assert heard == [f"item {i}" for i in range(10)]

    run(main())


def test_a_blocking_command_waits_and_can_be_given_up(run, redis_path):
    async def main():
        async with client(redis_path) as db:
            await db.delete("queue")
            waiter = asyncio.ensure_future(db.blpop("queue", timeout=20))
            await asyncio.sleep(0.05)
            await db.rpush("queue", "job")
            assert list(await waiter) == ["queue", "job"]
            waiter = asyncio.ensure_future(db.blpop("queue", timeout=20))
            await asyncio.sleep(0.05)
            waiter.cancel()
            await asyncio.wait([waiter])
            assert waiter.cancelled()
            assert await db.ping()

    run(main())

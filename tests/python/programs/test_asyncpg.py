"""asyncpg against a real PostgreSQL."""

import asyncio

import asyncpg
import pytest


def test_a_pool_of_connections(run, postgres):
    folder, user, port = postgres

    async def main():
        async with asyncpg.create_pool(host=folder, port=port, user=user, database="postgres",
                                       min_size=2, max_size=8) as pool:
            await pool.execute("create table squares (n int primary key, square bigint)")
            await asyncio.gather(*(
                pool.execute("insert into squares values ($1, $2)", n, n * n) for n in range(100)))
            rows = await pool.fetch("select * from squares order by n")
            assert [tuple(row) for row in rows] == [(n, n * n) for n in range(100)]
            await pool.execute("drop table squares")

    run(main())


@pytest.mark.parametrize("way", ["unix", "tcp", "tls"])
def test_data_comes_back_as_it_went(run, postgres, client_context, way):
    folder, user, port = postgres

    async def main():
        db = await asyncpg.connect(
            host=folder if way == "unix" else "127.0.0.1", port=port, user=user,
            database="postgres", ssl=client_context if way == "tls" else False)
        try:
            encrypted = await db.fetchval(
                "select ssl from pg_stat_ssl where pid = pg_backend_pid()")
            assert encrypted == (way == "tls")
            content = bytes(range(256)) * 8000
            assert await db.fetchval("select $1::bytea", content) == content
            await db.execute("create temp table lines (i int, line text)")
            records = [(i, f"line {i}") for i in range(20_000)]
            await db.copy_records_to_table("lines", records=records)
            assert await db.fetchval("select count(*) from lines") == len(records)
            async with db.transaction():
                cursor = db.cursor("select i from lines order by i")
                assert [row["i"] async for row in cursor] == [i for i, _ in records]
        finally:
            await db.close()

    run(main())


def test_a_query_can_be_cancelled_and_the_connection_goes_on(run, postgres):
    folder, user, port = postgres

    async def main():
        db = await asyncpg.connect(host=folder, port=port, user=user, database="postgres")
        with pytest.raises(asyncio.TimeoutError):
            await db.fetch("select pg_sleep(30)", timeout=0.2)
        assert await db.fetchval("select 1 + 1") == 2
        with pytest.raises(asyncpg.DivisionByZeroError):
            await db.fetchval("select 1 / 0")
        await db.close()

    run(main())


def test_notifications_arrive(run, postgres):
    folder, user, port = postgres

    async def main():
        where = {"host": folder, "port": port, "user": user, "database": "postgres"}
        listener, speaker = await asyncpg.connect(**where), await asyncpg.connect(**where)
        heard = asyncio.Queue()
        await listener.add_listener("news", lambda *news: heard.put_nowait(news[-1]))
        for i in range(5):
            await speaker.execute("select pg_notify('news', $1)", str(i))
        assert [await heard.get() for _ in range(5)] == list("01234")
        await listener.close()
        await speaker.close()

    run(main())

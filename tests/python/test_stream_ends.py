"""Stream transports: what is told when, and in which context, at the ends of things."""

import asyncio
import contextvars

import pytest
import ringlet
from recorder import Recorder, connected, lost

MEGABYTE = 1024 * 1024


def test_resume_writing_and_errors_come_in_the_connection_s_context(loop, run):
    variable = contextvars.ContextVar('variable', default='unset')
    seen = []
    loop.set_exception_handler(lambda *_: seen.append(('error', variable.get())))

    class Contextual(Recorder):
        def resume_writing(self):
            seen.append(('resume', variable.get()))
            super().resume_writing()

        def data_received(self, data):
            raise ZeroDivisionError

    async def main():
        variable.set('conn')
        protocol, peer = await connected(Contextual)
        variable.set('later')
        protocol.transport.write(bytes(4 * MEGABYTE))
        peer.setblocking(False)
        received = 0
        while received < 4 * MEGABYTE:
            received += len(await loop.sock_recv(peer, MEGABYTE))
        await protocol.until(lambda p: 'resume' in p.told)
        peer.send(b'x')
        await protocol.until(lost)
        assert seen == [('resume', 'conn'), ('error', 'conn')]
        peer.close()

    run(main())


def test_the_end_is_sent_though_the_limits_change_before(run):
    async def main():
        protocol, peer = await connected()
        peer.setblocking(False)
        protocol.transport.write(b'x')
        protocol.transport.write_eof()
        protocol.transport.set_write_buffer_limits(0)
        loop = asyncio.get_running_loop()
        assert await loop.sock_recv(peer, 10) == b'x'
        assert await asyncio.wait_for(loop.sock_recv(peer, 10), 5) == b''
        peer.close()

    run(main())


def test_an_interrupt_at_the_end_leaves_the_end_to_the_next_run(loop):
    class Interrupted(Recorder):
        def eof_received(self):
            super().eof_received()
            if self.told.count('eof') == 1:
                raise KeyboardInterrupt

    async def begin():
        return await connected(Interrupted)

    protocol, peer = loop.run_until_complete(begin())
    peer.close()
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.sleep(5))
    loop.run_until_complete(asyncio.wait_for(protocol.until(lost), 5))
    assert protocol.told == ['made', 'eof', 'eof', 'lost']


def test_a_transport_that_is_lost_as_its_loop_ends_is_closed_with_it(driver, descriptors):
    loop = ringlet.new_event_loop()
    before = descriptors()

    async def begin():
        protocol, peer = await connected()
        peer.close()
        return protocol

    protocol = loop.run_until_complete(begin())

    def end():
        protocol.transport.abort()
        protocol.transport._call_connection_lost(None)
        loop.stop()

    loop.call_soon(end)
    loop.run_forever()
    loop.close()
    assert descriptors() < before
    assert protocol.told[-1] == 'lost'

"""Any bytes, in any pieces, get well-formed answers or the end of the connection: never a hang,
never a fault of ours, never an exception that the event loop has to swallow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import h11
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit import loops
from tests.unit.echo import Echo
from tests.unit.wire import visit

REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
    b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\n\r\n",
)
PIECES = (b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b",", b"\0", b"\xff", b"0", b"9" * 5000, b"x" * 20000)
STATUSES = frozenset((200, 400, 411, 413, 414, 431, 505))

random_bytes = st.binary(max_size=300)
requests = st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=4).map(b"".join)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Valid requests in which a few places have been deleted, replaced or filled in."""
    data = draw(requests)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 8, len(data))))
        piece = draw(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4), requests))
        data = data[:start] + piece + data[end:]
    return data


@given(data=st.one_of(random_bytes, mutated()), cut=st.integers(0, 100))
@example(data=b"", cut=0)
@example(data=b"HEAD / HTTP/1.0\r\nContent-Length: 99999\r\n\r\n", cut=0)
@settings(max_examples=300)
def test_any_bytes(data: bytes, cut: int) -> None:
    loops.run(send(data, cut))


async def send(data: bytes, cut: int) -> None:
    echo = Echo()
    async with visit(echo) as client:
        with contextlib.suppress(OSError):  # refused before it had said everything
            await client.send_bytewise(data[:cut])
            await client.send(data[cut:])
            client.half_close()
        received = await client.drain()
    methods = [request.method.encode() for request in echo.seen]
    try:
        statuses = parsed(received, methods)
    except AssertionError:
        # The last one may be a HEAD that was refused: its answer has a length, but no body.
        assert b"HEAD" in data
        statuses = parsed(received, [*methods, b"HEAD"])
    assert statuses[: len(echo.seen)] == [200] * len(echo.seen)
    assert len(statuses) <= len(echo.seen) + 1
    assert set(statuses) <= STATUSES


def parsed(received: bytes, methods: Iterable[bytes]) -> list[int]:
    """Return the statuses of all answers, or fail where the bytes are not answers to such requests."""
    client = h11.Connection(h11.CLIENT)
    client.receive_data(received)
    statuses = []
    methods = iter(methods)
    while client.trailing_data[0]:
        client.send(h11.Request(method=next(methods, b"GET"), target="/", headers=[("Host", "a")]))
        client.send(h11.EndOfMessage())
        while not isinstance(event := client.next_event(), h11.EndOfMessage):
            assert event not in (h11.NEED_DATA, h11.PAUSED), f"cut short: {received!r}"
            if isinstance(event, h11.Response):
                statuses.append(event.status_code)
        if client.their_state is not h11.DONE:
            assert client.trailing_data[0] == b"", f"more after the last answer: {received!r}"
            break
        client.start_next_cycle()
    return statuses

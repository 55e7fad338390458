"""A service that answers with what it has understood, for tests of the connection itself."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterator
from typing import Callable, Optional

from twitch.listener.exchange import HTTPError, Request, Response
from twitch.listener.pause import Pause


class Echo:
    """`/wait` waits for as long as it may, `/long` answers with much, `/parts` in parts, others at once."""

    LONG = 60_000

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.named = False  # whether all callers are named
        self.pauses: list[bool] = []
        self.drops: list[str] = []
        self.refusal: Optional[HTTPError] = None
        self.parts: Callable[[Pause], AsyncGenerator[bytes, None]] = three_parts

    def admit(self, address: str) -> None:
        if self.refusal:
            raise self.refusal

    async def respond(self, request: Request, pause: Pause) -> Response:
        pause.named = pause.named or self.named
        self.seen.append(request)
        if request.target == "/wait":
            self.pauses.append(await pause(3600))
        if request.target == "/fault":
            raise RuntimeError("a fault of ours")
        if request.target == "/refuse":
            raise HTTPError(409, "refused")
        if request.target == "/parts":
            return Response(200, self.parts(pause))
        if request.target == "/long":
            return Response(200, b"x" * self.LONG)
        return Response(200, understood(request.method, request.target, request.body))

    def dropped(self, address: str, why: str) -> None:
        self.drops.append(why)

    def explain(self, address: str, request: Optional[Request], error: HTTPError) -> Response:
        return Response(error.status, str(error).encode(), error.headers, error.close)


def understood(method: str, target: str, body: bytes = b"") -> bytes:
    """What Echo answers to such a request."""
    return f"{method} {target} {body!r}".encode()


async def three_parts(pause: Pause) -> AsyncGenerator[bytes, None]:
    for part in (b"one", b"", b"two", b"three"):
        yield part


class Plain:
    """The contexts of a listener that speaks plain HTTP (`handshake.Contexts`)."""

    async def current(self) -> None:
        return None

    async def vet(self, then: object, certificate: object) -> None:
        raise AssertionError("plain HTTP has nothing to vet")

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        yield None

    def lasting(self) -> bool:
        return True

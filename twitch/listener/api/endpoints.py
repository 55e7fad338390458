"""The endpoints: a request and its caller in, a response out."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Optional, Union

import twitch
from twitch.errors import HTTPError, TwitchError
from twitch.listener import access
from twitch.listener.access import Caller
from twitch.listener.api import parameters, wording
from twitch.listener.api.parameters import Parameters
from twitch.listener.connection import Pause
from twitch.listener.exchange import Request, Response
from twitch.listener.root_client import Handler
from twitch.messages import RUN_ID, Answer, Run, Status
from twitch.runs import BUSY, FAILED, FINISHED, GOOD, RUNNING, Record, Store

INFO = "Puppet Twitch - A simple endpoint for triggering puppet"

# A waiting caller sees the verdict this long after conclude has written it; one look is one open()
# of a small file in memory.
LOOK_S = 0.2

# While anybody waits, the handler is asked this often, so that a run whose conclude was killed gets
# its end from there.
GUARD_S = 15

# The median Puppet run takes less than a minute; and whoever wants to wait has `queue=true`.
RETRY_BUSY_S = 30
RETRY_UNAVAILABLE_S = 2

# Browsers send neither Origin nor Sec-Fetch-* with an <img src> to a plain-HTTP address (seen with
# Chromium), but always one of these; curl and the HTTP libraries of scripts send none.
BROWSER_HEADERS = ("origin", "referer", "accept-language", "sec-purpose")
BROWSER_PREFIX = "sec-fetch-"


class Call(NamedTuple):
    """A request whose path, method, parameters and caller are known, and what it takes to answer it."""

    request: Request
    path: str
    parameters: Parameters
    caller: Caller
    pause: Pause
    handler: Handler
    runs: Store


async def version(call: Call) -> Response:
    """`GET /version`"""
    return wording.answer(call.request, 200, twitch.__version__)


async def info(call: Call) -> Response:
    """`GET /info`"""
    return wording.answer(call.request, 200, INFO)


async def trigger(call: Call) -> Response:
    """`GET` or `POST /puppet/twitch`"""
    _refuse_browsers(call.request.headers)
    question = _question(call)
    answer = await _ask(call, question)
    if answer.kind not in ("started", "queued"):
        return _refused(call, answer)
    assert answer.run is not None
    wait_s = call.parameters.seconds("wait")
    if wait_s is None:
        wait_s = 0 if call.parameters.flag("async", default=True) else parameters.MAX_WAIT_S
    record = await _finished(call, answer.run, wait_s)
    if record and record["state"] == FINISHED:
        return _ended(call, record)
    message = wording.TRIGGERED if answer.kind == "started" else "Queued puppet run"
    location = ("Location", f"/puppet/runs/{answer.run}")
    fields = {"run": answer.run, "state": record["state"] if record else RUNNING}
    headers = (("Puppet-Run", answer.run), location)
    return wording.answer(call.request, 202, message, headers=headers, fields=fields)


async def status(call: Call) -> Response:
    """`GET /puppet/status`"""
    _demand(call.caller, "status")
    max_age_s = call.parameters.age("max_age")  # a malformed one wakes nobody
    answer = await _ask(call, Status())
    if answer.status is None:
        raise HTTPError(500, f"Puppet cannot be asked: {answer.reason}")
    complaint = None if max_age_s is None else _complaint(answer.status, max_age_s)
    fields = wording.status_fields(answer.status, call.caller)
    if complaint:
        return wording.problem(call.request, HTTPError(503, complaint), fields)
    text = wording.status_text(answer.status, call.caller)
    return wording.answer(call.request, 200, text, fields=fields)


async def runs(call: Call) -> Response:
    """`GET /puppet/runs`"""
    _demand(call.caller, "status")
    newest = call.runs.newest()
    text = "\n".join(wording.run_text(record, call.caller) for record in newest) or "No runs yet"
    fields = {"runs": [wording.run_fields(record, call.caller) for record in newest]}
    return wording.answer(call.request, 200, text, fields=fields)


async def run(call: Call) -> Response:
    """`GET /puppet/runs/ID`"""
    _demand(call.caller, "status")
    run = call.path[len("/puppet/runs/") :]
    wait_s = call.parameters.seconds("wait") or 0
    record = await _finished(call, run, wait_s) if RUN_ID.fullmatch(run) else None
    if record is None:
        raise HTTPError(404, "No such run; the last ones are at /puppet/runs")
    text = wording.run_text(record, call.caller)
    fields = wording.run_fields(record, call.caller)
    return wording.answer(call.request, 200, text, headers=wording.run_headers(record), fields=fields)


# ---- pieces


def _question(call: Call) -> Run:
    given, caller = call.parameters, call.caller
    noop, tags, environment = given.flag("noop"), given.tags(), given.environment()
    given.flag("async"), given.seconds("wait")  # a malformed one is refused before anything starts
    missing = access.missing_grant(caller, noop=noop, tags=tags, environment=environment)
    if missing:
        raise _forbidden(caller, missing)
    return Run(
        caller=caller.name,
        client=caller.address,
        named=caller.named,
        noop=noop,
        tags=tags,
        environment=environment,
        queue=given.flag("queue"),
    )


async def _ask(call: Call, question: Union[Run, Status]) -> Answer:
    try:
        return await call.handler.ask(question)
    except TwitchError as error:
        headers = (("Retry-After", str(RETRY_UNAVAILABLE_S)),)
        raise HTTPError(error.status, str(error), headers=headers) from error


async def _finished(call: Call, run: str, wait_s: float) -> Optional[Record]:
    """Return the record of a run, once it has ended or the caller waits no longer."""
    loop = asyncio.get_running_loop()
    began, until = loop.time(), loop.time() + wait_s
    while True:
        record = call.runs.read(run)
        left_s = until - loop.time()
        if record is None or record["state"] == FINISHED or left_s <= 0:
            return record
        if await call.pause(min(LOOK_S, left_s)):
            return call.runs.read(run)
        if loop.time() > max(began, call.handler.asked) + GUARD_S:
            with contextlib.suppress(TwitchError):
                await call.handler.ask(Status())


def _refuse_browsers(headers: Mapping[str, str]) -> None:
    """A page in somebody's browser must not be able to start runs inside the network it is shown in."""
    marked = any(name in BROWSER_HEADERS or name.startswith(BROWSER_PREFIX) for name in headers)
    if marked or headers.get("user-agent", "").startswith("Mozilla/"):
        raise HTTPError(403, "Not from a browser; use curl")


def _demand(caller: Caller, grant: str) -> None:
    if grant not in caller.grants:
        raise _forbidden(caller, grant)


def _forbidden(caller: Caller, grant: str) -> HTTPError:
    if caller.name == access.ANONYMOUS:
        text = f"Not allowed without a token or a certificate that has the grant {grant}"
        return HTTPError(401, text, headers=(access.CHALLENGE,))
    return HTTPError(403, f"Not allowed: {caller.name} has no grant {grant}")


def _refused(call: Call, answer: Answer) -> Response:
    """A request that did not become a run."""
    if answer.kind == "busy":
        return _busy(call, {"run": answer.run} if answer.run else None)
    if answer.kind == "disabled":
        raise HTTPError(423, f"Puppet disabled: {answer.reason or 'no reason given'}")
    if answer.kind == "cooldown":
        headers = (("Retry-After", str(answer.retry_after_s)),)
        raise HTTPError(429, "Too soon after the last run", headers=headers)
    raise HTTPError(500, f"Puppet cannot be started: {answer.reason}")


def _busy(call: Call, record: Optional[Mapping[str, Any]]) -> Response:
    """Puppet is running; the record is of that run, or of the one that came to nothing because of it."""
    headers: wording.Headers = (("Retry-After", str(RETRY_BUSY_S)),)
    if record is None:
        return wording.problem(call.request, HTTPError(409, wording.RUNNING, headers=headers))
    error = HTTPError(409, wording.RUNNING, headers=headers + wording.run_headers(record))
    return wording.problem(call.request, error, wording.run_fields(record, call.caller))


def _ended(call: Call, record: Record) -> Response:
    """The answer to a caller who has waited until the end."""
    if record["verdict"] == BUSY:
        return _busy(call, record)
    headers, fields = wording.run_headers(record), wording.run_fields(record, call.caller)
    if record["verdict"] in GOOD:
        return wording.answer(call.request, 200, wording.COMPLETE, headers=headers, fields=fields)
    error = HTTPError(500, wording.failure(record, call.caller), headers=headers)
    return wording.problem(call.request, error, fields)


def _complaint(status: Mapping[str, Any], max_age_s: int) -> Optional[str]:
    """A sentence for monitoring if this node needs somebody, or None."""
    last = status["last"]
    if status["state"] in ("disabled", "stuck"):
        return f"Puppet is {status['state']}"
    if not last or not last["ended"]:
        return "Puppet has not run yet"
    if last["verdict"] not in GOOD:
        return f"The last Puppet run {'failed' if last['verdict'] == FAILED else 'was ' + last['verdict']}"
    age_s = int(time.time() - last["ended"])
    return f"The last Puppet run ended {age_s} s ago, more than {max_age_s}" if age_s > max_age_s else None

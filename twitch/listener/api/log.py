"""`/puppet/runs/ID/log` and `/puppet/twitch?follow=true`: the log of a run, as it is written."""

from __future__ import annotations

from twitch import wording
from twitch.listener.api.call import Call
from twitch.listener.api.ending import run_headers
from twitch.listener.api.log_follower import Follower, Wanted
from twitch.listener.api.reply import Reply
from twitch.listener.exchange import HTTPError
from twitch.log_lines import LEVELS
from twitch.log_packets import MAX_AFTER, MAX_TAIL
from twitch.records import PUPPET, RUNNING, Record


async def answer(call: Call) -> Reply:
    """Answer `GET /puppet/runs/ID/log`."""
    call.demand("logs")
    after = call.parameters.number("after", at_most=MAX_AFTER)
    wanted = Wanted(
        after=after or 0,
        tail=call.parameters.number("tail", at_most=MAX_TAIL),
        level=call.parameters.one_of("level", LEVELS) or LEVELS[-1],
        follow=call.parameters.flag("follow"),
    )
    if after is not None and wanted.tail is not None:
        raise HTTPError(400, "Parameters after and tail exclude each other")
    record = await _record(call)
    follower = Follower(call, record, wanted)
    try:
        await follower.begin()
    except BaseException:
        follower.leave()
        raise
    return follower.reply(200, run_headers(record))


async def of_new_run(call: Call, run: str) -> Reply:
    """Answer `/puppet/twitch?follow=true`, where the run has begun, or waits in the queue.

    The answer is 202 in any case, because there is a run; where its log cannot be read, it says so, and ends
    with the verdict all the same.
    """
    record = call.records.read(run, resources=False) or Record(run, RUNNING, asked=0)
    follower = Follower(call, record, Wanted(follow=True), lenient=True)
    try:
        await follower.begin()
    except BaseException:
        follower.leave()
        raise
    return follower.reply(202, (("Puppet-Run", run), ("Location", f"/puppet/runs/{run}")))


async def _record(call: Call) -> Record:
    """Return the record of the run that the path names; raises `HTTPError` (404)."""
    record = call.records.read(await call.find_run(), resources=False)
    if record is None:
        raise HTTPError(404, wording.NO_SUCH_RUN)
    if record.started_by == PUPPET:
        raise HTTPError(404, wording.NO_LOG_OF_PUPPET, reason="no log")
    return record

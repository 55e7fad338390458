"""`/puppet/runs` and `/puppet/runs/ID`: the last runs, and one run, also as `last` and `current`."""

from __future__ import annotations

import time

from twitch import run_wording, views, wording
from twitch.listener.api import ending
from twitch.listener.api.call import Call, Unrecorded
from twitch.listener.api.reply import Reply
from twitch.listener.exchange import HTTPError
from twitch.records import FINISHED, Record


async def newest(call: Call) -> Reply:
    """Answer `GET /puppet/runs`, without what happened to the resources."""
    call.demand("status")
    limit, since, verdicts = call.parameters.limit(), call.parameters.since(), call.parameters.verdicts()
    records = [
        record
        for record in await call.newest()
        if (record.ended or time.time()) >= since and (not verdicts or record.verdict in verdicts)
    ][:limit]
    none = wording.NO_SUCH_RUNS if call.parameters.given else wording.NO_RUNS
    text = wording.runs_text(records, call.caller) if records else none
    fields = {"runs": [views.run_fields(record, call.caller) for record in records]}
    return Reply(200, text, fields)


async def log(call: Call) -> Reply:
    """Answer `GET /puppet/runs/ID/log`."""
    from twitch.listener.api import log  # which few requests need

    return await log.answer(call)


async def one(call: Call) -> Reply:
    """Answer `GET /puppet/runs/ID`: what is known of the run, with 200.

    With `wait=`, the status says what became of it, as that of a trigger with `wait=` does.
    """
    call.demand("status")
    wait_s, run = call.parameters.wait(), await call.find_run()
    before = call.records.read(run, resources=False)
    try:
        record = await call.finished(run, wait_s or 0)
    except Unrecorded as error:
        return ending.unrecorded(run, str(error), call.caller)
    if record and record.state == FINISHED:
        record = call.records.read(run)  # with its resources
    if record is None:
        raise HTTPError(404, wording.NO_SUCH_RUN)
    text = run_wording.run_text(record, call.caller)
    message = run_wording.headline(record, call.caller)
    if wait_s is not None and record.state == FINISHED:
        waited = _asked_for(call, record) or (before is not None and before.state != FINISHED)
        return ending.ended(call, record, text, waited=waited, message=message)
    fields, headers = views.run_fields(record, call.caller), ending.run_headers(record)
    if wait_s is not None:
        location = ("Location", f"/puppet/runs/{record.run}")
        return Reply(202, text, fields, (*headers, location), message=message)
    return Reply(200, text, fields, headers, message=message)


def _asked_for(call: Call, record: Record) -> bool:
    """Return whether this caller has asked for the run; an anonymous one is known by its address."""
    same_client = call.caller.named or record.client == call.caller.address
    return record.caller == call.caller.name and same_client

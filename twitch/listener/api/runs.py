"""`/puppet/runs` and `/puppet/runs/ID`: the last runs, and one run."""

from __future__ import annotations

from twitch import views, wording
from twitch.listener.api import ending
from twitch.listener.api.call import Call, Unrecorded
from twitch.listener.api.reply import Reply
from twitch.listener.exchange import HTTPError
from twitch.records import FINISHED, Record


async def newest(call: Call) -> Reply:
    """Answer `GET /puppet/runs`."""
    call.demand("status")
    records = call.records.newest()
    text = wording.runs_text(records, call.caller) if records else wording.NO_RUNS
    return Reply(200, text, {"runs": [views.run_fields(record, call.caller) for record in records]})


async def one(call: Call) -> Reply:
    """Answer `GET /puppet/runs/ID`: what is known of the run, with 200.

    With `wait=`, the status says what became of it, as that of a trigger with `wait=` does.
    """
    call.demand("status")
    wait_s, before = call.parameters.wait(), call.records.read(call.run)
    try:
        record = await call.finished(call.run, wait_s or 0)
    except Unrecorded as error:
        return ending.unrecorded(call.run, str(error), call.caller)
    if record is None:
        raise HTTPError(404, "No such run; the last ones are at /puppet/runs")
    text = wording.run_text(record, call.caller)
    if wait_s is not None and record.state == FINISHED:
        waited = _asked_for(call, record) or (before is not None and before.state != FINISHED)
        return ending.ended(call, record, text, waited=waited)
    fields, headers = views.run_fields(record, call.caller), ending.run_headers(record)
    if wait_s is not None:
        return Reply(202, text, fields, (*headers, ("Location", f"/puppet/runs/{record.run}")))
    return Reply(200, text, fields, headers)


def _asked_for(call: Call, record: Record) -> bool:
    """Return whether this caller has asked for the run; an anonymous one is known by its address."""
    same_client = call.caller.named or record.client == call.caller.address
    return record.caller == call.caller.name and same_client

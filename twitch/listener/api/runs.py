"""`/puppet/runs` and `/puppet/runs/ID`: the last runs, and one run."""

from __future__ import annotations

from twitch.listener.api import views
from twitch.listener.api.call import Call, Unrecorded
from twitch.listener.api.reply import Reply
from twitch.listener.exchange import HTTPError


async def newest(call: Call) -> Reply:
    """Answer `GET /puppet/runs`."""
    call.demand("status")
    records = call.records.newest()
    text = "\n".join(views.run_text(record, call.caller) for record in records) or "No runs yet"
    return Reply(200, text, {"runs": [views.run_fields(record, call.caller) for record in records]})


async def one(call: Call) -> Reply:
    """Answer `GET /puppet/runs/ID`."""
    call.demand("status")
    wait_s = call.parameters.seconds("wait") or 0
    try:
        record = await call.finished(call.run, wait_s)
    except Unrecorded as error:
        return views.unrecorded(call.run, str(error), call.caller)
    if record is None:
        raise HTTPError(404, "No such run; the last ones are at /puppet/runs")
    fields, headers = views.run_fields(record, call.caller), views.run_headers(record)
    return Reply(200, views.run_text(record, call.caller), fields, headers)

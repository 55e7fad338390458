"""`/puppet/status`: what Puppet is doing; with `max_age=` an error if the node needs attention."""

from __future__ import annotations

from twitch import views, wording
from twitch.listener.api.call import Call
from twitch.listener.api.reply import Reply
from twitch.messages import Status


async def status(call: Call) -> Reply:
    """Answer `GET /puppet/status`."""
    call.demand("status")
    max_age_s = call.parameters.duration("max_age")  # read first: an invalid value must not wake root
    answer = await call.ask(Status())
    if answer.status is None:
        text = views.why(wording.CANNOT_ASK, answer.reason, call.caller)
        return Reply(500, text, refused=True)
    fields = views.status_fields(answer.status, call.caller)
    complaint = None if max_age_s is None else wording.complaint(answer.status, max_age_s, call.caller)
    if complaint:
        return Reply(503, complaint, fields)
    return Reply(200, wording.status_text(answer.status, call.caller), fields)

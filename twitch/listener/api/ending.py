"""The reply to a caller that wants to hear the end of a run: the same for each way to ask for it."""

from __future__ import annotations

from twitch.listener.api import views, wording
from twitch.listener.api.call import Call
from twitch.listener.api.reply import Reply
from twitch.records import BUSY, Record

# The median Puppet run takes less than a minute; `queue=true` is the way to wait for one.
RETRY_BUSY_S = 30


def ended(call: Call, record: Record, good: str, *, waited: bool) -> Reply:
    """Return the reply about a run that has ended: 200 with the text `good`, 500 with what failed, or 409."""
    headers, fields = views.run_headers(record), views.run_fields(record, call.caller)
    if record.verdict == BUSY:  # another Puppet run began in the same moment
        headers = (("Retry-After", str(RETRY_BUSY_S)), *headers)
        return Reply(409, wording.busy(None, None, None, call.caller), fields, headers, refused=True)
    if record.good:
        return Reply(200, good, fields, headers)
    return Reply(500, views.failure(record, call.caller, waited=waited), fields, headers)

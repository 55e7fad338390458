"""The reply to a caller that wants to hear the end of a run: the same for each way to ask for it."""

from __future__ import annotations

from typing import Optional

from twitch import views, wording
from twitch.caller import Caller
from twitch.listener.api.call import Call
from twitch.listener.api.reply import Headers, Reply
from twitch.records import BUSY, Record, outcome

# The median Puppet run takes less than a minute; `queue=true` is the way to wait for one.
RETRY_BUSY_S = 30


def ended(call: Call, record: Record, good: str, *, waited: bool, message: Optional[str] = None) -> Reply:
    """Return the reply about a run that has ended: 200 with the text `good`, 500 with what failed, or 409."""
    headers, fields = run_headers(record), views.run_fields(record, call.caller)
    if record.verdict == BUSY:  # another Puppet run began in the same moment
        headers = (("Retry-After", str(RETRY_BUSY_S)), *headers)
        return Reply(409, wording.busy(None, None, None, call.caller), fields, headers, refused=True)
    if record.good:
        return Reply(200, good, fields, headers, message=message)
    return Reply(500, views.failure(record, call.caller, waited=waited), fields, headers)


def unrecorded(run: str, reason: str, caller: Caller) -> Reply:
    """Return the reply to a caller that has waited for a run whose verdict cannot be written.

    It is an error, because a script must not take it for a run that succeeded, or that goes on.
    """
    headers = (("Puppet-Run", run), ("Location", f"/puppet/runs/{run}"))
    text = views.why(wording.NO_VERDICT, reason, caller)
    return Reply(500, text, {"run": run}, headers)


def run_headers(record: Record) -> Headers:
    """Return the headers `Puppet-Run` and, once there is a verdict, `Puppet-Verdict`."""
    word = outcome(record)
    return (("Puppet-Run", record.run), *((("Puppet-Verdict", word),) if word else ()))

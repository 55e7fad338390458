"""`/metrics`: what Puppet is doing and what became of its last run, for Prometheus."""

from __future__ import annotations

from twitch.listener.api.call import Call
from twitch.listener.api.reply import Reply
from twitch.messages import Metrics


async def metrics(call: Call) -> Reply:
    """Answer `GET /metrics`.

    Where Puppet's state cannot be read, the metrics say that, with 200: an error would look like a node that
    is down, and the rules for a node that is down would not say why.
    """
    call.demand("metrics")
    answer = await call.ask(Metrics())
    from twitch import metrics as form  # which no request for a run needs

    text = form.text(None) if answer.metrics is None else answer.metrics
    return Reply(200, text, media_type=form.CONTENT_TYPE)

"""The status of a puppetserver: its JRubies, and the requests that wait for one."""

from __future__ import annotations

import time
from typing import Any

from tests.fleet_nodes.web import Reply, Web

PATH = "/status/v1/services/jruby-metrics"


class Puppetserver:
    """A puppetserver whose queue is as long as a test says."""

    def __init__(self) -> None:
        self.web = Web(self.answer)
        self.jrubies = 4
        self.queue = 0
        self.oldest_s = 0.0
        self.closed = False  # auth.conf does not let everyone read the status

    def answer(self, path: str, fields: dict[str, Any]) -> Reply:
        """Answer a request, in the form of puppetserver 8.7.0."""
        if self.closed:
            return Reply(403, "Forbidden request: /status/v1/services/jruby-metrics (method :get)")
        if path != PATH:
            return Reply(404, "Not Found")
        return Reply(
            200,
            {
                "service_version": "8.7.0",
                "service_status_version": 1,
                "detail_level": "debug",
                "state": "running",
                "status": {"experimental": {"jruby-pool-lock-status": {}, "metrics": self._metrics()}},
                "active_alerts": [],
            },
        )

    def _metrics(self) -> dict[str, Any]:
        now_ms = int(time.time() * 1000)
        waiting = [
            {
                "duration-millis": int(self.oldest_s * 1000) if number == 0 else 1,
                "reason": {"request": {"request-method": "post", "uri": "/puppet/v3/catalog/node"}},
                "time": now_ms,
            }
            for number in range(self.queue)
        ]
        return {
            "num-jrubies": self.jrubies,
            "num-free-jrubies": 0 if self.queue else self.jrubies,
            "requested-instances": waiting,
            "borrowed-instances": [],
            "requested-count": 100,
            "borrow-count": 100,
            "borrow-timeout-count": 0,
            "queue-limit-hit-count": 0,
            "queue-limit-hit-rate": 0.0,
            "average-wait-time": 2,
            "average-borrow-time": 950,
            "borrow-timers": {
                "total": {"count": 100, "mean": 950, "max": 4000, "rate": 0.1},
                "puppet-v3-catalog-/*/": {"count": 25, "mean": 3107, "max": 4000, "rate": 0.1},
                "puppet-v3-report-/*/": {"count": 25, "mean": 76, "max": 100, "rate": 0.1},
            },
        }

"""The status of a puppetserver, as 8.7.0 has sent it while two JRubies compiled six catalogs."""

from __future__ import annotations

from typing import Any


def status(*, jrubies: int = 2, waiting_ms: tuple[int, ...] = (), turned_away: int = 0) -> dict[str, Any]:
    request = {"request-method": "post", "uri": "/puppet/v3/catalog/web1.test"}
    metrics = {
        "average-lock-wait-time": 0,
        "num-free-jrubies": 0 if waiting_ms else jrubies,
        "borrow-count": 36,
        "borrow-timeout-count": turned_away,
        "borrow-timers": {
            "total": {"count": 36, "mean": 712, "max": 10057, "rate": 0.031},
            "puppet-v3-catalog": {"count": 10, "mean": 3000, "max": 10057, "rate": 0.042},
            "puppet-v3-file_metadatas": {"count": 20, "mean": 100, "max": 761, "rate": 0.122},
            "puppet-v3-node": {"count": 1, "mean": 1000, "max": 5414, "rate": 0.035},
            "puppet-v3-report": {"count": 10, "mean": 700, "max": 2398, "rate": 0.043},
        },
        "borrowed-instances": [],
        "num-jrubies": jrubies,
        "queue-limit-hit-count": 0,
        "queue-limit-hit-rate": 0.0,
        "requested-instances": [
            {"duration-millis": waited, "reason": {"request": request}, "time": 1795693265000}
            for waited in waiting_ms
        ],
    }
    return {
        "service_version": "8.7.0",
        "service_status_version": 1,
        "detail_level": "debug",
        "state": "running",
        "status": {"experimental": {"jruby-pool-lock-status": {}, "metrics": metrics}},
        "active_alerts": [],
        "service_name": "jruby-metrics",
    }

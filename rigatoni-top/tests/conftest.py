"""The status of one process, as `rigatoni status --json` shows it."""

import pytest


@pytest.fixture
def status():
    def status(events=30, file="/srv/pipeline.toml", error=None, **figures):
        stream = {
            "name": "shop.orders",
            "state": "running",
            "events": events,
            "bytes": events * 100,
            "batches": 3,
            "read_lag": 1.0,
            "delivery_lag": 2.0,
            "checkpoint_age": 4.0,
            "buffered_bytes": 1536,
            "retries": 0,
            "rejected": 0,
            "gaps": 0,
            "lease_held": None,
            "last_error": error,
            **figures,
        }
        return {"file": file, "pid": 7, "started": "?", "pipelines": [{"name": "p", "streams": [stream]}]}

    return status

"""What the tests of this folder share: requests over HTTP, and pipelines of scripted parts that are listened to."""

import asyncio
import json
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_prometheus.listener import PrometheusListener
from rigatoni_testing.scripted import FlakyStateStore, RecordingDestination, ScriptedSource


class Client:
    """Asks a listener, from another thread where `await`ed."""

    def __init__(self, listener):
        self.listener = listener

    def ask(self, path):
        """Status and text."""
        host, port = self.listener.address
        try:
            host = f"[{host}]" if ":" in host else host
            with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    async def get(self, path):
        return await asyncio.to_thread(self.ask, path)

    async def readiness(self):
        status, text = await self.get("/readyz")
        content = json.loads(text)
        assert content["ready"] == (status == 200)
        return status, content["workers"]

    async def samples(self):
        """{(name, labels without pipeline and stream's pipeline): value} of a scrape."""
        status, text = await self.get("/metrics")
        assert status == 200
        return {
            (
                sample.name,
                *sorted((key, value) for key, value in sample.labels.items() if key != "pipeline"),
            ): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
async def listener():
    async with PrometheusListener(port=0) as listener:
        yield listener


@pytest.fixture
def client_of():
    return Client


@pytest.fixture
def client(listener):
    return Client(listener)


@pytest.fixture
def pipeline(listener):
    """Makes a pipeline of scripted parts over logs by stream name, with short delays."""

    def make(logs, *, destination=None, state=None, **settings):
        retry = RetrySettings(max_retries=1, retry_delay=0.01, max_retry_delay=0.05)
        return Pipeline(
            name="p",
            source=ScriptedSource(logs=logs, start=0, await_time=0.05),
            destination=destination or RecordingDestination(),
            state=state or FlakyStateStore(),
            settings=Settings(retry=retry, batch_timeout=0.05, **settings),
            listeners=[Told(listener)],
        )

    return make


class Told:
    """Hands on what is published; the fixture, not the pipeline, opens and closes the listener."""

    def __init__(self, listener):
        self.notify = listener.notify

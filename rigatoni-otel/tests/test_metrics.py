"""Metrics with the SDK's in-memory reader, and the launcher that users set the SDK up with."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from pymongo import MongoClient
from rigatoni_core.api import process_counts
from rigatoni_core.api.errors import DestinationError, Transient
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_core.observe.metrics import DISTRIBUTIONS, FIGURES
from rigatoni_mongodb.testing.server import mongodb_server
from rigatoni_otel.listener import OtelListener
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import FlakyStateStore, Log, RecordingDestination, ScriptedSource

SENTINEL = "s3nt1nel-sw0rdf1sh"


class DownError(DestinationError, Transient):
    id = "down"


@pytest.fixture
def reader():
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader):
    provider = MeterProvider(metric_readers=[reader])
    yield provider
    provider.shutdown()


def run(provider, name, events, faults=()):
    log = Log()
    log.grow(events)
    pipeline = Pipeline(
        name=name,
        source=ScriptedSource(logs={"shop.orders": log}, start=0),
        destination=RecordingDestination(before=list(faults)),
        state=FlakyStateStore(),
        listeners=[OtelListener(meter_provider=provider, traces=False)],
    )
    assert run_virtual(pipeline.run(once=True)).ok


def collected(reader):
    """{metric: {attributes: point}} of what the reader sees now."""
    return {
        metric.name: {tuple(sorted(point.attributes.items())): point for point in metric.data.data_points}
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def of(pipeline, **more):
    return tuple(sorted({"rigatoni.pipeline": pipeline, "rigatoni.stream": "shop.orders", **more}.items()))


def test_what_a_run_did_is_what_a_reader_sees_also_after_its_end(provider, reader):
    run(provider, "p", 45, faults=[DownError(SENTINEL)])
    metrics = collected(reader)
    assert metrics["rigatoni.events"][of("p")].value == 45
    assert metrics["rigatoni.retries"][of("p")].value == 1
    assert metrics["rigatoni.errors"][of("p", **{"error.type": "down"})].value == 1
    assert metrics["rigatoni.worker.state"][of("p", **{"rigatoni.state": "stopped"})].value == 1
    assert metrics["rigatoni.batch.size"][of("p")].sum == 45
    assert tuple(metrics["rigatoni.batch.size"][of("p")].explicit_bounds) == DISTRIBUTIONS[1].buckets
    assert SENTINEL not in str(metrics)


def test_every_metric_has_its_unit_and_meaning(provider, reader):
    run(provider, "p", 3, faults=[DownError("no")])
    metrics = {
        metric.name: (metric.unit, metric.description)
        for metric in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    }
    expected = {f"rigatoni.{each.name}": (each.unit, each.meaning) for each in (*FIGURES, *DISTRIBUTIONS)}
    absent = {"rigatoni.read.lag", "rigatoni.delivery.lag", "rigatoni.checkpoint.age"}  # of a stream that has ended
    gauges = {f"rigatoni.{figure.name}" for figure in FIGURES if figure.kind == "gauge"}
    absent |= {name for name in gauges if name.startswith("rigatoni.snapshot.")}  # of a stream without a snapshot
    assert metrics == {name: value for name, value in expected.items() if name not in absent}


def test_counts_of_the_process_are_metrics_by_reason(monkeypatch, provider, reader):
    monkeypatch.setattr(process_counts, "_counts", {})
    process_counts.register_count(
        process_counts.ProcessCount(name="accelerator.fallbacks", meaning="Left out", read=lambda: {"text": 7})
    )
    run(provider, "p", 1)
    (point,) = collected(reader)["rigatoni.accelerator.fallbacks"].values()
    assert (point.attributes, point.value) == ({"rigatoni.reason": "text"}, 7)


def test_pipelines_of_one_process_share_the_instruments_and_a_second_run_goes_on_counting(provider, reader, caplog):
    run(provider, "p", 3)
    run(provider, "q", 4)
    run(provider, "p", 5)
    events = collected(reader)["rigatoni.events"]
    assert {key: point.value for key, point in events.items()} == {of("p"): 8, of("q"): 4}
    assert not caplog.records


def test_the_launcher_of_opentelemetry_sets_up_what_the_command_needs(tmp_path):
    (tmp_path / "pipeline.toml").write_text(
        """\
        [pipeline]
        name = "p"
        [pipeline.source]
        type = "mongodb"
        uri = { env = "MONGODB_URI" }
        watch = ["shop.orders"]
        max_await_time = 0.1
        [pipeline.destination]
        type = "local"
        path = "lake"
        serializer = { type = "json" }
        [pipeline.state]
        type = "file"
        path = "state"
        [[pipeline.listeners]]
        type = "otel"
        """
    )
    launcher = Path(sys.executable).parent / "opentelemetry-instrument"
    command = [str(launcher), sys.executable, "-m", "rigatoni_core.cli", "run", "pipeline.toml", "--once"]
    with mongodb_server(tmp_path / "data") as uri, MongoClient(uri) as client:
        environment = {
            "MONGODB_URI": f"{uri}?appName={SENTINEL}",
            "OTEL_TRACES_EXPORTER": "console",
            "OTEL_METRICS_EXPORTER": "console",
            "OTEL_LOGS_EXPORTER": "none",
        }
        anchored = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
        assert anchored.returncode == 0, anchored.stderr
        client.shop.orders.insert_many([{"secret": SENTINEL} for _ in range(7)])
        answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    names = [name for name in ("write", "checkpoint", "process") if f'"name": "{name} shop.orders"' in answer.stdout]
    assert names == ["write", "checkpoint", "process"], answer.stdout + answer.stderr
    exported = answer.stdout[answer.stdout.index('{\n    "resource_metrics"') :]
    metrics = json.JSONDecoder().raw_decode(exported)[0]["resource_metrics"][0]["scope_metrics"][0]["metrics"]
    (events,) = [metric["data"]["data_points"] for metric in metrics if metric["name"] == "rigatoni.events"]
    assert [point["value"] for point in events] == [7]
    assert SENTINEL not in answer.stdout

"""The listener over HTTP: metrics, health, readiness, and what may go wrong with a port."""

import asyncio
import socket
import threading
import urllib.request

import attrs
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from rigatoni_core.api import process_counts
from rigatoni_core.api.errors import DestinationError, StateStoreError, Transient
from rigatoni_core.api.events import Position, ResumeToken, Stream
from rigatoni_core.api.notices import LeaseAwaited, Retrying, WorkerFailed, WorkerStarted, WorkerStarting, WorkerStopped
from rigatoni_prometheus import health
from rigatoni_prometheus.errors import PortTakenError, PrometheusError
from rigatoni_prometheus.listener import PrometheusListener
from rigatoni_testing.batches import event_document
from rigatoni_testing.scripted import FlakyStateStore, Log, RecordingDestination

SENTINEL = "s3nt1nel-sw0rdf1sh"


class DownError(DestinationError, Transient):
    id = "down"


class FullError(StateStoreError, Transient):
    id = "full"


def log_of(count):
    log = Log()
    log.grow(count)
    return log


async def until(condition):
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.01)


async def test_what_a_run_did_is_what_a_scrape_says(client, pipeline):
    destination = RecordingDestination(before=[DownError("down"), DownError("down"), DownError("down")])
    state = FlakyStateStore(save_faults=[None, FullError("full")])
    log = log_of(45)
    running = pipeline({"shop.orders": log}, destination=destination, state=state, batch_size=20, on_failure="restart")
    assert (await running.run(once=True)).ok
    samples = await client.samples()
    stream = ("stream", "shop.orders")
    assert samples["rigatoni_events_total", stream] == 45
    assert samples["rigatoni_batches_total", stream] == len(destination.batches) == 3
    assert samples["rigatoni_bytes_total", stream] == sum(map(len, log.raws))
    assert samples["rigatoni_retries_total", stream] == 2  # of three failures, one ended a round
    assert samples["rigatoni_errors_total", ("error_type", "down"), stream] == 3
    assert samples["rigatoni_errors_total", ("error_type", "full"), stream] == 1
    assert samples["rigatoni_checkpoint_failures_total", stream] == 1
    assert samples["rigatoni_checkpoints_total", stream] == len(state.saves)
    assert samples["rigatoni_batch_size_count", stream] == 3
    assert samples["rigatoni_batch_size_sum", stream] == 45
    assert samples["rigatoni_batch_size_bucket", ("le", "10.0"), stream] == 1
    assert samples["rigatoni_batch_bytes_sum", stream] == sum(map(len, log.raws))
    assert samples["rigatoni_batch_write_duration_seconds_count", stream] == 3
    assert samples["rigatoni_checkpoint_save_duration_seconds_count", stream] == len(state.saves)
    assert samples["rigatoni_worker_state", ("state", "stopped"), stream] == 1
    assert samples["rigatoni_worker_state", ("state", "running"), stream] == 0
    assert samples["rigatoni_lease_held", stream] == 0
    assert ("rigatoni_read_lag_seconds", stream) not in samples
    assert ("rigatoni_delivery_lag_seconds", stream) not in samples
    assert any(name == "rigatoni_build_info" for name, *_ in samples)


async def test_an_idle_stream_has_no_lag_and_its_lease(client, pipeline):
    running = pipeline({"shop.orders": log_of(5)}, idle_advance_interval=0.05)
    task = asyncio.create_task(running.run())
    stream = ("stream", "shop.orders")

    async def caught_up():
        return (await client.samples()).get(("rigatoni_delivery_lag_seconds", stream)) == 0

    await until(caught_up)
    samples = await client.samples()
    assert samples["rigatoni_read_lag_seconds", stream] == 0
    assert samples["rigatoni_buffered_bytes", stream] == 0
    assert samples["rigatoni_lease_held", stream] == 1
    assert 0 <= samples["rigatoni_checkpoint_age_seconds", stream] < 20
    running.stop()
    assert (await task).ok


@pytest.mark.parametrize("name", ['quoted "x"', "back\\slash\nand line", "ü ñ 名", "{}", "*"])
async def test_odd_stream_names_come_back_as_they_are(client, pipeline, name):
    assert (await pipeline({name: log_of(2)}).run(once=True)).ok
    assert (await client.samples())["rigatoni_events_total", ("stream", name)] == 2


async def test_openmetrics_which_prometheus_asks_for_first(client, pipeline, listener):
    assert (await pipeline({"shop.orders": log_of(2)}).run(once=True)).ok
    host, port = listener.address
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    request = urllib.request.Request(f"http://{host}:{port}/metrics", headers=accept)
    with await asyncio.to_thread(urllib.request.urlopen, request, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        families = {
            family.name: family for family in openmetrics.text_string_to_metric_families(answer.read().decode())
        }
    assert families["rigatoni_events"].type == "counter"
    assert families["rigatoni_batch_size"].type == "histogram"


async def test_scrapes_while_streams_come_up_and_errors_are_counted(client, listener):
    ended = threading.Event()

    def happen():
        for number in range(2000):
            error = type(f"Error{number}", (DownError,), {"id": f"id-{number % 100}"})("no")
            stream = Stream("p", f"a.{number % 200}")
            listener.notify(Retrying(stream=stream, error=error, attempt=1, delay=1.0))
        ended.set()

    happening = threading.Thread(target=happen)
    happening.start()
    while not ended.is_set():
        await client.samples()
    happening.join()
    samples = await client.samples()
    assert sum(value for (name, *_), value in samples.items() if name == "rigatoni_errors_total") == 2000


async def test_K3_no_secret_document_value_or_resume_token_is_in_a_scrape(client, pipeline):
    log = Log()
    log.append(event_document(0, _id={"_data": SENTINEL}, fullDocument={"password": SENTINEL}))
    destination = RecordingDestination(
        before=[DownError(f"{SENTINEL} refused", remedy=SENTINEL), RuntimeError(SENTINEL)]
    )
    report = await pipeline({"shop.orders": log}, destination=destination).run(once=True)
    assert SENTINEL in str(report.workers["shop.orders"].error)
    for path in ("/metrics", "/readyz", "/healthz", "/"):
        assert SENTINEL not in (await client.get(path))[1]
    assert (await client.samples())["rigatoni_errors_total", ("error_type", "bug"), ("stream", "shop.orders")] == 1


async def test_ready_means_that_every_worker_does_its_work(client, listener):
    one, two = Stream("p", "a.one"), Stream("p", "a.two")
    started = WorkerStarted(stream=one, position=Position(ResumeToken("t"), "f"), resumed=True)
    assert await client.readiness() == (503, {})
    for stream in (one, two):
        listener.notify(WorkerStarting(stream=stream))
    assert await client.readiness() == (503, {"p/a.one": "starting", "p/a.two": "starting"})
    listener.notify(started)
    listener.notify(LeaseAwaited(stream=two))
    assert await client.readiness() == (200, {"p/a.one": "running", "p/a.two": "standby"})
    listener.notify(WorkerFailed(stream=two, error=ValueError()))
    assert await client.readiness() == (503, {"p/a.one": "running", "p/a.two": "failed"})
    listener.notify(attrs.evolve(started, stream=two))
    listener.notify(WorkerStopped(stream=one, position=None))
    assert await client.readiness() == (503, {"p/a.one": "stopped", "p/a.two": "running"})


async def test_a_pipeline_whose_destination_is_down_is_not_ready_until_it_delivers(client, pipeline):
    destination = RecordingDestination(before=[DownError("down")] * 1000)
    running = pipeline({"shop.orders": log_of(3), "shop.idle": Log()}, destination=destination)
    task = asyncio.create_task(running.run())

    async def failing():
        return await client.readiness() == (503, {"p/shop.orders": "failing", "p/shop.idle": "running"})

    async def ready():
        return (await client.readiness())[0] == 200

    await until(failing)
    for _ in range(5):
        assert not await ready(), "entering again is not yet delivering"
    destination.before.clear()
    await until(ready)
    running.stop()
    await task


async def test_health_is_whether_the_event_loop_responds(client, monkeypatch):
    monkeypatch.setattr(health, "TIMEOUT", 0.2)
    assert (await client.get("/healthz"))[0] == 200
    answers = []
    asking = threading.Thread(target=lambda: answers.append(client.ask("/healthz")))
    asking.start()
    asking.join()  # on purpose: this is the event loop's thread, and it hangs until the answer is there
    assert answers == [(503, '{"alive": false}\n')]
    assert (await client.get("/metrics"))[0] == 200


async def test_unknown_paths_say_which_there_are(client):
    assert await client.get("/") == (404, "/metrics /healthz /readyz\n")


async def test_a_client_that_says_nothing_holds_up_no_other(client, listener):
    with socket.create_connection(listener.address):
        assert (await client.get("/healthz"))[0] == 200


async def test_a_taken_port_is_a_clear_error_and_is_free_again_after_the_end(listener, client_of):
    other = PrometheusListener(port=listener.address[1])
    with pytest.raises(PortTakenError, match=rf"already listens on port {other.port} of 127\.0\.0\.1") as raised:
        await other.__aenter__()
    assert "another port" in raised.value.remedy
    await listener.__aexit__(None, None, None)
    async with other:
        assert (await client_of(other).get("/healthz"))[0] == 200


@pytest.mark.parametrize("host", ["203.0.113.7", "no.such.host.invalid"])
async def test_an_address_that_is_not_ours_is_named(host):
    with pytest.raises(PrometheusError, match=f"cannot listen on port 9464 of {host}"):
        await PrometheusListener(host=host).__aenter__()


def has_ipv6_loopback():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6_loopback(), reason="this system has no IPv6 loopback interface")
async def test_ipv6(client_of):
    async with PrometheusListener(host="::1", port=0) as listener:
        assert (await client_of(listener).get("/healthz"))[0] == 200


@pytest.mark.parametrize("port", [-1, 65_536])
def test_impossible_ports(port):
    with pytest.raises(ValueError, match="port must be between"):
        PrometheusListener(port=port)


async def test_two_listeners_in_one_process_have_nothing_in_common(client, client_of, pipeline):
    assert (await pipeline({"shop.orders": log_of(2)}).run(once=True)).ok
    async with PrometheusListener(port=0) as other:
        assert ("rigatoni_events_total", ("stream", "shop.orders")) not in await client_of(other).samples()


async def test_counts_of_the_process_are_metrics_by_reason(client, monkeypatch):
    monkeypatch.setattr(process_counts, "_counts", {})
    process_counts.register_count(
        process_counts.ProcessCount(
            name="accelerator.fallbacks", meaning="Left out", read=lambda: {"text": 7, "type": 0}
        )
    )
    _, body = await client.get("/metrics")
    assert 'rigatoni_accelerator_fallbacks_total{reason="text"} 7.0' in body
    assert 'rigatoni_accelerator_fallbacks_total{reason="type"} 0.0' in body

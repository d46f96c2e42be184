"""What `rigatoni doctor` checks of a deployment: on a real server, and on one that answers as a mongod does."""

from datetime import UTC, datetime, timedelta

import pytest
from bson import Timestamp as BsonTimestamp
from rigatoni_core.api.events import Position, Stream, Timestamp
from rigatoni_core.api.settings import Settings, SnapshotSettings
from rigatoni_mongodb.diagnosis.oplog import Oplog
from rigatoni_mongodb.diagnosis.server import kind_of
from rigatoni_mongodb.testing.wire import Fail, ScriptedServer

NOW = 1_900_000_000
HOUR = 3600
STREAM = Stream("p", "shop.orders")
REFUSED = Fail(13, message="not authorized on local")


def position(seconds):
    return Position("token", "fingerprint", Timestamp(seconds, 1))


async def found(source, check, positions=None, settings=None):
    """Return the findings of one check of an open source."""
    checks = source.checks(settings or Settings(), positions or {})
    return list(await checks[check]())


async def found_on(server, open_source, check, positions=None, watch=("shop.orders",), **options):
    """Return the findings of one check of a scripted server."""
    async with server, open_source(*watch, uri=server.uri, **options) as source:
        return await found(source, check, positions)


def severities(findings):
    return [finding.severity for finding in findings]


def oplog_replies(window, *, initiating=False, sizes=None, recent=None):
    """Reply as the oplog of a mongod whose oldest entry is `window` seconds old."""

    def find(command):
        newest = command["sort"]["$natural"] == -1
        seconds = NOW - (recent or window) if command.get("skip") else NOW if newest else NOW - window
        message = {"msg": "initiating set"} if initiating and not newest else {}
        entry = {"ts": BsonTimestamp(seconds, 1), "o": message}
        return {"cursor": {"id": 0, "ns": "local.oplog.rs", "firstBatch": [entry]}}

    return {"find": find, **({"collStats": lambda _: sizes} if sizes else {})}


# --- the oplog


@pytest.mark.parametrize(
    ("oplog", "age", "lifetime"),
    [
        (Oplog(0, 100 * HOUR), 0, 100 * HOUR),  # full: an hour is lost in an hour
        (Oplog(0, 100 * HOUR), 97 * HOUR, 3 * HOUR),
        (Oplog(0, 100 * HOUR), 200 * HOUR, 0),
        (Oplog(0, 100 * HOUR, size=50, maximum=100), 0, 200 * HOUR),  # half full: as much again fits
        (Oplog(0, 100 * HOUR, size=50, maximum=100), 100 * HOUR, 100 * HOUR),
        (Oplog(0, 10 * HOUR, size=100, maximum=100, recent_rate=100 / HOUR), 0, HOUR),  # ten times the usual rate
        (Oplog(0, 10 * HOUR, is_whole=True), 0, None),  # nothing has left it, and its size is unknown
    ],
)
def test_a_position_lives_until_the_oplog_has_been_filled_behind_it(oplog, age, lifetime):
    left = oplog.lifetime(oplog.last - age)
    assert left == lifetime if lifetime is None else left == pytest.approx(lifetime)


async def test_the_headroom_of_each_stream_is_reported_with_its_figures(open_source):
    positions = {STREAM: position(NOW - 27 * HOUR), Stream("p", "shop.users"): position(NOW - HOUR)}
    sizes = {"size": 3000, "maxSize": 3000, "avgObjSize": 1, "count": 3000}
    server = ScriptedServer(replies=oplog_replies(30 * HOUR, sizes=sizes, recent=30 * HOUR))
    window, orders, users = await found_on(
        server, open_source, "oplog headroom", positions, watch=("shop.orders", "shop.users")
    )
    assert (window.severity, orders.severity, users.severity) == ("ok", "warning", "ok")
    assert "at this write rate it dies in 3 h" in orders.seen
    assert orders.figures["headroom_seconds"] == pytest.approx(3 * HOUR)
    assert "replSetResizeOplog" in orders.remedy


async def test_a_position_that_the_oplog_no_longer_holds_is_an_error(open_source):
    server = ScriptedServer(replies=oplog_replies(30 * HOUR))
    _, orders = await found_on(server, open_source, "oplog headroom", {STREAM: position(NOW - 31 * HOUR)})
    assert (orders.severity, "is lost" in orders.seen) == ("error", True)
    assert "on_lost_position" in orders.remedy


async def test_a_short_oplog_is_a_warning_unless_nothing_has_left_it(open_source):
    for initiating, severity in ((False, "warning"), (True, "ok")):
        server = ScriptedServer(replies=oplog_replies(HOUR, initiating=initiating))
        (window,) = await found_on(server, open_source, "oplog headroom", {STREAM: None})
        assert window.severity == severity


async def test_without_the_oplog_the_status_tells_its_window(open_source):
    status = {"oplog": {"earliestOptime": BsonTimestamp(NOW - HOUR, 1), "latestOptime": BsonTimestamp(NOW, 1)}}
    server = ScriptedServer(fails={"find": REFUSED}, replies={"serverStatus": lambda _: status})
    (window,) = await found_on(server, open_source, "oplog headroom")
    assert window.figures["window_seconds"] == HOUR


async def test_an_oplog_that_may_not_be_read_is_not_checked_and_the_grant_is_named(open_source):
    server = ScriptedServer(fails={"find": REFUSED, "serverStatus": REFUSED})
    (window,) = await found_on(server, open_source, "oplog headroom", {STREAM: position(NOW)})
    assert window.severity == "not checked"
    assert '{role: "read", db: "local"}' in window.remedy


async def test_the_oplogs_of_shards_are_not_checked(open_source):
    async with ScriptedServer(role="mongos") as server, open_source("shop.orders", uri=server.uri) as source:
        assert severities(await found(source, "oplog headroom")) == ["not checked"]
        assert severities(await found(source, "members")) == ["not checked"]


async def test_a_real_oplog_can_be_read(open_source, database):
    database.orders.insert_one({})
    async with open_source(f"{database.name}.orders") as source:
        (window,) = await found(source, "oplog headroom")
    assert window.severity == "ok"
    assert window.figures["window_seconds"] >= 0


# --- the server


@pytest.mark.parametrize(("version", "lacks"), [("4.4.29", "cluster time"), ("6.0.1", "16 MB"), ("8.0.4", "")])
async def test_features_that_a_version_lacks_are_named(open_source, version, lacks):
    async with ScriptedServer(version=version) as server, open_source("shop.orders", uri=server.uri) as source:
        (finding,) = await found(source, "server")
    assert (finding.severity, lacks in finding.seen) == ("ok", True)
    assert ("lacks" in finding.seen) == bool(lacks)


async def test_a_version_that_is_too_old_is_an_error(open_source):
    async with ScriptedServer(version="4.2.0") as server, open_source("shop.orders", uri=server.uri) as source:
        assert severities(await found(source, "server")) == ["error"]


async def test_a_server_that_only_resembles_mongodb_is_recognized(open_source):
    build = {"version": "7.0.77", "ferretdb": {"version": "v2.0.0"}}
    server = ScriptedServer(replies={"buildInfo": lambda _: build})
    (finding,) = await found_on(server, open_source, "server")
    assert (finding.severity, finding.seen) == ("error", "FerretDB has no change streams")


@pytest.mark.parametrize(
    ("hosts", "kind"),
    [
        ("docdb.cluster-x.eu-west-1.docdb.amazonaws.com:27017", "Amazon DocumentDB"),
        ("acme.mongo.cosmos.azure.com:10255", "Cosmos DB"),
        ("acme.mongocluster.cosmos.azure.com", "Azure DocumentDB"),
        ("db.example.com:27017,docdb.example.com:27017", ""),
    ],
)
def test_hosted_servers_are_recognized_by_their_hosts(hosts, kind):
    assert kind_of(hosts, {}) == kind


@pytest.mark.parametrize(("ahead", "severity"), [(0.0, "ok"), (120.0, "warning"), (-120.0, "warning")])
async def test_clocks_that_differ_are_reported(open_source, ahead, severity):
    async with ScriptedServer(clock_ahead=ahead) as server, open_source("shop.orders", uri=server.uri) as source:
        (finding,) = await found(source, "clock")
    assert finding.severity == severity
    assert finding.figures["skew_seconds"] == pytest.approx(ahead, abs=4)


def member(number, *, lag=0, **more):
    moment = datetime.fromtimestamp(NOW, UTC) - timedelta(seconds=lag)
    return {"name": f"m{number}:27017", "health": 1.0, "state": 1 if number == 0 else 2, "optimeDate": moment, **more}


@pytest.mark.parametrize(
    ("last", "severity", "words"),
    [
        (member(2, lag=3), "ok", "3 members, at most 3 s behind"),
        (member(2, lag=120), "warning", "m2:27017 by 2 min"),
        (member(2, health=0.0), "warning", "1 of 3 members do not respond: m2:27017"),
    ],
)
async def test_members_that_are_down_or_behind_are_named(open_source, last, severity, words):
    status = {"members": [member(0), member(1), last]}
    server = ScriptedServer(replies={"replSetGetStatus": lambda _: status})
    (finding,) = await found_on(server, open_source, "members")
    assert (finding.severity, words in finding.seen) == (severity, True)


# --- the collections


async def test_kinds_without_change_streams_are_named(open_source, database):
    database.orders.insert_one({})
    database.create_collection("log", capped=True, size=4096)
    name = database.name
    settings = Settings(snapshot=SnapshotSettings(mode="initial"))
    async with open_source(f"{name}.*") as source:
        (whole,) = await found(source, "collections", settings=settings)
    assert (whole.severity, "window rule: log" in whole.seen) == ("ok", True)
    database.create_collection("open_orders", viewOn="orders", pipeline=[])
    database.create_collection("weather", timeseries={"timeField": "at"})
    async with open_source(f"{name}.open_orders", f"{name}.weather", f"{name}.orders") as source:
        view, series, orders = await found(source, "collections")
    assert severities([view, series, orders]) == ["error", "error", "ok"]
    assert ("is a view" in view.seen, "is a time series collection" in series.seen) == (True, True)
    async with open_source(f"{name}.*") as source:
        (whole,) = await found(source, "collections")
    assert (whole.severity, "weather" in whole.seen) == ("warning", True)


async def test_images_that_are_wanted_but_not_recorded_are_reported(open_source, database):
    database.create_collection("orders")
    database.create_collection("users", changeStreamPreAndPostImages={"enabled": True})
    name = database.name
    async with open_source(f"{name}.*") as source:
        assert not await found(source, "images")
    async with open_source(f"{name}.*", full_document_before_change="whenAvailable") as source:
        (finding,) = await found(source, "images")
    assert (finding.severity, finding.seen.rpartition(": ")[2]) == ("warning", "orders")
    assert 'collMod: "orders"' in finding.remedy
    async with open_source(f"{name}.users", full_document_before_change="whenAvailable") as source:
        assert severities(await found(source, "images")) == ["ok"]


async def test_a_listing_that_is_refused_is_not_checked(open_source):
    server = ScriptedServer(fails={"listCollections": REFUSED})
    (finding,) = await found_on(server, open_source, "collections")
    assert (finding.severity, '{role: "read", db: "shop"}' in finding.remedy) == ("not checked", True)


async def test_the_cost_of_looked_up_documents_is_the_rate_of_updates(open_source):
    status = {"uptime": 100, "opcounters": {"update": 5000}}
    server = ScriptedServer(replies={"serverStatus": lambda _: status})
    (finding,) = await found_on(server, open_source, "look-ups", full_document="updateLookup")
    assert finding.figures == {"updates_per_second": 50}

"""The translation of the server's and the driver's errors: kind, message and remedy; never a token or a command.

`data/error_replies.json` holds the error replies of a mongod 5.0.7 and a 7.1.0-alpha, with the commands of some.
"""

import re
from base64 import b64encode
from pathlib import Path

import pytest
from bson import encode, json_util
from hypothesis import given
from hypothesis import strategies as st
from pymongo import errors as driver
from rigatoni_core.api.errors import AccessDenied, PositionLostError
from rigatoni_core.api.events import ResumeToken, Stream, token_hash
from rigatoni_mongodb.errors import (
    AuthenticationError,
    EventTooLargeError,
    IllegalPipelineError,
    ImageMissingError,
    MongoDBError,
    MongoDBPositionLostError,
    MongoDBTokenRefusedError,
    MongoDBUnavailableError,
    NotAReplicaSetError,
    NotWatchableError,
    PrivilegeError,
    ServerFailureError,
    ServerTooOldError,
)
from rigatoni_mongodb.features import features_of
from rigatoni_mongodb.server_messages import MOST, first_clause
from rigatoni_mongodb.testing.wire import Fail, ScriptedServer
from rigatoni_mongodb.translation import Deployment, translate
from rigatoni_testing.batches import event_document

RECORDED = json_util.loads((Path(__file__).parent / "data" / "error_replies.json").read_text())
EVERYTHING = features_of(
    full_document="whenAvailable", full_document_before_change="required", show_expanded_events=True, splits=True
)
SHOP = {"db": "shop", "collection": "orders"}
TOKEN = re.compile(r"[0-9A-Fa-f]{24,}")


def failure(code, message="something", labels=()):
    reply = {"ok": 0.0, "code": code, "errmsg": message, "errorLabels": list(labels)}
    return driver.OperationFailure(message, code, reply)


def error_of(code, message="something", *, version="8.0.4", features=(), resource=SHOP):
    server = Deployment(hosts="db1:27017", version=version, features=features)
    return translate(failure(code, message), server, what="p/shop.orders", resource=resource)


def recorded(server, name):
    return [entry for entry in RECORDED if entry["server"].startswith(server) and entry["recording"] == name]


# What may pass, and what stays


LASTING = {
    11: AuthenticationError,
    18: AuthenticationError,
    334: AuthenticationError,
    13: PrivilegeError,
    40573: NotAReplicaSetError,
    47: ImageMissingError,
    10334: EventTooLargeError,
    73: NotWatchableError,
    166: NotWatchableError,
    167: NotWatchableError,
    **dict.fromkeys((2, 9, 14, 20, 72, 168, 40323, 40324, 40415, 40602), IllegalPipelineError),
    286: MongoDBPositionLostError,
    **dict.fromkeys((260, 280, 40647, 40649, 50811), MongoDBTokenRefusedError),
}


@pytest.mark.parametrize(("code", "kind"), LASTING.items())
def test_what_stays_is_of_its_kind(code, kind):
    error = error_of(code)
    assert type(error) is kind
    assert not error.transient


@given(st.one_of(st.integers(0, 1000), st.integers(9000, 60_000)))
def test_everything_else_may_pass(code):
    assert error_of(code).transient == (code not in LASTING)


@pytest.mark.parametrize("code", [11601, 11600, 11602, 189, 91, 50, 237, 175, 262, 6, 7, 89, 9001, 10107, 13435, 43])
def test_interruptions_say_that_the_server_cannot_serve_at_present(code):
    error = error_of(code)
    assert type(error) is MongoDBUnavailableError
    assert "db1:27017" in str(error)
    assert str(code) in str(error)


@pytest.mark.parametrize("code", [None, 1, 8, 96, 136, 146, 251, 363, 999_999])
def test_an_unknown_code_may_pass(code):
    error = error_of(code)
    assert type(error) is ServerFailureError
    assert error.transient


@pytest.mark.parametrize("code", [11, 18, 13])
def test_a_password_or_a_right_may_be_given_back(code):
    assert isinstance(error_of(code), AccessDenied)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (driver.AutoReconnect("connection closed"), MongoDBUnavailableError),
        (driver.NotPrimaryError("not primary", {"code": 10107, "errmsg": "not primary"}), MongoDBUnavailableError),
        (driver.WaitQueueTimeoutError("Timed out while checking out a connection"), MongoDBUnavailableError),
        (driver.ProtocolError("odd"), ServerFailureError),
        (driver.InvalidOperation("Cannot use AsyncMongoClient after close"), MongoDBError),
        (driver.InvalidName("collection names must not contain '..'"), MongoDBError),
    ],
    ids=lambda value: getattr(value, "__name__", None) or type(value).__name__,
)
def test_the_drivers_own_errors_are_of_the_right_kind(error, kind):
    assert type(translate(error, Deployment(hosts="h"), what="s")) is kind


@pytest.mark.parametrize("code", [11601, 999_999, 136])
async def test_an_interrupted_stream_raises_what_makes_the_worker_enter_again(open_source, read, code):
    events = [encode(event_document(number)) for number in range(25)]
    async with ScriptedServer(events=events, script=[None, None, Fail(code)], reply_events=10) as server:
        start = {"start_at": "2020-01-01T00:00:00Z"}
        async with open_source("shop.orders", uri=server.uri, **start) as source:
            async with read(source, "shop.orders") as reading:
                with pytest.raises(MongoDBError) as caught:
                    await reading.events(25)
                position = reading.position
            assert caught.value.transient
            async with read(source, "shop.orders", position) as reading:
                ids = [event.full_document["_id"] for event in await reading.events(15)]
    assert ids == list(range(10, 25))


# Words and remedies


@pytest.mark.parametrize(
    ("message", "kind", "words"),
    [
        ("bad auth : Authentication failed.", AuthenticationError, "password"),
        ("user is not allowed to do action [changeStream] on [shop.orders]", PrivilegeError, "grantRolesToUser"),
        ("not authorized on shop to execute command", PrivilegeError, "grantRolesToUser"),
        ("$changeStream is not allowed in this atlas tier", MongoDBError, "tier"),
        ("Unsupported stage: $changeStream", MongoDBError, "tier"),
        ("you are over your space quota, using 514 MB of 512 MB", ServerFailureError, "limits"),
        ("connection to cluster closed", ServerFailureError, "Atlas"),
    ],
)
def test_an_atlas_error_is_told_by_its_words(message, kind, words):
    error = error_of(8000, message)
    assert type(error) is kind
    assert words in error.remedy
    assert message.partition(" [")[0].rstrip(".") in str(error)
    assert ("password" in error.remedy) == (kind is AuthenticationError)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (2, "Invalid resume token: it is not one"),  # SecantusDB
        (9, "resume token string was not a valid hex string"),
        (2, "KeyString format error: Unknown type: 222"),
        (40647, "Bad resume token: _data of missing or of wrong type"),
    ],
)
def test_a_refused_token_is_a_lost_position_and_no_illegal_pipeline(code, message):
    assert isinstance(error_of(code, message), PositionLostError)


@pytest.mark.parametrize("server", ["mongod-5.0", "mongod-7.1"])
def test_a_pipeline_that_takes_the_token_away_is_no_lost_position(server):
    (entry,) = recorded(server, "error-token-projected-away")
    error = error_of(280, entry["reply"]["errmsg"])
    assert type(error) is IllegalPipelineError
    assert "was modified by the pipeline" in str(error)
    assert "keep _id" in error.remedy


def test_what_a_server_is_too_old_for_is_said_with_both_versions():
    options = recorded("mongod-5.0", "snapshot-options-of-newer-servers")
    assert len(options) == 3
    for entry in options:
        error = error_of(**_recorded(entry), version="5.0.7", features=EVERYTHING)
        assert type(error) is ServerTooOldError
        assert 'full_document = "whenAvailable" needs MongoDB 6.0' in str(error)
        assert "show_expanded_events = true needs MongoDB 6.0" in str(error)
        assert "$changeStreamSplitLargeEvent needs MongoDB 6.0.9 or 7.0" in str(error)
        assert str(error).endswith("is 5.0.7")
        assert error.remedy.startswith("Upgrade MongoDB")


@pytest.mark.parametrize(
    ("version", "lacks"), [("6.0.8", ["Split"]), ("6.0.9", []), ("7.1.0-alpha0", []), ("", []), ("odd", [])]
)
def test_only_what_the_server_lacks_is_named(version, lacks):
    error = error_of(40324, "Unrecognized pipeline stage name", version=version, features=EVERYTHING)
    assert (type(error) is ServerTooOldError) == bool(lacks)
    assert all(word in str(error) for word in lacks)
    assert "show_expanded_events" not in str(error)


def test_a_refusal_that_has_another_reason_keeps_it():
    (entry,) = recorded("mongod-5.0", "error-illegal-stage")
    error = error_of(**_recorded(entry), version="5.0.7", features=[])
    assert type(error) is IllegalPipelineError
    assert "$sort is not permitted" in str(error)


@pytest.mark.parametrize("server", ["mongod-5.0", "mongod-7.1"])
def test_what_cannot_be_watched_is_said_with_what_to_watch_instead(server):
    view, series, system, local = recorded(server, "snapshot-what-cannot-be-watched")
    for entry, what, instead in (
        (view, "rs.view is a view", "viewOn"),
        (series, "rs.ts is a time series collection", '"rs.*"'),
        (system, "rs.system.views belongs to the server", '"shop.*"'),
        (local, "local.x belongs to the server", '"shop.*"'),
    ):
        collection = entry["command"]["aggregate"]
        database = "local" if entry is local else "rs"
        error = error_of(**_recorded(entry), resource={"db": database, "collection": collection})
        assert type(error) is NotWatchableError
        assert what in str(error)
        assert instead in error.remedy


async def test_images_are_not_asked_of_a_server_that_does_not_know_them(open_source):
    async with (
        ScriptedServer(version="5.0.7") as server,
        open_source("shop.orders", uri=server.uri, full_document="required") as source,
    ):
        (error,) = await source.examine(Stream("p", "shop.orders"))
    assert type(error) is ServerTooOldError
    assert "collMod" not in error.remedy


# What no text may hold


def test_no_recorded_error_shows_a_token_a_document_or_a_command():
    for entry in RECORDED:
        error = error_of(**_recorded(entry))
        for text in (str(error), error.remedy):
            assert not TOKEN.search(text), entry
        assert "{" not in str(error)
        assert len(str(error)) < MOST + 200


NOT_AUTHORIZED = (
    'not authorized on shop to execute command { aggregate: "orders", pipeline: [ { $changeStream: { startAfter: '
    '{ _data: "8263A0" } } } ], cursor: {}, lsid: { id: UUID("4f3f5b6e-0000-4000-8000-3a3f5b6e0000") }, $clusterTime: '
    '{ clusterTime: Timestamp(1, 1), signature: { hash: BinData(0, AAAA), keyId: 7 } }, $db: "shop" }'
)


@pytest.mark.parametrize(
    ("message", "clause"),
    [
        (NOT_AUTHORIZED, "not authorized on shop to execute command"),
        ("Executor error during getMore :: caused by :: operation was interrupted", "operation was interrupted"),
        ("a :: caused by :: b :: caused by :: c. And more.", "c"),
        ("MongoDB 5.0.7 does not know shop.orders", "MongoDB 5.0.7 does not know shop.orders"),
        ("", "no reason given"),
        ("{ ok: 0 }", "no reason given"),
        ("two\nlines", "two"),
    ],
)
def test_a_message_is_shown_by_the_first_clause_of_its_cause(message, clause):
    assert first_clause(message) == clause


def test_a_token_that_is_shown_is_hashed_as_everywhere_else():
    data = "826B0DB2BD000000212B042C0100296E5A1004F993FEE0719D4754A085C40614A168D5"
    known = token_hash(ResumeToken(f'{{"_data":"{data}"}}'))
    assert first_clause(f"the token {data} is odd") == f"the token #{known} is odd"


WORDS = st.sampled_from([entry["reply"]["errmsg"] for entry in RECORDED] + [NOT_AUTHORIZED, "the token", "at", ""])
SHAPES = st.sampled_from(
    ["{}", '"{}"', "'{}'", '{{ _data: "{}" }}', '{{"_data": "{}"}}', "_data: {}", "token={}", "({})", "x{}", "[{}]"]
)
SECRETS = st.one_of(
    st.text("0123456789ABCDEF", min_size=40, max_size=400),
    st.text("0123456789abcdef", min_size=24, max_size=24),
    st.binary(min_size=40, max_size=90).map(lambda raw: b64encode(raw).decode()),
    st.uuids().map(str),
)


@given(before=WORDS, shape=SHAPES, secret=SECRETS, after=WORDS)
def test_no_message_lets_a_token_or_an_id_through(before, shape, secret, after):
    text = first_clause(f"{before} {shape.format(secret)} {after}")
    assert not any(secret[start : start + 24] in text for start in range(len(secret) - 23))
    assert len(text) <= MOST
    assert "\n" not in text


def test_a_damaged_token_is_not_quoted(open_source):
    source = open_source("shop.orders", uri="mongodb://h/")
    with pytest.raises(MongoDBError) as caught:
        source.position_after(Stream("p", "shop.orders"), '{"$oid": "customer-4711"}', None)
    assert "4711" not in str(caught.value)


def _recorded(entry):
    return {"code": entry["reply"]["code"], "message": entry["reply"]["errmsg"]}

"""The source `mongodb`: change streams, read as whole raw replies."""

import hashlib
import json
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from types import TracebackType
from typing import Annotated, Any, ClassVar, Literal, Self

import attrs
from bson import json_util
from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError, PyMongoError
from pymongo.read_preferences import make_read_preference
from rigatoni_core.api.batch import EventBatch, Heartbeat
from rigatoni_core.api.contracts import (
    ConfigLinter,
    Diagnosable,
    Finding,
    HealthCheck,
    IdentityRefresher,
    Source,
    TimeReader,
)
from rigatoni_core.api.decoder import Decoder
from rigatoni_core.api.errors import RigatoniError
from rigatoni_core.api.events import Definition, Position, Stream, Timestamp
from rigatoni_core.api.identity import Identity
from rigatoni_core.api.options import RECOMMENDED, Seconds, Secret, texts
from rigatoni_core.api.settings import Settings
from rigatoni_core.api.succession import ScopeReader
from rigatoni_core.api.times import parse_cluster_time

from rigatoni_mongodb.by_time import after_event
from rigatoni_mongodb.catalog import catalog_of
from rigatoni_mongodb.catalog_changes import changes_between, command
from rigatoni_mongodb.change_stream import DECODER, Reader
from rigatoni_mongodb.client_limits import (
    MARGIN,
    Turns,
    check_load_balancer,
    check_timeouts,
    is_short,
    shortage,
    size_for,
    time_to_reply,
)
from rigatoni_mongodb.cursor import PyMongoCursor, ReplyCursor
from rigatoni_mongodb.diagnosis.checks import Checks
from rigatoni_mongodb.diagnosis.examined import Examined
from rigatoni_mongodb.driver import Client, Driver, client_of, hosts_of_client
from rigatoni_mongodb.errors import NotAReplicaSetError, ServerFailureError, StalledStreamError
from rigatoni_mongodb.features import features_of, parse_version
from rigatoni_mongodb.identity import IdentityTracker
from rigatoni_mongodb.missing_collections import look_for_missing
from rigatoni_mongodb.pre_post_images import without_images
from rigatoni_mongodb.resume import Start, position_after, position_at
from rigatoni_mongodb.scope import Watch, parse_watches
from rigatoni_mongodb.scope_relations import included, shared
from rigatoni_mongodb.snapshots.reader import ChunkReader
from rigatoni_mongodb.snapshots.server import Server
from rigatoni_mongodb.snapshots.source import SnapshotSource
from rigatoni_mongodb.split_events import STAGE, Joiner
from rigatoni_mongodb.swaps import SwapDetector
from rigatoni_mongodb.translation import Deployment, translate
from rigatoni_mongodb.twins import may_send_twice
from rigatoni_mongodb.uri import check_uri, hosts_of, option_of, uri_advice
from rigatoni_mongodb.watchdog import Watchdog

SELECTION_TIMEOUT_MS = 10_000
"""Milliseconds to look for a server before an attempt fails and is retried, unless the URI sets it."""

_READ_MODES = {"primary": 0, "primaryPreferred": 1, "secondary": 2, "secondaryPreferred": 3, "nearest": 4}
_UNCERTAIN = ("$rand", "$sampleRate", "$$NOW", "$$CLUSTER_TIME", "$function")


def _check_uri(instance: object, attribute: "attrs.Attribute[Any]", value: Secret) -> None:
    check_uri(value.reveal())


def _check_watch(instance: object, attribute: "attrs.Attribute[Any]", value: Sequence[str]) -> None:
    parse_watches(value)


def _stages(value: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    return tuple(value)


def _check_start(instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    _start_time(value)


def _positive(instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if value <= 0:
        raise ValueError(f"{attribute.name} must be greater than 0, not {value}")


@attrs.define(kw_only=True)
class MongoDBSource(
    Source, SnapshotSource, ConfigLinter, HealthCheck, Diagnosable, IdentityRefresher, ScopeReader, TimeReader
):
    """Reads change streams of a replica set or sharded cluster, MongoDB 4.4 or newer, and what existed before them.

    Never writes to MongoDB.
    """

    uri: Annotated[Secret, "The deployment: mongodb://... or mongodb+srv://..., with all driver options"] = attrs.field(
        validator=_check_uri
    )
    watch: Annotated[
        tuple[str, ...], 'The streams: "shop.orders", "shop.ord_*", "shop.*" (a database), "*" (everything)'
    ] = attrs.field(converter=texts, validator=_check_watch)
    full_document: Annotated[
        Literal["default", "updateLookup", "whenAvailable", "required"], "The full document that updates carry"
    ] = attrs.field(default="default", metadata={RECOMMENDED: "updateLookup"})
    full_document_before_change: Annotated[
        Literal["off", "whenAvailable", "required"], "The pre-image that events carry"
    ] = "off"
    pipeline: Annotated[tuple[dict[str, Any], ...], "Stages that the server applies to the events"] = attrs.field(
        default=(), converter=_stages
    )
    show_expanded_events: Annotated[bool, "Also deliver DDL events: create, createIndexes, modify, … (6.0)"] = False
    start_at: Annotated[str, 'Where a fresh stream starts: "now", or a time such as "2026-11-23T14:00:00Z"'] = (
        attrs.field(default="now", validator=_check_start)
    )
    read_preference: Annotated[
        Literal["primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest"] | None,
        "The members to read from; default: the URI's, with tags and staleness",
    ] = None
    batch_size: Annotated[int, "The maximum number of events in one reply"] = attrs.field(
        default=1000, validator=_positive
    )
    max_await_time: Annotated[Seconds, "How long the server waits for events before it sends an empty reply"] = (
        attrs.field(default=1.0, validator=_positive)
    )
    comment: Annotated[str | None, "A comment for the server's log and profiler"] = None

    decoder: ClassVar[Decoder] = DECODER

    _owned: Client | None = attrs.field(default=None, init=False, repr=False)
    _driver: Driver | None = attrs.field(default=None, init=False, repr=False)
    _identity: IdentityTracker | None = attrs.field(default=None, init=False, repr=False)
    _version: str = attrs.field(default="", init=False, repr=False)
    _is_sharded: bool = attrs.field(default=False, init=False, repr=False)
    _server_time: Timestamp | None = attrs.field(default=None, init=False, repr=False)  # when the source was entered
    _pool_size: int = attrs.field(default=0, init=False, repr=False)
    _shortage: str = attrs.field(default="", init=False, repr=False)
    _missing: tuple[str, ...] = attrs.field(default=(), init=False, repr=False)
    _watchdogs: dict[str, Watchdog] = attrs.field(factory=dict, init=False, repr=False)
    _chunk_reader: ChunkReader | None = attrs.field(default=None, init=False, repr=False)

    @classmethod
    def using(cls, client: Any, **options: Any) -> Self:
        """Create a source on a client that the program owns, which the source never closes.

        Args:
            client: PyMongo's AsyncMongoClient or MongoClient, or Motor's AsyncIOMotorClient (the extra
                `rigatoni-mongodb[motor]`). A blocking client, such as the one inside Motor's, is called on threads.
            options: All options but `uri`.

        Raises:
            TypeError: It is another client.
        """
        owned = client_of(client)
        source = cls(uri=Secret(f"mongodb://{hosts_of_client(owned)}/"), **options)
        source._owned = owned
        return source

    async def __aenter__(self) -> Self:
        try:
            self._driver = self._new_driver()
            hello = await self._driver.command("hello")
            await self._driver.command("ping")
            self._version = await self._driver.version()
            self._identity = await IdentityTracker.behind(self._driver, hello, parse_watches(self.watch))
            self._missing = await look_for_missing(self._driver, parse_watches(self.watch))
        except PyMongoError as error:
            await self._close()
            raise self._translate(error, "connecting") from error
        except BaseException:
            await self._close()
            raise
        self._is_sharded = hello.get("msg") == "isdbgrid"
        if "setName" not in hello and not self._is_sharded:
            await self._close()
            raise NotAReplicaSetError(
                f"MongoDB at {hosts_of(self.uri.reveal())} is a standalone server, which has no change streams"
            )
        time = hello.get("operationTime")
        self._server_time = Timestamp(time.time, time.inc) if time is not None else None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    def _new_driver(self) -> Driver:
        """Create the driver. Raises `MongoDBConfigurationError` if the client's limits do not allow reading."""
        client = self._new_client() if self._owned is None else self._owned
        size, streams = int(client.options.pool_options.max_pool_size or 0), len(self.watch)
        self._pool_size = size
        driver = Driver(client, self._owned is None, Turns(size if is_short(size, streams) else 0))
        self._shortage = shortage(size, streams, self.max_await_time) if is_short(size, streams) else ""
        if self._shortage and self._owned is not None:  # a program does not see `advice`
            warnings.warn(self._shortage, RuntimeWarning, stacklevel=4)
        check_timeouts(client.options, self.max_await_time)
        check_load_balancer(client.options, size, streams)
        return driver

    def _new_client(self) -> AsyncMongoClient[Any]:
        uri = self.uri.reveal()
        options: dict[str, Any] = {"appname": "rigatoni"}
        if option_of(uri, "serverSelectionTimeoutMS") is None:
            options["serverSelectionTimeoutMS"] = SELECTION_TIMEOUT_MS
        if option_of(uri, "maxPoolSize") is None:
            options["maxPoolSize"] = size_for(len(self.watch))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # `advice` reports them
            try:
                return AsyncMongoClient(uri, **options)
            except OSError as error:  # ssl.SSLError is one
                raise ConfigurationError(f"a file that it names: {error.strerror or error}") from error

    async def streams(self) -> Sequence[str]:
        """See `Source`: one stream per entry of `watch`."""
        return list(self.watch)

    def definition(self, stream: Stream) -> Definition:
        """See `Source`: the options that decide which events the stream contains."""
        details = {
            "watch": stream.name,
            "full_document": self.full_document,
            "full_document_before_change": self.full_document_before_change,
            "show_expanded_events": self.show_expanded_events,
            "pipeline": json.loads(json_util.dumps(self.pipeline, json_options=json_util.CANONICAL_JSON_OPTIONS)),
        }
        text = json.dumps(details, sort_keys=True)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]
        identity = self._identity.identity(Watch.parse(stream.name)) if self._identity else Identity()
        return Definition(fingerprint, details, self._uncertain(), identity=identity)

    async def refresh_identity(self, stream: Stream) -> None:
        """See `IdentityRefresher`: list the collections of the stream's databases again."""
        watch = Watch.parse(stream.name)
        if self._identity is not None:
            try:
                await self._identity.look(watch)
            except PyMongoError as error:
                raise self._translate(error, str(stream), watch.resource) from error

    def recall(self, stream: Stream, recorded: Identity) -> None:
        """See `IdentityRefresher`: the collections of the stream, whose UUIDs are compared when it is read."""
        if self._identity is not None:
            self._identity.recall(Watch.parse(stream.name), recorded)

    def advice(self, settings: Settings) -> tuple[str, ...]:
        """Warn of filters that drop deletes, unknown options in the URI, and a pool that is too small.

        Once the source is entered, also warn of watched collections that do not exist. See `ConfigLinter`.
        """
        stages = [json_util.dumps(stage["$match"]) for stage in self.pipeline if "$match" in stage]
        dropping = [stage for stage in stages if '"fullDocument' in stage and '"operationType"' not in stage]
        filters = (
            "a $match on fullDocument drops every delete, and every update without a looked-up document: "
            'add {"operationType": "delete"} with $or if deletes matter',
        )
        pool = (self._shortage,) if self._shortage else ()
        return (*uri_advice(self.uri.reveal()), *pool, *(filters if dropping else ()), *self._missing)

    async def examine(self, stream: Stream) -> Sequence[RigatoniError]:
        """Check that the server supports the options in use, and records required images. See `HealthCheck`."""
        if too_old := self._server.too_old(str(stream)):
            return [too_old]
        if "required" not in (self.full_document, self.full_document_before_change):
            return ()
        assert self._driver is not None
        return await without_images(self._driver, Watch.parse(stream.name))

    def checks(
        self, settings: Settings, positions: Mapping[Stream, Position | None]
    ) -> Mapping[str, Callable[[], Awaitable[Sequence[Finding]]]]:
        """Return checks of the oplog, the server and the watched collections. See `Diagnosable`."""
        assert self._driver is not None
        mode = self.read_preference or self._driver.client.read_preference.name
        examined = Examined(
            driver=self._driver,
            hosts=hosts_of(self.uri.reveal()),
            version=self._version,
            is_sharded=self._is_sharded,
            watches=parse_watches(self.watch),
            full_document=self.full_document,
            full_document_before_change=self.full_document_before_change,
            reads_secondaries=mode.lower() != "primary",
            takes_snapshots=settings.takes_snapshots,
        )
        return Checks(examined, positions, self._translate).by_name

    def position_at(self, stream: Stream, time: Timestamp) -> Position:
        """Return the position of a time; see `Positioner`."""
        return position_at(time, self.definition(stream), self._server_time)

    def position_after(self, stream: Stream, token: str, time: Timestamp | None) -> Position:
        """Return the position after an event; see `Positioner`."""
        return position_after(token, time, self.definition(stream))

    def shared(self, scope: str, others: Collection[str]) -> Collection[frozenset[str]]:
        """See `ScopeReader`."""
        return shared(Watch.parse(scope), [Watch.parse(other) for other in others])

    def included(self, scope: str, events: EventBatch) -> Collection[int]:
        """See `ScopeReader`."""
        return included(Watch.parse(scope), events)

    def read(self, stream: Stream, *, after: Position | None) -> AsyncIterator[EventBatch | Heartbeat]:
        """See `Source`."""
        return self._reader(stream).read(after)

    def read_from_now(self, stream: Stream) -> AsyncIterator[EventBatch | Heartbeat]:
        """See `Source`."""
        return self._reader(stream, start_at="now").read(None)

    async def read_by_time(
        self, stream: Stream, *, position: Position, delivered: Position | None
    ) -> AsyncIterator[EventBatch | Heartbeat]:
        """Read from a cluster time; see `TimeReader`."""
        definition, place = self.definition(stream), delivered or position
        assert place.cluster_time is not None
        async with aclosing(self._reader(stream).read(position_at(place.cluster_time, definition))) as reading:
            if delivered is None:
                async for item in reading:
                    yield item
                return
            resumed = attrs.evolve(position, fingerprint=definition.fingerprint)
            async with aclosing(after_event(reading, delivered, resumed)) as following:
                async for item in following:
                    yield item

    def _reader(self, stream: Stream, *, start_at: str | None = None) -> Reader:
        watch = Watch.parse(stream.name)
        watchdog = self._watchdogs.setdefault(stream.name, self._new_watchdog(stream))

        async def open_cursor(start: Start) -> ReplyCursor:
            return await watchdog(self._open(watch, self._command(watch, start)))

        definition = self.definition(stream)
        return Reader(
            stream=stream,
            definition=definition,
            open=open_cursor,
            now=self._now,
            reply_events=self.batch_size,
            translate=lambda error: self._translate(error, str(stream), watch.resource),
            watchdog=watchdog,
            swaps=self._swap_detector(watch, definition),
            drops_twins=may_send_twice(sharded=self._is_sharded, version=parse_version(self._version)),
            start_at=_start_time(start_at or self.start_at),
            joiner=Joiner() if any(STAGE in stage for stage in self.pipeline) else None,
            look=partial(self._identity.look, watch) if self._identity else None,
        )

    def _swap_detector(self, watch: Watch, definition: Definition) -> SwapDetector:
        driver, identity = self._driver, self._identity
        assert driver is not None
        assert identity is not None

        async def open_cursor(start: Start) -> ReplyCursor:
            return await self._open(watch, command(watch, start))

        return SwapDetector(
            watch,
            definition,
            catalog=lambda: catalog_of(driver, watch),
            changes=partial(changes_between, open_cursor),
            sharded=self._is_sharded,
            filtered=bool(self.pipeline),
            compared=identity.compared(watch),
            remember=partial(identity.remember, watch),
        )

    async def _open(self, watch: Watch, command: dict[str, Any]) -> ReplyCursor:
        await_ms = max(1, int(self.max_await_time * 1000))
        return await self._open_cursor(watch.command_database, command, max_await_time_ms=await_ms)

    async def _open_cursor(
        self, database: str, command: dict[str, Any], *, primary: bool = False, max_await_time_ms: int | None = None
    ) -> ReplyCursor:
        """Run a command that opens a cursor with a batch size of 0; see `OpenCursor`."""
        assert self._driver is not None
        mode = "primary" if primary else self.read_preference
        return await PyMongoCursor.open(
            self._driver,
            database,
            {**command, "comment": self.comment} if self.comment else command,
            read_preference=make_read_preference(_READ_MODES[mode], None) if mode else None,
            max_await_time_ms=max_await_time_ms,
            comment=self.comment,
        )

    @property
    def _chunks(self) -> ChunkReader:
        if self._chunk_reader is None:
            assert self._driver is not None
            server = Server(
                driver=self._driver,
                open=self._open_cursor,
                now=self._known_time,
                sharded=self._is_sharded,
                stages=[json_util.object_hook(dict(stage)) for stage in self.pipeline],
                options=self._event_options,
            )
            self._chunk_reader = ChunkReader(server=server)
        return self._chunk_reader

    @property
    def _event_options(self) -> dict[str, Any]:
        """The options of `$changeStream` that decide which events exist and what they contain."""
        options: dict[str, Any] = {}
        if self.full_document != "default":
            options["fullDocument"] = self.full_document
        if self.full_document_before_change != "off":
            options["fullDocumentBeforeChange"] = self.full_document_before_change
        if self.show_expanded_events:
            options["showExpandedEvents"] = True
        return options

    def _command(self, watch: Watch, start: Start) -> dict[str, Any]:
        stage: dict[str, Any] = {**start.stage, **self._event_options}
        if watch.database is None:
            stage["allChangesForCluster"] = True
        stages = [json_util.object_hook(dict(stage)) for stage in self.pipeline]
        return {
            "aggregate": watch.command_target,
            "pipeline": [{"$changeStream": stage}, *watch.stages, *stages],
            "cursor": {"batchSize": 0},
        }

    async def _now(self) -> Timestamp | None:
        """Return the deployment's operation time."""
        assert self._driver is not None
        time = await self._driver.operation_time()
        return Timestamp(time.time, time.inc) if time is not None else None

    async def _known_time(self) -> Timestamp:
        """Return the deployment's operation time. Raises `ServerFailureError` if it is not reported."""
        if time := await self._now():
            return time
        raise ServerFailureError(f"MongoDB at {hosts_of(self.uri.reveal())} reports no operation time")

    def _uncertain(self) -> tuple[str, ...]:
        text = json_util.dumps(self.pipeline)
        reasons = [f"the pipeline uses {word}" for word in _UNCERTAIN if word in text]
        if self.full_document in ("updateLookup", "whenAvailable") and "fullDocument" in text:
            reasons.append("the pipeline depends on fullDocument, which is looked up again on every read")
        return tuple(reasons)

    def _translate(self, error: PyMongoError, what: str, resource: dict[str, Any] | None = None) -> RigatoniError:
        return translate(error, self._server, what=what, resource=resource)

    @property
    def _server(self) -> Deployment:
        features = features_of(
            full_document=self.full_document,
            full_document_before_change=self.full_document_before_change,
            show_expanded_events=self.show_expanded_events,
            splits=any(STAGE in stage for stage in self.pipeline),
        )
        return Deployment(hosts=hosts_of(self.uri.reveal()), version=self._version, features=features)

    def _new_watchdog(self, stream: Stream) -> Watchdog:
        def stalled(seconds: float) -> StalledStreamError:
            size = self._pool_size or "unlimited"
            return StalledStreamError(
                f"{stream}: no reply from MongoDB at {hosts_of(self.uri.reveal())} for {seconds:g} s, though "
                f"max_await_time is {self.max_await_time:g} s; maxPoolSize is {size} for {len(self.watch)} streams",
                remedy=f"Set maxPoolSize to at least {len(self.watch) + MARGIN}, and higher if the program also uses "
                "the client. Otherwise check the server's load: it may be scanning its oplog for the first event, for "
                "which the next attempt allows twice the time.",
            )

        return Watchdog(time_to_reply(self._pool_size, len(self.watch), self.max_await_time), stalled)

    async def _close(self) -> None:
        driver, self._driver = self._driver, None
        chunks, self._chunk_reader = self._chunk_reader, None
        if chunks is not None:
            chunks.close()
        if driver is not None:
            await driver.close()


def _start_time(text: str) -> Timestamp | None:
    """Return the cluster time of `start_at`; None for "now". Raises ValueError as `parse_cluster_time` does."""
    if text == "now":
        return None
    try:
        return parse_cluster_time(text)
    except ValueError as error:
        raise ValueError(f'start_at: {error}, or "now"') from None

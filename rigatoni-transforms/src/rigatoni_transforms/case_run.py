"""Runs cases: events through the transforms and the serializer of a pipeline, without its servers."""

import difflib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from itertools import accumulate
from typing import Any

import attrs
import bson
from bson import json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.timestamp import Timestamp as BsonTimestamp
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.components import fields_of
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import Serializer, Transform
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.events import Position, ResumeToken, Stream, Timestamp

from rigatoni_transforms.cases import FIELDS, Case, Given, named
from rigatoni_transforms.errors import CaseError

_SECONDS = 1_700_000_000
_START = Position(ResumeToken('{"_data":"00"}'), "", Timestamp(_SECONDS, 0))
_CODEC: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, tzinfo=UTC, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)


class CaseRunner:
    """Runs cases of one pipeline.

    Args:
        configuration: The pipeline; nothing of it is opened.
        streams: The names of its streams.

    Raises:
        CaseError: The pipeline reads another format than BSON.
    """

    def __init__(self, configuration: PipelineConfiguration, streams: Sequence[str]) -> None:
        self._configuration = configuration
        self._streams = streams
        if configuration.source.decoder.format != "bson":
            raise CaseError("the events of cases are BSON, and the source has another format")

    def failures(self, case: Case) -> Iterator[str]:
        """Run a case, and yield a description of each difference.

        Raises:
            CaseError: The case does not suit the pipeline.
        """
        name = case.stream or self._streams[0]
        if name not in self._streams:
            raise CaseError(f'"{case.name}": the pipeline has no stream {name}, only {", ".join(self._streams)}')
        stream = Stream(self._configuration.name, name)
        batch = self._batch(case, stream)
        transforms = [each for each in self._configuration.transforms if each.applies_to(stream)]
        delivered, rejected = _through(batch, transforms)
        text = b""
        if (serializer := _serializer(self._configuration)) is not None:
            delivered, text = _serialized(serializer, delivered, rejected)
        found = {number: bytes(delivered.raw(index)) for index, number in enumerate(delivered.indices)}
        for number, given in enumerate(case.events):
            before = bytes(batch.raw(number))
            difference = "".join(_difference(given, before, found.get(number), rejected.get(number)))
            if difference:
                yield f"event {number + 1}: {difference}" if len(case.events) > 1 else difference
        if case.output is not None:
            yield from _text_difference(case.output, text)

    def _batch(self, case: Case, stream: Stream) -> EventBatch:
        events = [self._event(given, number, stream, case) for number, given in enumerate(case.events)]
        offsets = array("Q", accumulate(map(len, events), initial=0))
        decoder = self._configuration.source.decoder
        return EventBatch.from_reply(_START, stream, memoryview(b"".join(events)), offsets, decoder)

    def _event(self, given: Given, number: int, stream: Stream, case: Case) -> bytes:
        namespace = given.namespace or stream.name
        if "*" in namespace:
            raise CaseError(
                f'"{case.name}": the stream {namespace} has several collections: give each event a namespace'
            )
        event = {
            "_id": {"_data": f"82{number:012X}"},
            "operationType": given.fields["operationType"],
            "clusterTime": BsonTimestamp(_SECONDS, number + 1),
            "ns": dict(named(namespace)),
            **given.fields,
        }
        try:
            return bson.encode(event)
        except Exception as error:  # values of TOML that BSON does not have
            raise CaseError(f'"{case.name}": event {number + 1} is no BSON: {error}') from None


def _through(batch: EventBatch, transforms: Sequence[Transform]) -> tuple[EventBatch, dict[int, Exception]]:
    """The batch after the transforms, and what was rejected, by index in the batch as it was given."""
    rejected: dict[int, Exception] = {}
    for transform in transforms:
        try:
            batch = transform.transform(batch)
        except RejectedEventsError as error:
            rejected |= {batch.indices[index]: reason for index, reason in error.events.items()}
            batch = transform.transform(batch.without(error.events))
    return batch, rejected


def _serializer(configuration: PipelineConfiguration) -> Serializer | None:
    """The serializer of the destination; of a compressing one that whose text it compresses."""
    destination: Any = configuration.destination
    for field in fields_of(type(destination)) if attrs.has(type(destination)) else ():
        found = getattr(destination, field.name)
        if isinstance(found, Serializer):
            inner = getattr(found, "inner", None)
            return inner if isinstance(inner, Serializer) else found
    return None


def _serialized(serializer: Serializer, batch: EventBatch, rejected: dict[int, Exception]) -> tuple[EventBatch, bytes]:
    """What the serializer makes of the batch. Events that it rejects are added to the others."""
    try:
        return batch, bytes(serializer.serialize(batch))
    except RejectedEventsError as error:
        rejected |= {batch.indices[index]: reason for index, reason in error.events.items()}
        rest = batch.without(error.events)
        return rest, bytes(serializer.serialize(rest))


def _difference(given: Given, before: bytes, after: bytes | None, reason: Exception | None) -> Iterator[str]:
    expected = given.expect
    if isinstance(expected, Mapping) and "rejected" in expected:
        if reason is None:
            yield f"expected to be rejected, but it was {'dropped' if after is None else 'delivered'}\n"
        elif str(expected["rejected"]) not in str(reason):
            yield f'rejected for another reason than "{expected["rejected"]}": {reason}\n'
        return
    if expected is None:
        return
    if reason is not None:
        yield f"rejected: {reason}\n"
    elif after is None:
        if expected != "dropped":
            yield "dropped\n"
    elif expected == "dropped":
        yield "expected to be dropped, but it was delivered\n"
    elif expected == "unchanged":
        yield from _diff(_decoded(before), _decoded(after)) if before != after else ()
    elif isinstance(expected, Mapping):
        yield from _diff(dict(expected), _parts(_decoded(after), expected))


def _decoded(event: bytes) -> dict[str, Any]:
    return bson.decode(event, _CODEC)


def _parts(event: dict[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of the event that are expected, under the names that cases use."""
    space = event.get("ns", {})
    found = {
        "row": event,
        "operation": event.get("operationType"),
        **{key: event.get(name) for key, name in FIELDS.items()},
    }
    found["namespace"] = ".".join(space[key] for key in ("db", "coll") if key in space)
    return {key: found[key] for key in expected}


def _diff(expected: Any, found: Any) -> Iterator[str]:
    """The lines that differ, as Extended JSON: with all types if the values look alike."""
    if _same(expected, found):
        return
    for options in (json_util.RELAXED_JSON_OPTIONS, json_util.CANONICAL_JSON_OPTIONS):
        left, right = (
            json_util.dumps(each, json_options=options, indent=2, sort_keys=True) for each in (expected, found)
        )
        if left != right:
            break
    yield from _lines(left, right)


def _text_difference(expected: str, found: bytes) -> Iterator[str]:
    try:
        text = found.decode()
    except UnicodeDecodeError:
        raise CaseError("the serializer writes no text: output cannot be compared") from None
    if expected.strip() != text.strip():
        yield "".join(_lines(expected.strip(), text.strip()))


def _lines(expected: str, found: str) -> Iterator[str]:
    lines = difflib.unified_diff(expected.splitlines(), found.splitlines(), "expected", "found", lineterm="", n=2)
    yield from (f"{line}\n" for line in lines)


def _same(expected: Any, found: Any) -> bool:
    """Whether two values are the same, with their types. An integer of TOML stands for int and long."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(_same(expected[key], found[key]) for key in expected)
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(_same, expected, found))
    if type(expected) is int and isinstance(found, int) and not isinstance(found, bool):
        return int(expected) == int(found)
    return type(expected) is type(found) and bool(expected == found)

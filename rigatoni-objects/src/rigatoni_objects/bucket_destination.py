"""The base class of destinations in a bucket of a cloud: a prefix, limits of requests, a settle time."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import attrs
from attrs import validators
from rigatoni_core.api.events import Stream
from rigatoni_core.api.options import Seconds
from rigatoni_core.api.settings import Settings

from rigatoni_objects.destination import ObjectDestination
from rigatoni_objects.quiescence import ClosingMark


def _check_prefix(instance: object, attribute: "attrs.Attribute[Any]", value: str) -> None:
    levels = value.strip("/").split("/") if value.strip("/") else []
    if not value.isprintable() or any(level in ("", ".", "..") for level in levels):
        raise ValueError("prefix must not have empty levels, the levels . or .., or control characters")


@attrs.define(kw_only=True)
class BucketDestination(ObjectDestination):
    """Writes objects below `prefix`. A subclass adds the bucket and its credentials; see `ObjectDestination`."""

    prefix: Annotated[str, "The prefix of all keys, such as `lake/raw`"] = attrs.field(
        default="", validator=_check_prefix
    )
    max_concurrent_uploads: Annotated[int, "Concurrent uploads of all streams together"] = attrs.field(
        default=16, validator=validators.ge(1)
    )
    connect_timeout: Annotated[Seconds, "How long to wait for a connection"] = attrs.field(
        default=10.0, validator=validators.gt(0)
    )
    read_timeout: Annotated[Seconds, "How long to wait for data during a request"] = attrs.field(
        default=30.0, validator=validators.gt(0)
    )
    settle_time: Annotated[
        Seconds, "How long a changed definition waits for requests of instances with the old one"
    ] = attrs.field(default=60.0, validator=validators.ge(0))

    carries_records: ClassVar[bool] = True
    limits: ClassVar[Mapping[str, float]] = {"batch_size": 100_000, "batch_bytes": 12 * 2**20, "batch_timeout": 60.0}

    def key_prefix(self, folder: str = "") -> str:
        """Return the prefix of all keys in this folder: empty, or with a trailing slash."""
        return "".join(f"{level}/" for level in (self.prefix.strip("/"), folder) if level)

    def quiescence(self, stream: Stream) -> ClosingMark:
        """See `ObjectDestination`: a closing mark and `settle_time`."""
        return ClosingMark(self.settle_time)

    def advice(self, settings: Settings) -> tuple[str, ...]:
        """Return recommendations about these settings; see `FileLayout.advice`."""
        return self.layout.advice(settings, least=30.0)

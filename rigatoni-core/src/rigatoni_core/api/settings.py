"""How a pipeline works: limits, delays and policies, with their defaults. Units: events, bytes, seconds."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import attrs
from attrs import validators

from rigatoni_core.api.options import ByteSize, Seconds, texts


def _positive(instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be greater than 0, not {value}")


def _not_negative(instance: object, attribute: "attrs.Attribute[Any]", value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{attribute.name} must not be negative: {value}")


@attrs.frozen(kw_only=True)
class RetrySettings:
    """The number and the delays of retries."""

    max_retries: Annotated[int, "How often a failed write is retried"] = attrs.field(default=8, validator=_not_negative)
    retry_delay: Annotated[Seconds, "Delay before the first retry; doubles with each, plus jitter"] = attrs.field(
        default=1.0, validator=_positive
    )
    max_retry_delay: Annotated[Seconds, "Longest delay between two attempts"] = attrs.field(
        default=30.0, validator=_positive
    )

    def __attrs_post_init__(self) -> None:
        if self.max_retry_delay < self.retry_delay:
            raise ValueError(
                f"max_retry_delay ({self.max_retry_delay}) is shorter than retry_delay ({self.retry_delay})"
            )


@attrs.frozen(kw_only=True)
class SnapshotSettings:
    """How the documents are read that exist before a stream begins."""

    mode: Annotated[
        Literal["never", "initial", "only", "on_request"],
        "`initial`: a new stream begins with a snapshot of what exists; `only`: the same, and the worker ends when "
        "it is done; `on_request`: only what `rigatoni snapshot start` requests; `never`: no snapshot. A stream that "
        "already runs never starts one by itself",
    ] = attrs.field(default="never", validator=validators.in_(("never", "initial", "only", "on_request")))
    collections: Annotated[
        tuple[str, ...], "The collections to read, such as `shop.orders`; all that are watched unless given"
    ] = attrs.field(default=(), converter=texts)
    operation: Annotated[
        Literal["read", "insert"], "The operation of a row; `insert` for readers that know no other"
    ] = attrs.field(default="read", validator=validators.in_(("read", "insert")))
    concurrency: Annotated[int, "Ranges of a stream that are read at the same time, at most"] = attrs.field(
        default=4, validator=(validators.ge(1), validators.le(64))
    )
    max_rate: Annotated[ByteSize | None, "Bytes of rows that a stream reads per second, at most"] = attrs.field(
        default=None,
        validator=validators.optional(_positive),
    )
    pause_when_lag: Annotated[Seconds, "The snapshot pauses while the stream lags by more than this"] = attrs.field(
        default=60.0, validator=(_positive, validators.le(240.0))
    )


@attrs.frozen(kw_only=True)
class Settings:
    """The settings of a pipeline, which apply to each of its workers."""

    batch_size: Annotated[int, "A batch is written at this many events"] = attrs.field(
        default=10_000, validator=_positive
    )
    batch_bytes: Annotated[ByteSize, "A batch is written at this size of its raw documents"] = attrs.field(
        default=ByteSize(8 * 2**20), validator=_positive
    )
    batch_timeout: Annotated[Seconds, "A batch is written when its first event has waited this long"] = attrs.field(
        default=5.0, validator=_positive
    )
    max_buffered_bytes: Annotated[ByteSize, "A worker stops reading while it holds this many bytes of events"] = (
        attrs.field(default=ByteSize(24 * 2**20), validator=_positive)
    )
    max_total_buffered_bytes: Annotated[
        ByteSize, "Bytes that all workers may hold together; never below max_buffered_bytes"
    ] = attrs.field(default=ByteSize(256 * 2**20), validator=_positive)
    write_timeout: Annotated[Seconds, "A write is abandoned after this long without progress"] = attrs.field(
        default=60.0, validator=_positive
    )
    shutdown_timeout: Annotated[Seconds, "A stop that takes longer than this abandons the remaining work"] = (
        attrs.field(default=30.0, validator=_positive)
    )
    idle_advance_interval: Annotated[Seconds, "An idle stream saves its position this often"] = attrs.field(
        default=10.0, validator=_not_negative
    )
    idle_commit_interval: Annotated[
        Seconds, "An idle stream commits its position to a transactional destination this often"
    ] = attrs.field(default=3600.0, validator=_positive)
    on_failure: Annotated[
        Literal["restart", "stop"] | None,
        "When retries are used up: keep trying (the default), or stop the worker (the default of `run --once`)",
    ] = attrs.field(default=None, validator=validators.in_((None, "restart", "stop")))
    on_lost_position: Annotated[
        Literal["stop", "restart_from_now", "snapshot"],
        "When the saved position is unusable: stop, or continue from now and record a gap; `snapshot` also reads what "
        "exists then",
    ] = attrs.field(default="stop", validator=validators.in_(("stop", "restart_from_now", "snapshot")))
    on_rejected: Annotated[
        Literal["dead_letter", "skip", "stop"] | None,
        "Events that cannot be written go into [pipeline.dead_letters] (the default if it is set), are left "
        "out, or stop the worker (the default otherwise)",
    ] = attrs.field(default=None, validator=validators.in_((None, "dead_letter", "skip", "stop")))
    on_mask_error: Annotated[
        Literal["stop", "redact"],
        "When a transform such as `mask` fails on an event: stop the worker, or put the place of the event into "
        "[pipeline.dead_letters], without its content",
    ] = attrs.field(default="stop", validator=validators.in_(("stop", "redact")))
    max_rejected: Annotated[int, "The worker stops when more of its last `rejected_window` events were rejected"] = (
        attrs.field(default=100, validator=_not_negative)
    )
    rejected_window: Annotated[int, "The smallest number of events over which rejected ones are counted"] = attrs.field(
        default=10_000, validator=_positive
    )
    max_unsaved_batches: Annotated[
        int, "Batches written without a saved checkpoint before the worker pauses, while the state store fails"
    ] = attrs.field(default=100, validator=_positive)
    lease_ttl: Annotated[Seconds, "A lease ends this long after its last renewal"] = attrs.field(
        default=30.0, validator=_positive
    )
    lease_renew_interval: Annotated[Seconds, "A lease is renewed this often"] = attrs.field(
        default=10.0, validator=_positive
    )
    lease_retry_interval: Annotated[Seconds, "A lease that another owner holds is requested this often"] = attrs.field(
        default=5.0, validator=_positive
    )
    retry: Annotated[RetrySettings, "How failed writes are retried"] = attrs.field(factory=RetrySettings)
    snapshot: Annotated[SnapshotSettings, "How the documents are read that exist before a stream begins"] = attrs.field(
        factory=SnapshotSettings
    )

    @classmethod
    def suiting(cls, limits: Mapping[str, float], **chosen: Any) -> "Settings":
        """Return the chosen settings, then the destination's recommended limits, then the defaults.

        Args:
            limits: The destination's recommended limits (`Destination.limits`).
            chosen: The user's settings, which take precedence.
        """
        suited: dict[str, Any] = {**limits, **chosen}
        if "batch_bytes" in limits and "batch_bytes" not in chosen and "max_buffered_bytes" in chosen:
            suited["batch_bytes"] = min(limits["batch_bytes"], chosen["max_buffered_bytes"])
        return cls(**suited)

    def __attrs_post_init__(self) -> None:
        if self.max_buffered_bytes < self.batch_bytes:
            raise ValueError(
                f"max_buffered_bytes ({self.max_buffered_bytes}) is smaller than batch_bytes ({self.batch_bytes}): "
                "a full batch would never fit"
            )
        if self.lease_renew_interval >= self.lease_ttl:
            raise ValueError(
                f"lease_renew_interval ({self.lease_renew_interval}) is not shorter than lease_ttl ({self.lease_ttl})"
            )

    @property
    def takes_snapshots(self) -> bool:
        """Whether streams may have snapshots."""
        return self.snapshot.mode != "never" or self.on_lost_position == "snapshot"

    def check_maximums(self, maximums: Mapping[str, float]) -> None:
        """Check that no setting is larger than the destination accepts.

        Args:
            maximums: The destination's limits (`Destination.maximums`).

        Raises:
            ValueError: A setting is larger.
        """
        for name, most in maximums.items():
            if (value := getattr(self, name)) > most:
                raise ValueError(f"{name} is {value:,.0f}, but the destination accepts at most {most:,.0f}")

    def failure_policy(self, *, once: bool) -> Literal["restart", "stop"]:
        """Return `on_failure`, or its default: a run that ends when it has caught up must not run forever.

        Args:
            once: Whether the run ends when it has caught up.
        """
        return self.on_failure or ("stop" if once else "restart")

    def rejection_policy(self, *, dead_letters: bool) -> Literal["dead_letter", "skip", "stop"]:
        """Return `on_rejected`, or its default.

        Args:
            dead_letters: Whether a destination for dead letters is configured.

        Raises:
            ValueError: The policy needs dead letters, but no destination for them is configured.
        """
        if self.on_rejected == "dead_letter" and not dead_letters:
            raise ValueError('on_rejected is "dead_letter", but [pipeline.dead_letters] is not configured')
        policy = self.on_rejected or ("dead_letter" if dead_letters else "stop")
        if self.on_mask_error == "redact" and policy != "dead_letter":
            raise ValueError(
                'on_mask_error is "redact", which needs [pipeline.dead_letters], and on_rejected = "dead_letter"'
            )
        return policy

"""The changes that a repair can make to a saved position."""

import json
from datetime import UTC, datetime
from typing import Any

import attrs

from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import Positioner, PositionKeeper, TransactionalKeeper
from rigatoni_core.api.errors import ConfigurationError, OtherDeploymentError
from rigatoni_core.api.events import Checkpoint, Gap, Position
from rigatoni_core.api.identity import Identity, proves_another
from rigatoni_core.api.records import load_checkpoint
from rigatoni_core.api.succession import SuccessionKeeper
from rigatoni_core.api.times import parse_time
from rigatoni_core.api.words import time_in_words
from rigatoni_core.cli.output import complain
from rigatoni_core.cli.state.components import looking, streams_of, whoami
from rigatoni_core.cli.state.history import record_of
from rigatoni_core.cli.state.repairs import Look, Plan
from rigatoni_core.engine.recognition import recognize
from rigatoni_core.engine.recovery import first_position

FORMAT = 1
"""The version of the export format."""


def set_position(time: str | None, token: str | None) -> Plan:
    """Resume at a time, or after a token. With a token, the time is the token's, if the token does not contain it."""
    at = parse_time("--at", time) if time is not None else None
    if at is None and token is None:
        raise ConfigurationError("the new position is missing", remedy="Pass --at TIME or --token TOKEN.")

    async def make(look: Look) -> Checkpoint:
        source = look.configuration.source
        if not isinstance(source, Positioner):
            raise ConfigurationError("this source cannot create positions", remedy="Use `rigatoni state import`.")
        if token is not None:
            position = source.position_after(look.stream, token, at)
        else:
            assert at is not None
            position = source.position_at(look.stream, at)
        await _reject_before_committed(look, position)
        return await _skipped(look, position) or _moved(look, position)

    return Plan(make, ("source", "destination"))


async def _reject_before_committed(look: Look, position: Position) -> None:
    """Reject a position from which the destination would not write changes again."""
    destination = look.configuration.destination
    if isinstance(destination, SuccessionKeeper) and (await destination.history(look.stream)).closed:
        raise ConfigurationError(
            f"{look.stream} is closed, because other streams continued it; once watched again, it continues those",
            remedy="Run the pipeline once, then set the position.",
        )
    committed = await destination.last_committed(look.stream) if isinstance(destination, PositionKeeper) else None
    if committed is not None and position.order < committed.order:
        raise ConfigurationError(
            f"{look.stream}: the destination records that it holds everything up to "
            f"{time_in_words(committed.cluster_time)}; earlier changes would be read, but not written again",
            remedy="Give the pipeline another name, or the destination another path or prefix, and set the position "
            "there to deliver them again.",
        )


def forget() -> Plan:
    """Clear the checkpoint."""

    async def make(look: Look) -> None:
        return None

    return Plan(make, unwatched=True)


def from_destination() -> Plan:
    """Restore the position that the destination records."""
    return Plan(_committed, ("destination",))


async def _committed(look: Look) -> Checkpoint | None:
    destination = look.configuration.destination
    if not isinstance(destination, PositionKeeper):
        raise ConfigurationError(
            "this destination does not record the positions of streams",
            remedy="Set positions with `rigatoni state set --at TIME`, or from a backup with `rigatoni state import`.",
        )
    position = await destination.last_committed(look.stream)
    if position is None:
        complain(f"{look.stream}: the destination has no position of this stream")
        return look.before
    before = look.before or Checkpoint(position)
    return attrs.evolve(before, position=position, delivered=position.of_event)


def confirmed_deployment() -> Plan:
    """Accept the deployment that the source reads now, at the same position or after a gap."""

    async def make(look: Look) -> Checkpoint | None:
        source, destination, stream = look.configuration.source, look.configuration.destination, look.stream
        kept, committed = Identity(), None
        if isinstance(destination, PositionKeeper):
            kept, committed = await destination.recorded_identity(stream), await destination.last_committed(stream)
        before = look.before or (Checkpoint(committed, delivered=committed.of_event) if committed else None)
        if before is None:
            return None
        if committed is not None and committed.order > before.position.order:
            before = attrs.evolve(before, position=committed, delivered=committed.of_event)
        present, saved = source.definition(stream).identity, before.identity
        try:
            recognize(stream, present, saved=saved, kept=kept)
        except OtherDeploymentError:
            gaps, identity = before.gaps, present.bounded().knowing(saved, kept)
            if proves_another(saved, present) or proves_another(kept, present):
                cause = f"another deployment, confirmed by {whoami()}"
                gaps = (*gaps, Gap(cause, before.position, await first_position(source.read_from_now(stream))))
            return attrs.evolve(before, identity=identity, gaps=gaps)
        return look.before

    return Plan(make, ("source", "destination"))


def imported(content: bytes, where: str) -> Plan:
    """Restore the checkpoints of an export. A stream that it does not contain keeps its checkpoint."""
    try:
        document = json.loads(content)
        version, records = document["format"], {record["stream"]: record for record in document["checkpoints"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{where} is not an export of positions: {error!r}", remedy="Name the output of `rigatoni state export`."
        ) from None
    if version > FORMAT:
        raise ConfigurationError(
            f"{where} has format {version}", remedy="Upgrade rigatoni-core: a newer version wrote it."
        )

    async def make(look: Look) -> Checkpoint | None:
        record = records.get(look.stream.name)
        return load_checkpoint(look.stream, json.dumps(record).encode(), where) if record else look.before

    return Plan(make)


async def exported(configuration: PipelineConfiguration) -> dict[str, Any]:
    """Return all checkpoints of a pipeline as plain JSON values."""
    state, streams = configuration.state, await streams_of(configuration, None)
    async with looking(state):
        checkpoints = [record_of(stream, await state.load_resume_token(stream)) for stream in streams]
    return {
        "format": FORMAT,
        "pipeline": configuration.name,
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": whoami(),
        "checkpoints": [record for record in checkpoints if record is not None],
    }


async def _skipped(look: Look, position: Position) -> Checkpoint | None:
    """Return the checkpoint with a gap up to `position`, which the worker commits to a transactional destination.

    A new position in the checkpoint alone would not apply, because the destination's own position is in force. Returns
    None for other destinations, or without a gap.
    """
    destination = look.configuration.destination
    committed = await destination.last_committed(look.stream) if isinstance(destination, TransactionalKeeper) else None
    if committed is None:
        return None
    before = look.before or Checkpoint(committed, delivered=committed.of_event)
    if position.order <= before.position.order:
        return None
    return attrs.evolve(before, gaps=(*before.gaps, _gap(before, position)))


def _gap(before: Checkpoint, position: Position) -> Gap:
    return Gap(f"set manually by {whoami()}", before.position, position)


def _moved(look: Look, position: Position) -> Checkpoint:
    """Return the checkpoint at another position, with a permanent gap if it is later."""
    if look.before is None:
        return Checkpoint(position, delivered=position.of_event)
    gaps = look.before.gaps
    if position.order > look.before.position.order:
        gaps = (*gaps, _gap(look.before, position))
    moved = attrs.evolve(look.before, position=position, delivered=position.of_event, gaps=gaps)
    return attrs.evolve(moved, gaps=gaps[:-1]) if moved.open_gap else moved  # moved to before the gap: none remains

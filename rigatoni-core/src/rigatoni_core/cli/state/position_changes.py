"""What a repair puts in the place of a saved position."""

import json
from datetime import UTC, datetime
from typing import Any

import attrs

from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import Positioner, PositionKeeper, TransactionalKeeper
from rigatoni_core.api.errors import ConfigurationError, OtherDeploymentError
from rigatoni_core.api.events import Checkpoint, Gap, Identity, Position, proves_another
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
"""The format of an export."""


def set_position(time: str | None, token: str | None) -> Plan:
    """Go on at a time, or after a token (then the time is the token's, for tokens that do not tell theirs)."""
    at = parse_time("--at", time) if time is not None else None
    if at is None and token is None:
        raise ConfigurationError("nobody said where to go on", remedy="Say --at TIME or --token TOKEN.")

    async def make(look: Look) -> Checkpoint:
        source = look.configuration.source
        if not isinstance(source, Positioner):
            raise ConfigurationError("this source cannot make positions by hand", remedy="Use `rigatoni state import`.")
        if token is not None:
            position = source.position_after(look.stream, token, at)
        else:
            assert at is not None
            position = source.position_at(look.stream, at)
        await _refuse_before_what_is_kept(look, position)
        return await _skipped(look, position) or _moved(look, position)

    return Plan(make, ("source", "destination"))


async def _refuse_before_what_is_kept(look: Look, position: Position) -> None:
    """Refuse to promise that changes are delivered again where the destination would not write them again."""
    destination = look.configuration.destination
    if isinstance(destination, SuccessionKeeper) and (await destination.history(look.stream)).closed:
        raise ConfigurationError(
            f"{look.stream} was closed when other streams continued it; when it is watched again, it continues these",
            remedy="Run the pipeline once, then set the position.",
        )
    committed = await destination.last_committed(look.stream) if isinstance(destination, PositionKeeper) else None
    if committed is not None and position.order < committed.order:
        raise ConfigurationError(
            f"{look.stream}: the destination keeps a record of what it holds, up to "
            f"{time_in_words(committed.cluster_time)}; changes before that would be read, but not written again",
            remedy="To deliver them again, give the pipeline another name, or the destination another path or prefix, "
            "and set the position there.",
        )


def forget() -> Plan:
    """No checkpoint at all."""

    async def make(look: Look) -> None:
        return None

    return Plan(make, unwatched=True)


def from_destination() -> Plan:
    """The position that the destination knows."""
    return Plan(_committed, ("destination",))


async def _committed(look: Look) -> Checkpoint | None:
    destination = look.configuration.destination
    if not isinstance(destination, PositionKeeper):
        raise ConfigurationError(
            "this destination does not know how far a stream has come",
            remedy="Set positions with `rigatoni state set --at TIME`, or from a backup with `rigatoni state import`.",
        )
    position = await destination.last_committed(look.stream)
    if position is None:
        complain(f"{look.stream}: the destination holds nothing of it")
        return look.before
    before = look.before or Checkpoint(position)
    return attrs.evolve(before, position=position, delivered=position.of_event)


def confirmed_deployment() -> Plan:
    """The deployment that the source reads now is the one to read: at the same position, or behind a gap."""

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
    """The checkpoints of an export; a stream that it does not hold keeps its own."""
    try:
        document = json.loads(content)
        version, records = document["format"], {record["stream"]: record for record in document["checkpoints"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{where} is no export of positions: {error!r}", remedy="Name a file that `rigatoni state export` printed."
        ) from None
    if version > FORMAT:
        raise ConfigurationError(f"{where} has format {version}", remedy="Upgrade rigatoni-core: a newer one wrote it.")

    async def make(look: Look) -> Checkpoint | None:
        record = records.get(look.stream.name)
        return load_checkpoint(look.stream, json.dumps(record).encode(), where) if record else look.before

    return Plan(make)


async def exported(configuration: PipelineConfiguration) -> dict[str, Any]:
    """All checkpoints of a pipeline as plain JSON values."""
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
    """The checkpoint with a gap up to `position`, which the worker commits to a transactional destination.

    Its position is in force, so the checkpoint's alone moves nothing. None for other destinations, or without a gap.
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
    return Gap(f"set by hand by {whoami()}", before.position, position)


def _moved(look: Look, position: Position) -> Checkpoint:
    """The checkpoint at another position; what a later one skips is a gap, for good."""
    if look.before is None:
        return Checkpoint(position, delivered=position.of_event)
    gaps = look.before.gaps
    if position.order > look.before.position.order:
        gaps = (*gaps, _gap(look.before, position))
    moved = attrs.evolve(look.before, position=position, delivered=position.of_event, gaps=gaps)
    return attrs.evolve(moved, gaps=gaps[:-1]) if moved.open_gap else moved  # back to before it: nothing is missing

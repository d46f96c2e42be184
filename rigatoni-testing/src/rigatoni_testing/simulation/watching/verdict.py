"""What becomes of the events of a few lives."""

import random
from collections import Counter
from collections.abc import Sequence

import attrs
from rigatoni_core.api.events import Timestamp
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.engine.pipeline import Pipeline, PipelineReport
from rigatoni_objects.paths import definition_path
from rigatoni_objects.records import DefinitionRecord

from rigatoni_testing.clock import run_virtual
from rigatoni_testing.serializers import TokenLines
from rigatoni_testing.simulation.watching.deployment import Deployment, LetterSource
from rigatoni_testing.simulation.watching.lives import DiedError, Life, Process
from rigatoni_testing.simulation.watching.objects import FolderDestination, Objects
from rigatoni_testing.simulation.watching.state import DyingStateStore

NAME = "p"


@attrs.frozen
class Verdict:
    """What became of the events, by token's number."""

    lost: tuple[int, ...]
    repeated: tuple[int, ...]
    errors: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was lost or repeated, and nothing failed."""
        return not (self.lost or self.repeated or self.errors)


def live(lives: Sequence[Life], seed: int = 0) -> Verdict:
    """Let these lives happen, then the last one once more without any fault; what became of the events."""
    return run_virtual(_live(lives, seed))


async def _live(lives: Sequence[Life], seed: int) -> Verdict:
    chance = random.Random(seed)  # noqa: S311 (no secret)
    deployment, objects = Deployment(), Objects(chance)
    state = DyingStateStore(process=Process(lives[0]))
    errors: list[str] = []
    for life in [*lives, Life(lives[-1].watch, ("abcd",)), Life(lives[-1].watch)]:
        process = Process(life)
        for transaction in life.transactions:
            deployment.write(transaction)
        errors += await _run(process, deployment, objects, state, chance)
    required = {name: _beginning(objects, name) for name in set("".join(lives[-1].watch))}
    delivered = Counter(
        token
        for key, (content, _) in objects.held.contents.items()
        if key.endswith(".txt")
        for token in TokenLines.tokens_in(content)
    )
    numbers = range(len(deployment.tokens))
    return Verdict(
        tuple(
            number
            for number in numbers
            if (begin := required.get(deployment.collections[number])) is not None
            and deployment.times[number] >= begin
            and not delivered[deployment.tokens[number]]
        ),
        tuple(number for number in numbers if delivered[deployment.tokens[number]] > 1),
        tuple(errors),
    )


async def _run(
    process: Process, deployment: Deployment, objects: Objects, state: DyingStateStore, chance: random.Random
) -> Sequence[str]:
    """One life; what it complains of, although it did not die."""
    state.process = process
    pipeline = Pipeline(
        name=NAME,
        source=LetterSource(deployment=deployment, process=process, chance=chance),
        destination=FolderDestination(serializer=TokenLines(), objects=objects, process=process),
        state=state,
        settings=Settings(
            batch_size=chance.choice([2, 4, 50]),
            batch_timeout=0.1,
            max_unsaved_batches=1000,
            retry=RetrySettings(max_retries=20),
        ),
    )
    try:
        report: PipelineReport = await pipeline.run(once=True)
    except DiedError:
        return ()
    failures = [outcome.error for outcome in report.workers.values() if outcome.error is not None]
    return [repr(error) for error in failures if not isinstance(error, DiedError)]


def _beginning(objects: Objects, name: str) -> Timestamp | None:
    """The cluster time at which the first stream began that covers this collection."""
    times = []
    for key, (content, _) in objects.held.contents.items():
        if key.endswith(definition_path(0)):
            record = DefinitionRecord.parse(content, key)
            if name in record.stream and record.anchor.cluster_time is not None:
                times.append(record.anchor.cluster_time)
    return min(times, default=None)

"""Events that cannot be written: dead letters, their order among the effects, policies, the breaker."""

import asyncio

import attrs
import pytest
from rigatoni_core.api.dead_letters import DeadLetter
from rigatoni_core.api.errors import (
    ConfigurationError,
    DeadLetterError,
    DestinationError,
    RejectedEventsError,
    RigatoniError,
    TooManyRejectedError,
    Transient,
)
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import EventsRejected
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.pipeline import Pipeline
from rigatoni_core.engine.rejection_policy import RejectionPolicy
from rigatoni_core.engine.transforming import Transformed
from rigatoni_testing.batches import batch_of, event_document, event_format
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.scripted import (
    HANG,
    Bucket,
    BucketDestination,
    FlakyStateStore,
    Log,
    RecordingDestination,
    ScriptedSource,
)


class DownError(DestinationError, Transient):
    pass


class PoisonError(RigatoniError):
    id = "poison"


def log_of(count, *poison):
    """A log in which the events of these numbers cannot be written."""
    documents = []
    for number in range(count):
        extra = {"fullDocument": {"_id": number, "poison": "private"}} if number in poison else {}
        documents.append(event_document(number, **extra))
    return Log(documents)


def poisoned(events, error=PoisonError):
    """The poison in a batch, by index."""
    return {index: error("no") for index in range(len(events)) if b"poison" in bytes(events.raw(index))}


@attrs.define(kw_only=True)
class Picky(RecordingDestination):
    """Rejects poison; `effects` tells in which order things happened."""

    effects: list = attrs.field(factory=list)
    error: type = PoisonError
    at_a_time: int = 1000

    async def write_batch(self, events):
        if rejected := poisoned(events, self.error):
            raise RejectedEventsError(dict(list(rejected.items())[: self.at_a_time]))
        answer = await RecordingDestination.write_batch(self, events)
        self.effects.append("batch")
        return answer


@attrs.define(kw_only=True)
class Letters(RecordingDestination):
    """Keeps dead letters as they can be read back."""

    effects: list = attrs.field(factory=list)
    letters: list = attrs.field(factory=list)

    async def write_batch(self, events):
        answer = await RecordingDestination.write_batch(self, events)
        documents = [event_format().document(events.raw(index)) for index in range(len(events))]
        self.letters += [(events.stream, DeadLetter.read(document)) for document in documents]
        self.effects.append("letter")
        return answer


@attrs.define(kw_only=True)
class ToldStateStore(FlakyStateStore):
    effects: list = attrs.field(factory=list)

    async def save_resume_token(self, stream, checkpoint):
        await FlakyStateStore.save_resume_token(self, stream, checkpoint)
        self.effects.append("checkpoint")


class Heard:
    def __init__(self):
        self.notices = []

    def notify(self, notice):
        self.notices.append(notice)


def pipeline(log, destination, dead_letters=None, *, state=None, heard=None, redact=str, source=None, **settings):
    return Pipeline(
        name="p",
        source=source or ScriptedSource(logs={"shop.orders": log}, reply_events=400, start=0),
        destination=destination,
        state=state or FlakyStateStore(),
        dead_letters=dead_letters,
        settings=Settings(**settings),
        listeners=[heard] if heard else [],
        redact=redact,
    )


def test_D5_one_event_of_a_thousand_becomes_a_dead_letter_and_the_rest_is_written_before_the_checkpoint():
    async def main():
        log, effects = log_of(1000, 567), []
        destination, letters = Picky(effects=effects), Letters(effects=effects)
        running = pipeline(log, destination, letters, state=ToldStateStore(effects=effects))
        report = await running.run(once=True)
        assert report.ok
        assert destination.tokens == log.tokens[:567] + log.tokens[568:]
        ((stream, letter),) = letters.letters
        assert stream == Stream("p.dead-letters", "shop.orders")
        assert letter.stream == Stream("p", "shop.orders")
        assert letter.event == log.raws[567]
        assert letter.position.resume_token == log.tokens[567]
        assert letter.position.cluster_time == log.times[567]
        assert (letter.plugin, letter.error, letter.error_id, letter.attempt) == (
            __name__.partition(".")[0],
            "PoisonError: no",
            "poison",
            1,
        )
        assert effects[:4] == ["checkpoint", "letter", "batch", "checkpoint"]  # the first is the anchor
        total = running.statistics.total
        assert (total.events, total.rejected, total.dead_letters) == (999, 1, 1)

    run_virtual(main())


def test_letters_are_remembered_until_their_batch_is_delivered_and_no_longer():
    """Else what is remembered would grow for as long as the process runs."""

    async def main():
        letters, batch = Letters(), batch_of([event_document(number) for number in range(3)])
        policy = RejectionPolicy(batch.stream, Settings(), letters, plugin="p", check=lambda: None, redact=str)
        rejected = {1: PoisonError("no")}
        for attempt in (1, 2):
            await policy.settle(Transformed(batch), rejected, attempt)
        assert len(letters.letters) == 1
        policy.delivered(batch, rejected)
        await policy.settle(Transformed(batch), rejected, 1)
        assert len(letters.letters) == 2

    run_virtual(main())


def test_D5_a_destination_that_names_one_at_a_time_ends_with_the_same_letters():
    async def main():
        log, letters = log_of(50, 0, 7, 8, 49), Letters()
        destination = Picky(at_a_time=1)
        assert (await pipeline(log, destination, letters).run(once=True)).ok
        assert [letter.event for _, letter in letters.letters] == [log.raws[number] for number in (0, 7, 8, 49)]
        assert destination.tokens == [token for number, token in enumerate(log.tokens) if number not in (0, 7, 8, 49)]

    run_virtual(main())


def test_D8_events_rejected_in_several_rounds_of_one_batch_count_together():
    async def main():
        log, heard = log_of(50, 0, 7, 8, 49), Heard()
        destination = Picky(at_a_time=1)
        assert (await pipeline(log, destination, Letters(), heard=heard, max_rejected=4).run(once=True)).ok
        assert [notice.events for notice in heard.notices if isinstance(notice, EventsRejected)] == [4]

        report = await pipeline(log, Picky(at_a_time=1), Letters(), max_rejected=3).run(once=True)
        assert isinstance(report.workers["shop.orders"].error, TooManyRejectedError)

    run_virtual(main())


@pytest.mark.parametrize("fault", [DownError("down"), HANG])
def test_D6_while_the_dead_letter_store_is_down_nothing_is_skipped_and_the_worker_is_failing(fault):
    async def main():
        log, state = log_of(30, 3, 20), FlakyStateStore()
        destination, letters = Picky(), Letters(before=[fault] * 25)
        running = pipeline(log, destination, letters, state=state, write_timeout=5.0, on_failure="restart")
        task = asyncio.create_task(running.run(once=True))
        await asyncio.sleep(200)
        assert running.statistics.total.errors["dead-letters-down"] >= 1
        assert "dead letters of p/shop.orders" in running.statistics.streams["shop.orders"].last_error.message
        assert destination.tokens == []
        assert {save.events for save in state.saves} == {0}
        assert (await task).ok
        assert [letter.event for _, letter in letters.letters] == [log.raws[3], log.raws[20]]
        assert letters.letters[0][1].attempt > 1
        assert destination.tokens == [token for number, token in enumerate(log.tokens) if number not in (3, 20)]
        assert running.statistics.total.rejected == 2

    run_virtual(main())


def test_D6_a_dead_letter_store_that_fails_for_good_stops_the_worker():
    async def main():
        state, destination = FlakyStateStore(), Picky()
        letters = Letters(before=[DestinationError("no right to write")])
        report = await pipeline(log_of(10, 3), destination, letters, state=state).run(once=True)
        error = report.workers["shop.orders"].error
        assert isinstance(error, DeadLetterError)
        assert str(error).startswith("dead letters of p/shop.orders cannot be written")
        assert str(error).endswith("no right to write")
        assert destination.tokens == []
        assert {save.events for save in state.saves} == {0}

    run_virtual(main())


def test_a_dead_letter_that_is_rejected_itself_stops_the_worker_and_goes_round_in_no_circle():
    async def main():
        destination, letters = Picky(), Picky()
        report = await pipeline(log_of(10, 3), destination, letters).run(once=True)
        error = report.workers["shop.orders"].error
        assert isinstance(error, DeadLetterError)
        assert destination.attempts == letters.attempts == 0
        assert "json" in error.remedy

    run_virtual(main())


def test_letters_that_are_durable_are_not_written_again_when_the_batch_is_tried_again():
    async def main():
        log, letters = log_of(20, *range(5, 10)), Letters(before=[None, None, DownError("down")])
        destination = Picky(before=[DownError("down")] * 3)
        assert (await pipeline(log, destination, letters).run(once=True)).ok
        assert [letter.event for _, letter in letters.letters] == log.raws[5:10]

    run_virtual(main())


def test_J7_a_batch_whose_events_are_all_rejected_still_claims_its_position():
    async def main():
        log, bucket, letters = log_of(20, *range(10)), Bucket(), Letters()

        class PickyBucket(BucketDestination):
            async def write_batch(self, events):
                if rejected := poisoned(events):
                    raise RejectedEventsError(rejected)
                return await BucketDestination.write_batch(self, events)

        state = FlakyStateStore()
        report = await pipeline(log, PickyBucket(bucket=bucket), letters, state=state, batch_size=5).run(once=True)
        assert report.ok
        assert bucket.tokens(Stream("p", "shop.orders")) == log.tokens[10:]
        assert [len(tokens) for _, (_, _, tokens) in sorted(bucket.objects.items())] == [0, 0, 5, 5]
        assert len(letters.letters) == 10
        assert state.saves[-1].events == 20

    run_virtual(main())


def test_D8_too_many_rejected_events_stop_the_worker_with_the_reason_before_they_fill_the_dead_letters():
    async def main():
        log, letters, destination, state = log_of(3000, *range(500, 3000)), Letters(), Picky(), FlakyStateStore()
        report = await pipeline(log, destination, letters, state=state, batch_size=50, max_rejected=120).run(once=True)
        error = report.workers["shop.orders"].error
        assert isinstance(error, TooManyRejectedError)
        assert str(error).startswith(
            "150 of the last 650 events of p/shop.orders were rejected, more than max_rejected"
        )
        assert str(error).endswith("the newest: no")
        assert len(letters.letters) == 100
        assert state.saves[-1].events == 600

    run_virtual(main())


def test_D8_a_few_among_many_never_stop_the_worker():
    async def main():
        poison = range(0, 5000, 50)
        log, letters = log_of(5000, *poison), Letters()
        settings = {"batch_size": 50, "max_rejected": 10, "rejected_window": 500}
        report = await pipeline(log, Picky(), letters, **settings).run(once=True)
        assert report.ok
        assert len(letters.letters) == len(poison)

    run_virtual(main())


def test_D8_the_attempts_of_one_batch_count_once():
    async def main():
        log, letters = log_of(100, *range(20)), Letters()
        destination = Picky(before=[DownError("down")] * 8)
        assert (await pipeline(log, destination, letters, max_rejected=20).run(once=True)).ok
        assert len(letters.letters) == 20

    run_virtual(main())


def test_without_dead_letters_rejected_events_stop_the_worker_with_a_remedy():
    async def main():
        destination, state, heard = Picky(), FlakyStateStore(), Heard()
        running = pipeline(log_of(10, 3), destination, state=state, heard=heard)
        report = await running.run(once=True)
        error = report.workers["shop.orders"].error
        assert isinstance(error, RejectedEventsError)
        assert "[pipeline.dead_letters]" in error.remedy
        assert destination.tokens == []
        assert {save.events for save in state.saves} == {0}
        assert [notice.action for notice in heard.notices if isinstance(notice, EventsRejected)] == ["stop"]

    run_virtual(main())


def test_skipped_events_are_left_out_and_counted_even_where_dead_letters_are_configured():
    async def main():
        log, destination, letters = log_of(10, 3), Picky(), Letters()
        running = pipeline(log, destination, letters, on_rejected="skip")
        assert (await running.run(once=True)).ok
        assert destination.tokens == log.tokens[:3] + log.tokens[4:]
        assert letters.letters == []
        assert (running.statistics.total.rejected, running.statistics.total.dead_letters) == (1, 0)

    run_virtual(main())


def test_asking_for_dead_letters_without_a_place_for_them_is_a_fault_of_the_configuration():
    with pytest.raises(ConfigurationError, match="on_rejected"):
        run_virtual(pipeline(log_of(1), Picky(), on_rejected="dead_letter").run(once=True))


@pytest.mark.parametrize("policy", ["dead_letter", "skip", "stop"])
def test_K3_notices_hold_neither_the_documents_content_nor_secrets_and_letters_no_secrets(policy):
    async def main():
        class Quoting(Exception):
            def __init__(self, _):
                super().__init__("'private' does not fit, said mongodb://user:sentinel@host")

        heard, letters = Heard(), Letters()
        running = pipeline(
            log_of(10, 3),
            Picky(error=Quoting),
            letters,
            heard=heard,
            redact=lambda text: text.replace("sentinel", "***"),
            on_rejected=policy,
        )
        report = await running.run(once=True)
        said = [str(getattr(notice, "error", "")) for notice in heard.notices]
        said += [repr(notice) for notice in heard.notices] + [str(outcome.error) for outcome in report.workers.values()]
        assert any("Quoting" in text for text in said)
        assert not any("sentinel" in str(getattr(notice, "error", "")) for notice in heard.notices)
        assert not any("private" in str(getattr(notice, "error", "")) for notice in heard.notices)
        for _, letter in letters.letters:
            assert letter.error == "Quoting: 'private' does not fit, said mongodb://user:***@host"
            assert letter.error_id == "Quoting"
        assert len(letters.letters) == (policy == "dead_letter")

    run_virtual(main())


def test_an_error_without_readable_text_is_no_obstacle():
    async def main():
        class Dumb(Exception):
            def __init__(self, _):
                super().__init__()

            def __str__(self):
                raise RuntimeError("no words")

        class Surrogate(Exception):
            def __init__(self, _):
                super().__init__("\ud800" * 20_000)

        for error in (Dumb, Surrogate):
            letters = Letters()
            assert (await pipeline(log_of(10, 3), Picky(error=error), letters).run(once=True)).ok
            assert letters.letters[0][1].error.startswith(error.__name__)
            assert len(letters.letters[0][1].error) <= 10_000

    run_virtual(main())

"""Dead letters read back and replayed: each once, marked, whatever fails in between."""

import attrs
import pytest
from bson import decode
from rigatoni_core.api.configuration import PipelineConfiguration
from rigatoni_core.api.contracts import ReadBack
from rigatoni_core.api.dead_letters import DeadLetter, kept_letters
from rigatoni_core.api.errors import (
    ConfigurationError,
    DestinationError,
    RejectedEventsError,
    Transient,
    UnreadableError,
)
from rigatoni_core.api.events import Stream
from rigatoni_core.api.settings import RetrySettings, Settings
from rigatoni_core.builtin.memory import MemoryStateStore
from rigatoni_core.engine.single_event_writer import SingleEventWriter
from rigatoni_ops.replayer import Replayer
from rigatoni_testing.batches import TestDecoder, batch_of, event_document
from rigatoni_testing.clock import run_virtual
from rigatoni_testing.commands import RecordingApplication
from rigatoni_testing.scripted import Bucket, BucketDestination, RecordingDestination, ScriptedSource

STREAM = Stream("p", "shop.orders")
DECODER = TestDecoder()
WHOLE = batch_of((event_document(number) for number in range(6)), stream=STREAM)
LETTERS = [
    DeadLetter.of(WHOLE, index, ValueError("no"), plugin="acme", attempt=1, redact=str) for index in range(len(WHOLE))
]


class DownError(DestinationError, Transient):
    pass


@attrs.define(kw_only=True)
class Readable(RecordingDestination, ReadBack):
    """Keeps every document, repeats too, and gives them back."""

    documents: list = attrs.field(factory=list)

    async def write_batch(self, events):
        answer = await RecordingDestination.write_batch(self, events)
        self.documents += [(events.stream.pipeline, decode(events.raw(index))) for index in range(len(events))]
        return answer

    def as_read_back(self, events):
        return [decode(events.raw(index)) for index in range(len(events))]

    async def read_back(self, pipeline):
        for name, document in self.documents:
            if name == pipeline:
                yield document


async def keep(letters, destination):
    side = SingleEventWriter(STREAM.beside("dead-letters"), destination)
    for letter in letters:
        await side.write(letter.position, letter.document(DECODER), DECODER)


async def status(destination, found=None):
    """The letters, each with whether it was replayed; in `found`, also where this fails in the end."""
    found = [] if found is None else found
    async for each in kept_letters(destination, "p"):
        found.append(each)
    return found


def replayer_of(destination, dead_letters, settings=None):
    configuration = PipelineConfiguration(
        name="p",
        source=ScriptedSource(logs={}),
        destination=destination,
        state=MemoryStateStore(),
        dead_letters=dead_letters,
        settings=settings or Settings(),
    )
    return Replayer(RecordingApplication(configuration), configuration)


async def replayed(replayer, letters):
    return [(letter, error) async for letter, error in replayer.replay(letters)]


def test_letters_come_back_once_each_and_say_whether_they_were_replayed():
    async def main():
        kept, bucket = Readable(), Bucket()
        await keep([*LETTERS, *LETTERS[:2]], kept)  # this destination holds repeats
        assert await status(kept) == [(letter, False) for letter in LETTERS]
        replayer = replayer_of(BucketDestination(bucket=bucket), kept)
        assert await replayed(replayer, LETTERS[3:]) == [(letter, None) for letter in LETTERS[3:]]
        assert await status(kept) == [(letter, number >= 3) for number, letter in enumerate(LETTERS)]
        tokens = [letter.position.resume_token for letter in LETTERS]
        assert bucket.tokens(STREAM.beside("replayed")) == tokens[3:]
        assert bucket.tokens(STREAM) == []

    run_virtual(main())


def test_replaying_again_and_in_any_order_changes_nothing():
    async def main():
        kept, bucket = Readable(), Bucket()
        for letters in (LETTERS[4:], LETTERS[:2], LETTERS, LETTERS[::-1]):
            await replayed(replayer_of(BucketDestination(bucket=bucket), kept), letters)
        tokens = [letter.position.resume_token for letter in LETTERS]
        assert bucket.tokens(STREAM.beside("replayed")) == tokens

    run_virtual(main())


def test_trouble_is_retried_and_what_is_rejected_again_waits_and_holds_up_nobody():
    async def main():
        class Picky(BucketDestination):
            async def write_batch(self, events):
                if events.token_and_time(0)[0] == LETTERS[1].position.resume_token:
                    raise RejectedEventsError({0: ValueError("private")})
                return await BucketDestination.write_batch(self, events)

        bucket, kept = Bucket(), Readable(before=[DownError("down")])
        await_errors = [None, DownError("down"), None, None, DownError("the answer is lost")]
        replayer = replayer_of(Picky(bucket=bucket, after=await_errors), kept)
        outcomes = await replayed(replayer, LETTERS)
        assert [letter.id for letter, error in outcomes if error] == [LETTERS[1].id]
        assert "private" not in str(outcomes[1][1])
        tokens = [letter.position.resume_token for letter in LETTERS]
        assert bucket.tokens(STREAM.beside("replayed")) == [tokens[0], *tokens[2:]]
        await keep(LETTERS, kept)
        assert [letter.id for letter, done in await status(kept) if not done] == [LETTERS[1].id]

    run_virtual(main())


def test_trouble_that_lasts_ends_the_replay_with_its_error_and_leaves_the_rest_waiting():
    async def main():
        kept, bucket = Readable(), Bucket()
        await keep(LETTERS, kept)
        settings = Settings(retry=RetrySettings(max_retries=2))
        destination = BucketDestination(bucket=bucket, before=[None, None] + [DownError("down")] * 3)
        with pytest.raises(DownError):
            await replayed(replayer_of(destination, kept, settings), LETTERS)
        assert [done for _, done in await status(kept)] == [True, True, False, False, False, False]

    run_virtual(main())


def test_what_is_no_letter_is_told_after_the_letters():
    async def main():
        kept = Readable()
        await keep(LETTERS[:1], kept)
        newer = decode(LETTERS[1].document(DECODER))
        newer["deadLetter"]["format"] = 99
        strange = {"strange": 1}
        kept.documents += [("p.dead-letters", strange), ("p.dead-letters", newer), ("p.replay-marks", strange)]
        await keep(LETTERS[2:3], kept)
        found = []
        with pytest.raises(UnreadableError, match="3 errors"):
            await status(kept, found)
        assert found == [(LETTERS[0], False), (LETTERS[2], False)]

    run_virtual(main())


def test_a_destination_that_can_not_be_read_back_is_said():
    with pytest.raises(ConfigurationError, match="cannot be read back") as caught:
        run_virtual(status(RecordingDestination()))
    assert "local" in caught.value.remedy

"""Random runs of the delivery protocol over any store, with random layouts, rejections and kills."""

import os
import random
from collections.abc import Callable, Sequence

from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.errors import RejectedEventsError
from rigatoni_core.api.events import Definition, ResumeToken, Stream
from rigatoni_objects.chain import Chain
from rigatoni_objects.file_layout import FileLayout
from rigatoni_objects.listing import all_keys
from rigatoni_objects.quiescence import Quiescence
from rigatoni_objects.store import ObjectStore, Record

from rigatoni_testing.batches import START, batch_of, event_document
from rigatoni_testing.serializers import TokenLines

STREAM = Stream("p", "*")
TEMPLATES = ("", "{database}", "{collection}", "{field:user}/{date}", "{date}/{hour}", "x/{field:user}", "{year}")
EVENTS = 24

_SUFFIX = TokenLines.suffix


def rounds(usual: int) -> int:
    """Return how many random runs a test makes.

    Args:
        usual: The number, unless the environment variable `RIGATONI_ROUNDS` sets another one.
    """
    return int(os.environ.get("RIGATONI_ROUNDS", usual))


class Killed(BaseException):
    """The process died."""


class Mortal(ObjectStore):
    """Wraps a store; the process dies right before its `dies_at`-th create (None: never)."""

    def __init__(self, store: ObjectStore, dies_at: int | None) -> None:
        self._store = store
        self._left = dies_at
        self.metadata_limit, self.ordered = store.metadata_limit, store.ordered
        self.folds_case, self.key_limit = store.folds_case, store.key_limit

    def create(self, key: str, content: bytes | memoryview, *, media_type: str, record: Record) -> bool:
        """See `ObjectStore`."""
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                raise Killed
        return self._store.create(key, content, media_type=media_type, record=record)

    def head(self, key: str) -> Record | None:
        """See `ObjectStore`."""
        return self._store.head(key)

    def read(self, key: str) -> bytes | None:
        """See `ObjectStore`."""
        return self._store.read(key)

    def keys(self, prefix: str, *, after: str = "", limit: int) -> Sequence[str]:
        """See `ObjectStore`."""
        return self._store.keys(prefix, after=after, limit=limit)

    def make_durable(self, keys: Sequence[str]) -> None:
        """See `ObjectStore`."""
        self._store.make_durable(keys)

    def delete(self, keys: Sequence[str]) -> None:
        """See `ObjectStore`."""
        self._store.delete(keys)


def check_random_run(
    seed: int,
    template: str,
    make: Callable[[], tuple[ObjectStore, Quiescence]],
    *,
    folds_case: bool = False,
) -> None:
    """Run a stream into an empty place with random batch sizes, poison and kills, then check every object.

    Args:
        seed: Seed of the run.
        template: The layout's `folder_template`.
        make: Returns the store and policy of the same place; each call stands for a new process.
        folds_case: Whether the store ignores case in names.

    Raises:
        AssertionError: An event is lost, repeated, out of order or in the wrong folder.
    """
    chance = random.Random(seed)  # noqa: S311 (no secret)
    layout = FileLayout(
        TokenLines(), folder_template=template, max_objects=chance.choice([2, 1000]), folds_case=folds_case
    )
    whole, poison = _events(chance)
    tokens = [whole.token_and_time(index)[0] for index in range(len(whole))]
    letters: set[ResumeToken] = set()
    for _ in range(500):
        store, quiescence = make()
        chain = Chain(Mortal(store, chance.choice([None, 1, 2, 3, 4, 5, 6])), STREAM, layout, quiescence)
        try:
            _deliver_all(chain, whole, chance, letters)
            break
        except Killed:
            continue
    else:
        raise AssertionError("the run never ends")
    found = {key: _tokens_in(store, key) for key in all_keys(store, "") if key.endswith(_SUFFIX)}
    delivered = [token for inside in found.values() for token in inside]
    assert sorted(delivered) == sorted(set(tokens) - poison), "each serializable event is written once"
    assert letters == poison, "every other event is a dead letter"
    for key, inside in found.items():
        assert inside == sorted(inside, key=tokens.index), f"the events in {key} are in order"
        for token in inside:
            (part,) = layout.parts(whole[tokens.index(token) : tokens.index(token) + 1])
            assert part.path.rpartition("/")[0] == key.rpartition("/")[0], f"{key} holds an event of {part.path}"


def _events(chance: random.Random) -> tuple[EventBatch, set[ResumeToken]]:
    """Returns events of several databases, collections, users and hours, and the tokens of the poison."""
    documents, poisoned, seconds = [], set[int](), 1_700_000_000
    for number in range(EVENTS):
        seconds += chance.choice([0, 0, 1, 1800])
        if chance.random() < 0.2:
            poisoned.add(number)
        document = {
            "_id": number,
            "value": TokenLines.POISON if number in poisoned else number,
            "user": chance.choice(["u1", "U1", "ü", None]),
        }
        database, collection = chance.choice("xy"), chance.choice("ab")
        documents.append(
            event_document(number, seconds=seconds, database=database, collection=collection, fullDocument=document)
        )
    whole = batch_of(documents, stream=STREAM)
    return whole, {whole.token_and_time(number)[0] for number in poisoned}


def _deliver_all(chain: Chain, whole: EventBatch, chance: random.Random, letters: set[ResumeToken]) -> None:
    position = chain.begin(Definition("fingerprint", {}), chain.last_committed() or START)
    last = whole.index_of(position.resume_token)
    index = 0 if last is None else last + 1
    while index < len(whole):
        index += _deliver(chain, whole, index, min(index + chance.randint(1, 12), len(whole)), letters)


def _deliver(chain: Chain, whole: EventBatch, start: int, stop: int, letters: set[ResumeToken]) -> int:
    """Deliver as the worker does: dead letters first, then the rest. Returns the number of events delivered."""
    batch, rejected = whole[start:stop], set[int]()
    while True:
        try:
            end = chain.write(batch.without(rejected) if rejected else batch)
        except RejectedEventsError as error:
            kept = [index for index in range(len(batch)) if index not in rejected]
            rejected |= {kept[index] for index in error.events}
            letters |= {batch.token_and_time(index)[0] for index in rejected}
            continue
        if end is None:
            return len(batch)
        last = whole.index_of(end.resume_token)
        assert last is not None
        batch, rejected = whole[start : last + 1], set()


def _tokens_in(store: ObjectStore, key: str) -> list[ResumeToken]:
    content = store.read(key)
    assert content is not None
    return TokenLines.tokens_in(content)

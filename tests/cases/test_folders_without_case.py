"""A file system that takes two names for one (letter case, Unicode forms) loses no event."""

import os
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rigatoni_core.api.events import Definition
from rigatoni_local.destination import LocalDestination
from rigatoni_testing.batches import START, STREAM, batch_of, event_document
from rigatoni_testing.serializers import TokenLines

DEFINITION = Definition("fingerprint", {"watch": "shop.orders"})
VALUES = ["DE", "de", "DE", "De", "FR", "café", "cafe\u0301", "CAFÉ", "ß", "SS", "straße", "STRASSE"]


@pytest.fixture
def without_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that behaves as one of macOS: names are kept as given, and found whatever their case and form.

    FAKE: below this folder every call of `os` is given the name that exists already. CI has no such file system.
    """
    root = tmp_path / "folded"
    root.mkdir()
    listdir = os.listdir

    def fold(name: str) -> str:
        return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())

    def real(path: Any) -> Any:
        if not isinstance(path, (str, os.PathLike)) or root not in Path(path).parents:
            return path
        found = root
        for name in Path(path).relative_to(root).parts:
            names = listdir(found) if found.is_dir() else []
            found /= next((other for other in names if fold(other) == fold(name)), name)
        return str(found)

    def folded(call: Callable[..., Any], paths: int) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            return call(*map(real, args[:paths]), *args[paths:], **kwargs)

        return called

    for name in ("open", "stat", "lstat", "mkdir", "unlink", "rmdir", "listdir", "scandir", "utime", "access"):
        monkeypatch.setattr(os, name, folded(getattr(os, name), 1))
    for name in ("link", "rename", "replace", "symlink"):
        monkeypatch.setattr(os, name, folded(getattr(os, name), 2))
    return root


@pytest.mark.parametrize("layout", [{"partition_by": ("field:country",)}, {"folder_template": "{field:country}/x"}])
async def test_values_that_differ_by_case_alone_lose_nothing(without_case, layout):
    """c02: `DE` and `de` in one batch, and in two."""
    batch = batch_of([event_document(n, fullDocument={"_id": n, "country": name}) for n, name in enumerate(VALUES)])
    more = batch_of(
        [event_document(20 + n, fullDocument={"_id": n, "country": name}) for n, name in enumerate(reversed(VALUES))],
        after=batch.end,
    )
    destination = LocalDestination(path=without_case / "lake", serializer=TokenLines(), **layout)
    async with destination:
        await destination.begin(STREAM, DEFINITION, START)
        assert await destination.write_batch(batch) is None
        assert await destination.write_batch(more) is None
        assert (await destination.last_committed(STREAM)).order == more.end.order
    paths = [path for path in without_case.rglob("*.txt") if "_rigatoni" not in path.parts]
    written = Counter(token for path in paths for token in TokenLines.tokens_in(path.read_bytes()))
    expected = [events.token_and_time(index)[0] for events in (batch, more) for index in range(len(events))]
    assert written == Counter(expected)


async def test_a_batch_is_found_and_completed_again_there(without_case):
    """c02: the same batch once more, as after a crash."""
    batch = batch_of([event_document(n, fullDocument={"_id": n, "country": name}) for n, name in enumerate(VALUES)])
    for _ in range(2):
        lake = LocalDestination(path=without_case / "lake", serializer=TokenLines(), partition_by=("field:country",))
        async with lake:
            await lake.begin(STREAM, DEFINITION, START)
            assert await lake.write_batch(batch) is None
    paths = [path for path in without_case.rglob("*.txt") if "_rigatoni" not in path.parts]
    assert sum(len(TokenLines.tokens_in(path.read_bytes())) for path in paths) == len(VALUES)

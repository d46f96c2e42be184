"""The public API changes only where somebody sees it, and its types serve those who write plugins."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SAMPLE = """
from typing import Annotated, ClassVar
import attrs
from rigatoni_core.api.batch import EventBatch
from rigatoni_core.api.contracts import Delivery, Destination, DestinationMetadata, Serializer
from rigatoni_core.api.events import ChangeEvent, Position
from rigatoni_core.api.options import Secret

@attrs.define(kw_only=True)
class Acme(Destination):
    uri: Annotated[Secret, "Where Acme listens"]
    serializer: Annotated[Serializer, "How events become bytes"]
    delivery: ClassVar[Delivery] = Delivery.AT_LEAST_ONCE

    async def write_batch(self, events: EventBatch) -> Position | None:
        first: ChangeEvent = events[0]
        rest: EventBatch = events[1:]
        content: bytes | memoryview = self.serializer.serialize(rest)
        return None

    def metadata(self) -> DestinationMetadata:
        return DestinationMetadata("acme", self.delivery)

async def use() -> None:
    async with Acme(uri=Secret("x"), serializer=make()) as entered:
        closed: Acme = entered

def make() -> Serializer: ...
"""
WRONG = {
    "a method with another answer": ("-> Position | None:", "-> str | None:", "[override]"),
    "a missing method": ("def metadata", "def metadate", "[abstract]"),
    "a required option that is not given": ('uri=Secret("x"), ', "", "[call-arg]"),
    "an event that is taken for a batch": (
        "rest: EventBatch = events[1:]",
        "rest: EventBatch = events[1]",
        "[assignment]",
    ),
    "an option of another type": ('Secret("x")', '"x"', "[arg-type]"),
}


def types_of(folder, code):
    (folder / "acme.py").write_text(code)
    command = [sys.executable, "-m", "mypy", "--strict", "--disable-error-code=empty-body", "acme.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_public_api_is_as_listed():
    command = [sys.executable, str(ROOT / "tests" / "public_api.py"), "--check"]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, f"{answer.stdout}\nmeant? python tests/public_api.py writes the list anew"


def test_a_plugin_with_types_passes_strict_mypy(tmp_path):
    answer = types_of(tmp_path, SAMPLE)
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize(("right", "wrong", "code"), WRONG.values(), ids=list(WRONG))
def test_mypy_sees_what_an_author_gets_wrong(tmp_path, right, wrong, code):
    assert right in SAMPLE
    answer = types_of(tmp_path, SAMPLE.replace(right, wrong))
    assert answer.returncode == 1
    assert code in answer.stdout, answer.stdout

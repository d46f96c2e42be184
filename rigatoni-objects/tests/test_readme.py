"""The example store of the README passes the contract suites."""

import re
from pathlib import Path

import attrs
import pytest
from rigatoni_testing.contracts import DestinationContract, ObjectStoreContract, Place
from rigatoni_testing.serializers import TokenLines

TEXT = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
(CODE,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
NAMES: dict = {"__name__": "rigatoni_readme"}
exec(compile(CODE, "README.md", "exec"), NAMES)


class TestStore(ObjectStoreContract):
    @pytest.fixture
    def make(self, tmp_path):
        return lambda: NAMES["TableStore"](str(tmp_path / "objects.db"), "p/shop.orders")


class TestDestination(DestinationContract):
    @pytest.fixture
    def place(self, tmp_path):
        database = str(tmp_path / "objects.db")

        async def written(stream):
            store = NAMES["TableStore"](database, stream.key)
            keys = [key for key in store.keys("", limit=10_000) if key.endswith(".txt")]
            return [token for key in keys for token in TokenLines.tokens_in(store.read(key))]

        options = {"database": database, "serializer": TokenLines(), "settle_time": 0.0}
        return Place(lambda: NAMES["TableDestination"](**options), written)


def test_a_store_takes_few_lines():
    assert attrs.has(NAMES["TableDestination"])
    lines = [line for line in CODE.splitlines() if line.strip()]
    assert len(lines) < 66

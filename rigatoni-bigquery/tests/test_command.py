"""`rigatoni bigquery load`: loads what waits in the bucket."""

import json
import subprocess
import sys

from rigatoni_core.api.events import Position, ResumeToken, Stream, Timestamp
from rigatoni_testing.batches import batch_of

STREAM = Stream("p", "shop.orders")

FILE = """\
[pipeline]
name = "p"

[pipeline.source]
type = "mongodb"
uri = "mongodb://localhost"
watch = ["shop.orders"]

[pipeline.destination]
type = "{type}"
{options}
serializer = {{ type = "parquet" }}

[pipeline.state]
type = "memory"
"""


def load(file, *arguments):
    command = [sys.executable, "-m", "rigatoni_core.cli", "bigquery", "load", str(file), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


async def test_it_loads_what_waits_once_and_says_how_much(tmp_path, options, destination, definition, server, event):
    server.looks = 10**6
    async with destination() as opened:
        anchor = Position(ResumeToken("anchor"), definition.fingerprint, Timestamp(1, 1))
        await opened.begin(STREAM, definition, anchor)
        await opened.write_batch(batch_of([event(1)], stream=STREAM))
    server.looks = 0
    lines = [f"{key} = {json.dumps(value)}" for key, value in options.items() if key != "serializer"]
    file = tmp_path / "pipeline.toml"
    file.write_text(FILE.format(type="bigquery", options="\n".join(lines)))
    answer = load(file, "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == [{"stream": "shop.orders", "table": "shop_orders", "loaded_objects": 1}]
    assert "loaded objects" in load(file, "shop.orders").stdout
    assert len(server.tables["shop_orders"]) == 1
    answer = load(file, "shop.oders")
    assert answer.returncode == 2
    assert "Name one of shop.orders" in answer.stderr


def test_another_destination_is_an_error(tmp_path):
    file = tmp_path / "pipeline.toml"
    file.write_text(FILE.format(type="local", options='path = "lake"'))
    answer = load(file)
    assert answer.returncode == 2
    assert "is not bigquery" in answer.stderr

"""A real PostgreSQL takes the files with the commands that the README names, and loses nothing (scenario H1)."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from rigatoni_bson.columns import COLUMNS
from rigatoni_csv.serializer import CsvSerializer
from rigatoni_testing.batches import batch_of, event_document, recorded_events

PROGRAMS = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), shutil.which("initdb")]
INITDB = next((Path(path) for path in PROGRAMS if path), None)
README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
(COMMANDS,) = re.findall(r"```psql\n(.*?)```", README, re.DOTALL)

pytestmark = pytest.mark.skipif(INITDB is None, reason="the programs of a PostgreSQL server are not installed")


@pytest.fixture(scope="module")
def psql():
    """Runs commands in a PostgreSQL of its own and answers what they print, cell by cell."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: a socket's path may have about 100 bytes
    user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    if user:
        shutil.chown(folder, user)
    data, programs = str(folder / "data"), INITDB.parent
    initdb = [INITDB, "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True, cwd=folder, user=user)
    options = ["-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
    server = subprocess.Popen(
        [programs / "postgres", "-D", data, *options], stderr=subprocess.DEVNULL, cwd=folder, user=user
    )

    def run(commands):
        command = [programs / "psql", "-h", str(folder), "-U", "tester", "-d", "postgres", "-X", "-q"]
        command += ["-v", "ON_ERROR_STOP=1", "--csv", "-t"]
        answer = subprocess.run(command, input=commands, capture_output=True, text=True, encoding="utf-8")
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    try:
        deadline = time.monotonic() + 60
        while subprocess.run([programs / "pg_isready", "-h", str(folder), "-q"]).returncode:
            assert time.monotonic() < deadline
            assert server.poll() is None
            time.sleep(0.05)
        yield run
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
        shutil.rmtree(folder)


def test_H1_every_recorded_event_is_taken(psql, recordings, tmp_path):
    events = [raw for path in sorted(recordings.glob("*.bson")) for raw in recorded_events(path)]
    path = tmp_path / "batch.csv"
    path.write_bytes(CsvSerializer().serialize(batch_of(events)))
    psql("DROP TABLE IF EXISTS events;")
    psql(COMMANDS.replace("batch.csv", str(path)))
    assert int(psql("SELECT count(*) FROM events;")) == len(events) > 3000
    copy = tmp_path / "copy.csv"  # written by PostgreSQL, and everything in it is as it was
    times = "to_char(cluster_time AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS cluster_time"
    names = ", ".join(times if column.name == "cluster_time" else column.name for column in COLUMNS)
    psql(f"\\copy (SELECT {names} FROM events) TO '{copy}' WITH (FORMAT csv, HEADER)")
    assert sorted(rows_of(copy)) == sorted(rows_of(path))


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, strict=True))


def test_null_absent_and_empty_are_three_things(psql, tmp_path):
    absent = event_document(1)
    del absent["fullDocument"]
    text = "a\"b\r\n,;'\\ \u2028"
    events = [event_document(0, fullDocument=None), absent, event_document(2, fullDocument={"": text})]
    path = tmp_path / "batch.csv"
    path.write_bytes(CsvSerializer().serialize(batch_of([*events, event_document(3, operationType="")])))
    psql("DROP TABLE IF EXISTS events;")
    psql(COMMANDS.replace("batch.csv", str(path)))
    query = "SELECT json_agg(json_build_array(operation, full_document::text) ORDER BY cluster_time_increment)"
    found = json.loads(psql(f"\\pset format unaligned\n{query} FROM events;"))
    assert [row[1] for row in found[:2]] == ["null", None]
    assert json.loads(found[2][1]) == {"": text}
    assert [row[0] for row in found] == ["insert", "insert", "insert", ""]

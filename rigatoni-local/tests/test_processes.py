"""Real processes on one folder: they race, are killed and paused, with the system's locks."""

import random
import signal
import subprocess
import sys
import time

import pytest
from rigatoni_core.api.events import Definition, Stream
from rigatoni_local import destination as module
from rigatoni_local import files
from rigatoni_local.destination import LocalDestination
from rigatoni_local.errors import LocalBusyError
from rigatoni_objects.records import BatchRecord
from rigatoni_testing.batches import START, batch_of, event_document
from rigatoni_testing.serializers import TokenLines

EVENTS = 60
STREAM = Stream("lake", "shop.*")
DEFINITION = Definition("fingerprint", {})
DOCUMENTS = [
    event_document(number, ns={"db": "shop", "coll": "abc"[number * 7 % 5 % 3]}, padding="x" * 200)
    for number in range(EVENTS)
]

WRITER = """
import sys
from pathlib import Path

from rigatoni_core.api.events import Definition, Stream
from rigatoni_testing.batches import START, batch_of, event_document
from rigatoni_testing.serializers import TokenLines
from rigatoni_local.destination import LocalDestination

folder, limit, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
documents = [
    event_document(number, ns={"db": "shop", "coll": "abc"[number * 7 % 5 % 3]}, padding="x" * 200)
    for number in range(count)
]
whole = batch_of(documents, stream=Stream("lake", "shop.*"))
tokens = [whole.token_and_time(index)[0] for index in range(count)]
chain = LocalDestination(path=folder, serializer=TokenLines(), partition_by=("namespace",)).chain(whole.stream)
position = chain.begin(Definition("fingerprint", {}), chain.last_committed() or START)
index = tokens.index(position.resume_token) + 1 if position != START else 0
print("ready", flush=True)
sys.stdin.readline()
while index < count:
    stop = min(count, index + limit)
    while fixed := chain.write(whole[index:stop]):
        stop = tokens.index(fixed.resume_token) + 1
    index = stop
"""


def started(folder, limit, **options):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(limit), str(EVENTS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **options,
    )
    assert process.stdout.readline() == b"ready\n"
    return process


def chain_of(folder):
    return LocalDestination(path=folder, serializer=TokenLines()).chain(STREAM)


def go(*processes):
    for process in processes:
        process.stdin.write(b"\n")
        process.stdin.flush()


def ended(process):
    with process:
        process.stdin.close()
        return process.wait(timeout=60)


def check_chain(folder, written):
    """Check that one linear chain of batches covers all events, and each event is in exactly one file."""
    whole = batch_of(DOCUMENTS, stream=STREAM)
    tokens = [whole.token_and_time(index)[0] for index in range(EVENTS)]
    records = (folder / STREAM.key / "_rigatoni" / "batches" / "0").rglob("*.json")
    here = 0
    for path in sorted(records, key=lambda path: path.name):
        record = BatchRecord.parse(path.read_bytes(), str(path))
        assert record.first.resume_token == tokens[here]
        here = tokens.index(record.end.resume_token) + 1
    assert here == EVENTS
    found = [token for batch in written(folder).values() for token in batch]
    assert sorted(found) == sorted(tokens)


def test_H3_J12_processes_that_race_and_are_killed_make_one_chain(tmp_path, written):
    chance = random.Random(5)
    for _ in range(4):
        limits = chance.sample(range(1, 6), 2)
        pair = [started(tmp_path, limit) for limit in limits]
        go(*pair)
        time.sleep(chance.random() * 0.2)
        pair[0].kill()
        assert ended(pair[0]) in (-signal.SIGKILL, 0)
        time.sleep(chance.random() * 0.1)
        pair[1].kill()
        assert ended(pair[1]) in (-signal.SIGKILL, 0)
    last = [started(tmp_path, 4), started(tmp_path, 7)]
    go(*last)
    assert [ended(process) for process in last] == [0, 0]
    check_chain(tmp_path, written)


@pytest.fixture
def paused(tmp_path):
    """A process of this stream, stopped (SIGSTOP) in the middle of a write: it holds the shared lock."""
    code = """
import sys
from pathlib import Path
from rigatoni_local import files
with files.locked(Path(sys.argv[1]), exclusive=False):
    print("held", flush=True)
    sys.stdin.readline()
"""
    chain_of(tmp_path).begin(DEFINITION, START)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / STREAM.key / "_rigatoni" / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline() == b"held\n"
    process.send_signal(signal.SIGSTOP)
    yield process
    process.kill()
    ended(process)


async def test_I3_a_paused_owner_holds_up_nobody_who_takes_over(tmp_path, paused):
    chain = chain_of(tmp_path)
    assert chain.begin(DEFINITION, START) == START
    assert chain.write(batch_of(DOCUMENTS[:3], stream=STREAM).without({0, 1, 2})) is None
    assert paused.poll() is None


async def test_J5_a_changed_definition_waits_for_a_write_in_flight_and_says_so(
    tmp_path, serializer, paused, monkeypatch
):
    changed = Definition("changed", {})
    monkeypatch.setattr(module, "BEGIN_TIMEOUT", 0.2)
    async with LocalDestination(path=tmp_path, serializer=serializer) as destination:
        with pytest.raises(LocalBusyError, match="another process") as caught:
            await destination.begin(STREAM, changed, START)
        assert caught.value.transient
        assert caught.value.remedy
        paused.send_signal(signal.SIGCONT)
        go(paused)
        monkeypatch.setattr(module, "BEGIN_TIMEOUT", 20)
        assert await destination.begin(STREAM, changed, START) == START


def test_J5_a_running_old_instance_stops_at_its_next_write(tmp_path, serializer, written):
    old = started(tmp_path, 1, stderr=subprocess.PIPE)
    go(old)
    deadline = time.monotonic() + 20
    while not written(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.001)
    new = chain_of(tmp_path)
    position = new.begin(Definition("changed", {}), START)
    whole = batch_of(DOCUMENTS, stream=STREAM)
    index = whole.index_of(position.resume_token)
    _, complaint = old.communicate(timeout=60)
    assert b"DefinitionChangedError" in complaint
    assert new.write(whole[index + 1 :]) is None
    found = [token for batch in written(tmp_path).values() for token in batch]
    assert sorted(found) == sorted(whole.token_and_time(number)[0] for number in range(EVENTS))


def test_a_file_that_appears_while_a_batch_is_looked_at_is_durable_before_it_counts(tmp_path, serializer, monkeypatch):
    """Another owner links the file right after this one synced the folder, and crashes before its own sync."""
    batch = batch_of(DOCUMENTS[:3], stream=STREAM)
    one, other = (chain_of(tmp_path) for _ in range(2))
    one.begin(DEFINITION, START)
    assert one.write(batch) is None
    (part,) = tmp_path.rglob("*.txt")
    content = part.read_bytes()
    part.unlink()
    other.begin(DEFINITION, START)
    real, synced_since = files.sync_folder, []

    def sync(folder):
        real(folder)
        if part.exists():
            synced_since.append(folder)
        elif folder == part.parent:
            part.write_bytes(content)

    monkeypatch.setattr(files, "sync_folder", sync)
    assert other.write(batch) is None
    assert part.read_bytes() == content
    assert part.parent in synced_since


def test_a_definition_that_another_process_left_is_durable_before_it_counts(tmp_path, monkeypatch):
    one, other = (chain_of(tmp_path) for _ in range(2))
    one.begin(DEFINITION, START)
    other.begin(DEFINITION, START)
    real, synced = files.sync_folder, []
    monkeypatch.setattr(files, "sync_folder", lambda folder: (real(folder), synced.append(folder)))
    assert other.begin(DEFINITION, START) == START
    assert synced == [tmp_path / STREAM.key / "_rigatoni"]

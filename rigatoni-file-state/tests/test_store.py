"""The file store: round trips, damage, crashes, full disks, and folders that hang."""

import asyncio
import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time

import pytest
from rigatoni_core.api.errors import CorruptCheckpointError, LeaseLostError
from rigatoni_core.api.events import Checkpoint, Position, ResumeToken, Stream, Timestamp
from rigatoni_core.api.settings import Settings
from rigatoni_core.engine.checkpoint import CheckpointKeeper
from rigatoni_file_state import files
from rigatoni_file_state.errors import (
    FileStateError,
    StateFolderBusyError,
    StateFolderFullError,
    StateFolderGoneError,
    StateFolderHangsError,
    StateFolderInUseError,
)
from rigatoni_file_state.store import FileStateStore

STREAM = Stream("p", "shop.orders")


def checkpoint(token="t", events=1, fencing_token=0):
    return Checkpoint(Position(ResumeToken(token), "f", Timestamp(1_700_000_000, 1), 1), events, fencing_token)


async def test_I1_round_trip_with_a_large_token_and_unicode_names(tmp_path):
    async with FileStateStore(path=tmp_path / "state") as store:
        for name in ("shop.orders", "shop.ü name", "x/../y", "shop." + "n" * 250):
            stream = Stream("pïpe", name)
            assert await store.load_resume_token(stream) is None
            saved = checkpoint("ü" * 100_000)
            await store.save_resume_token(stream, saved)
            assert await store.load_resume_token(stream) == saved
            assert store.record(stream).resolve().is_relative_to((tmp_path / "state").resolve())
    async with FileStateStore(path=tmp_path / "state") as store:
        assert await store.load_resume_token(Stream("pïpe", "x/../y")) == saved


async def test_I1_the_record_is_readable_json(tmp_path):
    async with FileStateStore(path=tmp_path) as store:
        await store.save_resume_token(STREAM, checkpoint())
        record = json.loads((tmp_path / "p" / "shop.orders.json").read_text())
    assert record["position"]["utc"] == "2023-11-14T22:13:20+00:00"


async def test_I1_a_crash_between_write_and_rename_keeps_the_old_value(tmp_path):
    code = """
import asyncio, os, sys
from pathlib import Path
from rigatoni_core.api.events import *
from rigatoni_file_state.store import FileStateStore

async def main():
    async with FileStateStore(path=Path(sys.argv[1])) as store:
        os.replace = lambda *_: os.kill(os.getpid(), 9)  # the crash, at the worst moment
        await store.save_resume_token(Stream("p", "shop.orders"), Checkpoint(Position(ResumeToken("new"), "f")))
asyncio.run(main())
"""
    async with FileStateStore(path=tmp_path) as store:
        await store.save_resume_token(STREAM, checkpoint("old"))
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    async with FileStateStore(path=tmp_path) as store:
        assert (await store.load_resume_token(STREAM)).position.resume_token == "old"
        await store.save_resume_token(STREAM, checkpoint("newer"))
        assert (await store.load_resume_token(STREAM)).position.resume_token == "newer"


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
async def test_I1_a_full_disk_keeps_the_old_value_and_may_be_tried_again(tmp_path, monkeypatch, step):
    async with FileStateStore(path=tmp_path) as store:
        await store.save_resume_token(STREAM, checkpoint("old"))

        def full(*_):  # a fake: no disk is full on demand
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patched:
            patched.setattr(os, step, full)
            with pytest.raises(StateFolderFullError) as caught:
                await store.save_resume_token(STREAM, checkpoint("new"))
        assert caught.value.transient
        assert (await store.load_resume_token(STREAM)).position.resume_token == "old"
        assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("content", [b"", b"garbage \xff", b"{}", b'{"format": 1, "checksum": "sha256:0"}'])
async def test_F4_garbage_is_refused_untouched_and_kept_aside_when_overwritten(tmp_path, content):
    async with FileStateStore(path=tmp_path) as store:
        record = store.record(STREAM)
        record.parent.mkdir(parents=True)
        record.write_bytes(content)
        with pytest.raises(CorruptCheckpointError) as caught:
            await store.load_resume_token(STREAM)
        assert str(record) in str(caught.value)
        assert record.read_bytes() == content
        await store.save_resume_token(STREAM, checkpoint())
        assert record.with_name(record.name + ".corrupt-1").read_bytes() == content
        assert await store.load_resume_token(STREAM) == checkpoint()


async def test_Z8_an_older_fencing_token_is_refused(tmp_path):
    async with FileStateStore(path=tmp_path) as store:
        await store.save_resume_token(STREAM, checkpoint("new", fencing_token=5))
        with pytest.raises(LeaseLostError):
            await store.save_resume_token(STREAM, checkpoint("old", fencing_token=4))
        with pytest.raises(LeaseLostError):
            await store.clear_resume_token(STREAM, fencing_token=4)
        assert (await store.load_resume_token(STREAM)).position.resume_token == "new"


async def test_an_older_version_that_uses_the_folder_alone_is_named_and_kept_out(tmp_path):
    """It takes `.lock` exclusively, and writes its process into `.lock-owner`."""
    with (tmp_path / ".lock").open("w") as older:
        fcntl.flock(older, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (tmp_path / ".lock-owner").write_text("123 there\n")
        with pytest.raises(StateFolderInUseError, match="process 123 on there, with an older") as caught:
            async with FileStateStore(path=tmp_path):
                pass
        assert caught.value.remedy
        onlooker = FileStateStore(path=tmp_path)
        async with onlooker.looking():
            assert (await onlooker.holder(STREAM)).startswith("process 123 on there")
    async with FileStateStore(path=tmp_path):
        with (tmp_path / ".lock").open("w") as older, pytest.raises(BlockingIOError):
            fcntl.flock(older, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert not (tmp_path / ".lock-owner").exists()  # it would tell the older version of a process that has gone
    with (tmp_path / ".lock").open("w") as older:
        fcntl.flock(older, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("path", ["state", "state/deeper"])
async def test_a_file_where_the_folder_should_be_is_an_error_for_people(tmp_path, path):
    (tmp_path / "state").write_text("")
    with pytest.raises(FileStateError) as caught:
        async with FileStateStore(path=tmp_path / path):
            pass
    assert not caught.value.transient
    assert str(caught.value) == f"{tmp_path / 'state'} is a file, not a folder"
    assert caught.value.remedy


async def test_a_cancelled_save_that_hangs_never_overtakes_a_later_one(tmp_path, monkeypatch):
    async with FileStateStore(path=tmp_path) as store:
        await store.save_resume_token(STREAM, checkpoint("first"))
        real, hanging, go_on = os.fsync, threading.Event(), threading.Event()

        def hang(descriptor):  # a fake: no disk hangs on demand
            if not hanging.is_set():
                hanging.set()
                go_on.wait(10)
            real(descriptor)

        monkeypatch.setattr(os, "fsync", hang)
        hung = asyncio.create_task(store.save_resume_token(STREAM, checkpoint("hung")))
        await asyncio.to_thread(hanging.wait, 10)
        waiting = asyncio.create_task(store.save_resume_token(STREAM, checkpoint("given up")))
        later = asyncio.create_task(store.save_resume_token(STREAM, checkpoint("later")))
        await asyncio.sleep(0.05)
        hung.cancel()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hung
        assert not later.done()
        go_on.set()
        await later
        assert (await store.load_resume_token(STREAM)).position.resume_token == "later"
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert (await store.load_resume_token(STREAM)).position.resume_token == "later"


async def test_a_folder_that_vanishes_is_an_error_and_no_fresh_start(tmp_path):
    folder, away = tmp_path / "state", tmp_path / "away"
    async with FileStateStore(path=folder) as store:
        await store.save_resume_token(STREAM, checkpoint("old"))
        folder.rename(away)
        for call in (store.load_resume_token(STREAM), store.save_resume_token(STREAM, checkpoint("new"))):
            with pytest.raises(StateFolderGoneError) as caught:
                await call
            assert caught.value.remedy
        away.rename(folder)
        assert (await store.load_resume_token(STREAM)).position.resume_token == "old"


async def test_F4_every_corrupt_record_is_kept_also_when_it_is_cleared(tmp_path):
    async with FileStateStore(path=tmp_path) as store:
        record = store.record(STREAM)
        record.parent.mkdir(parents=True)
        for content in (b"one", b"two"):
            record.write_bytes(content)
            await store.clear_resume_token(STREAM)
        assert await store.load_resume_token(STREAM) is None
        kept = [record.with_name(f"{record.name}.corrupt-{number}").read_bytes() for number in (1, 2)]
    assert kept == [b"one", b"two"]


async def test_nothing_is_changed_without_the_lock(tmp_path):
    store = FileStateStore(path=tmp_path)
    with pytest.raises(FileStateError, match="not entered"):
        await store.save_resume_token(STREAM, checkpoint())
    assert list(tmp_path.iterdir()) == []


# --- a folder that hangs


def own_threads():
    return sum(thread.name.startswith("rigatoni-file-state") for thread in threading.enumerate())


async def test_while_the_folder_hangs_one_thread_waits_however_often_it_is_tried(tmp_path, monkeypatch):
    store = FileStateStore(path=tmp_path)
    streams = [Stream("p", f"shop.{number}") for number in range(20)]
    async with store:
        for stream in streams:
            await store.save_resume_token(stream, checkpoint())
        hang, real = threading.Event(), files.read
        monkeypatch.setattr(files, "read", lambda path: hang.wait(30) and real(path))  # a fake: no disk hangs on demand
        errors = set()

        async def attempt(call):
            try:
                async with asyncio.timeout(0.05):
                    await call
            except (TimeoutError, StateFolderHangsError) as error:
                errors.add(type(error))

        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            calls = [store.load_resume_token(stream) for stream in streams]
            calls += [store.save_resume_token(stream, checkpoint("lost")) for stream in streams]
            await asyncio.gather(*map(attempt, [*calls, store.streams(), store.cleared_under(STREAM)]))
            assert own_threads() == 1
        assert errors == {TimeoutError, StateFolderHangsError}
        with pytest.raises(StateFolderHangsError, match="has not responded for") as caught:
            await store.load_resume_token(streams[0])
        assert caught.value.transient
        hang.set()
        async with asyncio.timeout(10):
            while True:
                try:
                    assert await store.load_resume_token(streams[0]) == checkpoint()
                    break
                except StateFolderHangsError:
                    await asyncio.sleep(0.01)


async def test_entering_a_folder_that_hangs_is_one_thread_too_and_works_once_it_responds(tmp_path, monkeypatch):
    store, hang = FileStateStore(path=tmp_path), threading.Event()
    real = files.make_folder
    monkeypatch.setattr(files, "make_folder", lambda folder: hang.wait(30) and real(folder))
    for _ in range(30):
        with pytest.raises((TimeoutError, StateFolderHangsError)):
            async with asyncio.timeout(0.05), store:
                pass
        assert own_threads() == 1
    hang.set()
    while own_threads():
        await asyncio.sleep(0.01)
    async with store:
        await store.save_resume_token(STREAM, checkpoint())


async def test_the_folder_is_left_only_after_a_save_that_hangs(tmp_path, monkeypatch):
    hang, hanging, real = threading.Event(), threading.Event(), os.replace

    def slow(*paths):
        hanging.set()
        hang.wait(30)
        real(*paths)

    store, other = FileStateStore(path=tmp_path), FileStateStore(path=tmp_path)
    await store.__aenter__()
    await store.save_resume_token(STREAM, checkpoint("first"))
    monkeypatch.setattr(os, "replace", slow)
    save = asyncio.create_task(store.save_resume_token(STREAM, checkpoint("hung")))
    await asyncio.to_thread(hanging.wait, 10)
    save.cancel()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await store.__aexit__(None, None, None)
    async with other:
        with pytest.raises(StateFolderBusyError, match="locked"):
            await other.save_resume_token(STREAM, checkpoint("too early"))
        monkeypatch.setattr(os, "replace", real)
        hang.set()
        while own_threads():
            await asyncio.sleep(0.01)
        await other.save_resume_token(STREAM, checkpoint("next"))
        assert (await other.load_resume_token(STREAM)).position.resume_token == "next"


# --- fencing tokens where nobody grants leases


async def test_a_record_that_has_a_fencing_token_is_continued_under_it(tmp_path):
    """It was copied from a store with leases, say, or written by an older version."""
    async with FileStateStore(path=tmp_path) as store:
        await store.save_resume_token(STREAM, checkpoint("copied", fencing_token=6))
        keeper = CheckpointKeeper(STREAM, store, Settings(), lambda: None)
        position = await keeper.load()
        await keeper.advance(position.moved(ResumeToken("next"), Timestamp(1_700_000_000, 2), 1), 1)
        stored = await store.load_resume_token(STREAM)
        assert (stored.position.resume_token, stored.fencing_token) == ("next", 6)


async def test_a_clear_is_obeyed_and_a_lost_record_is_saved_again(tmp_path):
    async with FileStateStore(path=tmp_path) as store:
        keeper = CheckpointKeeper(STREAM, store, Settings(), lambda: None)
        assert await keeper.load() is None
        await keeper.anchor(checkpoint("anchor").position)
        store.record(STREAM).unlink()
        await keeper.anchor(await keeper.load())
        assert (await store.load_resume_token(STREAM)).position.resume_token == "anchor"
        await store.clear_resume_token(STREAM)
        assert await keeper.load() is None


async def test_streams_are_listed_by_their_exact_names_and_nothing_else_is(tmp_path):
    streams = [Stream("p", "shop.*"), Stream("p/q", ".."), Stream("ü", "a~b%7E"), Stream("p", "n" * 300)]
    async with FileStateStore(path=tmp_path) as store:
        for stream in streams:
            await store.save_resume_token(stream, checkpoint())
        store.record(Stream("p", "damaged")).write_bytes(b"garbage")
        (tmp_path / "p" / ".left.json.tmp").write_bytes(b"half")
        (tmp_path / "p" / "shop.json.corrupt-1").write_bytes(b"old")
        (tmp_path / "p" / "._shop.json").write_bytes(b"what macOS puts beside files on a network disk")
        (tmp_path / "notes.json").write_bytes(b"{}")
        expected = sorted([*streams, Stream("p", "damaged")])
        assert await store.streams() == expected
        assert await store.streams("p/q") == [Stream("p/q", "..")]
        store.record(streams[-1]).write_bytes(b"garbage")  # only the record knew the name
        with pytest.raises(CorruptCheckpointError, match="which stream"):
            await store.streams()
    onlooker = FileStateStore(path=tmp_path / "none yet")
    async with onlooker.looking():
        assert await onlooker.streams() == []

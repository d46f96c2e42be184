"""Leases in a folder: takeovers after crashes and freezes, and what survives the loss of a file."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest
from rigatoni_core.api.errors import LeaseLostError
from rigatoni_core.api.events import Checkpoint, Position, ResumeToken, Stream
from rigatoni_core.api.settings import Settings
from rigatoni_file_state import expiry, host, locks
from rigatoni_file_state.errors import StateFolderBusyError
from rigatoni_file_state.host import network_file_system
from rigatoni_file_state.store import FileStateStore

STREAM = Stream("p", "shop.orders")
LONG = 300.0

HOLDER = """
import asyncio, sys
from pathlib import Path
from rigatoni_core.api.events import Stream
from rigatoni_file_state.store import FileStateStore

async def main():
    async with FileStateStore(path=Path(sys.argv[1])) as store:
        lease = await store.acquire(Stream("p", "shop.orders"), owner="other", ttl=float(sys.argv[2]))
        await store.heartbeat("p", owner="other", ttl=300)
        print(lease.fencing_token, flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        try:
            await store.renew(lease, ttl=1)
            print("renewed")
        except Exception as error:
            print(type(error).__name__)
asyncio.run(main())
"""


@pytest.fixture
def hold(tmp_path):
    """Starts a process that holds the lease of STREAM; returns it and its fencing token."""
    started = []

    def start(ttl):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path), str(ttl)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


def checkpoint(token, fencing_token):
    return Checkpoint(Position(ResumeToken(token), "f"), 1, fencing_token)


async def test_the_lease_of_a_killed_process_is_free_at_once_and_it_no_longer_counts(tmp_path, hold):
    other, token = hold(LONG)
    async with FileStateStore(path=tmp_path) as store:
        assert await store.acquire(STREAM, owner="own", ttl=LONG) is None
        holder = await store.holder(STREAM)
        assert holder.startswith(f"process {other.pid} on {os.uname().nodename} (its lease expires in ")
        assert await store.heartbeat("p", owner="own", ttl=LONG) == 2
        other.kill()
        other.wait()
        assert await store.holder(STREAM) is None
        assert await store.heartbeat("p", owner="own", ttl=LONG) == 1
        lease = await store.acquire(STREAM, owner="own", ttl=LONG)
        assert lease.fencing_token > token
    async with FileStateStore(path=tmp_path):
        assert len(list((tmp_path / ".instances").iterdir())) == 1  # what the dead have left is removed


async def test_the_lease_of_a_stopped_process_expires_and_it_finds_that_out(tmp_path, hold):
    other, token = hold(1.0)
    other.send_signal(signal.SIGSTOP)
    async with FileStateStore(path=tmp_path) as store:
        async with asyncio.timeout(30):
            while (lease := await store.acquire(STREAM, owner="own", ttl=LONG)) is None:
                await asyncio.sleep(0.02)
        assert lease.fencing_token > token
        other.send_signal(signal.SIGCONT)
        assert other.communicate("\n")[0] == "LeaseLostError\n"
        await store.save_resume_token(STREAM, checkpoint("own", lease.fencing_token))


async def test_a_process_that_is_stopped_while_it_holds_the_lock_delays_others_but_does_not_hang_them(tmp_path):
    async with FileStateStore(path=tmp_path) as store, FileStateStore(path=tmp_path) as other:
        lease = await store.acquire(STREAM, owner="own", ttl=LONG)
        descriptor = locks.lock(tmp_path / "p" / "shop.orders.lease")
        with pytest.raises(StateFolderBusyError, match="locked") as caught:
            await other.save_resume_token(STREAM, checkpoint("late", 0))
        assert caught.value.transient
        os.close(descriptor)
        await store.renew(lease, ttl=LONG)


async def test_the_time_of_day_does_not_matter_but_the_boot_does(tmp_path, monkeypatch):
    async with FileStateStore(path=tmp_path) as store:
        (own,) = (tmp_path / ".instances").iterdir()
        other = await FileStateStore(path=tmp_path).__aenter__()
        (gone,) = set((tmp_path / ".instances").iterdir()) - {own}
        held = await other.acquire(STREAM, owner="other", ttl=LONG)
        real = time.time_ns()
        for seconds in (-(10**6), 10**6):
            monkeypatch.setattr(time, "time_ns", lambda seconds=seconds: real + seconds * 10**9)
            assert await store.acquire(STREAM, owner="own", ttl=LONG) is None
            assert (await other.renew(held, ttl=LONG)).fencing_token == held.fencing_token
        monkeypatch.setattr(time, "time_ns", lambda: real - 10**15)
        # An instance with another boot id that lives is on another host, whose clock says nothing here.
        monkeypatch.setattr(expiry, "boot_id", lambda: "another")
        monkeypatch.setattr(time, "monotonic", lambda real=time.monotonic: real() + 10 * LONG)
        assert await store.acquire(STREAM, owner="own", ttl=LONG) is None
        gone.rename(tmp_path / "gone")  # as after a reboot: nothing is locked
        lease = await store.acquire(STREAM, owner="own", ttl=LONG)
        assert lease.fencing_token == held.fencing_token + 1  # above the fence, though the time is years ago
        await other.__aexit__(None, None, None)


@pytest.mark.parametrize("lost", ["shop.orders.lease", "shop.orders.fence", "shop.orders.json"])
async def test_fencing_tokens_grow_although_a_file_was_deleted_and_the_clock_is_wrong(tmp_path, monkeypatch, lost):
    async with FileStateStore(path=tmp_path) as store:
        lease = await store.acquire(STREAM, owner="own", ttl=LONG)
        await store.save_resume_token(STREAM, checkpoint("own", lease.fencing_token))
        monkeypatch.setattr(time, "time_ns", lambda: 0)
        (tmp_path / "p" / lost).unlink()
        again = await store.acquire(STREAM, owner="other" if lost.endswith("lease") else "own", ttl=LONG)
        assert again.fencing_token > lease.fencing_token
        with pytest.raises(LeaseLostError):
            await store.save_resume_token(STREAM, checkpoint("late", lease.fencing_token))


async def test_a_token_that_saved_nothing_is_not_granted_again(tmp_path, monkeypatch):
    async with FileStateStore(path=tmp_path) as store:
        lease = await store.acquire(STREAM, owner="own", ttl=LONG)
        await store.release(lease)
        monkeypatch.setattr(time, "time_ns", lambda: 0)
        (tmp_path / "p" / "shop.orders.lease").unlink()
        again = await store.acquire(STREAM, owner="own", ttl=0.01)
        assert again.fencing_token == lease.fencing_token + 1
        await asyncio.sleep(0.02)
        with pytest.raises(LeaseLostError):  # also if no other owner has taken it since
            await store.renew(again, ttl=LONG)


@pytest.mark.parametrize("content", [b"", b"garbage \xff", b'{"lease": 1, "wanted": null}', b"[]", b"9" * 5000])
async def test_damaged_lease_files_are_no_lease_and_no_lower_token(tmp_path, content):
    async with FileStateStore(path=tmp_path) as store:
        lease = await store.acquire(STREAM, owner="own", ttl=LONG)
        await store.save_resume_token(STREAM, checkpoint("own", lease.fencing_token))
        for name in ("shop.orders.lease", "shop.orders.fence"):
            (tmp_path / "p" / name).write_bytes(content)
        with pytest.raises(LeaseLostError):
            await store.renew(lease, ttl=LONG)
        assert (await store.acquire(STREAM, owner="other", ttl=LONG)).fencing_token > lease.fencing_token


async def test_renewals_restore_a_fence_that_was_deleted(tmp_path):
    async with FileStateStore(path=tmp_path) as store:
        lease = await store.acquire(STREAM, owner="own", ttl=LONG)
        fence = tmp_path / "p" / "shop.orders.fence"
        fence.unlink()
        await store.renew(lease, ttl=LONG)
        assert int(fence.read_text()) == lease.fencing_token


async def test_instances_request_streams_and_a_grant_ends_the_request(tmp_path):
    async with FileStateStore(path=tmp_path) as one, FileStateStore(path=tmp_path) as two:
        assert await one.heartbeat("p", owner="one", ttl=LONG) == 1
        assert await two.heartbeat("p", owner="two", ttl=LONG) == 2
        assert await two.heartbeat("q", owner="two", ttl=LONG) == 1
        lease = await one.acquire(STREAM, owner="one", ttl=LONG)
        assert not await one.handover_requested(STREAM)
        await two.request_handover(STREAM, ttl=LONG)
        lease = await one.renew(lease, ttl=LONG)
        assert await one.handover_requested(STREAM)
        assert not await one.handover_requested(Stream("p", "shop.other"))
        await one.release(lease)
        assert await two.acquire(STREAM, owner="two", ttl=LONG)
        assert not await two.handover_requested(STREAM)
        await one.request_handover(STREAM, ttl=0.01)
        await asyncio.sleep(0.02)
        assert not await two.handover_requested(STREAM)
        assert await two.heartbeat("p", owner="two", ttl=0.0) == 1


async def test_a_store_that_is_left_ends_its_leases(tmp_path):
    async with FileStateStore(path=tmp_path) as one:
        assert await one.acquire(STREAM, owner="one", ttl=LONG)
    async with FileStateStore(path=tmp_path) as two:
        assert await two.acquire(STREAM, owner="two", ttl=LONG)
        assert await two.streams() == []  # a lease is no checkpoint


def test_network_file_systems_are_recognized_by_the_innermost_mount(tmp_path):
    mounts = tmp_path / "mounts"
    (tmp_path / "a b").mkdir()
    escaped = str(tmp_path / "a b").replace(" ", "\\040")
    mounts.write_text(
        f"overlay / overlay rw 0 0\nserver:/x {escaped} nfs4 rw 0 0\n"
        f"/dev/sda {escaped}/local ext4 rw 0 0\nsshfs {escaped}/ssh fuse.sshfs rw 0 0\n"
    )
    kinds = [network_file_system(tmp_path / "a b" / name, mounts) for name in ("state", "local/state", "ssh", "")]
    assert kinds == ["nfs4", None, "fuse.sshfs", "nfs4"]
    assert network_file_system(tmp_path, mounts) is None
    assert network_file_system(tmp_path, tmp_path / "none") is None


async def test_a_network_file_system_is_advised_against(tmp_path, monkeypatch):
    store = FileStateStore(path=tmp_path)
    async with store:
        assert store.advice(Settings()) == ()
    monkeypatch.setattr("rigatoni_file_state.folder.network_file_system", lambda path: "nfs4")
    async with store.looking():
        (text,) = store.advice(Settings())
    assert "network file system (nfs4)" in text


def test_this_host_tells_its_boot():
    assert host.boot_id()

"""If the folder hangs while the destination is opened, one thread waits, whatever the number of attempts."""

import asyncio
import threading

import pytest
from rigatoni_local import files
from rigatoni_local.destination import LocalDestination
from rigatoni_local.errors import LocalBusyError
from rigatoni_testing.serializers import TokenLines


async def test_opening_a_folder_that_hangs_is_one_thread_and_works_once_it_responds(tmp_path, monkeypatch):
    def threads():
        return sum(thread.name == "rigatoni-local" for thread in threading.enumerate())

    destination, hang = LocalDestination(path=tmp_path / "lake", serializer=TokenLines()), threading.Event()
    real = files.make_root
    monkeypatch.setattr(files, "make_root", lambda path: hang.wait(30) and real(path))  # a fake: disks do not hang
    raised = set()
    for _ in range(40):
        with pytest.raises((TimeoutError, LocalBusyError)) as caught:
            async with asyncio.timeout(0.05), destination:
                pass
        raised.add(caught.type)
        assert threads() == 1
    assert LocalBusyError in raised
    hang.set()
    while threads():
        await asyncio.sleep(0.01)
    async with destination:
        assert (tmp_path / "lake").is_dir()

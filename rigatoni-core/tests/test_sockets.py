"""The sockets of `rigatoni status`: a private folder, and no trust in anything else that lies there."""

import asyncio
import os
import socket
import tempfile
import threading
from pathlib import Path

import pytest
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.cli import sockets

STATUS = {"file": "p.toml", "pid": 1, "started": "", "pipelines": []}


@pytest.fixture
def shared(monkeypatch):
    """The shared temporary folder; a path to a socket must be short."""
    with tempfile.TemporaryDirectory(prefix="rig-") as folder:
        monkeypatch.delenv("RIGATONI_RUNTIME_DIR", raising=False)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        monkeypatch.setattr(tempfile, "gettempdir", lambda: folder)
        yield Path(folder)


def asked():
    """What `rigatoni status` finds while this process has a socket."""

    async def run():
        async with sockets.serving(lambda: STATUS):
            return await asyncio.to_thread(lambda: list(sockets.running()))

    return asyncio.run(run())


def test_the_folder_is_private_under_any_umask(shared):
    before = os.umask(0)
    try:
        folder = sockets.folder()
    finally:
        os.umask(before)
    assert folder == shared / f"rigatoni-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sockets.folder() == folder


def _link(path, shared):
    (shared / "elsewhere").mkdir(mode=0o700)
    path.symlink_to(shared / "elsewhere")


@pytest.mark.parametrize(
    "plant",
    [
        _link,
        lambda path, _: path.symlink_to("nowhere"),
        lambda path, _: path.touch(mode=0o600),
        lambda path, _: path.mkdir(mode=0o755),
        lambda path, _: path.mkdir(mode=0o770),
    ],
    ids=["link", "dead link", "file", "readable", "writable for a group"],
)
def test_what_others_may_have_planted_under_the_folders_name_is_refused(shared, plant):
    plant(shared / f"rigatoni-{os.getuid()}", shared)
    with pytest.raises(ConfigurationError, match="not a private folder") as caught:
        sockets.folder()
    assert "RIGATONI_RUNTIME_DIR" in caught.value.remedy


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_another_user_is_refused(shared):
    folder = shared / f"rigatoni-{os.getuid()}"
    folder.mkdir(mode=0o700)
    os.chown(folder, 65534, 65534)
    with pytest.raises(ConfigurationError, match="not a private folder"):
        sockets.folder()


def test_foreign_things_in_the_folder_are_ignored_and_stay(shared):
    folder = sockets.folder()
    (folder / "notes.sock").touch()
    (folder / "7.sock").touch()
    (folder / "8.sock").symlink_to("/run/docker.sock")
    (folder / "9.sock").mkdir()
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(folder / "agent.sock"))
        foreign.listen()
        assert asked() == [(os.getpid(), STATUS)]
    assert sorted(path.name for path in folder.iterdir()) == [
        "7.sock",
        "8.sock",
        "9.sock",
        "agent.sock",
        "notes.sock",
    ]


@pytest.mark.parametrize("words", [b"220 hello\r\n", b"[]", b'{"pid": 1}', b"\xff"])
def test_a_socket_that_speaks_otherwise_belongs_to_another_program(shared, words):
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(sockets.folder() / "7.sock"))
        foreign.listen()

        def speak():
            connection, _ = foreign.accept()
            connection.sendall(words)
            connection.close()

        speaking = threading.Thread(target=speak)
        speaking.start()
        assert asked() == [(os.getpid(), STATUS)]
        speaking.join()


def test_a_socket_of_a_process_that_ended_is_removed(shared):
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind(str(sockets.folder() / "7.sock"))
    assert list(sockets.running()) == []
    assert list(sockets.folder().iterdir()) == []


def test_a_foreign_thing_under_this_process_number_is_an_error_with_a_remedy(shared):
    (sockets.folder() / f"{os.getpid()}.sock").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be created"):
        asked()

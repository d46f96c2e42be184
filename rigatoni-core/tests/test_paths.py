"""Relative paths: those in a file start at the file's folder, those typed at the working directory."""

import os
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import attrs
import pytest
from rigatoni_core.api.components import Component
from rigatoni_core.api.contracts import Serializer, Source
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.options import Secret
from rigatoni_core.config import load, parse_override
from rigatoni_core.plugins.catalog import Catalog, Plugin, Provided


@attrs.define(kw_only=True)
class Reader(Source):
    """Paths in every place where an option can hold one."""

    path: Annotated[Path, "A path"]
    log: Annotated[Path, "A path with a default"] = Path("log")
    more: Annotated[tuple[Path, ...], "Paths"] = ()
    uri: Annotated[Secret | None, "A secret"] = None

    decoder = SimpleNamespace(format="bson")

    async def streams(self):
        return []

    def definition(self, stream): ...

    def read(self, stream, *, after): ...


@attrs.define(kw_only=True)
class Lines(Serializer):
    """A line per event."""

    accepts = frozenset({"*"})
    media_type = "text/plain"
    suffix = ".txt"

    def serialize(self, events):
        return b""


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file in one folder while the command is called in another one."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "called").mkdir()
    monkeypatch.chdir(tmp_path / "called")

    def write(options, defaults=""):
        path = tmp_path / "conf" / "pipeline.toml"
        path.write_text(
            f'[defaults]\n{defaults}\n[pipeline]\nname = "p"\n[pipeline.source]\ntype = "reader"\n{options}\n'
            '[pipeline.destination]\ntype = "stdout"\nserializer = { type = "lines" }\n'
            '[pipeline.state]\ntype = "memory"\n'
        )
        return path

    return write


@pytest.fixture
def read():
    kinds = (("source", "reader", Reader), ("serializer", "lines", Lines))
    provides = tuple(Provided(kind, name, "", Component(name, lambda cls=cls: cls)) for kind, name, cls in kinds)
    builtin = [each for each in Catalog.discover().plugins if each.name == "builtin"]
    catalog = Catalog((*builtin, Plugin("test", "rigatoni-test", "1", provides=provides)))

    def reading(path, *overrides):
        return load(path, catalog, [parse_override(text) for text in overrides])

    return reading


def test_paths_in_a_file_start_at_its_folder_wherever_the_command_is_called(file, read, tmp_path, monkeypatch):
    path = file('path = "a/b"\nmore = ["c", "../d", "/e"]')
    conf = tmp_path / "conf"
    for folder in (tmp_path, conf, tmp_path / "called"):
        monkeypatch.chdir(folder)
        for named in (path, Path(path.name) if folder == conf else path):
            source = read(named).source
            assert (source.path, source.log) == (conf / "a/b", conf / "log")
            assert source.more == (conf / "c", conf / "../d", Path("/e"))


def test_paths_of_the_command_line_start_at_the_working_directory(file, read, tmp_path):
    path = file('path = "a"', 'source.log = "default"')
    configuration = read(path, "source.path=b", 'source.more=["c", "/d"]')
    called = tmp_path / "called"
    assert configuration.source.path == called / "b"
    assert configuration.source.more == (called / "c", Path("/d"))
    assert configuration.source.log == tmp_path / "conf" / "default"
    whole = read(path, 'source={ type = "reader", path = "inside" }').source
    assert whole.path == called / "inside"


def test_a_secrets_file_is_found_beside_the_file_that_names_it(file, read, tmp_path):
    (tmp_path / "conf" / "uri").write_text("beside")
    (tmp_path / "called" / "typed").write_text("typed")
    path = file('path = "a"\nuri = { file = "uri" }')
    assert read(path).source.uri.reveal() == "beside"
    assert read(path, 'source.uri={ file = "typed" }').source.uri.reveal() == "typed"


def test_every_path_is_known_in_full_by_its_key(file, read, tmp_path):
    configuration = read(file('path = "a"\nmore = ["c"]'), "source.log=l")
    conf = tmp_path / "conf"
    assert configuration.paths == {
        "source.path": conf / "a",
        "source.log": tmp_path / "called" / "l",
        "source.more[0]": conf / "c",
    }


def test_data_where_earlier_versions_looked_is_refused_with_the_way_to_move_it(file, read, tmp_path):
    former = tmp_path / "called" / "my lake" / "orders"
    former.mkdir(parents=True)
    path = file('path = "my lake/orders"\nuri = { file = "uri" }')
    (tmp_path / "called" / "uri").write_text("sentinel")
    (tmp_path / "conf" / "uri").write_text("sentinel")
    read(path)  # an empty folder holds nothing that could be missed
    (former / "something").touch()
    with pytest.raises(ConfigurationError) as caught:
        read(path)
    (fault,) = caught.value.details
    assert fault.key == "pipeline.source.path"
    move = f"mkdir -p '{tmp_path}/conf/my lake' && mv '{former}' '{tmp_path}/conf/my lake/orders'"
    assert move in fault.message
    assert "or use an absolute path" in fault.message
    read(path, f"source.path={former}")
    (tmp_path / "conf" / "my lake").mkdir()
    former.rename(tmp_path / "conf" / "my lake" / "orders")
    assert read(path).source.path == tmp_path / "conf" / "my lake" / "orders"


def test_data_next_to_the_file_is_used_regardless_of_the_working_directory(file, read, tmp_path):
    for folder in ("conf", "called"):
        (tmp_path / folder / "a").mkdir()
        (tmp_path / folder / "a" / "something").touch()
    assert read(file('path = "a"')).source.path == tmp_path / "conf" / "a"


def test_a_secrets_file_where_earlier_versions_looked_is_named(file, read, tmp_path):
    (tmp_path / "called" / "uri").write_text("sentinel")
    with pytest.raises(ConfigurationError, match=r"source\.uri: .*mv .*called/uri .*conf/uri"):
        read(file('path = "a"\nuri = { file = "uri" }'))


def test_what_comes_through_a_pipe_lies_in_no_folder(file, read, tmp_path):
    text = file('path = "a"').read_text()
    os.mkfifo(tmp_path / "fifo")
    writing = threading.Thread(target=(tmp_path / "fifo").write_text, args=(text,))
    writing.start()
    assert read(tmp_path / "fifo").source.path == tmp_path / "called" / "a"
    writing.join()

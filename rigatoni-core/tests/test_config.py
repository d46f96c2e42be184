"""Configuration: all faults at once, each with its key path and the nearest name; nothing is coerced in silence."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Literal

import attrs
import pytest
from rigatoni_core.api.components import Component
from rigatoni_core.api.contracts import Serializer, Source
from rigatoni_core.api.errors import ConfigurationError
from rigatoni_core.api.options import ByteSize, Seconds, Secret, parse_duration, parse_size
from rigatoni_core.config import InvalidConfigurationError, load, load_all, options_of, parse_override
from rigatoni_core.config.documents import overridden
from rigatoni_core.plugins.catalog import Catalog, Plugin, Provided


@attrs.define(kw_only=True)
class Plain(Serializer):
    """A serializer that needs nothing."""

    accepts = frozenset({"*"})
    media_type = "text/plain"
    suffix = ".txt"
    mode: Annotated[Literal["loud", "quiet"], "How"] = "quiet"

    def serialize(self, events):
        return b""


@attrs.define(kw_only=True)
class Everything(Source):
    """One option of each type."""

    uri: Annotated[Secret, "Where"]
    path: Annotated[Path, "A path"] = Path()
    size: Annotated[ByteSize, "A size"] = ByteSize(1)  # noqa: RUF009 (a NewType)
    names: Annotated[tuple[str, ...], "Names"] = ()
    seconds: Annotated[float, "Seconds"] = 1.0
    on: Annotated[bool, "A switch"] = False
    count: Annotated[int, "A number"] = attrs.field(default=1)
    comment: Annotated[str | None, "A text"] = None
    stages: Annotated[tuple[dict[str, object], ...], "Tables"] = ()
    serializer: Annotated[Serializer | None, "A component"] = None

    decoder = SimpleNamespace(format="bson")

    @count.validator
    def _check(self, attribute, value):
        if value < 1:
            raise ValueError(f"count must be at least 1, not {value}")

    async def streams(self):
        return []

    def definition(self, stream): ...

    def read(self, stream, *, after): ...


def catalog():
    provided = [
        ("source", "everything", Everything),
        ("serializer", "plain", Plain),
    ]
    builtin = Catalog.discover().plugins
    plugin = Plugin(
        "test",
        "rigatoni-test",
        "1",
        provides=tuple(Provided(kind, name, "", Component(name, lambda cls=cls: cls)) for kind, name, cls in provided),
    )
    return Catalog((*[each for each in builtin if each.name == "builtin"], plugin))


def written(tmp_path, source="", *, pipeline='name = "p"', rest=None):
    if rest is None:
        rest = '[pipeline.destination]\ntype = "stdout"\nserializer = { type = "plain" }\n'
        rest += '[pipeline.state]\ntype = "memory"'
    text = f'[pipeline]\n{pipeline}\n[pipeline.source]\ntype = "everything"\n{source}\n{rest}\n'
    path = tmp_path / "pipeline.toml"
    path.write_text(text, encoding="utf-8")
    return path


def faults(path):
    with pytest.raises(ConfigurationError) as caught:
        load(path, catalog())
    return list(caught.value.faults)


def test_every_type_of_option(tmp_path, monkeypatch):
    monkeypatch.setenv("THE_URI", "sentinel")
    source = (
        'uri = { env = "THE_URI" }\npath = "a/b"\nsize = "2 KiB"\nnames = ["x", "y"]\nseconds = 3\non = true\n'
        'count = 7\ncomment = "hello"\nstages = [{ a = 1 }]'
    )
    configuration = load(written(tmp_path, source), catalog())
    built = configuration.source
    assert built.uri.reveal() == "sentinel"
    assert (built.path, built.size, built.names, built.seconds) == (tmp_path / "a/b", 2048, ("x", "y"), 3.0)
    assert (built.on, built.count, built.comment, built.stages) == (True, 7, "hello", ({"a": 1},))
    assert isinstance(configuration.destination.serializer, Plain)
    assert "sentinel" not in repr(configuration)


def test_K1_all_faults_at_once_with_key_path_and_nearest_name(tmp_path):
    source = 'ur = "x"\nsize = "many"\nnames = "x"\nseconds = "5"\non = "no"\ncount = 4.7\ncomment = 3'
    rest = '[pipeline.destination]\ntype = "stdou"\n[pipeline.retry]\nmax_retrys = 3'
    found = "\n".join(faults(written(tmp_path, source, pipeline='nam = "p"\nbatch_size = "10"', rest=rest)))
    for text in (
        'pipeline.nam: unknown key; did you mean "name"?',
        "pipeline.name: is missing",
        "pipeline.source.uri: is missing",
        'pipeline.source.ur: unknown key; did you mean "uri"?',
        "pipeline.source.size: must be a size such as 1048576 or \"1 MiB\", not 'many'",
        'pipeline.source.names: must be a list of text, such as ["x"], not text',
        "pipeline.source.seconds: must be number, not text",
        "pipeline.source.on: must be true or false, not text",
        "pipeline.source.count: must be integer, not number",
        "pipeline.source.comment:",
        "pipeline.destination.type: there is no destination",
        "pipeline.state: is missing",
        'pipeline.retry.max_retrys: unknown key; did you mean "max_retries"?',
    ):
        assert text in found, found


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ('uri = "x"\ncount = 0', "pipeline.source.count: count must be at least 1, not 0"),
        ('uri = { env = "NOT_THERE" }', "pipeline.source.uri: the environment variable NOT_THERE is not set"),
        ('uri = { file = "/nowhere/x" }', "pipeline.source.uri: the secret's file /nowhere/x cannot be read"),
        ('uri = "x"\nserializer = { type = "plain", mode = "lod" }', 'serializer.mode: must be "loud" or "quiet"; did'),
        ('uri = "x"\nserializer = "plain"', 'pipeline.source.serializer: must be a table: write { type = "plain" }'),
        ('uri = "x"\nnames = ["a", 1]', "pipeline.source.names[1]: must be text, not integer"),
        ('uri = "x"\non = 1', "pipeline.source.on: must be true or false, not integer"),
        ('uri = "x"\ncount = true', "pipeline.source.count: must be integer, not true or false"),
    ],
)
def test_K1_single_faults(tmp_path, source, fault):
    found = faults(written(tmp_path, source))
    assert len(found) == 1
    assert fault in found[0]


def test_settings_are_checked_together(tmp_path):
    found = faults(written(tmp_path, 'uri = "x"', pipeline='name = "p"\nbatch_bytes = "64 MiB"'))
    assert "max_buffered_bytes" in found[0]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: None, "there is no file"),
        (lambda path: path.mkdir(), "is a folder"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "not UTF-8"),
        (lambda path: path.write_text("[pipeline"), "is not TOML"),
        (lambda path: path.write_text("a = " + "9" * 5000), "is not TOML"),
        (lambda path: path.write_text("a = " + "[" * 5000), "is not TOML"),
        (lambda path: path.write_text("[pipeline]\n" + "a." * 2000 + "b = 1"), "levels deep"),
        (lambda path: path.write_text("a = 1"), "pipeline: is missing"),
    ],
)
def test_a_file_that_is_none_is_said_plainly(tmp_path, make, text):
    path = tmp_path / "pipeline.toml"
    make(path)
    with pytest.raises(ConfigurationError, match=text):
        load(path, catalog())


def test_K3_a_password_in_the_file_is_a_warning_and_in_no_message(tmp_path):
    configuration = load(written(tmp_path, 'uri = "mongodb://u:sentinel@h/"'), catalog())
    assert "password" in configuration.warnings[0]
    assert "sentinel" not in repr(configuration) + str(configuration.warnings)
    found = faults(written(tmp_path, 'uri = ["sentinel"]\ncount = "sentinel"\ncomment = ["sentinel"]'))
    assert "sentinel" not in "".join(found)


def test_sizes():
    assert parse_size("8 MiB") == 8 * 2**20
    assert parse_size("500 kB") == 500_000
    with pytest.raises(ValueError, match="KiB"):
        parse_size("8 megs")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5.0), ("2 min", 120.0), ("1.5 h", 5400.0), ("700 ms", 0.7), ("2 d", 172_800.0), ("30", 30.0)],
)
def test_durations(tmp_path, text, seconds):
    assert parse_duration(text) == seconds
    settings = f'name = "p"\nbatch_timeout = "{text}"\nretry = {{ max_retry_delay = "1 h", retry_delay = 2 }}'
    loaded = load(written(tmp_path, 'uri = "x"', pipeline=settings), catalog()).settings
    assert (loaded.batch_timeout, loaded.retry.max_retry_delay, loaded.retry.retry_delay) == (seconds, 3600.0, 2.0)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (
            '"5 sec"',
            'must be a duration such as 90, "90 s" or "1.5 min", not \'5 sec\'; the units are ms, s, min, h, d',
        ),
        ('"-5 s"', "not '-5 s'"),
        ('"s"', "not 's'"),
        ("true", 'must be a duration such as 5 or "5 s", not true or false'),
        ("inf", "must be a finite number"),
        ('"0 s"', "batch_timeout must be greater than 0"),
    ],
)
def test_K1_the_error_for_a_duration_names_file_key_and_an_example(tmp_path, value, fault):
    (found,) = faults(written(tmp_path, 'uri = "x"', pipeline=f'name = "p"\nbatch_timeout = {value}'))
    assert "pipeline.toml:3: pipeline.batch_timeout: " in found
    assert fault in found


def test_a_duration_may_be_optional_and_shows_its_unit():
    @attrs.define(kw_only=True)
    class Timed:
        every: Annotated[Seconds, "How often"] = 900.0
        delay: Annotated[Seconds | None, "How long"] = None
        pause: Annotated[Seconds, "How long"] = 0.7
        wait: Annotated[Seconds, "How long"] = 30
        off: Annotated[Seconds, "How long"] = 0.0

    assert [(option.type, option.default) for option in options_of(Timed)] == [
        ("duration", '"15 min"'),
        ("duration", "none"),
        ("duration", '"700 ms"'),
        ("duration", '"30 s"'),
        ("duration", "0.0"),
    ]


def test_options_are_read_off_the_class():
    options = {option.name: option for option in options_of(Everything)}
    assert options["uri"].type == "secret"
    assert options["uri"].default is None
    assert options["names"].type == "list of text"
    assert options["on"].default == "false"
    assert options["serializer"].type == "serializer"
    assert options["size"].meaning == "A size"


def test_K1_every_fault_has_its_line_and_no_fault_hides_another(tmp_path):
    """A validator, a type and an unknown key in one table: three faults, each on its line."""
    found = faults(
        written(tmp_path, 'uri = "x"\ncount = 0\non = "no"\n"odd key" = 1', pipeline='name = ""\nbatch_size = 0')
    )
    assert [re.sub(r"^.*pipeline.toml:", "", fault)[:60] for fault in found] == [
        "2: pipeline.name: must not be empty, nor hold control charac",
        "3: pipeline.batch_size: batch_size must be greater than 0, n",
        "7: pipeline.source.count: count must be at least 1, not 0",
        "8: pipeline.source.on: must be true or false, not text",
        '9: pipeline.source."odd key": unknown key; known are uri, pa',
    ]


def test_K1_the_error_for_a_key_in_the_wrong_table_names_the_right_one(tmp_path):
    found = faults(written(tmp_path, 'uri = "x"\nbatch_timeout = 5', pipeline='name = "p"\nmax_retries = 3'))
    assert "pipeline.max_retries: unknown key here; it belongs to [pipeline.retry]" in found[0]
    assert "pipeline.source.batch_timeout: unknown key here; it belongs to [pipeline]" in found[1]


def test_K3_a_secret_that_a_constructor_or_an_error_repeats_is_taken_out(tmp_path, monkeypatch):
    monkeypatch.setenv("THE_URI", "toy://user:sen%40tinel@host/")
    configuration = load(written(tmp_path, 'uri = { env = "THE_URI" }'), catalog())
    for text in ("toy://user:sen%40tinel@host/", "the password sen@tinel", repr("sen@tinel")):
        assert "tinel" not in configuration.redaction(text)
    assert configuration.redaction("toy://user:sen%40tinel@host/") == "toy://user:***@host/"
    monkeypatch.setenv("THE_URI", 'quoted"sentinel')
    redaction = load(written(tmp_path, 'uri = { env = "THE_URI" }'), catalog()).redaction
    assert redaction(json.dumps({"uri": 'quoted"sentinel'})) == '{"uri": "***"}'


def test_the_example_of_the_design_is_understood_as_written(tmp_path, monkeypatch):
    monkeypatch.setenv("MONGODB_URI", "mongodb://localhost")
    path = tmp_path / "pipeline.toml"
    path.write_text(EXAMPLE)
    configuration = load(path, Catalog.discover())
    assert configuration.warnings == ()
    assert configuration.settings.batch_bytes == 8 * 2**20
    assert configuration.settings.retry.max_retry_delay == 30.0
    assert configuration.source.watch == ("shop.orders", "shop.users")
    assert type(configuration.destination.serializer.inner).__name__ == "JsonSerializer"


EXAMPLE = """
[pipeline]
name = "orders-to-lake"
batch_size = 10_000        # events
batch_bytes = "8 MiB"
batch_timeout = 5.0        # seconds
[pipeline.source]
type = "mongodb"
uri = { env = "MONGODB_URI" }                 # or { file = "..." }
watch = ["shop.orders", "shop.users"]
[pipeline.destination]
type = "local"
path = "lake"
serializer = { type = "zstd", inner = { type = "json" } }
[pipeline.state]
type = "file"
path = "state"
[pipeline.retry]
max_retries = 8
retry_delay = 1.0
max_retry_delay = 30.0
"""


REST = """[pipeline.destination]
type = "stdout"
serializer = { type = "plain" }
[pipeline.state]
type = "memory"
"""
DEAD_LETTERS = """[pipeline.dead_letters]
type = "stdout"
serializer = { type = "plain" }
"""


@pytest.mark.parametrize(
    ("rest", "asked", "policy"),
    [(REST, "", "stop"), (REST + DEAD_LETTERS, "", "dead_letter"), (REST + DEAD_LETTERS, "skip", "skip")],
)
def test_D5_a_destination_for_dead_letters_makes_them_the_policy_unless_another_is_asked_for(
    tmp_path, rest, asked, policy
):
    keys = 'name = "p"' + (f'\non_rejected = "{asked}"' if asked else "")
    configuration = load(written(tmp_path, 'uri = "x"', pipeline=keys, rest=rest), catalog())
    has_place = configuration.dead_letters is not None
    assert configuration.settings.rejection_policy(dead_letters=has_place) == policy
    assert any("is unused" in text for text in configuration.warnings) == bool(asked)


def test_K1_dead_letters_without_a_destination_and_names_of_side_streams_are_errors(tmp_path):
    (fault,) = faults(written(tmp_path, 'uri = "x"', pipeline='name = "p"\non_rejected = "dead_letter"', rest=REST))
    assert "[pipeline.dead_letters] is not configured" in fault
    (fault,) = faults(written(tmp_path, 'uri = "x"', pipeline='name = "p.replayed"', rest=REST))
    assert "pipeline.name: must not end in" in fault
    wrong = REST + DEAD_LETTERS.replace("plain", "plane")
    (fault,) = faults(written(tmp_path, 'uri = "x"', rest=wrong))
    assert "pipeline.dead_letters.serializer" in fault


SEVERAL = """
[defaults]
batch_size = 5
[defaults.source]
type = "everything"
uri = "x"
count = 3
[defaults.state]
type = "memory"
[defaults.destination]
type = "stdout"
serializer = { type = "plain", mode = "loud" }

[[pipeline]]
name = "one"

[[pipeline]]
name = "two"
batch_size = 7
[pipeline.source]
count = 4
"""


def test_several_pipelines_share_defaults_and_overrides_win(tmp_path):
    path = tmp_path / "several.toml"
    path.write_text(SEVERAL)
    one, two = load_all(path, catalog())
    assert (one.name, one.settings.batch_size, one.source.count) == ("one", 5, 3)
    assert (two.name, two.settings.batch_size, two.source.count) == ("two", 7, 4)
    overrides = [parse_override("source.count=9"), parse_override("destination.serializer.mode=quiet")]
    assert {each.source.count for each in load_all(path, catalog(), overrides)} == {9}
    assert one.destination.serializer.mode == "loud"
    assert load_all(path, catalog(), overrides)[1].destination.serializer.mode == "quiet"
    with pytest.raises(ConfigurationError, match="describes 2 pipelines: one, two"):
        load(path, catalog())


def test_a_component_of_another_type_takes_no_default_of_the_one_below():
    defaults = {"destination": {"type": "a", "path": "x"}, "batch_size": 5}
    merged = overridden({"destination": {"type": "b"}}, defaults, [parse_override("destination.bucket=y")])
    assert merged == {"destination": {"type": "b", "bucket": "y"}, "batch_size": 5}
    assert overridden({"destination": {"type": "a"}}, defaults, []) == defaults


def test_files_of_cases_in_a_folder_are_no_pipelines(tmp_path):
    (tmp_path / "a.toml").write_text(SEVERAL)
    (tmp_path / "a.test.toml").write_text("[[case]]\nname = 'a case'\n")
    assert len(load_all(tmp_path, catalog())) == 2
    (tmp_path / "a.toml").unlink()
    with pytest.raises(ConfigurationError, match=r"without a file \*.toml"):
        load_all(tmp_path, catalog())


def test_K1_faults_of_a_folder_name_their_files_lines_and_where_a_value_came_from(tmp_path):
    (tmp_path / "a.toml").write_text(SEVERAL.replace("count = 3", "count = 0"))
    (tmp_path / "b.toml").write_text('stray = 1\n[pipeline]\nname = "two"\nnaem = 2\n')
    (tmp_path / "notes.txt").write_text("not TOML")
    with pytest.raises(InvalidConfigurationError) as caught:
        load_all(tmp_path, catalog(), [parse_override("batch_size=many")])
    faults = {(Path(each.file).name, each.line, each.key): each.message for each in caught.value.details}
    assert "at least 1" in faults["a.toml", 7, "pipeline[0].source.count"]
    assert faults["a.toml", 3, "pipeline[0].batch_size"] == "must be integer, not text (given by --set)"
    assert "unknown key" in faults["b.toml", 1, "stray"]
    assert "name" in faults["b.toml", 4, "pipeline.naem"]
    assert str(tmp_path / "b.toml") + ":4: pipeline.naem" in str(caught.value)


def test_two_pipelines_of_one_name_would_share_positions(tmp_path):
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text(SEVERAL.replace('name = "two"', f'name = "{name}"'))
    with pytest.raises(InvalidConfigurationError, match="share positions") as caught:
        load_all(tmp_path, catalog())
    assert [(Path(each.file).name, each.line) for each in caught.value.details] == [("b.toml", 15)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match=r"without a file \*.toml"):
        load_all(tmp_path / "empty", catalog())


@pytest.mark.parametrize(
    ("text", "hint", "path", "value"),
    [
        ("destination.path=lake", Path, ("destination", "path"), "lake"),
        ("batch_size=5", int, ("batch_size",), 5),
        ("pipeline.batch_size=5", int, ("batch_size",), 5),
        ("batch_size=five", int, ("batch_size",), "five"),
        ("name=5", str, ("name",), "5"),
        ('name="5"', Annotated[str | None, "help"], ("name",), "5"),
        ("source.start_at=2026-11-23T14:00:00Z", str, ("source", "start_at"), "2026-11-23T14:00:00Z"),
        ('source.watch=["a.b"]', tuple[str, ...], ("source", "watch"), ["a.b"]),
        ("source.watch=a.b", tuple[str, ...], ("source", "watch"), ["a.b"]),
        ('source.watch="a.b c"', tuple[str, ...], ("source", "watch"), ["a.b c"]),
        ("source.watch=a.b c.d", Annotated[tuple[str, ...], "help"], ("source", "watch"), ["a.b", "c.d"]),
        ("source.watch=a.b, c.d,", list[str], ("source", "watch"), ["a.b", "c.d"]),
        ("source.watch=[a.b, 'c.d e']", list[str], ("source", "watch"), ["a.b", "c.d e"]),
        ("source.watch=[1, 2]", list[int], ("source", "watch"), [1, 2]),
        ("source.uri=mongodb://h/?a=b", Secret, ("source", "uri"), "mongodb://h/?a=b"),
        ('source.uri={ env = "U" }', Secret, ("source", "uri"), {"env": "U"}),
        ("batch_bytes=8 MiB", ByteSize, ("batch_bytes",), "8 MiB"),
        ("batch_timeout=2 min", Seconds, ("batch_timeout",), "2 min"),
        ("batch_timeout=0.5", Annotated[Seconds, "help"], ("batch_timeout",), 0.5),
        ("batch_bytes=1000", ByteSize, ("batch_bytes",), 1000),
        ("on_failure=stop", Literal["restart", "stop"], ("on_failure",), "stop"),
        ('source."odd key"=', str, ("source", "odd key"), ""),
    ],
)
def test_an_override_is_a_key_and_what_its_option_takes_it_for(text, hint, path, value):
    key, given = parse_override(text)
    assert (key, given.meant_as(hint)) == (path, value)


@pytest.mark.parametrize("text", ["batch_size", "=5", "a..b=1", "a b=1"])
def test_an_override_without_a_key_is_refused(text):
    with pytest.raises(ConfigurationError, match="not KEY=VALUE"):
        parse_override(text)

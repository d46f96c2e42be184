"""What the documents say is held against the code: option tables, the README's example, the distributions."""

import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import bson
import duckdb
import pytest
from rigatoni_bson.columns import COLUMNS, EventColumns
from rigatoni_bson.modes import MODES
from rigatoni_bson.testing.examples import EXAMPLES
from rigatoni_bson.testing.reading import bson_document
from rigatoni_bson.writing import JsonWriter
from rigatoni_core.api.bus import listening, publish
from rigatoni_core.api.components import KINDS
from rigatoni_core.api.contracts import Delivery, LeaseKeeper
from rigatoni_core.api.dead_letters import DeadLetter
from rigatoni_core.api.events import Stream
from rigatoni_core.api.notices import WorkerFailed, WorkerStarting
from rigatoni_core.api.options import parse_duration
from rigatoni_core.api.settings import Settings
from rigatoni_core.config import load, load_all, options_of, plugin_lists, structure
from rigatoni_core.plugins.catalog import Catalog
from rigatoni_core.plugins.plugin_checks import documented
from rigatoni_csv.serializer import CsvSerializer
from rigatoni_testing import contracts
from rigatoni_testing.batches import batch_of, event_document

ROOT = Path(__file__).parent.parent
DISTRIBUTIONS = sorted(path.parent for path in ROOT.glob("rigatoni-*/pyproject.toml"))
CATALOG = Catalog.discover()
# They provide no component:
LIBRARIES = {
    "rigatoni-arrow",
    "rigatoni-bson",
    "rigatoni-native",
    "rigatoni-objects",
    "rigatoni-tables",
    "rigatoni-testing",
}
PROVIDED = [(plugin, provided) for plugin, provided in CATALOG.provided() if plugin.distribution != "rigatoni-core"]
COMMANDS = [provided.name for _, provided in PROVIDED if provided.kind == "command"]
COMPONENTS = [(plugin, provided) for plugin, provided in PROVIDED if provided.kind != "command"]


@pytest.mark.parametrize(("plugin", "provided"), COMPONENTS, ids=lambda item: str(getattr(item, "name", item)))
def test_readme_option_tables_equal_the_classes(plugin, provided):
    readme = (ROOT / plugin.distribution / "README.md").read_text(encoding="utf-8")
    for option in options_of(CATALOG.get(provided.kind, provided.name)):
        assert documented(readme, option), option


def options_in(command):
    """The options of a click command and of those below it."""
    for below in getattr(command, "commands", {}).values():
        yield from options_in(below)
    for parameter in command.params:
        yield from (name for name in parameter.opts if name.startswith("--"))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_readme_of_a_command_names_every_option(name):
    plugin, _ = CATALOG.find("command", name)
    readme = (ROOT / plugin.distribution / "README.md").read_text(encoding="utf-8")
    missing = {option for option in options_in(CATALOG.get("command", name)) if option not in readme}
    assert missing <= {"--set", "--pipeline"}  # every command that reads a file has them


def test_the_readmes_example_is_a_valid_configuration(tmp_path, monkeypatch):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONGODB_URI", "mongodb://localhost/")
    (tmp_path / "pipeline.toml").write_text(example, encoding="utf-8")
    configuration = load(tmp_path / "pipeline.toml", CATALOG)
    assert configuration.name == "orders-to-lake"
    assert configuration.source.watch == ("shop.orders", "shop.users")
    command = [sys.executable, "-m", "rigatoni_core.cli", "validate", "--offline", "pipeline.toml"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "pipeline.toml is valid" in answer.stdout


def test_the_readme_is_short_and_names_the_guarantee_of_every_destination():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 150
    rows = dict(re.findall(r"^\| \[?`(\w+)`[^|]* \| ([^|]+) \|", readme, re.MULTILINE))
    for plugin, provided in CATALOG.provided():
        if provided.kind == "destination" and plugin.distribution.startswith("rigatoni-"):
            level = CATALOG.get("destination", provided.name).delivery
            expected = "exactly once" if level is Delivery.TRANSACTIONAL else level.value
            assert rows.pop(provided.name).startswith(expected), provided.name
    assert not rows, "these destinations do not exist"


PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "rigatoni-*/README.md")
    for path in ROOT.glob(pattern)
    if "_site" not in path.parts
)


def links_of(page):
    """The links of a page to files of the repository: the file, and the section or an empty text."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target, section in re.findall(r"\]\(([^)\s#]*)#?([^)\s]*)[^)]*\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            yield ((page.parent / target).resolve() if target else page), section


def sections_of(page):
    """The names of the sections of a page in links, as the site and forges make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_section(page):
    for target, section in links_of(page):
        assert target.exists(), target
        assert not section or section in sections_of(target), f"{target} has no section {section}"


def test_every_page_has_a_link_from_another_one():
    linked = {target for page in PAGES for target, _ in links_of(page) if target != page}
    pages = {
        path for path in (ROOT / "docs").rglob("*") if path.suffix in {".md", ".rst"} and "_site" not in path.parts
    }
    assert not pages - linked


def test_the_page_of_questions_links_to_every_guide():
    page = ROOT / "docs" / "how-do-i.md"
    questions = re.findall(r"^- .+?(?=^- |^#|\Z)", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(questions) >= 25
    assert all("?" in question for question in questions)
    linked = {target for target, _ in links_of(page)}
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    (guides,) = re.findall(r":caption: How-to guides\n:maxdepth: 1\n\n(.*?)\n```", index, re.DOTALL)
    for guide in guides.splitlines():
        name = guide.rpartition("<")[2].rstrip(">")
        assert page.parent / f"{name}.md" in {*linked, page}, guide


def test_the_page_of_dead_letters_has_a_valid_configuration_and_says_what_the_code_does(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "dead-letters.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MONGODB_URI", "mongodb://localhost/")
    (tmp_path / "pipeline.toml").write_text(example, encoding="utf-8")
    configuration = load(tmp_path / "pipeline.toml", CATALOG)
    assert configuration.settings.rejection_policy(dead_letters=configuration.dead_letters is not None) == "dead_letter"
    assert (configuration.settings.max_rejected, configuration.settings.rejected_window) == (100, 10_000)
    assert configuration.settings == Settings()  # the numbers on the page are the defaults
    batch = batch_of([event_document(0)])
    letter = DeadLetter.of(batch, 0, ValueError("no"), plugin="acme", attempt=1, redact=str)
    fields = bson.decode(letter.document(batch.decoder))["deadLetter"]
    table = page[page.index("| in `deadLetter`") : page.index("It is written as an event")]
    assert set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:] if row))) == set(
        fields
    )


@pytest.mark.parametrize("folder", DISTRIBUTIONS, ids=lambda folder: folder.name)
def test_every_distribution_is_complete(folder):
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == folder.name
    assert project["license"] == "Apache-2.0"
    package = folder / "src" / folder.name.replace("-", "_")
    for path in (folder / "README.md", folder / "CHANGELOG.md", package / "py.typed", folder / "tests"):
        assert path.exists(), path
    assert f"({folder.name}/README.md)" in (ROOT / "README.md").read_text()
    assert f"| [{folder.name}](../{folder.name}/README.md) |" in (ROOT / "docs" / "distributions.md").read_text()
    if folder.name != "rigatoni-core" and folder.name not in LIBRARIES:
        components = project["entry-points"].get("rigatoni")
        assert components in (None, {folder.name.removeprefix("rigatoni-"): f"{package.name}.plugin"})
        for name, value in project["entry-points"].get("rigatoni.commands", {}).items():
            assert re.fullmatch(rf"{package.name}\.\w+:{name}", value)


@pytest.mark.parametrize(("plugin", "provided"), PROVIDED, ids=lambda item: str(getattr(item, "name", item)))
def test_every_plugin_passes_the_suite_of_its_kind(plugin, provided):
    suites = suites_of(plugin.distribution)
    assert [suite.distribution for suite in suites if issubclass(suite, contracts.PluginContract)] == [
        plugin.distribution
    ]
    if provided.kind == "command":
        return
    expected = [getattr(contracts, f"{KINDS[provided.kind][1]}Contract")]
    if issubclass(CATALOG.get(provided.kind, provided.name), LeaseKeeper):
        expected.append(contracts.LeaseContract)
    for contract in expected:
        assert any(issubclass(suite, contract) for suite in suites), contract


def suites_of(distribution):
    """The classes of its tests/test_contract.py that pytest collects."""
    path = ROOT / distribution / "tests" / "test_contract.py"
    module = runpy.run_path(str(path), run_name=f"contract suites of {distribution}")
    return [each for name, each in module.items() if name.startswith("Test") and isinstance(each, type)]


def test_the_listener_in_the_docs_listens():
    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names = {}
    exec(code, names)
    bell, stream = names["Bell"](), Stream("p", "shop.orders")
    with listening([bell]):
        publish(WorkerStarting(stream=stream))
        publish(WorkerFailed(stream=stream, error=ValueError()))
    assert bell.rings == ["p/shop.orders: WorkerFailed"]


def test_the_files_in_the_observability_page_are_valid():
    page = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
    (listeners,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    document = {
        "name": "p",
        "source": {"type": "mongodb", "uri": "mongodb://localhost", "watch": ["a.b"]},
        "destination": {"type": "stdout", "serializer": {"type": "json"}},
        "state": {"type": "memory"},
        **tomllib.loads(listeners)["pipeline"],
    }
    prometheus, otel = structure({"pipeline": document}, CATALOG).listeners
    assert (prometheus.port, otel.metrics) == (9464, False)


def test_the_generated_tables_of_the_docs_are_up_to_date():
    command = [sys.executable, str(ROOT / "docs" / "tables.py"), "--check"]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, f"{answer.stdout}{answer.stderr}python docs/tables.py writes them anew"


def test_the_levels_of_delivery_on_the_page_are_those_that_components_declare():
    page = (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| ([a-z, -]+) \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE)[1:]
    declared = {}
    for plugin, provided in CATALOG.provided():
        if provided.kind == "destination" and plugin.distribution.startswith("rigatoni-"):
            declared.setdefault(CATALOG.get("destination", provided.name).delivery.value, set()).add(provided.name)
    assert len(told) == 4
    for level, who in told:
        for name in re.findall(r"^`(\w+)`|; `(\w+)`,", who):
            assert {"".join(name)} <= declared.get(level, set()) | declared["exactly once in effect"], (level, name)
        assert level in {each.value for each in Delivery}


def test_the_page_on_batches_says_what_the_limits_are_and_what_follows_from_them():
    page = (ROOT / "docs" / "batches.md").read_text(encoding="utf-8")
    limits = re.findall(r"^\| `(\w+)` \| ([\d_]+)(?: MiB| s)? \| ([\d_]+)(?: MiB| s)? \|", page, re.MULTILINE)
    assert [name for name, *_ in limits] == ["batch_size", "batch_bytes", "batch_timeout"]
    s3 = CATALOG.get("destination", "s3").limits
    for name, default, for_s3 in limits:
        unit = 2**20 if name == "batch_bytes" else 1
        assert (getattr(Settings(), name), s3[name]) == (int(default) * unit, int(for_s3) * unit)
    files = re.findall(r'^\| `"([^"]+)"` \| ([\d,]+) \|', page, re.MULTILINE)
    assert len(files) == 5
    assert all(int(count.replace(",", "")) == 86_400 // parse_duration(wait) for wait, count in files)


def test_the_commands_on_how_we_know_are_sessions_and_tests_that_exist():
    page = (ROOT / "docs" / "how-we-know.md").read_text(encoding="utf-8")
    sessions = re.findall(r"^def (\w+)\(session", (ROOT / "noxfile.py").read_text(encoding="utf-8"), re.MULTILINE)
    commands = re.findall(r"`python -m nox -s (\w+)([^`]*)`", page)
    assert len(commands) >= 10
    for session, arguments in commands:
        assert session in sessions
        for path in re.findall(r"\S+\.py", arguments):
            assert (ROOT / path).exists(), path


def test_the_diagrams_are_what_their_script_draws():
    command = [sys.executable, str(ROOT / "docs" / "diagrams" / "draw.py"), "--check"]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout


FORMATS = ["docs/formats.md", "rigatoni-csv/README.md", "rigatoni-avro/README.md", "rigatoni-parquet/README.md"]


@pytest.mark.parametrize("path", FORMATS)
def test_tables_of_columns_are_the_vocabulary(path):
    rows = [line.strip("| ").split("|") for line in (ROOT / path).read_text(encoding="utf-8").splitlines()]
    known = {column.name: column.meaning for column in COLUMNS}
    found = {row[0].strip(" `"): row[-1].strip() for row in rows if row[0].strip(" `") in known}
    assert list(found.items()) == list(known.items())


def row_of_type(path, name):
    """A row of a README's table of types, and what a value of this type is as JSON in each mode."""
    lines = (ROOT / path).read_text(encoding="utf-8").splitlines()
    (row,) = [line.strip("| ").split(" | ") for line in lines if line.startswith(f"| {name} |")]
    raw = bson_document([(b"v", *EXAMPLES[name])])
    texts: list[Any] = [JsonWriter(mode).texts([raw])[0] for mode in MODES]
    return row, [f"`{text[5:-1].decode()}`" for text in texts]


@pytest.mark.parametrize("name", EXAMPLES)
def test_C6_the_table_of_types_is_what_becomes_of_each_type(name):
    row, written = row_of_type("rigatoni-json/README.md", name)
    assert row[1:] == written


@pytest.mark.parametrize("path", FORMATS[1:])
@pytest.mark.parametrize("name", EXAMPLES)
def test_C6_tables_of_types_are_what_becomes_of_each_type(path, name):
    row, (relaxed, *_) = row_of_type(path, name)
    assert row[2] == relaxed
    events = [bson_document([(field, *EXAMPLES[name])]) for field in (*FIELDS_OF_EVENTS, b"newer")]
    kept = [unknown == event for unknown, event in zip(unknown_fields(events), events, strict=True)]
    assert all(kept) == ("unknown_fields" in row[1])


FIELDS_OF_EVENTS = (b"_id", b"operationType", b"ns", b"clusterTime", b"wallTime", b"documentKey", b"fullDocument")
FIELDS_OF_EVENTS += (b"fullDocumentBeforeChange", b"updateDescription", b"lsid", b"txnNumber")


def unknown_fields(events):
    return EventColumns.of_raw(events, range(len(events))).values["unknown_fields"]


@pytest.mark.parametrize(
    ("path", "serializer", "expected"),
    [
        ("rigatoni-csv/README.md", CsvSerializer(), [("insert", f"v{number}") for number in range(9)]),
    ],
)
def test_queries_over_csv_files_work(path, serializer, expected, tmp_path, monkeypatch):
    """Nine versions of two documents, in a folder as the destinations make it."""
    (query,) = re.findall(r"```sql\n(.*?)```", (ROOT / path).read_text(encoding="utf-8"), re.DOTALL)
    versions = [
        event_document(number, fullDocument={"status": f"v{number}"}, documentKey={"_id": number % 2})
        for number in range(9)
    ]
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "lake" / "shop.orders" / f"batch{serializer.suffix}"
    file.parent.mkdir(parents=True)
    file.write_bytes(serializer.serialize(batch_of(versions)))
    with duckdb.connect() as connection:
        found = connection.execute(query).fetchall()
    assert sorted((row[0], re.sub(r'\{"status":(.*)}', r"\1", row[-1])) for row in found) == expected


def test_the_command_and_the_list_of_plugins_import_nothing_heavy():
    code = (
        "import sys\nfrom rigatoni_core.plugins.catalog import Catalog\nassert len(Catalog.discover().plugins) > 3\n"
        "import rigatoni_core.cli.plugins\n"
        "heavy = {'pymongo', 'bson', 'boto3', 'pyarrow', 'redis', 'orjson', 'zstandard', 'rich', 'structlog',"
        "'prometheus_client', 'opentelemetry'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def test_the_page_on_operating_names_every_command_and_exit_code_of_the_help(tmp_path, monkeypatch):
    from rigatoni_core.cli.app import HELP
    from rigatoni_core.plugins.commands import BUILT_IN

    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    for command in set(BUILT_IN) - {"plugins", "dlq"}:
        assert f"rigatoni {command}" in page, command
    told = re.findall(r"^  (\d+) +(.+)$", HELP, re.MULTILINE)
    assert len(told) > 5
    assert re.findall(r"^\| (\d+) \| (.+) \|$", page, re.MULTILINE) == told
    monkeypatch.setenv("MONGODB_URI", "mongodb://localhost/")
    example, lists = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "several.toml").write_text(f"{lists}\n{example}")
    assert [each.name for each in load_all(tmp_path / "several.toml", CATALOG)] == ["orders", "users"]
    assert plugin_lists(tmp_path / "several.toml").deny == {"rigatoni-acme"}

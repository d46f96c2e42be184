"""Whatever stands in a fenced block of a page is true: it is run, compared, or says why it cannot be."""

import os
import shlex
import sys
from pathlib import Path

import click
import pytest
from pages import ROOT, Reader, blocks
from pymongo import MongoClient
from rigatoni_core.cli.app import LazyGroup

FROM_WHEELS = {f"docs/tutorials/first-{name}.md" for name in ("command", "destination", "pipeline")}
"""What `nox -s tutorial` follows, in a fresh environment."""

PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/**/*.md", "rigatoni-*/README.md")
    for path in ROOT.glob(pattern)
    if "_site" not in path.parts and any(blocks(path))
)


@pytest.mark.parametrize("page", [page for page in PAGES if page not in FROM_WHEELS])
def test_what_a_page_says_is_true(page, tmp_path, mongodb_uri):
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RIGATONI_RUNTIME_DIR": str(tmp_path / "run"),
        "MONGODB_URI": mongodb_uri,
        "POSTGRES_DSN": "postgresql://localhost/shop",
        "AWS_ACCESS_KEY_ID": "a key id for examples",
        "AWS_SECRET_ACCESS_KEY": "a key for examples",
        "CATALOG_CREDENTIAL": "id:secret",
        "REDIS_URL": "redis://localhost/0",
        "REDIS_TLS_URL": "rediss://localhost/0",
        "MASK_KEY": "a key for examples, of no secret",
        "NO_COLOR": "1",
    }
    with MongoClient(mongodb_uri) as client:
        client.drop_database("shop")
    folder = tmp_path / "place"
    folder.mkdir()
    done = Reader(folder, environment, installs=False).follow(ROOT / page)
    assert done.total() > 0


def commands_not_run():
    for page in PAGES:
        for block in blocks(ROOT / page):
            if block.do == "not run" and block.language == "sh":
                for line in block.text.splitlines():
                    if line.startswith("rigatoni "):
                        yield pytest.param(line, id=f"{block.place}: {line}")


@pytest.mark.parametrize("line", list(commands_not_run()))
def test_commands_that_are_not_run_exist_with_their_options(line):
    words = shlex.split(line.partition(" >")[0], comments=True)[1:]
    command, context = LazyGroup("rigatoni"), click.Context(LazyGroup("rigatoni"))
    while isinstance(command, click.Group):
        name = words.pop(0)
        command = command.get_command(context, name)
        assert command is not None, name
        context = click.Context(command, info_name=name)
    command.make_parser(context).parse_args(words)  # raises for an option that there is not


UNTRUE = {
    "a command that fails": "```sh\nfalse\n```\n",
    "a command that should fail": "<!-- fails -->\n```sh\ntrue\n```\n",
    "an answer that is not given": "```sh\necho 1\n```\n\n```text\n2\n```\n",
    "a wrong option": "```toml\n[pipeline]\nbatch_sise = 1\n```\n",
    "code that does not run": "```python\n1 / 0\n```\n",
    "an unknown distribution": "```sh\npip install rigatoni-pasta\n```\n",
    "an unknown extra": '```sh\npip install "rigatoni-core[mongodb,pasta]"\n```\n',
    "an unknown folder, with uv": '```sh\nuv pip install "./rigatoni-pasta[mongodb]"\n```\n',
    "a block of no kind": "```\nrigatoni run\n```\n",
    "an unknown mark": "<!-- skipped -->\n```sh\ntrue\n```\n",
    "a block within a list": "- so:\n\n  ```sh\n  false\n  ```\n",
    "no reason": "<!-- not run: -->\n```sh\ntrue\n```\n",
    "another text": "<!-- part of: README.md -->\n```text\nnever a word of this\n```\n",
    "no such test": "<!-- run by: tests/test_docs.py::test_nothing -->\n```sh\ntrue\n```\n",
}


@pytest.mark.parametrize("text", UNTRUE.values(), ids=UNTRUE)
def test_what_is_not_true_is_found(text, tmp_path):
    (tmp_path / "page.md").write_text(text, encoding="utf-8")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with pytest.raises(AssertionError, match=r"page\.md:\d"):
        Reader(tmp_path, {**os.environ, "PATH": path}, installs=False).follow(tmp_path / "page.md")


def test_the_list_of_pages_is_no_empty_one():
    assert {"README.md", "docs/operating.md", "rigatoni-core/README.md"} <= set(PAGES)
    assert set(PAGES) >= FROM_WHEELS

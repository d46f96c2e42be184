"""The runner of pages: every fenced block is run, or compared, or says before it why it is not.

What a block is, its language says:

- `sh` is run by a shell that stops at the first failure, the next block where this one ended. With `installs=False`,
  lines of pip are not run, but must name distributions of this repository.
- `text` was printed by the commands before it: each line must occur, `…` stands for anything within a line.
- `toml` is a pipeline, completed by what it leaves out, and valid; the commands after it find it as `pipeline.toml`.
- `python` is run, `json` is parsed.

A comment right before a block says more, and readers do not see it:

- `<!-- file: PATH -->` writes it there; `<!-- part of: FILE -->`: that file has these lines.
- `<!-- fails -->`: these commands must fail.
- `<!-- other terminal -->`: the command goes on beside what follows, and the text after it is waited for;
  `<!-- Ctrl-C -->`: pressed in the other terminal, then this was printed there.
- `<!-- run by: FILE::TEST -->`: that test does it; `<!-- not run: REASON -->`.
"""

import json
import re
import signal
import subprocess
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import IO, NamedTuple

ROOT = Path(__file__).parent.parent.parent
BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]+?) -->\n)?"
    r"^(?P<indent> *)(?P<fence>```+)(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=indent)(?P=fence)$",
    re.DOTALL | re.MULTILINE,
)
PIP = re.compile(r"(?:python -m |uv )?pip install (?P<what>[^#]+)")
NAMED = '[pipeline]\nname = "page"\n'
COMPLETION = {
    "source": '[pipeline.source]\ntype = "mongodb"\nuri = { env = "MONGODB_URI" }\nwatch = ["shop.orders"]\n',
    "destination": '[pipeline.destination]\ntype = "local"\npath = "lake"\nserializer = { type = "json" }\n',
    "state": '[pipeline.state]\ntype = "file"\npath = "state"\n',
}
"""What a page's example leaves out."""


class Block(NamedTuple):
    """One fenced block; `do` and `what` are the two halves of its mark."""

    place: str
    do: str
    what: str
    language: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, without the directives of the site (`{toctree}`)."""
    content = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(content):
        if not found["language"].startswith("{"):
            place = f"{page.name}:{content.count(chr(10), 0, found.start('fence')) + 1}"
            do, _, what = (found["mark"] or "").partition(": ")
            yield Block(place, do, what.strip(), found["language"], dedent(found["text"]))


class Reader:
    """Somebody who does in `folder` what a page says, to the letter."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *, installs: bool) -> None:
        self.folder = self.where = folder
        self.environment = environment
        self.installs = installs
        self.printed = ""
        self.other: subprocess.Popen[bytes] | None = None
        self.done: Counter[str] = Counter()

    def follow(self, page: Path) -> Counter[str]:
        """How many blocks there were of each kind. Raises `AssertionError` where the page is not true."""
        try:
            for block in blocks(page):
                self.done[block.do or block.language] += 1
                self._take(block)
            return self.done
        finally:
            if self.other is not None:
                self._end_other()

    def _take(self, block: Block) -> None:
        match block.do, block.language:
            case "not run", _:
                assert len(block.what.split()) > 2, f"{block.place} does not say why it is not run"
            case "run by", _:
                file, _, test = block.what.partition("::")
                assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{block.place}: no {block.what}"
            case "part of", _:
                content = (ROOT / block.what).read_text(encoding="utf-8")
                assert block.text in content, f"{block.place} is not in {block.what} (any more)"
            case "file", _:
                self.where.joinpath(block.what).write_text(block.text, encoding="utf-8")
            case "other terminal", "sh":
                with self._output.open("wb") as output:
                    self.other = self._start(f"exec {block.text}", output)
            case "Ctrl-C", "text":
                self._end_other()
                self.printed = self._output.read_text(encoding="utf-8")
                self._compare(block)
            case (("" | "fails"), "sh"):
                self._run(block)
            case "", "text":
                self._compare(block)
            case "", "toml":
                self._validate(block)
            case "", "python":
                self._call(block, "python", "-c", block.text)
            case "", "json":
                json.loads(block.text)
            case _:
                raise AssertionError(f"{block.place}: this block ({block.do!r}, {block.language!r}) is not run")

    @property
    def _output(self) -> Path:
        return self.folder / ".other"

    def _start(self, command: str, output: IO[bytes] | int) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            ["sh", "-e", "-c", command],
            cwd=self.where,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _run(self, block: Block) -> None:
        lines = block.text.splitlines(keepends=True)
        if not self.installs:
            for pip in filter(None, map(PIP.match, lines)):
                for name in pip["what"].split():
                    assert is_distribution(name), f"{block.place}: {name} is no distribution of this repository"
            lines = [line for line in lines if not PIP.match(line)]
        process = self._start(f"{''.join(lines)}pwd > '{self.folder}/.where'", subprocess.PIPE)
        self.printed = process.communicate(timeout=300)[0].decode()
        assert (process.returncode != 0) == (block.do == "fails"), f"{block.place}: {block.text}\n{self.printed}"
        if block.do != "fails":
            self.where = Path((self.folder / ".where").read_text(encoding="utf-8").strip())

    def _call(self, block: Block, *command: str) -> None:
        answer = subprocess.run(
            command, cwd=self.where, env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert answer.returncode == 0, f"{block.place}: {answer.stdout}{answer.stderr}"

    def _validate(self, block: Block) -> None:
        given, text = tomllib.loads(block.text).get("pipeline", {}), block.text
        if isinstance(given, dict):  # else there are several, all of them whole
            if "name" not in given:
                text = text.replace("[pipeline]\n", NAMED) if "[pipeline]\n" in text else f"{text}\n{NAMED}"
            text += "".join(f"\n{table}" for key, table in COMPLETION.items() if key not in given)
        (self.where / "pipeline.toml").write_text(text, encoding="utf-8")
        self._call(block, "rigatoni", "validate", "--offline", "pipeline.toml")

    def _compare(self, block: Block) -> None:
        """Each line must have been printed; what the other terminal prints is waited for."""
        patterns = [re.escape(line).replace("…", ".*") for line in block.text.splitlines()]
        deadline = time.monotonic() + 60
        while True:
            over = self.other is None or self.other.poll() is not None or time.monotonic() > deadline
            printed = self.printed + (self._output.read_text(encoding="utf-8") if self.other is not None else "")
            missing = [pattern for pattern in patterns if not re.search(pattern, printed)]
            if over or not missing:
                break
            time.sleep(0.1)
        assert not missing, f"{block.place} promises {missing}, but was printed:\n{printed}"

    def _end_other(self) -> None:
        """Ctrl-C in the other terminal; it must end well, also where it had hardly begun."""
        other, self.other = self.other, None
        assert other is not None, "nothing runs in the other terminal"
        other.send_signal(signal.SIGINT)
        try:
            code = other.wait(timeout=60)
        finally:
            other.kill()
        assert code in (0, 130, -signal.SIGINT), self._output.read_text(encoding="utf-8")


def is_distribution(name: str) -> bool:
    """Whether this argument of pip names a distribution of this repository, and only extras that it has."""
    folder, _, extras = name.strip("'\"").removeprefix("./").rstrip("]").partition("[")
    file = ROOT / folder / "pyproject.toml"
    if not file.exists():
        return False
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    return not extras or set(extras.split(",")) <= set(project["optional-dependencies"])

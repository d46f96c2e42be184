"""Generates tables in these pages and in the READMEs: `python docs/tables.py` writes them, `--check` compares them.

A table is between the comments `<!-- generated: NAME -->` and `<!-- end -->`. Pages of the reference are generated
whole.
"""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from rigatoni_core.api.errors import RigatoniError, Transient
from rigatoni_core.observe.metrics import DISTRIBUTIONS, FIGURES, Figure
from rigatoni_otel.attributes import key_of
from rigatoni_prometheus.names import labels_of, name_of

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent))

from docs import configuration, error_ids  # noqa: E402


def metrics(_: Path) -> Iterator[tuple[str, ...]]:
    """Yield every metric with its names in Prometheus and in OpenTelemetry."""
    yield "Prometheus", "labels besides `pipeline`, `stream`", "OpenTelemetry", "unit", "type", "meaning"
    for metric in (*FIGURES, *DISTRIBUTIONS):
        attribute, kind = "", "histogram"
        if isinstance(metric, Figure):
            attribute = f" by `{key_of(metric.attribute)}`" if metric.attribute else ""
            kind = metric.kind
        labels = ", ".join(f"`{label}`" for label in labels_of(metric)[2:])
        unit = f"`{metric.unit}`" if metric.unit else ""
        yield f"`{name_of(metric)}`", labels, f"`rigatoni.{metric.name}`{attribute}", unit, kind, metric.meaning


def errors(readme: Path) -> Iterator[tuple[str, ...]]:
    """Yield every error of the distribution of a README, in the order of their definition."""
    yield "error", "meaning", "retried"
    module = importlib.import_module(f"{readme.parent.name.replace('-', '_')}.errors")
    for error in vars(module).values():
        if isinstance(error, type) and issubclass(error, RigatoniError) and error.__module__ == module.__name__:
            meaning = str(error.__doc__).partition("\n")[0].removesuffix(".").replace("|", "\\|")
            yield f"`{error.id}`", meaning, "yes" if issubclass(error, Transient) else "no"


TABLES = {"metrics": metrics, "errors": errors}
PAGES = {"configuration": configuration.page, "error-ids": error_ids.page}
"""Pages of the reference."""


def with_tables(page: str, path: Path) -> str:
    """Return the text of the page at `path` with its tables up to date."""

    def table(match: re.Match[str]) -> str:
        header, *rows = (f"| {' | '.join(cells)} |" for cells in TABLES[match[2]](path))
        rule = re.sub(r"[^|]+", "---", header)
        return "\n".join((match[1], header, rule, *rows, match[3]))

    return re.sub(r"(<!-- generated: (\w+) -->)\n.*?(<!-- end -->)", table, page, flags=re.DOTALL)


def main() -> int:
    check, stale = "--check" in sys.argv, []
    wanted_pages = {FOLDER / "reference" / f"{name}.md": page() for name, page in PAGES.items()}
    for path in sorted([*FOLDER.glob("*.md"), *FOLDER.parent.glob("rigatoni-*/README.md")]):
        wanted_pages[path] = with_tables(path.read_text(encoding="utf-8"), path)
    for path, wanted in wanted_pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != wanted:
            stale.append(path.relative_to(FOLDER.parent).as_posix())
            if not check:
                path.write_text(wanted, encoding="utf-8")
    if stale:
        sys.stdout.write(f"{'stale' if check else 'written'}: {', '.join(stale)}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

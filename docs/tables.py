"""The generated tables of these pages: `python docs/tables.py` writes them anew, with `--check` only compares.

A table stands between the comments `<!-- generated: NAME -->` and `<!-- end -->`.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from rigatoni_core.observe.metrics import DISTRIBUTIONS, FIGURES, Figure
from rigatoni_otel.attributes import key_of
from rigatoni_prometheus.names import labels_of, name_of

FOLDER = Path(__file__).parent


def metrics() -> Iterator[tuple[str, ...]]:
    """Every metric, as Prometheus and as OpenTelemetry call it."""
    yield "Prometheus", "labels besides `pipeline`, `stream`", "OpenTelemetry", "unit", "type", "meaning"
    for metric in (*FIGURES, *DISTRIBUTIONS):
        attribute, kind = "", "histogram"
        if isinstance(metric, Figure):
            attribute = f" by `{key_of(metric.attribute)}`" if metric.attribute else ""
            kind = metric.kind
        labels = ", ".join(f"`{label}`" for label in labels_of(metric)[2:])
        unit = f"`{metric.unit}`" if metric.unit else ""
        yield f"`{name_of(metric)}`", labels, f"`rigatoni.{metric.name}`{attribute}", unit, kind, metric.meaning


TABLES = {"metrics": metrics}


def with_tables(page: str) -> str:
    """The text of a page with its tables as they should be."""

    def table(match: re.Match[str]) -> str:
        header, *rows = (f"| {' | '.join(cells)} |" for cells in TABLES[match[2]]())
        rule = re.sub(r"[^|]+", "---", header)
        return "\n".join((match[1], header, rule, *rows, match[3]))

    return re.sub(r"(<!-- generated: (\w+) -->)\n.*?(<!-- end -->)", table, page, flags=re.DOTALL)


def main() -> int:
    check, stale = "--check" in sys.argv, []
    for path in sorted(FOLDER.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        if (wanted := with_tables(page)) != page:
            stale.append(path.name)
            if not check:
                path.write_text(wanted, encoding="utf-8")
    if stale:
        sys.stdout.write(f"{'stale' if check else 'written'}: {', '.join(stale)}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

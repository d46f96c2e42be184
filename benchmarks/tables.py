"""Formats the results of the sections as tables of the page."""

import statistics

from benchmarks.figures import spread

PATHS = ("without the accelerator", "with the accelerator")


def plain_table(figures: dict[str, list[float]]) -> str:
    rows = [f"| {name} | {spread(values)} |" for name, values in figures.items()]
    return "\n".join(["| case | CPU time, µs/event |", "|---|---|", *rows, ""])


def rows_table(figures: dict[str, list[float]]) -> str:
    medians = {name: statistics.median(values) for name, values in figures.items()}
    hand = medians["hand-written: decode, json+gzip"]
    rows = []
    for name, values in figures.items():
        event = medians.get(name.replace("document of a snapshot", "change event")) if "snapshot" in name else None
        against = f"{medians[name] / event:.2f}" if event else ""
        rows.append(f"| {name} | {spread(values)} | {hand / medians[name]:.1f} | {against} |")
    head = "| case | CPU time, µs/event | speedup over the script | relative to a change event |"
    return "\n".join([head, "|---|---|---|---|", *rows, ""])


def formats_table(figures: dict[str, list[float]]) -> str:
    hand = statistics.median(figures["hand-written: json+gzip"])
    json_zstd = {
        path: statistics.median(figures[f"json+zstd, {path}"]) for path in PATHS if f"json+zstd, {path}" in figures
    }
    rows = []
    for name, values in figures.items():
        median = statistics.median(values)
        base = next((value for path, value in json_zstd.items() if name.endswith(path)), None)
        against = f"{median / base:.2f}" if base else ""
        rows.append(f"| {name} | {spread(values)} | {1e6 / median:,.0f} | {hand / median:.1f} | {against} |")
    head = "| case | CPU time, µs/event | events/s of one core | speedup over the script | relative to json+zstd |"
    return "\n".join(["![CPU time per event](benchmarks.svg)", "", head, "|---|---|---|---|---|", *rows, ""])


def masking_table(figures: dict[str, list[float]]) -> str:
    rows = []
    for name, values in figures.items():
        plain = name.replace(", masked", "").replace(", select and mask", "")
        kept = statistics.median(figures[plain]) / statistics.median(values)
        rows.append(f"| {name} | {spread(values)} | {f'{kept:.0%}' if plain != name else ''} |")
    head = "| case | CPU time, µs/event | throughput kept |"
    return "\n".join([head, "|---|---|---|", *rows, ""])


def figures_table(figures: dict[str, list[float]]) -> str:
    rows = [f"| {name} | {spread(values)} |" for name, values in figures.items()]
    return "\n".join(["| case | result |", "|---|---|", *rows, ""])


def latency_table(figures: dict[str, dict[str, float]]) -> str:
    rows = [f"| {name} | {values['p50']} ms | {values['p99']} ms |" for name, values in figures.items()]
    note = (
        "The time from sending an insert until its file is durable, with `batch_timeout = 0.05`. The row of 50,000 "
        "inserts uses the feeding server.\n"
    )
    return "\n".join([note, "| inserts | p50 | p99 |", "|---|---|---|", *rows, ""])

"""The plot on the page of the benchmarks."""

import statistics
from pathlib import Path


def plot(figures: dict[str, list[float]], path: Path) -> None:
    """Draw the medians as bars in an SVG, readable on light and dark pages."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    most, height = max(medians.values()), 24
    bars = []
    for number, (name, value) in enumerate(medians.items()):
        top = 8 + number * height
        fast, script = name.endswith("with the accelerator"), name.startswith("hand-written")
        color = "#8a8578" if script else "#c2571a" if fast else "#4a7fb5"
        bars.append(
            f'<text x="238" y="{top + 13}" text-anchor="end" font-size="12">{name}</text>'
            f'<rect x="246" y="{top}" width="{max(1.0, 400 * value / most):.1f}" height="16" fill="{color}"/>'
            f'<text x="{252 + 400 * value / most:.1f}" y="{top + 13}" font-size="12">{value:.1f} µs</text>'
        )
    total = 16 + len(bars) * height
    style = "text{font-family:sans-serif;fill:#333}@media(prefers-color-scheme:dark){text{fill:#ddd}}"
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {total}" role="img" '
        f'aria-label="CPU time per event"><style>{style}</style>{"".join(bars)}</svg>\n',
        encoding="utf-8",
    )

"""Draws the diagrams of the pages as SVG, narrow enough for a phone, readable on light and dark pages.

python docs/diagrams/draw.py            writes them
python docs/diagrams/draw.py --check    exits with 1 if a file differs from this drawing
"""

import sys
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent
LINE = "#737b88"  # between light and dark: visible on both
FILLS = {"ours": "#dbeafe", "theirs": "#e7e5e4", "good": "#dcfce7", "bad": "#fee2e2", "wait": "#fef3c7"}
FONT = "font-family='system-ui, sans-serif' text-anchor='middle'"


class Drawing:
    """An SVG of boxes, arrows and labels."""

    def __init__(self, title: str, width: int, height: int) -> None:
        self.parts = [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' role='img'>",
            f"<title>{escape(title)}</title>",
            "<defs><marker id='tip' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"
            f"<path d='M0 0 8 4 0 8z' fill='{LINE}'/></marker></defs>",
        ]

    def box(self, x: int, y: int, width: int, kind: str, head: str, line: str = "") -> None:
        """A box with a heading, and a line below it."""
        height = 46 if line else 30
        middle = x + width // 2
        self.parts.append(f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='6' fill='{FILLS[kind]}'/>")
        style = f"{FONT} font-size='14' font-weight='600' fill='#111827'"
        self.parts.append(f"<text x='{middle}' y='{y + 20}' {style}>{escape(head)}</text>")
        if line:
            self.parts.append(
                f"<text x='{middle}' y='{y + 37}' {FONT} font-size='12' fill='#374151'>{escape(line)}</text>"
            )

    def words(self, x: int, y: int, text: str, anchor: str = "middle") -> None:
        font = FONT.replace("'middle'", f"'{anchor}'")
        self.parts.append(f"<text x='{x}' y='{y}' {font} font-size='12' fill='{LINE}'>{escape(text)}</text>")

    def arrow(self, *points: tuple[int, int]) -> None:
        """From the first point over the others to the last one."""
        path = " ".join(f"{x},{y}" for x, y in points)
        self.parts.append(
            f"<polyline points='{path}' fill='none' stroke='{LINE}' stroke-width='1.5' marker-end='url(#tip)'/>"
        )

    def dashed(self, x: int, top: int, bottom: int) -> None:
        self.parts.append(f"<line x1='{x}' y1='{top}' x2='{x}' y2='{bottom}' stroke='{LINE}' stroke-dasharray='3 4'/>")

    def __str__(self) -> str:
        return "\n".join([*self.parts, "</svg>", ""])


def walk() -> Drawing:
    drawing = Drawing("The path of a change from MongoDB to the checkpoint", 440, 448)
    steps = [
        ("theirs", "MongoDB", "a change stream, read only"),
        ("ours", "Source", "whole server replies, not decoded"),
        ("ours", "Batcher", "split by events, bytes, age"),
        ("ours", "Serializer", "encodes a batch, on another thread"),
        ("theirs", "Destination", "writes, until durable"),
        ("good", "Checkpoint", "saves the position after the batch"),
    ]
    for number, (kind, head, line) in enumerate(steps):
        y = 8 + 76 * number
        drawing.box(40, y, 290, kind, head, line)
        if number:
            drawing.arrow((185, y - 30), (185, y - 2))
    drawing.arrow((330, 411), (380, 411), (380, 107), (333, 107))
    drawing.words(388, 255, "after a", "start")
    drawing.words(388, 271, "restart", "start")
    return drawing


def batch() -> Drawing:
    drawing = Drawing("The life of a batch", 460, 414)
    steps = [
        ("ours", "The batch is split off", "consecutive events of one stream", ""),
        ("ours", "The batch is serialized", "events become bytes", ""),
        ("ours", "The lead is created", "named by the first event", ""),
        ("ours", "The other objects", "one per further folder", "it was absent"),
        ("good", "The checkpoint is saved", "", "everything is durable"),
    ]
    for number, (kind, head, line, why) in enumerate(steps):
        y = 8 + 92 * number
        drawing.box(20, y, 220, kind, head, line)
        if number:
            drawing.arrow((130, y - 46), (130, y - 2))
            drawing.words(138, y - 20, why, "start")
    drawing.arrow((240, 123), (276, 123))
    drawing.box(278, 100, 176, "bad", "Events are rejected", "dead letters, then the rest")
    drawing.arrow((240, 206), (276, 206))
    drawing.box(278, 176, 176, "wait", "The lead exists", "realign to its end")
    drawing.arrow((454, 199), (458, 199), (458, 31), (243, 31))
    drawing.arrow((240, 224), (256, 224), (256, 263), (276, 263))
    drawing.box(278, 240, 176, "wait", "No response", "back off, then retry")
    return drawing


def takeover() -> Drawing:
    drawing = Drawing("An instance is paused, another takes over", 460, 478)
    first, store, second, lake = 55, 170, 290, 405
    for x, kind, head in ((first, "ours", "A"), (second, "ours", "B")):
        drawing.box(x - 40, 8, 80, kind, head)
    drawing.box(store - 55, 8, 110, "theirs", "State store")
    drawing.box(lake - 50, 8, 100, "theirs", "Destination")
    for x in (first, store, second, lake):
        drawing.dashed(x, 38, 470)

    def message(y: int, start: int, end: int, text: str) -> None:
        drawing.arrow((start, y), (end + (3 if start > end else -3), y))
        drawing.words((start + end) // 2, y - 6, text)

    message(72, first, store, "lease, token 7")
    message(110, first, lake, "batch 1")
    message(146, first, store, "checkpoint 1")
    drawing.box(first - 45, 162, 90, "bad", "paused")
    drawing.box(store - 55, 200, 110, "wait", "lease expired")
    message(258, second, store, "lease, token 8")
    message(294, store, second, "checkpoint 1")
    message(330, second, lake, "batch 2")
    drawing.box(first - 45, 340, 90, "ours", "wakes up")
    message(396, first, lake, "batch 2: object exists, nothing is written")
    message(432, first, store, "save, token 7")
    drawing.box(store - 50, 442, 100, "bad", "refused")
    return drawing


def overview() -> Drawing:
    drawing = Drawing("Rigatoni reads MongoDB, and writes to files, object stores, tables or Kafka", 460, 232)
    drawing.box(4, 59, 104, "theirs", "MongoDB", "read only")
    drawing.box(158, 59, 128, "ours", "Rigatoni", "one process")
    drawing.box(158, 178, 128, "good", "State store", "checkpoints")
    drawing.arrow((108, 82), (155, 82))
    drawing.arrow((222, 105), (222, 175))
    drawing.words(214, 138, "after each", "end")
    drawing.words(214, 154, "durable batch", "end")
    targets = [
        ("Files", "local folder"),
        ("Object stores", "S3, GCS, Azure"),
        ("Tables", "Delta, Iceberg"),
        ("Postgres, Kafka", "transactions"),
    ]
    for number, (head, line) in enumerate(targets):
        y = 4 + 58 * number
        drawing.box(328, y, 130, "theirs", head, line)
        drawing.arrow((286, 82), (306, 82), (306, y + 23), (325, y + 23))
    return drawing


DRAWINGS = {"overview.svg": overview, "walk.svg": walk, "batch.svg": batch, "takeover.svg": takeover}


def main() -> int:
    different = []
    for name, draw in DRAWINGS.items():
        text, path = str(draw()), FOLDER / name
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            different.append(name)
    if different:
        sys.stdout.write(f"stale: {', '.join(different)}; python docs/diagrams/draw.py redraws them\n")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())

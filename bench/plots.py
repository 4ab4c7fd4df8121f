#!/usr/bin/env python3
"""Draws what bench/run.py measured as SVG: rate, CPU and memory of each sender, beside peers that were measured elsewhere.

  bench/plots.py docs/pictures/bench.json       draws bench-light.svg and bench-dark.svg beside it
"""

import hashlib
import html
import json
import sys
from pathlib import Path

# What does not run beside the others each time: measured once, with its date. docs/comparison.md says how.
PEERS = [
    {"sender": "listmonk, batches of 5,000, 6 KB", "receiver": "the same, no CHUNKING", "messagesPerSecond": 8200, "cpuSecondsPer1000": 0.182, "peakMemoryMiB": 3072, "measured": "2026-11"},
]
# Which rows are drawn, and how they are called: the best of each sender to one receiver.
RECEIVER = "the same, no CHUNKING"
NAMES = {
    "mailfleet": "Mailfleet, with its ledger",
    "mailfleet, full": "Mailfleet, ledger synced to disk",
    "mailfleet, normal": "Mailfleet, --synchronous=normal",
    "smtp-source, 32 sessions": "smtp-source, 32 sessions; without a ledger",
    "lettre's pool, 20 connections": "lettre's pool, 20 connections; without a ledger",
}
PANELS = (("messagesPerSecond", "messages a second", "more is better"), ("cpuSecondsPer1000", "CPU seconds per 1,000 messages", "less is better"), ("peakMemoryMiB", "peak memory, MiB", "less is better"))
COLOURS = {
    "light": {"text": "#1f2328", "quiet": "#59636e", "ground": "#ffffff", "ours": "#0969da", "others": "#8c959f"},
    "dark": {"text": "#e6edf3", "quiet": "#9198a1", "ground": "#0d1117", "ours": "#4493f8", "others": "#6e7681"},
}
WIDE, BAR, LEFT = 900, 22, 330


def rows(measured: dict) -> list[dict]:
    """Each sender to the receiver that all of them can use, and the peers."""
    found = [row | {"sender": NAMES[row["sender"]], "ours": row["sender"].startswith("mailfleet")} for row in measured["rows"] if row["receiver"] == RECEIVER and row["sender"] in NAMES]
    found.sort(key=lambda row: not row["ours"])
    return [*found, *(peer | {"sender": f"{peer['sender']} ({peer['measured']})", "ours": False} for peer in PEERS)]


def shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.3f}".rstrip("0").rstrip(".")


def svg(measured: dict, scheme: str, mark: str) -> str:
    """The plot, with real text."""
    colours, drawn, lines, y = COLOURS[scheme], rows(measured), [], 34
    text = lambda x, at, words, kind="text", more="": lines.append(f'<text x="{x}" y="{at}" fill="{colours[kind]}"{more}>{html.escape(words)}</text>')  # noqa: E731
    text(16, y, "Sending messages of 5 to 6 KB to one fast receiver on the same machine, which offers PIPELINING and no CHUNKING", more=' font-weight="600" font-size="15"')
    for field, title, better in PANELS:
        y += 34
        text(16, y, title, more=' font-weight="600"')
        text(WIDE - 16, y, better, "quiet", ' text-anchor="end"')
        most = max(row[field] for row in drawn)
        for row in drawn:
            y += BAR
            length = max(2.0, (WIDE - LEFT - 90) * row[field] / most)
            text(LEFT - 10, y, row["sender"], more=' text-anchor="end" font-size="11.5"')
            lines.append(f'<rect x="{LEFT}" y="{y - 12}" width="{length:.1f}" height="15" rx="2" fill="{colours["ours" if row["ours"] else "others"]}"/>')
            text(f"{LEFT + length + 6:.1f}", y, shown(row[field]))
    y += 34
    text(16, y, f"{measured['caption']} What has a month behind it was measured then.", "quiet", ' font-size="11.5"')
    high = y + 18
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDE} {high}" width="{WIDE}" height="{high}" role="img" aria-label="Rate, CPU and memory of senders"><!-- {mark} -->'
        f'<rect width="{WIDE}" height="{high}" fill="{colours["ground"]}"/><g font-family="system-ui, sans-serif" font-size="12.5">{"".join(lines)}</g></svg>\n'
    )


def mark_of(figures: Path) -> str:
    """The digest of what a plot is made from: the figures, and this file."""
    return "made from " + hashlib.sha256(figures.read_bytes() + Path(__file__).read_bytes()).hexdigest()


def paths(figures: Path) -> dict[str, Path]:
    return {scheme: figures.with_name(f"{figures.stem}-{scheme}.svg") for scheme in COLOURS}


def draw(figures: Path):
    """Both plots, beside the figures."""
    measured = json.loads(figures.read_text(encoding="utf-8"))
    for scheme, path in paths(figures).items():
        path.write_text(svg(measured, scheme, mark_of(figures)), encoding="utf-8")


if __name__ == "__main__":
    draw(Path(sys.argv[1]))

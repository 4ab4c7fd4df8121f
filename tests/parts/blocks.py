"""The commands of a document: what is typed behind `$` in its blocks, and what is shown below."""

import re
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"\s*```(\w*)\s*$")
HERE = re.compile(r"<<-?\s*'?(\w+)'?")
# What differs each time: times, ports of one's own, ages and durations, ids of processes.
VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?Z?"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s|m|h)\b"), "SPAN"),
)


@dataclass
class Command:
    """One command of a document."""

    line: int
    text: str
    # Typed as root, behind `#`.
    is_root: bool = False
    shown: list[str] = field(default_factory=list)


def commands(path: Path) -> list[Command]:
    """The commands of a document, in its order; what a here-document holds is part of its command."""
    found: list[Command] = []
    language, end = None, ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if fence := FENCE.match(line):
            language = fence[1] if language is None else None
            end = ""
        elif language not in ("console", "sh"):
            continue
        elif end:
            found[-1].text += f"\n{line}"
            end = "" if line.strip() == end else end
        elif line.startswith(("$ ", "# ")):
            found.append(Command(number, line[2:], line.startswith("# ")))
            here = HERE.search(line)
            end = here[1] if here else ""
        elif found and found[-1].text.endswith("\\") and not found[-1].shown:
            found[-1].text += f"\n{line}"
        elif found:
            found[-1].shown.append(line)
    return found


def normal(line: str) -> str:
    """A line without what differs each time, and with single spaces."""
    for pattern, word in VARYING:
        line = pattern.sub(word, line)
    return " ".join(line.split())


def differs(shown: list[str], printed: list[str]) -> str:
    """How what a document shows differs from what was printed; empty where it does not. `…` stands for anything, alone for any lines."""
    pieces = []
    for line in shown:
        if line.strip() == "…":
            pieces.append(r"(?:[^\n]*\n)*")
        else:
            pieces.append("[^\n]*".join(re.escape(part) for part in normal(line).split("…")) + r"\n")
    text = "".join(f"{normal(line)}\n" for line in printed)
    if re.fullmatch("".join(pieces), text):
        return ""
    return "it shows\n  " + "\n  ".join(shown) + "\nand this was printed:\n  " + "\n  ".join(printed)

"""What the suites print: tables of figures, cases, and the last line that scripts read."""

import os
import sys
import time
import traceback

from .process import keep_folders


class Breach(AssertionError):
    """Something that must hold does not."""


def require(holds, what: str):
    """Fails with `what` unless it holds."""
    if not holds:
        raise Breach(what)


class Skip(Exception):
    """A case cannot run here; the text names what is missing."""


def need(missing: str):
    """Skips the case when a part is missing."""
    if missing:
        raise Skip(f"needs {missing}")


def table(head: list[str], rows: list[list]) -> str:
    """A Markdown table with aligned columns."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


class Cases:
    """Runs named cases one by one and counts them. A skip is a failure under CI=true."""

    def __init__(self, only: list[str] | None = None):
        self.only = only or []
        self.passed = self.failed = self.skipped = 0

    def run(self, name: str, case, *arguments):
        """Runs a case; an exception is its failure."""
        if self.only and not any(word in name for word in self.only):
            return
        begin = time.monotonic()
        try:
            note = case(*arguments)
            self.passed += 1
            word = "ok"
        except Skip as reason:
            self.skipped += 1
            word, note = "skipped", str(reason)
        except Exception as fault:  # noqa: BLE001: whatever it is, the other cases still run
            self.failed += 1
            keep_folders()
            word, note = "FAILED", f"{type(fault).__name__}: {fault}"
            if not isinstance(fault, Breach):
                traceback.print_exc()
        print(f"{word:8}{name} ({time.monotonic() - begin:.1f} s){': ' + str(note) if note else ''}", flush=True)

    def end(self):
        """The last line, and the exit code."""
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        strict = os.environ.get("CI") == "true"
        sys.exit(1 if self.failed or (strict and self.skipped) or self.passed + self.skipped == 0 else 0)

"""What the suites share: a command line, named cases, tables of figures, and a last line that scripts read."""

import argparse
import os
import sys
import time
import traceback
from pathlib import Path

from .process import keep_folders


# Of one failure, in the summary of `make test`.
FAILURE_LINES_MAX = 40


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


def record_skip(name: str, reason: str):
    """Adds a line to the file that `MAILFLEET_SKIPPED` names, from which `make test` writes its summary."""
    if path := os.environ.get("MAILFLEET_SKIPPED"):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{Path(sys.argv[0]).stem}: {name}: {reason}\n")


def record_failure(name: str, why: str):
    """Adds the beginning of a failure to the file that `MAILFLEET_FAILED` names: `make test` repeats it at its end."""
    if path := os.environ.get("MAILFLEET_FAILED"):
        lines = why.strip().splitlines() or [""]
        more = [f"  … {len(lines) - FAILURE_LINES_MAX} lines more above"] if len(lines) > FAILURE_LINES_MAX else []
        with open(path, "a", encoding="utf-8") as file:
            file.write("\n".join([f"{Path(sys.argv[0]).stem}: {name}: {lines[0]}", *(f"  {line}" for line in lines[1:FAILURE_LINES_MAX]), *more]) + "\n")


def skips_fail() -> bool:
    """Whether a skip is a failure: with `CI=true`."""
    return os.environ.get("CI") == "true"


def skip_program(missing: str):
    """Ends a program that cannot run here: a failure, except where `make test` collects the skips."""
    if missing:
        record_skip("all of it", f"needs {missing}")
        is_collected = "MAILFLEET_SKIPPED" in os.environ and not skips_fail()
        print(f"skipped: needs {missing}", file=sys.stderr)
        sys.exit(0 if is_collected else 1)


def table(head: list[str], rows: list[list]) -> str:
    """A Markdown table with aligned columns."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


class Shared:
    """What several cases use, made before the first of them that runs."""

    def __init__(self, make):
        self.make = make
        self.made = None

    def get(self):
        """The value; what it raises is the failure of each case that asks."""
        if self.made is None:
            value = self.make()
            self.made = value.__enter__() if hasattr(value, "__enter__") else value
        return self.made

    def close(self):
        """Ends it, where it was made and has an end."""
        if hasattr(self.made, "__exit__"):
            self.made.__exit__(None, None, None)


class Cases:
    """The cases of a suite: `add` names them, `end` runs them one by one, in this order, and ends the process.

    A skip is a failure under CI=true.
    """

    def __init__(self, description: str):
        self.parser = argparse.ArgumentParser(
            description=f"{description.strip()}\n\nPrints one line for each case; the last line is `N passed, N failed, N skipped`. With CI=true a skip is a failure.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.parser.add_argument("--list", action="store_true", help="print the names of the cases, and run none")
        self.parser.add_argument("--only", metavar="NAME", action="append", default=[], help="run only the cases with NAME in their name; may be repeated")
        self.cases: list[tuple] = []
        self.tables: list[tuple[list[str], list[list]]] = []
        self.passed = self.failed = self.skipped = 0

    def option(self, *names, **settings):
        """One more option of the suite, as for `argparse`."""
        self.parser.add_argument(*names, **settings)

    def parse(self) -> argparse.Namespace:
        """The command line; call it before anything is started."""
        self.options = self.parser.parse_args()
        return self.options

    def add(self, name: str, case, *arguments, needs=lambda: ""):
        """A case: a function whose result is printed beside its name and whose exception is its failure. `needs` says what is missing."""
        self.cases.append((name, case, arguments, needs))

    def add_all(self, cases, *arguments, prefix: str = "", needs=lambda: ""):
        """Functions whose names are those of their cases."""
        for case in cases:
            self.add(prefix + case.__name__.replace("_", " "), case, *arguments, needs=needs)

    def table(self, *head: str) -> list[list]:
        """A table to be printed before the last line: the rows, for the cases to add to."""
        rows: list[list] = []
        self.tables.append((list(head), rows))
        return rows

    def end(self):
        """Runs the chosen cases, prints the tables and the last line, and ends the process."""
        for word in self.options.only:
            if not any(word in name for name, *_ in self.cases):
                self.parser.error(f"no case has `{word}` in its name; --list prints the names")
        chosen = [case for case in self.cases if not self.options.only or any(word in case[0] for word in self.options.only)]
        if self.options.list:
            print("\n".join(name for name, *_ in chosen))
            sys.exit(0)
        for case in chosen:
            self._run(*case)
        for shared in {argument for _, _, arguments, _ in chosen for argument in arguments if isinstance(argument, Shared)}:
            shared.close()
        for head, rows in self.tables:
            if rows:
                print(table(head, rows), flush=True)
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped", flush=True)
        sys.exit(1 if self.failed or (skips_fail() and self.skipped) else 0)

    def _run(self, name: str, case, arguments: tuple, needs):
        begin = time.monotonic()
        try:
            need(needs())
            note = case(*(argument.get() if isinstance(argument, Shared) else argument for argument in arguments))
            self.passed += 1
            word = "ok"
        except Skip as reason:
            self.skipped += 1
            word, note = "skipped", str(reason)
            record_skip(name, note)
        except Exception as fault:  # noqa: BLE001: whatever it is, the other cases still run
            self.failed += 1
            keep_folders()
            word, note = "FAILED", f"{type(fault).__name__}: {fault}"
            record_failure(name, note)
            if not isinstance(fault, Breach):
                traceback.print_exc()
        print(f"{word:8}{name} ({time.monotonic() - begin:.1f} s){': ' + str(note) if note else ''}", flush=True)

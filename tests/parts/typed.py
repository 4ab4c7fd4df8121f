"""The commands of a document, typed into one shell after the other, in a folder where they have what they need."""

import os
import re
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from .blocks import Command, differs
from .report import Breach

# For all commands of a document.
PAGE_SECONDS = 200
# What a command that stays is given before the next one is typed, at most: until it has printed something.
STAYS_SECONDS = 20


@dataclass
class Page:
    """What a document's commands need, and what is special about them."""

    # Shell, before the first command.
    setup: str = ""
    # Regular expressions in commands, and what is typed instead: placeholders, and folders of a real machine.
    typed: dict[str, str] = field(default_factory=dict)
    # Beginnings of commands that stay until the end of the page.
    stays: tuple[str, ...] = ()
    # Shell before the command that begins so.
    before: dict[str, str] = field(default_factory=dict)
    # Exit codes other than 0, by the beginnings of commands.
    codes: dict[str, int] = field(default_factory=dict)
    # Folders of the repository that are beside the page's.
    copied: tuple[str, ...] = ()
    # Whether it needs a control plane, with helm and the controller.
    cluster: bool = False


def bare(text: str) -> str:
    """A command without its comment."""
    return re.split(r"\s+# ", text.split("\n", 1)[0], maxsplit=1)[0].rstrip()


def begins(text: str, beginnings) -> str | None:
    """The longest of the beginnings that a command has."""
    return max((one for one in beginnings if text.startswith(one)), key=len, default=None)


def script(page: Page, commands: list[Command], place: Path, logs: Path) -> str:
    """A shell script that types them, and marks where each begins and ends."""
    lines = ["exec 2>&1", f"cd {place}", "set -e", page.setup, "set +e"]
    for number, command in enumerate(commands):
        text = command.text
        for pattern, word in page.typed.items():
            text = re.sub(pattern, word, text)
        if before := begins(command.text, page.before):
            lines.append(f"{{ {page.before[before]}\n}} </dev/null >>{logs}/before.log 2>&1")
        lines.append(f"printf '\\n@@begin {number}\\n'")
        if begins(command.text, page.stays):
            log = f"{logs}/stays-{number}.log"
            lines.append(f"( {text}\n) >{log} 2>&1 & staying=$!")
            lines.append(f"for i in $(seq {STAYS_SECONDS * 10}); do [ -s {log} ] && break; sleep 0.1; done; sleep 0.3; cat {log}; kill -0 $staying")
        else:
            lines.append(text)
        lines.append(f"printf '\\n@@end {number} %s\\n' $?")
    return "\n".join(lines) + "\n"


def run(page: Page, commands: list[Command], place: Path, environment: dict[str, str]) -> int:
    """Types the commands of a document: every exit code, and everything that is shown, must be as the document says.

    Raises:
        Breach: with everything that differs.
    """
    # Beside the folder, which a command may read as a whole.
    logs = place.parent
    file = logs / "page.sh"
    file.write_text(script(page, commands, place, logs), encoding="utf-8")
    with open(logs / "page.log", "wb") as log:
        shell = subprocess.Popen(["bash", file], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=place, env=environment, start_new_session=True)
        try:
            shell.wait(PAGE_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        finally:
            # What it left running ends with it.
            try:
                os.killpg(shell.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            shell.wait()
    printed = (logs / "page.log").read_text(encoding="utf-8", errors="replace")
    faults = []
    for number, command in enumerate(commands):
        found = re.search(rf"@@begin {number}\n(.*?)\n@@end {number} (\d+)\n", printed, re.DOTALL)
        where = f"line {command.line}, `{bare(command.text)}`"
        if not found:
            begun = printed.split(f"@@begin {number}\n", 1)
            faults.append(f"{where}: it did not end:\n{begun[-1][-1500:]}")
            break
        output, code = found[1], int(found[2])
        wanted = page.codes.get(begins(command.text, page.codes), 0)
        if code != wanted:
            faults.append(f"{where}: exit {code} instead of {wanted}:\n{output[-1500:]}")
        elif command.shown:
            lines = [line for line in output.split("\n")]
            while lines and not lines[-1].strip():
                lines.pop()
            shown = list(command.shown)
            while shown and not shown[-1].strip():
                shown.pop()
            if begins(command.text, page.stays):
                # It goes on after what is shown.
                shown.append("…")
            if difference := differs(shown, lines):
                faults.append(f"{where}: {difference}")
    if faults:
        raise Breach("\n".join(faults))
    return len(commands)

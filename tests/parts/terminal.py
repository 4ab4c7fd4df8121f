"""A terminal of tmux: what people type, and what they see."""

import os
import re
import subprocess
import uuid
from pathlib import Path

from .process import wait_until
from .report import require


class Terminal:
    """A terminal of tmux with a shell; everything in it ends with it."""

    def __init__(self, columns: int, rows: int, place: Path, **environment: str):
        self.socket, self.columns, self.commands = f"mailfleet-{uuid.uuid4().hex[:8]}", columns, 0
        variables = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TMUX", "CI")}
        shell = ["env", "PS1=$ ", *(f"{name}={value}" for name, value in environment.items()), "bash", "--norc", "--noprofile"]
        words = ["-f", "/dev/null", "new-session", "-d", "-s", "main", "-x", str(columns), "-y", str(rows), "-c", str(place), *shell]
        subprocess.run(["tmux", "-L", self.socket, *words], check=True, timeout=30, env=variables)
        self.tmux("set-option", "-g", "history-limit", "5000")
        wait_until(lambda: "$" in self.shown(), 10, "the shell's prompt")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], timeout=30, capture_output=True)

    def tmux(self, *words: str) -> str:
        """What a command of tmux prints."""
        return subprocess.run(["tmux", "-L", self.socket, *words], check=True, capture_output=True, text=True, timeout=30).stdout

    def type(self, command: str):
        """A command, on a terminal without anything above it."""
        self.commands += 1
        self.tmux("send-keys", "-t", "main", f"clear; {command}; echo end-{self.commands}: $?", "Enter")

    def press(self, key: str):
        self.tmux("send-keys", "-t", "main", key)

    def resize(self, columns: int, rows: int):
        self.columns = columns
        self.tmux("resize-window", "-t", "main", "-x", str(columns), "-y", str(rows))

    def shown(self, *options: str) -> str:
        """The screen, without the rows below the last text."""
        return self.tmux("capture-pane", "-p", "-t", "main", *options).rstrip("\n")

    def everything(self) -> list[str]:
        """The screen and what scrolled away above it; a line that the terminal wrapped is one."""
        return self.shown("-J", "-S", "-").rstrip().split("\n")

    def words(self) -> str:
        """Everything, as one line: whatever was wrapped."""
        return " ".join(" ".join(self.everything()).split())

    def wait(self, pattern: str, seconds: float = 60):
        """Waits until the screen has that."""
        wait_until(lambda: re.search(pattern, self.shown("-J")), seconds, f"`{pattern}` on the screen:\n{self.shown()}", every=0.1)

    def end(self, seconds: float = 60):
        """Waits until the command has ended."""
        self.wait(rf"(?m)^end-{self.commands}: \d", seconds)

    def child(self) -> int:
        """The process that the shell waits for."""
        shell = self.tmux("display-message", "-p", "-t", "main", "#{pane_pid}").strip()
        children = Path(f"/proc/{shell}/task/{shell}/children").read_text(encoding="utf-8").split()
        require(len(children) == 1, f"the shell has the processes {children}")
        return int(children[0])

    def require_whole(self, campaign: str):
        """No line of the picture is wrapped, and there is one picture."""
        lines = self.everything()
        picture = [line for line in lines if line.startswith(("campaign ", "  default/", "  and "))]
        wide = [line for line in picture if len(line.rstrip()) >= self.columns]
        require(not wide, f"wider than {self.columns} columns: {wide[:2]}")
        heads = [line for line in lines if line.startswith(f"campaign {campaign} ")]
        require(len(heads) == 1, f"{len(heads)} pictures:\n" + "\n".join(lines))

"""A git repository with the objects of a fleet, as teams keep them, and its branches."""

import json
import os
import subprocess
from pathlib import Path

from . import fleet as fleets
from .report import require

# People in the table beside the objects, which is not in git.
RECIPIENTS = 10_000


class Repository:
    """A git repository whose folder `config` a fleet reads; people and the ledger are not in it."""

    def __init__(self, place: Path, program: Path):
        self.fleet, self.program, self.folder = fleets.Fleet(place, program), program, place
        (place / ".gitignore").write_text("*.csv\nstate/\nseed/\n*.out\n*.new\n", encoding="utf-8")
        self.git("init", "--quiet", "--initial-branch", "main")
        fleets.write_csv(self.fleet.config / "people.csv", RECIPIENTS)

    def git(self, *words: str) -> str:
        """A git command that depends on nothing of this machine."""
        alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        who = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *who, *words], cwd=self.folder, check=True, capture_output=True, text=True, timeout=60, env=os.environ | alone
        ).stdout

    def commit(self, *objects: dict):
        """Writes the objects and commits them."""
        self.fleet.write("all.yaml", *objects)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Change")

    def command(self, *words, environment: dict | None = None) -> tuple[int, str, str]:
        """Another command from the root of the repository: its exit code, output and errors."""
        words = [str(word) for word in (self.program, *words)]
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env=environment)
        return done.returncode, done.stdout, done.stderr

    def diff(self, *words, text: str | None = None, environment: dict | None = None) -> tuple[int, str]:
        """The exit code of `mailfleet diff` and its output, from the root of the repository; with the fleet's ledger unless words say otherwise."""
        state = [] if "--state" in words else ["--state", self.fleet.state]
        words = [str(word) for word in (self.program, "diff", *words, *state)]
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=120, input=text, env=environment)
        return done.returncode, done.stdout + done.stderr

    def report(self, *words, text: str | None = None) -> dict:
        """The same as JSON."""
        code, output = self.diff(*words, "-o", "json", text=text)
        require(code == 0, f"exit {code}: {output}")
        return json.loads(output)

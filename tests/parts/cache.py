"""Where scripts/setup keeps what it builds and installs, as scripts/parts.sh says."""

import functools
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@functools.cache
def _ask(command: str) -> str:
    words = ["sh", "-euc", f". scripts/parts.sh; {command}"]
    return subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def part(name: str) -> Path:
    """The folder of a part."""
    return Path(_ask(f"part {name}"))


def version(name: str) -> str:
    """The version of a part, by its name in scripts/parts.sh."""
    return _ask(f'echo "${name}"')

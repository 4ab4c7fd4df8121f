"""Where scripts/setup keeps what it builds and installs."""

import hashlib
import os
from pathlib import Path


def cache() -> Path:
    """The folder: `MAILFLEET_CACHE`, or the user's."""
    return Path(os.environ.get("MAILFLEET_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mailfleet")


def judges(kind: str, listed: Path) -> Path:
    """A folder of judges, whose name follows the list of what is in it."""
    return cache() / f"judges-{kind}-{hashlib.sha256(listed.read_bytes()).hexdigest()[:12]}"

"""Texts that are kept in tests/reviews; `UPDATE_GOLDEN=1` rewrites them: read them as a user would before committing."""

import difflib
import os

from .cache import ROOT
from .report import require

FOLDER = ROOT / "tests/reviews"


def require_kept(name: str, text: str):
    """Fails unless the text is the one that is kept."""
    path = FOLDER / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
        return
    kept = path.read_text(encoding="utf-8") if path.exists() else ""
    difference = "\n".join(difflib.unified_diff(kept.splitlines(), text.splitlines(), "kept", "now", lineterm=""))
    require(kept == text, f"{path} differs; UPDATE_GOLDEN=1 rewrites it.\n{difference}")

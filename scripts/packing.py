"""What scripts/image and scripts/release share: the version, the time of the source, and archives whose bytes depend on nothing else."""

import io
import os
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The names of machines in images, in Debian and in Kubernetes, by what the machine calls itself.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def run(*words, **more) -> str:
    """A command's output; a failure is an exception."""
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True, cwd=ROOT, **more).stdout


def of_cargo(field: str) -> str:
    """A field of the package in Cargo.toml."""
    return re.search(rf'^{field} = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE).group(1)


def epoch_of_source() -> int:
    """SOURCE_DATE_EPOCH, or the time of the commit; 0 where there is no repository."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(given)
    try:
        return int(run("git", "log", "-1", "--format=%ct"))
    except (OSError, subprocess.CalledProcessError):
        return 0


def tarball(root: Path, epoch: int, owner: Callable[[str], int] = lambda _: 0) -> bytes:
    """A folder as a tar: names in order, one time for all, and owners by number alone."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            entry = tar.gettarinfo(path, arcname=name)
            entry.uid = entry.gid = owner(name)
            entry.uname = entry.gname = ""
            entry.mtime = epoch
            if entry.isfile():
                with open(path, "rb") as file:
                    tar.addfile(entry, file)
            else:
                tar.addfile(entry)
    return buffer.getvalue()

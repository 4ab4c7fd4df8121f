"""Two verifiers of DKIM signatures, independent of each other and of ours: dkimpy and OpenDKIM. Both ask a name server of the test's."""

import json
import re
import shutil
import subprocess
from pathlib import Path

from .cache import ROOT, part

SCRIPT = ROOT / "tests/judges/signatures.py"
# Only `example` is asked for.
RESOLVER = """\
server:
  do-not-query-localhost: no
  do-ip6: no
  module-config: "iterator"
stub-zone:
  name: "example."
  stub-addr: 127.0.0.1@{port}
"""
CONFIGURATION = "Mode v\nResolverConfiguration {folder}/unbound.conf\nSocket local:{folder}/socket\n"
# Files that one run of OpenDKIM reads.
FILES_MAX = 250


def missing() -> str:
    """What is missing; empty when nothing is."""
    if not shutil.which("opendkim"):
        return "opendkim (Debian: opendkim)"
    python = part("python") / "bin/python"
    return "" if python.exists() else f"{python} (scripts/setup installs it)"


# For each file, its signatures in the order of the message: the domain, the selector, the algorithm, and whether it is right.
Verdicts = dict[Path, list[tuple[str, str, str, bool]]]


def by_dkimpy(files: list[Path], port: int) -> Verdicts:
    """What dkimpy says."""
    words = [part("python") / "bin/python", SCRIPT, str(port)]
    done = subprocess.run(words, input="\n".join(map(str, files)), capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise RuntimeError(f"dkimpy: {done.stderr[-2000:]}")
    return {Path(name): [tuple(one) for one in found] for name, found in json.loads(done.stdout).items()}


def by_opendkim(files: list[Path], port: int, folder: Path) -> Verdicts:
    """What OpenDKIM says."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "unbound.conf").write_text(RESOLVER.format(port=port))
    (folder / "opendkim.conf").write_text(CONFIGURATION.format(folder=folder))
    verdicts: Verdicts = {}
    for start in range(0, len(files), FILES_MAX):
        some = files[start : start + FILES_MAX]
        words = ["opendkim", "-x", folder / "opendkim.conf", "-vv", "-t", ",".join(map(str, some))]
        done = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            raise RuntimeError(f"opendkim: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        # A message's results stand before the lines that name its file.
        results = re.findall(r"### INSHEADER: idx=\d+ hname='Authentication-Results' hvalue='(.*?)'$", done.stdout, re.S | re.M)
        if len(results) != len(some):
            raise RuntimeError(f"opendkim read {len(results)} of {len(some)} messages: {done.stdout[-1000:]}")
        for path, text in zip(some, results):
            found = re.findall(r"\bdkim=(\w+)\b.*?header\.d=(\S+).*?header\.a=(\S+) header\.s=(\S+)", text, re.S)
            verdicts[path] = [(domain, selector, algorithm, result == "pass") for result, domain, algorithm, selector in found]
    return verdicts

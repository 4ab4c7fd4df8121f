"""The steps of an action or a job, run as a forge's runner does: expressions in `env` and `with`, and bash with `-eo pipefail`."""

import json
import os
import re
import subprocess
from pathlib import Path

from .cache import part

EXPRESSION = re.compile(r"\$\{\{\s*([^}]+?)\s*\}\}")


def python() -> Path:
    """The Python that has PyYAML and check-jsonschema."""
    return part("python") / "bin/python"


def missing(*, actionlint: bool = False) -> str:
    """What is missing; empty when nothing is."""
    if not os.access(python(), os.X_OK):
        return "check-jsonschema (scripts/setup python)"
    if actionlint and not os.access(part("actionlint") / "actionlint", os.X_OK):
        return "actionlint (scripts/setup actionlint)"
    return ""


def read(path: Path) -> dict:
    """A file of YAML; `on` is a word there, and no truth."""
    script = "import json, sys, yaml; print(json.dumps(yaml.load(open(sys.argv[1]), yaml.BaseLoader)))"
    return json.loads(subprocess.run([python(), "-c", script, path], check=True, capture_output=True, text=True, timeout=60).stdout)


def evaluated(text: str, context: dict[str, str]) -> str:
    """A text with its expressions evaluated.

    Raises:
        KeyError: an expression names what is not in the context.
    """
    return EXPRESSION.sub(lambda found: context[found[1]], text)


def run_script(script: str, folder: Path, environment: dict) -> tuple[int, str]:
    """A script as a runner has bash run it; its exit code and output."""
    words = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=180, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout + done.stderr


def run_steps(steps: list[dict], folder: Path, environment: dict, context: dict[str, str]) -> tuple[int, str]:
    """The steps that run something, in turn until one fails. A script with an expression in it is refused: what somebody wrote would become code."""
    output = ""
    for step in steps:
        if "run" not in step:
            continue
        if EXPRESSION.search(step["run"]):
            raise ValueError(f"an expression is part of a script: {step['run']}")
        own = {name: evaluated(value, context) for name, value in step.get("env", {}).items()}
        code, text = run_script(step["run"], folder, environment | own)
        output += text
        if code:
            return code, output
    return 0, output

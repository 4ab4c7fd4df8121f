"""What GitOps tools compare with: Flux's server-side dry run, and Argo CD's normaliser and three-way diff, by their own code."""

import json
import subprocess
from pathlib import Path

from .cache import part
from .cluster import ControlPlane
from .report import require


def judge_program() -> Path:
    """The judge of GitOps tools, which has Flux's code."""
    return part("gitops") / "judge"


def argocd_program() -> Path:
    """Argo CD's diff."""
    return part("argocd") / "differ"


def missing() -> str:
    """What is missing; empty when nothing is."""
    return " and ".join(f"{path} (scripts/setup builds it)" for path in (judge_program(), argocd_program()) if not path.exists())


def _ask(command: list, request) -> list[dict]:
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, timeout=180)
    require(done.returncode == 0, f"{command[0]} fails: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def flux(plane: ControlPlane, objects: list[dict], *, apply: bool) -> list[dict]:
    """What Flux's next dry run would change; with `apply`, after Flux's own apply."""
    return _ask([judge_program(), "drift", plane.kubeconfig], {"apply": apply, "objects": objects})


def argocd(plane: ControlPlane, objects: list[dict]) -> list[dict]:
    """Which objects Argo CD would show as OutOfSync."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    live = json.loads(plane.kubectl("get", "-f", "-", "-o", "json", stdin=listed))
    # kubectl prints a single object without a list.
    items = live["items"] if live["kind"] == "List" else [live]
    return _ask([argocd_program()], [{"config": config, "live": there} for config, there in zip(objects, items, strict=True)])

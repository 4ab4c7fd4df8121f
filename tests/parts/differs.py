"""What GitOps tools compare with: Flux's server-side dry run, and Argo CD's normaliser and three-way diff, by their own code."""

import hashlib
import json
import subprocess
from pathlib import Path

from .cluster import ControlPlane, folder_of_programs
from .report import require

ROOT = Path(__file__).resolve().parents[2]


def built(name: str, folder: str, program: str) -> Path:
    """A program where scripts/setup builds it: the folder's name follows its source."""
    source = ROOT / "tests" / folder
    text = b"".join((source / file).read_bytes() for file in ("go.mod", "go.sum", "main.go"))
    return folder_of_programs().parent.parent / f"{name}-{hashlib.sha256(text).hexdigest()[:12]}" / program


def judge_program() -> Path:
    """The judge of GitOps tools, which has Flux's code."""
    return built("gitops-judge", "gitops", "judge")


def argocd_program() -> Path:
    """Argo CD's diff."""
    return built("argocd-differ", "argocd", "differ")


def absent() -> str:
    """What `need` wants: which program is missing, or nothing."""
    return " and ".join(f"{path} (scripts/setup builds it)" for path in (judge_program(), argocd_program()) if not path.exists())


def _ask(command: list, request) -> list[dict]:
    done = subprocess.run(command, input=json.dumps(request), capture_output=True, text=True, timeout=180)
    require(done.returncode == 0, f"{command[0]} fails: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def flux(plane: ControlPlane, objects: list[dict], *, apply: bool) -> list[dict]:
    """What Flux's next dry run would change; before it, Flux's own apply where it is asked for."""
    return _ask([judge_program(), "drift", plane.kubeconfig], {"apply": apply, "objects": objects})


def argocd(plane: ControlPlane, objects: list[dict]) -> list[dict]:
    """Which objects Argo CD would show as OutOfSync."""
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    live = json.loads(plane.kubectl("get", "-f", "-", "-o", "json", stdin=listed))
    # kubectl gives one object as itself.
    items = live["items"] if live["kind"] == "List" else [live]
    return _ask([argocd_program()], [{"config": config, "live": there} for config, there in zip(objects, items, strict=True)])

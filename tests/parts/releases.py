"""Helm with a real API server: releases, rendered charts, and what a service account asked for."""

import json
import os
import subprocess
from pathlib import Path

from .cache import part
from .cluster import KUBERNETES, ControlPlane, environment, missing
from .process import wait_until

CRDS = ("sendingservers.mailfleet.dev", "plans.mailfleet.dev", "campaigns.mailfleet.dev")



def helm_program() -> Path:
    """The helm that scripts/setup builds."""
    return part("helm") / "helm"


def nothing_for_releases() -> str:
    """What is missing for releases; empty when nothing is."""
    return missing() or ("" if helm_program().exists() else f"{helm_program()} (scripts/setup builds it)")


class HelmPlane(ControlPlane):
    """A control plane with an audit log, kube-controller-manager and helm."""

    def __init__(self, folder: Path):
        super().__init__(folder, audit=True, controllers=True)

    def helm(self, *words) -> str:
        """The output of helm; a failure is an error."""
        code, output = self.try_helm(*words)
        if code:
            raise RuntimeError(f"helm {' '.join(map(str, words))}: exit {code}: {output[-2000:]}")
        return output

    def try_helm(self, *words) -> tuple[int, str]:
        """Its exit code and output."""
        place = {f"HELM_{name}_HOME": str(self.folder / "helm" / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        command = [str(word) for word in (helm_program(), *words)]
        env = environment(KUBECONFIG=str(self.kubeconfig), **place)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, env=env)
        return done.returncode, done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def render(self, release: str, chart: Path, namespace: str, values: Path) -> list[dict]:
        """The objects that a chart renders."""
        # Helm renders for the Kubernetes version that it was built with unless told otherwise, and a module build has none.
        return self.objects(
            self.helm("template", release, chart, "--namespace", namespace, "--kube-version", KUBERNETES, "--values", values)
        )

    def objects(self, text: str) -> list[dict]:
        """YAML of several documents as objects, as kubectl reads it."""
        text = self.kubectl("patch", "--local", "--type=merge", "-p", "{}", "-o", "json", "-f", "-", stdin=text).lstrip()
        found = []
        while text:
            obj, end = json.JSONDecoder().raw_decode(text)
            found.append(obj)
            text = text[end:].lstrip()
        return found

    def dry_run(self, *objects: dict):
        """A server-side dry run with strict validation."""
        items = {"apiVersion": "v1", "kind": "List", "items": objects}
        strict = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
        self.kubectl("apply", *strict, "-f", "-", stdin=json.dumps(items))

    def find(self, *words) -> dict | None:
        """An object as kubectl gets it; None when it does not exist."""
        output = self.kubectl("get", *words, "-o", "json", "--ignore-not-found")
        return json.loads(output) if output.strip() else None

    def wait_crds(self):
        """Waits until the three kinds are served."""
        for kind in ("SendingServer", "Plan", "Campaign"):
            wait_until(lambda kind=kind: self._serves(kind), 30, f"{kind} being served", every=0.05)

    def asked(self, user: str) -> list[dict]:
        """The entries of the audit log about a user, oldest first."""
        if not os.path.exists(self.audit_log):
            return []
        with open(self.audit_log, encoding="utf-8") as log:
            # The last line may be half written.
            return [json.loads(line) for line in log if f'"{user}"' in line and line.endswith("\n")]

#!/usr/bin/env python3
"""How GitOps tools see our objects in each state, told by their own code: kstatus, Flux's healthCheckExprs, Argo CD's Lua.

The objects are those of a real API server with a controller and local SMTP servers; nothing is written by hand. One line a
state; the last line is `N passed, N failed, N skipped`.
"""

import argparse
import hashlib
import json
import socket
import subprocess
from pathlib import Path

from kube.place import Place, people, wait_state, within
from parts import cluster
from parts.fleet import ROOT, campaign, plan, smtp_server
from parts.process import free_port
from parts.report import Cases, need, require

EXAMPLES = ROOT / "examples/gitops"
SOURCE = ROOT / "tests/gitops"


def judge_program() -> Path:
    """The judge, where scripts/setup builds it: the folder's name follows its source."""
    text = b"".join((SOURCE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go"))
    return cluster.folder_of_programs().parent.parent / f"gitops-judge-{hashlib.sha256(text).hexdigest()[:12]}" / "judge"


def from_yaml(path: Path) -> dict:
    """A file as the tools read it."""
    done = subprocess.run([judge_program(), "yaml"], input=path.read_text(), capture_output=True, text=True, timeout=60)
    require(done.returncode == 0, f"{path}: {done.stderr}")
    return json.loads(done.stdout)


def scripts() -> dict[str, str]:
    """The Lua scripts by kind."""
    return {path.stem: path.read_text() for path in (EXAMPLES / "argocd").glob("*.lua")}


def expressions() -> list[dict]:
    """The healthCheckExprs of the example."""
    return from_yaml(EXAMPLES / "flux/until-completed.yaml")["spec"]["healthCheckExprs"]


def judged(objects: list[dict]) -> list[dict]:
    """The verdicts of the three."""
    request = {"objects": objects, "exprs": expressions(), "lua": scripts()}
    done = subprocess.run([judge_program()], input=json.dumps(request), capture_output=True, text=True, timeout=60)
    require(done.returncode == 0, f"the judge fails: {done.stderr}")
    return json.loads(done.stdout)


def the_same_in_the_config_map(place):
    """argocd-cm.yaml holds the scripts, letter for letter."""
    data = from_yaml(EXAMPLES / "argocd/argocd-cm.yaml")["data"]
    for kind, script in scripts().items():
        key = f"resource.customizations.health.mailfleet.dev_{kind}"
        require(data.get(key) == script, f"{key} differs from {kind}.lua")
    require(len(data) == 3, f"keys: {sorted(data)}")
    return "3 scripts"


def each_state(place):
    """Every state of the three kinds."""
    namespace = place.namespace("gitops")
    api = place.plane.api
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(16)
    probe = {"timeout": "60s"}
    rows: list[tuple[str, str, str, str, str, str]] = []
    objects: list[dict] = []

    def note(name, kind, obj, kstatus, flux, argo):
        rows.append((name, kind, obj, kstatus, flux, argo))
        objects.append(api.get(kind, namespace, obj))

    with place.sink() as sink:

        def relay(name, **spec):
            return smtp_server(name, sink.port, **spec)

        api.apply(*within(namespace, relay("unseen")))
        # No controller has seen it: kstatus takes an object without a status for current, and only the others know better.
        note("server without status", "SendingServer", "unseen", "Current", "Unknown", "Progressing")

        with place.controller(namespace).start():
            api.apply(*within(
                namespace,
                plan("all", "unseen", "active", "slow", "testing", "refused", "secretless", "off"),
                plan("dark", "refused"), plan("lacking", "active", "nowhere"),
                relay("active"), relay("slow", limits={"rates": [{"messages": 2, "per": "1s"}]}),
                smtp_server("testing", silent.getsockname()[1], probe=probe),
                smtp_server("refused", free_port(), probe={"retryAfter": "1s"}),
                smtp_server("secretless", 25, {"encryption": "StartTls", "auth": {"secretRef": {"name": "missing"}}}),
                relay("off", enabled=False),
                campaign("scheduled", "all", people(3), startAt="2099-01-01T00:00:00Z"),
                campaign("sending", "all", people(2000), servers=[{"name": "slow"}]),
                campaign("waiting", "all", people(3), servers=[{"name": "refused"}], whenNoServerIsActive="Wait"),
                campaign("suspended", "all", people(3), suspend=True),
                campaign("stopped", "all", people(3), servers=[{"name": "refused"}]),
                campaign("planless", "nowhere", people(3)),
                campaign("completed", "all", people(3), servers=[{"name": "active"}]),
            ))
            for kind, name, state in (
                ("SendingServer", "active", "Active"), ("SendingServer", "off", "Inactive"),
                ("Campaign", "scheduled", "Scheduled"), ("Campaign", "sending", "Sending"), ("Campaign", "waiting", "Waiting"),
                ("Campaign", "suspended", "Suspended"), ("Campaign", "stopped", "Stopped"), ("Campaign", "completed", "Completed"),
            ):
                wait_state(api, kind, namespace, name, state, 30)
            note("server being tested", "SendingServer", "testing", "InProgress", "InProgress", "Progressing")
            note("server Active", "SendingServer", "active", "Current", "Current", "Healthy")
            note("server refused", "SendingServer", "refused", "InProgress", "InProgress", "Progressing")
            note("server without its Secret", "SendingServer", "secretless", "Failed", "Failed", "Degraded")
            note("server switched off", "SendingServer", "off", "Failed", "Current", "Suspended")
            note("plan with active servers", "Plan", "all", "Current", "Current", "Healthy")
            note("plan without an active server", "Plan", "dark", "InProgress", "InProgress", "Progressing")
            note("plan that names no server", "Plan", "lacking", "Failed", "Failed", "Degraded")
            note("campaign Scheduled", "Campaign", "scheduled", "Current", "InProgress", "Healthy")
            note("campaign Sending", "Campaign", "sending", "Current", "InProgress", "Healthy")
            note("campaign Waiting for a server", "Campaign", "waiting", "InProgress", "InProgress", "Progressing")
            note("campaign Suspended", "Campaign", "suspended", "Current", "InProgress", "Suspended")
            note("campaign Stopped", "Campaign", "stopped", "Failed", "Failed", "Degraded")
            note("campaign without a plan", "Campaign", "planless", "Failed", "Failed", "Degraded")
            note("campaign Completed", "Campaign", "completed", "Current", "Current", "Healthy")
            newer = json.loads(json.dumps(objects[-1]))
            newer["metadata"]["generation"] += 1
            rows.append(("campaign just edited", "Campaign", "completed", "InProgress", "InProgress", "Progressing"))
            objects.append(newer)
    silent.close()
    wrong = []
    for (name, _, _, kstatus, flux, argo), verdict in zip(rows, judged(objects)):
        seen = (verdict["kstatus"], verdict.get("flux"), verdict.get("argo"))
        print(f"  {name:34}{seen[0]:12}{seen[1]:12}{seen[2]}", flush=True)
        if seen != (kstatus, flux, argo):
            wrong.append(f"{name}: {seen}, wanted {(kstatus, flux, argo)}: {verdict}")
    require(not wrong, "\n".join(wrong))
    return f"{len(rows)} states, each by kstatus, Flux's expressions and Argo CD's Lua"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="cases whose name holds one of these words")
    cases = Cases(parser.parse_args().only)
    with Place(quick=True) as place:
        for case in (the_same_in_the_config_map, each_state):

            def guarded(case=case):
                need(cluster.missing())
                need("" if judge_program().exists() else f"{judge_program()} (scripts/setup builds it)")
                return case(place)

            cases.run(case.__name__.replace("_", " "), guarded)
    cases.end()


if __name__ == "__main__":
    main()

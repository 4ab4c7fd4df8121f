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
DOCUMENT = ROOT / "docs/gitops.md"
# Kind, name, what kstatus, Flux with our expressions and Argo CD with our scripts say of it, and the document's word for it.
STATES = [
    ("SendingServer", "unseen", "Current", "Unknown", "Progressing", "a server without a status"),
    ("SendingServer", "testing", "InProgress", "InProgress", "Progressing", "a server that is tested for the first time"),
    ("SendingServer", "active", "Current", "Current", "Healthy", "a server that is Active"),
    ("SendingServer", "refused", "InProgress", "InProgress", "Progressing", "a server that fails and is tried again"),
    ("SendingServer", "secretless", "Failed", "Failed", "Degraded", "a server that only a person can mend (no Secret, wrong password)"),
    ("SendingServer", "off", "Failed", "Current", "Suspended", "a server switched off by `enabled: false`"),
    ("Plan", "all", "Current", "Current", "Healthy", "a plan with an Active server"),
    ("Plan", "dark", "InProgress", "InProgress", "Progressing", "a plan without one"),
    ("Plan", "lacking", "Failed", "Failed", "Degraded", "a plan that names a server that is not there"),
    ("Campaign", "scheduled", "Current", "InProgress", "Healthy", "a campaign Scheduled"),
    ("Campaign", "sending", "Current", "InProgress", "Healthy", "a campaign Sending"),
    ("Campaign", "waiting", "InProgress", "InProgress", "Progressing", "a campaign Waiting for a server"),
    ("Campaign", "suspended", "Current", "InProgress", "Suspended", "a campaign Suspended"),
    ("Campaign", "stopped", "Failed", "Failed", "Degraded", "a campaign Stopped"),
    ("Campaign", "planless", "Failed", "Failed", "Degraded", "a campaign without a plan that allows it"),
    ("Campaign", "completed", "Current", "Current", "Healthy", "a campaign Completed"),
    # Made of the one before: its newest version is not handled yet.
    ("Campaign", "edited", "InProgress", "InProgress", "Progressing", "an edit that is not handled yet"),
]


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


def the_same_in_the_document(place):
    """docs/gitops.md has a row for each state, and says what the tools say."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in DOCUMENT.read_text().splitlines() if line.startswith("| a")]
    # What stands behind a colon explains.
    documented = [(row[0], *(cell.split(":")[0] for cell in row[1:])) for row in cells]
    expected = [(words, kstatus, flux, argo) for _, _, kstatus, flux, argo, words in STATES]
    require(documented == expected, f"differs in {[row for row in documented if row not in expected] + [row for row in expected if row not in documented]}")
    return f"{len(documented)} rows"


def each_state(place):
    """Every state of the three kinds."""
    namespace = place.namespace("gitops")
    api = place.plane.api
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(16)
    probe = {"timeout": "60s"}
    objects: dict[str, dict] = {}

    with place.sink() as sink:

        def relay(name, **spec):
            return smtp_server(name, sink.port, **spec)

        api.apply(*within(namespace, relay("unseen")))
        # No controller has seen it: kstatus takes an object without a status for current, and only the others know better.
        objects["unseen"] = api.get("SendingServer", namespace, "unseen")

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
            for kind, name, *_ in STATES:
                if name not in (*objects, "edited"):
                    objects[name] = api.get(kind, namespace, name)
    objects["edited"] = json.loads(json.dumps(objects["completed"]))
    objects["edited"]["metadata"]["generation"] += 1
    silent.close()
    wrong = []
    for (_, _, *expected, words), verdict in zip(STATES, judged([objects[name] for _, name, *_ in STATES])):
        seen = [verdict["kstatus"], verdict.get("flux"), verdict.get("argo")]
        print(f"  {words:66}{seen[0]:12}{seen[1]:12}{seen[2]}", flush=True)
        if seen != expected:
            wrong.append(f"{words}: {seen}, wanted {expected}: {verdict}")
    require(not wrong, "\n".join(wrong))
    return f"{len(STATES)} states, each by kstatus, Flux's expressions and Argo CD's Lua"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="cases whose name holds one of these words")
    cases = Cases(parser.parse_args().only)
    with Place(quick=True) as place:
        for case in (the_same_in_the_config_map, the_same_in_the_document, each_state):

            def guarded(case=case):
                need(cluster.missing())
                need("" if judge_program().exists() else f"{judge_program()} (scripts/setup builds it)")
                return case(place)

            cases.run(case.__name__.replace("_", " "), guarded)
    cases.end()


if __name__ == "__main__":
    main()

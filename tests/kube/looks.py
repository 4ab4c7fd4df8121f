"""Commands that look at a cluster: `get --kubernetes`, `diff --kubernetes` and `wait --kubernetes`, against what kubectl shows."""

import json
import subprocess
from pathlib import Path

from parts import fleet as fleets
from parts.cluster import environment
from parts.forge import FakeForge
from parts.kubeapi import condition_of
from parts.process import free_port, wait_until
from parts.report import require

from .place import QUICK_PROBE, Clusters, people, wait_state, within


def command(place: Clusters, *words, kubeconfig: Path | None = None, more: dict | None = None) -> tuple[int, str, str]:
    """A command against the shared plane: its exit code, output and errors."""
    words = [str(word) for word in (place.program, *words, "--kubernetes", "--kubeconfig", kubeconfig or place.plane.kubeconfig)]
    done = subprocess.run(words, cwd=place.root, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env=environment(**(more or {})))
    return done.returncode, done.stdout, done.stderr


def grant(weight: int) -> dict:
    """A plan that gives one server so much more than another."""
    return fleets.resource("Plan", "pro", {"servers": [{"name": "relay", "weight": weight}, {"name": "other"}]})


def get_of_a_cluster(place: Clusters) -> str:
    """The tables of files mode over the statuses of a cluster, in each format, single and all; and what is not there, in words."""
    api, namespace = place.plane.api, place.namespace("get")
    dead = free_port()
    with place.sink() as sink, place.controller(namespace).start():
        objects = [
            fleets.smtp_server("relay", sink.port, probe=QUICK_PROBE),
            fleets.smtp_server("dead", dead, probe=QUICK_PROBE),
            fleets.plan("pro", "relay", "dead"),
            fleets.campaign("spring", "pro", people(5)),
        ]
        api.apply(*within(namespace, *objects))
        wait_state(api, "Campaign", namespace, "spring", "Completed", 60)
        wait_until(lambda: condition_of(api.status("SendingServer", namespace, "dead"), "Ready").get("reason") == "ConnectionRefused", 60, "the dead server")
        for kind, name in (("servers", "dead"), ("plans", "pro"), ("campaigns", "spring")):
            for form in ("table", "wide", "markdown"):
                code, table, errors = command(place, "get", kind, "-n", namespace, "-o", form)
                require(code == 0 and name in table, f"{kind} {form}: exit {code}: {table}{errors}")
                code, single, errors = command(place, "get", kind, name, "-n", namespace, "-o", form)
                require(code == 0 and name in single and "Ready" in single, f"{kind} {name} {form}: exit {code}: {single}{errors}")
        ready = condition_of(api.status("SendingServer", namespace, "dead"), "Ready")
        _, text, _ = command(place, "get", "servers", "dead", "-n", namespace, "-o", "markdown")
        require(ready["reason"] in text and "Check host and port" in text, f"{text} {ready}")
        _, text, _ = command(place, "get", "campaigns", "spring", "-n", namespace, "-o", "markdown")
        require("5 accepted once" in text and "Not running" not in text, text)
        code, text, errors = command(place, "get", "campaigns", "spring", "-n", namespace, "-o", "json")
        found = json.loads(text)
        there = api.get("Campaign", namespace, "spring")
        require(found["status"] == there["status"] and found["spec"] == there["spec"], f"{found} {there}")
        require("managedFields" not in found["metadata"], f"{found['metadata']}")
        everywhere = json.loads(command(place, "get", "servers", "-o", "json")[1])
        names = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in everywhere["items"]}
        require({(namespace, "relay"), (namespace, "dead")} <= names, f"{names}")
        # In another namespace no controller is.
        unseen = place.namespace("unseen")
        api.apply(*within(unseen, fleets.smtp_server("nobody", dead)))
        for words, said in (
            (("get", "servers", "nobody", "-n", unseen), "no controller has seen it yet"),
            (("get", "servers", "nothing", "-n", unseen), f"no SendingServer nothing in namespace {unseen}"),
            (("get", "plans", "-n", unseen), f"no Plan in namespace {unseen}"),
            (("get", "runs"), "runs are in the ledger"),
        ):
            code, _, errors = command(place, *words)
            require(code == 1 and said in errors, f"{words}: exit {code}: {errors}")
        weak = place.plane.service_account(unseen, "weak")
        code, _, errors = command(place, "get", "servers", kubeconfig=weak)
        require(code == 1 and "you may not read" in errors and "--namespace" in errors, f"exit {code}: {errors}")
    return "3 kinds, 3 formats, single and all"


def diff_with_a_cluster(place: Clusters) -> str:
    """Nothing differs after an apply; then a weight, a new server and another subject do, and a prune says what would go; runs are known by their statuses."""
    api, namespace = place.plane.api, place.namespace("diff")
    folder = place.new("diff")

    def write(*objects: dict):
        documents = "\n---\n".join(json.dumps(one) for one in within(namespace, *objects))
        (folder / "all.yaml").write_text(documents, encoding="utf-8")

    def diff(*words) -> dict:
        code, output, errors = command(place, "diff", folder, "-n", namespace, "-o", "json", *words)
        require(code == 0, f"exit {code}: {output}{errors}")
        return json.loads(output)

    with place.sink() as sink, place.controller(namespace).start():
        servers = [fleets.smtp_server(name, sink.port, probe=QUICK_PROBE) for name in ("relay", "other")]
        letter = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "letter"}, "data": {"text": "Dear {{ name }}"}}
        content = {"content": {"textFrom": {"configMapRef": {"name": "letter", "key": "text"}}}}
        login = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": {"username": "u", "password": "hunter2hunter2"}}
        place.secrets.add("hunter2hunter2")
        campaign = fleets.campaign("spring", "pro", people(7), **content)
        base = [*servers, grant(3), campaign, letter, login]
        write(*base)
        empty = diff()
        require(empty["summary"]["added"] >= 6 and empty["campaigns"][0]["starts"], f"{empty}")
        place.plane.kubectl("apply", "-f", folder / "all.yaml")
        wait_state(api, "Campaign", namespace, "spring", "Completed", 60)
        place.plane.kubectl("-n", namespace, "label", "sendingserver/relay", "team=others")
        place.plane.kubectl("-n", namespace, "annotate", "sendingserver/relay", "team=others")
        same = diff()
        changes = (same["summary"], same["objects"], same["campaigns"], same["conditions"])
        require(changes[1:] == ([], [], []), f"{changes}")
        code, output, errors = command(place, "diff", folder, "-n", namespace, "--exit-code")
        require(code == 0, f"exit {code}: {output}{errors}")
        added = fleets.smtp_server("new", sink.port)
        edited = fleets.campaign("spring", "pro", people(7), subject="Another", **content)
        write(*servers, added, grant(1), edited, {**letter, "data": {"text": "Hello {{ name }}"}}, {**login, "stringData": {"username": "u", "password": "another-secret"}})
        report = diff()
        found = sorted((one["kind"], one["name"], one["change"]) for one in report["objects"])
        wanted = [("Campaign", "spring", "Changed"), ("ConfigMap", "letter", "Changed"), ("Plan", "pro", "Changed"), ("Secret", "login", "Changed"), ("SendingServer", "new", "Added")]
        require(found == wanted, f"{found}")
        require("hunter2" not in json.dumps(report) and "another-secret" not in json.dumps(report), "a Secret is shown")
        # It is completed there, which no ledger here knows.
        (spring,) = report["campaigns"]
        require(spring["again"]["who"] == "Nobody" and not spring["starts"] and spring["state"] == "Completed", f"{spring}")
        require(any("statuses" in words for words in report["assumed"]), f"{report['assumed']}")
        # What is not in the folder stays, unless it is pruned.
        write(*servers, grant(3))
        require([one["change"] for one in diff()["objects"]] == [], f"{diff()['objects']}")
        pruned = [(one["name"], one["change"]) for one in diff("--prune")["objects"]]
        require(pruned == [("spring", "Removed")], f"{pruned}")
        code, output, errors = command(place, "diff", folder, "-n", namespace, "--prune", "--exit-code", "-o", "markdown")
        require(code == 10 and "the cluster" in output, f"exit {code}: {output}{errors}")
        nobody = place.plane.service_account(namespace, "weak")
        code, _, errors = command(place, "diff", folder, "-n", namespace, kubeconfig=nobody)
        require(code == 2 and "you may not read" in errors, f"exit {code}: {errors}")
    return "5 changes, 1 pruned"


def wait_for_conditions(place: Clusters) -> str:
    """`wait` ends when the controller has decided on the folder's specs, and the commit has the words of the condition."""
    api, namespace = place.plane.api, place.namespace("wait")
    folder = place.new("wait")
    with place.sink() as sink, place.controller(namespace).start(), FakeForge("github") as forge:
        for secret, expected in ((None, 0), ("nobody", 1)):
            auth = {"auth": {"secretRef": {"name": secret}}} if secret else {}
            objects = within(namespace, fleets.smtp_server("relay", sink.port, auth, probe=QUICK_PROBE), fleets.plan("pro", "relay"))
            (folder / "all.yaml").write_text("\n---\n".join(json.dumps(one) for one in objects), encoding="utf-8")
            api.apply(*objects)
            words = ("wait", folder, "--timeout", "90s", "--commit-status", "github")
            code, output, errors = command(place, *words, more=forge.variables())
            require(code == expected, f"{secret}: exit {code}: {output}{errors}")
        state = [status["state"] for _, status in forge.statuses]
        require(state == ["pending", "success", "pending", "failure"], f"{forge.statuses}")
        description = forge.statuses[-1][1]["description"]
        require("SecretNotFound" in description, description)
    return description


CASES = (get_of_a_cluster, diff_with_a_cluster, wait_for_conditions)

#!/usr/bin/env python3
"""How GitOps tools see every state of our objects, by their own code: kstatus, Flux's healthCheckExprs, Argo CD's Lua.

The objects come from a real API server with a controller and local SMTP servers; none is written by hand.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from kube.basics import replace_crd
from kube.place import Clusters, people, wait_state, within
from parts import cluster, differs, manifests
from parts.certificates import Authority
from parts.differs import argocd, flux, judge_program
from parts.dovecot import Dovecot
from parts.fleet import ROOT, campaign, plan, smtp_server
from parts.kubeapi import secret
from parts.postfix import Postfix
from parts.process import Process, free_port, wait_until
from parts.report import Cases, Shared, need, require

EXAMPLES = ROOT / "examples/gitops"
DOCUMENT = ROOT / "docs/gitops.md"
# Kind, name, the verdicts of kstatus, of Flux with our expressions and of Argo CD with our scripts, and the document's words for the state.
STATES = [
    ("SendingServer", "unseen", "InProgress", "InProgress", "Progressing", "a server that no controller has seen"),
    ("SendingServer", "testing", "InProgress", "InProgress", "Progressing", "a server during its first probe"),
    ("SendingServer", "active", "Current", "Current", "Healthy", "a server that is Active"),
    ("SendingServer", "refused", "InProgress", "InProgress", "Progressing", "a server that fails and is retried"),
    ("SendingServer", "secretless", "Failed", "Failed", "Degraded", "a server that only a person can fix (no Secret, wrong password)"),
    ("SendingServer", "off", "Failed", "Current", "Suspended", "a server switched off by `enabled: false`"),
    ("Plan", "all", "Current", "Current", "Healthy", "a plan with an Active server"),
    ("Plan", "dark", "InProgress", "InProgress", "Progressing", "a plan without an Active server"),
    ("Plan", "lacking", "Failed", "Failed", "Degraded", "a plan that names a missing server"),
    ("Campaign", "scheduled", "Current", "InProgress", "Healthy", "a campaign Scheduled"),
    ("Campaign", "sending", "Current", "InProgress", "Healthy", "a campaign Sending"),
    ("Campaign", "limited", "Current", "InProgress", "Healthy", "a campaign Waiting for a limit to reopen"),
    ("Campaign", "waiting", "InProgress", "InProgress", "Progressing", "a campaign Waiting for a server"),
    ("Campaign", "stepwise", "InProgress", "InProgress", "Suspended", "a campaign Waiting after a step of its rollout"),
    ("Campaign", "suspended", "Current", "InProgress", "Suspended", "a campaign Suspended"),
    ("Campaign", "stopped", "Failed", "Failed", "Degraded", "a campaign Stopped"),
    ("Campaign", "serverless", "Failed", "Failed", "Degraded", "a campaign not begun, none of its servers Active"),
    ("Campaign", "planless", "Failed", "Failed", "Degraded", "a campaign without a plan that allows it"),
    ("Campaign", "late", "Failed", "Failed", "Degraded", "a campaign too late to start"),
    ("Campaign", "completed", "Current", "Current", "Healthy", "a campaign Completed"),
]
# The same for states that need no controller, a Postfix, or a control plane of their own.
JUST_EDITED = [(kind, name, "InProgress", "InProgress", "Progressing", "an edit not yet processed")
               for kind, name in (("SendingServer", "active"), ("Plan", "all"), ("Campaign", "completed"))]  # fmt: skip
WRONG_PASSWORD = ("Failed", "Failed", "Degraded", "a server that only a person can fix (no Secret, wrong password)")
ACTIVE = ("Current", "Current", "Healthy", "a server that is Active")
UNREADABLE = ("Failed", "Failed", "Degraded", "an edit that cannot be read (older, looser CRDs let it through)")


def with_a_bad_row(audience: dict) -> dict:
    """The audience, and one who cannot be mailed: the campaign stops at its end."""
    return {"inline": [*audience["inline"], {"email": "nobody"}]}


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


def scripts_in_the_config_map(place):
    """argocd-cm.yaml has the scripts, byte for byte."""
    data = from_yaml(EXAMPLES / "argocd/argocd-cm.yaml")["data"]
    for kind, script in scripts().items():
        key = f"resource.customizations.health.mailfleet.dev_{kind}"
        require(data.pop(key, None) == script, f"{key} differs from {kind}.lua")
        quiet = data.pop(f"resource.customizations.ignoreResourceUpdates.mailfleet.dev_{kind}", "")
        require(quiet == "jsonPointers: [/status]\n", f"{kind}: {quiet!r}")
    require(not data, f"keys: {sorted(data)}")
    return "3 scripts"


def table_in_the_document(place):
    """docs/gitops.md has a row for each state, with the verdicts of the tools."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in DOCUMENT.read_text().splitlines() if line.startswith("| a")]
    # After a colon comes an explanation.
    documented = [(row[0], *(cell.split(":")[0] for cell in row[1:])) for row in cells]
    judged_rows = [row[2:] for row in (*STATES, *JUST_EDITED)] + [WRONG_PASSWORD, ACTIVE, UNREADABLE]
    expected = list(dict.fromkeys((words, *verdict) for *verdict, words in judged_rows))
    require(documented == expected, f"differs in {[row for row in documented if row not in expected] + [row for row in expected if row not in documented]}")
    return f"{len(documented)} rows"


class States:
    """Objects as the API server has them at one moment, and the verdicts that the three tools must give."""

    def __init__(self, api, namespace: str):
        self.api, self.namespace = api, namespace
        self.rows: list[tuple[str, list[str], str]] = []
        self.objects: list[dict] = []

    def note(self, kind: str, name: str, kstatus: str, flux: str, argo: str, words: str):
        """Keeps an object as it is now."""
        self.rows.append((f"{kind} {name}", [kstatus, flux, argo], words))
        self.objects.append(self.api.get(kind, self.namespace, name))

    def end(self) -> str:
        """Asks the three tools and compares."""
        wrong = []
        for (who, wanted, words), verdict in zip(self.rows, judged(self.objects), strict=True):
            seen = [verdict["kstatus"], verdict.get("flux"), verdict.get("argo")]
            print(f"  {who:26}{seen[0]:12}{seen[1]:12}{seen[2]:13}{words}", flush=True)
            if seen != wanted:
                wrong.append(f"{who}, {words}: {seen}, wanted {wanted}: {verdict}")
        require(not wrong, "\n".join(wrong))
        return f"{len(self.rows)} states, each by kstatus, Flux's expressions and Argo CD's Lua"


def each_state(place):
    """Every state of the three kinds."""
    namespace = place.namespace("gitops")
    api = place.plane.api
    states = States(api, namespace)
    with place.sink() as sink, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)

        def relay(name, **spec):
            return smtp_server(name, sink.port, **spec)

        api.apply(*within(namespace, relay("unseen")))
        # For kstatus an object without a status is current; ours has one from the beginning.
        kind, name, *wanted = STATES[0]
        states.note(kind, name, *wanted)

        with place.controller(namespace).start():
            api.apply(*within(
                namespace,
                plan("all", "unseen", "active", "slow", "hourly", "testing", "refused", "secretless", "off"),
                plan("dark", "refused"), plan("lacking", "active", "nowhere"),
                relay("active"), relay("slow", limits={"rates": [{"messages": 2, "per": "1s"}]}),
                relay("hourly", limits={"rates": [{"messages": 1, "per": "1h"}]}),
                smtp_server("testing", silent.getsockname()[1], probe={"timeout": "60s"}),
                smtp_server("refused", free_port(), probe={"retryAfter": "1s"}),
                smtp_server("secretless", 25, {"encryption": "StartTls", "auth": {"secretRef": {"name": "missing"}}}),
                relay("off", enabled=False),
                campaign("scheduled", "all", people(3), startAt="2099-01-01T00:00:00Z"),
                campaign("late", "all", people(3), startAt="2020-01-01T00:00:00Z", startingDeadline="1h"),
                campaign("sending", "all", people(2000), servers=[{"name": "slow"}]),
                campaign("limited", "all", people(3), servers=[{"name": "hourly"}]),
                campaign("waiting", "all", people(3), servers=[{"name": "refused"}], whenNoServerIsActive="Wait"),
                campaign("stepwise", "all", people(30), servers=[{"name": "active"}], rollout={"steps": [{"percent": 50, "pause": {}}]}),
                campaign("suspended", "all", people(3), suspend=True),
                campaign("stopped", "all", with_a_bad_row(people(3)), servers=[{"name": "active"}]),
                campaign("serverless", "all", people(3), servers=[{"name": "refused"}]),
                campaign("planless", "nowhere", people(3)),
                campaign("completed", "all", people(3), servers=[{"name": "active"}]),
            ))  # fmt: skip
            for kind, name, state in (
                ("SendingServer", "active", "Active"), ("SendingServer", "off", "Inactive"),
                ("Campaign", "scheduled", "Scheduled"), ("Campaign", "sending", "Sending"), ("Campaign", "waiting", "Waiting"),
                ("Campaign", "suspended", "Suspended"), ("Campaign", "stopped", "Stopped"), ("Campaign", "completed", "Completed"),
                ("Campaign", "late", "Stopped"), ("Campaign", "serverless", "Scheduled"), ("Campaign", "limited", "Waiting"), ("Campaign", "stepwise", "Waiting"),
            ):  # fmt: skip
                wait_state(api, kind, namespace, name, state, 30)
            api.wait_condition("Campaign", namespace, "limited", "Ready", seconds=20, reason="WaitingForLimits")
            api.wait_condition("Campaign", namespace, "stepwise", "Ready", seconds=20, reason="RolloutWaiting")
            for kind, name, *wanted in STATES[1:]:
                # What may pass by itself, or what the rest of the same apply may fix, is reported some seconds later.
                handled = lambda: api.status(kind, namespace, name).get("observedGeneration")  # noqa: B023, E731
                wait_until(handled, 15, f"a verdict on {kind} {name}", every=0.1)
                states.note(kind, name, *wanted)
        # No controller handles these edits.
        changes = ({"limits": {"connections": 2}}, {"limits": {"rates": [{"messages": 9, "per": "1h"}]}}, {"subject": "Good evening"})
        for (kind, name, *wanted), change in zip(JUST_EDITED, changes, strict=True):
            api.merge(kind, namespace, name, {"spec": change})
            states.note(kind, name, *wanted)
    return states.end()


def a_wrong_password(place):
    """Postfix refuses the login: only a person can fix that; then it is fixed."""
    need(Postfix.missing() or Dovecot.missing())
    namespace = place.namespace("password")
    api, home = place.plane.api, place.new("postfix")
    place.secrets |= {"correct-horse-7", "wrong-battery-8"}
    authority = Authority(home)
    smtp = {"host": "localhost", "encryption": "StartTls", "caRef": {"name": "ca", "key": "ca.pem"}, "auth": {"secretRef": {"name": "login"}}}
    postfix = Postfix(home, certificate=authority.issue("good"), sasl=Dovecot(home, "ann", "correct-horse-7", mechanisms="plain login"))
    states = States(api, namespace)
    with postfix, place.controller(namespace).start():
        api.apply(secret(namespace, "ca", **{"ca.pem": authority.certificate.read_text()}))
        api.apply(secret(namespace, "login", username="ann", password="wrong-battery-8"))
        api.apply(*within(namespace, smtp_server("relay", postfix.port, smtp), plan("pro", "relay")))
        api.wait_condition("SendingServer", namespace, "relay", "Ready", seconds=20, reason="AuthenticationFailed")
        states.note("SendingServer", "relay", *WRONG_PASSWORD)
        api.apply(secret(namespace, "login", username="ann", password="correct-horse-7"))
        wait_state(api, "SendingServer", namespace, "relay", "Active", 20)
        states.note("SendingServer", "relay", *ACTIVE)
    return states.end()


def loosen(api, kind: str, example: dict):
    """Lets the API server take any spec of a kind, and waits until it does."""
    loose = api.get("CustomResourceDefinition", "", f"{kind.lower()}s.mailfleet.dev")
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"] = {"spec": anything, "status": anything}
    replace_crd(api, loose)
    namespace, name = example["metadata"]["namespace"], example["metadata"]["name"]

    def takes_anything():
        # Until the looser schema is served, an unknown field is dropped.
        api.apply(example)
        api.merge(kind, namespace, name, {"spec": {"hoist": True}})
        kept = "hoist" in api.get(kind, namespace, name)["spec"]
        api.delete(kind, namespace, name)
        return kept

    wait_until(takes_anything, 20, f"the looser schema of {kind}", every=0.3)


def unreadable_edits(place):
    """An edit that a looser CRD let through: a person must act, whatever happens with the last good version."""
    with place.own_plane("loose") as plane, place.sink() as sink:
        api, namespace = plane.api, plane.api.namespace("loose")
        objects = within(
            namespace,
            smtp_server("active", sink.port), smtp_server("off", sink.port, enabled=False), plan("pro", "active", "off"),
            campaign("suspended", "pro", people(3), suspend=True), campaign("stopped", "pro", with_a_bad_row(people(3)), servers=[{"name": "active"}]),
        )  # fmt: skip
        # Before the controller watches: a watch keeps the schema that it began with.
        for kind in ("SendingServer", "Plan", "Campaign"):
            loosen(api, kind, next(obj for obj in objects if obj["kind"] == kind))
        states = States(api, namespace)
        with place.controller(namespace, plane=plane).start():
            api.apply(*objects)
            for kind, name, state in (
                ("SendingServer", "active", "Active"), ("SendingServer", "off", "Inactive"),
                ("Campaign", "suspended", "Suspended"), ("Campaign", "stopped", "Stopped"),
            ):  # fmt: skip
                wait_state(api, kind, namespace, name, state, 20)
            api.wait_condition("Plan", namespace, "pro", "Ready", seconds=20, status="True")
            # The second edit is no better than the first.
            for hoist in (True, False):
                for obj in objects:
                    kind, name = obj["kind"], obj["metadata"]["name"]
                    edited = api.merge(kind, namespace, name, {"spec": {"hoist": hoist}})
                    handled = lambda: api.status(kind, namespace, name).get("observedGeneration") == edited["metadata"]["generation"]  # noqa: B023, E731
                    wait_until(handled, 10, f"a verdict on the edit of {kind} {name}", every=0.1)
                    api.wait_condition(kind, namespace, name, "Stalled", seconds=10, status="True", reason="Unreadable")
                    states.note(kind, name, *UNREADABLE)
            stopped = api.status("Campaign", namespace, "stopped")["state"]
            require(stopped == "Stopped", f"an unreadable edit changed a stopped campaign to {stopped}")
            # Back to what it was.
            api.merge("SendingServer", namespace, "active", {"spec": {"hoist": None}})
            wait_until(lambda: not api.condition("SendingServer", namespace, "active", "Stalled"), 10, "the fixed server", every=0.1)
            states.note("SendingServer", "active", *ACTIVE)
    return states.end()


def every_field(namespace: str) -> list[dict]:
    """Objects that set every field; none of them is probed or sent."""
    objects = []
    for number, document in enumerate(manifests.FULL):
        if document["kind"] not in ("SendingServer", "Plan", "Campaign"):
            continue
        idle = {"SendingServer": {"enabled": False}, "Plan": {}, "Campaign": {"suspend": True}}[document["kind"]]
        metadata = {"name": f"full-{number}", "namespace": namespace}
        objects.append({**document, "metadata": metadata, "spec": {**document["spec"], **idle}})
    return objects


def no_difference(place):
    """After each kind of apply no tool sees a difference while the controller writes: kubectl diff, Flux's dry run, Argo CD's diff."""
    need(differs.missing())
    namespace = place.namespace("difference")
    api, notes = place.plane.api, []
    kubectl = lambda *words, **more: place.plane.kubectl("-n", namespace, *words, **more)  # noqa: E731
    with place.sink() as sink, place.controller(namespace).start():
        limits = {"rates": [{"messages": 2, "per": "1s"}]}
        sends = within(namespace, smtp_server("relay", sink.port, limits=limits), plan("pro", "relay"), campaign("spring", "pro", people(500)))
        objects = [*sends, *every_field(namespace)]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})

        for way in ("client-side", "server-side", "Flux"):
            side = ("--server-side", "--force-conflicts") if way == "server-side" else ()
            if way == "Flux":
                flux(place.plane, objects, apply=True)
            else:
                kubectl("apply", *side, "-f", "-", stdin=text)
            # Statuses, and the finalizer of the one that sends, are written.
            wait_until(lambda: api.get("Campaign", namespace, "spring")["metadata"].get("finalizers"), 20, "a campaign that sends")
            for obj in objects:
                kind, name = obj["kind"], obj["metadata"]["name"]
                wait_until(lambda: api.status(kind, namespace, name).get("observedGeneration") == api.get(kind, namespace, name)["metadata"]["generation"], 20, f"the status of {kind} {name}")  # noqa: B023
            if way != "Flux":
                output = kubectl("diff", *side, "-f", "-", stdin=text, check=False)
                require(not output.strip(), f"{way}: {output[:2000]}")
            else:
                differences = flux(place.plane, objects, apply=False)
                require(not differences, f"{way}: {json.dumps(differences)[:2000]}")
            differences = argocd(place.plane, objects)
            require(not differences, f"Argo CD after {way}: {json.dumps(differences)[:2000]}")
            notes.append(way)
            for obj in objects:
                api.delete(obj["kind"], namespace, obj["metadata"]["name"])
            wait_until(lambda: not api.list("Campaign", namespace), 20, "the campaigns' end")
        # The dry run can see a difference.
        kubectl("apply", "--server-side", "-f", "-", stdin=text)
        api.merge("Campaign", namespace, "spring", {"spec": {"subject": "another"}})
        told = [each["object"] for each in flux(place.plane, objects, apply=False) if each["action"] == "configured"]
        require(f"Campaign/{namespace}/spring" in told, f"a changed subject is no difference to Flux: {told}")
        told = [each["object"] for each in argocd(place.plane, objects)]
        require(told == ["Campaign/spring"], f"a changed subject is no difference to Argo CD: {told}")
    return f"{len(objects)} objects, applied by {', '.join(notes)}"


def references(schema: dict, path: str = "spec"):
    """The paths of the fields that name another object."""
    for name, field in (schema.get("properties") or {}).items():
        here = f"{path}/{name}"
        if name.endswith("Ref") or here == "spec/servers":
            yield f"{here}/name"
        yield from references(field, here)
        yield from references(field.get("items") or {}, here)


def kustomized(place):
    """The Kustomize example: every reference follows a prefix and generated names, and the campaign is sent."""
    folder = EXAMPLES / "kustomize"
    known = {(field["kind"], field["path"]) for target in from_yaml(folder / "mailfleet.yaml")["nameReference"] for field in target["fieldSpecs"]}
    wanted = set()
    for crd in place.plane.api.list("CustomResourceDefinition"):
        spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        wanted |= {(crd["spec"]["names"]["kind"], path) for path in references(spec)}
    require(known == wanted, f"missing in mailfleet.yaml: {sorted(wanted - known)}; not a reference: {sorted(known - wanted)}")
    built = place.plane.kubectl("kustomize", folder)
    namespace = place.plane.api.namespace("shop")
    with place.sink() as sink, place.controller(namespace).start():
        require("port: 2525" in built, "the example has another port")
        place.plane.kubectl("apply", "-f", "-", stdin=built.replace("port: 2525", f"port: {sink.port}").replace("host: smtp.example.com", "host: 127.0.0.1"))
        wait_state(place.plane.api, "Campaign", namespace, "spring-letter", "Completed", 30)
        require(sorted(sink.taken().values()) == [1, 1], f"{sink.taken()}")
        # The Secret is found by its generated name: the server's only problem is that nobody answers there.
        place.plane.api.wait_condition("SendingServer", namespace, "spring-relay", "Accepted", seconds=20, status="True", reason="Read")
        names = [obj["metadata"]["name"] for kind in ("SendingServer", "Plan", "Campaign") for obj in place.plane.api.list(kind, namespace)]
        require(len(names) == 4 and all(name.startswith("spring-") for name in names), f"{names}")
    return f"{len(known)} references, {len(names)} objects"


class Checkout:
    """A repository with a folder of objects, and what docs/gitops.md makes of it on one machine."""

    def __init__(self, place):
        self.home = place.new("checkout")
        self.work, self.bare, self.mail = self.home / "work", self.home / "repository.git", self.home / "srv-mail"
        self.git("init", "-q", "--bare", self.bare)
        self.git("clone", "-q", self.bare, self.work)
        (self.work / "objects").mkdir()

    def git(self, *words) -> str:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"]
        environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(["git", *identity, *words], capture_output=True, text=True, timeout=60, env=environment)
        require(done.returncode == 0, f"git {words}: exit {done.returncode}: {done.stderr}")
        return done.stdout

    def push(self, *objects: dict, name: str = "fleet.yaml"):
        """Commits objects, and pushes them."""
        (self.work / "objects" / name).write_text("".join(f"---\n{json.dumps(obj, indent=1)}\n" for obj in objects))
        self.git("-C", self.work, "add", "-A")
        self.git("-C", self.work, "commit", "-q", "-m", "objects")
        self.git("-C", self.work, "push", "-q", "origin", "HEAD:main")

    def command_of(self, unit: str, program) -> list[str]:
        """The command of a unit, over this checkout."""
        lines = (EXAMPLES / "files" / unit).read_text().splitlines()
        (line,) = [line.removeprefix("ExecStart=") for line in lines if line.startswith("ExecStart=")]
        places = {"/srv/mail": self.mail, "/var/lib/mailfleet": self.home / "state", "/usr/local/bin/mailfleet": program, "/usr/bin/git": shutil.which("git")}
        for there, here in places.items():
            line = line.replace(there, str(here))
        return line.split()


def units_are_good(place):
    """`systemd-analyze verify` of the units, with the program in the place of one that is not installed."""
    need("" if shutil.which("systemd-analyze") else "systemd-analyze is missing")
    home = place.new("units")
    units = sorted(path for path in (EXAMPLES / "files").iterdir() if path.suffix in (".service", ".timer"))
    for path in units:
        (home / path.name).write_text(path.read_text().replace("/usr/local/bin/mailfleet", str(place.program)).replace("/usr/bin/git", shutil.which("git")))
    done = subprocess.run(["systemd-analyze", "verify", *(home / path.name for path in units)], capture_output=True, text=True, timeout=60)
    require(done.returncode == 0 and not done.stderr, f"exit {done.returncode}: {done.stdout}{done.stderr}")
    return f"{len(units)} units"


def sent_from_a_checkout(place):
    """The commands of the units: a campaign that is pushed is pulled and sent, once; SIGTERM ends the service with 0."""
    checkout = Checkout(place)
    with place.sink() as sink:
        checkout.push(smtp_server("relay", sink.port), plan("pro", "relay"))
        checkout.git("clone", "-q", "-b", "main", checkout.bare, checkout.mail)
        service = Process(checkout.command_of("mailfleet.service", place.program), checkout.home / "service.out")
        wait_until(lambda: (checkout.home / "state/status/default/Plan/pro.yaml").exists() or not service.running(), 30, "the first status")
        checkout.push(campaign("spring", "pro", people(3)), name="spring.yaml")
        done = subprocess.run(checkout.command_of("mailfleet-pull.service", place.program), capture_output=True, text=True, timeout=60)
        require(done.returncode == 0, f"the pull: exit {done.returncode}: {done.stderr}")
        wait_until(lambda: len(sink.taken()) == 3 or not service.running(), 30, "the campaign that was pulled")
        status = checkout.home / "state/status/default/Campaign/spring.yaml"
        wait_until(lambda: "state: Completed" in status.read_text(), 30, "the status")
        service.signal(signal.SIGTERM)
        require(service.wait(30) == 0, f"exit {service.code}: {service.tail()}")
        require(set(sink.taken().values()) == {1}, f"{sink.taken()}")
    return "one commit, pulled and sent once"


def checked_before_a_merge(place):
    """The hook for pre-commit and the CI job: their commands pass good objects, and fail on a fault and on a warning."""
    checkout = Checkout(place)
    (hook,) = from_yaml(ROOT / ".pre-commit-hooks.yaml")
    job = from_yaml(EXAMPLES / "files/ci.yaml")["jobs"]["validate"]["steps"]
    require(hook["language"] == "system" and not hook["pass_filenames"], f"{hook}")
    commands = [[*hook["entry"].split(), *hook["args"]], job[-1]["run"].replace("mail/objects", "objects").split()]
    cases = (
        ("good", 0, smtp_server("relay", 2525)),
        ("a warning", 2, plan("pro", "no-such-server")),
        ("a fault", 2, {**plan("pro", "relay"), "spec": {"server": []}}),
    )
    for name, wanted, obj in cases:
        (checkout.work / "objects/fleet.yaml").write_text(json.dumps(obj))
        for command in commands:
            require(command[:2] == ["mailfleet", "validate"], f"{command}")
            done = subprocess.run([place.program, *command[1:]], cwd=checkout.work, capture_output=True, text=True, timeout=60)
            require(done.returncode == wanted, f"{name}: {command}: exit {done.returncode}: {done.stdout}{done.stderr}")
    return f"{len(cases)} folders, {len(commands)} commands"


def compose_file(place):
    """compose.yaml: its command works in the image's folder, the ledger is on a volume, and nothing else is written."""
    file = from_yaml(EXAMPLES / "files/compose.yaml")
    service = file["services"]["mailfleet"]
    volumes = dict(volume.split(":")[:2] for volume in service["volumes"])
    state = next(word.split("=")[1] for line in (ROOT / "Dockerfile").read_text().splitlines() for word in line.split() if word.startswith("MAILFLEET_STATE="))
    require(volumes == {"./": "/mail", "ledger": state} and "ledger" in file["volumes"] and service["read_only"], f"{volumes}")
    home = place.new("compose")
    (home / "objects").mkdir()
    with place.sink() as sink:
        objects = (smtp_server("relay", sink.port), plan("pro", "relay"), campaign("spring", "pro", people(2)))
        (home / "objects/fleet.yaml").write_text("".join(f"---\n{json.dumps(obj)}\n" for obj in objects))
        words = [word.replace("/mail/", f"{home}/") for word in service["command"]]
        environment = {**os.environ, "MAILFLEET_STATE": str(home / "ledger")}
        done = subprocess.run([place.program, *words, "--once"], capture_output=True, text=True, timeout=60, env=environment)
        require(done.returncode == 0 and len(sink.taken()) == 2, f"exit {done.returncode}: {done.stderr}")
    return f"{len(volumes)} volumes"


def main():
    cases = Cases(__doc__)
    cases.parse()

    def needs() -> str:
        return cluster.missing() or ("" if judge_program().exists() else f"{judge_program()} (scripts/setup builds it)")

    states = (scripts_in_the_config_map, table_in_the_document, each_state, a_wrong_password, unreadable_edits, no_difference, kustomized)
    shared = Shared(lambda: Clusters(quick=True))
    cases.add_all(states, shared, needs=needs)
    cases.add_all((units_are_good, sent_from_a_checkout, checked_before_a_merge, compose_file), shared, needs=needs)
    cases.end()


if __name__ == "__main__":
    main()

"""What people see: conditions to wait for, columns, `kubectl explain`, events, rotated Secrets, and objects that do not parse."""

import contextlib
import copy
import json
import signal
import subprocess
import sys
import time

from parts import fleet as fleets
from parts.cache import ROOT
from parts.certificates import Authority
from parts.cluster import environment
from parts.dovecot import Dovecot
from parts.export import Export
from parts.kubeapi import condition_of, path_of, secret
from parts.postfix import Postfix
from parts.process import Process, answers, wait_until
from parts.report import need, require
from parts.scripted import Scripted, always

from .place import QUICK_PROBE, Clusters, people, wait_state, within

USER, PASSWORD, WRONG = "ann", "correct-horse-7", "wrong-battery-8"
ROTATED_SECONDS = 2.0
# A list where the schema has an object: the API server takes no status for it from anybody; an event reports it.
UNWRITABLE = "a-list"


def conditions(place: Clusters) -> str:
    """`kubectl wait` on every kind, then what `get`, `describe` and `explain` show."""
    api, namespace = place.plane.api, place.namespace("basics")
    kubectl = lambda *words: place.plane.kubectl("-n", namespace, *words)  # noqa: E731
    with place.sink() as sink, place.controller(namespace).start():
        api.apply(*within(
            namespace,
            fleets.smtp_server("relay", sink.port),
            fleets.plan("pro", "relay"),
            fleets.campaign("spring", "pro", people(40)),
        ))  # fmt: skip
        begin = time.monotonic()
        for kind, name in (("sendingserver", "relay"), ("plan", "pro"), ("campaign", "spring")):
            kubectl("wait", "--for=condition=Ready", f"{kind}/{name}", "--timeout=30s")
        kubectl("wait", "--for=condition=Completed", "campaign/spring", "--timeout=30s")
        waited = time.monotonic() - begin
        require(sorted(sink.taken().values()) == [1] * 40, f"the sink has {sink.taken().total()} messages for 40 people")
        shown = [line for line in kubectl("get", "mailfleet").splitlines() if line]
        for words in (("relay", "Active"), ("pro", "1"), ("spring", "Completed", "40/40")):
            line = next((line for line in shown if words[0] in line.split()[0]), "")
            require(all(word in line for word in words), f"`kubectl get mailfleet` shows {words[0]} as {line!r}")
        campaign = api.get("Campaign", namespace, "spring")
        require(not campaign["metadata"].get("finalizers"), f"a completed campaign keeps {campaign['metadata'].get('finalizers')}")
        managers = {entry["manager"] for entry in campaign["metadata"]["managedFields"] if entry.get("subresource") == "status"}
        require(managers == {"mailfleet"}, f"the status is managed by {managers}")
        for kind, name in (("SendingServer", "relay"), ("Plan", "pro"), ("Campaign", "spring")):
            obj = api.get(kind, namespace, name)
            require(obj["status"]["observedGeneration"] == obj["metadata"]["generation"] == 1, f"{kind}: {obj['status']['observedGeneration']}")
            require(not condition_of(obj["status"], "Stalled"), f"{kind} is stalled: {obj['status']['conditions']}")
        wait_until(lambda: "Completed" in api.event_reasons(namespace, "spring"), 10, "the event of the completion", every=0.1)
        reasons = api.event_reasons(namespace, "spring")
        require(len(reasons) == len(set(reasons)), f"the campaign's events are {reasons}")
        described = kubectl("describe", "campaign/spring")
        require("Completed" in described and "Events:" in described, "`kubectl describe` shows no events")
    return f"all conditions within {waited:.1f} s of the last apply"


def kubectl_explain(place: Clusters) -> str:
    """`kubectl explain` documents every kind, short names and columns work, and a bad object is refused with an explanation."""
    fields = 0
    for plural in ("sendingservers", "plans", "campaigns"):
        explain = ("explain", f"{plural}.spec", "--recursive")
        # Discovery follows the CRDs some seconds later.
        wait_until(lambda: "FIELDS:" in place.plane.kubectl(*explain, check=False), 20, f"kubectl explain {plural}", every=0.5)  # noqa: B023
        text = place.plane.kubectl(*explain)
        require("FIELDS" in text, f"{plural}: {text[:200]}")
        fields += len([line for line in text.splitlines() if "\t<" in line])
    undescribed = []
    for crd in place.plane.api.list("CustomResourceDefinition"):
        spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        undescribed += [f"{crd['spec']['names']['kind']}{path}" for path in fields_without_words(spec, ".spec")]
        columns = [column["name"] for column in crd["spec"]["versions"][0]["additionalPrinterColumns"]]
        require("Age" in columns, f"{crd['metadata']['name']} has the columns {columns}")
        short = crd["spec"]["names"].get("shortNames")
        require(short, f"{crd['metadata']['name']} has no short name")
        place.plane.kubectl("get", short[0], "-A")
    require(not undescribed, f"{len(undescribed)} fields without a description: {undescribed[:5]}")
    namespace = place.namespace("explained")
    bad = within(namespace, fleets.smtp_server("bad", 99999))[0]
    answer = place.plane.kubectl("apply", "-f", "-", stdin=json.dumps(bad), check=False)
    require("spec.provider.smtp.port" in answer and "65535" in answer, f"a port out of range: {answer}")
    unknown = within(namespace, fleets.smtp_server("bad", 25, typo=1))[0]
    answer = place.plane.kubectl("apply", "-f", "-", stdin=json.dumps(unknown), check=False)
    require('unknown field "spec.typo"' in answer, f"an unknown field: {answer}")
    return f"{fields} fields"


def fields_without_words(schema: dict, path: str):
    """The fields of a schema that have no description."""
    for name, field in (schema.get("properties") or {}).items():
        below = f"{path}.{name}"
        if not field.get("description"):
            yield below
        yield from fields_without_words(field, below)
        yield from fields_without_words(field.get("items") or {}, f"{below}[]")


def rotated_secret(place: Clusters) -> str:
    """A wrong password, the right one, the wrong one again, and none: each is used at once, and only the Secret's name is shown."""
    need(Postfix.missing() or Dovecot.missing())
    api, namespace = place.plane.api, place.namespace("secrets")
    place.secrets |= {PASSWORD, WRONG}
    home = place.new("postfix")
    authority = Authority(home)
    postfix = Postfix(home, certificate=authority.issue("good"), sasl=Dovecot(home, USER, PASSWORD, mechanisms="plain login"))
    with postfix, place.controller(namespace).start() as controller:
        smtp = {"host": "localhost", "encryption": "StartTls", "caRef": {"name": "ca", "key": "ca.pem"}, "auth": {"secretRef": {"name": "relay-login"}}}
        slow = {"timeout": "5s", "interval": "1h", "retryAfter": "1h"}
        objects = [fleets.smtp_server("relay", postfix.port, smtp, probe=slow), fleets.plan("pro", "relay")]
        api.apply(secret(namespace, "ca", **{"ca.pem": authority.certificate.read_text()}))
        api.apply(*within(namespace, *objects), secret(namespace, "relay-login", username=USER, password=WRONG))
        api.wait_condition("SendingServer", namespace, "relay", "Probed", seconds=20, status="False", reason="AuthenticationFailed")
        seconds = []
        for password, reason in ((PASSWORD, "ProbeSucceeded"), (WRONG, "AuthenticationFailed"), (PASSWORD, "ProbeSucceeded")):
            api.apply(secret(namespace, "relay-login", username=USER, password=password))
            seconds.append(api.wait_condition("SendingServer", namespace, "relay", "Probed", seconds=20, reason=reason))
        api.delete("Secret", namespace, "relay-login")
        gone = api.wait_condition("SendingServer", namespace, "relay", "Ready", seconds=20, status="False", reason="SecretNotFound")
        ready = api.condition("SendingServer", namespace, "relay", "Ready")
        require("relay-login" in ready["message"], f"the Secret is not named: {ready}")
        require(api.status("SendingServer", namespace, "relay")["state"] == "Inactive", "a server without its Secret is not Inactive")
        api.apply(secret(namespace, "relay-login", username=USER, password=PASSWORD))
        back = api.wait_condition("SendingServer", namespace, "relay", "Ready", seconds=20, status="True")
        require(max(*seconds, back) <= ROTATED_SECONDS, f"a rotated Secret took {seconds} and {back:.2f} s")
        require(controller.process.running(), controller.process.tail())
    return f"used after {max(seconds):.2f} s at most, its absence noticed after {gone:.2f} s, its return after {back:.2f} s"


def audience_with_a_secret(place: Clusters) -> str:
    """An audience's URL with a token in a Secret: absent, in another namespace only, wrong, right; only the Secret's name is shown."""
    api, namespace, other = place.plane.api, place.namespace("audience"), place.namespace("other")
    wrong, right = "a-wrong-token-of-the-crm", "the-right-token-of-the-crm"
    place.secrets |= {wrong, right}
    relay, export = Scripted(), Export(right, "email,name\nann@example.com,Ann\n")
    source = {"csv": {"url": export.url, "auth": {"bearer": {"tokenRef": {"name": "crm", "key": "token"}}}}}
    objects = [fleets.smtp_server("relay", relay.port), fleets.plan("pro", "relay"), fleets.campaign("spring", "pro", source)]
    api.apply(secret(other, "crm", token=right))
    with place.controller(namespace, "--deny-private-networks=false").start():
        api.apply(*within(namespace, *objects))
        api.wait_condition("Campaign", namespace, "spring", "Stalled", seconds=20, reason="SecretNotFound")
        require(not export.seen, "it was asked without the token, or with another namespace's")
        api.apply(secret(namespace, "crm", token=wrong))
        api.wait_condition("Campaign", namespace, "spring", "Stalled", seconds=20, reason="AudienceUnreadable")
        api.apply(secret(namespace, "crm", token=right))
        wait_state(api, "Campaign", namespace, "spring", "Completed", 20)
        require(dict(relay.taken) == {"ann@example.com": 1}, f"{dict(relay.taken)}")
    # As the chart runs it: this machine is no public address.
    with place.controller(namespace).start():
        api.apply(*within(namespace, {**objects[2], "metadata": {"name": "summer"}}))
        api.wait_condition("Campaign", namespace, "summer", "Ready", seconds=20, status="False", reason="AddressNotAllowed")
    return f"{len(export.seen)} requests, none without its namespace's token"


def demo_that_stays(place: Clusters) -> str:
    """`make demo-kubernetes ARGS=--keep`, and README's commands on it, word for word; then Ctrl-C."""
    busy = [port for port in (2525, 2526, 2527) if answers(port)]
    need(f"port {busy[0]}, which another program uses" if busy else "")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = next(block for block in readme.split("```console\n") if block.startswith("$ make demo-kubernetes ARGS=--keep"))
    typed = [line.removeprefix("$ ").split("#")[0].strip() for line in block.split("```")[0].splitlines()]
    home = place.new("demo")
    # The program that is tested; else the script takes the newest that was built.
    demo = Process([sys.executable, ROOT / "scripts/demo-kubernetes", *typed[0].split("ARGS=")[1].split()], home / "demo.out", env=environment(MAILFLEET_BINARY=str(place.program)))
    try:
        wait_until(lambda: "$ kubectl get mailfleet -A\n$ kubectl delete" in demo.text() or not demo.running(), 180, "the demo")
        require(demo.running(), f"it does not stay: {demo.tail()}")
        exports = next(line for line in demo.text().splitlines() if line.startswith("$ export KUBECONFIG=")).removeprefix("$ ")
        require(typed[1].startswith("export KUBECONFIG="), f"README's second command: {typed[1]}")
        said = {}
        for command in typed[2:]:
            done = subprocess.run(["bash", "-c", f"{exports}; {command}"], cwd=ROOT, capture_output=True, text=True, timeout=60)
            require(done.returncode == 0, f"{command}: exit {done.returncode}: {done.stderr}")
            said[command] = done.stdout
        first = said[typed[2]]
        require("december" in first and "relay-1" in first and "Completed" in first, first)

        def completed() -> bool:
            done = subprocess.run(["bash", "-c", f"{exports}; {typed[-1]}"], capture_output=True, text=True, timeout=60)
            return "Completed" in done.stdout and "6/6" in done.stdout

        wait_until(completed, 30, "the campaign that was applied again")
    finally:
        demo.signal(signal.SIGINT)
        demo.wait(60)
    require(demo.code == 0, f"exit {demo.code}: {demo.tail()}")
    return f"{len(typed)} commands"


def unparsable(place: Clusters) -> str:
    """An object from an older, looser schema: a condition on that object, and the others are not affected."""
    with place.own_plane("loose") as plane, place.sink() as sink:
        api = plane.api
        namespace = api.namespace("loose")
        strict = api.get("CustomResourceDefinition", "", "sendingservers.mailfleet.dev")
        loose = copy.deepcopy(strict)
        anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"] = {"spec": anything, "status": anything}
        replace_crd(api, loose)
        broken = {
            "unknown-field": {"provider": {"smtp": {"host": "127.0.0.1", "port": sink.port, "tls": "yes"}}},
            "wrong-type": {"provider": {"smtp": {"host": "127.0.0.1", "port": "smtp"}}},
            "two-providers": {"provider": {"smtp": {"host": "127.0.0.1"}, "outbox": {"path": "x"}}},
            "no-provider": {},
            UNWRITABLE: {"provider": [{"smtp": {"host": "127.0.0.1"}}]},
        }
        objects = [fleets.resource("SendingServer", name, spec) for name, spec in broken.items()]

        def put_broken():
            # Nothing says when the looser schema takes effect.
            with contextlib.suppress(Exception):
                for obj in within(namespace, *objects):
                    api.request("POST", path_of("SendingServer", namespace) + "?fieldValidation=Ignore", obj)
            kept = [obj for obj in api.list("SendingServer", namespace) if obj.get("spec") == broken[obj["metadata"]["name"]]]
            if len(kept) == len(broken):
                return True
            for name in broken:
                api.delete("SendingServer", namespace, name)
            return False

        wait_until(put_broken, 20, "the looser schema", every=0.3)
        replace_crd(api, strict)
        with place.controller(namespace, plane=plane).start() as controller:
            api.apply(*within(
                namespace,
                fleets.smtp_server("relay", sink.port),
                fleets.plan("pro", "relay", "wrong-type"),
                fleets.campaign("spring", "pro", people(10)),
            ))  # fmt: skip
            api.wait_condition("Campaign", namespace, "spring", "Completed", seconds=30, status="True")
            for name in broken.keys() - {UNWRITABLE}:
                api.wait_condition("SendingServer", namespace, name, "Stalled", seconds=10, status="True")
                ready = api.condition("SendingServer", namespace, name, "Ready")
                require(ready["status"] == "False" and ready["message"], f"{name}: {ready}")
                require(api.status("SendingServer", namespace, name)["state"] == "Inactive", f"{name} is not Inactive")
            reasons = wait_until(lambda: api.event_reasons(namespace, UNWRITABLE), 10, "an event")
            require(reasons == ["Unreadable"], f"the events of {UNWRITABLE} are {reasons}")
            # One is fixed, and is used.
            fixed = {"spec": {"provider": {"smtp": {"host": "127.0.0.1", "port": sink.port, "encryption": "None"}}}}
            api.merge("SendingServer", namespace, "wrong-type", fixed)
            api.wait_condition("SendingServer", namespace, "wrong-type", "Ready", seconds=10, status="True")
            require(controller.process.running(), controller.process.tail())
        require(sorted(sink.taken().values()) == [1] * 10, "the good server did not send")
    return f"{len(broken)} objects, each with its reason; the others were not affected"


def replace_crd(api, crd: dict):
    """Replaces the served schema."""
    name = crd["metadata"]["name"]
    newest = api.get("CustomResourceDefinition", "", name)
    body = {**newest, "spec": crd["spec"]}
    api.request("PUT", path_of("CustomResourceDefinition", "", name), body)


def same_names(place: Clusters) -> str:
    """Campaigns, plans and servers with the same names in two namespaces stay separate, under one controller."""
    api, numbers = place.plane.api, {}
    one, two = place.namespace("same"), place.namespace("same")
    with contextlib.ExitStack() as stack:
        stack.enter_context(place.controller(one, "--namespace", two).start())
        sinks = {namespace: stack.enter_context(place.sink()) for namespace in (one, two)}
        for namespace, number in ((one, 30), (two, 50)):
            objects = [fleets.smtp_server("relay", sinks[namespace].port), fleets.plan("pro", "relay"), fleets.campaign("spring", "pro", people(number))]
            api.apply(*within(namespace, *objects))
        for namespace, number in ((one, 30), (two, 50)):
            api.wait_condition("Campaign", namespace, "spring", "Completed", seconds=30, status="True")
            numbers[namespace] = len(sinks[namespace].taken())
            require(numbers[namespace] == number == sinks[namespace].taken().total(), f"{numbers}")
    return "30 and 50 people"


def flapping_server(place: Clusters) -> str:
    """A server that goes away and comes back: one event and one status for each transition, and the plan follows."""
    api, namespace = place.plane.api, place.namespace("flapping")
    with place.sink() as sink, place.controller(namespace).start():
        api.apply(*within(namespace, fleets.smtp_server("relay", sink.port, probe=QUICK_PROBE), fleets.plan("pro", "relay")))
        api.wait_condition("Plan", namespace, "pro", "Ready", seconds=20, status="True")
        sink.kill()
        api.wait_condition("SendingServer", namespace, "relay", "Ready", seconds=30, status="False", reason="ConnectionRefused")
        api.wait_condition("Plan", namespace, "pro", "Ready", seconds=5, status="False", reason="NoActiveServer")
        sink.start()
        api.wait_condition("SendingServer", namespace, "relay", "Ready", seconds=30, status="True")
        api.wait_condition("Plan", namespace, "pro", "Ready", seconds=5, status="True")
        wait_until(lambda: len(api.event_reasons(namespace, "relay")) >= 2, 10, "the events of both transitions", every=0.1)
        reasons = api.event_reasons(namespace, "relay")
        require(sorted(reasons) == ["Active", "ConnectionRefused"], f"the server's events are {reasons}")
    return "one event each"


def resumed_by_annotation(place: Clusters) -> str:
    """Stopped by the guard, resumed by `kubectl annotate`: each value works once, even when the object is applied again from an export."""
    api, namespace, recipients = place.plane.api, place.namespace("resumed"), 60
    kubectl = lambda *words, **more: place.plane.kubectl("-n", namespace, *words, **more)  # noqa: E731
    status = lambda: api.status("Campaign", namespace, "spring")  # noqa: E731
    first, second, wrong = "2026-11-28T09:30:00Z", "2026-11-28T09:45:00Z held=Retry", "2026-11-28T09:40:00Z held=Rejct"
    with Scripted(always("rcpt", "550 Kunde gesperrt")) as server, place.controller(namespace).start() as controller:
        asked = lambda: sum(server.asked.values())  # noqa: E731

        def wait_stopped(handled: str | None, tried: int):
            """It is stopped again, and stays so."""

            def is_stopped() -> bool:
                found = status()
                held = sum(state == "Held" for state in controller.recipients_so_far("spring", namespace=namespace).values())
                stalled = condition_of(found, "Stalled").get("reason") == "RefusedAlike" and found["state"] == "Stopped"
                return stalled and found.get("lastHandledResume") == handled and held == 10 and asked() == tried

            wait_until(is_stopped, 40, f"a stop after {tried} attempts and the request {handled}", every=0.1)
            time.sleep(3)
            require(is_stopped(), f"{asked()} attempts instead of {tried}, and {status()}")

        audience = {"inline": [{"email": fleets.address(number, f"{number % 2}.example.com"), "name": "Somebody"} for number in range(recipients)]}
        api.apply(*within(namespace, fleets.smtp_server("relay", server.port), fleets.plan("pro", "relay"), fleets.campaign("spring", "pro", audience)))
        wait_stopped(None, 10)
        # The server still refuses: the ten are attempted again, once.
        kubectl("annotate", "campaign/spring", f"mailfleet.dev/resume={first}")
        wait_stopped(first, 20)
        exported = kubectl("get", "campaign/spring", "-o", "yaml")
        require(first in exported, "the annotation is not in the export")
        kubectl("delete", "campaign/spring", "--timeout=30s")
        kubectl("apply", "-f", "-", stdin=exported)
        wait_stopped(first, 20)
        kubectl("annotate", "--overwrite", "campaign/spring", f"mailfleet.dev/resume={wrong}")
        wait_until(lambda: "held=Rejct" in json.dumps(status()["conditions"]), 20, "a message about an unknown value")
        require(asked() == 20, "an unknown value resumed it")
        server.script = lambda stage, session: None
        kubectl("annotate", "--overwrite", "campaign/spring", f"mailfleet.dev/resume={second}")
        kubectl("wait", "--for=condition=Completed", "campaign/spring", "--timeout=30s")
        require(status().get("lastHandledResume") == second, f"lastHandledResume is {status().get('lastHandledResume')}")
        require(sorted(server.taken.values()) == [1] * recipients, f"{server.taken.total()} messages for {recipients} people")
        states = set(controller.recipients("spring", namespace=namespace).values())
        require(states == {"Accepted"}, f"the ledger has {states}")
    return f"10 held, 10 attempted again, none after an export was applied again; fixed, {recipients} of {recipients} once"


def paused_server_resumed(place: Clusters) -> str:
    """A server whose recipients do not exist is paused, over an edit and a restart; `mailfleet resume --kubernetes` lets it back."""
    api, namespace, people_all, dead = place.plane.api, place.namespace("paused"), 120, "550 5.1.1 no such user"
    kubectl = lambda *words: place.plane.kubectl("-n", namespace, *words)  # noqa: E731
    ready = lambda: condition_of(api.status("SendingServer", namespace, "relay"), "Ready")  # noqa: E731
    script = lambda stage, session: dead if stage == "rcpt" and int(session.recipient[6:].split("@")[0]) % 3 == 1 else None  # noqa: E731
    with Scripted(script) as server, place.controller(namespace) as controller:
        controller.start()
        audience = {"inline": [{"email": fleets.address(number, f"{number % 20}.example.com"), "name": "Somebody"} for number in range(people_all)]}
        guard = {"limits": {"rates": [{"messages": 10, "per": "1s"}]}, "feedback": {"pauseWhen": {"afterMessages": 20}}}
        patient = {"stopWhen": {"bouncePercent": "100"}, "whenNoServerIsActive": "Wait"}
        relay, campaign = fleets.smtp_server("relay", server.port, **guard), fleets.campaign("spring", "pro", audience, **patient)
        api.apply(*within(namespace, relay, fleets.plan("pro", "relay"), campaign))
        wait_until(lambda: ready().get("reason") == "BounceRateTooHigh", 60, "the pause")
        require("`mailfleet resume server/relay -n " in ready()["message"] and "--kubernetes" in ready()["message"], f"{ready()}")
        kubectl("patch", "sendingserver/relay", "--type=merge", "-p", json.dumps({"spec": {"feedback": {"pauseWhen": {"bouncePercent": "100"}}}}))
        wait_until(lambda: ready().get("observedGeneration") == 2, 30, "the edit is read")
        require(ready()["reason"] == "BounceRateTooHigh", f"an edit ended the pause: {ready()}")
        asked = sum(server.asked.values())
        server.script = lambda stage, session: None
        words = [controller.program, "resume", "server/relay", "-n", namespace, "--kubernetes", "--kubeconfig", place.plane.kubeconfig]
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False, env=environment())
        require(done.returncode == 0, done.stdout + done.stderr)
        kubectl("wait", "--for=condition=Completed", "campaign/spring", "--timeout=60s")
        require(ready()["reason"] == "Active", f"{ready()}")
        require(all(count == 1 for count in server.taken.values()), "nobody was mailed twice")
    return f"paused after {asked} of {people_all}, and resumed"


def promoted_by_annotation(place: Clusters) -> str:
    """A rollout waits for a person: `kubectl annotate` lets it go on, once for each value, and an export that is applied again does not."""
    api, namespace, recipients = place.plane.api, place.namespace("promoted"), 200
    kubectl = lambda *words, **more: place.plane.kubectl("-n", namespace, *words, **more)  # noqa: E731
    rollout = lambda: api.status("Campaign", namespace, "spring").get("rollout") or {}  # noqa: E731
    with Scripted() as server, place.controller(namespace).start():
        audience = {"inline": [{"email": fleets.address(number), "name": "Somebody"} for number in range(recipients)]}
        steps = [{"percent": 20, "minMessages": 1, "pause": {}}, {"percent": "60", "minMessages": 1, "pause": {}}]
        campaign = fleets.campaign("spring", "pro", audience, rollout={"steps": steps})
        api.apply(*within(namespace, fleets.smtp_server("relay", server.port), fleets.plan("pro", "relay"), campaign))

        def wait_at(percent: str) -> int:
            """It waits for a person with this share, and is neither failed nor healthy; how many were mailed."""
            wait_until(lambda: (rollout().get("percent"), rollout().get("state")) == (percent, "WaitingForPromotion"), 40, f"{percent}%", every=0.1)
            api.wait_condition("Campaign", namespace, "spring", "Ready", seconds=20, status="False", reason="RolloutWaiting")
            require(not condition_of(api.status("Campaign", namespace, "spring"), "Stalled"), "it is Stalled")
            return len(server.taken)

        first = wait_at("20")
        require("--kubernetes" in condition_of(api.status("Campaign", namespace, "spring"), "Ready")["message"], "the command lacks its option")
        kubectl("annotate", "campaign/spring", "mailfleet.dev/promote=one")
        second = wait_at("60")
        exported = kubectl("get", "campaign/spring", "-o", "yaml")
        kubectl("delete", "campaign/spring", "--timeout=30s")
        kubectl("apply", "-f", "-", stdin=exported)
        require(0 < first < wait_at("60") == second < recipients, f"{first}, {second}, {len(server.taken)}")
        columns = kubectl("get", "campaign/spring", "-o", "wide")
        require("2/2 (60%)" in columns, columns)
        kubectl("annotate", "--overwrite", "campaign/spring", "mailfleet.dev/promote=two")
        kubectl("wait", "--for=condition=Completed", "campaign/spring", "--timeout=30s")
        require(sorted(server.taken.values()) == [1] * recipients, f"{server.taken.total()} messages for {recipients} people")
        wait_until(lambda: "RolloutWaiting" in api.event_reasons(namespace, "spring", "Normal"), 10, "the event of the step that waits", every=0.1)
    return f"{first}, {second}, {recipients}"


def no_secret_anywhere(place: Clusters) -> str:
    """Looks for every secret value in the logs, events and statuses of all cases so far."""
    need("" if place.secrets else "a case that used Secrets")
    api, looked = place.plane.api, 0
    texts = {str(path): path.read_text(errors="replace") for controller in place.controllers for path in controller.outputs}
    for kind in ("SendingServer", "Plan", "Campaign", "Event", "Lease"):
        texts[kind] = json.dumps(api.list(kind))
    require(api.list("Event"), "there are no events to search")
    for name, text in texts.items():
        looked += len(text)
        found = [f"{value[:3]}…" for value in place.secrets if value in text]
        require(not found, f"{name} shows {found}")
    return f"none of {len(place.secrets)} values in {looked // 1024} KiB"

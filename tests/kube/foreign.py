"""What others do in the cluster: exports with our finalizer, restored statuses, proxies, missing CRDs and rights, a second controller."""

import contextlib
import copy
import json
import time

from parts import fleet as fleets
from parts.cluster import ControlPlane
from parts.controller import Controller
from parts.kubeapi import ApiError, condition_of
from parts.process import free_port, wait_until
from parts.proxy import ConnectProxy
from parts.report import require

from .basics import replace_crd
from .outages import accepted, long_campaign, wait_accepted
from .place import LEASE, QUICK_PROBE, Clusters, people, wait_state, within

FINALIZER = "mailfleet.dev/sending"
# What an API server sets; people take it out of an export before they apply it again.
OF_THE_SERVER = ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "deletionTimestamp")
GONE_SECONDS = 5.0
# After meeting a finalizer the namespace controller retries only some seconds later.
NAMESPACE_SECONDS = 60.0
RIGHTED_SECONDS = 5.0


def export(obj: dict) -> dict:
    """An object as people export it."""
    metadata = {name: value for name, value in obj["metadata"].items() if name not in OF_THE_SERVER}
    return {**obj, "metadata": metadata}


def gone(api, kind: str, namespace: str, name: str, seconds: float) -> float:
    """How long it takes until a deleted object is gone."""
    begin = time.monotonic()
    api.delete(kind, namespace, name)
    wait_until(lambda: api.get(kind, namespace, name) is None, seconds, f"the deletion of {kind} {namespace}/{name}", every=0.02)
    return time.monotonic() - begin


def finalizers_of_exports(place: Clusters) -> str:
    """A campaign from an export that carries our finalizer: deleted within seconds, however it was applied, even with its namespace."""
    api, slowest = place.plane.api, 0.0
    namespace = place.namespace("export")
    kubectl = lambda *words, **more: place.plane.kubectl("-n", namespace, *words, **more)  # noqa: E731
    ways = {"apply": ("apply",), "apply --server-side": ("apply", "--server-side", "--force-conflicts"), "create": ("create",), "replace": ("replace", "--force", "--grace-period=0")}
    with place.sink("--delay", "10ms") as sink, place.controller(namespace).start() as controller:
        objects = long_campaign(namespace, 4_000, sink.port)
        api.apply(*objects)
        wait_accepted(50, sink)
        kept = export(api.get("Campaign", namespace, "spring"))
        require(kept["metadata"]["finalizers"] == [FINALIZER], f"a campaign that sends has {kept['metadata'].get('finalizers')}")
        gone(api, "Campaign", namespace, "spring", GONE_SECONDS)
        for words in ways.values():
            kubectl(*words, "-f", "-", stdin=json.dumps(kept))
            before = accepted(sink)
            wait_accepted(before + 20, sink)
            slowest = max(slowest, gone(api, "Campaign", namespace, "spring", GONE_SECONDS))
        # Nothing is sent, so nothing holds it: our finalizer is removed, and another's stays.
        idle = copy.deepcopy(kept)
        idle["spec"]["suspend"] = True
        idle["metadata"]["finalizers"] = ["example.com/theirs", FINALIZER]
        kubectl("apply", "-f", "-", stdin=json.dumps(idle))
        left = lambda: api.get("Campaign", namespace, "spring")["metadata"].get("finalizers")  # noqa: E731
        wait_until(lambda: left() == ["example.com/theirs"], 10, "the finalizer's end")
        api.merge("Campaign", namespace, "spring", {"metadata": {"finalizers": None}})
        gone(api, "Campaign", namespace, "spring", GONE_SECONDS)
        # A namespace with a campaign that sends.
        kubectl("apply", "-f", "-", stdin=json.dumps(kept))
        before = accepted(sink)
        wait_accepted(before + 20, sink)
        whole = gone(api, "Namespace", "", namespace, NAMESPACE_SECONDS)
        # Without a running controller it waits for one.
        api.namespace(namespace)
        controller.stop()
        kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(kept))
        api.delete("Campaign", namespace, "spring")
        time.sleep(1)
        require(api.get("Campaign", namespace, "spring"), "nobody held the campaign")
        controller.start()
        wait_until(lambda: api.get("Campaign", namespace, "spring") is None, 10, "the deletion of a campaign that was deleted meanwhile")
        require(not [line for line in controller.text().splitlines() if "refuses" in line], controller.process.tail())
    return f"{len(ways)} ways to apply it, gone after {slowest:.1f} s at most, the namespace after {whole:.1f} s"


def deletions_without_content(place: Clusters) -> str:
    """A campaign is deleted with what it sends from, as with its namespace, in any order: what is in flight gets its outcome, and nothing holds the campaign."""
    api, namespace = place.plane.api, place.namespace("partly")
    status = lambda: api.status("Campaign", namespace, "spring") or {}  # noqa: E731
    delete_people = lambda: place.plane.kubectl("-n", namespace, "delete", "configmap", "people")  # noqa: E731
    with place.sink("--delay", "100ms") as sink, place.controller(namespace).start() as controller:
        objects = long_campaign(namespace, 4_000, sink.port)
        api.apply(*objects)
        wait_accepted(50, sink)
        delete_people()
        api.wait_condition("Campaign", namespace, "spring", "Ready", seconds=20, reason="ConfigMapNotFound")
        told = lambda: (status()["recipients"]["accepted"], status()["recipients"].get("sending", 0))  # noqa: E731
        wait_until(lambda: told() == (accepted(sink), 0), 20, "a status that says what was sent")
        without = gone(api, "Campaign", namespace, "spring", GONE_SECONDS)
        # The same while no controller runs, after one that was killed with messages in flight.
        before = accepted(sink)
        api.apply(*objects)
        wait_accepted(before + 50, sink)
        controller.kill()
        path = f"/apis/mailfleet.dev/v1alpha1/namespaces/{namespace}/campaigns/spring/status"
        api.request("PATCH", path, {"status": {"recipients": {"sending": 2}}}, "application/merge-patch+json")
        delete_people()
        api.delete("Campaign", namespace, "spring")
        require(api.get("Campaign", namespace, "spring"), "nobody held the campaign")
        controller.start()
        wait_until(lambda: api.get("Campaign", namespace, "spring") is None, 20, "the deletion of a campaign that was deleted meanwhile")
    return f"gone {without:.1f} s after its deletion without its audience, and at the next start after kill -9"


def restored_statuses(place: Clusters) -> str:
    """A status that another manager owns (a restore, an earlier merge of ours): corrected completely, and no condition stays forever."""
    api, namespace = place.plane.api, place.namespace("restored")
    server = lambda: api.status("SendingServer", namespace, "relay")  # noqa: E731
    same = lambda good: json.dumps(server(), sort_keys=True) == json.dumps(good, sort_keys=True)  # noqa: E731
    stale = {"type": "Stalled", "status": "True", "reason": "SecretNotFound", "message": "from a backup", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    slowest, number = 0.0, 0
    with place.sink() as sink, place.controller(namespace).start():
        objects = within(namespace, fleets.smtp_server("relay", sink.port, probe=QUICK_PROBE), fleets.plan("pro", "relay"))
        for how in ("kubectl replace", "merge as mailfleet", "apply of another"):
            api.apply(*objects)
            api.wait_condition("SendingServer", namespace, "relay", "Ready", seconds=20, status="True")
            good, obj = server(), api.get("SendingServer", namespace, "relay")
            restored = {**good, "conditions": [*good["conditions"], stale]}
            if how == "kubectl replace":
                words = ("replace", "--subresource=status", "-o", "json", "-f", "-")
                wrote = json.loads(place.plane.kubectl("-n", namespace, *words, stdin=json.dumps({**obj, "status": restored})))
            elif how == "merge as mailfleet":
                path = f"/apis/mailfleet.dev/v1alpha1/namespaces/{namespace}/sendingservers/relay/status?fieldManager=mailfleet"
                wrote = api.request("PATCH", path, {"status": restored}, "application/merge-patch+json")
            else:
                body = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": {"name": "relay", "namespace": namespace}, "status": {"conditions": [stale]}}
                path = f"/apis/mailfleet.dev/v1alpha1/namespaces/{namespace}/sendingservers/relay/status?fieldManager=velero&force=true"
                wrote = api.request("PATCH", path, body, "application/apply-patch+yaml")
            require(condition_of(wrote["status"], "Stalled"), f"{how} did not write the status")
            begin = time.monotonic()
            wait_until(lambda good=good: same(good), 10, f"the status after {how}: {server()}", every=0.02)
            slowest = max(slowest, time.monotonic() - begin)
            # What we drop is removed too, whoever else owns it.
            sink.kill()
            api.wait_condition("SendingServer", namespace, "relay", "Ready", seconds=30, status="False", reason="ConnectionRefused")
            sink.start()
            api.wait_condition("SendingServer", namespace, "relay", "Ready", seconds=30, status="True")
            # The turn's last write may still come.
            wait_until(lambda: not condition_of(server(), "Reconciling") and not condition_of(server(), "Stalled"), 10, f"the removal of temporary conditions after {how}")
            kinds = [condition["type"] for condition in server()["conditions"]]
            require(len(kinds) == len(set(kinds)), f"{how}: {kinds}")
            api.delete("SendingServer", namespace, "relay")
            number += 1
    require(slowest <= RIGHTED_SECONDS, f"put right after {slowest:.1f} s")
    return f"{number} managers, corrected after {slowest:.1f} s at most"


def invalid_statuses(place: Clusters) -> str:
    """What a looser CRD allowed in a status and this one forbids: corrected, although no apply to it succeeds."""
    invalid = {
        "enum": {"conditions": [{"type": "Foreign", "status": "Perhaps", "reason": "x", "message": "x", "lastTransitionTime": "x"}]},
        "lacking": {"conditions": [{"type": "Foreign", "status": "True"}]},
        "type": {"state": 7, "conditions": []},
        "twice": {"conditions": [{"type": "Ready", "status": "True", "reason": "x", "message": "x", "lastTransitionTime": "x"}] * 2},
        "no-list": {"conditions": {"Ready": "True"}},
        "unknown": {"colour": "red", "conditions": []},
    }
    with place.own_plane("invalid") as plane, place.sink() as sink:
        api, namespace = plane.api, plane.api.namespace("shop")
        strict = api.get("CustomResourceDefinition", "", "sendingservers.mailfleet.dev")
        loose = copy.deepcopy(strict)
        anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"] = {"spec": anything, "status": anything}
        api.apply(*within(namespace, *(fleets.smtp_server(name, sink.port) for name in invalid), fleets.plan("pro", *invalid)))
        replace_crd(api, loose)

        def put(name: str) -> bool:
            with contextlib.suppress(ApiError):
                obj = api.get("SendingServer", namespace, name)
                path = f"/apis/mailfleet.dev/v1alpha1/namespaces/{namespace}/sendingservers/{name}/status?fieldManager=velero"
                api.request("PUT", path, {**obj, "status": invalid[name]})
            return api.status("SendingServer", namespace, name) == invalid[name]

        for name in invalid:
            wait_until(lambda: put(name), 20, f"the invalid status {name}", every=0.3)  # noqa: B023
        replace_crd(api, strict)
        with place.controller(namespace, plane=plane).start() as controller:
            for name in invalid:
                try:
                    api.wait_condition("SendingServer", namespace, name, "Ready", seconds=20, status="True", reason="Active")
                except TimeoutError as late:
                    raise TimeoutError(f"{name}: {late}; {controller.process.tail(3)}") from None

                def is_ours(name=name) -> bool:
                    status = api.status("SendingServer", namespace, name)
                    kinds = [condition["type"] for condition in status["conditions"]]
                    return "Foreign" not in kinds and len(kinds) == len(set(kinds)) and "colour" not in status

                # The write after the apply removes what was there.
                wait_until(is_ours, 2, f"the removal of what was there in {name}: {api.status('SendingServer', namespace, name)}")
            # And the next one does too.
            sink.kill()
            for name in invalid:
                api.merge("SendingServer", namespace, name, {"spec": {"enabled": False}})
                api.wait_condition("SendingServer", namespace, name, "Ready", seconds=20, status="False", reason="Disabled")
    return f"{len(invalid)} statuses"


def statuses_overwritten_repeatedly(place: Clusters) -> str:
    """A status overwritten three times within seconds, and one that a restart found correct and did not write: corrected each time."""
    api, namespace = place.plane.api, place.namespace("again")
    seconds = []

    def overwrite(name: str, right: str, wrong: str):
        api.merge("SendingServer", namespace, name, {"status": {"state": wrong}}, subresource="status")
        begin = time.monotonic()
        wait_state(api, "SendingServer", namespace, name, right, 20)
        seconds.append(time.monotonic() - begin)

    with place.sink() as sink, place.controller(namespace).start() as controller:
        api.apply(*within(namespace, fleets.smtp_server("relay", sink.port), fleets.smtp_server("off", sink.port, enabled=False), fleets.plan("pro", "relay", "off")))
        api.wait_condition("Plan", namespace, "pro", "Ready", seconds=20, status="True")
        wait_state(api, "SendingServer", namespace, "off", "Inactive", 10)
        for _ in range(3):
            overwrite("relay", "Active", "Inactive")
        controller.stop()
        version = lambda: api.get("SendingServer", namespace, "off")["metadata"]["resourceVersion"]  # noqa: E731
        before = version()
        controller.start()
        api.wait_condition("Plan", namespace, "pro", "Ready", seconds=20, status="True")
        time.sleep(3)
        require(version() == before, "a restart wrote a correct status again")
        overwrite("off", "Inactive", "Active")
    require(max(seconds) <= 12, f"put right after {seconds}")
    return f"after {', '.join(f'{each:.1f}' for each in seconds)} s"


def proxies(place: Clusters) -> str:
    """A proxy from the environment is not used for an API server on loopback; the kubeconfig's proxy is."""
    namespace = place.namespace("proxies")
    with place.sink() as sink, ConnectProxy() as proxy:
        nowhere = {name: f"http://127.0.0.1:{free_port()}" for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY")}
        place.plane.api.apply(*within(namespace, fleets.smtp_server("relay", sink.port), fleets.plan("pro", "relay")))
        for excepted in ("127.0.0.1", "example.com", ""):
            variables = {**nowhere, "NO_PROXY": excepted, "no_proxy": excepted}
            with place.controller(namespace, variables=variables).start():
                pass
        config = json.loads(place.plane.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["proxy-url"] = proxy.url
        kubeconfig = place.new("proxied") / "kubeconfig"
        kubeconfig.write_text(json.dumps(config))
        kubeconfig.chmod(0o600)
        with place.controller(namespace, kubeconfig=kubeconfig).start():
            place.plane.api.wait_condition("SendingServer", namespace, "relay", "Ready", seconds=20, status="True")
        require(set(proxy.targets) == {f"127.0.0.1:{place.plane.port}"}, f"the proxy was asked for {set(proxy.targets)}")
    return f"started with HTTPS_PROXY; {len(proxy.targets)} connections through proxy-url"


def missing_crds_and_rights(place: Clusters) -> str:
    """Without its CRDs, or without the right to list Secrets, it says so once, and starts working when they appear."""
    seconds, notes = (8 if place.quick else 20), []
    with ControlPlane(place.new("bare")) as plane, place.sink() as sink:
        namespace = plane.api.namespace("shop")
        with place.controller(namespace, plane=plane).start() as controller:
            time.sleep(seconds)
            lines = controller.process.text().splitlines()
            named = {plural for plural in ("sendingservers", "plans", "campaigns") if any(f"does not know {plural}" in line for line in lines)}
            require(len(named) == 3 and len(lines) <= 8, f"{len(lines)} lines in {seconds} s, about {named}: {controller.process.tail(4)}")
            notes.append(f"{len(lines)} lines without CRDs")
            plane.install_crds()
            plane.api.apply(*within(namespace, fleets.smtp_server("relay", sink.port), fleets.plan("pro", "relay"), fleets.campaign("spring", "pro", people(3))))
            plane.api.wait_condition("Campaign", namespace, "spring", "Completed", seconds=30, status="True")
        rules = [
            {"apiGroups": ["mailfleet.dev"], "resources": ["*"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["configmaps", "namespaces"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["*"]},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
        ]  # fmt: skip
        kubeconfig = plane.service_account(namespace, "poor")
        about = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "poor", "namespace": namespace}}
        plane.api.apply({**about, "kind": "Role", "rules": rules})
        subject = {"kind": "ServiceAccount", "name": "poor", "namespace": namespace}
        plane.api.apply({**about, "kind": "RoleBinding", "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "poor"}, "subjects": [subject]})
        with place.controller(namespace, plane=plane, kubeconfig=kubeconfig).start() as controller:
            time.sleep(seconds)
            lines = controller.process.text().splitlines()
            require(any("not allowed to list and watch secrets" in line for line in lines), f"it says {lines}")
            require(len(lines) <= 8, f"{len(lines)} lines in {seconds} s: {controller.process.tail(4)}")
            notes.append(f"{len(lines)} without `list secrets`, in {seconds} s each")
            plane.api.apply({**about, "kind": "Role", "rules": [*rules, {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}]})
            # Campaigns resume as soon as it may.
            plane.api.merge("Campaign", namespace, "spring", {"spec": {"run": "second"}})
            wait_until(lambda: plane.api.status("Campaign", namespace, "spring").get("recipients", {}).get("accepted") == 3
                       and plane.api.get("Campaign", namespace, "spring")["metadata"]["generation"] == plane.api.status("Campaign", namespace, "spring")["observedGeneration"], 30, "the second run")
            require("secrets" in controller.process.text(), "nothing was said about Secrets")
    return "; ".join(notes)


def long_texts(place: Clusters) -> str:
    """Names of 253 characters have Events, and a plan over 1,500 inactive servers has a message that an API server accepts."""
    api, namespace, servers = place.plane.api, place.namespace("long"), 300 if place.quick else 1_500
    with place.sink() as sink, place.controller(namespace).start():
        names = {length: f"relay-{'x' * (length - 7)}y" for length in (236, 237, 246, 252, 253)}
        dead = free_port()
        api.apply(*within(namespace, *(fleets.smtp_server(name, dead, probe=QUICK_PROBE) for name in names.values()), fleets.plan("names", *names.values())))
        told = lambda: {event["regarding"]["name"] for event in api.list("Event", namespace)}  # noqa: E731
        wait_until(lambda: set(names.values()) <= told(), 30, f"an Event of each name, not only of those of {sorted(map(len, told()))} characters")
        plan = fleets.plan("wide")
        plan["spec"] = {"serverSelector": {"matchLabels": {"pool": "wide"}}}
        objects = within(namespace, *(fleets.smtp_server(f"a-server-with-a-name-of-some-length-{number:04}", sink.port, enabled=False) for number in range(servers)), plan)
        for obj in objects[:-1]:
            obj["metadata"]["labels"] = {"pool": "wide"}
        api.apply(*objects)
        wait_until(lambda: api.status("Plan", namespace, "wide").get("serversGranted") == servers, 60, f"a plan over {servers} servers")
        ready = api.wait_condition("Plan", namespace, "wide", "Ready", seconds=60, status="False", reason="NoActiveServer")
        message = api.condition("Plan", namespace, "wide", "Ready")["message"]
        require(len(message) < 1000 and f"and {servers - 10:,} more" in message, f"{len(message)} characters: {message[:300]}")
    return f"names of {', '.join(map(str, names))} characters; {len(message)} characters about {servers} servers, after {ready:.1f} s"


def large_objects(place: Clusters) -> str:
    """What the documents say of sizes: `--server-side` above 262,144 bytes, nothing above 1.5 MiB; a large letter is sent, and an object that leaves its status no room is told once."""
    api, namespace = place.plane.api, place.namespace("large")
    kubectl = lambda *words, **more: place.plane.kubectl("-n", namespace, *words, **more)  # noqa: E731
    letter = lambda size: "<p>" + "spring " * (size // 7) + "</p>"  # noqa: E731

    def one(name: str, **content) -> str:
        return json.dumps(within(namespace, fleets.campaign(name, "pro", people(2), content=content))[0])

    with place.sink() as sink, place.controller(namespace).start() as controller:
        api.apply(*within(namespace, fleets.smtp_server("relay", sink.port), fleets.plan("pro", "relay")))
        large = one("large", html=letter(300_000))
        answer = kubectl("apply", "-f", "-", stdin=large, check=False)
        require("Too long" in answer and "262144" in answer, f"a client-side apply of 300 KB: {answer[:300]}")
        kubectl("apply", "--server-side", "-f", "-", stdin=large)
        wait_state(api, "Campaign", namespace, "large", "Completed", 30)
        answer = kubectl("apply", "--server-side", "-f", "-", stdin=one("huge", html=letter(1_000_000), text=letter(1_000_000)), check=False)
        require("too large" in answer.lower(), f"an apply of 2 MB: {answer[:300]}")
        require(api.get("Campaign", namespace, "huge") is None, "an object of 2 MB was stored")
        # It is stored, and its status no longer fits.
        for spare in range(1_200, 6_000, 60):
            with contextlib.suppress(ApiError):
                api.create(json.loads(one("full", html="x" * 1_000_000, text="y" * (1_572_864 - 1_000_000 - spare))))
                break
        require(api.get("Campaign", namespace, "full"), "no object at the limit was stored")
        wait_until(lambda: sink.taken().total() >= 4, 30, "the messages of a campaign whose status has no room")
        time.sleep(3)
        told = [line for line in controller.process.text().splitlines() if "too large" in line]
        require(len(told) <= 2, f"{len(told)} lines: {told[:3]}")
        gone(api, "Campaign", namespace, "full", GONE_SECONDS)
        # Others' statuses are written meanwhile and afterwards.
        api.apply(*within(namespace, fleets.campaign("small", "pro", people(2), subject="It is not the one that is gone")))
        wait_state(api, "Campaign", namespace, "small", "Completed", 30)
    return f"300 KB server-side, 2 MB refused; {len(told)} lines about a status without room"


def two_installations(place: Clusters) -> str:
    """Two controllers of the whole cluster, each with its own Lease and ledger: the second says so and does nothing, and the first continues."""
    with place.own_plane("two") as plane, place.sink("--delay", "10ms") as sink:
        api = plane.api
        namespace = api.namespace("shop")
        both = []
        for name in ("one", "two"):
            api.namespace(name)
            both.append(place.note(Controller(place.program, plane, place.new(f"controller-{name}"), "--lease-namespace", name, *LEASE)))
        one, two = both
        with one.start(), two:
            two.start(leads=False)
            wait_until(lambda: "already watches objects of this cluster" in two.process.text(), 20, "the second's words")
            require("Lease one/mailfleet" in two.process.text(), two.process.tail())
            api.apply(*long_campaign(namespace, 1_200, sink.port))
            wait_state(api, "Campaign", namespace, "spring", "Completed", 60)
            require(sorted(set(sink.taken().values())) == [1], "somebody was mailed twice")
            require(not two.leads() and two.process.running(), f"the second: {two.process.tail()}")
            require(not (two.state / "ledger.db").exists(), "the second has a ledger")
            require(len(two.process.text().splitlines()) <= 3, f"it repeats itself: {two.process.tail()}")
            written = api.requests()["APPLY", "campaigns", "status"]
            # The second takes over at once when the first shuts down, and after the Lease expires when it was killed.
            one.stop()
            two.wait_leads(20)
            one.start(leads=False)
            wait_until(lambda: "already watches objects of this cluster" in one.process.text(), 20, "the words of the first, which comes back")
            two.kill()
            one.wait_leads(20)
            time.sleep(1)
            require(sink.taken().total() == 1_200, f"{sink.taken().total()} messages for 1200 people")
    return f"1,200 people once, {written} statuses; either takes over when the other ends or dies"


def role_of(namespace: str, account: str, place: str) -> dict:
    """What the chart gives a controller of some namespaces, in one of them or that of its Lease."""
    rules = [
        {"apiGroups": ["mailfleet.dev"], "resources": ["*"], "verbs": ["list", "watch", "patch"]},
        {"apiGroups": [""], "resources": ["secrets", "configmaps"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update", "list"]},
    ]
    metadata, group = {"name": account, "namespace": place}, "rbac.authorization.k8s.io"
    binding = {"roleRef": {"apiGroup": group, "kind": "Role", "name": account}, "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]}
    items = [{"apiVersion": f"{group}/v1", "metadata": metadata, **more} for more in ({"kind": "Role", "rules": rules}, {"kind": "RoleBinding", **binding})]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def overlapping_namespaces(place: Clusters) -> str:
    """Controllers of some namespaces, each with a Lease and a ledger of its own: where two watch the same one the second says so and does nothing."""
    told = "already watches objects of "
    with place.own_plane("overlap") as plane, place.sink("--delay", "10ms") as sink:
        api = plane.api
        for name in ("shop", "blog", *(f"lease-{number}" for number in range(4))):
            api.namespace(name)
        # What a Role in the namespace gives: no look at Leases elsewhere.
        narrow = plane.service_account("shop", "narrow")
        for name in ("shop", "lease-3"):
            plane.kubectl("apply", "-f", "-", stdin=json.dumps(role_of("shop", "narrow", name)))

        def of(number: int, *namespaces: str, **more) -> Controller:
            scope = [word for name in namespaces for word in ("--namespace", name)]
            options = [*scope, "--lease-namespace", f"lease-{number}", *LEASE]
            return place.note(Controller(place.program, plane, place.new(f"controller-{number}"), *options, **more))

        first, whole, same, other = of(0, "shop"), of(1), of(2, "shop", "blog"), of(3, "blog")
        with first.start(), whole, same, other:
            whole.start(leads=False)
            same.start(leads=False)
            wait_until(lambda: f"{told}this cluster" in whole.process.text(), 20, "the words of the controller of the whole cluster")
            wait_until(lambda: f"{told}the namespace shop" in same.process.text(), 20, "the words of the second of the namespace")
            require("Lease lease-0/mailfleet" in same.process.text(), same.process.tail())
            # Who shares nothing begins.
            other.start()
            other.stop()
            api.apply(*long_campaign("shop", 600, sink.port))
            wait_state(api, "Campaign", "shop", "spring", "Completed", 60)
            require(sorted(set(sink.taken().values())) == [1] and not whole.leads() and not same.leads(), "a second one was at work")
            same.stop()
            whole.stop()
            # A namespace beside the whole cluster.
            first.stop()
            whole.start()
            same.start(leads=False)
            wait_until(lambda: f"{told}this cluster" in same.process.text(), 20, "the words of the second beside the whole cluster")
            same.stop()
            whole.stop()
        # With a Role it sees the Leases of its own namespaces, and says nothing of rights that it does not need.
        beside = place.note(Controller(place.program, plane, place.new("controller-beside"), "--namespace", "shop", "--lease-namespace", "shop", *LEASE))
        restricted = of(3, "shop", kubeconfig=narrow)
        with beside.start(), restricted:
            restricted.start(leads=False)
            wait_until(lambda: f"{told}the namespace shop" in restricted.process.text(), 20, "the words of one with few rights")
            require("may not list" not in restricted.process.text(), restricted.process.tail())
            beside.stop()
            restricted.wait_leads(20)
    return "the second says so and does nothing; who shares no namespace begins; with a Role it sees its own namespaces"


CASES = (finalizers_of_exports, deletions_without_content, restored_statuses, invalid_statuses, statuses_overwritten_repeatedly, proxies, missing_crds_and_rights, long_texts, large_objects, two_installations, overlapping_namespaces)

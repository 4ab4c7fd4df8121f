#!/usr/bin/env python3
"""The chart on a real API server: linted, rendered, installed, upgraded, uninstalled; and its RBAC, with no right too few or too many.

The program itself proves its rights: it runs under the chart's service account with the chart's arguments, and the API server's
audit log says what it asked for. A refusal fails, and so does a right that nothing used.
"""

import contextlib
import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from parts import alerts, differs
from parts import fleet as fleets
from parts.cluster import KUBERNETES
from parts.differs import argocd, flux
from parts.process import Process, folder, free_port, wait_until
from parts.releases import CRDS, HelmPlane, nothing_for_releases
from parts.report import Cases, Shared, need, require
from parts.sinks import Sink

CHART = fleets.ROOT / "charts/mailfleet"
RELEASE, NAMESPACE = "mailfleet", "mail-admin"
# Kinds of the Prometheus operator.
MONITORING = ("PodMonitor", "PrometheusRule")

# The main sets of values; each is linted, rendered and shown to the API server.
VALUES = {
    "default": {},
    "restricted": {"namespaces": ["shop-a", "shop-b"], "planNamespace": "plans"},
    "paused, without a volume": {"replicas": 0, "persistence": {"enabled": False}, "crds": {"enabled": False}},
    "a claim and an account of one's own": {
        "persistence": {"existingClaim": "mine"},
        "serviceAccount": {"create": False, "name": "mine"},
        "rbac": {"create": False, "people": {"create": False}},
        "service": {"enabled": False},
        "networkPolicy": {"enabled": False},
    },
    "everything": {
        "image": {"repository": "images.example.com/mailfleet", "digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "pull"}],
        "fullnameOverride": "post",
        "crds": {"keep": False},
        "persistence": {"keep": False, "storageClass": "fast", "annotations": {"example.com/a": "b"}},
        "serviceAccount": {"annotations": {"example.com/a": "b"}},
        "rbac": {"people": {"aggregate": True}},
        "service": {"annotations": {"example.com/a": "b"}},
        "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}, "runbookUrl": "https://wiki.example.com/mailfleet"},
        "grafanaDashboard": {"enabled": True, "annotations": {"grafana_folder": "Mail"}},
        "podDisruptionBudget": {"enabled": True},
        "public": {
            "enabled": True,
            "url": "https://news.example.com",
            "trustedProxies": ["10.0.0.0/8", "2001:db8::/32"],
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}}],
            "serviceAnnotations": {"example.com/a": "b"},
            "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "news-tls", "annotations": {"example.com/a": "b"}},
        },
        "keys": {"existingSecret": "mailfleet-keys"},
        "dashboard": {"tokenSecret": "mailfleet-dashboard", "proxyHeader": "X-Forwarded-User", "recipients": True},
        "networkPolicy": {
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "egress": [{"ports": [{"port": 587}, {"port": 443}, {"port": 53, "protocol": "UDP"}]}],
        },
        "logFormat": "json",
        "otlpEndpoint": "http://collector.monitoring:4318",
        "extraArgs": ["--synchronous=normal"],
        "extraEnv": [{"name": "SSL_CERT_DIR", "value": "/certificates"}],
        "extraVolumes": [{"name": "certificates", "configMap": {"name": "certificates"}}],
        "extraVolumeMounts": [{"name": "certificates", "mountPath": "/certificates", "readOnly": True}],
        "podAnnotations": {"example.com/a": "b"},
        "podLabels": {"example.com/c": "d"},
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "mail", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "mail", "operator": "Exists"}]}]}}},
    },
}

# Values that must be refused, and a word of the error.
REFUSED = [
    ({"replicas": 2}, "replicas"),
    ({"replicaCount": 1}, "replicaCount"),
    ({"namespaces": ["Not_A_Name"]}, "namespaces"),
    ({"namespaces": ["a", "a"]}, "namespaces"),
    ({"persistence": {"accessModes": ["ReadWriteMany"]}}, "accessModes"),
    ({"persistence": {"accessModes": []}}, "accessModes"),
    ({"admin": {"port": 80}}, "port"),
    ({"dashboard": {"recipients": "yes"}}, "recipients"),
    ({"leaseDuration": "15"}, "leaseDuration"),
    ({"image": {"digest": "sha256:abc"}}, "digest"),
    ({"denyPrivateNetworks": "no"}, "denyPrivateNetworks"),
    ({"resolver": "dns.example.com"}, "resolver"),
    ({"prometheusRule": {"runbookUrl": "runbooks.md"}}, "runbookUrl"),
    ({"gracePeriodSeconds": 0}, "gracePeriodSeconds"),
    ({"public": {"enabled": True}}, "public.enabled needs public.url"),
    ({"public": {"enabled": True, "url": "http://news.example.com"}}, "url"),
]


def values_file(place: Path, values: dict) -> Path:
    path = place / "values.json"
    path.write_text(json.dumps(values))
    return path


def one(objects: list[dict], kind: str) -> dict:
    found = [obj for obj in objects if obj["kind"] == kind]
    require(len(found) == 1, f"{len(found)} objects of kind {kind}, expected one")
    return found[0]


def lint(plane: HelmPlane) -> str:
    """No error for any good set of values; an error for bad values, from `helm template` too."""
    place = folder("chart-lint")
    for values in VALUES.values():
        # Helm lints for the version that it was built with, and a module build has none.
        plane.helm("lint", "--strict", "--kube-version", KUBERNETES, CHART, "--values", values_file(place, values))
    for values, word in REFUSED:
        code, output = plane.try_helm(
            "template", RELEASE, CHART, "--kube-version", KUBERNETES, "--values", values_file(place, values)
        )
        require(code != 0 and word in output, f"{values} was not refused: {output[-300:]}")
    return f"{len(VALUES)} sets of values, {len(REFUSED)} refused"


def coherent(objects: list[dict], values: dict):
    """What the API server does not check: names, labels and ports that must match."""
    deployment = one(objects, "Deployment")
    spec = deployment["spec"]
    pod = spec["template"]
    labels, container = pod["metadata"]["labels"], pod["spec"]["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}

    def selects(selector: dict, what: str):
        require(selector.items() <= labels.items(), f"{what} does not select the pod: {selector} of {labels}")

    selects(spec["selector"]["matchLabels"], "the Deployment")
    require(spec["strategy"] == {"type": "Recreate"}, "two pods could open the ledger")
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        require(container[probe]["httpGet"]["port"] in ports, f"{probe} uses a port that does not exist")
    for obj in objects:
        if obj["kind"] == "Service":
            selects(obj["spec"]["selector"], "a Service")
            require(all(port["targetPort"] in ports for port in obj["spec"]["ports"]), "a Service points to no port")
        elif obj["kind"] == "NetworkPolicy":
            selects(obj["spec"]["podSelector"]["matchLabels"], "the NetworkPolicy")
        elif obj["kind"] == "PodDisruptionBudget":
            selects(obj["spec"]["selector"]["matchLabels"], "the PodDisruptionBudget")
        elif obj["kind"] == "PodMonitor":
            selects(obj["spec"]["selector"]["matchLabels"], "the PodMonitor")
            require(all(end["port"] in ports for end in obj["spec"]["podMetricsEndpoints"]), "the PodMonitor names no port")
        elif obj["kind"] == "PrometheusRule":
            rules = [rule for group in obj["spec"]["groups"] for rule in group["rules"]]
            urls = {rule["annotations"]["runbook_url"].split("#")[0] for rule in rules}
            require([rule["alert"] for rule in rules] == alerts.names() and urls == {values["prometheusRule"]["runbookUrl"]}, f"{urls}")
        elif obj["kind"] == "ConfigMap" and "mailfleet.json" in obj["data"]:
            require(obj["metadata"]["labels"]["grafana_dashboard"] == "1", f"{obj['metadata']}")
            require(json.loads(obj["data"]["mailfleet.json"]) == json.loads((CHART / "files/grafana-dashboard.json").read_text()), "the dashboard is another")
        elif obj["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            account = pod["spec"]["serviceAccountName"]
            require(obj["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}], f"{obj['subjects']}")
        elif obj["kind"] == "CustomResourceDefinition":
            kept = obj["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
            require(kept == values.get("crds", {}).get("keep", True), f"{obj['metadata']['name']}: kept {kept}")
    mounts, volumes = {m["name"] for m in container["volumeMounts"]}, {v["name"] for v in pod["spec"]["volumes"]}
    require(mounts == volumes, f"mounts {mounts} of volumes {volumes}")


def rendered(plane: HelmPlane) -> str:
    """The API server takes every object with strict validation, and the pod where the restricted Pod Security Standard is enforced."""
    place = folder("chart-render")
    count = 0
    for namespace in (NAMESPACE, "shop-a", "shop-b", "plans"):
        plane.api.namespace(namespace, **{"pod-security.kubernetes.io/enforce": "restricted"})
    for name, values in VALUES.items():
        objects = plane.render(RELEASE, CHART, NAMESPACE, values_file(place, values))
        coherent(objects, values)
        # Their CRDs are the Prometheus operator's and not installed here; `coherent` has checked them.
        known = [obj for obj in objects if obj["kind"] not in MONITORING]
        plane.dry_run(*known)
        count += len(known)
        template = one(objects, "Deployment")["spec"]["template"]
        metadata = {**template["metadata"], "name": "pod", "namespace": NAMESPACE}
        # Service account admission looks for this one.
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": template["spec"]["serviceAccountName"], "namespace": NAMESPACE}}
        plane.api.apply(account)
        plane.dry_run({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
        plane.api.delete("ServiceAccount", NAMESPACE, account["metadata"]["name"])
        count += 1
    # A pod that must be refused there, which proves that admission is at work.
    bad = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad", "namespace": "plans"}, "spec": {"automountServiceAccountToken": False, "containers": [{"name": "a", "image": "a"}]}}
    output = plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(bad), check=False)
    require("violates PodSecurity" in output, f"a pod without a security context was admitted: {output}")
    return f"{count} objects of {len(VALUES)} sets of values"


def without_crds(plane: HelmPlane, case) -> str:
    """A case that leaves CRDs that belong to no release."""
    try:
        return case(plane)
    finally:
        plane.kubectl("delete", "crd", "--ignore-not-found", *CRDS)
        wait_until(lambda: not any(plane.api.get("CustomResourceDefinition", "", crd) for crd in CRDS), 60, "the end of the CRDs")


def undiffed(plane: HelmPlane) -> str:
    """After applying each set of values no tool sees a difference: kubectl diff, Argo CD's diff, Flux's dry run."""
    need(differs.missing())
    place = folder("chart-diff")
    compared = 0
    for name in ("shop-a", "shop-b", "plans"):
        plane.api.namespace(name)
    for number, (name, values) in enumerate(VALUES.items()):
        # A deleted PersistentVolumeClaim is protected for a while.
        namespace = plane.api.namespace(f"diff-{number}")
        objects = [obj for obj in plane.render("compared", CHART, namespace, values_file(place, values)) if obj["kind"] not in MONITORING]
        path = place / f"{number}.json"
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        for side in ((), ("--server-side", "--force-conflicts")):
            plane.kubectl("apply", *side, "-f", path)
            # It exits with 1 when there is a difference.
            output = plane.kubectl("diff", *side, "-f", path, check=False)
            require(not output.strip(), f"{name}, {side or 'client-side'}: {output[:2000]}")
            differences = argocd(plane, objects)
            require(not differences, f"{name}, Argo CD after {side or 'client-side'}: {json.dumps(differences)[:2000]}")
            compared += len(objects)
        flux(plane, objects, apply=True)
        differences = flux(plane, objects, apply=False)
        require(not differences, f"{name}, Flux: {json.dumps(differences)[:2000]}")
        # The CRDs stay for the next.
        others = [obj for obj in objects if obj["kind"] != "CustomResourceDefinition"]
        plane.kubectl("delete", "--wait=false", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": others}))
    return f"{compared} objects compared"


def umbrella(plane: HelmPlane) -> str:
    """The chart as a dependency with a condition, a global value and an alias: linted, rendered, switched off."""
    parent = folder("chart-umbrella") / "parent"
    (parent / "charts").mkdir(parents=True)
    subprocess.run(["cp", "-r", str(CHART), str(parent / "charts/mailfleet")], check=True)
    version = re.search(r"^version: (\S+)$", (CHART / "Chart.yaml").read_text(), re.M).group(1)
    dependency = {"name": "mailfleet", "version": version, "condition": "mailfleet.enabled", "tags": ["mail"]}
    (parent / "Chart.yaml").write_text(json.dumps({"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": [dependency]}))
    (parent / "templates").mkdir()
    counts = []
    for values in (
        {"mailfleet": {"enabled": True, "logLevel": "info"}, "global": {"imageRegistry": "images.example.com"}, "tags": {"mail": True}},
        {"mailfleet": {"enabled": False}},
    ):
        (parent / "values.yaml").write_text(json.dumps(values))
        plane.helm("lint", "--strict", "--kube-version", KUBERNETES, parent)
        code, text = plane.try_helm("template", "all", parent, "--namespace", NAMESPACE, "--kube-version", KUBERNETES)
        require(code == 0, text[-500:])
        counts.append(len(plane.objects(text)) if text.strip() else 0)
    require(counts[0] > 10 and counts[1] == 0, f"{counts} objects")
    # An unknown key is still refused.
    (parent / "values.yaml").write_text(json.dumps({"mailfleet": {"enabeld": True}}))
    code, text = plane.try_helm("template", "all", parent, "--kube-version", KUBERNETES)
    require(code != 0 and "enabeld" in text, text[-300:])
    return f"{counts[0]} objects, none when it is switched off"


def taken_over(plane: HelmPlane) -> str:
    """CRDs that kubectl created: refused by helm as the documents say, and adopted with --take-ownership; the objects stay."""
    plane.install_crds()
    plane.api.namespace("shop")
    plane.api.apply(fleets.smtp_server("relay", 2525, namespace="shop"))
    uid = lambda: plane.api.get("SendingServer", "shop", "relay")["metadata"]["uid"]  # noqa: E731
    first = uid()
    words = ("upgrade", "--install", RELEASE, CHART, "--namespace", NAMESPACE, "--create-namespace")
    code, output = plane.try_helm(*words)
    require(code != 0 and "invalid ownership metadata" in output, f"helm adopted what it did not own: {output[-300:]}")
    plane.helm(*words, "--take-ownership")
    require(uid() == first, "the objects did not stay")
    owner = plane.api.get("CustomResourceDefinition", "", CRDS[0])["metadata"]["annotations"].get("meta.helm.sh/release-name")
    require(owner == RELEASE, f"the CRDs are {owner}'s")
    plane.helm(*words)
    plane.helm("uninstall", RELEASE, "--namespace", NAMESPACE)
    require(uid() == first, "the objects did not survive the release")
    return "taken over, kept"


def lifecycle(plane: HelmPlane) -> str:
    """Installed, upgraded, uninstalled and installed again: CRDs, objects and the ledger's PersistentVolumeClaim stay, unless told otherwise."""
    place = folder("chart-install")
    plane.api.namespace("shop")
    release = ("--namespace", NAMESPACE, "--create-namespace")
    server = fleets.smtp_server("relay", 2525, namespace="shop")

    def crds() -> list[str]:
        return [crd for crd in CRDS if plane.api.get("CustomResourceDefinition", "", crd)]

    def end_of_crds():
        """Waits until they are gone. The API server looks again at one whose end it missed when that one is touched."""
        for _ in range(12):
            with contextlib.suppress(TimeoutError):
                return wait_until(lambda: not crds(), 10, "the end of the CRDs")
            for crd in crds():
                plane.kubectl("annotate", "crd", crd, f"example.com/looked-at={time.time()}", "--overwrite", check=False)
        return wait_until(lambda: not crds(), 10, "the end of the CRDs")

    def uid() -> str:
        return (plane.api.get("SendingServer", "shop", "relay") or {"metadata": {"uid": "none"}})["metadata"]["uid"]

    notes = plane.helm("install", RELEASE, CHART, *release)
    require("can read every Secret of the cluster" in notes and "WARNING" not in notes, f"the notes say {notes}")
    plane.wait_crds()
    plane.api.apply(server)
    first = uid()

    # An older chart: a CRD with one printer column fewer, as if from the previous release.
    old = place / "old"
    subprocess.run(["cp", "-r", str(CHART), str(old)], check=True)
    crd = old / "files/crds/sendingservers.yaml"
    text = crd.read_text()
    cut = re.sub(r"    additionalPrinterColumns:\n(    - .*\n(?:      .*\n)*)", lambda found: found.group(0).replace(found.group(1), "", 1), text, count=1)
    require(cut != text, "the CRD has no printer columns")
    crd.write_text(cut)

    def columns() -> int:
        crd = plane.api.get("CustomResourceDefinition", "", "sendingservers.mailfleet.dev")
        return len(crd["spec"]["versions"][0].get("additionalPrinterColumns") or [])

    whole = columns()
    plane.helm("upgrade", RELEASE, old, *release)
    require(columns() < whole, "the older CRD was not installed")
    plane.helm("upgrade", RELEASE, CHART, *release, "--set", "denyPrivateNetworks=false")
    require(columns() == whole, "an upgrade does not update the CRDs")
    arguments = plane.find("deployment", RELEASE, "-n", NAMESPACE)["spec"]["template"]["spec"]["containers"][0]["args"]
    require("--deny-private-networks=false" in arguments, f"the upgrade was not applied: {arguments}")

    plane.helm("uninstall", RELEASE, "--namespace", NAMESPACE)
    require(len(crds()) == 3, f"CRDs left: {crds()}")
    require(uid() == first, "the objects did not stay")
    require(plane.find("pvc", f"{RELEASE}-ledger", "-n", NAMESPACE), "the ledger's PersistentVolumeClaim did not stay")
    for kind, name in (("deployment", RELEASE), ("clusterrole", RELEASE), ("clusterrole", f"{RELEASE}-customer"), ("serviceaccount", RELEASE)):
        require(plane.find(kind, name, "-n", NAMESPACE) is None, f"{kind} {name} was left behind")

    notes = plane.helm("install", RELEASE, CHART, *release, "--set", "crds.keep=false", "--set", "persistence.keep=false")
    require("WARNING: crds.keep is false" in notes, f"the notes say {notes}")
    require(uid() == first, "the objects did not survive the second install")
    plane.helm("uninstall", RELEASE, "--namespace", NAMESPACE)
    end_of_crds()
    # The controller manager removes its protection, and so the claim.
    claim = plane.find("pvc", f"{RELEASE}-ledger", "-n", NAMESPACE)
    require(claim is None or "deletionTimestamp" in claim["metadata"], "the PersistentVolumeClaim was kept")
    notes = plane.helm("install", "try", CHART, "--namespace", "shop", "--set", "persistence.enabled=false", "--set", "crds.keep=false")
    require("MAILS EVERYBODY AGAIN" in notes, f"the notes say {notes}")
    plane.helm("uninstall", "try", "--namespace", "shop")
    end_of_crds()
    return "CRDs upgraded, kept, adopted, and removed when told to"


def people(plane: HelmPlane) -> str:
    """What the roles for people allow, as the API server says."""
    plane.api.namespace("shop-a")
    plane.api.namespace("shop-b")
    plane.helm("upgrade", "--install", RELEASE, CHART, "--namespace", NAMESPACE, "--create-namespace", "--set", "rbac.people.aggregate=true")
    plane.wait_crds()
    bindings = [("ann", "customer", "shop-a"), ("vic", "viewer", "shop-a"), ("olga", "operator", NAMESPACE)]
    for user, role, namespace in bindings:
        plane.kubectl("create", "rolebinding", user, f"--clusterrole={RELEASE}-{role}", f"--user={user}", "-n", namespace)
    # Kubernetes' own role, into which the customers' role is aggregated.
    plane.kubectl("create", "rolebinding", "eve", "--clusterrole=edit", "--user=eve", "-n", "shop-a")
    cases = [
        ("ann", "create", "campaigns", "shop-a", True),
        ("ann", "delete", "sendingservers", "shop-a", True),
        ("ann", "list", "campaigns", "shop-a", True),
        ("ann", "create", "plans", "shop-a", False),
        ("ann", "list", "plans", "shop-a", True),
        ("vic", "watch", "plans", "shop-a", True),
        ("eve", "patch", "plans", "shop-a", False),
        ("ann", "get", "plans", NAMESPACE, False),
        ("ann", "patch", "campaigns/status", "shop-a", False),
        ("ann", "create", "campaigns", "shop-b", False),
        ("ann", "get", "secrets", "shop-a", False),
        ("vic", "get", "campaigns", "shop-a", True),
        ("vic", "create", "campaigns", "shop-a", False),
        ("olga", "create", "plans", NAMESPACE, True),
        ("olga", "create", "sendingservers", NAMESPACE, True),
        ("olga", "update", "plans/status", NAMESPACE, False),
        ("olga", "create", "plans", "shop-a", False),
        ("eve", "create", "campaigns", "shop-a", True),
        ("eve", "create", "plans", "shop-a", False),
    ]

    def allowed(user: str, verb: str, resource: str, namespace: str) -> bool:
        name, _, part = resource.partition("/")
        words = [verb, f"{name}.mailfleet.dev" if name != "secrets" else name, *([f"--subresource={part}"] if part else [])]
        return plane.kubectl("auth", "can-i", *words, "-n", namespace, "--as", user, check=False).splitlines()[-1] == "yes"

    # The controller manager does the aggregation.
    wait_until(lambda: allowed("eve", "create", "campaigns", "shop-a"), 20, "the aggregated role")
    for user, verb, resource, namespace, wanted in cases:
        require(allowed(user, verb, resource, namespace) == wanted, f"{user} may {'not ' if wanted else ''}{verb} {resource} in {namespace}")
    # What the README tells them to type, word for word; kubectl exits with 1 when one of the kinds is forbidden.
    plane.api.apply(fleets.smtp_server("relay", 2525, namespace="shop-a"))
    shown = []
    for user, namespace in (("ann", "shop-a"), ("vic", "shop-a"), ("olga", NAMESPACE), ("eve", "shop-a")):
        for words in (("get", "mailfleet"), ("get", "mailfleet", "-o", "wide")):
            shown.append(plane.kubectl(*words, "-n", namespace, "--as", user))
    require(sum("relay" in text for text in shown) == 6, f"{shown}")
    plane.api.delete("SendingServer", "shop-a", "relay")
    plane.helm("uninstall", RELEASE, "--namespace", NAMESPACE)
    return f"{len(cases)} questions, and `kubectl get mailfleet` of each"


# ── the rights of the controller ──


def granted(objects: list[dict]) -> set[tuple[str, str, str]]:
    """Each right that the chart grants to its service account: group, resource, verb."""
    roles = {(obj["kind"], obj["metadata"]["name"]): obj["rules"] for obj in objects if obj["kind"] in ("Role", "ClusterRole")}
    rights = set()
    for binding in objects:
        if binding["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            for rule in roles[(binding["roleRef"]["kind"], binding["roleRef"]["name"])]:
                rights |= {(group, resource, verb) for group in rule["apiGroups"] for resource in rule["resources"] for verb in rule["verbs"]}
    return rights


class Controller:
    """The program as the chart runs it: its arguments, its service account."""

    def __init__(self, plane: HelmPlane, program: Path, place: Path, objects: list[dict]):
        self.port = free_port()
        pod = one(objects, "Deployment")["spec"]["template"]["spec"]
        kubeconfig = plane.service_account(NAMESPACE, pod["serviceAccountName"])
        replaced = {"--state": place / "state", "--admin-address": f"127.0.0.1:{self.port}"}
        words = []
        for argument in pod["containers"][0]["args"]:
            name, is_set, _ = argument.partition("=")
            words.append(f"{name}={replaced[name]}" if is_set and name in replaced else argument)
        self.process = Process([program, *words, f"--kubeconfig={kubeconfig}"], place / "controller.out")

    def ask(self, path: str) -> tuple[int, str]:
        """The admin endpoint's status code; 0 while nobody answers."""
        require(self.process.running(), f"the controller ended: {self.process.tail()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def stop(self) -> int:
        self.process.stop(40)
        return self.process.code


def work(plane: HelmPlane, program: Path, sink: Sink, broken: Sink | None, controller: Controller, user: str, customers: list[str]):
    """Everything that a controller does: servers, a plan, campaigns, Secrets, a deletion during a campaign, events."""

    def state(kind: str, namespace: str, name: str) -> str:
        return plane.api.status(kind, namespace, name).get("state", "")

    def reason(kind: str, namespace: str, name: str) -> str:
        return plane.api.condition(kind, namespace, name, "Ready").get("reason", "")

    def looks(namespace: str) -> int:
        entries = [entry.get("objectRef", {}) for entry in plane.asked(user)]
        return sum(ref.get("resource") == "secrets" and ref.get("namespace") == namespace and ref.get("name") == "login" for ref in entries)

    wait_until(lambda: controller.ask("/readyz")[0] == 200, 20, "the controller's readiness")
    plane.api.apply(fleets.smtp_server("relay", sink.port, namespace=NAMESPACE))
    # Slow, so that something is always on the wire.
    plane.api.apply(fleets.smtp_server("slow", sink.port, namespace=NAMESPACE, limits={"rates": [{"messages": 2, "per": "1s"}]}))
    if broken:
        # Quick to notice, so that it goes and comes back within a test.
        probe = {"interval": "1s", "retryAfter": "1s", "failureThreshold": 1}
        plane.api.apply(fleets.smtp_server("moody", broken.port, namespace=NAMESPACE, probe=probe))
    plan = fleets.plan("pro", "relay", "slow", *(["moody"] if broken else []))
    plan["metadata"]["namespace"] = NAMESPACE
    plan["spec"].update(allowedNamespaces={"from": "All"}, ownServers={"max": 1}, senderDomains=[{"domains": ["news.example.com"], "namespaceSelector": {}}])
    plane.api.apply(plan)
    wait_until(lambda: state("SendingServer", NAMESPACE, "relay") == "Active", 20, "the server to be Active")
    for namespace in customers:
        rows = "email,name\n" + "".join(f"person{n}@example.com,Person {n}\n" for n in range(1000))
        plane.api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "people", "namespace": namespace}, "data": {"people.csv": rows}})
        people = {"csv": {"configMapRef": {"name": "people", "key": "people.csv"}}}
        for name, audience, server in (
            ("quick", {"inline": [{"email": "ann@example.com", "name": "Ann"}]}, "relay"),
            ("long", people, "slow"),
            ("open", people, "slow"),
            ("inside", {"csv": {"url": f"http://127.0.0.1:{sink.control_port}/people.csv"}}, "relay"),
        ):
            campaign = fleets.campaign(name, "pro", audience, servers=[{"name": server}])
            campaign["metadata"]["namespace"] = namespace
            campaign["spec"]["planRef"]["namespace"] = NAMESPACE
            plane.api.apply(campaign)
        wait_until(lambda: state("Campaign", namespace, "quick") == "Completed", 20, "the campaign's end")
        wait_until(lambda: reason("Campaign", namespace, "inside") == "AddressNotAllowed", 20, "the refusal of an address inside")
        wait_until(lambda: (plane.api.status("Campaign", namespace, "long").get("recipients") or {}).get("accepted", 0) > 0, 30, "a campaign that sends")
        require(plane.api.get("Campaign", namespace, "long")["metadata"].get("finalizers"), "a campaign that sends has no finalizer")
        plane.kubectl("delete", "campaign", "long", "-n", namespace, "--timeout=20s")
        # Its Secret comes later, and changes.
        plane.api.apply(fleets.smtp_server("own", sink.port, {"auth": {"secretRef": {"name": "login"}}}, namespace=namespace))
        wait_until(lambda: reason("SendingServer", namespace, "own") == "SecretNotFound", 10, "the missing Secret")
        for turn in ("one", "two"):
            before = looks(namespace)
            secret = {**fleets.secret("login", username="ann", password=f"password {turn}")}
            secret["metadata"]["namespace"] = namespace
            plane.api.apply(secret)
            wait_until(lambda: looks(namespace) > before, 10, "a look at the Secret")
        # A customer's server may only be reached at public addresses.
        wait_until(lambda: reason("SendingServer", namespace, "own") == "AddressNotAllowed", 20, "the refusal of a server inside")
    figures = controller.ask("/metrics")[1]
    require("mailfleet_leader 1" in figures and 'mailfleet_server_active{server="mail-admin/relay"} 1' in figures, f"the figures: {figures[:500]}")
    if broken:

        def events(wanted: str) -> int:
            found = plane.api.list("Event", NAMESPACE)
            mine = [event for event in found if event["regarding"]["name"] == "moody" and event["reason"] == wanted]
            return sum((event.get("series") or {}).get("count", 1) for event in mine)

        # The same event twice: it is created, and then its count is patched.
        for turn in (1, 2):
            broken.stop()
            wait_until(lambda: events("ConnectionRefused") >= turn, 60, "an event about the server", every=1)
            broken.start()
            wait_until(lambda: events("Active") >= turn, 60, "an event about its return", every=1)


def rights(plane: HelmPlane, program: Path) -> str:
    """The controller under the chart's service account: no refusal, and no unused right."""
    used: set[tuple[str, str, str]] = set()
    bound: set[tuple[str, str, str]] = set()
    notes = []
    modes = {"whole cluster": ({}, ["shop-a"]), "restricted": ({"namespaces": ["shop-c", "shop-d"]}, ["shop-c", "shop-d"])}
    for name in (NAMESPACE, "shop-a", "shop-c", "shop-d", "elsewhere"):
        plane.api.namespace(name)
    for mode, (values, customers) in modes.items():
        place = folder("chart-rights")
        plane.helm("upgrade", "--install", RELEASE, CHART, "--namespace", NAMESPACE, "--values", values_file(place, values))
        plane.wait_crds()
        objects = plane.objects(plane.helm("get", "manifest", RELEASE, "--namespace", NAMESPACE))
        user = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
        begun = len(plane.asked(user))
        with Sink(program, place) as sink, Sink(program, place, "moody") as moody:
            controller = Controller(plane, program, place, objects)
            try:
                work(plane, program, sink, moody if mode == "whole cluster" else None, controller, user, customers)
            finally:
                code = controller.stop()
        require(code == 0, f"{mode}: exit {code}: {controller.process.tail()}")
        # A clean shutdown leaves nothing that waits for a controller.
        for customer in customers:
            left = plane.api.get("Campaign", customer, "open")
            accepted, finalizers = left["status"]["recipients"]["accepted"], left["metadata"].get("finalizers")
            require(0 < accepted < 1000 and not finalizers, f"{mode}: {accepted} accepted, finalizers {finalizers}")
        holder = plane.api.get("Lease", NAMESPACE, RELEASE)["spec"].get("holderIdentity")
        require(not holder, f"{mode}: {holder} holds the Lease")
        entries = plane.asked(user)[begun:]
        refused = {f"{e['verb']} {e['requestURI']}" for e in entries if e.get("responseStatus", {}).get("code") in (401, 403)}
        require(not refused, f"{mode}: refused {sorted(refused)}")
        asked = set()
        for entry in entries:
            if reference := entry.get("objectRef"):
                resource = reference["resource"] + (f"/{reference['subresource']}" if "subresource" in reference else "")
                asked.add((reference.get("apiGroup", ""), resource, entry["verb"]))
        if values:
            # Whether it may list Leases everywhere is asked of no namespace.
            places = {e["objectRef"].get("namespace") for e in entries if "objectRef" in e and e["objectRef"]["resource"] != "selfsubjectaccessreviews"}
            outside = places - {NAMESPACE, *customers}
            require(not outside, f"{mode}: it asked for {outside}")
        used |= asked
        bound |= granted(objects)
        notes.append(f"{mode}: {len(entries)} requests, {len(granted(objects))} rights")
        plane.kubectl("delete", "campaigns.mailfleet.dev,sendingservers.mailfleet.dev,plans.mailfleet.dev", "--all", "--all-namespaces", "--timeout=20s")
        plane.helm("uninstall", RELEASE, "--namespace", NAMESPACE)
    surplus = bound - used
    require(not surplus, f"granted, and never used: {sorted(surplus)}")
    return "; ".join(notes)


def main():
    cases = Cases(__doc__)
    cases.parse()
    program, plane = fleets.binary(), Shared(lambda: HelmPlane(folder("chart-plane")))

    cases.add("lint, and values that are refused", lint, plane, needs=nothing_for_releases)
    cases.add("every object on the API server", rendered, plane, needs=nothing_for_releases)
    cases.add("no difference after applying", without_crds, plane, undiffed, needs=nothing_for_releases)
    cases.add("as a dependency of another chart", umbrella, plane, needs=nothing_for_releases)
    cases.add("CRDs of kubectl adopted", without_crds, plane, taken_over, needs=nothing_for_releases)
    cases.add("install, upgrade, uninstall", lifecycle, plane, needs=nothing_for_releases)
    cases.add("roles of people", people, plane, needs=nothing_for_releases)
    cases.add("rights of the controller", rights, plane, program, needs=nothing_for_releases)
    cases.end()


if __name__ == "__main__":
    main()

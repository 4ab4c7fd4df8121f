#!/usr/bin/env python3
"""A real API server with our CRDs and `mailfleet validate` must agree on 1,000 manifests.

The manifests are the examples, and documents that use every field, each mutated in one of many ways by a seed. Each goes to the API
server (strict field validation, as kubectl asks for), and all of them to `mailfleet validate` in one folder.
"""

import copy
import http.client
import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from random import Random
from urllib.parse import quote

from parts import manifests
from parts.cluster import ControlPlane, missing
from parts.fleet import ROOT, binary
from parts.process import folder, wait_until
from parts.report import Cases, Shared, require, table

PLURALS = {"SendingServer": "sendingservers", "Plan": "plans", "Campaign": "campaigns"}
ACCEPTED, REJECTED = "accepted", "rejected"


class ApiServer:
    """Plain requests, with the warnings that the responses carry."""

    def __init__(self, plane: ControlPlane):
        self.connection = http.client.HTTPSConnection("127.0.0.1", plane.port, context=plane.api.context, timeout=30)
        self.warnings = []

    def ask(self, method: str, path: str, body: str | None = None, kind: str = "application/json"):
        """Status and body of a response."""
        headers = {"Content-Type": kind, "Accept": "application/json"}
        self.connection.request(method, path, body=body.encode() if body is not None else None, headers=headers)
        answer = self.connection.getresponse()
        self.warnings += answer.headers.get_all("Warning") or []
        return answer.status, json.loads(answer.read())


def collection(document, namespace: str | None = None) -> str:
    """The path of the objects beside a document."""
    metadata = document.get("metadata")
    given = namespace or (metadata.get("namespace") if isinstance(metadata, dict) else None)
    return f"/apis/mailfleet.dev/v1alpha1/namespaces/{quote(given, safe='') if given and isinstance(given, str) else 'default'}"


def install(server: ApiServer) -> dict:
    """Applies our CRDs, and gives the schema of each kind."""
    schemas = {}
    for file in sorted((ROOT / "crds").glob("*.yaml")):
        name = f"{file.stem}.mailfleet.dev"
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
        status, answer = server.ask("PATCH", f"{path}?fieldManager=verdict&force=true", file.read_text(), "application/apply-patch+yaml")
        require(status in (200, 201), f"{file.name} is refused: {answer.get('message')}")
        schemas[answer["spec"]["names"]["kind"]] = answer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        wait_for(server, path)
    require(not server.warnings, f"the CRDs are accepted with warnings: {server.warnings}")
    for name in manifests.NAMESPACES:
        server.ask("POST", "/api/v1/namespaces", json.dumps({"metadata": {"name": name}}))
    return schemas


def wait_for(server: ApiServer, path: str):
    """Until the API server serves a kind."""
    def is_served():
        conditions = server.ask("GET", path)[1].get("status", {}).get("conditions") or []
        return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)

    wait_until(is_served, 20, f"{path} being served")
    plural = path.rsplit("/", 1)[1].split(".")[0]
    wait_until(lambda: server.ask("GET", f"/apis/mailfleet.dev/v1alpha1/{plural}")[0] == 200, 20, f"{plural} being listed")


def examples(server: ApiServer) -> list[dict]:
    """Our kinds among the examples, read from YAML by the API server itself."""
    found, namespaces = [], set(manifests.NAMESPACES)
    for file in sorted((ROOT / "examples").rglob("*.yaml")):
        for text in re.split(r"^---$", file.read_text(), flags=re.M):
            kind = re.search(r"^kind: (\w+)$", text, flags=re.M)
            if kind is None or kind[1] not in PLURALS:
                continue
            namespace = re.search(r"namespace: ([a-z-]+)", text.split("spec:")[0])
            if namespace and namespace[1] not in namespaces:
                # A dry run of the Namespace in the file would make none.
                server.ask("POST", "/api/v1/namespaces", json.dumps({"metadata": {"name": namespace[1]}}))
                namespaces.add(namespace[1])
            path = f"{collection({}, namespace and namespace[1])}/{PLURALS[kind[1]]}?dryRun=All"
            status, answer = server.ask("POST", path, text, "application/yaml")
            require(status == 201, f"{file.name} is refused: {answer.get('message')}")
            answer["metadata"] = {key: answer["metadata"][key] for key in ("name", "namespace", "labels") if key in answer["metadata"]}
            found.append(answer)
    require(len(found) > 8, f"only {len(found)} examples")
    return found


def unused_fields(schemas: dict, documents: list[dict]) -> list[str]:
    """Fields of the specs that no document uses."""

    def fields(schema, path):
        for name, below in schema.get("properties", {}).items():
            yield f"{path}.{name}"
            yield from fields(below, f"{path}.{name}")
        if "items" in schema:
            yield from fields(schema["items"], path)

    used = {".".join([document["kind"], *(str(step) for step in path if not isinstance(step, int))]) for document in documents for path in manifests.places(document)}
    return [field for kind, schema in schemas.items() for field in fields(schema["properties"]["spec"], f"{kind}.spec") if field not in used]


def make(random: Random, schemas: dict, bases: list[dict], count: int):
    """The manifests: kind of change, base, JSON text for `validate`, JSON text for the API server."""
    mutator = manifests.Mutator(random, schemas)
    names, shares = zip(*manifests.SHARES.items())
    for index in range(count):
        base = copy.deepcopy(random.choice(bases))
        base["metadata"]["name"] = f"m{index}"
        document, change = copy.deepcopy(base), random.choices(names, shares)[0]
        mutator.change(change, document)
        # An update keeps kind, namespace and name; changes of these are a kind of their own.
        is_update = change not in ("metadata", "header", "none") and random.random() < 0.25
        text, sent = manifests.text_of(document), manifests.text_of(manifests.as_sent(document))
        if change == "removed" and random.random() < 0.3:
            change, is_update = "key twice", False
            text = sent = manifests.key_twice(manifests.text_of(base), random)
        yield change, base, document, text, sent, is_update


def judged_by_server(server: ApiServer, base, document, sent: str, is_update: bool):
    """The API server's verdict, and its message."""
    path = f"{collection(document)}/{PLURALS[base['kind']]}"
    if is_update:
        name, place = base["metadata"]["name"], f"{collection(base)}/{PLURALS[base['kind']]}"
        status, old = server.ask("POST", f"{place}?fieldValidation=Strict", manifests.text_of(manifests.as_sent(base)))
        require(status == 201, f"a good manifest is refused: {old.get('message')}")
        sent = sent.replace('"metadata": {', '"metadata": {"resourceVersion": "%s", ' % old["metadata"]["resourceVersion"], 1)
        status, answer = server.ask("PUT", f"{place}/{name}?fieldValidation=Strict", sent)
        server.ask("DELETE", f"{place}/{name}")
    else:
        status, answer = server.ask("POST", f"{path}?dryRun=All&fieldValidation=Strict", sent)
    require(status in (200, 201, 400, 404, 422), f"the API server answers {status}: {answer.get('message')}\n{sent[:2000]}")
    return (ACCEPTED if status < 300 else REJECTED), answer.get("message", "")


def judged_by_validate(texts: list[str]) -> dict[int, list[str]]:
    """What `mailfleet validate` finds wrong, by manifest."""
    place = folder("verdict")
    for index, text in enumerate(texts):
        (place / f"{index:05}.json").write_text(text)
    done = subprocess.run([binary(), "validate", "-o", "json", place], capture_output=True, text=True, timeout=600)
    report = json.loads(done.stdout)
    require(report["files"] == len(texts), f"{report['files']} files were read, of {len(texts)}")
    faults: dict[int, list[str]] = {}
    unsendable = 0
    for finding in report["findings"]:
        if finding["severity"] == "fault":
            # An API server knows nothing of templates, and does not read addresses.
            if finding["message"].startswith(("it cannot be sent: ", "none of its rows can be used", "it has no rows")):
                unsendable += 1
                continue
            faults.setdefault(int(Path(finding["file"]).stem), []).append(f"{finding['field']}: {finding['message']}")
    require((done.returncode == 2) == bool(faults or unsendable), f"it exits with {done.returncode}, and reports {len(faults)} faults")
    return faults


def agree(plane: ControlPlane, seed: int, count: int):
    """Judges `count` manifests on both sides."""
    server = ApiServer(plane)
    schemas = install(server)
    # There are many similar server types: the other documents come more often.
    others = [document for document in manifests.FULL if not set(document["spec"].get("provider", {})) & set(manifests.TYPES)]
    bases = manifests.FULL + 2 * others + examples(server)
    require(not (unused := unused_fields(schemas, bases)), f"no manifest uses {unused}")
    made = list(make(Random(seed), schemas, bases, count))
    faults = judged_by_validate([text for _, _, _, text, _, _ in made])
    counts, disagreements = Counter(), []
    for index, (change, base, document, text, sent, is_update) in enumerate(made):
        verdict, words = judged_by_server(server, base, document, sent, is_update)
        counts[change, verdict] += 1
        counts["update" if is_update else "create", verdict] += 1
        if (verdict == REJECTED) != (index in faults):
            ours = "; ".join(faults.get(index, [])) or ACCEPTED
            disagreements.append(f"{change}{' (update)' if is_update else ''}\n  API server: {verdict}: {words}\n  validate: {ours}\n  {text[:3000]}")
    changes = sorted({change for change, _ in counts})
    print(table(["change", ACCEPTED, REJECTED], [[change, counts[change, ACCEPTED], counts[change, REJECTED]] for change in changes]))
    require(not disagreements, f"seed {seed}: {len(disagreements)} disagreements\n" + "\n".join(disagreements))
    if count >= 1000:
        never_rejected = {change for change in changes if not counts[change, REJECTED]} - {"none"}
        never_accepted = {change for change in changes if not counts[change, ACCEPTED]} - manifests.NEVER_GOOD - manifests.SELDOM_GOOD
        require(not never_rejected | never_accepted, f"always the same verdict: {sorted(never_rejected | never_accepted)}")
    return f"{count} manifests, {sum(counts[kind, ACCEPTED] for kind in ('create', 'update'))} accepted, seed {seed}"


def large(plane: ControlPlane):
    """Objects on both sides of the size that an API server stores, and of what `kubectl apply` takes without --server-side."""
    server = ApiServer(plane)
    install(server)
    place = folder("verdict-large")
    kubectl = [plane.programs / "kubectl", "--kubeconfig", plane.kubeconfig]
    base = next(document for document in manifests.FULL if document["kind"] == "Campaign")
    noted = []
    for sign in ("x", "<", "\u00e9", "\n"):
        # As Go encodes JSON; the bound leaves 4 KiB for what the API server adds.
        width = {"<": 6, "\n": 2, "\u00e9": 2}.get(sign, 1)
        for size, wanted in ((1_400_000, ACCEPTED), (1_568_000, ACCEPTED), (1_577_500, REJECTED), (2_000_000, REJECTED)):
            document = copy.deepcopy(base)
            document["metadata"] = {"name": "large", "namespace": "default"}
            document["spec"]["content"] = {"html": "h", "text": "t"}
            left = (size - 4_000 - len(json.dumps(document))) // width
            document["spec"]["content"] = {"html": "h" + sign * min(left, 1_000_000), "text": "t" + "x" * max(0, (left - 1_000_000) * width)}
            path = f"{collection(document)}/campaigns?fieldManager=kubectl&fieldValidation=Strict"
            text = json.dumps(document, ensure_ascii=False)
            status, answer = server.ask("POST", path, text)
            require(status in (201, 413, 422, 500), f"{status}: {answer}")
            if status == 201:
                server.ask("DELETE", f"{collection(document)}/campaigns/large")
            by_server = ACCEPTED if status == 201 else REJECTED
            by_us = REJECTED if 0 in judged_by_validate([text]) else ACCEPTED
            require(by_us == by_server == wanted, f"{size} bytes of {sign!r}: server {status} {str(answer.get('message'))[:200]}, we {by_us}")
            noted.append(f"{size} of {sign!r}")
    for size, needs in ((250_000, False), (275_000, True)):
        document = copy.deepcopy(base)
        document["metadata"] = {"name": "applied", "namespace": "default"}
        document["spec"]["content"] = {"text": "x" * size}
        (place / "a.json").write_text(json.dumps(document))
        done = subprocess.run([*kubectl, "apply", "-f", place / "a.json"], capture_output=True, text=True, timeout=60)
        ours = subprocess.run([binary(), "validate", place], capture_output=True, text=True, timeout=60)
        require((done.returncode != 0) == needs == ("--server-side" in ours.stdout), f"{size}: {done.stderr[-300:]} {ours.stdout[-500:]}")
        done = subprocess.run([*kubectl, "apply", "--server-side", "-f", place / "a.json"], capture_output=True, text=True, timeout=60)
        require(done.returncode == 0 or not needs, f"{size} with --server-side: {done.stderr[-300:]}")
    return f"the same verdict for {len(noted)} sizes; `kubectl apply` refuses what needs --server-side"


def main():
    cases = Cases(__doc__)
    cases.option("--seed", type=int, default=1, help="which manifests are made (1)")
    cases.option("--count", type=int, default=1000, help="how many (1000)")
    options = cases.parse()

    def plane() -> Shared:
        return Shared(lambda: ControlPlane(folder("verdict")))

    def needs() -> str:
        return missing("etcd", "kube-apiserver", "kubectl")

    cases.add("large objects", large, plane(), needs=needs)
    cases.add("one verdict", agree, plane(), options.seed, options.count, needs=needs)
    cases.end()


if __name__ == "__main__":
    main()

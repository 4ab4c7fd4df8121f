"""A client of a Kubernetes API server with one persistent connection per thread: a hundred times faster than kubectl."""

import base64
import contextlib
import http.client
import json
import re
import ssl
import threading
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode

from .process import wait_until

# Kind: its path below /apis or /api, and its plural.
KINDS = {
    "SendingServer": ("apis/mailfleet.dev/v1alpha1", "sendingservers"),
    "Plan": ("apis/mailfleet.dev/v1alpha1", "plans"),
    "Campaign": ("apis/mailfleet.dev/v1alpha1", "campaigns"),
    "Secret": ("api/v1", "secrets"),
    "ConfigMap": ("api/v1", "configmaps"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "Namespace": ("api/v1", "namespaces"),
    "Event": ("apis/events.k8s.io/v1", "events"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "Role": ("apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "ClusterRole": ("apis/rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "CustomResourceDefinition": ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
}
CLUSTER_WIDE = {"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}
REQUEST_SECONDS = 30


class ApiError(Exception):
    """A response other than 2xx: its code, reason and message."""

    def __init__(self, code: int, reason: str, message: str):
        super().__init__(f"{code} {reason}: {message[:600]}")
        self.code, self.reason, self.message = code, reason, message


def path_of(kind: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """The path of an object, or of all objects of a kind when `name` is empty."""
    base, plural = KINDS[kind]
    words = [base, *(["namespaces", namespace] if namespace and kind not in CLUSTER_WIDE else []), plural, name, subresource]
    return "/" + "/".join(word for word in words if word)


class KubeApi:
    """Requests as one user, by a client certificate or a token."""

    def __init__(self, port: int, authority: Path, *, certificate: Path | None = None, key: Path | None = None, token: str = ""):
        self.port, self.token = port, token
        self.context = ssl.create_default_context(cafile=authority)
        if certificate:
            self.context.load_cert_chain(certificate, key)
        self.local = threading.local()

    def raw(self, method: str, path: str, body=None, content_type: str = "application/json") -> tuple[int, bytes]:
        """The code and body of a response. A persistent connection that has died is opened once more."""
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        data = json.dumps(body) if body is not None else None
        for is_last in (False, True):
            line = getattr(self.local, "line", None)
            is_last = is_last or line is None
            if line is None:
                line = self.local.line = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=REQUEST_SECONDS)
            try:
                line.request(method, path, data, headers)
                answer = line.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                line.close()
                self.local.line = None
                if is_last:
                    raise
        raise AssertionError("the loop returns or raises")

    def request(self, method: str, path: str, body=None, content_type: str = "application/json") -> dict:
        """The response as JSON.

        Raises:
            ApiError: when it is not 2xx.
        """
        code, answer = self.raw(method, path, body, content_type)
        try:
            value = json.loads(answer)
        except ValueError:
            value = {"message": answer.decode(errors="replace")}
        if code >= 300:
            raise ApiError(code, value.get("reason", ""), value.get("message", ""))
        return value

    def create(self, obj: dict) -> dict:
        """Creates an object, as strictly as kubectl does."""
        metadata = obj["metadata"]
        return self.request("POST", path_of(obj["kind"], metadata.get("namespace", "")) + "?fieldValidation=Strict", obj)

    def apply(self, *objects: dict, manager: str = "tests"):
        """Server-side apply, one by one."""
        query = urlencode({"fieldManager": manager, "force": "true", "fieldValidation": "Strict"})
        for obj in objects:
            metadata = obj["metadata"]
            path = path_of(obj["kind"], metadata.get("namespace", ""), metadata["name"])
            self.request("PATCH", f"{path}?{query}", obj, "application/apply-patch+yaml")

    def merge(self, kind: str, namespace: str, name: str, patch: dict, subresource: str = "") -> dict:
        """A merge patch."""
        return self.request("PATCH", path_of(kind, namespace, name, subresource), patch, "application/merge-patch+json")

    def get(self, kind: str, namespace: str, name: str) -> dict | None:
        """An object; None when it does not exist."""
        try:
            return self.request("GET", path_of(kind, namespace, name))
        except ApiError as fault:
            if fault.code == 404:
                return None
            raise

    def event_reasons(self, namespace: str, name: str, kind: str = "") -> list[str]:
        """The reasons of the events about an object, of one type where it is given. An event is written after the status."""
        events = (event for event in self.list("Event", namespace) if event["regarding"]["name"] == name)
        return [event["reason"] for event in events if kind in ("", event["type"])]

    def list(self, kind: str, namespace: str = "") -> list[dict]:
        """All objects of a kind, in pages of 500."""
        items, token = [], ""
        while True:
            page = self.request("GET", path_of(kind, namespace) + "?" + urlencode({"limit": 500, "continue": token}))
            items += page["items"]
            token = page["metadata"].get("continue", "")
            if not token:
                return items

    def watch(self, kind: str, namespace: str, seconds: int):
        """Every object of a kind as it is, and as it changes, over a connection of its own, until `seconds` are over or the server is gone."""
        path = f"{path_of(kind, namespace)}?{urlencode({'watch': 'true', 'timeoutSeconds': seconds})}"
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        line = http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=seconds + REQUEST_SECONDS)
        with contextlib.closing(line), contextlib.suppress(OSError, http.client.HTTPException):
            line.request("GET", path, headers=headers)
            answer, pending = line.getresponse(), b""
            while part := answer.read1(1 << 16):
                *whole, pending = (pending + part).split(b"\n")
                for text in whole:
                    yield json.loads(text)["object"]

    def delete(self, kind: str, namespace: str, name: str):
        """Deletes an object if it exists."""
        with contextlib.suppress(ApiError):
            self.request("DELETE", path_of(kind, namespace, name))

    def namespace(self, name: str, **labels: str) -> str:
        """A new namespace."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        return name

    def status(self, kind: str, namespace: str, name: str) -> dict:
        """The status of an object; empty before there is one."""
        return (self.get(kind, namespace, name) or {}).get("status") or {}

    def condition(self, kind: str, namespace: str, name: str, condition: str) -> dict:
        """A condition of an object; empty when it does not exist."""
        return condition_of(self.status(kind, namespace, name), condition)

    def wait_condition(self, kind: str, namespace: str, name: str, condition: str, *, seconds: float, **wanted: str) -> float:
        """How long it took until a condition has these fields (`status="True"`, `reason="Active"`)."""
        begin = time.monotonic()
        seen = {}

        def holds():
            nonlocal seen
            seen = self.condition(kind, namespace, name, condition)
            return bool(seen) and all(seen.get(field) == value for field, value in wanted.items())

        try:
            wait_until(holds, seconds, "a condition")
        except TimeoutError:
            raise TimeoutError(f"{kind} {namespace}/{name}: {condition} is not {wanted} within {seconds:g} s, but {seen}") from None
        return time.monotonic() - begin

    def requests(self) -> Counter:
        """Requests since the API server's start, by its own metrics: verb, resource and subresource to their number."""
        found = Counter()
        for line in self.raw("GET", "/metrics")[1].decode().splitlines():
            if line.startswith("apiserver_request_total{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                found[labels["verb"], labels["resource"], labels["subresource"]] += int(float(line.rsplit(" ", 1)[1]))
        return found


def condition_of(status: dict, condition: str) -> dict:
    """A condition of a status; empty when it does not exist."""
    return next((c for c in status.get("conditions") or [] if c["type"] == condition), {})


def secret(namespace: str, name: str, **values: str) -> dict:
    """A Secret of the cluster."""
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "data": data}


def config_map(namespace: str, name: str, **texts: str) -> dict:
    """A ConfigMap of the cluster; `__` in a key stands for a dot."""
    data = {key.replace("__", "."): text for key, text in texts.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}

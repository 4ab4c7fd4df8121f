"""Prism (npm @stoplight/prism-cli): whether a request conforms to a vendor's OpenAPI document."""

import http.client
import json
import os
import subprocess
from pathlib import Path

from .cache import part
from .fleet import ROOT
from .process import Process, answers, free_port, wait_until

SPECS = ROOT.parent / "shared/specs"


def folder() -> Path:
    """Where scripts/setup installs the judges of npm."""
    return part("npm")


def missing() -> str:
    """What is missing; empty when nothing is."""
    return "" if (folder() / "node_modules/.bin/prism").exists() else f"{folder()} (scripts/setup installs it)"


def sdk(vendor: str, base: str, key: str, message: dict):
    """Sends a message with the vendor's own SDK."""
    words = ["node", str(ROOT / "tests/judges/sdk.js"), vendor, base, key]
    environment = {**os.environ, "NODE_PATH": str(folder() / "node_modules"), "NO_PROXY": "127.0.0.1,localhost"}
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        environment.pop(name, None)
    done = subprocess.run(words, input=json.dumps(message), capture_output=True, text=True, timeout=60, env=environment)
    if done.returncode:
        raise AssertionError(f"the SDK of {vendor} fails: {done.stderr[-2000:]}")


class Prism:
    """Prism for one document."""

    def __init__(self, place: Path, spec: str | Path):
        self.port = free_port()
        # A vendor's document by name, or a whole path.
        words = [folder() / "node_modules/.bin/prism", "mock", "-h", "127.0.0.1", "-p", str(self.port), SPECS / spec]
        self.process = Process(words, place / f"prism-{Path(spec).stem}.out")

    def violations(self, method: str, path: str, headers: dict, body: bytes) -> list[dict]:
        """Where a request violates the document; an unknown path is a violation too."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        passed = {name: value for name, value in headers.items() if name not in ("host", "connection", "content-length", "accept-encoding")}
        connection.request(method, path, body or None, passed)
        answer = connection.getresponse()
        text = answer.read()
        found = json.loads(answer.headers.get("sl-violations") or "[]")
        found = [one for one in found if one.get("location", [""])[0] == "request"]
        if not found and answer.status in (400, 401, 404, 405, 415, 422):
            found = [{"location": ["request"], "message": f"{answer.status} {text[:300]!r}"}]
        return found

    def __enter__(self):
        self.process.__enter__()
        wait_until(lambda: answers(self.port), 120, f"Prism: {self.process.tail()}", every=0.2)
        return self

    def __exit__(self, *details):
        self.process.__exit__(*details)

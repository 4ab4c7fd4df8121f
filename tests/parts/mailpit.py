"""Mailpit: takes messages and shows them as a mail client would. Built by scripts/setup."""

import json
import urllib.parse
import urllib.request
from pathlib import Path

from .cache import part
from .process import Process, answers, free_port, wait_until


def binary() -> Path:
    """The program that scripts/setup builds."""
    return part("mailpit") / "mailpit"


class Mailpit:
    """The server and its API."""

    def __init__(self, folder: Path):
        self.port, self.http_port = free_port(), free_port()
        command = [
            binary(), "--smtp", f"127.0.0.1:{self.port}", "--listen", f"127.0.0.1:{self.http_port}", "--database", folder / "mailpit.db",
            "--max", "0", "--disable-version-check", "--smtp-disable-rdns", "--quiet",
        ]  # fmt: skip
        self.process = Process(command, folder / "mailpit.out")
        wait_until(lambda: answers(self.port) and answers(self.http_port), 20, "mailpit's start")

    @staticmethod
    def missing() -> str:
        """What is missing; empty when nothing is."""
        return "" if binary().exists() else "mailpit (scripts/setup builds it)"

    def _get(self, path: str) -> bytes:
        # It is on this machine: no proxy from the environment.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.http_port}{path}", timeout=20) as answer:
            return answer.read()

    def messages(self) -> list[dict]:
        """Summaries of all messages."""
        messages, total = [], 1
        while len(messages) < total:
            page = json.loads(self._get(f"/api/v1/messages?start={len(messages)}&limit=200"))
            total = page["total"]
            messages += page["messages"]
            if not page["messages"]:
                break
        return messages

    def message(self, identity: str) -> dict:
        """A message as mailpit understood it: Subject, From, To, Text, HTML."""
        return json.loads(self._get(f"/api/v1/message/{urllib.parse.quote(identity)}"))

    def headers(self, identity: str) -> dict[str, list[str]]:
        """Its header fields."""
        return json.loads(self._get(f"/api/v1/message/{urllib.parse.quote(identity)}/headers"))

    def part(self, identity: str, part: str) -> bytes:
        """The decoded bytes of one of its parts."""
        return self._get(f"/api/v1/message/{urllib.parse.quote(identity)}/part/{urllib.parse.quote(part)}")

    def raw(self, identity: str) -> bytes:
        """Its source."""
        return self._get(f"/api/v1/message/{urllib.parse.quote(identity)}/raw")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()

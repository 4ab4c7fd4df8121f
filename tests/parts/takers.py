"""A vendor's API that logs whom it accepted, and waits for the disk, before it answers: a witness of what a kill interrupts."""

import os
import time
from collections import Counter
from pathlib import Path

from .vendors import Vendor


class _Writing(Vendor):
    """The API. It answers `delay` seconds after the recipients of a call are on disk."""

    def __init__(self, kind: str, log: Path, delay: float):
        super().__init__(kind)
        self.log, self.delay, self.lines, self.calls = log, delay, 0, 0
        self.file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def handle(self, method: str, path: str, headers: dict, body: bytes) -> tuple[int, object]:
        """As the vendor does, but slowly."""
        self.call.to = []
        answer = super().handle(method, path, headers, body)
        if self.call.to:
            time.sleep(self.delay)
        return answer

    def took(self, to: list[str]):
        """Writes them to disk before answering."""
        self.requests.clear()
        if not to:
            return
        lines = "".join(f"{name}\t{one}\n" for name, one in zip(self.names(to), to, strict=True)).encode()
        if os.write(self.file, lines) != len(lines):
            raise OSError(f"{self.log}: not all of it was written")
        os.fdatasync(self.file)
        self.lines += len(to)
        self.calls += 1


class Taker:
    """Such an API on a local port, with the interface of `sinks.Sink`."""

    def __init__(self, kind: str, folder: Path, delay: float):
        self.kind, self.api = kind, _Writing(kind, folder / f"{kind}.log", delay)
        self.api.__enter__()

    def spec(self, **more) -> dict:
        """The provider of a SendingServer that uses it."""
        return self.api.spec(**more)

    def secret(self) -> dict:
        """The Secret of that server."""
        return self.api.secret()

    def count(self) -> dict:
        """Messages accepted and calls, since it started."""
        return {"accepted": self.api.lines, "calls": self.api.calls}

    def log_size(self) -> int:
        """The number of lines in the log."""
        return self.api.lines

    def lines(self) -> list[list[str]]:
        """The log: each message's ID and recipient."""
        return [line.split("\t") for line in self.api.log.read_text(encoding="utf-8").splitlines()]

    def taken(self) -> Counter:
        """How often each recipient is in the log, whether answered or not."""
        return Counter(recipient for _, recipient in self.lines())

    def stop(self):
        self.api.__exit__()
        os.close(self.api.file)

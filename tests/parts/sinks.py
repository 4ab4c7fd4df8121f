"""Servers that take everything: Mailfleet's own sink, with its log and its control port, and postfix's smtp-sink."""

import contextlib
import re
import shutil
import socket
from collections import Counter
from pathlib import Path

from .process import Process, answers, free_port, wait_until


class Sink:
    """`mailfleet sink` with a log and a control port. It keeps its ports over `kill` and `start`."""

    def __init__(self, binary: Path, folder: Path, name: str = "sink", *options: str, log: bool = True, port: int | None = None):
        self.binary, self.folder, self.name, self.options = binary, folder, name, options
        self.log = folder / f"{name}.log" if log else None
        # The sink chooses them, unless one is given: a port that was free a moment ago may be another suite's by now.
        self.port, self.control_port = port or 0, 0
        # A delayed line to this sink, which ends with it.
        self.line = None
        self.process = None
        self.start()

    def start(self):
        """Starts it, again after a kill."""
        command = [self.binary, "sink", "--listen", f"127.0.0.1:{self.port}", "--control", f"127.0.0.1:{self.control_port}"]
        if self.log:
            command += ["--log", self.log]
        self.process = Process([*command, *self.options], self.folder / f"{self.name}.out")

        def ready():
            if not self.process.running():
                raise RuntimeError(f"the sink ended at once: {self.process.tail()}")
            if not self.control_port:
                told = re.findall(r"^(?:listening|control) on 127\.0\.0\.1:(\d+)$", self.process.text(), re.M)
                if len(told) < 2:
                    return False
                self.port, self.control_port = map(int, told[:2])
            return answers(self.control_port)

        wait_until(ready, 10, "the sink's start")

    def say(self, word: str) -> str:
        """Sends a word to the control port: ok, hang, 421, close, refuse, count."""
        with socket.create_connection(("127.0.0.1", self.control_port), timeout=5) as line:
            line.sendall(f"{word}\n".encode())
            return line.makefile().readline().strip()

    def count(self) -> dict:
        """Messages accepted and unanswered, and bytes, since it started."""
        words = self.say("count").split()
        return {name: int(number) for name, number in zip(words[::2], words[1::2])}

    def taken(self) -> Counter:
        """How often each recipient is in the log, whether answered or not."""
        return Counter(recipient for _, recipient, _ in self.lines())

    def lines(self):
        """The log's lines as word, recipient, Message-ID."""
        with contextlib.suppress(FileNotFoundError), open(self.log, encoding="utf-8") as file:
            for line in file:
                word, recipient, message_id = line.rstrip("\n").split("\t")
                yield word, recipient, message_id

    def log_size(self) -> int:
        """The number of lines in the log, without parsing them."""
        with contextlib.suppress(FileNotFoundError), open(self.log, "rb") as file:
            return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))
        return 0

    def kill(self):
        """kill -9."""
        self.process.kill()

    def stop(self):
        self.process.stop()
        if self.line:
            self.line.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def delayed(binary: Path, folder: Path, port: int, delay: str) -> tuple[Process, int]:
    """A forwarder to a local port that delays by `delay` in each direction; the process and its port."""
    output = folder / f"delay-{port}-{free_port()}.out"
    process = Process([binary, "sink", "--listen", "127.0.0.1:0", "--forward", f"127.0.0.1:{port}", "--delay", delay], output)
    line = wait_until(lambda: re.search(r"listening on 127\.0\.0\.1:(\d+)", process.text()), 10, "the delayed line's start")
    return process, int(line[1])


class SmtpSink:
    """postfix's smtp-sink: an independent judge."""

    def __init__(self, folder: Path, *options: str):
        self.port = free_port()
        # Root must name the user to run as.
        user = ["-u", "nobody"] if Path("/proc/self").stat().st_uid == 0 else []
        self.process = Process(["smtp-sink", *user, *options, f"127.0.0.1:{self.port}", "1000"], folder / f"smtp-sink-{self.port}.out")
        wait_until(lambda: answers(self.port), 10, "smtp-sink's start")

    @staticmethod
    def missing() -> str:
        """What is missing; empty when nothing is. smtp-source comes in the same package."""
        return "" if shutil.which("smtp-sink") and shutil.which("smtp-source") else "smtp-sink and smtp-source (Debian: postfix)"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()

#!/usr/bin/env python3
"""Traces and logs as collectors read them: OTLP by OpenTelemetry's own protobuf definitions, and JSON, one object a line.

The collector is tests/judges/collector.py, on loopback.
"""

import contextlib
import json
import os
import re
import socket
import time
import urllib.request

from parts import fleet as fleets
from parts.cache import ROOT, part
from parts.fleet import campaign, plan, smtp_server
from parts.place import Place
from parts.process import Process, answers, free_port, wait_until
from parts.report import Cases, Shared, require
from parts.scripted import Scripted

PEOPLE = 200
PASSWORD = "open sesame 4711"
OK, ERROR = (0, 1), 2
CLIENT = 3


def missing() -> str:
    """What is missing; empty when nothing is."""
    python = part("python") / "bin/python"
    return "" if python.exists() else f"{python} (scripts/setup installs it)"


class Collector:
    """The collector, with the spans that it was sent."""

    def __init__(self, place):
        folder = place.new("collector")
        self.port, self.file = free_port(), folder / "spans.jsonl"
        words = [part("python") / "bin/python", ROOT / "tests/judges/collector.py", self.port, self.file]
        self.process = Process(words, folder / "collector.out")
        wait_until(lambda: answers(self.port), 60, "the collector's start")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, status: int):
        """What it answers from now on."""
        urllib.request.urlopen(f"{self.endpoint}/status/{status}", timeout=10).close()

    def text(self) -> str:
        return self.file.read_text(encoding="utf-8") if self.file.exists() else ""

    def spans(self, name: str | None = None) -> list[dict]:
        """The spans so far. A line that is being written is left for the next look."""
        found = [json.loads(line) for line in self.text().splitlines(keepends=True) if line.endswith("\n")]
        require(not [one for one in found if "fault" in one], f"what it could not read: {found[:1]}")
        return [one for one in found if name is None or one["name"] == name]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()


def traced(place, name: str, endpoint: str | None, *options: str, script=None, variables: dict | None = None, once: bool = True):
    """A fleet with a server that needs a password, one that is down, and a campaign; the process, and the server."""
    fleet = place.fleet(name)
    server = Scripted(script, login=("ann", PASSWORD))
    (fleet.config / "people.csv").write_text("email,name\n" + "".join(f"{fleets.address(n)},Person {n}\n" for n in range(PEOPLE)))
    fleet.write(
        "fleet.yaml",
        fleets.secret("login", username="ann", password=PASSWORD),
        smtp_server("relay", server.port, {"auth": {"secretRef": {"name": "login"}}}),
        smtp_server("down", free_port(), probe={"failureThreshold": 1}),
        plan("pro", "relay", "down"),
        campaign("spring", "pro", {"csv": {"path": "people.csv"}}),
    )
    given = [f"--otlp-endpoint={endpoint}"] if endpoint else []
    # Spans are sent soon, and none is lost however slow this machine is.
    variables = {"OTEL_BSP_SCHEDULE_DELAY": "200", "OTEL_BSP_MAX_QUEUE_SIZE": "20000", **(variables or {})}
    return fleet, server, fleet.start("--quiet", *given, *options, once=once, variables=variables)


def the_work_is_traced(place):
    """Turns, probes and batches, each with its parts, by the protobuf that OpenTelemetry defines; nobody's address and no password."""
    with Collector(place) as collector:
        variables = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test", "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20token-0815"}
        fleet, server, process = traced(place, "traced", collector.endpoint, variables=variables)
        try:
            require(process.wait(120) == 0, process.tail())
        finally:
            process.kill()
            server.close()
        require(len(server.taken) == PEOPLE, f"{len(server.taken)} were mailed")
        spans = collector.spans()
        for one in spans:
            resource = one["resource"]
            require(resource["service.name"] == "mailfleet" and resource["service.version"], f"{resource}")
            require(resource["deployment.environment.name"] == "test", f"{resource}")
            require(one["begin"] <= one["end"] <= time.time_ns(), f"{one}")
            require(one["authorization"] == "Bearer token-0815", f"{one['authorization']}")
        by_id = {one["id"]: one for one in spans}
        parts: dict[str, set[str]] = {}
        for one in spans:
            if one["parent"]:
                parent = by_id.get(one["parent"])
                require(parent and parent["trace"] == one["trace"], f"{one['name']} has no parent in its trace")
                parts.setdefault(parent["name"], set()).add(one["name"])
        require(parts == {"turn": {"look up", "decide", "act"}, "batch": {"claim", "deliver", "outcomes"}}, f"{parts}")
        turns = collector.spans("turn")
        require(turns[-1]["attributes"]["mailfleet.servers"] == 2 and turns[-1]["attributes"]["mailfleet.campaigns"] == 1, f"{turns[-1]}")
        batches = collector.spans("batch")
        counted = [sum(one["attributes"][name] for one in batches) for name in ("messaging.batch.message_count", "mailfleet.accepted")]
        require(counted == [PEOPLE, PEOPLE], f"messages handed over, accepted: {counted}")
        wanted = {"mailfleet.server": "default/relay", "mailfleet.provider": "smtp", "server.address": "127.0.0.1", "mailfleet.campaign": "default/spring"}
        require(all(wanted.items() <= one["attributes"].items() for one in batches), f"{batches[0]['attributes']}")
        require(all(one["kind"] == CLIENT for one in collector.spans("deliver")), "the kind of what asks a server")
        probes = {one["attributes"]["mailfleet.server"]: one for one in collector.spans("probe")}
        require(probes["default/relay"]["status"] in OK and probes["default/relay"]["kind"] == CLIENT, f"{probes}")
        down = probes["default/down"]
        require(down["status"] == ERROR and down["attributes"]["error.type"] == "ConnectionRefused", f"{down}")
        text = collector.text()
        for secret in (PASSWORD, "@example.com", "Person ", "Dear "):
            require(secret not in text, f"a trace holds {secret!r}")
        return f"{len(spans)} spans, {len(batches)} batches"


def what_is_not_wanted_is_not_sent(place):
    """No span of what is not sampled, none when OpenTelemetry is switched off, and a share of the traces where a share is wanted."""
    with Collector(place) as collector:
        cases = [
            ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, collector.endpoint),
            ({"OTEL_SDK_DISABLED": "true"}, collector.endpoint),
            ({"OTEL_TRACES_EXPORTER": "none"}, collector.endpoint),
        ]
        for number, (variables, endpoint) in enumerate(cases):
            _, server, process = traced(place, f"unwanted-{number}", endpoint, variables=variables)
            with contextlib.closing(server):
                require(process.wait(120) == 0, process.tail())
            require(not collector.spans(), f"{variables}: {len(collector.spans())} spans")
        # By the environment alone, with a name of one's own.
        _, server, process = traced(place, "wanted", None, variables={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_SERVICE_NAME": "post"})
        with contextlib.closing(server):
            require(process.wait(120) == 0, process.tail())
        names = {one["resource"]["service.name"] for one in collector.spans()}
        require(names == {"post"} and collector.spans("batch"), f"{names}")
    fleet = place.fleet("refused")
    code, told = fleet.command("run", fleet.config, "--once", "--state", fleet.state, "--otlp-endpoint=localhost:4318")
    require(code == 2 and "http://localhost:4318" in told, f"{code} {told}")
    return f"{len(cases)} ways"


class Hanging:
    """Takes connections, and says nothing."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]

    def close(self):
        self.listener.close()


def a_collector_that_fails_holds_up_nobody(place):
    """A collector that hangs, is not there, or answers 503: everybody is mailed, it is told once, and the process ends in time."""
    with Collector(place) as collector, contextlib.closing(Hanging()) as hanging:
        collector.answer(503)
        for name, endpoint, word in [
            ("hangs", f"http://127.0.0.1:{hanging.port}", ""),
            ("absent", f"http://127.0.0.1:{free_port()}", "traces cannot be sent"),
            ("unwell", collector.endpoint, "503"),
        ]:
            # A small queue, which overflows.
            variables = {"OTEL_BSP_MAX_QUEUE_SIZE": "16", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8", "OTEL_EXPORTER_OTLP_TIMEOUT": "2000"}
            _, server, process = traced(place, name, endpoint, variables=variables)
            try:
                require(process.wait(120) == 0, process.tail())
            finally:
                process.kill()
                server.close()
            require(len(server.taken) == PEOPLE, f"{name}: {len(server.taken)} were mailed")
            said = process.text()
            require(word in said and said.count("traces cannot be sent") <= 1, f"{name}: {said}")
    return "3 collectors"


# RFC 3339.
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
LEVELS = {"error", "warn", "info", "debug", "trace"}


def each_line_of_the_log_is_an_object(place):
    """Everything on standard error is JSON with --log-format json: logs, progress and what the command says; with the ids of traces."""
    with Collector(place) as collector:
        fails = lambda stage, session: "421 4.3.2 shutting down" if stage == "content" and session.number < 4 else None  # noqa: E731
        fleet = place.fleet("logged")
        server = Scripted(fails)
        (fleet.config / "people.csv").write_text("email,name\n" + "".join(f"{fleets.address(n)},Person {n}\n" for n in range(20)))
        probe = {"interval": "1s", "retryAfter": "1s"}
        fleet.write("fleet.yaml", smtp_server("relay", server.port, probe=probe), plan("pro", "relay"), campaign("spring", "pro", {"csv": {"path": "people.csv"}}, whenNoServerIsActive="Wait"))
        process = fleet.start(f"--otlp-endpoint={collector.endpoint}", variables={"MAILFLEET_LOG_FORMAT": "json", "MAILFLEET_LOG": "debug"})
        try:
            require(process.wait(120) == 0, process.tail())
        finally:
            process.kill()
            server.close()
        lines = process.text().splitlines()
        logged = [json.loads(line) for line in lines]
        for one in logged:
            require(list(one)[:4] == ["time", "level", "target", "message"], f"{one}")
            require(TIME.match(one["time"]) and one["level"] in LEVELS and one["target"] and isinstance(one["message"], str), f"{one}")
        failures = [one for one in logged if one["message"].startswith("a send failed")]
        require(failures, "\n".join(lines[:5]))
        for one in failures:
            require((one["level"], one["kind"], one["namespace"], one["name"]) == ("warn", "SendingServer", "default", "relay"), f"{one}")
        known = {(span["trace"], span["id"]) for span in collector.spans()}
        require(any((one.get("trace_id"), one.get("span_id")) in known for one in failures), f"no trace of {failures[0]}")
        require(any("Completed" in one["message"] for one in logged), "the progress")
    # What cannot run says so as JSON, too.
    code, told = fleet.command("run", fleet.config, "--once", "--state", place.new("empty"), "--log-format=json", "--expect-ledger")
    require(code == 2, told)
    refused = [json.loads(line) for line in told.splitlines()]
    require(refused and "There is no ledger" in refused[-1]["message"], told)
    return f"{len(logged)} lines"


def main():
    cases = Cases(__doc__)
    cases.parse()
    # Those of whoever runs this are not meant.
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        del os.environ[name]
    place = Shared(lambda: Place("traces"))
    cases.add_all((the_work_is_traced, what_is_not_wanted_is_not_sent, a_collector_that_fails_holds_up_nobody, each_line_of_the_log_is_an_object), place, needs=missing)
    cases.end()


if __name__ == "__main__":
    main()

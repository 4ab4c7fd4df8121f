#!/usr/bin/env python3
"""Mailfleet against postfix's smtp-source and lettre's pool, to the same sinks, in one run; prints Markdown tables.

Medians of at least three rounds, with the senders in turn within each round. CPU is the user and system time of the sender alone. The
second table has round trips of 20 and 80 ms. smtp-source neither renders nor keeps a ledger; lettre's pool (`bench/lettre_pool.rs`)
renders, keeps no ledger, and leaves Nagle's algorithm on, which costs it some 40 ms a message. `--quick` is a short run whose figures
mean nothing. `--against BINARY` compares with another build of Mailfleet instead, in turn within each round: what a change does to
rate and CPU, as a ratio.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import plots  # noqa: E402
from parts import fleet as fleets  # noqa: E402
from parts.process import Process, folder, peak_memory_kib, wait_until  # noqa: E402
from parts.report import record_skip, skips_fail, table  # noqa: E402
from parts.sinks import Sink, SmtpSink, delayed  # noqa: E402

BODY_BYTES = 4_600  # with the header it makes a message of about 5 KB
MESSAGE_BYTES = 5_000

# The targets, printed beside what was measured.
RATE_MIN, CPU_MAX = 1.0, 1.5
# To smtp-sinks, which do not offer CHUNKING: one message at a time on each connection, as smtp-source sends them (it neither renders nor fsyncs).
SINKS_RATE_MIN, SINKS_CPU_MAX = 0.9, 1.3
# The factor over lettre's pool with as many connections; it sends one command at a time.
LETTRE_TIMES_MIN = {"neither": 0.95, "PIPELINING only": 3.5, "CHUNKING and PIPELINING": 20.0}


@dataclass
class Row:
    """A sender and its rounds."""

    name: str
    target: str
    send: object
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    # The peak of all its processes together, MiB.
    memory: list[float] = field(default_factory=list)

    def rate(self) -> float:
        return statistics.median(self.rates)

    def cpu_per_1000(self) -> float:
        return statistics.median(self.cpu)

    def took(self, measured: tuple[float, float, float]) -> tuple[float, float]:
        """Keeps what one round measured: messages a second, CPU seconds per 1,000, MiB."""
        for kept, value in zip((self.rates, self.cpu, self.memory), measured):
            kept.append(value)
        return measured[:2]


def finish(processes: list[Process], messages: int, begin: float) -> tuple[float, float, float]:
    """Waits for the senders; messages a second, CPU seconds per 1,000, and the peak of memory in MiB."""
    peaks = [0] * len(processes)

    def are_over() -> bool:
        # The high-water mark is gone with the process.
        peaks[:] = [max(peak, peak_memory_kib(process.pid)) if process.code is None else peak for peak, process in zip(peaks, processes)]
        return not any([process.running() for process in processes])

    wait_until(are_over, 900, "the end of the senders", every=0.005)
    seconds = time.monotonic() - begin
    for process in processes:
        if process.code:
            raise SystemExit(f"{process.command[0]} ended with {process.code}: {process.tail()}")
    return messages / seconds, sum(process.cpu_seconds() for process in processes) / messages * 1000, sum(peaks) / 1024


def smtp_source(place: Path, sessions: int, ports: list[int], messages: int) -> tuple[float, float, float]:
    """One smtp-source for each sink, the sessions and messages shared out."""
    begin = time.monotonic()
    processes = [
        Process(
            ["smtp-source", "-d", "-s", sessions // len(ports), "-m", messages // len(ports), "-l", MESSAGE_BYTES,
             "-f", "news@news.example.com", "-t", "person@example.com", f"127.0.0.1:{port}"],
            place / "smtp-source.out",
        )
        for port in ports
    ]  # fmt: skip
    return finish(processes, messages, begin)


def lettre(program: Path, connections: int, ports: list[int], messages: int) -> Process:
    """lettre's pool, so many connections to each sink."""
    return Process([program, messages, connections, *ports], program.parent / "lettre-pool.out")


def lettre_pool(program: Path, connections: int, ports: list[int], messages: int) -> tuple[float, float, float]:
    """See `lettre`; from the start of the process to its end."""
    begin = time.monotonic()
    return finish([lettre(program, connections, ports, messages)], messages, begin)


def content() -> dict:
    """A text of about 5 KB that says the recipient's name and city."""
    paragraph = "Dear {{ name }}, this is what happened in {{ city }} this week, and it is worth a line or two of yours.\n"
    return {"text": paragraph + "Nothing else is worth a word, but the line goes on until it is long enough.\n" * (BODY_BYTES // 77)}


def write_fleet(place: Path, program: Path, ports: list[int], messages: int, limits: dict) -> fleets.Fleet:
    """Servers, a plan, a campaign and its audience."""
    fleet = fleets.Fleet(place, program)
    with open(fleet.config / "people.csv", "w", encoding="utf-8") as file:
        file.write("email,name,city\n")
        file.writelines(f"{fleets.address(number)},Person {number},City {number % 977}\n" for number in range(messages))
    servers = [fleets.smtp_server(f"server-{number}", port, limits=limits) for number, port in enumerate(ports)]
    names = [server["metadata"]["name"] for server in servers]
    campaign = fleets.campaign("bench", "pro", {"csv": {"path": "people.csv"}}, content=content())
    fleet.write("all.yaml", *servers, fleets.plan("pro", *names), campaign)
    # At the start files are read once nobody has written them for a second; that is not measured.
    time.sleep(1.1)
    return fleet


def mailfleet(place: Path, program: Path, ports: list[int], messages: int, synchronous: str, limits: dict | None = None) -> tuple[float, float, float]:
    """A campaign from a CSV file, personalised, ledger on; from the start of the process to its end."""
    fleet = write_fleet(place / f"fleet-{time.monotonic_ns()}", program, ports, messages, limits or {"messagesPerConnection": 100_000})
    begin = time.monotonic()
    process = fleet.start("--synchronous", synchronous, "--quiet")
    result = finish([process], messages, begin)
    states = Counter(fleet.recipients("bench").values())
    if states != {"Accepted": messages}:
        raise SystemExit(f"the campaign's ledger has {dict(states)} instead of {messages} Accepted")
    return result


def fdatasync_milliseconds(place: Path) -> float:
    """The median time of an fdatasync after 4 KB, on the disk that holds the ledger."""
    times = []
    with open(place / "fdatasync", "wb", buffering=0) as file:
        for _ in range(200):
            file.write(b"x" * 4096)
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def open_targets(stack: contextlib.ExitStack, place: Path, program: Path) -> tuple[Sink, list[tuple[str, list[int]]]]:
    """The fast sink, and what is sent to: each a name and its ports."""
    fast = stack.enter_context(Sink(program, place, "fast", log=False))
    piped = stack.enter_context(Sink(program, place, "piped", "--no-chunking", log=False))
    targets = [("the fast sink", [fast.port]), ("the same, no CHUNKING", [piped.port])]
    if not SmtpSink.missing():
        targets.append(("two smtp-sinks", [stack.enter_context(SmtpSink(place)).port for _ in range(2)]))
    return fast, targets


def throughput(place: Path, program: Path, pool: Path, messages: int, rounds: int) -> list[Row]:
    """The first table."""
    has_postfix = not SmtpSink.missing()
    with contextlib.ExitStack() as stack:
        fast, targets = open_targets(stack, place, program)
        rows = []
        for target, ports in targets:
            if has_postfix:
                for sessions in (8, 32):
                    rows.append(Row(f"smtp-source, {sessions} sessions", target, lambda s=sessions, p=ports: smtp_source(place, s, p, messages)))
            rows.append(Row("lettre's pool, 20 connections", target, lambda p=ports: lettre_pool(pool, 20, p, messages // 20)))
            for synchronous in ("full", "normal"):
                rows.append(Row(f"mailfleet, {synchronous}", target, lambda y=synchronous, p=ports: mailfleet(place, program, p, messages, y)))
        for number in range(rounds):
            for row in rows:
                before = fast.count()
                rate, cpu = row.took(row.send())
                after = fast.count()
                taken = after["accepted"] - before["accepted"]
                size = (after.get("bytes", 0) - before.get("bytes", 0)) / taken if taken else 0
                note = f", {size:,.0f} bytes a message" if size else ""
                print(f"round {number + 1}: {row.name} to {row.target}: {rate:,.0f}/s, {cpu:.4f} CPU s per 1,000{note}", file=sys.stderr, flush=True)
        return rows


def compared(place: Path, program: Path, other: Path, messages: int, rounds: int) -> list[tuple[Row, Row]]:
    """Each of Mailfleet's rows of the first table, with this build and with another."""
    with contextlib.ExitStack() as stack:
        _, targets = open_targets(stack, place, program)
        row = lambda name, build, target, ports, kept: Row(name, target, lambda: mailfleet(place, build, ports, messages, kept))  # noqa: E731
        pairs = [
            tuple(row(f"{kept}, {name}", build, target, ports, kept) for name, build in (("this build", program), ("the other", other)))
            for target, ports in targets
            for kept in ("full", "normal")
        ]
        for number in range(rounds):
            for pair in pairs:
                # Each goes first in every second round.
                for sent in pair if number % 2 else reversed(pair):
                    rate, cpu = sent.took(sent.send())
                    print(f"round {number + 1}: {sent.name} to {sent.target}: {rate:,.0f}/s, {cpu:.4f} CPU s per 1,000", file=sys.stderr, flush=True)
    return pairs


OFFERS = {"CHUNKING and PIPELINING": [], "PIPELINING only": ["--no-chunking"], "neither": ["--no-chunking", "--no-pipelining"]}


@dataclass
class Late:
    """Messages a second at one round trip, for each sender."""

    trip_ms: int
    offers: str
    connections: int
    mailfleet: list[float] = field(default_factory=list)
    lettre: list[float] = field(default_factory=list)

    def times(self) -> float:
        return statistics.median(self.mailfleet) / statistics.median(self.lettre)


def round_trips(place: Path, program: Path, pool: Path, rounds: int, quick: bool) -> list[Late]:
    """The second table: each direction is delayed by half of the round trip."""
    rows = [Late(trip, offers, connections) for trip in (20, 80) for offers in OFFERS for connections in (1, 20)]
    if quick:
        rows = [row for row in rows if row.trip_ms == 20 and row.connections == 20]
    with contextlib.ExitStack() as stack:
        lines = {}
        for row in rows:
            key = (row.trip_ms, row.offers)
            if key not in lines:
                sink = stack.enter_context(Sink(program, place, f"late-{len(lines)}", *OFFERS[row.offers], log=False))
                process, port = delayed(program, place, sink.port, f"{row.trip_ms / 2:g}ms")
                stack.enter_context(process)
                lines[key] = (sink, port)
        for number in range(rounds):
            for row in rows:
                sink, port = lines[(row.trip_ms, row.offers)]
                # Each lasts some seconds: a message takes four round trips without extensions, and one with PIPELINING.
                rate = row.connections * 1000 / row.trip_ms / (5 if quick else 1)
                messages = max(40, int(rate * {"neither": 1.2, "PIPELINING only": 5}.get(row.offers, 40)))
                few = max(40, int(rate * 1.2))  # lettre's pool sends one command at a time, whatever the server offers.
                limits = {"connections": row.connections, "messagesPerConnection": 100_000}
                fleet = write_fleet(place / f"fleet-{time.monotonic_ns()}", program, [port], messages, limits)
                row.mailfleet.append(steady(lambda f=fleet: f.start("--quiet"), sink, messages))
                row.lettre.append(steady(lambda p=port, m=few, c=row.connections: lettre(pool, c, [p], m), sink, few))
                told = f"{row.mailfleet[-1]:,.1f}/s, lettre's pool {row.lettre[-1]:,.1f}/s"
                print(f"round {number + 1}: {row.trip_ms} ms, {row.offers}, {row.connections} connections: {told}", file=sys.stderr, flush=True)
    return rows


def steady(start: object, sink: Sink, messages: int) -> float:
    """Messages a second between the first tenth and the last twentieth, so that the start and the probe do not count."""
    already = sink.count()["accepted"]
    process = start()
    sent = lambda: sink.count()["accepted"] - already  # noqa: E731
    wait_until(lambda: sent() >= messages // 10 or not process.running(), 120, "the first tenth", every=0.002)
    begin, first = time.monotonic(), sent()
    wait_until(lambda: sent() >= messages - messages // 20 or not process.running(), 600, "the last message", every=0.002)
    rate = (sent() - first) / (time.monotonic() - begin)
    finish([process], messages, begin)
    return rate


def figures(rows: list[Row], messages: int, rounds: int, load: float) -> dict:
    """What was measured, when and where, for the plots."""
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "unknown")
    measured = [
        {
            "sender": row.name,
            "receiver": row.target,
            "messagesPerSecond": round(row.rate()),
            "lowest": round(min(row.rates)),
            "highest": round(max(row.rates)),
            "cpuSecondsPer1000": round(row.cpu_per_1000(), 4),
            "peakMemoryMiB": round(statistics.median(row.memory), 1),
        }
        for row in rows
    ]
    date, machine = time.strftime("%Y-%m-%d"), f"{os.cpu_count()} cores, {model}"
    caption = f"Measured {date} on {machine}, whose load was {load} before; {messages:,} messages, medians of {rounds} rounds."
    return {"date": date, "machine": machine, "caption": caption, "rows": measured}


def verdict(holds: bool) -> str:
    return "holds" if holds else "MISSED"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 10,000 messages, to see that it runs")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    parser.add_argument("--against", type=Path, metavar="BINARY", help="another build of Mailfleet to compare with, and nothing else")
    parser.add_argument("--figures", type=Path, metavar="FILE", help="also write what the first table has as JSON, and draw it into the folder of that file")
    parser.add_argument("--no-round-trips", action="store_true", help="leave the second table out")
    options = parser.parse_args()
    if options.figures and options.quick:
        parser.error("a quick run's figures mean nothing: leave --figures or --quick out")
    messages, rounds = (10_000, 1) if options.quick else (options.messages, max(options.rounds, 3))
    program, place = fleets.binary(), folder("bench")
    if options.against:
        pairs = compared(place, program, options.against.resolve(), messages, rounds)
        print(f"{messages:,} messages of 5 KB, {os.cpu_count()} cores, medians of {len(pairs[0][0].rates)}; this build beside {options.against}\n")
        print(table(["ledger", "sink", "messages/s", "the other", "ratio", "CPU s per 1,000", "the other", "ratio"], [
            [new.name.split(",")[0], new.target, f"{new.rate():,.0f}", f"{old.rate():,.0f}", f"{new.rate() / old.rate():.2f}",
             f"{new.cpu_per_1000():.4f}", f"{old.cpu_per_1000():.4f}", f"{new.cpu_per_1000() / old.cpu_per_1000():.2f}"] for new, old in pairs
        ]))  # fmt: skip
        return
    # What else the machine does is told with the figures.
    load = round(os.getloadavg()[0], 1)
    before = fdatasync_milliseconds(place)
    pool = program.parent / "examples/lettre-pool"
    if not pool.exists():
        raise SystemExit(f"{pool} is missing; `make bench` builds it (cargo build --release --example lettre-pool)")
    if missing := SmtpSink.missing():
        record_skip("rows of smtp-source and smtp-sink", f"needs {missing}")
        print(f"skipped: the rows of smtp-source and smtp-sink: needs {missing}", flush=True)
    rows = throughput(place, program, pool, messages, rounds)
    late = [] if options.no_round_trips else round_trips(place, program, pool, rounds, options.quick)
    if options.figures:
        options.figures.write_text(json.dumps(figures(rows, messages, rounds, load), indent=1) + "\n", encoding="utf-8")
        plots.draw(options.figures)
    after = fdatasync_milliseconds(place)

    print(f"{messages:,} messages of 5 KB, {os.cpu_count()} cores, medians of {rounds}; {program.parent.name} build\n")
    print(f"fdatasync of the ledger's disk: {before:.2f} ms before, {after:.2f} ms after.\n")
    print(table(["sender", "sink", "messages/s", "lowest", "highest", "CPU s per 1,000", "peak MiB"], [
        [row.name, row.target, f"{row.rate():,.0f}", f"{min(row.rates):,.0f}", f"{max(row.rates):,.0f}", f"{row.cpu_per_1000():.4f}", f"{statistics.median(row.memory):,.0f}"] for row in rows
    ]))  # fmt: skip
    judged = []
    for target, least, most in (("the fast sink", RATE_MIN, CPU_MAX), ("two smtp-sinks", SINKS_RATE_MIN, SINKS_CPU_MAX)):
        references = [row for row in rows if row.name.startswith("smtp-source") and row.target == target]
        reference = max(references, key=Row.rate, default=None)
        for row in rows:
            if reference and row.name.startswith("mailfleet") and row.target == target:
                rate, cpu = row.rate() / reference.rate(), row.cpu_per_1000() / reference.cpu_per_1000()
                judged.append([f"{row.name} to {target}: rate of {reference.name}", f"{rate:.2f}", f">= {least}", verdict(rate >= least)])
                judged.append([f"{row.name} to {target}: CPU of {reference.name}", f"{cpu:.2f}", f"<= {most}", verdict(cpu <= most)])
    print("\nRound trips of 20 and 80 ms\n")
    print(table(["round trip", "the server offers", "connections", "messages/s", "lettre's pool", "times"], [
        [f"{row.trip_ms} ms", row.offers, str(row.connections), f"{statistics.median(row.mailfleet):,.1f}", f"{statistics.median(row.lettre):,.1f}",
         f"{row.times():.1f}"] for row in late
    ]))  # fmt: skip
    for row in late:
        least = LETTRE_TIMES_MIN[row.offers]
        name = f"{row.trip_ms} ms, {row.offers}, {row.connections} connections: times lettre's pool"
        judged.append([name, f"{row.times():.1f}", f">= {least:g}", verdict(row.times() >= least)])
    print("\n" + table(["target of", "measured", "target", ""], judged))
    is_missed = options.strict and any(row[-1] == "MISSED" for row in judged)
    if is_missed or (skips_fail() and missing):
        sys.exit(1)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""SMTP over round trips of 20 and 80 ms against what is possible, with each set of extensions, by connections and servers.

A message costs four round trips on a connection without extensions and one with PIPELINING, which bounds the messages a second of so
many connections on so many servers. Counted at the sinks, between the first fifth and the last twentieth.
`--quick` is a short run whose figures mean nothing.
"""

import argparse
import contextlib
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from parts import fleet as fleets  # noqa: E402
from parts.process import folder, wait_until  # noqa: E402
from parts.report import table  # noqa: E402
from parts.sinks import Sink, delayed  # noqa: E402
from run import write_fleet  # noqa: E402

# The target of every row: its share of what is possible.
SHARE_MIN = 0.9
# About how many seconds a row lasts.
SECONDS = 8

OPTIONS = {"neither": ["--no-chunking", "--no-pipelining"], "PIPELINING": ["--no-chunking"], "both": []}
ROUND_TRIPS = {"neither": 4, "PIPELINING": 1}


@dataclass
class Case:
    """So many servers with so many connections each, at one round trip; with `slow`, half of them have that one."""

    offers: str
    connections: int | None
    servers: int
    round_trip: float
    slow: float | None = None

    def possible(self) -> float | None:
        """Messages a second. Servers of equal weight get equal shares, so that the slowest sets the pace of all."""
        if self.offers not in ROUND_TRIPS:
            return None
        slowest = max(self.round_trip, self.slow or 0)
        return self.servers * (self.connections or 20) / (ROUND_TRIPS[self.offers] * slowest)


def measure(place: Path, program: Path, case: Case, seconds: float) -> tuple[float, float]:
    """Messages a second at the sinks, and CPU seconds per 1,000."""
    expected = case.possible() or 3000
    messages = max(int(expected * seconds), 100)
    with contextlib.ExitStack() as stack:
        sinks, ports = [], []
        for number in range(case.servers):
            sink = stack.enter_context(Sink(program, place, f"sink-{time.monotonic_ns()}", *OPTIONS[case.offers], log=False))
            trip = case.slow if case.slow and number % 2 else case.round_trip
            port = sink.port
            if trip:
                line, port = delayed(program, place, sink.port, f"{trip * 500:.0f}ms")
                stack.enter_context(line)
            sinks.append(sink)
            ports.append(port)
        limits = {"messagesPerConnection": 100_000} | ({"connections": case.connections} if case.connections else {})
        fleet = write_fleet(place / f"fleet-{time.monotonic_ns()}", program, ports, messages, limits)
        process = fleet.start("--quiet")
        sent = lambda: sum(sink.count()["accepted"] for sink in sinks)  # noqa: E731
        wait_until(lambda: sent() >= messages // 5 or not process.running(), 300, "the first fifth", every=0.02)
        begin, first = time.monotonic(), sent()
        wait_until(lambda: sent() >= messages - messages // 20 or not process.running(), 600, "the last twentieth", every=0.02)
        last, taken = time.monotonic() - begin, sent()
        process.wait(300)
        states = Counter(fleet.recipients("bench").values())
        if states != {"Accepted": messages}:
            raise SystemExit(f"{case}: the ledger has {dict(states)} instead of {messages} Accepted")
        return (taken - first) / last, process.cpu_seconds() / messages * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three rows of a second, to see that it runs")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a row misses the target")
    parser.add_argument("--only", help="only rows whose server offers this: neither, PIPELINING, both")
    options = parser.parse_args()
    program, place = fleets.binary(), folder("line")
    cases = [
        Case(offers, connections, servers, trip)
        for trip in (0.08, 0.02)
        for offers, pools in {
            "neither": [(100, 1), (10, 1), (50, 4), (10, 10)],
            "PIPELINING": [(50, 1), (10, 1), (25, 4), (10, 10)],
            "both": [(10, 1)],
        }.items()
        for connections, servers in pools
    ]
    cases += [Case("neither", 10, 10, 0.02, slow=0.08), Case("PIPELINING", 10, 10, 0.02, slow=0.08)]
    cases += [Case(offers, None, 1, 0.08) for offers in ("neither", "PIPELINING", "both")]
    if options.only:
        cases = [case for case in cases if case.offers == options.only]
    if options.quick:
        cases = [Case("neither", 10, 1, 0.02), Case("PIPELINING", 10, 2, 0.02), Case("PIPELINING", None, 1, 0.02)]
    rows, missed = [], False
    for case in cases:
        # A number of connections that adapts is measured once it has.
        rate, cpu = measure(place, program, case, (1 if options.quick else SECONDS) * (1 if case.connections else 3))
        possible = case.possible()
        share = rate / possible if possible else None
        missed |= share is not None and share < SHARE_MIN
        pool = f"{case.connections or 'adapts'} x {case.servers}"
        trip = f"{case.round_trip * 1000:.0f} ms" + (f" and {case.slow * 1000:.0f} ms" if case.slow else "")
        print(f"{trip}, {case.offers}, {pool}: {rate:,.1f}/s", file=sys.stderr, flush=True)
        rows.append([trip, case.offers, pool, f"{possible:,.0f}" if possible else "-", f"{rate:,.0f}", f"{share:.2f}" if share else "-", f"{cpu:.3f}"])
    print(f"{program.parent.name} build\n")
    print(table(["round trip", "the server offers", "connections x servers", "possible", "measured", "share", "CPU s per 1,000"], rows))
    if options.strict and missed:
        sys.exit(1)


if __name__ == "__main__":
    main()

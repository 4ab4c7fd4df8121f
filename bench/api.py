#!/usr/bin/env python3
"""A vendor's API over round trips of 20 and 80 ms: messages a second against what the calls could carry, and CPU seconds per 1,000.

The vendors are fakes of Postmark's API that answer after that time. Each runs in its own process, and its CPU is not counted. Messages
are counted there, between the first fifth and the last twentieth. A call carries one message or a batch; what is possible is printed
for one message a call: so many concurrent calls, each as long as the round trip. Medians of at least three rounds, with the cases in
turn within each round. `--quick` is a short run whose figures mean nothing; `--strict` exits with 1 when 80 ms miss the target.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from parts import fleet as fleets  # noqa: E402
from parts.process import Process, answers, folder, free_port, wait_until  # noqa: E402
from parts.report import require, table  # noqa: E402

# The target at 80 ms. At 20 ms the commit before each message and the fake's own work weigh more.
SHARE_MIN = 0.9
# Digits in the file where a vendor keeps its count.
DIGITS = 12


@dataclass(frozen=True)
class Case:
    """So many vendors, each with so many concurrent calls of so many messages."""

    latency: float
    batch: int
    calls: int
    vendors: int = 1

    def possible(self) -> float:
        return self.vendors * self.calls / self.latency


CASES = [
    *(Case(0.02, batch, calls) for batch, calls in ((1, 10), (1, 64), (10, 10), (100, 10), (500, 4))),
    *(Case(0.08, 1, calls, vendors) for calls, vendors in ((10, 1), (64, 1), (10, 4), (10, 10))),
]
QUICK = [Case(0.02, 1, 10), Case(0.02, 100, 10), Case(0.08, 1, 10, 2)]


async def vendor(port: int, counted: Path, latency: float):
    """The fake: it counts, waits and answers."""
    total = 0
    # Overwritten in place, so that a reader always finds a number.
    counter = open(counted, "w+b", buffering=0)  # noqa: SIM115
    counter.write(b"0" * DIGITS)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        nonlocal total
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]) if b"content-length:" in head else 0
                body = await reader.readexactly(length)
                await asyncio.sleep(latency)
                if head.startswith(b"get "):
                    value = b'{"ID":1,"Name":"Shop","DeliveryType":"Live"}'
                else:
                    many = body.count(b'"To":')
                    total += many
                    # Unique IDs: a repeated one is not taken for an answer.
                    ids = (f"0a129aee-e1cd-480d-b08d-{number:012x}" for number in range(total - many, total))
                    each = [b'{"ErrorCode":0,"Message":"OK","MessageID":"%s"}' % one.encode() for one in ids]
                    value = b"[" + b",".join(each) + b"]" if b"/batch" in head.split(b"\r\n", 1)[0] else each[0]
                    counter.seek(0)
                    counter.write(b"%0*d" % (DIGITS, total))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(value) + value)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=1 << 26)
    async with server:
        await server.serve_forever()


def measure(program, case: Case, messages: int) -> tuple[float, float]:
    """Messages a second and CPU seconds per 1,000 of one campaign."""
    home = folder(f"api-{case.batch}-{case.calls}-{case.vendors}")
    servers, counters = [], []
    with contextlib.ExitStack() as stack:
        for number in range(case.vendors):
            port, counter = free_port(), home / f"counted-{number}"
            command = [sys.executable, __file__, "--vendor", str(port), str(counter), str(case.latency)]
            stack.enter_context(Process(command, home / f"vendor-{number}.out"))
            wait_until(lambda: answers(port), 10, "the vendor")  # noqa: B023
            provider = {"postmark": {"secretRef": {"name": "key"}, "endpoint": f"http://127.0.0.1:{port}", "batchSize": case.batch}}
            servers.append(fleets.resource("SendingServer", f"vendor-{number}", {"provider": provider, "limits": {"connections": case.calls}}))
            counters.append(counter)
        fleet = fleets.Fleet(home, program)
        fleets.write_csv(fleet.config / "people.csv", messages)
        text = "Dear {{ name }},\n\n" + "this is the news. " * 100
        campaign = fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}, content={"text": text, "html": f"<p>{text}</p>"})
        plan = fleets.plan("pro", *(server["metadata"]["name"] for server in servers))
        fleet.write("all.yaml", fleets.secret("key", serverToken="a-token-0123"), *servers, plan, campaign)
        process = fleet.start("--quiet")
        taken = lambda: sum(int(counter.read_text()) for counter in counters)  # noqa: E731
        wait_until(lambda: taken() >= messages // 5 or not process.running(), 300, "the first fifth", every=0.02)
        begin, first = time.monotonic(), taken()
        wait_until(lambda: taken() >= messages - messages // 20 or not process.running(), 600, "the last twentieth", every=0.02)
        seconds, last = time.monotonic() - begin, taken()
        process.wait(300)
        require(process.code == 0, f"exit {process.code}: {process.tail()}")
        require(taken() == messages, f"the vendors took {taken()} of {messages}")
        return (last - first) / seconds, process.cpu_seconds() / messages * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of three cases, to see that it runs")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a case of 80 ms misses the target")
    parser.add_argument("--vendor", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.vendor:
        port, counted, latency = options.vendor
        return asyncio.run(vendor(int(port), Path(counted), float(latency)))
    program = fleets.binary()
    found: dict[Case, list] = {case: [] for case in (QUICK if options.quick else CASES)}
    for _ in range(1 if options.quick else 3):
        for case, rounds in found.items():
            # Some seconds each.
            messages = min(int(case.possible() * case.batch * (2 if options.quick else 6)), 60_000)
            rounds.append(measure(program, case, messages))
    rows, missed = [], False
    for case, rounds in found.items():
        rate, cpu = (statistics.median(values) for values in zip(*rounds, strict=True))
        share = rate / case.possible() if case.batch == 1 else None
        missed |= share is not None and case.latency > 0.05 and share < SHARE_MIN
        possible = f"{case.possible():,.0f}" if share else "-"
        pool = f"{case.calls} x {case.vendors}"
        rows.append([f"{case.latency * 1000:.0f} ms", case.batch, pool, possible, f"{rate:,.0f}", f"{share:.2f}" if share else "-", f"{cpu:.4f}"])
    print(f"{program.parent.name} build, ledger fsynced\n")
    print(table(["latency", "messages a call", "calls x vendors", "possible", "measured", "share", "CPU s per 1,000"], rows))
    return 1 if options.strict and missed else 0


if __name__ == "__main__":
    sys.exit(main())

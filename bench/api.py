#!/usr/bin/env python3
"""A vendor's API over a line of 20 ms: messages a second and CPU seconds per 1,000, with and without its batch call.

The vendor is a fake of Postmark's API that answers after 20 ms; it runs in a process of its own, and its CPU is not counted.
Medians of at least three rounds, the ways in turn within each round. `--quick` for a short turn without meaning.
"""

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from parts import fleet as fleets  # noqa: E402
from parts.process import Process, answers, folder, free_port, wait_until  # noqa: E402
from parts.report import require, table  # noqa: E402

LATENCY = 0.020
# Messages a call, and the calls at a time.
WAYS = [(1, 10), (1, 64), (10, 10), (100, 10), (500, 4)]


async def vendor(port: int, counted: Path):
    """The fake: it counts, waits and answers."""
    total = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        nonlocal total
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]) if b"content-length:" in head else 0
                body = await reader.readexactly(length)
                await asyncio.sleep(LATENCY)
                if head.startswith(b"get "):
                    value = b'{"ID":1,"Name":"Shop","DeliveryType":"Live"}'
                else:
                    many = body.count(b'"To":')
                    total += many
                    # An id each: one that comes twice is no vendor's word.
                    ids = (f"0a129aee-e1cd-480d-b08d-{number:012x}" for number in range(total - many, total))
                    each = [b'{"ErrorCode":0,"Message":"OK","MessageID":"%s"}' % one.encode() for one in ids]
                    value = b"[" + b",".join(each) + b"]" if b"/batch" in head.split(b"\r\n", 1)[0] else each[0]
                    counted.write_text(str(total))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(value) + value)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=1 << 26)
    async with server:
        await server.serve_forever()


def measure(program, batch: int, connections: int, recipients: int) -> tuple[float, float]:
    """Messages a second and CPU seconds per 1,000 of one campaign."""
    home, port = folder(f"api-{batch}-{connections}"), free_port()
    counted = home / "counted"
    with Process([sys.executable, __file__, "--vendor", str(port), str(counted)], home / "vendor.out"):
        wait_until(lambda: answers(port), 10, "the vendor")
        fleet = fleets.Fleet(home, program)
        provider = {"postmark": {"secretRef": {"name": "key"}, "endpoint": f"http://127.0.0.1:{port}", "batchSize": batch}}
        server = fleets.resource("SendingServer", "vendor", {"provider": provider, "limits": {"connections": connections}})
        fleets.write_csv(fleet.config / "people.csv", recipients)
        text = "Dear {{ name }},\n\n" + "this is the news. " * 100
        campaign = fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}, content={"text": text, "html": f"<p>{text}</p>"})
        fleet.write("all.yaml", fleets.secret("key", serverToken="a-token-0123"), server, fleets.plan("pro", "vendor"), campaign)
        begin = time.monotonic()
        process = fleet.start("--quiet")
        process.wait(600)
        seconds = time.monotonic() - begin
        require(process.code == 0, f"exit {process.code}: {process.tail()}")
        require(int(counted.read_text()) == recipients, f"the vendor took {counted.read_text()} of {recipients}")
        return recipients / seconds, process.cpu_seconds() / recipients * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, without meaning")
    parser.add_argument("--vendor", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.vendor:
        return asyncio.run(vendor(int(options.vendor[0]), Path(options.vendor[1])))
    program, found = fleets.binary(), {way: [] for way in WAYS}
    for _ in range(1 if options.quick else 3):
        for batch, connections in WAYS:
            # Some seconds each.
            recipients = min(connections * batch * 50 * 6, 60_000)
            found[batch, connections].append(measure(program, batch, connections, recipients // (6 if options.quick else 1)))
    rows, base = [], statistics.median(rate for rate, _ in found[WAYS[0]])
    for (batch, connections), rounds in found.items():
        rate, cpu = (statistics.median(values) for values in zip(*rounds, strict=True))
        rows.append([batch, connections, f"{rate:,.0f}", f"{rate / base:.1f}", f"{cpu:.4f}"])
    print(f"{program}, one vendor with {LATENCY * 1000:.0f} ms of latency, ledger fsynced\n")
    print(table(["messages a call", "calls at a time", "messages/s", "times the first", "CPU s per 1,000"], rows))
    return None


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What open pages of the dashboard cost a campaign: messages a second to a sink that takes everything, without and with 500 live pages.

The pages are read by a process of its own, and show the overview, the servers and the campaign that is under way. Both are measured in
turn within each round; CPU is that of the sender alone, from its start to its end. `--quick` is a short run whose figures mean nothing.
"""

import argparse
import json
import multiprocessing
import selectors
import socket
import statistics
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from parts import fleet as fleets  # noqa: E402
from parts.process import answers, folder, free_port, wait_until  # noqa: E402
from parts.report import table  # noqa: E402
from parts.sinks import Sink  # noqa: E402
from run import content, verdict  # noqa: E402

# The target: the rate with live pages, of that without.
RATE_MIN = 0.95
SHOWN = ("/", "/servers", "/campaigns", "/campaigns/default/bench")


def read_pages(port: int, pages: int, read: multiprocessing.Value, are_open: multiprocessing.Event):
    """Opens live pages and reads what they are told until they end; notes how many bytes that was."""
    selector = selectors.DefaultSelector()
    for number in range(pages):
        target = "/live?" + urlencode({"page": SHOWN[number % len(SHOWN)], "version": ""})
        line = socket.create_connection(("127.0.0.1", port), timeout=60)
        line.sendall(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        answer = line.recv(1 << 16)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"page {number}: {answer[:200]}")
        line.setblocking(False)
        selector.register(line, selectors.EVENT_READ)
    are_open.set()
    while selector.get_map():
        # What arrives meanwhile is read together, as seldom as a person would notice.
        time.sleep(0.1)
        for key, _ in selector.select(timeout=1):
            try:
                got = key.fileobj.recv(1 << 20)
            except BlockingIOError:
                continue
            except OSError:
                got = b""
            read.value += len(got)
            if not got:
                selector.unregister(key.fileobj)


def send(place: Path, program: Path, sink: Sink, messages: int, pages: int) -> tuple[float, float, int]:
    """Messages a second between the first tenth and the last twentieth, processor time of the sender for each in microseconds, and what
    the pages were told in bytes."""
    port = free_port()
    fleet = fleets.Fleet(place / f"fleet-{time.monotonic_ns()}", program)
    fleets.write_csv(fleet.config / "people.csv", messages)
    # It begins once the pages are open.
    text = content()["text"].replace("{{ city }}", "town")
    campaign = fleets.campaign("bench", "pro", {"csv": {"path": "people.csv"}}, content={"text": text})
    fleet.write("all.yaml", fleets.smtp_server("server", sink.port, limits={"messagesPerConnection": 100_000}), fleets.plan("pro", "server"))
    already = sink.count()["accepted"]
    sent = lambda: sink.count()["accepted"] - already  # noqa: E731
    with fleet.start("--quiet", f"--admin-address=127.0.0.1:{port}", once=False) as process:
        wait_until(lambda: answers(port), 60, "the admin endpoint")
        read, are_open = multiprocessing.Value("Q", 0), multiprocessing.Event()
        reader = multiprocessing.Process(target=read_pages, args=(port, pages, read, are_open), daemon=True)
        reader.start()
        if not are_open.wait(60):
            raise SystemExit("the pages were not open within a minute")
        fleet.write("campaign.yaml", campaign)
        wait_until(lambda: sent() >= messages // 10 or not process.running(), 120, "the first tenth", every=0.02)
        begin, first = time.monotonic(), sent()
        wait_until(lambda: sent() >= messages - messages // 20 or not process.running(), 600, "the last messages", every=0.02)
        rate = (sent() - first) / (time.monotonic() - begin)
        wait_until(lambda: sent() >= messages or not process.running(), 120, "the last message", every=0.02)
    reader.join(10)
    reader.kill()
    return rate, process.cpu_seconds() / messages * 1e6, read.value


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--pages", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round of 5,000 messages, to see that it runs")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when the target is missed")
    options = parser.parse_args()
    messages, rounds = (5_000, 1) if options.quick else (options.messages, options.rounds)
    program, place = fleets.binary(), folder("bench-pages")
    rows = []
    with Sink(program, place, log=False) as sink:
        for number in range(rounds):
            without, watched = (send(place, program, sink, messages, pages) for pages in (0, options.pages))
            if not watched[2]:
                raise SystemExit("the pages were told nothing")
            rows.append((without, watched))
            print(f"round {number + 1}: {json.dumps([without, watched])}", file=sys.stderr, flush=True)
    middle = lambda side, at: statistics.median(row[side][at] for row in rows)  # noqa: E731
    ratio = statistics.median(watched[0] / without[0] for without, watched in rows)
    print(f"{messages:,} messages of 5 KB, medians of {rounds}; {program.parent.name} build\n")
    print(table(
        ["live pages", "messages/s", "CPU µs a message", "told, KB"],
        [[str(pages), f"{middle(side, 0):,.0f}", f"{middle(side, 1):.1f}", f"{middle(side, 2) / 1000:,.0f}"] for side, pages in enumerate((0, options.pages))],
    ))  # fmt: skip
    held = ratio >= RATE_MIN
    print("\n" + table(["target of", "measured", "target", ""], [[f"rate with {options.pages} live pages, of that without", f"{ratio:.2f}", f">= {RATE_MIN}", verdict(held)]]))
    if options.strict and not held:
        sys.exit(1)


if __name__ == "__main__":
    main()

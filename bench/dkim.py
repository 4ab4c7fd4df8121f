#!/usr/bin/env python3
"""Signing: a whole send against the library's signatures alone, on the same cores, in turn within each round.

A campaign of messages of 5 KB, each with a body of its own, to a sink that takes everything: unsigned, and signed with RSA 2048 and with
Ed25519. Beside each, `bench/dkim_bare.rs`: aws-lc-rs hashing and signing alone on as many threads as there are cores, and our signer
without a send. Messages a second are counted at the sink between the first tenth and the last twentieth; processor time is that of the
sender alone. `--quick` is a short run whose figures mean nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from parts import fleet as fleets  # noqa: E402
from parts.process import folder, wait_until  # noqa: E402
from parts.report import table  # noqa: E402
from parts.sinks import Sink  # noqa: E402
from run import content, verdict  # noqa: E402

# The targets: signatures a second of a send, of those of the library alone; what signing adds in processor time, of the library's.
RATE_MIN, CPU_MAX = 0.8, 1.25
KEYS = {"RSA 2048": ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "Ed25519": ["-algorithm", "ed25519"]}
DOMAIN = "news.example.com"


def write(place: Path, program: Path, port: int, messages: int, pem: str | None) -> fleets.Fleet:
    """A campaign through one server, signed where there is a key."""
    fleet = fleets.Fleet(place / f"fleet-{time.monotonic_ns()}", program)
    with open(fleet.config / "people.csv", "w", encoding="utf-8") as file:
        file.write("email,name,city\n")
        file.writelines(f"{fleets.address(number)},Person {number},City {number % 977}\n" for number in range(messages))
    identity = {"dkim": [{"domain": DOMAIN, "selector": "s1", "privateKeyRef": {"name": "dkim", "key": "pem"}}]} if pem else {}
    server = fleets.smtp_server("server", port, limits={"messagesPerConnection": 100_000}, identity=identity)
    fleet.write("all.yaml", fleets.secret("dkim", pem=pem or "none"), server, fleets.plan("pro", "server"), fleets.campaign("bench", "pro", {"csv": {"path": "people.csv"}}, content=content()))
    # At the start files are read once nobody has written them for a second; that is not measured.
    time.sleep(1.1)
    return fleet


def send(fleet: fleets.Fleet, sink: Sink, messages: int) -> tuple[float, float]:
    """Messages a second, and processor time for each, microseconds."""
    already = sink.count()["accepted"]
    process = fleet.start("--quiet")
    sent = lambda: sink.count()["accepted"] - already  # noqa: E731
    wait_until(lambda: sent() >= messages // 10 or not process.running(), 120, "the first tenth", every=0.02)
    begin, first = time.monotonic(), sent()
    wait_until(lambda: sent() >= messages - messages // 20 or not process.running(), 600, "the last message", every=0.02)
    rate = (sent() - first) / (time.monotonic() - begin)
    process.wait(600)
    if process.code:
        raise SystemExit(f"mailfleet ended with {process.code}: {process.tail()}")
    return rate, process.cpu_seconds() / messages * 1e6


def bare(example: Path, pem: Path, message: Path, seconds: float) -> dict:
    """What `bench/dkim_bare.rs` says."""
    words = [example, pem, message, str(os.cpu_count()), str(seconds)]
    return json.loads(subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of 2,000 messages, to see that it runs")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args()
    messages, rounds, seconds = (2_000, 1, 0.6) if options.quick else (options.messages, options.rounds, 6)
    program, place = fleets.binary(), folder("bench-dkim")
    example = program.parent / "examples/dkim-bare"
    if not example.exists():
        raise SystemExit(f"{example} is missing; `make bench-dkim` builds it (cargo build --release --example dkim-bare)")
    keys = {}
    for name, words in KEYS.items():
        keys[name] = place / f"{name}.pem"
        keys[name].write_text(subprocess.run(["openssl", "genpkey", *words], capture_output=True, check=True, text=True).stdout)
    # The message that is hashed alone: one of the campaign's.
    preview = write(place, program, 1, 1, None)
    code, text = preview.command("preview", "bench", preview.config, "-o", "eml")
    if code:
        raise SystemExit(f"the message of the campaign: exit {code}: {text}")
    message = place / "message.eml"
    message.write_bytes(text.replace("\r\n", "\n").replace("\n", "\r\n").encode())
    found = {name: [] for name in keys}
    with Sink(program, place, log=False) as sink:
        for number in range(rounds):
            unsigned = send(write(place, program, sink.port, messages, None), sink, messages)
            for name, pem in keys.items():
                alone = bare(example, pem, message, seconds)
                signed = send(write(place, program, sink.port, messages, pem.read_text()), sink, messages)
                row = {"unsigned": unsigned, "signed": signed, **alone, "rate": signed[0] / alone["bare_per_second"], "cpu": (signed[1] - unsigned[1]) / alone["bare_us"]}
                found[name].append(row)
                print(f"round {number + 1}: {name}: {json.dumps(row)}", file=sys.stderr, flush=True)
    middle = lambda name, key: statistics.median(row[key] for row in found[name])  # noqa: E731
    pair = lambda name, key, at: statistics.median(row[key][at] for row in found[name])  # noqa: E731
    print(f"{messages:,} messages of 5 KB, {os.cpu_count()} cores, medians of {rounds}; {program.parent.name} build\n")
    print(table(
        ["key", "alone, signatures/s", "a send, messages/s", "unsigned, messages/s", "alone, CPU µs", "our signer, CPU µs", "a send, CPU µs", "unsigned, CPU µs"],
        [[name, f"{middle(name, 'bare_per_second'):,.0f}", f"{pair(name, 'signed', 0):,.0f}", f"{pair(name, 'unsigned', 0):,.0f}", f"{middle(name, 'bare_us'):.1f}",
          f"{middle(name, 'signer_us'):.1f}", f"{pair(name, 'signed', 1):.1f}", f"{pair(name, 'unsigned', 1):.1f}"] for name in found],
    ))  # fmt: skip
    judged = [["RSA 2048: rate of a send, of the library's alone", f"{middle('RSA 2048', 'rate'):.2f}", f">= {RATE_MIN}", verdict(middle("RSA 2048", "rate") >= RATE_MIN)]]
    for name in found:
        judged.append([f"{name}: CPU that signing adds to a send, of the library's alone", f"{middle(name, 'cpu'):.2f}", f"<= {CPU_MAX}", verdict(middle(name, "cpu") <= CPU_MAX)])
    print("\n" + table(["target of", "measured", "target", ""], judged))
    if options.strict and any(row[-1] == "MISSED" for row in judged):
        sys.exit(1)


if __name__ == "__main__":
    main()

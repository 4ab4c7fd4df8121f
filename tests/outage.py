#!/usr/bin/env python3
"""Takes one of two servers away half way through a campaign: killed, hung, or answering 421. Then gives it back.

Everybody must be mailed once or be named as unknown, never more unknown than was on the wire; the server must become
Inactive, and Active again without a restart. `--quick` for a short turn.
"""

import argparse
import sys
import time

from parts import fleet as fleets
from parts.judge import everyone_once
from parts.process import folder, keep_folders, wait_until
from parts.report import Breach, require, table
from parts.sinks import Sink

PROBE = {"interval": "5s", "timeout": "1s", "retryAfter": "500ms", "failureThreshold": 3}
# So slow is a sink that messages are on the wire at every moment, and the campaign outlives the outage.
DELAY, CONNECTIONS = "3ms", 3

BREAK = {"killed": Sink.kill, "hung": lambda sink: sink.say("hang"), "421": lambda sink: sink.say("421")}
MEND = {"killed": Sink.start, "hung": lambda sink: sink.say("ok"), "421": lambda sink: sink.say("ok")}


def outage(program, how: str, recipients: int) -> list:
    """One campaign with one outage: a row of the table."""
    place = folder(f"outage-{how}")
    with Sink(program, place, "sink-a", "--delay", DELAY) as healthy, Sink(program, place, "sink-b", "--delay", DELAY) as victim:
        fleet = fleets.Fleet(place, program)
        fleets.write_csv(fleet.config / "people.csv", recipients)
        spec = {"limits": {"connections": CONNECTIONS}, "probe": PROBE}
        servers = [fleets.smtp_server(name, sink.port, {"replyTimeout": "3s"}, **spec) for name, sink in (("a", healthy), ("b", victim))]
        fleet.write("fleet.yaml", *servers, fleets.plan("pro", "a", "b"), fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}))
        with fleet.start(once=False) as process:

            def watch(condition, seconds, what):
                wait_until(lambda: condition() or not process.running(), seconds, what)
                require(process.running(), f"mailfleet ended by itself ({process.code}) while waiting for {what}: {process.tail()}")

            watch(lambda: victim.count()["accepted"] + healthy.count()["accepted"] >= recipients // 2, 120, "half of the campaign")
            taken_before = victim.log_size()
            BREAK[how](victim)
            until_inactive = fleet.wait_state("SendingServer", "b", "Inactive", 60)
            reason = fleet.condition("SendingServer", "b", "Ready").get("reason")
            require(fleet.status("SendingServer", "a").get("state") == "Active", "the healthy server is not Active")
            moving = healthy.count()["accepted"]
            finished = lambda: fleet.status("Campaign", "spring").get("state") == "Completed"  # noqa: E731
            watch(lambda: healthy.count()["accepted"] > moving or finished(), 30, "the healthy server going on")
            MEND[how](victim)
            until_active = fleet.wait_state("SendingServer", "b", "Active", 60)
            watch(finished, 180, "the campaign's end")
        facts = everyone_once(fleet.recipients("spring"), [healthy, victim], recipients)
        if how == "421":
            require(facts["unknown"] == 0, f"a 421 left {facts['unknown']} unknown, though it says that nothing was taken")
        taken_after = victim.count()["accepted"] if how == "killed" else victim.log_size() - taken_before
        return [how, recipients, *facts.values(), f"{until_inactive:.1f}", reason, f"{until_active:.1f}", taken_after]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="6,000 recipients instead of 20,000")
    parser.add_argument("only", nargs="*", choices=[*BREAK, []], help="these scenarios only")
    options = parser.parse_args()
    recipients = 6_000 if options.quick else 20_000
    program = fleets.binary()
    print(f"{program}; probes {PROBE}, replyTimeout 3s", flush=True)
    rows, breaches = [], []
    begin = time.monotonic()
    for how in options.only or BREAK:
        try:
            rows.append(outage(program, how, recipients))
        except (Breach, TimeoutError, RuntimeError) as fault:
            keep_folders()
            breaches.append(f"{how}: {fault}")
    head = ["server b", "recipients", "accepted", "unknown", "doubles", "s to Inactive", "reason", "s back to Active", "taken after it returned"]
    print(table(head, rows))
    for breach in breaches:
        print(f"BREACH {breach}")
    print(f"{len(rows)} passed, {len(breaches)} failed, 0 skipped ({time.monotonic() - begin:.0f} s)")
    sys.exit(1 if breaches else 0)


if __name__ == "__main__":
    main()

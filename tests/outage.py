#!/usr/bin/env python3
"""Takes one of two servers away a third of the way through a campaign: killed, hung, or answering 421. Then gives it back.

Everybody must be mailed once or be listed as unknown, and no more may be unknown than were on the wire. The server must become
Inactive, and Active again without a restart.
"""

from parts import fleet as fleets
from parts.judge import everyone_once
from parts.process import folder, wait_until
from parts.report import Cases, require
from parts.sinks import Sink

PROBE = {"interval": "5s", "timeout": "1s", "retryAfter": "500ms", "failureThreshold": 3}
# A sink is slow enough that messages are on the wire at every moment, and that the campaign outlives the outage.
DELAY, CONNECTIONS = "3ms", 3

BREAK = {"killed": Sink.kill, "hung": lambda sink: sink.say("hang"), "421": lambda sink: sink.say("421")}
RECOVER = {"killed": Sink.start, "hung": lambda sink: sink.say("ok"), "421": lambda sink: sink.say("ok")}


def outage(program, how: str, recipients: int, rows: list):
    """One campaign with one outage."""
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
                require(process.running(), f"mailfleet ended ({process.code}) while waiting for {what}: {process.tail()}")

            watch(lambda: victim.count()["accepted"] + healthy.count()["accepted"] >= recipients // 3, 120, "a third of the campaign")
            taken_before = victim.log_size()
            BREAK[how](victim)
            until_inactive = fleet.wait_state("SendingServer", "b", "Inactive", 60)
            reason = fleet.condition("SendingServer", "b", "Ready").get("reason")
            require(fleet.status("SendingServer", "a").get("state") == "Active", "the healthy server is not Active")
            moving = healthy.count()["accepted"]
            finished = lambda: fleet.status("Campaign", "spring").get("state") == "Completed"  # noqa: E731
            watch(lambda: healthy.count()["accepted"] > moving or finished(), 30, "the healthy server to continue")
            RECOVER[how](victim)
            until_active = fleet.wait_state("SendingServer", "b", "Active", 60)
            watch(finished, 180, "the campaign's end")
        facts = everyone_once(fleet.recipients("spring"), [healthy, victim], recipients)
        if how == "421":
            require(facts["unknown"] == 0, f"a 421 left {facts['unknown']} unknown, although it means that nothing was accepted")
        taken_after = victim.count()["accepted"] if how == "killed" else victim.log_size() - taken_before
        rows.append([how, recipients, *facts.values(), f"{until_inactive:.1f}", reason, f"{until_active:.1f}", taken_after])


def main():
    cases = Cases(__doc__)
    cases.option("--quick", action="store_true", help="8,000 recipients instead of 20,000")
    recipients = 8_000 if cases.parse().quick else 20_000
    program = fleets.binary()
    rows = cases.table("server b", "recipients", "accepted", "unknown", "doubles", "s to Inactive", "reason", "s back to Active", "taken after recovery")
    for how in BREAK:
        cases.add(how, outage, program, how, recipients, rows)
    cases.end()


if __name__ == "__main__":
    main()

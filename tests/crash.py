#!/usr/bin/env python3
"""Kills Mailfleet with SIGKILL at random points of a campaign and restarts it, until the campaign is completed.

Two sinks count independently of Mailfleet, or two vendors' APIs that take several messages in a call (`--over`). With Skip nobody
may be mailed twice, and everybody who was not mailed must be named as unknown; with Resend nobody may be lost, and doubles may
not exceed what was announced. What is uncertain was on the wire at a kill, and over an API within what its calls carry.
`--quick` for a short turn.
"""

import argparse
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass

from parts import fleet as fleets
from parts.process import folder, keep_folders, wait_until
from parts.report import Breach, require, table
from parts.sinks import Sink, delayed
from parts.takers import Taker


@dataclass
class Way:
    """How messages go: so slowly that a campaign lives long enough to be killed often, with some on the wire at every moment."""

    connections: int
    # Messages that a connection carries at a time; none where that is as many as rate and round trip need.
    each: int | None
    # Of SMTP: what a message takes at the sink, how late the line is in each direction, and what the sink offers.
    delay: str = "2ms"
    line: str = ""
    options: tuple[str, ...] = ()
    # Of an API: what a call takes, seconds.
    call: float = 0.0

    def at_risk_max(self) -> int | None:
        """What a kill can make unknown at two servers."""
        return self.each and 2 * self.connections * self.each


WAYS = {
    "smtp": Way(3, None),
    "api": Way(3, 10, call=0.02),
    "smtp-line": Way(10, 2, delay="0ms", line="40ms", options=("--no-chunking",)),
    "api-line": Way(5, 10, call=0.08),
}
# Of the process that was killed: with Resend those of the ones before wait to be sent again.
OPEN_CLAIMS = "select count(*) from messages where state = 0 and epoch = (select value from meta where key = 'epoch')"
QUICK_WAYS = ("smtp", "api", "smtp-line")


def build(place, program, recipients: int, unknown: str, way: str) -> tuple[fleets.Fleet, list]:
    """Two servers of sinks or of vendors' APIs, and one campaign."""
    fleet = fleets.Fleet(place, program)
    fleets.write_csv(fleet.config / "people.csv", recipients)
    how = WAYS[way]
    limits = {"connections": how.connections}
    if not how.call:
        sinks = [Sink(program, place, f"sink-{name}", "--delay", how.delay, *how.options) for name in "ab"]
        ports = [sink.port for sink in sinks]
        if how.line:
            lines = [delayed(program, place, port, how.line) for port in ports]
            # They end with the sinks, and keep their ports over the kills of Mailfleet.
            for sink, (process, _) in zip(sinks, lines):
                sink.line = process
            ports = [port for _, port in lines]
        servers = [fleets.smtp_server(f"server-{name}", port, limits=limits) for name, port in zip("ab", ports)]
    else:
        # One with an answer for each message of a call, and one with an answer for all.
        sinks = [Taker(kind, place, how.call) for kind in ("postmark", "sendgrid")]
        specs = [{"provider": sink.spec(batchSize=how.each), "limits": limits} for sink in sinks]
        servers = [fleets.resource("SendingServer", f"server-{name}", spec) for name, spec in zip("ab", specs)]
        servers += [sink.secret() for sink in sinks]
    # The same for all: SendGrid's messages share a call where their bodies are equal.
    content = {"text": "Dear reader,\n\nthis is the news.\n"}
    campaign = fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}, whenOutcomeIsUnknown=unknown, content=content)
    fleet.write("fleet.yaml", *servers, fleets.plan("pro", "server-a", "server-b"), campaign)
    return fleet, sinks


def kill_often(fleet, sinks, points: list[int], chance: random.Random) -> tuple[list[int], list[int]]:
    """Runs the campaign to its end, killing the process when the sinks have so many messages. What they and the wire had each time."""
    at_kill, at_risk = [], []
    for point in points:
        process = fleet.start()
        # Some kills fall into the start, when nothing was sent yet by this process.
        early = time.monotonic() + (chance.uniform(0, 0.15) if chance.random() < 0.2 else 3600)
        wait_until(
            lambda: sum(sink.count()["accepted"] for sink in sinks) >= point or time.monotonic() > early or not process.running(),
            180,
            "the next kill",
            every=0.002,
        )
        if not process.running():
            raise Breach(f"mailfleet ended by itself before kill {len(at_kill) + 1} (exit {process.code}): {process.tail()}")
        process.kill()
        at_kill.append(sum(sink.log_size() for sink in sinks))
        at_risk.append(sum(count for (count,) in fleet.query(OPEN_CLAIMS)))
    code, output = fleet.run_once(seconds=300)
    require(code == 0, f"the last run ended with {code}: {output[-1500:]}")
    return at_kill, at_risk


def campaign_facts(fleet, sinks, recipients: int) -> dict:
    """What the sinks and the ledger say, and whether they agree."""
    everyone = {fleets.address(number) for number in range(recipients)}
    taken = sum((sink.taken() for sink in sinks), Counter())
    states = fleet.recipients("spring")
    counts = Counter(states.values())
    status = fleet.status("Campaign", "spring")
    require(status.get("state") == "Completed", f"the campaign is {status.get('state')}, not Completed")
    require(set(states) == everyone, f"the ledger names {len(states)} recipients of {recipients}")
    strangers = set(taken) - everyone
    require(not strangers, f"the sinks have strangers: {sorted(strangers)[:3]}")
    not_ended = {state: number for state, number in counts.items() if state not in ("Accepted", "Unknown")}
    require(not not_ended, f"recipients without a proper end: {not_ended}")
    lost = {recipient for recipient, state in states.items() if state == "Accepted" and recipient not in taken}
    require(not lost, f"{len(lost)} recipients are Accepted in the ledger, and no sink has them: {sorted(lost)[:3]}")
    require_names(fleet, sinks)
    for word in ("accepted", "unknown"):
        require(status["recipients"][word] == counts[word.capitalize()], f"status and ledger differ on {word}: {status['recipients']} {counts}")
    return {
        "taken": len(taken),
        "accepted": counts["Accepted"],
        "unknown": counts["Unknown"],
        "not mailed": recipients - len(taken),
        "doubles": sum(count - 1 for count in taken.values()),
        "resent": status["recipients"].get("resent", 0),
    }


def require_names(fleet, sinks):
    """What the ledger keeps of each accepted message is the vendor's own name for it."""
    named = {(recipient, name) for sink in sinks if isinstance(sink, Taker) for name, recipient in sink.lines()}
    if not named:
        return
    kept = fleet.query("select recipient, reply from recipients where state = 'Accepted'")
    wrong = [(recipient, reply) for recipient, reply in kept if (recipient, reply.partition(" ")[2]) not in named]
    for sink in sinks:
        counted = sink.count()
        require(counted["accepted"] >= 2 * counted["calls"], f"{sink.kind} had {counted}: hardly a call was shared, and little was tested")
    require(kept and not wrong, f"{len(wrong)} of {len(kept)} replies have not the vendor's name: {wrong[:3]}")


def random_kills(program, recipients: int, kills: int, unknown: str, way: str, chance: random.Random) -> list:
    """One campaign killed often: a row of the table."""
    place = folder(f"crash-{way}-{unknown.lower()}")
    fleet, sinks = build(place, program, recipients, unknown, way)
    try:
        points = sorted(chance.randrange(1, recipients * 95 // 100) for _ in range(kills))
        print(f"{unknown} over {way}: {kills} kills, when the sinks have {points}", flush=True)
        begin = time.monotonic()
        at_kill, at_risk = kill_often(fleet, sinks, points, chance)
        facts = campaign_facts(fleet, sinks, recipients)
        if unknown == "Skip":
            require(facts["doubles"] == 0, f"{facts['doubles']} recipients were mailed twice")
            require(facts["accepted"] + facts["unknown"] == recipients, f"accepted and unknown do not cover everyone: {facts}")
        else:
            require(facts["not mailed"] == 0, f"{facts['not mailed']} recipients were lost")
            require(facts["doubles"] <= facts["resent"], f"{facts['doubles']} doubles, but status announces {facts['resent']}")
        # With CHUNKING it is what rate and round trip need, and so the machine's to say.
        most = WAYS[way].at_risk_max()
        require(not most or max(at_risk) <= most, f"{max(at_risk)} messages were on the wire at a kill, and {most} can be")
        uncertain = facts["unknown"] + facts["resent"]
        require(uncertain <= sum(at_risk), f"{uncertain} outcomes are unknown, and the kills had {at_risk} messages on the wire")
        in_progress = sum(0 < count < recipients for count in at_kill)
        return [f"{unknown}, {way}", recipients, kills, in_progress, *facts.values(), max(at_risk), f"{time.monotonic() - begin:.1f}"]
    finally:
        for sink in sinks:
            sink.stop()


def gentle_end(program, recipients: int, way: str, chance: random.Random) -> list:
    """SIGTERM several times: what is on the wire ends, and nothing is unknown. A row of the table."""
    place = folder(f"crash-{way}-sigterm")
    fleet, sinks = build(place, program, recipients, "Skip", way)
    begin = time.monotonic()
    try:
        points = sorted(chance.randrange(1, recipients * 9 // 10) for _ in range(3))
        longest = 0.0
        for point in points:
            process = fleet.start()
            wait_until(lambda: sum(sink.count()["accepted"] for sink in sinks) >= point or not process.running(), 120, "the SIGTERM", every=0.002)
            require(process.running(), f"mailfleet ended before the SIGTERM (exit {process.code}): {process.tail()}")
            process.signal(signal.SIGTERM)
            at = time.monotonic()
            require(process.wait(30) >= 0, f"SIGTERM killed it ({process.code}) instead of ending it")
            longest = max(longest, time.monotonic() - at)
            open_ends = Counter(state for state in fleet.recipients("spring").values() if state not in ("Accepted",))
            require(not open_ends, f"after SIGTERM the ledger has {dict(open_ends)}")
        code, output = fleet.run_once(seconds=300)
        require(code == 0, f"the last run ended with {code}: {output[-1500:]}")
        facts = campaign_facts(fleet, sinks, recipients)
        require(facts["unknown"] == 0 and facts["doubles"] == 0 and facts["not mailed"] == 0, f"SIGTERM left a trace: {facts}")
        print(f"SIGTERM over {way}: the longest end took {longest:.2f} s", flush=True)
        return [f"SIGTERM, {way}", recipients, len(points), len(points), *facts.values(), 0, f"{time.monotonic() - begin:.1f}"]
    finally:
        for sink in sinks:
            sink.stop()


def status_writes(program, kills: int, servers: int, chance: random.Random) -> str:
    """Kills the process group while status files are written: each must be whole afterwards."""
    place = folder("crash-status")
    fleet = fleets.Fleet(place, program)
    with Sink(program, place, log=False) as sink:

        def write(enabled: bool):
            names = [f"server-{number}" for number in range(servers)]
            fleet.write("fleet.yaml", *(fleets.smtp_server(name, sink.port, enabled=enabled) for name in names), fleets.plan("pro", *names))

        enabled, changed, files = True, 0, 0
        for turn in range(kills):
            before = {path: path.stat().st_mtime_ns for path in fleet.state.glob("status/*/*/*.yaml")}
            enabled = not enabled
            write(enabled)
            # A file is used when it has not been written for a second: every status changes soon after the start.
            time.sleep(1.1)
            process = fleet.start(group=True, once=False)
            time.sleep(3 if turn + 1 == kills else chance.uniform(0.05, 0.6))
            require(process.running(), f"mailfleet run ended by itself: {process.tail()}")
            process.kill(group=True)
            broken = fleet.broken_status_files()
            require(not broken, f"after kill {turn + 1}: {broken[:3]}")
            now = {path: path.stat().st_mtime_ns for path in fleet.state.glob("status/*/*/*.yaml")}
            changed += sum(before.get(path) != stamp for path, stamp in now.items())
            files = len(now)
        require(files == servers + 1, f"{files} status files for {servers + 1} objects")
        require(changed >= kills, f"only {changed} status files were written in {kills} turns: nothing was tested")
    return f"status files: {kills} kills of the group in mid-write, {files} files each time whole ({changed} seen rewritten)"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="5 kills of 4,000 recipients instead of 25 of 20,000")
    parser.add_argument("--over", choices=tuple(WAYS), action="append", help="only over this: SMTP, vendors' APIs, each also over a line of 80 ms")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="repeats the random points of a turn")
    options = parser.parse_args()
    recipients, kills = (4_000, 5) if options.quick else (20_000, 25)
    program, chance = fleets.binary(), random.Random(options.seed)
    print(f"seed {options.seed}, {program}", flush=True)
    rows, breaches = [], []
    cases = {}
    for way in options.over or (QUICK_WAYS if options.quick else WAYS):
        for unknown in ("Skip", "Resend"):
            cases[f"{unknown} over {way}"] = lambda unknown=unknown, way=way: rows.append(random_kills(program, recipients, kills, unknown, way, chance))
        cases[f"SIGTERM over {way}"] = lambda way=way: rows.append(gentle_end(program, recipients, way, chance))
    cases["status"] = lambda: print(status_writes(program, kills, 10 if options.quick else 40, chance), flush=True)
    for name, case in cases.items():
        try:
            case()
        except (Breach, TimeoutError, RuntimeError) as fault:
            keep_folders()
            breaches.append(f"{name}: {fault}")
    head = ["case", "recipients", "kills", "in mid-campaign", "in the sinks", "accepted", "unknown", "not mailed", "doubles", "resent", "at risk, most", "s"]
    print(table(head, rows))
    for breach in breaches:
        print(f"BREACH {breach}")
    print(f"{len(cases) - len(breaches)} passed, {len(breaches)} failed, 0 skipped")
    sys.exit(1 if breaches else 0)


if __name__ == "__main__":
    main()

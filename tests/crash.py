#!/usr/bin/env python3
"""Kills Mailfleet with SIGKILL at random points of a campaign and restarts it, until the campaign is completed.

Two sinks count independently of Mailfleet, or two vendors' APIs that take several messages in a call (`--over`). With Skip, nobody
may be mailed twice, and everybody who was not mailed must be listed as unknown. With Resend, nobody may be lost, and no more may be
mailed twice than status announces. What is uncertain was on the wire at a kill; over an API it is within what its calls carry.
"""

import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from dataclasses import dataclass

from parts import fleet as fleets
from parts import ledgerfile
from parts.process import folder, wait_until
from parts.report import Cases, require
from parts.returns import Returns
from parts.scripted import Scripted
from parts.sinks import Sink, delayed
from parts.takers import Taker


@dataclass
class Way:
    """How messages are sent: slowly enough that a campaign can be killed often, with some messages on the wire at every moment."""

    connections: int
    # Messages that a connection carries at a time; None where rate and round trip decide.
    each: int | None
    # SMTP: the sink's delay for each message, the line's delay in each direction, and the sink's options.
    delay: str = "2ms"
    line: str = ""
    options: tuple[str, ...] = ()
    # An API: how long a call takes, seconds.
    call: float = 0.0
    # Whether the people come from a database, and each message carries files.
    is_rich: bool = False

    def at_risk_max(self) -> int | None:
        """How many messages a kill can make unknown at two servers."""
        return self.each and 2 * self.connections * self.each


WAYS = {
    "smtp": Way(3, None),
    "api": Way(3, 10, call=0.02),
    "smtp-line": Way(10, 2, delay="0ms", line="40ms", options=("--no-chunking",)),
    "api-line": Way(5, 10, call=0.08),
    "sql-attachments": Way(3, None, is_rich=True),
}
QUICK_WAYS = ("smtp", "api", "smtp-line", "sql-attachments")
# The points of a quick run are the same each time, so that a failure is one of the program.
QUICK_SEED = 20261130


def rich(fleet: fleets.Fleet, recipients: int) -> tuple[dict, dict]:
    """An audience in a database, and a content with a file for everybody."""
    with sqlite3.connect(fleet.config / "people.db") as database:
        database.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT)")
        database.executemany("INSERT INTO people (email, name) VALUES (?, ?)", ((fleets.address(number), f"Person {number}") for number in range(recipients)))
    database.close()
    (fleet.config / "terms.pdf").write_bytes(random.Random(1).randbytes(60_000))
    content = {"text": "Dear {{ name }},\n\nthe terms are attached.\n", "attachments": [{"path": "terms.pdf", "filename": "Terms for {{ name }}.pdf"}]}
    return {"sql": {"path": "people.db", "query": "SELECT email, name FROM people"}}, content


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
            # They end with the sinks, and keep their ports while Mailfleet is killed.
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
    audience = {"csv": {"path": "people.csv"}}
    if how.is_rich:
        audience, content = rich(fleet, recipients)
    campaign = fleets.campaign("spring", "pro", audience, whenOutcomeIsUnknown=unknown, content=content)
    fleet.write("fleet.yaml", *servers, fleets.plan("pro", "server-a", "server-b"), campaign)
    return fleet, sinks


def kill_points(recipients: int, kills: int, chance: random.Random) -> list[int]:
    """What the sinks have at each kill. With Skip every kill leaves some people out, so that the sinks never have everybody; and what is
    left after the last point takes longer than a look at the sinks on a busy machine."""
    return sorted(chance.randrange(1, recipients * 80 // 100) for _ in range(kills))


def kill_often(fleet, sinks, points: list[int], chance: random.Random, once: bool = True) -> tuple[list[int], list[int]]:
    """Runs the campaign to its end, killing the process at these counts of the sinks; returns what the sinks and the wire had at each kill."""
    at_kill, at_risk = [], []
    for point in points:
        process = fleet.start(once=once)
        # Some kills come during the start, before this process has sent anything.
        early = time.monotonic() + (chance.uniform(0, 0.15) if chance.random() < 0.2 else 3600)
        wait_until(
            lambda: sum(sink.count()["accepted"] for sink in sinks) >= point or time.monotonic() > early or not process.running(),
            180,
            "the next kill",
            every=0.002,
        )
        require(process.running(), f"mailfleet ended before kill {len(at_kill) + 1} (exit {process.code}): {process.tail() if process.code is not None else ''}")
        process.kill()
        at_kill.append(sum(sink.log_size() for sink in sinks))
        at_risk.append(ledgerfile.open_claims(fleet.state))
    if once:
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
    require(set(states) == everyone, f"the ledger has {len(states)} recipients of {recipients}")
    outsiders = set(taken) - everyone
    require(not outsiders, f"the sinks have recipients that are not in the audience: {sorted(outsiders)[:3]}")
    not_ended = {state: number for state, number in counts.items() if state not in ("Accepted", "Unknown")}
    require(not not_ended, f"recipients without a final outcome: {not_ended}")
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
    """The ledger keeps the vendor's ID of each accepted message."""
    named = {(recipient, name) for sink in sinks if isinstance(sink, Taker) for name, recipient in sink.lines()}
    if not named:
        return
    kept = [(row.email, row.reply) for row in fleet.rows("spring") if row.state == "Accepted"]
    wrong = [(recipient, reply) for recipient, reply in kept if (recipient, reply.partition(" ")[2]) not in named]
    for sink in sinks:
        counted = sink.count()
        require(counted["accepted"] >= 2 * counted["calls"], f"{sink.kind} had {counted}: hardly a call carried several messages, and little was tested")
    require(kept and not wrong, f"{len(wrong)} of {len(kept)} replies lack the vendor's ID: {wrong[:3]}")


def random_kills(program, recipients: int, kills: int, unknown: str, way: str, chance: random.Random, rows: list) -> str:
    """One campaign killed often."""
    place = folder(f"crash-{way}-{unknown.lower()}")
    fleet, sinks = build(place, program, recipients, unknown, way)
    try:
        points = kill_points(recipients, kills, chance)
        begin = time.monotonic()
        at_kill, at_risk = kill_often(fleet, sinks, points, chance)
        facts = campaign_facts(fleet, sinks, recipients)
        if unknown == "Skip":
            require(facts["doubles"] == 0, f"{facts['doubles']} recipients were mailed twice")
            require(facts["accepted"] + facts["unknown"] == recipients, f"accepted and unknown do not cover everyone: {facts}")
        else:
            require(facts["not mailed"] == 0, f"{facts['not mailed']} recipients were lost")
            require(facts["doubles"] <= facts["resent"], f"{facts['doubles']} mailed twice, but status announces {facts['resent']}")
        # With CHUNKING rate and round trip decide, and so the machine.
        most = WAYS[way].at_risk_max()
        require(not most or max(at_risk) <= most, f"{max(at_risk)} messages were on the wire at a kill, more than {most}")
        uncertain = facts["unknown"] + facts["resent"]
        require(uncertain <= sum(at_risk), f"{uncertain} outcomes are unknown, and the kills had {at_risk} messages on the wire")
        in_progress = sum(0 < count < recipients for count in at_kill)
        rows.append([f"{unknown}, {way}", recipients, kills, in_progress, *facts.values(), max(at_risk), f"{time.monotonic() - begin:.1f}"])
        return f"killed when the sinks had {points}"
    finally:
        for sink in sinks:
            sink.stop()


class Relay(Scripted):
    """A scripted server that is counted as a sink is, and keeps its mails."""

    def __init__(self, delay_seconds: float):
        super().__init__(lambda stage, session: time.sleep(delay_seconds) if stage == "content" else None)
        self.mails = []

    def count(self) -> dict:
        return {"accepted": len(self.mails)}

    def log_size(self) -> int:
        return len(self.mails)


def with_what_comes_back(program, recipients: int, kills: int, unknown: str, chance: random.Random, rows: list) -> str:
    """Messages that are signed and have a return path and a link each, a tenth of the people on the suppression list, and people who
    leave or bounce meanwhile: nobody is lost or mailed twice, and every event that was taken is recorded once."""
    place, begin = folder(f"crash-returns-{unknown.lower()}"), time.monotonic()
    fleet, relays = fleets.Fleet(place, program), [Relay(0.002), Relay(0.002)]
    returns = Returns(relays)
    fleet.options = returns.options()
    try:
        fleets.write_csv(fleet.config / "people.csv", recipients)
        pem = subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], capture_output=True, check=True, text=True).stdout
        key = {"domain": "news.example.com", "selector": "s1", "privateKeyRef": {"name": "dkim", "key": "pem"}}
        about = {"identity": {"dkim": [key], "returnPath": "bounces.example.com"}, "feedback": {"bounces": "Listener"}, "limits": {"connections": 3}}
        servers = [fleets.smtp_server(f"server-{name}", relay.port, **about) for name, relay in zip("ab", relays)]
        fleet.write("fleet.yaml", fleets.secret("dkim", pem=pem), *servers, fleets.plan("pro", "server-a", "server-b"))
        # The first start makes the ledger, and with it the list.
        with fleet.start(once=False):
            fleet.wait_state("SendingServer", "server-b", "Active", 30)
        kept = {fleets.address(number) for number in range(0, recipients, 10)}
        (place / "kept.csv").write_text("email\n" + "".join(f"{who}\n" for who in sorted(kept)))
        code, output = fleet.command("suppressions", "import", place / "kept.csv", "--state", fleet.state)
        require(code == 0, output)
        spec = {"unsubscribe": {"oneClick": {}}, "stopWhen": {"bouncePercent": "100"}, "whenOutcomeIsUnknown": unknown}
        fleet.write("campaign.yaml", fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}, **spec))
        time.sleep(1.1)
        points = kill_points(recipients, kills, chance)
        at_kill, at_risk = kill_often(fleet, relays, points, chance, once=False)
        # It goes on until all is sent and told, and is killed as well.
        with fleet.start(once=False):
            fleet.wait_state("Campaign", "spring", "Completed", 300)
            wait_until(lambda: len(returns.taken) + len(returns.refused) >= returns.wanted(), 120, "all that comes back")
        returns.stop()
        taken = sum((relay.taken for relay in relays), Counter())
        counts, status = Counter(fleet.recipients("spring").values()), fleet.status("Campaign", "spring")["recipients"]
        doubles, resent = sum(count - 1 for count in taken.values()), status.get("resent", 0)
        require(not returns.refused and returns.unsigned == 0, f"{returns.refused[:3]}; {returns.unsigned} without a signature")
        require(not kept & set(taken) and counts["Suppressed"] == len(kept), f"{counts}; {len(kept & set(taken))} of the list were mailed")
        require(set(counts) <= {"Accepted", "Unknown", "Suppressed"} and counts.total() == recipients, f"{counts}")
        mailed, not_mailed = len(taken), recipients - len(kept) - len(taken)
        if unknown == "Skip":
            require(doubles == 0 and not_mailed <= counts["Unknown"], f"{doubles} mailed twice, {not_mailed} not mailed, {counts}")
        else:
            require(not_mailed == 0 and doubles <= resent, f"{not_mailed} were lost; {doubles} mailed twice, and {resent} announced")
        recorded = Counter(ledgerfile.feedback_events(fleet.state))
        listed = {row["email"] for row in fleet.suppressed()}
        # An unsubscription names the person alone, and stands in the list.
        bounced = {who for who, kind in returns.taken.items() if kind == "HardBounce"}
        require({who for who, kind in recorded if kind == "HardBounce"} == bounced, f"{len(recorded)} are recorded of {len(bounced)}")
        require(max(recorded.values(), default=0) == 1, "an event is recorded twice")
        require(listed == kept | set(returns.taken), f"{len(listed)} are on the list, not {len(kept)} and {len(returns.taken)}")
        in_progress = sum(0 < count < recipients for count in at_kill)
        facts = [mailed, counts["Accepted"], counts["Unknown"], not_mailed, doubles, resent]
        rows.append([f"{unknown}, with returns", recipients, kills, in_progress, *facts, max(at_risk), f"{time.monotonic() - begin:.1f}"])
        return f"{len(kept)} on the list, none mailed; {len(bounced)} bounced, {len(returns.taken) - len(bounced)} left, each recorded once"
    finally:
        returns.stop()
        for relay in relays:
            relay.close()


def gentle_end(program, recipients: int, way: str, chance: random.Random, rows: list) -> str:
    """SIGTERM several times: messages on the wire get their outcome, and nothing is unknown."""
    place = folder(f"crash-{way}-sigterm")
    fleet, sinks = build(place, program, recipients, "Skip", way)
    begin = time.monotonic()
    try:
        points = kill_points(recipients, 3, chance)
        longest = 0.0
        for point in points:
            process = fleet.start()
            wait_until(lambda: sum(sink.count()["accepted"] for sink in sinks) >= point or not process.running(), 120, "the SIGTERM", every=0.002)
            require(process.running(), f"mailfleet ended before the SIGTERM (exit {process.code}): {process.tail()}")
            process.signal(signal.SIGTERM)
            at = time.monotonic()
            require(process.wait(30) >= 0, f"SIGTERM killed it ({process.code}) instead of shutting it down")
            longest = max(longest, time.monotonic() - at)
            open_ends = Counter(state for state in fleet.recipients_so_far("spring").values() if state != "Accepted")
            require(not open_ends, f"after SIGTERM the ledger has {dict(open_ends)}")
        code, output = fleet.run_once(seconds=300)
        require(code == 0, f"the last run ended with {code}: {output[-1500:]}")
        facts = campaign_facts(fleet, sinks, recipients)
        require(facts["unknown"] == 0 and facts["doubles"] == 0 and facts["not mailed"] == 0, f"SIGTERM left a trace: {facts}")
        rows.append([f"SIGTERM, {way}", recipients, len(points), len(points), *facts.values(), 0, f"{time.monotonic() - begin:.1f}"])
        return f"the slowest shutdown took {longest:.2f} s"
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
            # A file is read once nobody has written it for a second: every status changes soon after the start.
            time.sleep(1.1)
            process = fleet.start(group=True, once=False)
            time.sleep(chance.uniform(0.05, 0.6))
            if turn + 1 == kills:
                wait_until(lambda: len(list(fleet.state.glob("status/*/*/*.yaml"))) == servers + 1, 60, "a status of each object")
            require(process.running(), f"mailfleet run ended: {process.tail()}")
            process.kill(group=True)
            broken = fleet.broken_status_files()
            require(not broken, f"after kill {turn + 1}: {broken[:3]}")
            now = {path: path.stat().st_mtime_ns for path in fleet.state.glob("status/*/*/*.yaml")}
            changed += sum(before.get(path) != stamp for path, stamp in now.items())
            files = len(now)
        require(files == servers + 1, f"{files} status files for {servers + 1} objects")
        require(changed >= kills, f"only {changed} status files were written in {kills} turns: nothing was tested")
    return f"{kills} kills of the group during writes, {files} files whole each time ({changed} rewritten)"


def main():
    cases = Cases(__doc__)
    cases.option("--quick", action="store_true", help="5 kills of 4,000 recipients instead of 25 of 20,000")
    cases.option("--over", choices=tuple(WAYS), action="append", help="only over this: SMTP or vendors' APIs, each also with a round trip of 80 ms; or with a database and attachments")
    cases.option("--seed", type=int, help=f"repeats the random points of a run, also of a single case; {QUICK_SEED} with --quick, and another each time without")
    options = cases.parse()
    if options.seed is None:
        options.seed = QUICK_SEED if options.quick else random.randrange(1 << 32)
    recipients, kills = (4_000, 5) if options.quick else (20_000, 25)
    program = fleets.binary()
    rows = cases.table("case", "recipients", "kills", "in mid-campaign", "in the sinks", "accepted", "unknown", "not mailed", "doubles", "resent", "at risk, most", "s")

    def chance(name: str) -> random.Random:
        return random.Random(f"{options.seed} {name}")

    for way in options.over or (QUICK_WAYS if options.quick else WAYS):
        for unknown in ("Skip", "Resend"):
            name = f"{unknown} over {way}"
            cases.add(name, random_kills, program, recipients, kills, unknown, way, chance(name), rows)
        name = f"SIGTERM over {way}"
        cases.add(name, gentle_end, program, recipients, way, chance(name), rows)
    if not options.over:
        for unknown in ("Skip", "Resend"):
            name = f"{unknown} with what comes back"
            cases.add(name, with_what_comes_back, program, recipients // 2, kills, unknown, chance(name), rows)
    cases.add("status files", status_writes, program, kills, 10 if options.quick else 40, chance("status files"))
    if not options.list:
        print(f"seed {options.seed}, {program}", flush=True)
    cases.end()


if __name__ == "__main__":
    main()

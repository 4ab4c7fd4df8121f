#!/usr/bin/env python3
"""A ledger in PostgreSQL: its rules, and what becomes of a campaign when Mailfleet is killed or stopped, its database crashes, or the line
to it is cut.

Two sinks count independently of Mailfleet. Nobody may be mailed twice; everybody who was not mailed is listed as unknown, and was on the
wire when a process was killed or stopped. A database that is away makes nobody unknown.
"""

import os
import random
import signal
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from parts import databases
from parts import fleet as fleets
from parts.cache import ROOT
from parts.certificates import Authority
from parts.databases import DATABASE, PASSWORD, QUOTED, Line, Postgres, Standby
from parts.judge import IN_FLIGHT_MAX, answered_by, everyone_once, nobody_twice
from parts.process import Process, folder, wait_until
from parts.report import Cases, Shared, require
from parts.sinks import Sink

# The points of the kills are the same each time, so that a failure is one of the program.
SEED = 20261130
SECONDS = 180
# The sinks are slow enough that messages are on the wire at every moment.
DELAY, CONNECTIONS = "2ms", 3
# Longer than a process may be unheard of before another one takes over.
STOPPED_SECONDS = 12


def url(database: Postgres, schema: str, port: int = 0) -> str:
    """The URL of a schema, as its owner."""
    return f"postgres://owner:{QUOTED}@127.0.0.1:{port or database.port}/{DATABASE}?schema={schema}"


class Sending:
    """A campaign over two sinks, and its ledger in a schema of its own."""

    def __init__(self, program: Path, database: Postgres, name: str, recipients: int, stack: ExitStack, port: int = 0):
        place = folder(f"postgres-{name}")
        where = ("--ledger", url(database, name, port))
        self.sinks = [stack.enter_context(Sink(program, place, sink, "--delay", DELAY)) for sink in ("a", "b")]
        self.fleet = fleets.Fleet(place, program, *where)
        self.fleet.where = ("--ledger", url(database, name))
        servers = [fleets.smtp_server(f"s{number}", sink.port, limits={"connections": CONNECTIONS}) for number, sink in enumerate(self.sinks)]
        self.fleet.write("all.yaml", *servers, fleets.plan("pro", "s0", "s1"), fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}))
        fleets.write_csv(self.fleet.config / "people.csv", recipients)
        self.recipients = recipients

    def accepted(self) -> int:
        return sum(sink.count()["accepted"] for sink in self.sinks)

    def until(self, messages: int, process):
        """Waits until so many messages were accepted."""
        wait_until(lambda: self.accepted() >= messages or not process.running(), SECONDS, f"{messages} messages", every=0.01)
        require(process.running(), f"it ended early with {process.code}: {process.tail()}")

    def judged(self, unknown_max: int) -> str:
        """Everybody once; returns figures."""
        states = self.fleet.recipients("spring")
        if unknown_max > IN_FLIGHT_MAX:
            nobody_twice(states, self.sinks)
            everyone = {fleets.address(number) for number in range(self.recipients)}
            missing = [who for who in everyone - answered_by(self.sinks) if states.get(who) != "Unknown"]
            require(set(states) == everyone and not missing, f"{len(missing)} were lost: {missing[:3]}")
        else:
            everyone_once(states, self.sinks, self.recipients)
        unknown = sum(state == "Unknown" for state in states.values())
        require(unknown <= unknown_max, f"{unknown} unknown, {unknown_max} at most")
        return f"{self.recipients - unknown} accepted once, {unknown} unknown"


def rules_hold_there(database: Postgres) -> str:
    """The tests of the ledger's rules, which run on SQLite in `cargo test`, on PostgreSQL."""
    skipped = ("ledger::tests::folder::", "ledger::tests::migrations::")
    words = ["scripts/linted", "test", "--locked", "--lib", "ledger::tests::", "--", "--include-ignored", "--test-threads", "4"]
    for name in skipped:
        words += ["--skip", name]
    there = f"postgres://owner:{QUOTED}@127.0.0.1:{database.port}/{DATABASE}"
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=1200, env={**os.environ, "MAILFLEET_TEST_POSTGRES": there})
    require(done.returncode == 0, f"exit {done.returncode}: {done.stdout[-3000:]}{done.stderr[-500:]}")
    result = next(line for line in done.stdout.splitlines() if line.startswith("test result"))
    passed = int(result.split("ok. ")[1].split(" ")[0])
    require(passed > 40, result)
    return f"{passed} tests"


def killed_again_and_again(program, database: Postgres, recipients: int, kills: int) -> str:
    """kill -9 at random points. The next process of the same machine knows that the last one is gone, and does not wait."""
    chance = random.Random(SEED)
    with ExitStack() as stack:
        campaign = Sending(program, database, "killed", recipients, stack)
        waited = 0.0
        for kill in range(kills):
            begin = time.monotonic()
            with campaign.fleet.start() as process:
                before = campaign.accepted()
                wait_until(lambda: campaign.accepted() > before or not process.running(), SECONDS, "the first message", every=0.01)
                waited = max(waited, time.monotonic() - begin)
                left = (recipients - before) // (kills + 1 - kill)
                campaign.until(before + chance.randrange(left // 2, left), process)
                process.kill()
        code, output = campaign.fleet.run_once(seconds=SECONDS)
        require(code == 0, f"exit {code}: {output[-1500:]}")
        # A lease lasts 10 seconds.
        require(waited < 8, f"the first message came {waited:.1f} s after a start")
        figures = campaign.judged(kills * IN_FLIGHT_MAX)
    return f"{kills} kills: {figures}; the first message {waited:.1f} s after a start at most"


def the_database_crashes(program, database: Postgres, recipients: int) -> str:
    """Twice in the middle of a campaign. Status says so, nothing more is sent, and it goes on when the database is back."""
    with ExitStack() as stack:
        campaign = Sending(program, database, "crashed", recipients, stack)
        said = set()
        with campaign.fleet.start() as process:
            for part in (3, 3):
                campaign.until(campaign.accepted() + recipients // (part + 1), process)
                database.crash()
                try:
                    time.sleep(1)
                    before = campaign.accepted()
                    for _ in range(40):
                        said.add(campaign.fleet.condition("Campaign", "spring", "Ready").get("reason"))
                        time.sleep(0.1)
                    require(campaign.accepted() == before, f"{campaign.accepted() - before} messages were sent without a ledger")
                    require(process.running(), f"it ended with {process.code}: {process.tail()}")
                finally:
                    database.start()
            process.wait(SECONDS)
        require(process.code == 0, f"exit {process.code}: {process.text()[-1500:]}")
        require("LedgerUnavailable" in said, f"status said {said}")
        figures = campaign.judged(0)
    return f"2 crashes: {figures}"


def the_line_is_cut(program, database: Postgres, recipients: int) -> str:
    """After some answers, again and again, wherever a commit is."""
    with ExitStack() as stack:
        line = stack.enter_context(Line(database.port, 12_000))
        campaign = Sending(program, database, "cut", recipients, stack, line.port)
        code, output = campaign.fleet.run_once(seconds=SECONDS)
        require(code == 0, f"exit {code}: {output[-1500:]}")
        require(line.was_cut >= 5, f"cut {line.was_cut} times")
        figures = campaign.judged(0)
    return f"{line.was_cut} cuts: {figures}"


def stopped_beyond_its_lease(program, database: Postgres, recipients: int) -> str:
    """A process stops for longer than its lease; another one with the same folder of YAML takes over, and the first one wakes."""
    with ExitStack() as stack:
        campaign = Sending(program, database, "stopped", recipients, stack)
        first = stack.enter_context(campaign.fleet.start())
        campaign.until(recipients // 4, first)
        first.signal(signal.SIGSTOP)
        # A process of this machine is known to be there, so nothing but its lease tells that it does nothing.
        campaign.fleet.state = campaign.fleet.folder / "state-of-the-second"
        begin = time.monotonic()
        second = stack.enter_context(campaign.fleet.start())
        before = campaign.accepted()
        wait_until(lambda: campaign.accepted() > before + IN_FLIGHT_MAX or not second.running(), SECONDS, "the takeover", every=0.02)
        took = time.monotonic() - begin
        first.signal(signal.SIGCONT)
        second.wait(SECONDS)
        first.wait(SECONDS)
        require(second.code == 0, f"the second: exit {second.code}: {second.text()[-1500:]}")
        require(first.code == 3, f"the first: exit {first.code}: {first.text()[-1500:]}")
        figures = campaign.judged(IN_FLIGHT_MAX)
    return f"{figures}; taken over after {took:.1f} s"


def the_primary_fails_over(program, recipients: int) -> str:
    """Over TLS: the primary crashes for good in the middle of a campaign, and a standby that had all of its commits takes its place."""
    place = folder("postgres-failover")
    authority = Authority(place)
    with ExitStack() as stack:
        primary = stack.enter_context(Postgres(place, authority.issue("localhost")))
        standby = stack.enter_context(Standby(place, primary))
        there = f"postgres://owner:{QUOTED}@localhost:{{}}/{DATABASE}?schema=failover&sslrootcert={authority.certificate}"
        campaign = Sending(program, primary, "failover", recipients, stack)
        campaign.fleet.options = ("--ledger", there.format(f"{primary.port},localhost:{standby.port}"))
        campaign.fleet.where = ("--ledger", there.format(standby.port))
        with campaign.fleet.start() as process:
            campaign.until(recipients // 3, process)
            primary.crash()
            time.sleep(2)
            before = campaign.accepted()
            standby.promote()
            begin = time.monotonic()
            wait_until(lambda: campaign.accepted() > before or not process.running(), 60, "messages after the failover", every=0.05)
            took = time.monotonic() - begin
            process.wait(SECONDS)
        require(process.code == 0, f"exit {process.code}: {process.text()[-1500:]}")
        figures = campaign.judged(0)
    return f"{figures}; messages {took:.1f} s after the promotion"


def a_second_process_is_refused(program, database: Postgres) -> str:
    """While the first one lives, and the ledger can be read meanwhile."""
    with ExitStack() as stack:
        campaign = Sending(program, database, "second", 4_000, stack)
        first = stack.enter_context(campaign.fleet.start())
        campaign.until(200, first)
        code, output = campaign.fleet.command("run", campaign.fleet.config, "--once", "--state", campaign.fleet.folder / "other", *campaign.fleet.where)
        require(code == 2 and "is in use by process" in output, f"exit {code}: {output}")
        require(PASSWORD not in output and QUOTED not in output, "the password is printed")
        code, output = campaign.fleet.command("why", fleets.address(1), "--state", campaign.fleet.state, *campaign.fleet.where)
        require(code in (0, 1), f"why: exit {code}: {output}")
        first.wait(SECONDS)
        require(first.code == 0, f"exit {first.code}: {first.text()[-1000:]}")
        campaign.judged(0)
        code, output = campaign.fleet.command("why", fleets.address(1), "--state", campaign.fleet.state, *campaign.fleet.where)
        require(code == 0 and "Accepted" in output, f"why: exit {code}: {output}")
    return "exit 2, in words; nobody twice"


def moved_in_the_middle(program, database: Postgres, recipients: int) -> str:
    """A campaign that began with the ledger in its state folder goes on with it in the database; the move itself is killed at random points."""
    chance = random.Random(SEED)
    with ExitStack() as stack:
        campaign = Sending(program, database, "moved", recipients, stack)
        there = campaign.fleet.options
        campaign.fleet.options = campaign.fleet.where = ()
        with campaign.fleet.start() as process:
            campaign.until(recipients // 3, process)
            process.signal(signal.SIGTERM)
            process.wait(SECONDS)
        before = campaign.accepted()
        # A ledger that knows nobody is not sent from while there is one that does.
        campaign.fleet.options = there
        for _ in range(3):
            code, output = campaign.fleet.run_once(seconds=SECONDS)
            require(code == 2 and "mailfleet ledger move" in output, f"exit {code}: {output}")
        words = [program, "ledger", "move", "--from", campaign.fleet.state, "--to", there[1]]
        killed = 0
        for _ in range(6):
            with Process(words, campaign.fleet.folder / "move.out") as move:
                time.sleep(chance.uniform(0.005, 0.15))
                killed += move.running()
                move.kill()
        code, output = campaign.fleet.command(*words[1:])
        require(code == 0, f"exit {code}: {output}")
        require(PASSWORD not in output and QUOTED not in output, "the password is printed")
        require(campaign.accepted() == before, "something was sent meanwhile")
        code, output = campaign.fleet.command("ledger", "check", "--state", campaign.fleet.state, *there)
        require(code == 0, f"check: exit {code}: {output}")
        code, output = campaign.fleet.run_once(seconds=SECONDS)
        require(code == 0, f"exit {code}: {output[-1500:]}")
        campaign.fleet.where = there
        figures = campaign.judged(0)
        campaign.fleet.options = ()
        code, output = campaign.fleet.run_once(seconds=SECONDS)
        require(code == 2 and "was moved to" in output, f"the old place: exit {code}: {output}")
    return f"{before} before and {recipients - before} after the move, which was killed {killed} times: {figures}"


MISTAKES = (
    ("postgres://owner:wrong@127.0.0.1:{port}/shop?schema=mistake", "refuses"),
    ("postgres://owner:{password}@127.0.0.1:{port}/nowhere", "does not exist"),
    ("postgres://owner:{password}@127.0.0.1:{port}/shop?sslmode=require", "offers no TLS"),
    ("postgres://owner:{password}@127.0.0.1:1/shop", "nothing listens"),
    ("postgres://news:{password}@127.0.0.1:{port}/shop?schema=of_nobody", "permission denied"),
    ("mysql://owner:{password}@127.0.0.1/shop", "is not that of a PostgreSQL database"),
    ("postgres://owner:{password}@127.0.0.1:{port}/shop?schema=Upper", "names the schema `Upper`"),
)


def mistakes_are_answered(program, database: Postgres) -> str:
    """Each mistake in the URL: exit 2, what is wrong, and no password."""
    fleet = fleets.Fleet(folder("postgres-mistakes"), program)
    fleet.write("plan.yaml", fleets.plan("pro", "a"))
    for form, wanted in MISTAKES:
        there = form.format(port=database.port, password=QUOTED)
        code, output = fleet.command("run", fleet.config, "--once", "--state", fleet.state, "--ledger", there)
        require(code == 2 and wanted in output, f"{form}: exit {code}: {output}")
        require(PASSWORD not in output and QUOTED not in output and "wrong@" not in output, f"{form}: the password is printed")
    secret = fleet.folder / "password"
    secret.write_text(PASSWORD + "\n")
    there = f"postgres://owner@127.0.0.1:{database.port}/{DATABASE}?schema=by_file"
    code, output = fleet.command("run", fleet.config, "--once", "--quiet", "--state", fleet.state, "--ledger", there, "--ledger-password-file", secret)
    require(code == 0, f"exit {code}: {output}")
    return f"{len(MISTAKES)} mistakes"


def main():
    cases = Cases(__doc__)
    cases.option("--quick", action="store_true", help="4,000 recipients and 4 kills instead of 20,000 and 25")
    quick = cases.parse().quick
    recipients, kills = (4_000, 4) if quick else (20_000, 25)
    program = fleets.binary()
    shared = Shared(lambda: Postgres(folder("postgres-server")))

    def on(case, *arguments):
        return lambda: case(*arguments[:1], shared.get(), *arguments[1:])

    for name, case in (
        ("the ledger's rules hold there", lambda: rules_hold_there(shared.get())),
        ("killed again and again", on(killed_again_and_again, program, recipients, kills)),
        ("the database crashes", on(the_database_crashes, program, recipients)),
        ("the line is cut", on(the_line_is_cut, program, recipients)),
        ("stopped beyond its lease", on(stopped_beyond_its_lease, program, recipients)),
        ("the primary fails over", lambda: the_primary_fails_over(program, recipients)),
        ("a second process is refused", on(a_second_process_is_refused, program)),
        ("moved in the middle", on(moved_in_the_middle, program, recipients)),
        ("mistakes are answered", on(mistakes_are_answered, program)),
    ):
        cases.add(name, case, needs=databases.Postgres.missing)
    try:
        cases.end()
    finally:
        shared.close()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""An hour in which the configuration changes every second, on a ledger in the state folder and on one in PostgreSQL at once.

Servers come and go, weights and limits change, campaigns are added, edited, suspended and removed, files are broken and mended, and a
server answers 421 for some seconds. Memory, handles, threads, processor time and the length of turns are compared: the last quarter
against the second one. In the end everybody was mailed once by the servers' own count, and the ledger agrees with itself.

`--quick` is a short run that shows that it runs; its figures mean nothing.
"""

import argparse
import random
import re
import statistics
import sys
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from parts import fleet as fleets  # noqa: E402
from parts.databases import DATABASE, QUOTED, Postgres  # noqa: E402
from parts.process import answers, folder, free_port, wait_until  # noqa: E402
from parts.prometheus import scrape  # noqa: E402
from parts.report import table  # noqa: E402
from parts.sinks import Sink  # noqa: E402
from run import verdict  # noqa: E402

SEED = 20261201
SINKS = 4
SERVERS_MIN, SERVERS_MAX = 4, 30
# People of a campaign, and how many campaigns are there at a time: objects must be as many in the end as in the beginning.
PEOPLE, CAMPAIGNS_MAX = 300, 15
# Seconds between two samples.
SAMPLE = 5
# Of the last quarter, against the second one. Handles and threads are differences.
TARGETS = {"memory, MiB": 1.10, "handles": 8, "threads": 3, "CPU ms/s": 1.30, "turn, ms": 1.30}


@dataclass
class Sample:
    memory: float
    handles: int
    threads: int
    cpu: float
    turn: float


class Soak:
    """A folder of YAML that never rests, and the process that follows it."""

    def __init__(self, name: str, program: Path, stack: ExitStack, *options: str):
        self.name, self.chance = name, random.Random(SEED)
        self.place = folder(f"soak-{name}")
        self.sinks = [stack.enter_context(Sink(program, self.place, f"sink-{number}")) for number in range(SINKS)]
        self.port = free_port()
        self.fleet = fleets.Fleet(self.place, program, *options)
        self.fleet.where = options
        self.servers: dict[str, dict] = {}
        self.campaigns: dict[str, dict] = {}
        self.mailed: list[str] = []
        self.begun, self.changes = 0, Counter()
        self.broken, self.ill = None, None
        for _ in range(10):
            self.add_server()
        self.process = stack.enter_context(self.fleet.start("--quiet", f"--admin-address=127.0.0.1:{self.port}", once=False))
        wait_until(lambda: answers(self.port), 60, "the admin endpoint")
        self.before = self.measured()
        self.samples: list[Sample] = []

    def write_plan(self):
        weights = [{"name": name, "weight": self.chance.randrange(1, 10)} for name in self.servers]
        self.fleet.write("plan.yaml", fleets.resource("Plan", "pro", {"servers": weights}))

    def add_server(self):
        if len(self.servers) < SERVERS_MAX:
            name = f"server-{self.changes['server added']}"
            self.changes["server added"] += 1
            self.servers[name] = fleets.smtp_server(name, self.sinks[self.chance.randrange(SINKS)].port)
            self.fleet.write(f"{name}.yaml", self.servers[name])
            self.write_plan()

    def remove_server(self):
        if len(self.servers) > SERVERS_MIN:
            name = self.chance.choice(sorted(self.servers))
            del self.servers[name]
            self.write_plan()
            (self.fleet.config / f"{name}.yaml").unlink()

    def limit_server(self):
        name = self.chance.choice(sorted(self.servers))
        self.servers[name]["spec"]["limits"] = {"rates": [{"messages": self.chance.randrange(500, 5_000), "per": "1m"}]}
        self.fleet.write(f"{name}.yaml", self.servers[name])

    def add_campaign(self):
        if len(self.campaigns) < CAMPAIGNS_MAX:
            name = f"campaign-{self.begun}"
            self.begun += 1
            people = [fleets.address(number, f"c{self.begun}.example.com") for number in range(PEOPLE)]
            self.mailed += people
            (self.fleet.config / f"{name}.csv").write_text("email,name\n" + "".join(f"{address},P\n" for address in people))
            self.campaigns[name] = fleets.campaign(name, "pro", {"csv": {"path": f"{name}.csv"}})
            self.fleet.write(f"{name}.yaml", self.campaigns[name])

    def state(self, name: str) -> str:
        with suppress(ValueError, KeyError):
            return self.fleet.status("Campaign", name).get("state", "")
        return ""

    def remove_campaign(self):
        done = [name for name in self.campaigns if self.state(name) == "Completed"]
        if len(done) > 3:
            del self.campaigns[done[0]]
            (self.fleet.config / f"{done[0]}.yaml").unlink()
            (self.fleet.config / f"{done[0]}.csv").unlink()

    def edit_campaign(self):
        under_way = [name for name in self.campaigns if self.state(name) != "Completed"]
        if under_way:
            name = self.chance.choice(under_way)
            spec = self.campaigns[name]["spec"]
            if self.chance.random() < 0.5:
                spec["suspend"] = not spec.get("suspend", False)
            else:
                spec["content"] = {"text": f"Dear {{{{ name }}}},\n\nversion {self.chance.random()}.\n"}
            self.fleet.write(f"{name}.yaml", self.campaigns[name])

    def break_file(self):
        """Or mend the one that is broken."""
        if self.broken:
            self.broken.unlink()
            self.broken = None
        else:
            self.broken = self.fleet.config / "broken.yaml"
            self.broken.write_text("apiVersion: mailfleet.dev/v1alpha1\nkind: Plan\nmetadata: {name: half\nspec: [")

    def make_ill(self):
        """A server answers 421 to everything, or the one that does so is well again."""
        if self.ill:
            self.ill.say("ok")
            self.ill = None
        else:
            self.ill = self.chance.choice(self.sinks)
            self.ill.say("421")

    def change(self):
        """One change."""
        ways = ((self.add_campaign, 4), (self.remove_campaign, 4), (self.edit_campaign, 4), (self.write_plan, 3), (self.add_server, 2), (self.remove_server, 2), (self.limit_server, 2), (self.break_file, 1), (self.make_ill, 1))  # fmt: skip
        way = self.chance.choices([way for way, _ in ways], [often for _, often in ways])[0]
        way()
        self.changes[way.__name__] += 1

    def measured(self) -> tuple[float, float, float, float]:
        """The time, CPU seconds so far, seconds of turns so far and their number."""
        _, text = scrape(self.port, "text/plain")
        turns = {key: float(re.search(rf"^mailfleet_turn_duration_seconds_{key} (\S+)", text, re.M)[1]) for key in ("sum", "count")}
        return time.monotonic(), self.process.cpu_seconds_so_far(), turns["sum"], turns["count"]

    def sample(self):
        if not self.process.running():
            raise SystemExit(f"{self.name}: it ended with {self.process.code}: {self.process.tail()}")
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        number = lambda key: int(re.search(rf"^{key}:\s+(\d+)", status, re.M)[1])  # noqa: E731
        then, now = self.before, self.measured()
        self.before = now
        turn = (now[2] - then[2]) / max(1, now[3] - then[3]) * 1000
        handles = len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))
        self.samples.append(Sample(number("VmRSS") / 1024, handles, number("Threads"), (now[1] - then[1]) / (now[0] - then[0]) * 1000, turn))

    def end(self) -> str:
        """Lets everything come to its end, and compares."""
        if self.ill:
            self.make_ill()
        if self.broken:
            self.break_file()
        for server in self.servers.values():
            server["spec"].pop("limits", None)
            self.fleet.write(f"{server['metadata']['name']}.yaml", server)
        for name, campaign in self.campaigns.items():
            campaign["spec"].pop("suspend", None)
            self.fleet.write(f"{name}.yaml", campaign)
        try:
            wait_until(lambda: all(self.state(name) == "Completed" for name in self.campaigns), 180, "the end of all campaigns", every=0.5)
        except TimeoutError:
            left = {name: self.fleet.condition("Campaign", name, "Ready") for name in self.campaigns if self.state(name) != "Completed"}
            raise SystemExit(f"{self.name}: not at its end: {left}") from None
        self.process.stop()
        taken = sum((sink.taken() for sink in self.sinks), Counter())
        lost, twice = [who for who in self.mailed if who not in taken], [who for who, times in taken.items() if times > 1]
        strangers = set(taken) - set(self.mailed)
        if lost or twice or strangers:
            raise SystemExit(f"{self.name}: {len(lost)} lost {lost[:2]}, {len(twice)} twice {twice[:2]}, {len(strangers)} strangers")
        code, output = self.fleet.command("ledger", "check", "--state", self.fleet.state, *self.fleet.where)
        if code:
            raise SystemExit(f"{self.name}: the ledger does not agree with itself: {output}")
        return f"{self.name}: {sum(self.changes.values()):,} changes, {self.begun} campaigns, {len(self.mailed):,} people, each mailed once"

    def compared(self) -> list[tuple[str, float, float, bool]]:
        """Of each figure: the second quarter, the last one, and whether the target holds."""
        quarter = len(self.samples) // 4
        rows = []
        for (name, target), key in zip(TARGETS.items(), Sample.__dataclass_fields__):
            early, late = (statistics.median(getattr(sample, key) for sample in part) for part in (self.samples[quarter : 2 * quarter], self.samples[-quarter:]))
            held = late - early <= target if isinstance(target, int) else late <= early * target
            rows.append((name, early, late, held))
        return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--quick", action="store_true", help="a minute, to see that it runs")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a target is missed")
    options = parser.parse_args()
    minutes = 1 if options.quick else options.minutes
    program = fleets.binary()
    with ExitStack() as stack:
        soaks = [Soak("SQLite", program, stack)]
        if missing := Postgres.missing():
            print(f"without PostgreSQL: {missing}", file=sys.stderr)
        else:
            database = stack.enter_context(Postgres(folder("soak-database")))
            soaks.append(Soak("PostgreSQL", program, stack, "--ledger", f"postgres://owner:{QUOTED}@127.0.0.1:{database.port}/{DATABASE}?schema=soak"))
        begin = time.monotonic()
        for second in range(int(minutes * 60)):
            for soak in soaks:
                soak.change()
                if second % SAMPLE == SAMPLE - 1:
                    soak.sample()
            if second % 300 == 299:
                told = ", ".join(f"{soak.name} {soak.samples[-1].memory:.1f} MiB, {soak.samples[-1].handles} handles" for soak in soaks)
                print(f"minute {(second + 1) // 60}: {told}", file=sys.stderr, flush=True)
            time.sleep(max(0, begin + second + 1 - time.monotonic()))
        for soak in soaks:
            print(soak.end())
    rows, held = [], True
    for soak in soaks:
        for name, early, late, is_held in soak.compared():
            target = TARGETS[name]
            wanted = f"+{target} at most" if isinstance(target, int) else f"{target:.2f} times at most"
            rows.append([soak.name, name, f"{early:.1f}", f"{late:.1f}", wanted, verdict(is_held)])
            held &= is_held
    print(f"\n{minutes:g} minutes, a change a second; {program.parent.name} build; medians\n")
    print(table(["ledger", "figure", "second quarter", "last quarter", "target", ""], rows))
    if options.strict and not held:
        sys.exit(1)


if __name__ == "__main__":
    main()

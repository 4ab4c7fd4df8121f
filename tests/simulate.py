#!/usr/bin/env python3
"""What `mailfleet simulate` and `mailfleet diff` say of campaigns, against what the program then does, in eleven worlds.

Shares must be within 2% of all messages, and ends within 2% of the time that it takes. All worlds run side by side, each as fast as its
limits allow.
"""

import contextlib
import json
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from parts import fleet as fleets
from parts.judge import IN_FLIGHT_MAX
from parts.process import folder, wait_until
from parts.report import Cases, require
from parts.sinks import Sink

# Percent of all messages, or of the whole time.
WITHIN = 2.0
# How often the sinks are asked, seconds; a time is known no better than this.
EVERY = 0.05
SECONDS = 300
TODAY = datetime.now(timezone.utc).date().isoformat()


def per_second(messages: int, window: int = 5) -> dict:
    """Limits of a server or a campaign, in windows of some seconds: a busy machine is late once a window, by some 30 ms."""
    return {"rates": [{"messages": messages * window, "per": f"{window}s"}]}


@dataclass
class World:
    """Servers with their weights and specs, the campaign, and what happens."""

    name: str
    servers: dict[str, tuple[int, dict]]
    recipients: int
    campaign: dict = field(default_factory=dict)
    plan: dict = field(default_factory=dict)
    # Of a hundred recipients, how many are at gmail.com.
    at_gmail: int = 0
    # Which server is away, from when on and for how long, seconds.
    away: tuple[str, int, int] | None = None
    # Every so manieth address is dead.
    dead_every: int = 0
    # Whether weights alone decide who takes how much, so that `diff` knows it.
    by_weight: bool = True


# Each ends early in a window: how long a machine takes for the messages of a whole one is nothing that is simulated.
WORLDS = [
    World("two servers by weight", {"a": (3, {}), "b": (1, {})}, 3_550, campaign={"limits": per_second(100)}),
    World("a slow server passes its share on", {"a": (1, {"limits": per_second(15)}), "b": (1, {"limits": per_second(45)})}, 2_160, by_weight=False),
    World(
        "strict shares wait for the slowest",
        {"a": (1, {"limits": per_second(30)}), "b": (1, {"limits": per_second(300)})},
        2_250,
        campaign={"weighting": "Strict"},
    ),
    World(
        "a narrowing with weights of its own",
        {"a": (1, {}), "b": (1, {}), "c": (8, {})},
        2_690,
        campaign={"servers": [{"name": "a", "weight": 60}, {"name": "b", "weight": 40}], "limits": per_second(75)},
    ),
    World("a limit of the plan", {"a": (1, {}), "b": (4, {})}, 1_800, plan={"limits": per_second(50)}),
    World("a limit of the campaign", {"a": (7, {}), "b": (3, {})}, 1_440, campaign={"limits": per_second(40)}),
    World(
        "a server in warm-up",
        {"old": (1, {"limits": per_second(50)}), "new": (1, {"limits": per_second(50), "warmup": {"startDate": TODAY, "schedule": [250, 1_000_000]}})},
        2_040,
        by_weight=False,
    ),
    World(
        "a limit for a receiving domain",
        {"a": (1, {"limits": {**per_second(200), "perDomain": [{"domains": ["gmail.com"], **per_second(20)}]}})},
        2_050,
        at_gmail=40,
    ),
    # Who comes back is in step with nobody: short windows, so that it does not matter whose is the last.
    World(
        "an outage",
        {"a": (1, {"limits": per_second(30, 1)}), "b": (1, {"limits": per_second(30, 1)})},
        3_300,
        away=("a", 10, 20),
        by_weight=False,
    ),
    World("dead addresses", {"a": (1, {"limits": per_second(30)}), "b": (1, {"limits": per_second(30)})}, 2_160, dead_every=40),
    World(
        "a rollout in steps",
        {"a": (1, {}), "b": (3, {})},
        2_000,
        campaign={"limits": per_second(60), "rollout": {"steps": [{"percent": 25, "minMessages": 100, "pause": {"duration": "15s"}}]}},
    ),
]


class Counter:
    """Looks at sinks: when they took the first message and the last, since a start. In the middle it looks less often."""

    def __init__(self, sinks: dict[str, Sink], expected: int):
        self.sinks, self.expected, self.first, self.last, self.total = sinks, expected, None, None, 0
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        while not self.is_over.wait(1.0 if 0 < self.total < 0.9 * self.expected else EVERY):
            with contextlib.suppress(OSError, ValueError, KeyError):
                total = sum(sink.count()["accepted"] for sink in self.sinks.values())
                if total > self.total:
                    self.first, self.last, self.total = self.first or time.monotonic(), time.monotonic(), total

    def end(self) -> float:
        """How long it was from the first message to the last, seconds."""
        self.is_over.set()
        self.thread.join()
        require(self.first is not None, "no message was taken")
        return self.last - self.first


def objects(world: World, ports: dict[str, int]) -> list[dict]:
    # A short probe interval, so that who is back is found soon in both worlds.
    probe = {"probe": {"interval": "5s", "retryAfter": "1s"}}
    servers = [fleets.smtp_server(name, ports[name], **{**probe, **spec}) for name, (_, spec) in world.servers.items()]
    granted = [{"name": name, "weight": weight} for name, (weight, _) in world.servers.items()]
    plan = fleets.resource("Plan", "pro", {"servers": granted, **world.plan})
    return [*servers, plan, fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}, **world.campaign)]


def write_people(world: World, path: Path):
    def address(number: int) -> str:
        if world.dead_every and number % world.dead_every == 0:
            return f"dead{number}@example.com"
        return fleets.address(number, "gmail.com" if number % 100 < world.at_gmail else "example.com")

    with open(path, "w", encoding="utf-8") as file:
        file.write("email,name\n")
        file.writelines(f"{address(number)},Person {number}\n" for number in range(world.recipients))


def predicted(program: Path, world: World, fleet) -> dict:
    """What `simulate` says of the campaign."""
    words = [program, "simulate", fleet.config, "--state", fleet.state, "-o", "json", "--round-trip", "1ms"]
    if world.away:
        server, after, lasts = world.away
        words += ["--outage", f"{server}@+{after}s/{lasts}s"]
    if world.dead_every:
        words += ["--reject", f"{100 / world.dead_every}%"]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120)
    require(done.returncode == 0, f"simulate: exit {done.returncode}: {done.stderr}{done.stdout[-500:]}")
    campaign = json.loads(done.stdout)["campaigns"][0]
    require(campaign["state"] == "Completed", f"{campaign}")
    return campaign


def told(program: Path, fleet) -> dict:
    """What `diff` says of the campaign, against an empty folder."""
    empty = fleet.folder / "empty"
    empty.mkdir()
    plan = fleets.plan("none", "none")
    (empty / "plan.yaml").write_text(json.dumps(plan), encoding="utf-8")
    done = subprocess.run(
        [str(program), "diff", str(empty), str(fleet.config), "--state", str(fleet.state), "-o", "json"], capture_output=True, text=True, timeout=120
    )
    require(done.returncode == 0, f"diff: exit {done.returncode}: {done.stderr}")
    found = [one for one in json.loads(done.stdout)["campaigns"] if one["name"] == "spring"]
    require(len(found) == 1, done.stdout)
    return {row["server"].partition("/")[2]: row["after"] for row in found[0]["servers"] if row.get("after")}


def sent(world: World, fleet, sinks: dict[str, Sink]) -> tuple[dict[str, int], float]:
    """What each server took, and how long that was."""
    counter = Counter(sinks, world.recipients)
    with fleet.start() as process:
        if world.away:
            server, after, lasts = world.away
            wait_until(lambda: counter.first is not None, SECONDS, "the first message")
            time.sleep(max(0.0, counter.first + after - time.monotonic()))
            sinks[server].say("refuse")
            time.sleep(lasts)
            sinks[server].say("ok")
        process.wait(SECONDS)
    seconds = counter.end()
    require(process.code == 0, f"run: exit {process.code}: {process.text()[-1500:]}")
    return {name: sink.count()["accepted"] for name, sink in sinks.items()}, seconds


def compared(program: Path, world: World) -> str:
    place = folder("simulate")
    with contextlib.ExitStack() as stack:
        rules = ["--reply", "dead*@example.com=550"] if world.dead_every else []
        sinks = {name: stack.enter_context(Sink(program, place, name, *rules, log=False)) for name in world.servers}
        fleet = fleets.Fleet(place, program)
        fleet.write("all.yaml", *objects(world, {name: sink.port for name, sink in sinks.items()}))
        write_people(world, fleet.config / "people.csv")
        # The same picks each time.
        fleet.seed(7)
        simulated, shares = predicted(program, world, fleet), told(program, fleet)
        took, seconds = sent(world, fleet, sinks)
        # A server that goes away in the middle of a message leaves it unknown; nobody is mailed twice for that.
        unknown = sum(state == "Unknown" for state in fleet.recipients("spring").values())
    total = sum(took.values())
    dead = len(range(0, world.recipients, world.dead_every)) if world.dead_every else 0
    require(unknown <= (IN_FLIGHT_MAX if world.away else 0), f"{world.name}: {unknown} of unknown outcome")
    # What is unknown may have arrived before the line was cut.
    sent_once = world.recipients - dead
    require(sent_once - unknown <= total <= sent_once, f"{world.name}: {took} of {world.recipients}, {unknown} of unknown outcome")
    by_server = {one["server"].partition("/")[2]: one["sharePercent"] for one in simulated["servers"]}
    found = {name: 100 * count / total for name, count in took.items() if count}
    off = max(abs(found.get(name, 0) - by_server.get(name, 0)) for name in {*found, *by_server})
    require(off <= WITHIN, f"{world.name}: simulated {by_server}, sent {found}")
    if world.by_weight:
        of_diff = max(abs(found.get(name, 0) - shares.get(name, 0)) for name in {*found, *shares})
        require(of_diff <= WITHIN, f"{world.name}: diff says {shares}, sent {found}")
    late = 100 * (seconds - simulated["seconds"]) / simulated["seconds"]
    # The sinks are looked at from time to time, and a sum of them is not one moment.
    slack = 100 * 4 * EVERY / simulated["seconds"]
    require(abs(late) <= WITHIN + slack, f"{world.name}: simulated {simulated['seconds']:.1f} s, and it took {seconds:.1f} s")
    return f"{world.name}: shares off by {off:.2f}%, {simulated['seconds']:.1f} s simulated and {seconds:.1f} s sent ({late:+.1f}%)"


def shares_and_ends_are_those_of_the_program(program) -> str:
    """Eleven worlds side by side."""
    with ThreadPoolExecutor(len(WORLDS)) as pool:
        futures = [pool.submit(compared, program, world) for world in WORLDS]
        faults = [str(fault) for future in futures if (fault := future.exception())]
    require(not faults, "\n".join(faults))
    return "".join(f"\n    {future.result()}" for future in futures)


def a_million_people_in_seconds(program) -> str:
    """A million people over days of warm-up; fewer where the program is not optimized."""
    people = 1_000_000 if fleets.is_release(program) else 200_000
    fleet = fleets.Fleet(folder("million"), program)
    warmup = {"warmup": {"startDate": "2026-12-01", "schedule": [1_000 * 2**day for day in range(12)]}}
    fleet.write(
        "all.yaml",
        fleets.smtp_server("old", 25, limits={"rates": [{"messages": 20_000, "per": "24h"}]}),
        fleets.smtp_server("new", 25, **warmup),
        fleets.plan("pro", "old", "new"),
        fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}, startAt="2026-12-01T00:00:00Z"),
    )
    begin = time.monotonic()
    code, output = fleet.command(
        "simulate", fleet.config, "--state", fleet.state, "--from", "2026-12-01T00:00:00Z", "--recipients", f"{people:,}", "-o", "json", seconds=SECONDS
    )
    took = time.monotonic() - begin
    require(code == 0, f"exit {code}: {output[-1000:]}")
    found = json.loads(output)
    campaign = found["campaigns"][0]
    accepted = {one["server"]: one["accepted"] for one in campaign["servers"]}
    require(sum(accepted.values()) == people and campaign["recipients"]["accepted"] == people, f"{accepted}")
    by_day: dict[str, int] = {}
    for one in found["taken"]:
        if one["server"] == "default/new":
            by_day[one["from"][:10]] = by_day.get(one["from"][:10], 0) + one["accepted"]
    days = [by_day[day] for day in sorted(by_day)]
    # Day by day what the schedule says, until nobody is left.
    require(days[:-1] == [1_000 * 2**day for day in range(len(days) - 1)], f"{days}")
    return f"{people:,} people over {len(days)} days in {took:.1f} s"


def pictures_and_tables_are_whole(program) -> str:
    """The same simulation as text, Markdown, JSON and SVG; an XML parser reads the picture."""
    from xml.etree import ElementTree

    fleet = fleets.Fleet(folder("pictures"), program)
    fleet.write(
        "all.yaml",
        fleets.smtp_server("a", 25, limits={"rates": [{"messages": 100, "per": "1h"}]}),
        fleets.plan("pro", "a"),
        fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}),
    )
    found = {}
    for form in ("text", "markdown", "json", "svg"):
        words = ("--recipients", "1000", "--from", "2026-12-01T00:00:00Z", "-o", form)
        code, found[form] = fleet.command("simulate", fleet.config, "--state", fleet.state, *words)
        require(code == 0, f"{form}: exit {code}: {found[form]}")
    root = ElementTree.fromstring(found["svg"])
    columns = [one for one in root.iter("{http://www.w3.org/2000/svg}rect") if one.find("{http://www.w3.org/2000/svg}title") is not None]
    taken = json.loads(found["json"])["taken"]
    hours = {one["from"][:13] for one in taken}
    require(len(columns) == len(hours), f"{len(columns)} columns, {len(hours)} hours")
    require("1,000 accepted of 1,000 recipients" in found["text"] and "1,000 accepted of 1,000 recipients" in found["markdown"], found["text"])
    return f"{len(columns)} columns"


def mistakes_are_answered(program) -> str:
    """What is typed wrong, and what cannot be counted, is told with what to do; a campaign that stops ends with 1."""
    fleet = fleets.Fleet(folder("mistakes"), program)
    limits = {"limits": per_second(50)}
    fleet.write("all.yaml", fleets.smtp_server("relay", 25, **limits), fleets.plan("pro", "relay"), fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}))
    base = ("simulate", fleet.config, "--state", fleet.state)
    for words, expected, says in (
        ((), 2, "--recipients spring=N"),
        (("--recipients", "100", "--outage", "relai@+1h/1h"), 2, "did you mean relay?"),
        (("--recipients", "100", "--outage", "relay"), 2, "SERVER@+AFTER/FOR"),
        (("--recipients", "100", "--reject", "3"), 2, "3%"),
        (("--recipients", "x"), 2, "no number of recipients"),
        (("--recipients", "summer=100"), 2, "there is no campaign summer"),
        (("--recipients", "100", "--campaign", "summer"), 2, "there is no campaign summer"),
        (("--recipients", "5000", "--reject", "30%"), 1, "mailfleet resume"),
        (("--recipients", "5000", "--until", "10s"), 1, "--until goes further"),
        (("--recipients", "100", "--outage", "relay@+0s/1h"), 0, "Inactive"),
    ):
        code, output = fleet.command(*base, *words)
        require(code == expected and says in output, f"{words}: exit {code} instead of {expected}: {output}")
    (fleet.config / "broken.yaml").write_text("kind: [", encoding="utf-8")
    code, output = fleet.command(*base, "--recipients", "100")
    require(code == 2 and "broken.yaml:1" in output, f"exit {code}: {output}")
    return "11 mistakes"


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all(
        [mistakes_are_answered, pictures_and_tables_are_whole, a_million_people_in_seconds, shares_and_ends_are_those_of_the_program],
        fleets.binary(),
    )
    cases.end()


if __name__ == "__main__":
    main()

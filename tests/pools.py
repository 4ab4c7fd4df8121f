#!/usr/bin/env python3
"""Pools whose limits add up, and windows that hold whatever a server or a kill does. Judged by the servers' own clocks.

Pools: 2 to 20 servers with windows of 1 s to a day, warm-up, one dead server and one that says "too fast" to everybody, at round trips
of 0 and 80 ms; their rate against the sum of what each may take. Windows: servers that withhold replies at every stage, at round
trips of 0 and 80 ms, under a process that is killed and restarted; no span of a window's length may hold more messages than the window
allows, plus one for arrival.
"""

import contextlib
import random
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from functools import partial

from limits import Times
from parts import fleet as fleets
from parts.place import Place
from parts.process import free_port, wait_until
from parts.report import Cases, require
from parts.scripted import Scripted, always
from parts.sinks import delayed

TOO_FAST = "451 4.7.1 Ratelimit exceeded"
# A quick run counts few messages, on a machine that does other things.
RATE_MIN, RATE_MIN_QUICK = 0.97, 0.9


def pool(place: Place, number: int, seconds: float, rate_min: float) -> str:
    """The rate of a pool against the sum of what its servers may take."""
    chance = random.Random(number)
    count, trip = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20)[number], 80 * (number % 2)
    fleet = place.fleet(f"pool-{number}")
    servers, times, expected, capped, judged = [], [], 0.0, 0, []
    with contextlib.ExitStack() as stack:
        lateness = stack.enter_context(Lateness())
        for index in range(count):
            name, limits, extra, script = f"s{index:02}", {}, {}, Times()
            kind = "paced" if index < 2 else chance.choice(("paced", "minute", "day", "warmup"))
            port = None
            if count > 2 and index == count - 1:
                port = free_port()  # Nobody listens there.
            elif count > 3 and index == count - 2:
                script = always("content", TOO_FAST)
            elif kind == "paced":
                rate = {"messages": chance.randint(5, 40), "per": chance.choice(("1s", "2s", "5s"))}
                limits = {"rates": [rate]}
                expected += rate["messages"] / int(rate["per"][:-1])
                judged.append((script, rate["messages"], int(rate["per"][:-1])))
            elif kind == "minute":
                messages = chance.randint(120, 900)
                limits = {"rates": [{"messages": messages, "per": "1m"}]}
                expected += messages / 60
                judged.append((script, messages, 60))
            else:
                most = chance.randint(3, 20)
                capped += most
                judged.append((script, most, 86_400))
                if kind == "day":
                    limits = {"rates": [{"messages": most, "per": "24h"}]}
                else:
                    extra = {"warmup": {"startDate": datetime.now(timezone.utc).date().isoformat(), "schedule": [most, most]}}
            if port is None:
                port = stack.enter_context(Scripted(script)).port
                if isinstance(script, Times):
                    times.append(script)
                if trip:
                    process, port = delayed(place.program, place.root, port, f"{trip / 2:g}ms")
                    stack.enter_context(process)
            servers.append(fleets.smtp_server(name, port, limits=limits, **extra))
        fleets.write_csv(fleet.config / "people.csv", int(expected * (seconds + 15)) + capped + 100)
        names = [server["metadata"]["name"] for server in servers]
        fleet.write("all.yaml", *servers, fleets.plan("pro", *names), fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}))
        process = fleet.start()
        taken = lambda: sum(len(script.at) for script in times)  # noqa: E731
        wait_until(lambda: taken() > capped + expected * 4, 60, "the first four seconds")
        begin = time.monotonic()
        time.sleep(seconds)
        end = time.monotonic()
        process.kill()
    rate = sum(script.between(begin, end) for script in times) / (end - begin)
    told = f"{count} servers, {trip} ms: {rate:.1f} of {expected:.1f}"
    shares = [f"{script.between(begin, end) / (end - begin):.1f} of {messages}/{per}s" for script, messages, per in judged if per <= 60]
    require(rate >= rate_min * expected, f"{told}; {', '.join(shares)}")
    for script, messages, per in judged:
        most = script.most_in(seen_within(per, lateness))
        require(most <= messages + 1, f"{most} in {per} s of {messages}, seen up to {lateness.most:.3f} s late")
    return told


def seen_within(per: float, lateness) -> float:
    """The longest span that cannot hold more than the window allows, given that some messages were seen late and others were not."""
    return max(per / 2, per - lateness.most)


class Lateness:
    """How late the machine schedules a waiting thread, and so how much later than it arrived a judge may see a message."""

    def __enter__(self):
        self.most, self._over = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self):
        while not self._over.is_set():
            begin = time.monotonic()
            time.sleep(0.005)
            self.most = max(self.most, time.monotonic() - begin - 0.005)

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


class Holding(Times):
    """A server that withholds its replies at one stage now and then, and records when each content arrived."""

    def fullest(self, seconds: float) -> str:
        """When the fullest span of that length began and ended, and how many messages it held."""
        at = sorted(at for at, _ in self.at)
        stretches = [[other for other in at[index:] if other - begin < seconds] for index, begin in enumerate(at)]
        most = max(stretches, key=len)
        return f"{len(most)} from {most[0]:.2f} to {most[-1]:.2f}"

    def __init__(self, stage: str, hold: float, chance: random.Random):
        super().__init__()
        self.stage, self.hold, self.chance = stage, hold, chance

    def __call__(self, stage, session):
        super().__call__(stage, session)
        if stage == self.stage and self.chance.random() < 0.5:
            time.sleep(self.chance.uniform(0, self.hold))
        return None


def window(place: Place, seed: int) -> tuple[int, int, float, str]:
    """One round: the most that a window held against what it allows, kills, and the set-up."""
    chance = random.Random(seed)
    fleet = place.fleet(f"window-{seed}")
    trip = chance.choice((0, 80))
    kills = chance.choice((0, 1, 2, 3))
    worst, judged, told = -(10**9), [], []
    with contextlib.ExitStack() as stack:
        lateness = stack.enter_context(Lateness())
        servers = []
        for index in range(chance.choice((1, 1, 2))):
            per = chance.choice((1, 2, 5, 9, 11, 15))
            messages = chance.randint(2, 12 * per)
            stage, hold = chance.choice(("mail", "rcpt", "data", "content")), chance.choice((0.05, 0.5, 3.0))
            extensions = chance.choice((("PIPELINING",), (), ("PIPELINING", "CHUNKING")))
            # With CHUNKING contents are written behind the envelope: they would come while a server that reads no further holds
            # an answer, and it would count them when it reads them.
            hold = 0 if "CHUNKING" in extensions else hold
            script = Holding(stage, hold, random.Random(seed * 10 + index))
            port = stack.enter_context(Scripted(script, extensions)).port
            if trip:
                process, port = delayed(place.program, place.root, port, f"{trip / 2:g}ms")
                stack.enter_context(process)
            servers.append(fleets.smtp_server(f"s{index}", port, limits={"rates": [{"messages": messages, "per": f"{per}s"}]}))
            judged.append((script, messages, per))
            told.append(f"{messages}/{per}s, {'+'.join(extensions)} {stage} held up to {hold} s")
        fleets.write_csv(fleet.config / "people.csv", 3_000)
        names = [server["metadata"]["name"] for server in servers]
        fleet.write("all.yaml", *servers, fleets.plan("pro", *names), fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}))
        ends, killed = time.monotonic() + 22, []
        for left in range(kills, -1, -1):
            process = fleet.start()
            time.sleep(max(0.5, (ends - time.monotonic()) / (left + 1) * chance.uniform(0.5, 1.0)) if left else max(1.0, ends - time.monotonic()))
            process.kill()
            killed.append(time.monotonic())
    for script, messages, per in judged:
        stretch = seen_within(per, lateness)
        worst = max(worst, script.most_in(stretch) - messages)
        if script.most_in(stretch) > messages + 1:
            told.append(f"{script.fullest(stretch)} of {messages} in {per} s, seen up to {lateness.most:.3f} s late, killed at {[f'{at:.2f}' for at in killed]}")
        doubled = [who for who, count in Counter(who for _, who in script.at).items() if count > 1]
        require(not doubled, f"seed {seed}: {doubled[:3]} were mailed twice")
    return worst, kills, lateness.most, f"seed {seed}, {trip} ms, {kills} kills, " + "; ".join(told)


def pools(place: Place, quick: bool) -> str:
    """Ten pools, or two."""
    return "; ".join(pool(place, number, 5 if quick else 15, RATE_MIN_QUICK if quick else RATE_MIN) for number in ((2, 5) if quick else range(10)))


def windows(place: Place, rounds: int, first: int) -> str:
    """Random rounds, six at a time."""
    # Processes and not threads: a judge that waits for its turn sees messages later than they arrived.
    with ProcessPoolExecutor(6) as workers:
        found = list(workers.map(partial(window, place), range(first, first + rounds)))
    exceeded = [told for worst, _, _, told in found if worst > 1]
    require(not exceeded, f"{len(exceeded)} of {rounds} exceeded their window: {exceeded[:3]}")
    by_margin = Counter(max(worst, -1) for worst, *_ in found)
    late = max(late for _, _, late, _ in found)
    return f"{rounds} rounds, {sum(kills for _, kills, *_ in found)} kills: {by_margin[0]} windows exactly full, {by_margin[1]} with one more by arrival; seen up to {late * 1000:.0f} ms late"


def main():
    cases = Cases(__doc__)
    cases.option("--quick", action="store_true", help="two pools and twelve rounds")
    cases.option("--rounds", type=int, default=200, help="how many rounds of windows (200)")
    cases.option("--seed", type=int, default=1, help="the seed of the first round (1)")
    options = cases.parse()
    place = Place("pools")
    cases.add("limits of a pool add up", pools, place, options.quick)
    cases.add("no window is exceeded over kills", windows, place, 12 if options.quick else options.rounds, options.seed)
    cases.end()


if __name__ == "__main__":
    main()

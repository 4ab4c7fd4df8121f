#!/usr/bin/env python3
"""A campaign in steps: a small sample first, then a pause in which bounces come in, then the others, or nobody else.

The processes are real ones and are killed in each phase. Nothing is waited for by the clock but the pauses that a spec asks for.
"""

import email
import email.policy
import http.client
import re
from collections import Counter

from feedback import Shop
from parts import fleet as fleets
from parts.process import answers, folder, free_port, wait_until
from parts.report import Cases, require
from parts.sinks import Sink

PEOPLE = 2_000
# The ledger's seed: with it every sample is known, and no case fails by chance.
SEED = 1
# Of 2,000 people 10% are 200, give or take 13.
TENTH = range(120, 281)
HALF = range(860, 1141)
# Longer than a case takes: only a person ends it.
LONG = {"duration": "24h"}


def steps(*wanted: dict) -> dict:
    """A spec's rollout."""
    return {"rollout": {"steps": list(wanted)}}


def sink_fleet(name: str, program, sink: Sink, people: int = PEOPLE, **spec) -> fleets.Fleet:
    """A fleet with one server and one campaign."""
    fleet = fleets.Fleet(folder(name), program)
    fleet.seed(SEED)
    fleets.write_csv(fleet.config / "people.csv", people)
    rewrite(fleet, sink, **spec)
    return fleet


def rewrite(fleet: fleets.Fleet, sink: Sink, annotations: dict | None = None, **spec):
    """The folder with this campaign."""
    campaign = fleets.campaign("spring", "all", {"csv": {"path": "people.csv"}}, **spec)
    campaign["metadata"]["annotations"] = annotations or {}
    fleet.write("all.yaml", fleets.smtp_server("relay", sink.port), fleets.plan("all", "relay"), campaign)


def rollout(fleet: fleets.Fleet, name: str = "spring") -> dict:
    """What status says of the rollout."""
    return fleet.status("Campaign", name).get("rollout") or {}


def wait_at(fleet: fleets.Fleet, percent: str, *states: str, seconds: float = 40) -> dict:
    """Waits until the rollout has this share and one of these states."""
    wait_until(lambda: rollout(fleet).get("percent") == percent and rollout(fleet).get("state") in states, seconds, f"{percent}% {states}")
    return rollout(fleet)


def ready(fleet: fleets.Fleet) -> tuple[str, str, str]:
    """State, Ready and its reason."""
    condition = fleet.condition("Campaign", "spring", "Ready")
    return fleet.status("Campaign", "spring").get("state"), condition.get("status"), condition.get("reason")


def once_each(taken, what: str):
    """Nobody is mailed twice."""
    require(set(taken.values()) <= {1}, f"{what}: twice: {[who for who, times in taken.items() if times > 1][:3]}")


def kill_and_start(fleet: fleets.Fleet, process):
    """kill -9, and a new process."""
    process.kill()
    return fleet.start(once=False)


def each_step_contains_the_one_before(program) -> str:
    """Kills in each phase, two promotions (a command, an annotation): samples are nested, stable and of the right size; nobody twice."""
    place = folder("steps")
    with Sink(program, place, "sink", "--delay", "5ms") as sink:
        # The run begins with an annotation that asks for nothing any more.
        old = {"mailfleet.dev/promote": "before it began"}
        wanted = steps({"percent": 10, "minMessages": 20, "pause": {}}, {"percent": "50", "minMessages": 20, "pause": LONG})
        fleet = sink_fleet("steps", program, sink, annotations=old, **wanted)
        process = fleet.start(once=False)
        wait_until(lambda: len(sink.taken()) > 20, 30, "the first messages")
        process = kill_and_start(fleet, process)
        told = wait_at(fleet, "10", "WaitingForPromotion")
        require(ready(fleet) == ("Waiting", "False", "RolloutWaiting") and not fleet.condition("Campaign", "spring", "Stalled"), f"{ready(fleet)}")
        first = sink.taken()
        require(len(first) in TENTH, f"{len(first)} of {PEOPLE} in a sample of 10%")
        require(told["step"] == told["steps"] - 1 == 1 and "waits for a person, then 50%" in told["message"], f"{told}")
        # In the wait: a restart mails nobody, and reads the audience in another order.
        rows = (fleet.config / "people.csv").read_text().splitlines()
        process.kill()
        (fleet.config / "people.csv").write_text("\n".join([rows[0], *reversed(rows[1:])]) + "\n")
        process = fleet.start(once=False)
        wait_until(lambda: int(fleet.status("Campaign", "spring")["recipients"].get("total", 0)) == PEOPLE, 30, "the audience is read again")
        wait_at(fleet, "10", "WaitingForPromotion")
        require(sink.taken() == first, "a restart in the wait mailed somebody")

        code, output = fleet.command("promote", "spring", "--state", fleet.state)
        require(code == 0 and "requested to begin the next step" in output, f"{code} {output}")
        wait_at(fleet, "50", "Sending", "Paused")
        process = kill_and_start(fleet, process)
        told = wait_at(fleet, "50", "Paused")
        second = sink.taken()
        require(ready(fleet)[1:] == ("False", "RolloutPaused") and told["pausesUntil"] in told["message"], f"{ready(fleet)} {told}")
        require(set(first) <= set(second) and len(second) in HALF, f"{len(set(first) - set(second))} are missing in {len(second)}")
        listed = fleet.command("get", "campaigns", "spring", "-o", "wide", "--state", fleet.state)[1]
        require("2/2 (50%)" in listed and "Rollout: Step 2 of 2 (50%)" in " ".join(listed.split()), f"{listed}")
        requests = fleet.state / "promote"
        wait_until(lambda: not list(requests.glob("*.json")), 20, "the request is removed")
        process = kill_and_start(fleet, process)
        wait_at(fleet, "50", "Paused")
        require(sink.taken() == second, "a restart in the pause mailed somebody")

        rewrite(fleet, sink, {"mailfleet.dev/promote": "go"}, **wanted)
        wait_at(fleet, "100", "Finished")
        process = kill_and_start(fleet, process)
        fleet.wait_state("Campaign", "spring", "Completed", 60)
        everybody = sink.taken()
        process.stop()
        require(set(second) <= set(everybody), "who was mailed is still there")
        # What was on the wire at a kill may not have arrived, and is not sent again (whenOutcomeIsUnknown: Skip).
        once_each(everybody, "with five kills")
        known = fleet.recipients("spring")
        require(len(known) == PEOPLE and set(known.values()) <= {"Accepted", "Unknown"}, f"{len(known)} {set(known.values())}")
        lost = [who for who, state in known.items() if state == "Accepted" and who not in everybody]
        require(not lost, f"accepted, and never taken: {lost[:3]}")
        told = rollout(fleet)
        require(told["progress"] == "done" and told["lastHandledPromote"] == "go", f"{told}")
        code, output = fleet.command("promote", "spring", "--state", fleet.state)
        require(code == 1 and "no step left" in output, f"{code} {output}")
    return f"{len(first)}, {len(second)}, {len(everybody)} of {PEOPLE}; 5 kills"


def a_run_once_ends_where_a_person_decides(program) -> str:
    """`--once` ends with 0 where a person decides, each time until a promotion; a pause with a time is waited for."""
    with Sink(program, folder("once"), "sink") as sink:
        wanted = steps({"percent": 10, "minMessages": 20, "pause": {"duration": "1s"}}, {"percent": 50, "minMessages": 20, "pause": {}})
        fleet = sink_fleet("once", program, sink, **wanted)
        code, output = fleet.run_once()
        require(code == 0 and ready(fleet) == ("Waiting", "False", "RolloutWaiting"), f"{code} {ready(fleet)} {output[-800:]}")
        require("`mailfleet promote spring --state" in output, output[-800:])
        half = sink.taken()
        require(len(half) in HALF and rollout(fleet)["percent"] == "50", f"{len(half)} {rollout(fleet)}")
        code, output = fleet.run_once()
        require(code == 0 and sink.taken() == half, f"{code}: the same again mails somebody: {output[-800:]}")
        fleet.command("promote", "spring", "--state", fleet.state)
        code, output = fleet.run_once()
        require(code == 0 and ready(fleet)[0] == "Completed", f"{code} {ready(fleet)} {output[-800:]}")
        require(len(sink.taken()) == PEOPLE, f"{len(sink.taken())}")
        once_each(sink.taken(), "three runs")

        # A sample that is too small to be judged waits for a person, and a campaign without steps cannot be promoted.
        fleet = sink_fleet("few", program, sink, people=50, **steps({"percent": 10, "pause": {"duration": "1s"}}))
        code, output = fleet.run_once()
        told = rollout(fleet)
        require(code == 0 and told["verdict"] == "Undecided" and "minMessages is 200" in told["message"], f"{code} {told}")
        fleet = sink_fleet("none", program, sink, people=5)
        require(fleet.run_once()[0] == 0, "a campaign without steps")
        code, output = fleet.command("promote", "spring", "--state", fleet.state)
        require(code == 1 and "spec.rollout" in output, f"{code} {output}")
        code, output = fleet.command("promote", "autumn", "--state", fleet.state)
        require(code == 1 and "no Campaign autumn" in output, f"{code} {output}")
    return "0 at the wait, twice; then completed"


def who_is_deferred_is_tried_again_while_it_waits(program) -> str:
    """A fifth of the sample is refused at first: the step counts as sent, they are mailed while it waits, and `--once` ends afterwards."""
    with Sink(program, folder("deferred"), "sink", "--reply", "*5@example.com=450once", "--reply", "*8@example.com=450once") as sink:
        wanted = steps({"percent": 10, "minMessages": 20, "pause": {}})
        fleet = sink_fleet("deferred", program, sink, retry={"initialDelay": "1s"}, **wanted)
        code, output = fleet.run_once()
        require(code == 0 and ready(fleet) == ("Waiting", "False", "RolloutWaiting"), f"{code} {ready(fleet)} {output[-800:]}")
        known = fleet.rows("spring")
        again = [row for row in known if row.attempts == 2]
        require({row.state for row in known} == {"Accepted"} and len(known) in TENTH and again, f"{len(known)} {len(again)}")
        once_each(sink.taken(), "with retries")
    return f"{len(again)} of {len(known)} at the second attempt"


def refusals_in_the_first_step_stop_it(program) -> str:
    """Of a sample of 10%, 15% are rejected at once: nobody else is mailed, and the command says why a promotion is of no use."""
    with Sink(program, folder("refused"), "sink", "--reply", "bad*@example.com=550") as sink:
        fleet = fleets.Fleet(folder("refused"), program)
        fleet.seed(SEED)
        people = [f"{'bad' if number % 20 < 3 else 'good'}{number}@example.com" for number in range(PEOPLE)]
        (fleet.config / "people.csv").write_text("email,name\n" + "".join(f"{who},Ann\n" for who in people))
        wanted = steps({"percent": 10, "minMessages": 100, "pause": LONG})
        rewrite(fleet, sink, stopWhen={"bouncePercent": "8"}, **wanted)
        code, output = fleet.run_once()
        require(code == 1 and ready(fleet) == ("Stopped", "False", "BounceRateTooHigh"), f"{code} {ready(fleet)} {output[-800:]}")
        told, why = rollout(fleet), fleet.condition("Campaign", "spring", "Stalled")["message"]
        require(told["state"] == "Stopped" and told["verdict"] == "Failed", f"{told}")
        require(why.startswith("Step 1 of 1 (10%): ") and "90% of the audience has not been mailed" in why, why)
        mailed = len(fleet.recipients("spring"))
        require(mailed < TENTH[-1], f"{mailed} were mailed")
        code, output = fleet.command("promote", "spring", "--state", fleet.state)
        require(code == 1 and "`mailfleet resume spring --state" in output, f"{code} {output}")
    return f"stopped with {mailed} of {PEOPLE}"


def bounces_of_the_first_step_stop_it_and_a_cleaned_list_goes_through(program) -> str:
    """1% of a list whose addresses bounce at 15%: the other 99% are never mailed, over kills; the same list, cleaned and resumed, goes through."""
    people, dead = 20_000, re.compile(r"^person\d*(07|23|41|58|60|64|73|77|80|82|86|89|91|94|99)@")
    shop = Shop("bounced", program, people)
    fleet = shop.fleet
    fleet.seed(SEED)

    def campaign(pause: dict) -> dict:
        wanted = steps({"percent": 1, "minMessages": 100, "pause": pause}, {"percent": "10", "minMessages": 100})
        return fleets.campaign("spring", "all", {"csv": {"path": "people.csv"}}, **wanted)

    shop.write(campaign(LONG))
    process = shop.start()
    try:
        wait_at(fleet, "1", "Paused")
        told = set()

        def tell():
            gone = [who for who in list(shop.vendor.reference_of) if dead.match(who) and who not in told]
            for who in gone:
                require(shop.insist(shop.vendor.told("Bounce", who, len(told) + 1)) >= 1, who)
                told.add(who)
            return ready(fleet)[0] == "Stopped"

        wait_until(tell, 30, "the step stops", every=0.05)
        mailed = dict(fleet.recipients("spring"))
        require(len(mailed) < people * 0.02, f"{len(mailed)} of {people} were mailed")
        status = fleet.status("Campaign", "spring")
        why = fleet.condition("Campaign", "spring", "Stalled")
        require(why["reason"] == "BounceRateTooHigh" and why["message"].startswith("Step 1 of 2 (1%): "), f"{why}")
        require("99% of the audience has not been mailed" in why["message"] and "`mailfleet resume spring`" in why["message"], f"{why}")
        require(rollout(fleet)["state"] == "Stopped" and rollout(fleet)["verdict"] == "Failed", f"{status['rollout']}")
        for _ in range(2):
            process.kill()
            process = shop.start()
            wait_until(lambda: ready(fleet)[0] == "Stopped", 20, "still stopped after a kill")
        require(dict(fleet.recipients("spring")) == mailed, "somebody was mailed after the stop")

        # The list is cleaned: everybody who bounces is gone from it. The pause is over by now.
        good = [who for who in shop.people if not dead.match(who)]
        (fleet.config / "people.csv").write_text("email,name\n" + "".join(f"{who},Ann\n" for who in good))
        shop.write(campaign({"duration": "1s"}))
        wait_until(lambda: fleet.status("Campaign", "spring").get("observedGeneration") == 2, 20, "the edit")
        require(ready(fleet)[0] == "Stopped", "an edit alone resumes nothing")
        code, output = fleet.command("resume", "spring", "--state", fleet.state)
        require(code == 0, f"{code} {output}")
        fleet.wait_state("Campaign", "spring", "Completed", 120)
        require(rollout(fleet)["progress"] == "done", f"{rollout(fleet)}")
        known = fleet.recipients("spring")
        require(set(good) <= set(known), f"{len(set(good) - set(known))} of the cleaned list were not mailed")
        more = {who for who in set(known) - set(good) if known[who] == "Accepted" and who not in mailed}
        require(not more, f"mailed though cleaned away: {sorted(more)[:3]}")
    finally:
        process.kill()
        shop.vendor.__exit__(None, None, None)
    return f"stopped at {len(mailed)} of {people}, {len(told)} bounced; then {len(good)} cleaned"


def an_edit_takes_nothing_back(program) -> str:
    """Steps changed while the campaign waits: a smaller step mails nobody more, a larger one its people, and without steps everybody."""
    with Sink(program, folder("edits"), "sink") as sink:
        fleet = sink_fleet("edits", program, sink, **steps({"percent": 10, "minMessages": 20, "pause": {}}))
        process = fleet.start(once=False)
        wait_at(fleet, "10", "WaitingForPromotion")
        tenth = sink.taken()
        rewrite(fleet, sink, **steps({"percent": 5, "minMessages": 20, "pause": {}}, {"percent": 20, "minMessages": 20, "pause": {}}))
        wait_until(lambda: rollout(fleet).get("progress") == "1/2 (10%)", 20, "the edit")
        require(sink.taken() == tenth and rollout(fleet)["state"] == "WaitingForPromotion", f"{rollout(fleet)}")
        rewrite(fleet, sink, **steps({"percent": 50, "minMessages": 20, "pause": {}}))
        wait_at(fleet, "50", "WaitingForPromotion")
        half = sink.taken()
        require(set(tenth) <= set(half) and len(half) in HALF, f"{len(half)}")
        rewrite(fleet, sink)
        fleet.wait_state("Campaign", "spring", "Completed", 60)
        process.stop()
        require(len(sink.taken()) == PEOPLE, f"{len(sink.taken())}")
        once_each(sink.taken(), "over three edits")

        # A run that has mailed people at once gets no steps by an edit.
        late = steps({"percent": 10, "pause": {}})
        fleet = sink_fleet("late", program, sink, people=100)
        require(fleet.run_once()[0] == 0, "at once")
        rewrite(fleet, sink, **late)
        require(fleet.run_once()[0] == 0 and ready(fleet)[0] == "Completed" and not rollout(fleet), f"{ready(fleet)} {rollout(fleet)}")
    return f"10% stay {len(tenth)}, then {len(half)}, then all"


class Boxes:
    """A fleet whose messages go into an outbox: whom they are to, and by which link each person unsubscribes."""

    def __init__(self, name: str, program):
        self.fleet, self.port = fleets.Fleet(folder(name), program), free_port()
        self.fleet.seed(SEED)

    def write(self, *campaigns: dict):
        """The folder with these campaigns."""
        box = fleets.resource("SendingServer", "box", {"provider": {"outbox": {}}})
        self.fleet.write("all.yaml", box, fleets.plan("all", "box"), *campaigns)

    def start(self):
        """A process whose page can be reached."""
        options = ("--public-url", "https://news.example.com", "--public-address", f"127.0.0.1:{self.port}", "--quiet")
        process = self.fleet.start(*options, once=False)
        wait_until(lambda: answers(self.port), 30, "the public listener")
        return process

    def messages(self, name: str) -> list:
        """The messages of a campaign."""
        files = [path.read_bytes() for path in self.fleet.state.glob("outbox/*/*/new/*")]
        read = [email.message_from_bytes(raw, policy=email.policy.default) for raw in files]
        return [message for message in read if message["Subject"].startswith(name)]

    def taken(self, name: str) -> Counter:
        """How often each person was mailed by a campaign."""
        return Counter(message["To"].addresses[0].addr_spec for message in self.messages(name))

    def leave(self, name: str, who: str):
        """Unsubscribes a person by one click on the link of their message."""
        field = next(str(message["List-Unsubscribe"]) for message in self.messages(name) if who in str(message["To"]))
        path = "".join(field.split()).strip("<>").removeprefix("https://news.example.com")
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        line.request("POST", path, "List-Unsubscribe=One-Click", {"Content-Type": "application/x-www-form-urlencoded"})
        answer = line.getresponse()
        require(answer.status == 200, f"one click of {who}: {answer.status} {answer.read()}")
        line.close()


def newsletter(name: str, audience: dict, run: str = "first", *wanted: dict) -> dict:
    """A campaign that can be unsubscribed from, in these steps."""
    more = steps(*wanted) if wanted else {}
    return fleets.campaign(name, "all", audience, subject=f"{name} {{{{ email }}}}", run=run, unsubscribe={"oneClick": {}}, **more)


def who_is_excluded_or_leaves_is_in_no_step(program) -> str:
    """A fifth of the audience is excluded, the list changes between the steps, and people leave by one click: each step is the sample of
    the same run without any list, less those who are on it then; who left is not mailed, and is counted."""
    audience = {"csv": {"path": "people.csv"}}
    wanted = ({"percent": 10, "minMessages": 20, "pause": {}}, {"percent": 50, "minMessages": 20, "pause": {}})
    sample = {}
    with Sink(program, folder("sample"), "sink") as sink:
        # The same ledger, run and people, and nobody is excluded: who is in each sample.
        fleet = sink_fleet("sample", program, sink, **steps(*wanted))
        for percent in ("10", "50"):
            require(fleet.run_once()[0] == 0 and rollout(fleet)["percent"] == percent, f"{rollout(fleet)}")
            sample[percent] = set(sink.taken())
            fleet.command("promote", "spring", "--state", fleet.state)
    boxes = Boxes("excluded", program)
    fleet, people = boxes.fleet, [fleets.address(number) for number in range(PEOPLE)]
    fleets.write_csv(fleet.config / "people.csv", PEOPLE)
    audience["exclude"] = [{"csv": {"path": "gone.csv"}}]

    def exclude(gone: set[str]):
        (fleet.config / "gone.csv").write_text("email\n" + "".join(f"{who.upper()}\n" for who in sorted(gone)))

    def excluded() -> int:
        return int(fleet.status("Campaign", "spring")["recipients"].get("excluded", 0))

    gone = set(people[::5])
    exclude(gone)
    # Somebody whom no step but the last mails leaves by the link of another campaign, and somebody of the first by its own.
    late = next(who for who in people if who not in sample["50"] | gone)
    boxes.write(newsletter("winter", {"inline": [{"email": late, "name": "Ann"}]}), newsletter("spring", audience, "first", *wanted))
    process = boxes.start()
    try:
        fleet.wait_state("Campaign", "winter", "Completed", 40)
        told = wait_at(fleet, "10", "WaitingForPromotion")
        first = set(boxes.taken("spring"))
        require(first == sample["10"] - gone, f"step 1: {sorted(first ^ (sample['10'] - gone))[:5]}")
        tenth = (PEOPLE - len(gone)) // 10
        require(tenth * 0.65 < len(first) < tenth * 1.35, f"{len(first)} are not 10% of {PEOPLE - len(gone)}")
        wait_until(lambda: excluded() == len(gone), 20, "the audience is read to its end")
        counts = fleet.status("Campaign", "spring")["recipients"]
        require(int(counts["total"]) == PEOPLE - len(gone), f"{counts}")
        require(f"{len(first)} of {PEOPLE - len(gone):,} sent" in told["message"] or "waits for a person" in told["message"], told["message"])
        early = sorted(first)[0]
        boxes.leave("winter", late)
        boxes.leave("spring", early)

        # Some are taken off the list, of every part of the audience; others are put on it, mailed already or not.
        back = set(sorted(gone)[::4])
        new = set(sorted(set(people) - gone)[3::7]) - {late, early}
        require(all(part & sample["10"] and part & sample["50"] - sample["10"] and part - sample["50"] for part in (back, new)), "of every part")
        gone = gone - back | new
        exclude(gone)
        process.kill()
        process = boxes.start()
        fleet.command("promote", "spring", "--state", fleet.state)
        wait_at(fleet, "50", "WaitingForPromotion")
        second = set(boxes.taken("spring"))
        require(second == first | sample["50"] - gone, f"step 2: {sorted(second ^ (first | sample['50'] - gone))[:5]}")

        fleet.command("promote", "spring", "--state", fleet.state)
        fleet.wait_state("Campaign", "spring", "Completed", 60)
        taken = boxes.taken("spring")
        once_each(taken, "with a list that changes")
        require(set(taken) == second | set(people) - gone - {late}, f"step 3: {sorted(set(taken) ^ (second | set(people) - gone - {late}))[:5]}")
        known = fleet.recipients("spring")
        require(known.get(late) == "Suppressed" and known.get(early) == "Accepted", f"{known.get(late)} {known.get(early)}")
        require(not (set(known) & gone) - first - second, "who is excluded is in no row of the run")
        status = fleet.status("Campaign", "spring")
        require(int(status["feedback"]["unsubscribed"]) == 1 and int(status["recipients"]["suppressed"]) == 1, f"{status}")

        # Both who left are left out of the next run's steps too.
        boxes.write(newsletter("spring", audience, "second", {"percent": 90, "minMessages": 20, "pause": {}}))
        wait_until(lambda: fleet.status("Campaign", "spring").get("run") == "second", 20, "the next run")
        wait_at(fleet, "90", "WaitingForPromotion")
        again = {who for who, times in boxes.taken("spring").items() if times > taken[who]}
        require(not again & (gone | {late, early}), f"{sorted(again & (gone | {late, early}))[:3]}")
        require(len(again) > (PEOPLE - len(gone)) * 0.8, f"{len(again)}")
    finally:
        process.kill()
    return f"{len(first)}, {len(second)}, {len(taken)} of {PEOPLE}, {len(gone)} of them excluded in the end"


def main():
    cases = Cases(__doc__)
    cases.parse()
    program = fleets.binary()
    cases.add_all(
        [
            each_step_contains_the_one_before,
            a_run_once_ends_where_a_person_decides,
            who_is_deferred_is_tried_again_while_it_waits,
            refusals_in_the_first_step_stop_it,
            bounces_of_the_first_step_stop_it_and_a_cleaned_list_goes_through,
            an_edit_takes_nothing_back,
            who_is_excluded_or_leaves_is_in_no_step,
        ],
        program,
    )
    cases.end()


if __name__ == "__main__":
    main()

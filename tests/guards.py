#!/usr/bin/env python3
"""Servers of which too much comes back: a customer with a bad list is taken off a shared server and the others keep it; a server that
nobody else uses is paused. That outlives kill -9 and edits, and ends by a person's word, or by itself with a small share.

The process is the real one; the server is a fake that rejects the dead.
"""

from parts import fleet as fleets
from parts.process import folder, wait_until
from parts.report import Cases, require
from parts.scripted import Scripted

# So slow that a guard has its say long before the end, which every case waits for.
RATE = {"rates": [{"messages": 50, "per": "1s"}]}
DEAD = "550 5.1.1 no such user"
# A campaign that is stopped by nothing but its servers.
PATIENT = {"stopWhen": {"bouncePercent": "100"}, "whenNoServerIsActive": "Wait"}
PEOPLE = 350


class Mailboxes(Scripted):
    """A server that rejects the dead, until they are alive."""

    def __init__(self):
        self.are_dead = True
        super().__init__(lambda stage, session: DEAD if stage == "rcpt" and self.are_dead and session.recipient.startswith("dead") else None)


class Guarded(fleets.Fleet):
    """A fleet whose server has a guard."""

    def people(self, name: str, every: int) -> dict:
        """An audience in which one of so many is dead; nobody is without."""
        people = [f"dead{n}@d{n % 40}.example.com" if every and n % every == 1 else f"{name}{n}@d{n % 40}.example.com" for n in range(PEOPLE)]
        (self.config / f"{name}.csv").write_text("email,name\n" + "".join(f"{one},Person\n" for one in people))
        return {"csv": {"path": f"{name}.csv"}}

    def came_back(self, name: str = "relay", namespace: str = "default") -> dict:
        """What the server's status says of what came back."""
        return self.status("SendingServer", name, namespace).get("cameBack") or {}

    def paused(self, namespace: str = "default") -> list[str]:
        """The namespaces that are not sent through the server."""
        return [paused["namespace"] for paused in self.came_back(namespace=namespace).get("paused") or []]

    def is_inactive(self, reason: str = "BounceRateTooHigh") -> bool:
        """Whether the server is paused."""
        state = self.status("SendingServer", "relay").get("state")
        return state == "Inactive" and self.condition("SendingServer", "relay", "Ready").get("reason") == reason

    def ended(self, name: str, namespace: str = "default") -> int:
        """People of a campaign with an outcome at the server, by the ledger."""
        return sum(row["accepted"] + row["rejected"] for row in self.ledger_runs() if (row["namespace"], row["campaign"]) == (namespace, name))

    def say(self, *words: str) -> str:
        """A command that succeeds, and what it says."""
        code, told = self.command(*words, "--state", self.state)
        require(code == 0, f"{words}: {code} {told}")
        return told


def of(namespace: str, thing: dict) -> dict:
    """An object in a namespace."""
    return {**thing, "metadata": {**thing["metadata"], "namespace": namespace}}


def a_customers_bad_list_leaves_the_server_to_the_others(program) -> str:
    """Two customers on one server, of whom one has a list a third of which is dead: that one's campaign is taken off the server, over
    kill -9 too, and the other's is completed. A person lets the first back."""
    with Mailboxes() as server:
        fleet = Guarded(folder("guards-shared"), program)
        relay = fleets.smtp_server("relay", server.port, namespace="ops", limits=RATE, feedback={"pauseWhen": {"afterMessages": 50}})
        plan = of("ops", {**fleets.plan("all", "relay")})
        plan["spec"]["allowedNamespaces"] = {"from": "All"}
        reference = {"planRef": {"name": "all", "namespace": "ops"}}
        bad = of("acme", fleets.campaign("bad", "all", fleet.people("bad", 3), **PATIENT, **reference))
        good = of("shop", fleets.campaign("good", "all", fleet.people("good", 0), **reference))
        fleet.write("all.yaml", relay, plan, bad, good)
        process = fleet.start(once=False)
        try:
            wait_until(lambda: fleet.paused("ops") == ["acme"], 30, "acme is taken off the server")
            told = fleet.came_back(namespace="ops")["paused"][0]
            require(told["reason"] == "BounceRateTooHigh" and "--for acme" in told["message"], f"{told}")
            wait_until(lambda: fleet.condition("Campaign", "bad", "NamespacePaused", "acme").get("status") == "True", 20, "the campaign says so")
            ready = fleet.condition("Campaign", "bad", "Ready", "acme")
            require(ready["reason"] == "WaitingForServer" and "can be used by namespace acme" in ready["message"], f"{ready}")
            listed = fleet.say("get", "servers", "-n", "ops", "-o", "wide")
            require("acme" in listed and "Active" in listed, listed)
            process.kill()
            before = fleet.ended("bad", "acme")
            require(5 <= before < PEOPLE, f"paused after {before}")
            process = fleet.start(once=False)
            wait_until(lambda: fleet.status("Campaign", "good", "shop").get("state") == "Completed", 60, "the other's campaign")
            require(fleet.status("SendingServer", "relay", "ops")["state"] == "Active" and fleet.paused("ops") == ["acme"], "the server is the others'")
            # Claims whose answer the kill cut off may have become outcomes; nothing new is sent.
            settled = fleet.ended("bad", "acme")
            require(settled - before <= 64, f"{before} before the kill, {settled} after it")
            # Whoever was on the wire at the kill is mailed at most once.
            mailed = [count for one, count in server.taken.items() if one.startswith("good")]
            require(set(mailed) == {1} and len(mailed) >= PEOPLE - 64, f"{len(mailed)} of the other were mailed")
            server.are_dead = False
            fleet.say("resume", "server/relay", "-n", "ops", "--for", "acme")
            wait_until(lambda: fleet.status("Campaign", "bad", "acme").get("state") == "Completed", 60, "the first campaign")
            require(fleet.paused("ops") == [], "nobody is paused")
        finally:
            process.stop()
    return f"acme paused after {before} of {PEOPLE}; shop sent all"


def a_server_of_one_customer_is_paused_until_a_person_resumes_it(program) -> str:
    """The only campaign of a server has a bad list: the server is Inactive, over kill -9 and an edit, until it is resumed; then it is
    judged anew, and trips once more."""
    with Mailboxes() as server:
        fleet = Guarded(folder("guards-own"), program)
        plan, campaign = fleets.plan("all", "relay"), fleets.campaign("bad", "all", fleet.people("bad", 4), **PATIENT)

        def write(**pause):
            """The folder with a guard of these thresholds, or none."""
            feedback = {"feedback": {"pauseWhen": pause}} if pause else {}
            fleet.write("all.yaml", fleets.smtp_server("relay", server.port, limits=RATE, **feedback), plan, campaign)

        write(afterMessages=50)
        process = fleet.start(once=False)
        try:
            wait_until(fleet.is_inactive, 30, "the server is paused")
            ready = fleet.condition("SendingServer", "relay", "Ready")
            require("`mailfleet resume server/relay" in ready["message"] and "bouncePercent is 10." in ready["message"], f"{ready}")
            listed = fleet.say("get", "servers")
            require("Inactive" in listed and "BounceRateTooHigh" in listed, listed)
            process.kill()
            process = fleet.start(once=False)
            wait_until(lambda: fleet.status("Campaign", "bad").get("state") == "Waiting", 30, "the campaign waits again")
            require(fleet.is_inactive(), "kill -9 does not end a pause")
            before = fleet.ended("bad")
            require(50 <= before < PEOPLE, f"paused after {before}")
            # Neither higher thresholds nor none.
            for generation, pause in ((2, {"bouncePercent": "90"}), (3, {})):
                write(**pause)
                wait_until(lambda: int(fleet.status("SendingServer", "relay").get("observedGeneration") or 0) == generation, 20, "the edit is read")
                require(fleet.is_inactive(), f"{pause} ended the pause")
            write(afterMessages=50)
            wait_until(lambda: int(fleet.status("SendingServer", "relay").get("observedGeneration") or 0) == 4, 20, "the edit is read")
            require(fleet.is_inactive() and fleet.ended("bad") == before, f"{before}, then {fleet.ended('bad')}")
            # Nothing was cleaned: it trips again, by what came since.
            fleet.say("resume", "server/relay")
            wait_until(lambda: fleet.ended("bad") >= before + 50 and fleet.is_inactive(), 30, "it is paused again")
            again = fleet.ended("bad")
            require(again < PEOPLE, "it was paused before the end")
            server.are_dead = False
            fleet.say("resume", "server/relay")
            wait_until(lambda: fleet.status("Campaign", "bad").get("state") == "Completed", 60, "the campaign")
            require(all(count == 1 for count in server.taken.values()), "nobody was mailed twice")
        finally:
            process.stop()
    return f"paused after {before} and {again} of {PEOPLE}"


def a_pause_ends_by_itself_with_a_small_share(program) -> str:
    """After resumeAfter the server is Active again and given a small share; a person's word gives it everything."""
    with Mailboxes() as server:
        fleet = Guarded(folder("guards-after"), program)
        feedback = {"pauseWhen": {"afterMessages": 50, "resumeAfter": "10s"}}
        relay = fleets.smtp_server("relay", server.port, limits=RATE, feedback=feedback)
        fleet.write("all.yaml", relay, fleets.plan("all", "relay"), fleets.campaign("bad", "all", fleet.people("bad", 4), **PATIENT))
        process = fleet.start(once=False)
        try:
            wait_until(fleet.is_inactive, 30, "the server is paused")
            server.are_dead = False
            before = fleet.ended("bad")
            wait_until(lambda: fleet.status("SendingServer", "relay").get("state") == "Active", 40, "the pause ends")
            require(fleet.came_back().get("share") == "about 6 a minute", f"{fleet.came_back()}")
            rates = fleet.status("SendingServer", "relay")["effective"]["rates"]
            require({"messages": 1, "per": "10s"} in [{**rate, "messages": int(rate["messages"])} for rate in rates], f"{rates}")
            during = fleet.ended("bad") - before
            require(during < 50, f"a small share: {during}")
            fleet.say("resume", "server/relay")
            wait_until(lambda: fleet.status("Campaign", "bad").get("state") == "Completed", 60, "the campaign")
            require("share" not in fleet.came_back(), f"{fleet.came_back()}")
        finally:
            process.stop()
    return f"{during} at first, then all of {PEOPLE}"


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all(
        (
            a_customers_bad_list_leaves_the_server_to_the_others,
            a_server_of_one_customer_is_paused_until_a_person_resumes_it,
            a_pause_ends_by_itself_with_a_small_share,
        ),
        fleets.binary(),
    )
    cases.end()


if __name__ == "__main__":
    main()

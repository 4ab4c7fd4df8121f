#!/usr/bin/env python3
"""What vendors tell, from the call to the ledger: counted once, people left out afterwards, and nothing lost over kill -9.

The process is the real one; the vendor is a fake that remembers the references its requests had, and calls as Postmark does.
"""

import http.client
import json
import random
import threading
import time

from parts import fleet as fleets
from parts import ledgerfile
from parts.process import Process, answers, folder, free_port, wait_until
from parts.report import Cases, require
from parts.vendors import Vendor

SECRET = "0123456789abcdef0123"  # noqa: S105


class Postmark(Vendor):
    """Postmark's API, and its calls."""

    def __init__(self):
        super().__init__("postmark")
        self.reference_of: dict[str, str] = {}
        self.watch = self.remember

    def remember(self, method, path, headers, body):
        """Keeps the reference of each message."""
        messages = json.loads(body) if body else []
        for message in messages if isinstance(messages, list) else [messages]:
            if reference := (message.get("Metadata") or {}).get("mailfleet_reference"):
                self.reference_of[message["To"].rsplit("<", 1)[-1].rstrip(">")] = reference

    def told(self, kind: str, address: str, number: int) -> dict:
        """One event of a person, as Postmark words it."""
        metadata = {"mailfleet_reference": self.reference_of[address]}
        common = {"ID": number, "MessageID": f"m{number}", "Metadata": metadata}
        if kind == "Delivery":
            return common | {"RecordType": "Delivery", "Recipient": address, "DeliveredAt": "2026-11-29T08:00:00Z", "Details": "250 ok"}
        if kind == "Bounce":
            more = {"Type": "HardBounce", "TypeCode": 1, "Details": "smtp;550 5.1.1 no such user", "BouncedAt": "2026-11-29T08:00:00Z"}
            return common | {"RecordType": "Bounce", "Email": address} | more
        return common | {"RecordType": "SpamComplaint", "Type": "SpamComplaint", "TypeCode": 512, "Email": address, "BouncedAt": "2026-11-29T08:00:00Z"}


class Shop:
    """A fleet with one server of Postmark, and a campaign to so many people."""

    def __init__(self, name: str, program, count: int, **feedback):
        self.vendor, self.port, self.program = Postmark().__enter__(), free_port(), program
        self.fleet = fleets.Fleet(folder(name), program)
        fleets.write_csv(self.fleet.config / "people.csv", count)
        self.people = [row.split(",")[0] for row in (self.fleet.config / "people.csv").read_text().splitlines()[1:]]
        webhook = {"webhook": {"secretRef": {"name": "hook", "key": "secret"}}, **feedback}
        self.objects = [
            self.vendor.secret(),
            fleets.secret("hook", secret=SECRET),
            fleets.resource("SendingServer", "postmark", {"provider": self.vendor.spec(), "feedback": webhook}),
            fleets.plan("all", "postmark"),
        ]
        self.write(fleets.campaign("one", "all", {"csv": {"path": "people.csv"}}))

    def write(self, *campaigns: dict):
        """The folder with these campaigns."""
        self.fleet.write("all.yaml", *self.objects, *campaigns)

    def start(self) -> Process:
        """A process that listens."""
        process = self.fleet.start("--public-address", f"127.0.0.1:{self.port}", once=False)
        wait_until(lambda: answers(self.port), 20, "the public listener")
        return process

    def call(self, told, secret: str = SECRET, server: str = "postmark") -> int:
        """Calls the webhook; the status, or 0 where the line broke."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
            line.request("POST", f"/feedback/default/{server}", json.dumps(told), headers)
            return line.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            line.close()

    def insist(self, told) -> int:
        """Calls as a vendor does, until it is taken; how often that was needed."""
        for tries in range(1, 400):
            if self.call(told) == 200:
                return tries
            time.sleep(0.05)
        raise TimeoutError(f"never taken: {told}")

    def bounced(self) -> int:
        """The hard bounces of the campaign, by the ledger."""
        return sum(run["bounced"] for run in self.fleet.ledger_runs())

    def suppressed(self, *keys: str) -> list[tuple]:
        """These values of everybody who is not mailed, in order."""
        return sorted(tuple(row[key] for key in keys) for row in self.fleet.suppressed())


def what_a_vendor_tells_is_counted_and_heeded(program) -> str:
    """Deliveries, bounces and a complaint: in status and ledger, each once; whoever bounced or complained is not mailed again."""
    shop = Shop("feedback-told", program, 30)
    process = shop.start()
    try:
        shop.fleet.wait_state("Campaign", "one", "Completed", 30)
        vendor, people = shop.vendor, shop.people
        require(sorted(vendor.reference_of) == sorted(people), f"references: {len(vendor.reference_of)}")
        gone, angry = people[:3], people[3]
        told = [vendor.told("Delivery", one, number) for number, one in enumerate(people[3:])]
        told += [vendor.told("Bounce", one, 100 + number) for number, one in enumerate(gone)]
        told += [vendor.told("SpamComplaint", angry, 200)]
        require(shop.call(told, secret="fedcba98765432100000") == 401, "another secret")
        require(shop.call(told, server="other") == 401, "another server")
        foreign = vendor.told("Bounce", people[9], 300)
        foreign["Metadata"]["mailfleet_reference"] = "1" + foreign["Metadata"]["mailfleet_reference"][1:]
        require(shop.call(foreign) == 200, "a reference of another ledger is no fault of the vendor")
        require(shop.call(told) == 200 and shop.call(told) == 200, "taken, and once more")
        wanted = {"delivered": 27, "softBounced": 0, "bounced": 3, "complained": 1, "unsubscribed": 0}

        def feedback() -> dict:
            return {key: int(value) for key, value in (shop.fleet.status("Campaign", "one").get("feedback") or {}).items()}

        wait_until(lambda: feedback() == wanted, 20, f"the counts in status, {feedback()}")
        status = shop.fleet.status("Campaign", "one")
        require(int(status["recipients"]["accepted"]) == 30 and status["state"] == "Completed", f"what was accepted stays: {status['recipients']}")
        ready = shop.fleet.condition("SendingServer", "postmark", "FeedbackReady")
        wait_until(lambda: shop.fleet.condition("SendingServer", "postmark", "FeedbackReady").get("reason") == "WebhookReceiving", 20, f"{ready}")
        listed = shop.suppressed("email", "reason")
        require(listed == sorted([(one, "HardBounce") for one in gone] + [(angry, "Complaint")]), f"{listed}")
        code, told = shop.fleet.command("why", gone[0], "--state", shop.fleet.state)
        require(code == 0 and "HardBounce" in told and "5.1.1 no such user" in told, f"{code} {told}")
        before = dict(vendor.taken)
        shop.write(fleets.campaign("one", "all", {"csv": {"path": "people.csv"}}, run="second"))
        wait_until(lambda: shop.fleet.status("Campaign", "one").get("run") == "second" and shop.fleet.status("Campaign", "one")["state"] == "Completed", 30, "the next run")
        again = {one for one in people if vendor.taken[one] > before[one]}
        require(again == set(people[4:]), f"{len(again)} mailed again")
        require(int(shop.fleet.status("Campaign", "one")["recipients"]["suppressed"]) == 4, "four are suppressed")
    finally:
        process.stop()
    return "31 events, twice; 4 people left out"


def too_many_complaints_pause_the_server(program) -> str:
    """Complaints and bounces that come after everything was sent pause the server that nobody else uses; a person resumes it."""
    shop = Shop("feedback-pause", program, 60, pauseWhen={"afterMessages": 50, "complaintPercent": "4", "bouncePercent": "50"})
    process = shop.start()
    try:
        shop.fleet.wait_state("Campaign", "one", "Completed", 30)

        def server() -> tuple:
            status, ready = shop.fleet.status("SendingServer", "postmark"), shop.fleet.condition("SendingServer", "postmark", "Ready")
            return status.get("state"), ready.get("reason"), int((status.get("cameBack") or {}).get("complained") or 0)

        def tell(many: int) -> list[dict]:
            return [shop.vendor.told("SpamComplaint", one, number) for number, one in enumerate(shop.people[:many])]

        require(shop.call(tell(2)) == 200, "two of sixty complain")
        wait_until(lambda: server() == ("Active", "Active", 2), 20, f"they are counted, {server()}")
        require(shop.call(tell(3)) == 200, "and a third one")
        wait_until(lambda: server()[:2] == ("Inactive", "ComplaintRateTooHigh"), 20, f"it is paused, {server()}")
        code, told = shop.fleet.command("resume", "server/postmark", "--state", shop.fleet.state)
        require(code == 0, told)
        wait_until(lambda: server() == ("Active", "Active", 0), 20, f"it is judged anew, {server()}")
        require(shop.call([shop.vendor.told("Bounce", one, 100 + number) for number, one in enumerate(shop.people[3:])]) == 200, "late bounces")
        wait_until(lambda: shop.bounced() == 57, 20, "they are recorded")
        require(server()[0] == "Active", "what comes back of earlier messages is forgiven")
    finally:
        process.stop()
    return "3 of 60 complained"


def who_leaves_the_vendor_leaves_those_who_mailed_through_it(program) -> str:
    """A person unsubscribes at the vendor, of no message in particular: they are left out where they were mailed through this server, by
    whichever customers, and elsewhere not; where nobody mailed them, it is the namespace of the server."""
    shop = Shop("feedback-vendor", program, 4)
    shop.objects[-1]["spec"]["allowedNamespaces"] = {"from": "All"}
    both, ours, theirs = shop.people[0], shop.people[1], "theirs@example.com"

    def of_bank(run: str) -> dict:
        audience = {"inline": [{"email": who, "name": "Ann"} for who in (both.upper(), theirs)]}
        campaign = fleets.campaign("one", "all", audience, run=run)
        campaign["metadata"]["namespace"], campaign["spec"]["planRef"]["namespace"] = "bank", "default"
        return campaign

    def of_shop(run: str) -> dict:
        return fleets.campaign("one", "all", {"csv": {"path": "people.csv"}}, run=run)

    def left(who: str) -> dict:
        change = {"Recipient": who, "Origin": "Recipient", "SuppressSending": True, "SuppressionReason": "ManualSuppression"}
        return {"RecordType": "SubscriptionChange", "MessageID": "", "ChangedAt": "2026-11-29T08:00:00Z", **change}

    shop.write(of_shop("first"), of_bank("first"))
    process = shop.start()
    try:
        for namespace in ("default", "bank"):
            wait_until(lambda of=namespace: shop.fleet.status("Campaign", "one", of).get("state") == "Completed", 30, f"{namespace} is done")
        for who in (both, ours, theirs, "nobody@example.com"):
            require(shop.call(left(who)) == 200 and shop.call(left(who)) == 200, who)
        listed = shop.suppressed("namespace", "email", "reason")
        wanted = [("bank", both), ("bank", theirs), ("default", "nobody@example.com"), ("default", both), ("default", ours)]
        require(listed == sorted((namespace, who, "Unsubscribed") for namespace, who in wanted), f"{listed}")
        shop.write(of_shop("second"), of_bank("second"))
        for namespace, count in (("default", 2), ("bank", 2)):
            done = lambda of=namespace: (shop.fleet.status("Campaign", "one", of).get(key) for key in ("run", "state"))  # noqa: E731
            wait_until(lambda of=done: tuple(of()) == ("second", "Completed"), 30, f"the second run of {namespace}")
            told = shop.fleet.status("Campaign", "one", namespace)["recipients"]
            require(int(told["suppressed"]) == count, f"{namespace}: {told}")
    finally:
        process.stop()
    return "two namespaces, one server"


def nothing_is_lost_over_kills(program) -> str:
    """1,000 bounces come in while the process is killed again and again: each is recorded, and counted once."""
    shop = Shop("feedback-kills", program, 1_000)
    process = shop.start()
    shop.fleet.wait_state("Campaign", "one", "Completed", 60)
    batches = [shop.people[at : at + 10] for at in range(0, 1_000, 10)]
    told = [[shop.vendor.told("Bounce", one, at * 10 + number) for number, one in enumerate(batch)] for at, batch in enumerate(batches)]
    tries = []

    def bring(part):
        for batch in part:
            tries.append(shop.insist(batch))

    bringing = [threading.Thread(target=bring, args=(told[at::4],)) for at in range(4)]
    for thread in bringing:
        thread.start()
    kills, chance = 0, random.Random(7)
    while any(thread.is_alive() for thread in bringing) and kills < 6:
        time.sleep(chance.uniform(0.05, 0.5))
        process.kill()
        kills += 1
        process = shop.start()
    for thread in bringing:
        thread.join(120)
    process.stop()
    require(len(tries) == len(told), f"{len(tries)} of {len(told)} batches were taken")
    recorded, counted = ledgerfile.hard_bounces(shop.fleet.state)
    require(recorded == 1_000, f"{recorded} events")
    require(shop.bounced() == 1_000 and counted == 1_000, f"each counts once: {shop.bounced()}, {counted}")
    left_out = shop.suppressed("reason").count(("HardBounce",))
    require(left_out == 1_000, f"{left_out} are suppressed")
    return f"1,000 bounces in 100 calls, {sum(tries) - len(tries)} repeated, {kills} kills"


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all(
        (
            what_a_vendor_tells_is_counted_and_heeded,
            too_many_complaints_pause_the_server,
            who_leaves_the_vendor_leaves_those_who_mailed_through_it,
            nothing_is_lost_over_kills,
        ),
        fleets.binary(),
    )
    cases.end()


if __name__ == "__main__":
    main()

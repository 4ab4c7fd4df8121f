#!/usr/bin/env python3
"""Who is not mailed: rejected addresses, the list of people and its commands beside a process that sends, and people who are forgotten.

SQLite reads the ledger, and the server at the other end counts.
"""

import base64
import csv
import io
import json
from pathlib import Path

from parts import fleet as fleets
from parts import ledgerfile
from parts.process import folder, wait_until
from parts.report import Cases, require
from parts.scripted import Scripted

MANY = 20_000


def inline(*people: str) -> dict:
    return {"inline": [{"email": person, "name": "Ann", "number": 1} for person in people]}


def people_of(fleet: fleets.Fleet, name: str, *people: str) -> dict:
    """An audience in a file."""
    rows = "".join(f"{person},Ann,1\n" for person in people)
    (fleet.config / f"{name}.csv").write_text("email,name,number\n" + rows)
    return {"csv": {"path": f"{name}.csv"}}


def states(fleet: fleets.Fleet, name: str, run: str = "first") -> dict[str, str]:
    return fleet.recipients(name, run)


def an_address_that_is_none_is_not_tried_again(program) -> str:
    """Of four rejections one says that there is no mailbox; only that person is left out of the next run and of other campaigns."""
    replies = {
        "gone@example.com": "550 5.1.1 <gone@example.com>: no such user",
        "full@example.com": "552 5.2.2 mailbox full",
        "policy@example.com": "550 5.7.1 rejected by policy",
        "closed@example.com": "550 5.2.1 this account is suspended",
    }
    with Scripted(lambda stage, session: replies.get(session.recipient) if stage == "rcpt" else None) as server:
        fleet = fleets.Fleet(folder("dead"), program)
        people = [*replies, *(f"p{n}@example.com" for n in range(20))]
        first = fleets.campaign("one", "all", inline(*people))
        fleet.write("all.yaml", fleets.smtp_server("relay", server.port), fleets.plan("all", "relay"), first)
        code, output = fleet.run_once()
        listed = [tuple(row[key] for key in ("namespace", "email", "reason", "source")) for row in fleet.suppressed()]
        require(listed == [("default", "gone@example.com", "HardBounce", "reply of default/relay")], f"{code} {listed}\n{output}")
        asked = server.asked["gone@example.com"]
        # Another campaign of the namespace, and another namespace that knows nothing of it.
        other = fleets.campaign("two", "all", inline("GONE@example.com", "p1@example.com"))
        fleet.write("two.yaml", other)
        code, output = fleet.run_once()
        require(states(fleet, "two") == {"GONE@example.com": "Suppressed", "p1@example.com": "Accepted"}, f"{states(fleet, 'two')} {output}")
        require(server.asked["gone@example.com"] == asked and server.asked["GONE@example.com"] == 0, f"{server.asked}")
        status = fleet.status("Campaign", "two")
        require(status["state"] == "Completed" and int(status["recipients"]["suppressed"]) == 1, f"{status}")
        code, told = fleet.command("why", "gone@example.com", "--state", fleet.state, "-o", "json")
        found = json.loads(told)
        whats = [(line.get("campaign"), line["what"]) for line in found]
        require(code == 0 and whats == [("one", "Rejected"), ("two", "Suppressed"), (None, "not mailed: HardBounce")], f"{code} {whats}")
        code, told = fleet.command("why", "nobody@example.com", "--state", fleet.state)
        require(code == 1 and "nothing is known about nobody@example.com" in told, f"{code} {told}")
    return "1 of 4 rejections listed; not asked again"


def the_list_is_changed_with_and_without_a_process(program) -> str:
    """add, remove, import and export do the same whether a process sends or not, and a mistyped state folder is told."""
    fleet = fleets.Fleet(folder("list"), program)
    with Scripted() as server:
        objects = (fleets.smtp_server("relay", server.port), fleets.plan("all", "relay"))
        fleet.write("all.yaml", *objects, fleets.campaign("one", "all", inline("p0@example.com")))

        def suppressions(*words) -> tuple[int, str]:
            return fleet.command("suppressions", *words, "--state", fleet.state)

        code, told = suppressions("add", "ann@example.com")
        require(code == 2 and "there is no ledger at" in told and "--state" in told, f"{code} {told}")
        fleet.run_once()
        process = None
        for is_running in (False, True):
            if is_running:
                process = fleet.start(once=False)
                wait_until(lambda: (fleet.state / "control.sock").exists(), 10, "the socket")
            code, told = suppressions("add", "Ann@Example.com", "ben@example.com", "--topic", "weekly")
            require(code == 0 and "2 people added to the suppression list of default" in told, f"{is_running}: {code} {told}")
            code, told = suppressions("add", "ann@example.com", "--topic", "weekly")
            require(code == 0 and "0 people added" in told and "1 on it already" in told, f"{is_running}: {code} {told}")
            file = fleet.folder / "list.csv"
            rows = ["email,reason,time,topic,namespace", "cy@example.com,Complaint,2026-01-02T03:04:05Z,,shop", "di@example.com,,,,", "nobody,,,,", "eve@example.com,Gone,,,"]
            file.write_text("\n".join(rows) + "\n")
            code, told = suppressions("import", file)
            parts = ("2 entries added", "2 rows could not be used", "line 4: ", "eve@example.com: `Gone` is not a reason")
            require(code == 1 and all(part in told for part in parts), f"{is_running}: {code} {told}")
            exported = fleet.command("suppressions", "export", "--state", fleet.state)[1]
            found = {(row["namespace"], row["email"], row["topic"], row["reason"], row["source"]) for row in csv.DictReader(io.StringIO(exported))}
            wanted = {
                ("default", "ann@example.com", "weekly", "Listed", "command line"),
                ("default", "ben@example.com", "weekly", "Listed", "command line"),
                ("shop", "cy@example.com", "", "Complaint", "import"),
                ("default", "di@example.com", "", "Listed", "import"),
            }
            require(found == wanted, f"{is_running}: {found}")
            # What was exported is what import reads.
            file.write_text(exported)
            code, told = suppressions("import", file)
            require(code == 0 and "0 entries added" in told and "4 on it already" in told, f"{is_running}: {code} {told}")
            code, told = suppressions("remove", "ann@example.com", "ben@example.com", "di@example.com", "zed@example.com")
            require(code == 1 and "not on the list of default: zed@example.com" in told, f"{is_running}: {code} {told}")
            code, told = suppressions("remove", "cy@example.com", "-n", "shop", "--reason", "Complaint")
            require(code == 0 and fleet.suppressed() == [], f"{is_running}: {code} {told}")
            code, told = suppressions("add", "not an address")
            require(code == 2 and "is not a valid address" in told, f"{is_running}: {code} {told}")
        process.kill()
        # A killed process leaves its socket behind; the command does the work itself.
        require((fleet.state / "control.sock").exists(), "a kill leaves the socket")
        code, told = suppressions("add", "ann@example.com")
        require(code == 0, f"{code} {told}")
    return "alone, beside a process, and after its kill"


def a_retry_leaves_the_person_out(program) -> str:
    """A deferred person is put on the list before the next attempt: it is not made, and the campaign completes."""
    with Scripted(lambda stage, session: "451 4.2.0 later" if stage == "rcpt" and session.recipient == "late@example.com" else None) as server:
        fleet = fleets.Fleet(folder("retry"), program)
        campaign = fleets.campaign("one", "all", inline("late@example.com", "p0@example.com"), retry={"initialDelay": "3s"})
        fleet.write("all.yaml", fleets.smtp_server("relay", server.port), fleets.plan("all", "relay"), campaign)
        process = fleet.start(once=False)
        wait_until(lambda: server.asked["late@example.com"] >= 1, 20, "the first attempt")
        code, told = fleet.command("suppressions", "add", "late@example.com", "--state", fleet.state)
        require(code == 0, told)
        asked = server.asked["late@example.com"]
        fleet.wait_state("Campaign", "one", "Completed", 30)
        require(states(fleet, "one")["late@example.com"] == "Suppressed", f"{states(fleet, 'one')}")
        require(server.asked["late@example.com"] == asked, f"{server.asked}")
        process.stop()
    return f"{asked} attempt, and none after"


def a_large_list_is_left_out(program) -> str:
    """Half of a large audience is on the list: nobody of it reaches the server, everybody else does once, and limits count nobody of it."""
    with Scripted() as server:
        fleet = fleets.Fleet(folder("large"), program)
        fleets.write_csv(fleet.config / "people.csv", MANY // 10)
        relay = fleets.smtp_server("relay", server.port, limits={"rates": [{"messages": MANY, "per": "24h"}]})
        none_yet = fleets.campaign("none", "all", inline("nobody@example.net"))
        fleet.write("all.yaml", relay, fleets.plan("all", "relay"), none_yet)
        fleet.run_once()
        rows = (fleet.config / "people.csv").read_text().splitlines()
        people = [row.split(",")[0] for row in rows[1:]]
        out = set(people[::2])
        (fleet.folder / "out.csv").write_text("email\n" + "\n".join(out) + "\n")
        code, told = fleet.command("suppressions", "import", fleet.folder / "out.csv", "--state", fleet.state)
        require(code == 0 and f"{len(out):,} entries added" in told, told)
        fleet.write("all.yaml", relay, fleets.plan("all", "relay"), fleets.campaign("one", "all", {"csv": {"path": "people.csv"}}))
        code, output = fleet.run_once()
        require(code == 0, output)
        taken = dict(server.taken)
        taken.pop("nobody@example.net")
        require(taken == {person: 1 for person in people if person not in out}, f"{len(taken)} of {len(people) - len(out)}")
        charged = ledgerfile.charged(fleet.state, "default/relay")
        require(charged == len(people) - len(out) + 1, f"{charged}")
        counts = fleet.status("Campaign", "one")["recipients"]
        require((int(counts["suppressed"]), int(counts["accepted"])) == (len(out), len(people) - len(out)), f"{counts}")
    return f"{len(out)} of {len(people)} left out"


def who_is_forgotten_is_in_no_file(program) -> str:
    """A person's data goes from the ledger, its log and the outboxes, while a process sends; the same audience mails the person no more."""
    who = "ann.secret@example.com"
    with Scripted() as server:
        fleet = fleets.Fleet(folder("forget"), program)
        people = [f"p{n}@example.com" for n in range(200)]
        relay, box = fleets.smtp_server("relay", server.port), fleets.resource("SendingServer", "box", {"provider": {"outbox": {}}})
        plan = fleets.plan("all", "relay", "box")
        # A key of one's own.
        fleet.state.mkdir(mode=0o700)
        (fleet.state / "keys").touch(0o600)
        (fleet.state / "keys").write_text(f"1 {base64.b64encode(bytes(range(32))).decode()}\n")
        fleet.write("all.yaml", relay, box, plan, fleets.campaign("one", "all", people_of(fleet, "one", who, *people), servers=[{"name": "box"}]))
        code, output = fleet.run_once()
        require(code == 0, output)
        more = fleets.campaign("two", "all", people_of(fleet, "two", *people, who.upper()), servers=[{"name": "relay"}])
        fleet.write("all.yaml", relay, box, plan, more)
        process = fleet.start(once=False)
        fleet.wait_state("Campaign", "two", "Completed", 30)

        def mailed() -> int:
            return sum(count for person, count in server.taken.items() if person.lower() == who)

        require(mailed() == 1, f"mailed once before: {mailed()}")

        def files() -> list[str]:
            found = [path for path in fleet.state.rglob("*") if path.is_file() and who.encode() in path.read_bytes().lower()]
            return sorted(str(path.relative_to(fleet.state)) for path in found)

        require(len(files()) >= 2, f"the test can fail: {files()}")
        code, told = fleet.command("forget", who, "--state", fleet.state)
        require(code == 0 and "2 messages" in told and "removed from outboxes: 1 message" in told, f"{code} {told}")
        require(files() == [], f"{files()}")
        # The rewritten ledger is whole, and the process goes on with it.
        require(ledgerfile.is_whole(fleet.state), "the ledger is damaged")
        fleet.write("all.yaml", relay, box, plan, fleets.campaign("two", "all", people_of(fleet, "two", who, *people), servers=[{"name": "relay"}], run="again"))
        wait_until(lambda: fleet.status("Campaign", "two").get("run") == "again" and fleet.status("Campaign", "two")["state"] == "Completed", 30, "the next run")
        process.stop()
        require(mailed() == 1 and server.taken["p7@example.com"] == 2, f"{mailed()}")
        require(files() == [], f"{files()}")
        code, told = fleet.command("why", who, "--state", fleet.state)
        require(code == 0 and "Forgotten" in told and who not in told, f"{code} {told}")
        code, told = fleet.run_once()
        require(code == 0, told)
        code, told = fleet.command("forget", "x@example.com", "--state", fleet.folder / "nowhere")
        require(code == 2 and "there is no ledger at" in told, f"{code} {told}")
    return "2 messages, an outbox, the ledger and its log"


def a_bad_list_stops_and_a_person_resumes_it(program) -> str:
    """A fifth of a list is dead: the campaign stops after 200 outcomes, at every start and after an edit, until it is resumed; then it
    is judged by what comes since."""
    dead = "550 5.1.1 no such user"
    with Scripted(lambda stage, session: dead if stage == "rcpt" and session.recipient.startswith("dead") else None) as server:
        fleet = fleets.Fleet(folder("stops"), program)
        # One after the other, so that none is taken for a refusal of all.
        people = [f"dead{n}@d{n % 40}.example.com" if n % 5 == 1 and n < 500 else f"p{n}@d{n % 40}.example.com" for n in range(2_000)]
        relay = fleets.smtp_server("relay", server.port, limits={"rates": [{"messages": 200, "per": "1s"}]})
        audience = people_of(fleet, "one", *people)
        fleet.write("all.yaml", relay, fleets.plan("all", "relay"), fleets.campaign("one", "all", audience))
        code, output = fleet.run_once()
        status = fleet.status("Campaign", "one")
        counts = status["recipients"]
        ended = int(counts["accepted"]) + int(counts["rejected"])
        ready = fleet.condition("Campaign", "one", "Ready")
        require(code == 1 and status["state"] == "Stopped" and ready["reason"] == "BounceRateTooHigh", f"{code} {status['state']} {ready} {output}")
        require(200 <= ended < 1_000, f"stopped after {ended}")
        # Neither a start nor an edit goes on.
        for subject in ("Hello", "Hello again"):
            fleet.write("all.yaml", relay, fleets.plan("all", "relay"), fleets.campaign("one", "all", audience, subject=subject))
            code, output = fleet.run_once()
            again = fleet.status("Campaign", "one")
            now = int(again["recipients"]["accepted"]) + int(again["recipients"]["rejected"])
            require(code == 1 and again["state"] == "Stopped" and now == ended, f"{subject}: {code} {again['state']} {ended} then {now}")
        # Resumed: the rest of the dead stop it once more at 200 further outcomes, and the third time nothing of it is left.
        resumes = 0
        while fleet.status("Campaign", "one")["state"] == "Stopped" and resumes < 5:
            code, told = fleet.command("resume", "one", "--state", fleet.state)
            require(code == 0, told)
            resumes += 1
            code, output = fleet.run_once()
        status = fleet.status("Campaign", "one")
        require(code == 0 and status["state"] == "Completed", f"{code} {status['state']} after {resumes} times: {output}")
        require(int(status["recipients"]["rejected"]) == 100 and all(count == 1 for count in server.taken.values()), f"{status['recipients']}")
        require(len(server.taken) == 1_900, f"{len(server.taken)}")
    return f"stopped after {ended} of 2,000, resumed {resumes} times"


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all(
        (
            an_address_that_is_none_is_not_tried_again,
            the_list_is_changed_with_and_without_a_process,
            a_retry_leaves_the_person_out,
            a_large_list_is_left_out,
            who_is_forgotten_is_in_no_file,
            a_bad_list_stops_and_a_person_resumes_it,
        ),
        fleets.binary(),
    )
    cases.end()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Audiences that are edited while they are read, that are broken and fixed, and people written in several ways.

One line a case; the last line is `N passed, N failed, N skipped`.
"""

import argparse
import os
import time

from parts import fleet as fleets
from parts.process import folder, wait_until
from parts.report import Cases, require
from parts.scripted import Scripted


def edited_in_place(program) -> str:
    """A typo is fixed in place, three bytes fewer, while a paced run reads: one version, or read again; nobody else, nobody left out."""
    rows, turns = 16_000, 3
    people = [f"person{number:05}@example.com" for number in range(rows)]
    again = 0
    for turn in range(turns):
        fleet = fleets.Fleet(folder("audience-edited"), program)
        server = Scripted(extensions=("PIPELINING", "CHUNKING"))
        path = fleet.config / "people.csv"
        before = "email,name\nshort@example.com,Ann with a typo\n" + "".join(f"{who},Somebody\n" for who in people)
        after = before.replace("Ann with a typo", "Ann without", 1)
        path.write_text(before)
        fleet.write(
            "fleet.yaml",
            fleets.smtp_server("relay", server.port, limits={"rates": [{"messages": 4000, "per": "1s"}], "connections": 4}),
            fleets.plan("plan", "relay"),
            fleets.campaign("spring", "plan", {"csv": {"path": "people.csv"}}),
        )
        process = fleet.start("-q")
        wait_until(lambda: sum(server.taken.values()) > 2000 * (turn + 1), 60, "it sends")
        # As an editor does that writes into the same file.
        with open(path, "r+", encoding="utf-8") as file:
            file.write(after)
            file.truncate()
        process.wait(120)
        require(process.code == 0, f"exit {process.code}: {process.tail()}")
        taken = set(server.taken)
        require(taken <= {"short@example.com", *people}, f"mailed, and in no version: {sorted(taken - set(people))[:3]}")
        require(len(taken) == rows + 1, f"left out: {sorted({'short@example.com', *people} - taken)[:3]}")
        require(max(server.taken.values()) == 1, "somebody got two")
        again += 1
    return f"{again} edits of {rows} rows: everybody once"


def fixed_within_a_second(program) -> str:
    """A header divided by semicolons, then fixed: the running process sees it, and so does the next start."""
    fleet = fleets.Fleet(folder("audience-fixed"), program)
    server = Scripted()
    path = fleet.config / "people.csv"
    path.write_text("email;name\nann@example.com;Ann\n")
    fleet.write(
        "fleet.yaml",
        fleets.smtp_server("relay", server.port),
        fleets.plan("plan", "relay"),
        fleets.campaign("spring", "plan", {"csv": {"path": "people.csv"}}),
    )
    process = fleet.start("-q", once=False)
    wait_until(lambda: fleet.status("Campaign", "spring").get("state") == "Stopped", 30, "it is stopped")
    require(fleet.condition("Campaign", "spring", "Stalled")["reason"] == "AudienceUnreadable", "it says why")
    begin = time.monotonic()
    path.write_text("email,name\nann@example.com,Ann\n")
    wait_until(lambda: server.taken["ann@example.com"] == 1, 10, "the fixed file is read")
    took = time.monotonic() - begin
    wait_until(lambda: fleet.status("Campaign", "spring").get("state") == "Completed", 10, "it is completed")
    process.kill()
    # The same over a restart, with nothing else changed.
    for broken in ("email;name\nbob@example.com;Bob\n", "email\nbob@example.com,Bob\n", "email,name\n", ""):
        name = f"run-{len(broken)}"
        path.write_text(broken)
        spring = fleets.campaign("spring", "plan", {"csv": {"path": "people.csv"}}, run=name)
        fleet.write("fleet.yaml", fleets.smtp_server("relay", server.port), fleets.plan("plan", "relay"), spring)
        code, text = fleet.run_once("-q")
        require(code == 1, f"{broken!r}: exit {code}: {text[-300:]}")
        before = server.taken["bob@example.com"]
        path.write_text("email,name\nbob@example.com,Bob\n")
        code, text = fleet.run_once("-q")
        require(code == 0 and server.taken["bob@example.com"] == before + 1, f"{broken!r}: exit {code} after it was fixed: {text[-300:]}")
    require(took < 2.5, f"it took {took:.1f} s")
    return f"seen after {took:.1f} s; four broken files fixed before the next start"


def gone_while_it_runs(program) -> str:
    """Whoever is taken out of the file while a retry waits is withdrawn by the running process."""
    fleet = fleets.Fleet(folder("audience-gone"), program)
    server = Scripted()
    server.script = lambda stage, s: "450 4.2.0 greylisted" if stage == "rcpt" and s.recipient.startswith("late") else None
    path = fleet.config / "people.csv"
    path.write_text("email,name\nlate1@example.com,L\nann@example.com,A\nlate2@example.com,M\n")
    spring = fleets.campaign("spring", "plan", {"csv": {"path": "people.csv"}}, retry={"attempts": 5, "initialDelay": "3s"})
    fleet.write("fleet.yaml", fleets.smtp_server("relay", server.port), fleets.plan("plan", "relay"), spring)
    process = fleet.start("-q")
    wait_until(lambda: server.asked["late1@example.com"] and server.asked["late2@example.com"] and server.taken["ann@example.com"], 30, "two are deferred")
    new = path.with_suffix(".new")
    new.write_text("email,name\nann@example.com,A\nlate2@example.com,M\n")
    os.replace(new, path)
    server.script = lambda stage, session: None
    process.wait(60)
    require(process.code == 0, f"exit {process.code}: {process.tail()}")
    found = fleet.recipients("spring")
    require(found == {"late1@example.com": "Withdrawn", "ann@example.com": "Accepted", "late2@example.com": "Accepted"}, f"{found}")
    require(server.taken["late1@example.com"] == 0 and max(server.taken.values()) == 1, f"{server.taken}")
    return "1 withdrawn, the others mailed once"


def one_person_one_message(program) -> str:
    """However an address is written: composed or not, U-labels or A-labels, quoted or not, in capitals; over a restart too."""
    ways = [
        ("ann@münchen.example", "ann@xn--mnchen-3ya.example", "Ann@MÜNCHEN.example", "ann@mu\u0308nchen.example"),
        ('"bob"@example.com', "bob@example.com", "BOB@example.com", "bob@ｅｘａｍｐｌｅ.com"),
        ("rené@example.com", "rene\u0301@example.com"),
    ]
    fleet = fleets.Fleet(folder("audience-person"), program)
    server = Scripted()
    base = (fleets.smtp_server("relay", server.port), fleets.plan("plan", "relay"))
    for turn, order in enumerate((ways, [list(reversed(group)) for group in ways])):
        who = [{"email": address} for group in order for address in group]
        fleet.write("fleet.yaml", *base, fleets.campaign("spring", "plan", {"inline": who}, subject="Hello", content={"text": "Hello"}, suspend=False))
        code, text = fleet.run_once("-q")
        require(code == 0, f"exit {code}: {text[-300:]}")
        require(sum(server.taken.values()) == len(ways), f"turn {turn}: {dict(server.taken)}")
    return f"{sum(map(len, ways))} ways to write {len(ways)} people: {len(ways)} messages"


def surplus_commas_and_capitals(program) -> str:
    """Rows that end with a comma, and JSON Lines with `Email`."""
    fleet = fleets.Fleet(folder("audience-forms"), program)
    server = Scripted()
    (fleet.config / "a.csv").write_text("email,name\nann@example.com,Ann,\nbob@example.com,Bob,,\n")
    (fleet.config / "b.jsonl").write_text('{"Email": "cy@example.com", "name": "Cy"}\n{"EMAIL": "di@example.com", "name": "Di"}\n')
    fleet.write(
        "fleet.yaml",
        fleets.smtp_server("relay", server.port),
        fleets.plan("plan", "relay"),
        fleets.campaign("a", "plan", {"csv": {"path": "a.csv"}}),
        fleets.campaign("b", "plan", {"jsonLines": {"path": "b.jsonl"}}),
    )
    code, text = fleet.run_once("-q")
    require(code == 0, f"exit {code}: {text[-300:]}")
    require(dict(server.taken) == {f"{name}@example.com": 1 for name in ("ann", "bob", "cy", "di")}, f"{dict(server.taken)}")
    return "4 of 4"


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("only", nargs="*", help="words of the cases to run")
    cases = Cases(arguments.parse_args().only)
    program = fleets.binary()
    for case in (edited_in_place, fixed_within_a_second, gone_while_it_runs, one_person_one_message, surplus_commas_and_capitals):
        cases.run(case.__name__.replace("_", " "), case, program)
    cases.end()


if __name__ == "__main__":
    main()

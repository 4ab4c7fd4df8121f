#!/usr/bin/env python3
"""Audiences that are edited while they are read, that break and are fixed, and people whose addresses are written in several ways."""

import json
import os
import threading
import time

from parts import fleet as fleets
from parts import ledgerfile
from parts.export import Export
from parts.process import folder, free_port, wait_until
from parts.report import Cases, require
from parts.scripted import Scripted

# What status and log say of `AudienceChanged`.
CHANGED = "it changed while in use; it is read again from the start"


def replace(path, text: str):
    """The right way: the new file is renamed over the old one."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


def edited_in_place(program) -> str:
    """A typo is fixed in place, three bytes shorter, during a paced run: read in one version or read again; nobody else is mailed, nobody left out."""
    rows, turns = 16_000, 3
    people = [f"person{number:05}@example.com" for number in range(rows)]
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
        process = fleet.start()
        wait_until(lambda: sum(server.taken.values()) > 2000 * (turn + 1), 60, "it sends")
        require(CHANGED not in process.text(), "the change was reported before the edit")
        # As an editor that writes into the same file does.
        with open(path, "r+", encoding="utf-8") as file:
            file.write(after)
            file.truncate()
        process.wait(120)
        require(process.code == 0, f"exit {process.code}: {process.tail()}")
        taken = set(server.taken)
        require(taken <= {"short@example.com", *people}, f"mailed, and in no version: {sorted(taken - set(people))[:3]}")
        require(len(taken) == rows + 1, f"left out: {sorted({'short@example.com', *people} - taken)[:3]}")
        require(max(server.taken.values()) == 1, "somebody got two")
        require(CHANGED in process.text(), f"the change of the audience was not reported: {process.tail()}")
    return f"{turns} edits of {rows} rows: reported, and everybody mailed once"


def fixed_within_a_second(program) -> str:
    """A CSV header with semicolons, then fixed: the running process notices, and so does the next start."""
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
    # The same over a restart, with no other change.
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


def removed_during_a_run(program) -> str:
    """A recipient who is removed from the file while a retry is due is withdrawn by the running process."""
    fleet = fleets.Fleet(folder("audience-gone"), program)
    server = Scripted()
    server.script = lambda stage, s: "450 4.2.0 greylisted" if stage == "rcpt" and s.recipient.startswith("late") else None
    path = fleet.config / "people.csv"
    path.write_text("email,name\nlate1@example.com,L\nann@example.com,A\nlate2@example.com,M\n")
    spring = fleets.campaign("spring", "plan", {"csv": {"path": "people.csv"}}, retry={"attempts": 5, "initialDelay": "3s"})
    fleet.write("fleet.yaml", fleets.smtp_server("relay", server.port), fleets.plan("plan", "relay"), spring)
    process = fleet.start("-q")
    wait_until(lambda: server.asked["late1@example.com"] and server.asked["late2@example.com"] and server.taken["ann@example.com"], 30, "two are deferred")
    replace(path, "email,name\nann@example.com,A\nlate2@example.com,M\n")
    server.script = lambda stage, session: None
    process.wait(60)
    require(process.code == 0, f"exit {process.code}: {process.tail()}")
    found = fleet.recipients("spring")
    require(found == {"late1@example.com": "Withdrawn", "ann@example.com": "Accepted", "late2@example.com": "Accepted"}, f"{found}")
    require(server.taken["late1@example.com"] == 0 and max(server.taken.values()) == 1, f"{server.taken}")
    return "1 withdrawn, the others mailed once"


class Silent:
    """A script that never answers the content for some recipients, until the client process is gone."""

    def __init__(self, *silent: str):
        self.silent, self.reached, self.gone = set(silent), set(), threading.Event()

    def __call__(self, stage, session):
        if stage != "content" or session.recipient not in self.silent or self.gone.is_set():
            return None
        self.reached.add(session.recipient)
        self.gone.wait(60)
        return "421 too late"

    def kill(self, process, seconds: float = 30):
        """kill -9 once all of them wait for a reply, so that their outcomes are unknown."""
        wait_until(lambda: self.reached == self.silent, seconds, f"{self.silent} on the wire")
        process.kill()
        self.gone.set()


def emptied_while_resumed(program) -> str:
    """A completed run is resumed for its unknown outcomes while its audience is emptied: nobody is withdrawn, and status says why."""
    fleet = fleets.Fleet(folder("audience-emptied"), program)
    silent = Silent("lost1@example.com", "lost2@example.com")
    server = Scripted(silent, extensions=("8BITMIME",))
    path = fleet.config / "people.csv"
    whole = "email,name\nlost1@example.com,L\nann@example.com,A\nbob@example.com,B\nlost2@example.com,M\n"
    path.write_text(whole)
    spring = fleets.campaign("spring", "plan", {"csv": {"path": "people.csv"}}, retry={"attempts": 20, "initialDelay": "1s"})
    fleet.write("fleet.yaml", fleets.smtp_server("relay", server.port, limits={"connections": 4}), fleets.plan("plan", "relay"), spring)
    process = fleet.start("-q")
    wait_until(lambda: server.taken["ann@example.com"] and server.taken["bob@example.com"], 30, "two are mailed")
    # A kill before these are written would make them unknown too.
    wait_until(lambda: list(fleet.recipients_so_far("spring").values()).count("Accepted") == 2, 30, "the ledger says so")
    silent.kill(process)
    code, text = fleet.run_once("-q")
    unknown = {who for who, state in fleet.recipients("spring").items() if state == "Unknown"}
    require(code == 0 and unknown == silent.silent, f"exit {code}, unknown: {unknown}: {text[-300:]}")
    server.script = lambda stage, s: "450 4.2.0 come back" if stage == "rcpt" and s.recipient.startswith("lost") else None
    asked = dict(server.asked)
    # Emptied while the feeder reads nothing and a retry is due; and emptied before the run is resumed after a restart.
    process = fleet.start("-q", once=False)
    fleet.command("resume", "spring", "--state", fleet.state, "--unknown", "Resend")
    wait_until(lambda: all(server.asked[who] > asked[who] for who in unknown), 30, "they are tried again")
    for turn in ("while it runs", "after a restart"):
        if turn == "after a restart":
            process.kill()
            process = fleet.start("-q", once=False)
        replace(path, "email,name\n")
        wait_until(lambda: fleet.condition("Campaign", "spring", "Stalled").get("reason") == "AudienceUnreadable", 30, f"{turn}, status says it")
        require("people.csv: it has no rows" in fleet.condition("Campaign", "spring", "Stalled")["message"], fleet.condition("Campaign", "spring", "Stalled"))
        found = fleet.recipients("spring")
        require({found[who] for who in unknown} == {"Deferred"} and "Withdrawn" not in found.values(), f"{turn}: {found}")
        if turn == "while it runs":
            replace(path, whole)
            wait_until(lambda: not fleet.condition("Campaign", "spring", "Stalled"), 30, "it resumes with the file as it was")
    server.script = lambda stage, session: None
    replace(path, whole + "new@example.com,N\n")
    wait_until(lambda: fleet.status("Campaign", "spring").get("state") == "Completed", 30, "it is completed")
    process.kill()
    require(set(fleet.recipients("spring").values()) == {"Accepted"}, f"{fleet.recipients('spring')}")
    require(dict(server.taken) == {f"{name}@example.com": 1 for name in ("ann", "bob", "lost1", "lost2")}, f"{dict(server.taken)}")
    return "emptied twice: nobody withdrawn; then the two were mailed, and nobody was added"


def replaced_while_retries_are_due(program) -> str:
    """Replaced while it is read, with due retries and claims of a killed process: everybody in the new file is mailed once."""
    fleet = fleets.Fleet(folder("audience-replaced"), program)
    lost = [f"lost{number}@example.com" for number in range(4)]
    late = [f"late{number}@example.com" for number in range(6)]
    silent = Silent(*lost)
    server = Scripted(extensions=("8BITMIME",))
    is_greylisting = True

    def script(stage, session):
        if is_greylisting and stage == "rcpt" and session.recipient in late:
            return "450 4.2.0 come back"
        return silent(stage, session)

    server.script = script
    path = fleet.config / "people.csv"
    crowd = [f"person{number:05}@example.com" for number in range(4000)]
    file = lambda people: "email,name\n" + "".join(f"{who},Somebody\n" for who in people)  # noqa: E731
    path.write_text(file(lost + late + crowd))
    limits = {"rates": [{"messages": 800, "per": "1s"}], "connections": 20}
    retry = {"attempts": 20, "initialDelay": "1s"}
    spring = fleets.campaign("spring", "plan", {"csv": {"path": "people.csv"}}, retry=retry, whenOutcomeIsUnknown="Resend")
    fleet.write("fleet.yaml", fleets.smtp_server("relay", server.port, limits=limits), fleets.plan("plan", "relay"), spring)
    process = fleet.start("-q")
    wait_until(lambda: all(server.asked[who] for who in late), 30, "some are tried")
    wait_until(lambda: {fleet.recipients_so_far("spring").get(who) for who in late} == {"Deferred"}, 30, "they are deferred in the ledger")
    silent.kill(process)
    # With Resend these may be mailed twice: the server may have accepted them without its reply being read.
    on_the_wire = {who for who, state in fleet.recipients("spring").items() if state == "Claimed"}
    require(on_the_wire >= set(lost), f"on the wire: {on_the_wire}")
    begun = sum(server.taken.values())
    # Now their rows come last, so that retries and claims wait for them; then they come in another file, without two of them.
    path.write_text(file(crowd + lost + late))
    is_greylisting = False
    process = fleet.start()
    wait_until(lambda: sum(server.taken.values()) > begun + 600, 60, "it sends")
    require(not any(server.taken[who] for who in lost + late), "the last rows of the file were mailed first")
    gone = {lost[1]: "Unknown", late[2]: "Withdrawn"}
    people = [who for who in [*crowd[3000:], *late, *lost, *crowd[:3000], "new@example.com"] if who not in gone]
    replace(path, file(people))
    process.wait(120)
    require(process.code == 0, f"exit {process.code}: {process.tail()}")
    require(CHANGED in process.text(), f"the change was not noticed: {process.tail()}")
    taken = set(server.taken)
    require(taken == set(people), f"left out: {sorted(set(people) - taken)[:3]}; mailed, and in no version: {sorted(taken - set(people))[:3]}")
    twice = {who for who, count in server.taken.items() if count > 1}
    require(twice <= on_the_wire - set(lost) and max(server.taken.values()) <= 2, f"twice: {sorted(twice)[:3]}")
    found = fleet.recipients("spring")
    require({who: found[who] for who in gone} == gone, f"removed recipients: { {who: found.get(who) for who in gone} }")
    require({found[who] for who in people} == {"Accepted"}, "the ledger says otherwise")
    return f"{len(people)} mailed once, {len(lost) - 1} of them left on the wire and {len(late) - 1} deferred; 2 removed"


def swapped_behind_a_symlink(program) -> str:
    """The audience is behind a symlink that is swapped while it is read, as ConfigMap mounts and git-sync do: the folder's, the root's, and the file's own."""
    noted = []
    for way in ("a mount of a ConfigMap", "git-sync", "a symlink of its own"):
        place = folder("audience-swapped")
        fleet = fleets.Fleet(place, program)
        server = Scripted(extensions=("PIPELINING", "CHUNKING"))
        people = [f"person{number:05}@example.com" for number in range(4000)]
        limits = {"rates": [{"messages": 1500, "per": "1s"}], "connections": 4}
        objects = [fleets.smtp_server("relay", server.port, limits=limits), fleets.plan("plan", "relay"), fleets.campaign("spring", "plan", {"csv": {"path": "people.csv"}})]
        text = "".join(f"---\n{json.dumps(one)}\n" for one in objects)

        def version(name: str, rows: list[str]):
            made = place / "versions" / name
            made.mkdir(parents=True)
            (made / "people.csv").write_text("email,name\n" + "".join(f"{who},Somebody\n" for who in rows))
            (made / "fleet.yaml").write_text(text)
            return made

        def swap(link, target):
            new = link.with_name(f".{link.name}.new")
            new.symlink_to(target)
            os.replace(new, link)

        # Those who leave were mailed already; those who join come where the old version was read long ago.
        rows = [people, ["first@example.com", *people[100:2000], "middle@example.com", *people[2000:], "last@example.com"]]
        if way == "a mount of a ConfigMap":
            for number in (0, 1):
                version(str(number), rows[number]).rename(fleet.config / f"..{number}")
            swap(fleet.config / "..data", "..0")
            for name in ("people.csv", "fleet.yaml"):
                (fleet.config / name).symlink_to(f"..data/{name}")
            link, target = fleet.config / "..data", "..1"
        elif way == "git-sync":
            fleet.config.rmdir()
            made = [version(str(number), rows[number]) for number in (0, 1)]
            fleet.config.symlink_to(made[0])
            link, target = fleet.config, made[1]
        else:
            (fleet.config / "fleet.yaml").write_text(text)
            for number in (0, 1):
                version(str(number), rows[number]).joinpath("people.csv").rename(fleet.config / f"{number}.csv")
            (fleet.config / "people.csv").symlink_to("0.csv")
            link, target = fleet.config / "people.csv", "1.csv"
        process = fleet.start()
        wait_until(lambda: sum(server.taken.values()) > 1000, 60, "it sends")
        swap(link, target)
        process.wait(120)
        require(process.code == 0, f"{way}: exit {process.code}: {process.tail()}")
        left_out = set(rows[1]) - set(server.taken)
        require(not left_out, f"{way}: {len(left_out)} of the new version left out: {sorted(left_out)[:3]}")
        require(set(server.taken) <= set(rows[0] + rows[1]) and max(server.taken.values()) == 1, f"{way}: somebody was mailed twice, or is in no version")
        require(CHANGED in process.text(), f"{way}: the change was not reported: {process.tail()}")
        noted.append(way)
    return f"{', '.join(noted)}: reported, nobody left out, nobody twice"


def spellings_of_an_old_ledger(program) -> str:
    """A ledger of the first version with several spellings of one address, deferred: each person gets one more message, or none."""
    fleet = fleets.Fleet(folder("audience-spellings"), program)
    server = Scripted()
    people = {
        # The spellings and their states in the ledger, and whether one of them is mailed.
        ("ann@münchen.example", "ann@xn--mnchen-3ya.example"): ((2, 2), True),
        ("Bob@example.com", "bob@example.com"): ((2, 1), False),
        ('"cy"@example.com', "cy@example.com"): ((1, 2), False),
        ("rené@example.com", "rene\u0301@example.com", "RENÉ@example.com"): ((2, 2, 2), True),
    }
    rows = [(who, state) for spellings, (states, _) in people.items() for who, state in zip(spellings, states)]
    statements = [("insert into runs (id, namespace, campaign, run, started_at_ms) values (77, 'default', 'spellings', 'first', 1)",)]
    for seq, (who, state) in enumerate(rows, 1):
        fields, due = (json.dumps({"email": who, "name": "X"}), 5) if state == 2 else (None, None)
        statements.append(("insert into messages values (77, ?, ?, ?, 1, 1, 1, ?, 0, '450 later', ?, 1)", seq, who, state, due, fields))
        statements.append(("insert into counts values (77, ?, ?, 1) on conflict do update set count = count + 1", state, 0 if state == 2 else 1))
    ledgerfile.restore(fleet.state, (fleets.ROOT / "tests/ledgers/schema-1.sql").read_text(), *statements)
    who = [{"email": spelling, "name": "X"} for spellings in people for spelling in spellings]
    fleet.write("fleet.yaml", fleets.smtp_server("relay", server.port), fleets.plan("plan", "relay"), fleets.campaign("spellings", "plan", {"inline": who}))
    for turn in ("migrated", "again"):
        code, text = fleet.run_once("-q")
        require(code == 0, f"{turn}: exit {code}: {text[-400:]}")
        for spellings, (_, is_mailed) in people.items():
            # On the wire a domain has A-labels.
            count = sum(server.taken[spelling] for spelling in {one.replace("münchen", "xn--mnchen-3ya") for one in spellings})
            require(count == is_mailed, f"{turn}: {spellings[0]} got {count} messages")
    counts = fleet.status("Campaign", "spellings")["recipients"]
    require((counts["accepted"], counts["withdrawn"], counts["total"]) == (4, 5, 4), f"{counts}")
    return f"{len(rows)} spellings of {len(people)} people: 2 mailed, 2 had been before"


def one_person_one_message(program) -> str:
    """An address in many spellings: composed or not, U-labels or A-labels, quoted or not, in capitals; over a restart too."""
    ways = [
        ("ann@münchen.example", "ann@xn--mnchen-3ya.example", "Ann@MÜNCHEN.example", "ann@mu\u0308nchen.example"),
        ('"bob"@example.com', "bob@example.com", "BOB@example.com", "bob@ｅｘａｍｐｌｅ.com"),
        ("rené@example.com", "rene\u0301@example.com"),
        ("cy@bücher.example", "cy@xn--bcher-kva.example", "cy@bu\u0308cher.example", "cy@bücher．example", "cy@bücher。example", "cy@BÜCHER｡example"),
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


def extra_commas_and_capitals(program) -> str:
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


def fetched_with_a_secret(program) -> str:
    """A URL with a bearer token: no Secret, a wrong one, the right one, a rotated one, all in one process; the token is in nothing that is kept, and not sent to another host."""
    fleet = fleets.Fleet(folder("audience-secret"), program)
    relay = Scripted()
    export = Export(None, "email,name\nann@example.com,Ann\nbob@example.com,Bob\n")
    crm = Export("right-token-1", redirect=export.url)
    source = {"csv": {"url": crm.url, "auth": {"bearer": {"tokenRef": {"name": "crm", "key": "token"}}}}}
    base = (fleets.smtp_server("relay", relay.port), fleets.plan("plan", "relay"))
    fleet.write("fleet.yaml", *base, fleets.campaign("spring", "plan", source))
    process = fleet.start(once=False)

    def stalled(reason: str, words: str):
        wait_until(lambda: fleet.condition("Campaign", "spring", "Stalled").get("reason") == reason, 30, reason)
        message = fleet.condition("Campaign", "spring", "Stalled")["message"]
        require(words in message, message)

    stalled("SecretNotFound", "spec.audience.csv.auth.bearer.tokenRef: there is no Secret `crm` in namespace `default`")
    require(not crm.seen, "asked without the token")
    fleet.write("secret.yaml", fleets.secret("crm", password="x"))
    stalled("SecretKeyNotFound", "has no key `token`")
    fleet.write("secret.yaml", fleets.secret("crm", token="wrong-token-0"))
    stalled("AudienceUnreadable", "the server answered 401 Unauthorized; check the Secret that `auth` names")
    fleet.write("secret.yaml", fleets.secret("crm", token="right-token-1"))
    wait_until(lambda: fleet.status("Campaign", "spring").get("state") == "Completed", 30, "it is completed")
    require(dict(relay.taken) == {"ann@example.com": 1, "bob@example.com": 1}, f"{dict(relay.taken)}")
    # Rotated on both sides: the next read, of another campaign, uses the new one.
    crm.token = "right-token-2"
    fleet.write("secret.yaml", fleets.secret("crm", token="right-token-2"))
    fleet.write("summer.yaml", fleets.campaign("summer", "plan", source))
    wait_until(lambda: fleet.status("Campaign", "summer").get("state") == "Completed", 30, "the second is completed")
    process.kill()
    # Whoever refuses is asked again after a while, with the same token.
    require([*dict.fromkeys(fields.get("authorization") for fields in crm.seen)][:2] == ["Bearer wrong-token-0", "Bearer right-token-1"], f"{crm.seen}")
    require(export.seen and not any("authorization" in fields or "referer" in fields for fields in export.seen), f"{export.seen}")
    kept = [path for path in [*fleet.state.rglob("*"), fleet.folder / "run-1.out"] if path.is_file()]
    told = [str(path) for path in kept if any(token in path.read_bytes() for token in (b"token-0", b"token-1", b"token-2"))]
    require(not told, f"a token is in {told}")
    plain = {"csv": {**source["csv"], "url": "http://crm.example/people.csv"}}
    fleet.write("summer.yaml", fleets.campaign("summer", "plan", plain))
    code, text = fleet.command("validate", fleet.config)
    require(code == 2 and "`auth` is sent over https only" in text, f"exit {code}: {text}")
    return f"{len(crm.seen)} requests with a token, {len(export.seen)} without"


def refused_for_a_while(program) -> str:
    """A URL that is refused, or that nobody serves: `--once` ends with an error, at once or after a minute, and goes on once it is there; a process that watches says so, and goes on by itself."""
    fleet = fleets.Fleet(folder("audience-refused"), program)
    relay, export = Scripted(), Export(None, "email,name\nann@example.com,Ann\nbob@example.com,Bob\n")
    base = (fleets.smtp_server("relay", relay.port), fleets.plan("plan", "relay"))

    def once(code: int, words: str, seconds: float):
        begin = time.monotonic()
        ended, text = fleet.run_once()
        require(ended == code and words in text, f"exit {ended}: {text[-600:]}")
        require(time.monotonic() - begin < seconds, f"{time.monotonic() - begin:.0f} s")

    fleet.write("fleet.yaml", *base, fleets.campaign("spring", "plan", {"csv": {"url": export.url}}))
    for status, words in ((404, "404 Not Found; check the URL"), (403, "403 Forbidden; check the URL, or give credentials in `auth`")):
        export.refusal = status
        once(1, f"the server answered {words}", 40)
    require(not relay.taken, f"{dict(relay.taken)}")
    export.refusal = 0
    once(0, "Completed 2 of 2", 40)
    # Nobody listens: that may pass, so it is tried for a minute, with growing pauses.
    nobody = f"http://127.0.0.1:{free_port()}/people.csv"
    fleet.write("fleet.yaml", *base, fleets.campaign("spring", "plan", {"csv": {"url": nobody}}, run="second"))
    once(1, "It was tried for 60s, and is tried again at the next start.", 120)
    require(dict(relay.taken) == {"ann@example.com": 1, "bob@example.com": 1}, f"{dict(relay.taken)}")
    fleet.write("fleet.yaml", *base, fleets.campaign("spring", "plan", {"csv": {"url": export.url}}, run="second"))
    once(0, "Completed 2 of 2", 40)
    # A process that watches: refused, and then empty.
    export.refusal, rows = 404, export.rows
    watched = {name: fleets.campaign(name, "plan", {"csv": {"url": export.url}}, subject=name, content={"text": name}) for name in ("summer", "autumn")}
    fleet.write("fleet.yaml", *base, watched["summer"])
    process = fleet.start(once=False)

    def stalled(name: str, words: str):
        wait_until(lambda: words in fleet.condition("Campaign", name, "Stalled").get("message", ""), 60, f"{name}: {words}")

    def completed(name: str):
        wait_until(lambda: fleet.status("Campaign", name).get("state") == "Completed", 60, f"{name} is completed")

    stalled("summer", "It is read as soon as the server provides it")
    asked = len(export.seen)
    wait_until(lambda: len(export.seen) > asked, 30, "that it is asked for again")
    export.refusal = 0
    completed("summer")
    export.rows = "email,name\n"
    fleet.write("fleet.yaml", *base, *watched.values())
    stalled("autumn", "it has no rows")
    export.rows = rows
    completed("autumn")
    process.kill()
    require(dict(relay.taken) == {"ann@example.com": 4, "bob@example.com": 4}, f"{dict(relay.taken)}")
    return "4 runs, each mailed once"


def table(people) -> str:
    """A CSV audience, or a list."""
    return "email,name\n" + "".join(f"{who},Somebody\n" for who in people)


def excluded_by_every_kind_of_list(program) -> str:
    """A table, a URL, a list in place and those whom another run reached: nobody of them is mailed; status, ledger, `get`, preview, dry run and a second start say the same."""
    fleet = fleets.Fleet(folder("audience-excluded"), program)
    server, export = Scripted(), Export(None, table(["Of-Url@Example.com", "nobody@example.com"]))
    (fleet.config / "people.csv").write_text(table(["first@example.com", "of-file@example.com", "of-url@example.com", "of-list@example.com", "Of-File@Example.com", "reached@example.com", "ann@example.com", "ann@example.com", "bob@example.com", "none"]))
    (fleet.config / "gone.csv").write_text("name,email\nSomebody,OF-FILE@example.COM\nSomebody,first@example.com\n")
    lists = [
        {"csv": {"path": "gone.csv"}},
        {"csv": {"url": export.url}},
        {"inline": [{"email": "\"of-list\"@example.com"}]},
        {"outcomes": {"campaign": "winter", "states": ["Accepted"]}},
    ]
    base = (fleets.smtp_server("relay", server.port), fleets.plan("plan", "relay"))
    winter = fleets.campaign("winter", "plan", {"inline": [{"email": "REACHED@example.com", "name": "R"}, {"email": "elsewhere@example.com", "name": "E"}]})
    spring = fleets.campaign("spring", "plan", {"csv": {"path": "people.csv"}, "exclude": lists, "whenRowIsBad": "Skip", "maxBadRows": "20%"})
    fleet.write("fleet.yaml", *base, winter, spring)
    code, text = fleet.command("validate", fleet.config)
    require(code == 0 and "no faults, 1 warning" in text and "nobody is mailed for this row" in text, f"validate: exit {code}: {text}")
    code, text = fleet.command("preview", "spring", fleet.config, "--state", fleet.state)
    require(code == 0 and "<reached@example.com>" in text, f"preview knows no ledger, and shows the first who is in no list: {text}")
    code, text = fleet.command("preview", "spring", fleet.config, "--recipient", "of-url@example.com", "--state", fleet.state)
    require(code == 2 and "is in a list of spec.audience.exclude" in text, f"preview of one who is excluded: exit {code}: {text}")
    code, text = fleet.run_once("--dry-run")
    require(code == 0 and "excludes people of other runs" in text, f"dry run: exit {code}: {text}")
    of_dry = "".join(path.read_text() for path in (fleet.state / "dry-run" / "outbox").rglob("new/*") if path.is_file())
    require("<ann@example.com>" in of_dry and "of-file" not in of_dry.lower() and "first@" not in of_dry, "a dry run leaves them out")
    for turn in range(2):
        code, text = fleet.run_once()
        require(code == 0, f"exit {code}: {text}")
        mailed = {"ann@example.com", "bob@example.com", "reached@example.com", "elsewhere@example.com"}
        require({who.lower() for who in server.taken} == mailed and max(server.taken.values()) == 1, f"turn {turn}: {dict(server.taken)}")
        counts = fleet.status("Campaign", "spring")["recipients"]
        told = {name: counts[name] for name in ("total", "accepted", "excluded", "duplicates", "badRows")}
        require(told == {"total": 2, "accepted": 2, "excluded": 6, "duplicates": 1, "badRows": 1}, f"turn {turn}: {told}")
    require(set(fleet.recipients("spring")) == {"ann@example.com", "bob@example.com"}, "the ledger holds nobody who is excluded")
    code, text = fleet.command("get", "campaigns", "spring", "--state", fleet.state)
    require("6 excluded (audience.exclude)" in text, text)
    code, text = fleet.command("get", "runs", "spring", "--state", fleet.state, "-o", "json")
    require(json.loads(text)[0]["excluded"] == 6, text)
    # Somebody who is taken off a list is mailed by a reopened run, and counts as added until then.
    (fleet.config / "gone.csv").write_text("name,email\nSomebody,OF-FILE@example.COM\n")
    code, text = fleet.run_once()
    told = fleet.condition("Campaign", "spring", "AudienceRead")
    require(told["reason"] == "RowsAfterCompletion" and not server.taken["first@example.com"], f"{told}")
    fleet.write("fleet.yaml", *base, winter, {**spring, "spec": {**spring["spec"], "reopen": 1}})
    code, text = fleet.run_once()
    require(server.taken["first@example.com"] == 1 and fleet.status("Campaign", "spring")["recipients"]["excluded"] == 5, f"exit {code}: {text}")
    return "6 rows of 4 lists; the first two mailed once over four starts, and one more once off the list"


def a_list_that_cannot_be_read_stops_all(program) -> str:
    """A list that is missing, has no header, a row that cannot be used, or another run that goes on: nobody is mailed, status says which and why, and the campaign starts by itself once it is right."""
    fleet = fleets.Fleet(folder("audience-list-broken"), program)
    server = Scripted()
    path = fleet.config / "gone.csv"
    base = (fleets.smtp_server("relay", server.port), fleets.plan("plan", "relay"))
    source = {"inline": [{"email": "ann@example.com"}, {"email": "gone@example.com"}]}
    exclude = [{"inline": []}, {"csv": {"path": "gone.csv"}}]
    fleet.write("fleet.yaml", *base, fleets.campaign("spring", "plan", {**source, "exclude": exclude}, content={"text": "Hi"}, subject="Hi"))

    def stalled(reason: str, words: str):
        is_told = lambda told: told.get("reason") == reason and words in told["message"] and "spec.audience.exclude[1]" in told["message"]  # noqa: E731
        wait_until(lambda: is_told(fleet.condition("Campaign", "spring", "Stalled")), 30, f"{words!r} is said")
        require(not server.taken, f"mailed: {dict(server.taken)}")

    process = fleet.start(once=False)
    stalled("FileNotFound", "`gone.csv`")
    replace(path, "gone@example.com\n")
    stalled("AudienceUnreadable", "email")
    code, text = fleet.command("validate", fleet.config)
    require(code == 2 and "gone.csv:" in text and "email" in text, f"validate: exit {code}: {text}")
    replace(path, "email\ngone@example.com\nBob <bob@example.com>\n")
    stalled("AudienceUnreadable", "1 row cannot be used, and maxBadRows is 0: line 3: ")
    code, text = fleet.command("validate", fleet.config)
    require(code == 2 and "nobody is mailed until it is known who is excluded" in text and "gone.csv:3:1" in text, f"validate: exit {code}: {text}")
    replace(path, "email\nGone@example.com\n")
    wait_until(lambda: fleet.status("Campaign", "spring").get("state") == "Completed", 30, "it is completed")
    process.kill()
    require(dict(server.taken) == {"ann@example.com": 1}, f"{dict(server.taken)}")
    # Another run counts once nothing of it is open.
    server.taken.clear()
    server.script = lambda stage, session: "450 4.2.0 greylisted" if stage == "rcpt" and session.recipient.startswith("late") else None
    first = fleets.campaign("first", "plan", {"inline": [{"email": "ann@example.com"}, {"email": "late@example.com"}]}, content={"text": "Hi"}, subject="Hi", retry={"attempts": 3, "initialDelay": "3s"})
    of_run = [{"inline": []}, {"outcomes": {"campaign": "first", "states": ["Accepted"]}}]
    second = fleets.campaign("second", "plan", {"inline": [{"email": who} for who in ("ann@example.com", "late@example.com", "bob@example.com")], "exclude": of_run}, content={"text": "Hi"}, subject="Hi")
    fleet.write("fleet.yaml", *base, first, second)
    process = fleet.start()
    wait_until(lambda: "is not completed, and may still mail" in fleet.condition("Campaign", "second", "Ready").get("message", ""), 30, "it waits for the other run")
    require("bob@example.com" not in server.taken, "it did not wait")
    server.script = lambda stage, session: None
    process.wait(60)
    require(process.code == 0 and dict(server.taken) == {"ann@example.com": 1, "late@example.com": 1, "bob@example.com": 1}, f"exit {process.code}: {dict(server.taken)}: {process.tail()}")
    counts = fleet.status("Campaign", "second")["recipients"]
    require((counts["total"], counts["excluded"]) == (1, 2), f"{counts}")
    return "three faults of a file and a run that went on: nobody mailed before, and the right ones after"


def a_list_that_grows_meanwhile(program) -> str:
    """People are added to a list while the audience is read, and while a retry is due: they get nothing from then on; the total that is counted ahead leaves out who is excluded."""
    fleet = fleets.Fleet(folder("audience-list-grows"), program)
    server = Scripted(extensions=("PIPELINING", "CHUNKING"))
    server.script = lambda stage, session: "450 4.2.0 greylisted" if stage == "rcpt" and session.recipient.startswith("late") else None
    rows, last = 1800, 300
    people = [f"person{number:05}@example.com" for number in range(rows)]
    gone = people[100:600]
    path = fleet.config / "gone.csv"
    path.write_text(table(gone))
    (fleet.config / "people.csv").write_text(table(["late@example.com", "later@example.com", *people]))
    limits = {"rates": [{"messages": 100, "per": "1s"}], "connections": 4}
    spring = fleets.campaign("spring", "plan", {"csv": {"path": "people.csv"}, "exclude": [{"csv": {"path": "gone.csv"}}]}, retry={"attempts": 9, "initialDelay": "15s"})
    fleet.write("fleet.yaml", fleets.smtp_server("relay", server.port, limits=limits), fleets.plan("plan", "relay"), spring)
    process = fleet.start()
    wait_until(lambda: fleet.status("Campaign", "spring").get("expectedTotal"), 30, "the total is counted ahead")
    ahead = fleet.status("Campaign", "spring")
    require(ahead["expectedTotal"] == rows + 2 - len(gone) and not ahead.get("expectedTotalIsEstimate"), f"{ahead['sent']}")
    wait_until(lambda: sum(server.taken.values()) > 50 and server.asked["late@example.com"], 30, "it sends")
    replace(path, table([*gone, *people[-last:], "Late@Example.com"]))
    wait_until(lambda: f"spec.audience.exclude[0]: gone.csv: {CHANGED}" in process.text(), 60, "the change is noticed")
    server.script = lambda stage, session: None
    process.wait(120)
    require(process.code == 0, f"exit {process.code}: {process.tail()}")
    wanted = {"later@example.com", *people} - set(gone) - set(people[-last:])
    require(set(server.taken) == wanted, f"left out: {sorted(wanted - set(server.taken))[:3]}; mailed all the same: {sorted(set(server.taken) - wanted)[:3]}")
    require(max(server.taken.values()) == 1, "somebody got two")
    counts = fleet.status("Campaign", "spring")["recipients"]
    told = {name: counts[name] for name in ("total", "accepted", "excluded", "withdrawn")}
    require(told == {"total": len(wanted), "accepted": len(wanted), "excluded": len(gone) + last + 1, "withdrawn": 1}, f"{told}")
    return f"{len(wanted)} mailed once; {last} of those to come and one that was deferred were added to the list in time"


def killed_while_many_are_excluded(program) -> str:
    """Every second person of 20,000 is excluded, and the process is killed again and again: none of them is mailed, everybody else once or on the wire."""
    fleet = fleets.Fleet(folder("audience-list-killed"), program)
    server = Scripted(extensions=("PIPELINING", "CHUNKING"))
    people = [f"person{number:05}@example.com" for number in range(20_000)]
    (fleet.config / "people.csv").write_text(table(people))
    (fleet.config / "gone.csv").write_text(table(who.upper() for who in people[::2]))
    exclude = [{"csv": {"path": "gone.csv"}}]
    spring = fleets.campaign("spring", "plan", {"csv": {"path": "people.csv"}, "exclude": exclude}, whenOutcomeIsUnknown="Resend")
    limits = {"rates": [{"messages": 4000, "per": "1s"}], "connections": 4}
    fleet.write("fleet.yaml", fleets.smtp_server("relay", server.port, limits=limits), fleets.plan("plan", "relay"), spring)
    kills, on_the_wire = 3, set()
    for turn in range(kills):
        process = fleet.start("-q")
        wait_until(lambda: sum(server.taken.values()) > 1000 * (turn + 1), 60, "it sends")
        process.kill()
        on_the_wire |= {who for who, state in fleet.recipients("spring").items() if state == "Claimed"}
    code, text = fleet.run_once("-q")
    require(code == 0, f"exit {code}: {text[-300:]}")
    wanted = set(people[1::2])
    require(set(server.taken) == wanted, f"left out: {len(wanted - set(server.taken))}; mailed though excluded: {sorted(set(server.taken) - wanted)[:3]}")
    twice = {who for who, count in server.taken.items() if count > 1}
    require(twice <= on_the_wire, f"twice, and not on the wire: {sorted(twice - on_the_wire)[:3]}")
    counts = fleet.status("Campaign", "spring")["recipients"]
    require((counts["total"], counts["excluded"], counts["accepted"]) == (10_000, 10_000, 10_000), f"{counts}")
    left = [path.name for path in fleet.state.iterdir() if path.name.endswith(".tmp")]
    require(not left, f"left in the state folder: {left}")
    return f"{kills} kills: 10,000 mailed, {len(twice)} of {len(on_the_wire)} on the wire twice, and none of 10,000 excluded"


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all(
        (
            edited_in_place,
            fixed_within_a_second,
            removed_during_a_run,
            emptied_while_resumed,
            replaced_while_retries_are_due,
            swapped_behind_a_symlink,
            spellings_of_an_old_ledger,
            one_person_one_message,
            extra_commas_and_capitals,
            fetched_with_a_secret,
            refused_for_a_while,
            excluded_by_every_kind_of_list,
            a_list_that_cannot_be_read_stops_all,
            a_list_that_grows_meanwhile,
            killed_while_many_are_excluded,
        ),
        fleets.binary(),
    )
    cases.end()


if __name__ == "__main__":
    main()

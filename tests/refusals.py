#!/usr/bin/env python3
"""Whose fault a refusal is, with servers that refuse in relays' own words and in words that nobody knows.

Only a recipient at fault is given up, no campaign harms another, and nobody is mailed twice: counted by the servers.
"""

import time
from collections import Counter

from parts import fleet as fleets
from parts.process import folder, wait_until
from parts.report import Cases, require
from parts.scripted import Scripted, always

SENDER = "news@news.example.com"

# Replies that are not the recipient's fault: stage, text, and the reason that status must give, if any.
# From public reports of Postfix, Exim, cPanel, SES, SendGrid, Exchange Online, Outlook.com and Office 365.
NOT_THE_RECIPIENTS = [
    ("rcpt", "553 5.7.1 <{from}>: Sender address rejected: not owned by user x", "SenderRefused"),
    ("rcpt", "504 5.5.2 <localhost>: Helo command rejected: need fully-qualified hostname", None),
    ("rcpt", "550 5.1.8 <{from}>: Sender address rejected: Domain not found", "SenderRefused"),
    ("rcpt", "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.example.org", None),
    ("rcpt", "550 5.7.25 Client host rejected: cannot find your hostname, [192.0.2.1]", None),
    ("rcpt", "454 4.7.1 <{rcpt}>: Relay access denied", None),
    ("rcpt", "554 5.7.1 <{rcpt}>: Relay access denied", None),
    ("rcpt", "550 {rcpt} is not permitted to relay through this server without authentication", None),
    (
        "content",
        "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: {from}",
        "SenderRefused",
    ),
    ("content", "550 The from address does not match a verified Sender Identity", "SenderRefused"),
    ("content", "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException", None),
    ("content", "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients", None),
    ("content", "454 Throttling failure: Maximum sending rate exceeded.", None),
    ("rcpt", "450 4.7.1 Error: too many recipients from 192.0.2.1", None),
    ("mail", "421 smtp.corporate.example Service not available, closing transmission channel", None),
    ("mail", "550 5.1.0 <{from}>: Sender rejected for a reason of ours", "SenderRefused"),
]

# In no table: several languages, with ids, numbers and addresses in them.
INVENTED = [
    "550 Kunde 4711 gesperrt, <{rcpt}> nicht angenommen",
    "554 5.7.1 {rcpt}: policy violation 0x9F3A-{n}",
    "550 отказано: {rcpt}, обратитесь к администратору",
    "553 对不起 {rcpt} 您的账户 {n} 已被停用",
    "550 5.0.0 désolé, votre contrat nº {n} est terminé ({rcpt})",
    "571 Nachricht {n} abgelehnt",
    "550 {rcpt}",
    "554 transaction failed, see https://errors.example/{n}",
    "550 5.7.999 rejected by rule [{n}] for {rcpt} at 12:{n}",
    "599 nope",
]


def invented(words: str, stage: str = "rcpt"):
    """A script that refuses everybody with these words."""

    def script(at, session):
        if at == stage:
            return words.replace("{rcpt}", session.recipient).replace("{n}", str(sum(session.recipient.encode())))
        return None

    return script


def people(count: int, *domains: str) -> list[dict]:
    """So many recipients, over the domains in turn."""
    domains = domains or ("example.com", "example.org")
    return [{"email": f"u{number}@{domains[number % len(domains)]}", "name": f"U{number}"} for number in range(count)]


def campaign(name: str, plan: str, who: list[dict], **spec) -> dict:
    """A campaign to these people."""
    return fleets.campaign(name, plan, {"inline": who}, **spec)


def states(fleet, name: str) -> dict[str, int]:
    """How many recipients are in each state."""
    return dict(Counter(fleet.recipients_so_far(name).values()))


def known_refusals_reject_nobody(program) -> str:
    """Each reply from one of two servers: everybody is mailed once, by the other where necessary."""
    who = people(40)
    fleet = fleets.Fleet(folder("refusals-known"), program)
    servers, objects = [], []
    for number, (stage, words, _) in enumerate(NOT_THE_RECIPIENTS):
        bad, good = Scripted(always(stage, words)), Scripted()
        servers.append((bad, good))
        names = [f"bad-{number}", f"good-{number}"]
        objects += [fleets.smtp_server(name, server.port) for name, server in zip(names, (bad, good))]
        objects += [fleets.plan(f"plan-{number}", *names), campaign(f"case-{number}", f"plan-{number}", who)]
    fleet.write("fleet.yaml", *objects)
    process = fleet.start("-q", once=False)
    try:
        names = [f"case-{number}" for number in range(len(NOT_THE_RECIPIENTS))]
        told = {}

        def all_completed() -> bool:
            for number, name in enumerate(names):
                status = fleet.status("Campaign", name)
                found = [c["reason"] for c in status.get("conditions") or [] if c["type"] == "RefusedByServer"]
                told.setdefault(number, set()).update(found)
            return all(fleet.status("Campaign", name).get("state") == "Completed" for name in names)

        wait_until(all_completed, 120, "all campaigns are completed", every=0.05)
    finally:
        process.kill()
    for number, (stage, words, reason) in enumerate(NOT_THE_RECIPIENTS):
        bad, good = servers[number]
        found = states(fleet, f"case-{number}")
        require(found == {"Accepted": len(who)}, f"{words} at {stage}: {found}")
        require(max((bad.taken + good.taken).values()) == 1, f"{words}: somebody was mailed twice")
        require(reason is None or reason in told[number], f"{words}: status said {told[number]}, not {reason}")
    return f"{len(NOT_THE_RECIPIENTS)} replies, {len(who)} people each, all mailed once"


def unknown_refusals_stop_and_are_resumed(program) -> str:
    """Without another server: nobody is given up, no more than ten are tried, a kill changes nothing, and a person resumes it."""
    who = people(200)
    fleet = fleets.Fleet(folder("refusals-invented"), program)
    servers, objects = [], []
    for number, words in enumerate(INVENTED):
        servers.append(Scripted(invented(words)))
        objects += [fleets.smtp_server(f"relay-{number}", servers[-1].port), fleets.plan(f"plan-{number}", f"relay-{number}")]
        objects += [campaign(f"case-{number}", f"plan-{number}", who)]
    fleet.write("fleet.yaml", *objects)
    for turn in ("first", "after a restart"):
        code, text = fleet.run_once("-q", seconds=120)
        require(code == 1, f"{turn}: exit {code}: {text[-600:]}")
        for number, server in enumerate(servers):
            found = states(fleet, f"case-{number}")
            require(found == {"Held": 10}, f"{turn}, {INVENTED[number]}: {found}")
            require(sum(server.asked.values()) == 10, f"{turn}, {INVENTED[number]}: {sum(server.asked.values())} attempts")
            ready = fleet.condition("Campaign", f"case-{number}", "Stalled")
            require(ready.get("reason") == "RefusedAlike" and "mailfleet resume" in ready["message"], f"{INVENTED[number]}: {ready}")
    # Now the relays are fixed, and a person resumes: half of the campaigns retry, the others reject.
    process = fleet.start("-q", once=False)
    try:
        for server in servers:
            server.script = lambda stage, session: None
        for number in range(len(servers)):
            held = "Retry" if number % 2 == 0 else "Reject"
            code, text = fleet.command("resume", f"case-{number}", "--state", fleet.state, "--held", held)
            require(code == 0, f"resume: {text}")
        names = [f"case-{number}" for number in range(len(servers))]
        wait_until(lambda: all(fleet.status("Campaign", n).get("state") == "Completed" for n in names), 90, "all are completed", every=0.3)
        wait_until(lambda: not list((fleet.state / "resume").glob("*.json")), 15, "handled requests are removed")
    finally:
        process.kill()
    for number, server in enumerate(servers):
        found = states(fleet, f"case-{number}")
        expected = {"Accepted": len(who)} if number % 2 == 0 else {"Accepted": len(who) - 10, "Rejected": 10}
        require(found == expected, f"{INVENTED[number]}: {found}")
        require(max(server.taken.values()) == 1, f"{INVENTED[number]}: somebody was mailed twice")
        handled = fleet.status("Campaign", f"case-{number}").get("lastHandledResume")
        require(handled and "held=" in handled, f"lastHandledResume is {handled}")
    return f"{len(INVENTED)} wordings, 10 attempted and held each, over a restart; resumed"


def a_kill_keeps_what_is_held(program) -> str:
    """kill -9 while refusals arrive, several times: no more attempts than the bound, and nobody is given up."""
    who = people(300)
    fleet = fleets.Fleet(folder("refusals-kill"), program)
    server = Scripted(invented(INVENTED[0], "content"))
    fleet.write("fleet.yaml", fleets.smtp_server("relay", server.port), fleets.plan("plan", "relay"), campaign("spring", "plan", who))
    unknown = 0
    for kill in range(8):
        process = fleet.start("-q", once=False)
        before = sum(server.asked.values())
        end = time.monotonic() + 1.5
        while sum(server.asked.values()) < before + 3 and time.monotonic() < end and process.running():
            time.sleep(0.002)
        process.kill()
    fleet.run_once("-q", seconds=60)
    found = states(fleet, "spring")
    unknown = found.pop("Unknown", 0)
    require(set(found) == {"Held"}, f"{found}")
    # Each kill can make unknown what was on the wire; the others are held, ten at most.
    require(found["Held"] <= 10, f"{found}")
    require(sum(server.asked.values()) <= 10 + unknown + 8 * 10, f"{sum(server.asked.values())} were tried")
    require(not server.taken, "the server took none")
    return f"8 kills: {found['Held']} held, {unknown} listed as unknown, 0 given up"


def a_batch_on_twenty_connections(program) -> str:
    """Pipelined batches on 20 connections: after some messages were accepted, ten are held, and those on the wire."""
    accepted = 400
    fleet = fleets.Fleet(folder("refusals-batch"), program)
    server = Scripted(extensions=("PIPELINING", "CHUNKING", "8BITMIME"))

    def script(stage, session):
        if stage == "content" and sum(server.taken.values()) >= accepted:
            return f"550 Kontingent erschöpft, Vorgang {sum(session.recipient.encode())}"
        return None

    server.script = script
    who = people(3000)
    limits = {"connections": 20, "messagesPerConnection": 100}
    fleet.write("fleet.yaml", fleets.smtp_server("relay", server.port, limits=limits), fleets.plan("plan", "relay"), campaign("spring", "plan", who))
    code, text = fleet.run_once("-q", seconds=120)
    found = states(fleet, "spring")
    require(code == 1, f"exit {code}: {text[-400:]}")
    require(set(found) == {"Accepted", "Held"}, f"{found}")
    require(found["Accepted"] == sum(server.taken.values()), f"{found}, and the server took {sum(server.taken.values())}")
    require(found["Held"] <= 10 + 64 * 3, f"{found}")
    return f"{found['Accepted']} accepted, {found['Held']} held, none rejected"


def dead_addresses_are_their_own_fault(program) -> str:
    """Twelve recipients that are known not to exist are all rejected, and status says that it is all of them; a single one is rejected alone."""
    fleet = fleets.Fleet(folder("refusals-dead"), program)
    dead = Scripted(always("rcpt", "550 5.1.1 <{rcpt}>: Recipient address rejected: User unknown in virtual mailbox table"))
    one = Scripted(invented(INVENTED[5]))
    mixed = Scripted()
    # In unknown words, among others who are accepted.
    mixed.script = lambda stage, s: f"550 wer soll {s.recipient} sein" if stage == "rcpt" and int(s.recipient[1:].split("@")[0]) % 5 == 0 else None
    sorted_list = Scripted()
    sorted_list.script = lambda stage, s: f"550 {s.recipient} njet" if stage == "rcpt" and s.recipient.endswith("@a-dead.example") else None
    by_domain = people(150, "a-dead.example") + [{"email": f"v{n}@living.example", "name": f"V{n}"} for n in range(100)]
    objects = []
    # Addresses that nobody else has: once known not to exist, they are suppressed in the other campaigns, too.
    cases = {"dead": (dead, people(12, "dead.example")), "one": (one, people(1)), "mixed": (mixed, people(200)), "sorted": (sorted_list, by_domain)}
    for name, (server, who) in cases.items():
        objects += [fleets.smtp_server(f"relay-{name}", server.port), fleets.plan(f"plan-{name}", f"relay-{name}")]
        objects += [campaign(name, f"plan-{name}", who, stopWhen={"bouncePercent": "100"})]
    fleet.write("fleet.yaml", *objects)
    code, text = fleet.run_once("-q", seconds=120)
    require(code == 1, f"exit {code}: {text[-400:]}")
    for name, expected in {
        "dead": {"Rejected": 12},
        "one": {"Rejected": 1},
        "mixed": {"Accepted": 160, "Rejected": 40},
        "sorted": {"Accepted": 100, "Rejected": 150},
    }.items():
        found = states(fleet, name)
        require(found == expected and fleet.status("Campaign", name)["state"] == "Completed", f"{name}: {found}")
    ready = fleet.condition("Campaign", "dead", "Stalled")
    require(ready.get("reason") == "NobodyAccepted", f"{ready}")
    require(fleet.condition("Campaign", "mixed", "Ready")["status"] is True or fleet.condition("Campaign", "mixed", "Ready")["status"] == "True", "mixed is Ready")
    return "12 of 12, 1 of 1, 40 among 160, 150 of one domain before 100 others"


def another_customer_is_not_affected(program) -> str:
    """One campaign's sender is refused; another campaign on the same server is not affected."""
    fleet = fleets.Fleet(folder("refusals-other"), program)
    server = Scripted()
    server.script = lambda stage, s: "553 5.7.1 <{0}>: Sender address rejected: not owned by user x".format(s.sender) if stage == "rcpt" and "bad" in s.sender else None
    bad = campaign("bad", "plan", people(500), **{"from": {"address": "bad@news.example.com"}})
    fleet.write("fleet.yaml", fleets.smtp_server("relay", server.port), fleets.plan("plan", "relay"), bad, campaign("good", "plan", people(500)))
    code, text = fleet.run_once("-q", seconds=120)
    require(code == 1, f"exit {code}: {text[-400:]}")
    require(states(fleet, "good") == {"Accepted": 500}, f"{states(fleet, 'good')}")
    require(set(states(fleet, "bad")) == {"Held"}, f"{states(fleet, 'bad')}")
    require(fleet.status("SendingServer", "relay")["state"] == "Active", "the server is not affected")
    stalled = fleet.condition("Campaign", "bad", "Stalled")
    require(stalled.get("reason") == "SenderRefused", f"{stalled}")
    # Fixed later with the same state folder: the spec gets another sender.
    fleet.write("fleet.yaml", fleets.smtp_server("relay", server.port), fleets.plan("plan", "relay"), campaign("bad", "plan", people(500)), campaign("good", "plan", people(500)))
    code, text = fleet.run_once("-q", seconds=120)
    require(code == 0 and states(fleet, "bad") == {"Accepted": 500}, f"exit {code}: {states(fleet, 'bad')} {text[-400:]}")
    require(max(server.taken.values()) == 2, "everybody got one message of each campaign")
    return "500 of 500 while the other held; then fixed: 500 of 500"


def what_one_server_cannot_take_goes_to_another(program) -> str:
    """SIZE and SMTPUTF8: everybody is mailed by the server that can take the message; without one they are rejected, with the reason."""
    fleet = fleets.Fleet(folder("refusals-bounds"), program)
    whole = Scripted(extensions=("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 10000000"))
    small = Scripted(extensions=("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 2000"))
    ascii_only = Scripted(extensions=("PIPELINING",))
    text = {"text": "Dear {{ name }},\n" + "this is long.\n" * 400}
    local = [{"email": f"üser{n}@example.com", "name": "Ü"} for n in range(40)]
    objects = [fleets.smtp_server(name, server.port) for name, server in (("whole", whole), ("small", small), ("ascii", ascii_only))]
    objects += [fleets.plan("size", "whole", "small"), fleets.plan("utf8", "whole", "ascii"), fleets.plan("none", "small")]
    objects += [campaign("size", "size", people(40), content=text), campaign("utf8", "utf8", local), campaign("none", "none", people(5), content=text)]
    fleet.write("fleet.yaml", *objects)
    code, output = fleet.run_once("-q", seconds=120)
    require(states(fleet, "size") == {"Accepted": 40}, f"size: {states(fleet, 'size')} {output[-300:]}")
    require(states(fleet, "utf8") == {"Accepted": 40}, f"utf8: {states(fleet, 'utf8')}")
    require(states(fleet, "none") == {"Rejected": 5}, f"none: {states(fleet, 'none')}")
    replies = {row.reply for row in fleet.rows("none")}
    require(all("2000" in reply for reply in replies), f"{replies}")
    return "40 of 40 and 40 of 40; without a server that can: 5 rejected with the reason"


def removed_recipients_are_not_retried(program) -> str:
    """A row deleted while its message was deferred: after a restart it is withdrawn, and not mailed."""
    fleet = fleets.Fleet(folder("refusals-gone"), program)
    server = Scripted()
    server.script = lambda stage, s: "450 4.2.0 greylisted, come back" if stage == "rcpt" and s.recipient.startswith("late") else None
    audience = fleet.config / "people.csv"
    audience.write_text("email,name\nlate1@example.com,L\nann@example.com,A\nlate2@example.com,M\n")
    spring = fleets.campaign("spring", "plan", {"csv": {"path": "people.csv"}}, retry={"attempts": 5, "initialDelay": "1s"})
    fleet.write("fleet.yaml", fleets.smtp_server("relay", server.port), fleets.plan("plan", "relay"), spring)
    process = fleet.start("-q", once=False)
    wait_until(lambda: states(fleet, "spring") == {"Deferred": 2, "Accepted": 1}, 30, "two are deferred")
    process.kill()
    audience.write_text("email,name\nann@example.com,A\nlate2@example.com,M\n")
    server.script = lambda stage, session: None
    code, text = fleet.run_once("-q", seconds=60)
    require(code == 0, f"exit {code}: {text[-400:]}")
    found = fleet.recipients("spring")
    require(found == {"late1@example.com": "Withdrawn", "ann@example.com": "Accepted", "late2@example.com": "Accepted"}, f"{found}")
    require("late1@example.com" not in server.taken, "the deleted recipient was mailed")
    status = fleet.status("Campaign", "spring")["recipients"]
    require((status["accepted"], status["withdrawn"], status["total"]) == (2, 1, 2), f"{status}")
    return "1 withdrawn, the others mailed"


def unknown_outcomes_are_resent_on_request(program) -> str:
    """`resume --unknown Resend` on a completed run: only the unknown ones are mailed, once."""
    fleet = fleets.Fleet(folder("refusals-unknown"), program)
    server = Scripted(extensions=("8BITMIME",))
    process = None
    fleet.write("fleet.yaml", fleets.smtp_server("relay", server.port, limits={"connections": 2}), fleets.plan("plan", "relay"), campaign("spring", "plan", people(60)))
    slow = lambda stage, session: time.sleep(0.02) if stage == "content" else None  # noqa: E731
    server.script = slow
    process = fleet.start("-q", once=False)
    wait_until(lambda: sum(server.taken.values()) > 20, 30, "some are mailed")
    process.kill()
    code, text = fleet.run_once("-q", seconds=60)
    require(code == 0, f"exit {code}: {text[-300:]}")
    unknown = {who for who, state in fleet.recipients("spring").items() if state == "Unknown"}
    require(unknown, "the kill left nobody unknown")
    before = dict(server.taken)
    code, text = fleet.command("resume", "spring", "--state", fleet.state, "--unknown", "Resend")
    require(code == 0, text)
    code, text = fleet.run_once("-q", seconds=60)
    require(code == 0, f"exit {code}: {text[-300:]}")
    again = {who for who, count in server.taken.items() if count > before.get(who, 0)}
    require(again == unknown, f"{again} instead of {unknown}")
    require(states(fleet, "spring") == {"Accepted": 60}, f"{states(fleet, 'spring')}")
    require(fleet.status("Campaign", "spring")["recipients"]["resent"] == len(unknown), "they are not counted as resent")
    code, text = fleet.run_once("-q", seconds=60)
    require(code == 0 and dict(server.taken) == {**before, **{w: before.get(w, 0) + 1 for w in unknown}}, "another start mailed somebody")
    return f"{len(unknown)} unknown, each mailed once more"


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all(
        (
            known_refusals_reject_nobody,
            unknown_refusals_stop_and_are_resumed,
            a_kill_keeps_what_is_held,
            a_batch_on_twenty_connections,
            dead_addresses_are_their_own_fault,
            another_customer_is_not_affected,
            what_one_server_cannot_take_goes_to_another,
            removed_recipients_are_not_retried,
            unknown_outcomes_are_resent_on_request,
        ),
        fleets.binary(),
    )
    cases.end()


if __name__ == "__main__":
    main()

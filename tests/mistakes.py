#!/usr/bin/env python3
"""Mistakes that people make in a first campaign. Each is run in a fresh folder: what is said is checked; then it is fixed, and run again in
the same state folder. Then everybody must have been mailed exactly once, and nobody before the fix who must not be.
"""

import re
import subprocess
import time
from collections import Counter
from pathlib import Path

from parts import fleet as fleets
from parts.export import Export
from parts.process import Process, folder, free_port, wait_until
from parts.report import Cases, require
from parts.scripted import Scripted

PEOPLE = 60
LOGIN = ("news", "right-password")
# Longest run, seconds.
PATIENCE = 60

SERVER = """apiVersion: mailfleet.dev/v1alpha1
kind: SendingServer
metadata: {name: relay}
spec:
  provider:
    smtp:
      host: 127.0.0.1
      port: PORT
      encryption: None
      auth: {secretRef: {name: relay-login}}
"""
SECRET = """apiVersion: v1
kind: Secret
metadata: {name: relay-login}
stringData: {username: news, password: right-password}
"""
PLAN = """apiVersion: mailfleet.dev/v1alpha1
kind: Plan
metadata: {name: newsletter}
spec: {servers: [{name: relay}]}
"""
CAMPAIGN = """apiVersion: mailfleet.dev/v1alpha1
kind: Campaign
metadata: {name: hello}
spec:
  planRef: {name: newsletter}
  from: {name: Example News, address: news@example.com}
  subject: Hello {{ name }}
  content:
    htmlFrom: {path: mail.html}
  audience:
    csv: {path: people.csv}
"""
MAIL = "<p>Dear {{ name }},</p>\n<p>this is the news.</p>\n"


def csv(separator: str = ",", head: str = "email,name", rows=range(PEOPLE), name="Ann") -> str:
    """The audience as text."""
    lines = [head.replace(",", separator), *(f"p{number}@example.org{separator}{name} {number}" for number in rows)]
    return "".join(f"{line}\n" for line in lines)


class Project:
    """A first campaign that is right, and what it runs with."""

    def __init__(self, name: str, program: Path):
        self.place, self.program = folder(f"mistake-{re.sub('[^a-z0-9]+', '-', name.lower())}"), program
        self.server = Scripted(login=LOGIN)
        self.port = self.server.port
        self.right = {
            "server.yaml": SERVER.replace("PORT", str(self.port)),
            "secret.yaml": SECRET,
            "plan.yaml": PLAN,
            "campaign.yaml": CAMPAIGN,
            "mail.html": MAIL,
            "people.csv": csv(),
        }
        self.write()

    def write(self):
        """Everything as it should be."""
        for name, content in self.right.items():
            self.put(name, content)

    def put(self, name: str, content: str | bytes):
        """Writes one file, dated back so that nobody takes it for one that is being written."""
        path = self.place / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def change(self, name: str, old: str, new: str):
        """Replaces a text of a file."""
        require(old in self.right[name], f"{old!r} is not in {name}")
        self.put(name, self.right[name].replace(old, new))

    def run(self, *options: str) -> tuple[int, str]:
        """`mailfleet run . --once`, as typed in the folder."""
        words = [str(self.program), "run", ".", "--once", *options]
        done = subprocess.run(words, cwd=self.place, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout + done.stderr


def changed(name: str, old: str, new: str):
    """A mistake in one place."""
    return lambda project: project.change(name, old, new)


def content(name: str, text: str | bytes):
    """A file that is wrong as a whole."""
    return lambda project: project.put(name, text)


def without(name: str):
    """A file that was forgotten."""
    return lambda project: (project.place / name).unlink()


def forgotten_server(project: Project):
    """Nothing listens."""
    project.server.close()
    time.sleep(0.05)


def started(project: Project):
    """It listens now, on the same port."""
    project.server = Scripted(login=LOGIN, port=project.port)


def refused_url(project: Project):
    """The audience is behind a URL that leads nowhere."""
    export = Export(None)
    export.refusal = 404
    project.change("campaign.yaml", "path: people.csv", f'url: "{export.url}"')


def more(name: str, text: str):
    """A file that should not be there; the fix removes it."""
    return lambda project: project.put(name, text)


def removed(name: str):
    """The fix of `more`."""
    return lambda project: (project.place / name).unlink()


# Windows-1252, as a spreadsheet saves it: every third name has an umlaut.
WINDOWS = "".join(["email,name\n", *(f"p{n}@example.org,{'Jürgen' if n % 3 == 0 else 'Ann'} {n}\n" for n in range(PEOPLE))])
JSON_LINES = "".join(f'{{"email": "p{n}@example.org"{"" if n % 10 == 0 else f", {chr(34)}name{chr(34)}: {chr(34)}Ann {n}{chr(34)}"}}}\n' for n in range(PEOPLE))

# Name, the mistake, what the first run must say, how many are mailed before the fix, and the fix where it is not just the right files.
# `2` as exit code: the folder has a fault, and nothing was looked at; `1`: the campaign cannot be sent.
MISTAKES = [
    ("wrong password", changed("secret.yaml", "right-password", "wrong-password"), 1, ["535", "Secret", "Nothing has been sent yet"], 0),
    ("wrong user", changed("secret.yaml", "username: news", "username: nwes"), 1, ["535", "Nothing has been sent yet"], 0),
    ("key of the Secret misspelt", changed("secret.yaml", "password:", "pasword:"), 1, ["`password`", "relay-login"], 0),
    ("Secret forgotten", without("secret.yaml"), 1, ["relay-login"], 0),
    ("Secret's name misspelt", changed("server.yaml", "relay-login", "realy-login"), 1, ["realy-login"], 0),
    ("password in the YAML", changed("server.yaml", "auth: {secretRef: {name: relay-login}}", "auth: {username: news, password: right-password}"), 2, ["Secret"], 0),
    ("wrong port", lambda project: project.change("server.yaml", str(project.port), str(free_port())), 1, ["nothing listens there", "Check host and port"], 0),
    ("host misspelt", lambda project: project.put("server.yaml", project.right["server.yaml"].replace("127.0.0.1", "relay.invalid").replace("None", "Tls")), 1, ["relay.invalid"], 0),
    ("server forgotten", forgotten_server, 1, ["nothing listens there", "starts as soon as"], 0, started),
    ("STARTTLS where there is none", changed("server.yaml", "encryption: None", "encryption: StartTls"), 1, ["STARTTLS"], 0),
    ("TLS where there is none", changed("server.yaml", "encryption: None", "encryption: Tls"), 1, ["TLS"], 0),
    ("login forgotten", changed("server.yaml", "      auth: {secretRef: {name: relay-login}}\n", ""), 1, ["530 5.7.0 Authentication required", "auth.secretRef", "Nothing has been sent yet"], 0),
    ("server disabled", changed("server.yaml", "spec:", "spec:\n  enabled: false"), 1, ["enabled"], 0),
    ("field misspelt", changed("server.yaml", "host:", "hots:"), 2, ["did you mean `host`?"], 0),
    ("kind misspelt", changed("server.yaml", "kind: SendingServer", "kind: SendngServer"), 2, ["SendngServer"], 0),
    ("apiVersion of another", changed("plan.yaml", "mailfleet.dev/v1alpha1", "mailfleet.dev/v1"), 2, ["mailfleet.dev/v1alpha1"], 0),
    ("a tab", changed("plan.yaml", "spec: {servers", "spec:\n\tservers: x\nother: {servers"), 2, ["plan.yaml"], 0),
    ("quote forgotten", changed("campaign.yaml", "subject: Hello {{ name }}", 'subject: "Hello {{ name }}'), 2, ["campaign.yaml"], 0),
    ("port in quotes", lambda project: project.change("server.yaml", f"port: {project.port}", f'port: "{project.port}"'), 2, ["remove the quotes"], 0),
    ("plan's name misspelt", changed("campaign.yaml", "name: newsletter", "name: newsleter"), 1, ["newsleter", "did you mean `newsletter`?"], 0),
    ("plan forgotten", without("plan.yaml"), 1, ["newsletter"], 0),
    ("server's name misspelt in the plan", changed("plan.yaml", "name: relay", "name: realy"), 1, ["realy", "did you mean `relay`?"], 0),
    ("server forgotten in the plan", changed("plan.yaml", "[{name: relay}]", "[]"), 1, ["grants no server"], 0),
    ("server that is not granted", changed("campaign.yaml", "  subject", "  servers: [{name: other}]\n  subject"), 1, ["other", "relay"], 0),
    ("every weight is 0", changed("campaign.yaml", "  subject", "  servers: [{name: relay, weight: 0}]\n  subject"), 2, ["every weight is 0"], 0),
    ("namespace misspelt", changed("campaign.yaml", "{name: hello}", "{name: hello, namespace: shpo}"), 1, ["Plan default/newsletter is: set planRef.namespace to default if you mean that one"], 0),
    ("run's name with a space", changed("campaign.yaml", "  subject", "  run: my run\n  subject"), 2, ["spec.run"], 0),
    ("unsubscribe page without https", changed("campaign.yaml", "  subject", "  unsubscribe: {url: example.com/u}\n  subject"), (1, 2), ["unsubscribe"], 0),
    ("sender's address misspelt", changed("campaign.yaml", "news@example.com", "news@"), 2, ["news@"], 0),
    ("suspended", changed("campaign.yaml", "  subject", "  suspend: true\n  subject"), 0, ["spec.suspend"], 0),
    ("twice the same object", more("copy.yaml", PLAN), 2, ["copy.yaml", "plan.yaml"], 0, removed("copy.yaml")),
    ("field of the template misspelt", changed("mail.html", "{{ name }}", "{{ nmae }}"), 1, ["`nmae`", "did you mean `name`?"], 0),
    ("field of the subject misspelt", changed("campaign.yaml", "Hello {{ name }}", "Hello {{ Name }}"), 1, ["`Name`", "`name`"], 0),
    ("brace forgotten", changed("mail.html", "{{ name }}", "{{ name }"), 1, ["mail.html", "line 1"], 0),
    ("endif forgotten", changed("mail.html", "{{ name }},", "{% if name %}{{ name }},"), 1, ["mail.html"], 0),
    ("filter misspelt", changed("mail.html", "{{ name }}", "{{ name | uper }}"), 1, ["uper"], 0),
    ("template forgotten", without("mail.html"), 1, ["mail.html"], 0),
    ("body forgotten", changed("campaign.yaml", "    htmlFrom: {path: mail.html}", "    {}"), 2, ["a message needs a body"], 0),
    ("semicolons", content("people.csv", csv(";")), 1, ["`;`"], 0),
    ("column email misspelt", content("people.csv", csv(head="e-mail,name")), 1, ["`email`", 'columns: {email: "e-mail"}'], 0),
    ("UTF-16", content("people.csv", csv().encode("utf-16")), 1, ["UTF-16"], 0),
    ("empty file", content("people.csv", ""), 1, ["people.csv"], 0),
    ("only a header", content("people.csv", "email,name\n"), 1, ["it has no rows"], 0),
    ("audience forgotten", without("people.csv"), 1, ["people.csv"], 0),
    ("audience outside the folder", changed("campaign.yaml", "path: people.csv", "path: ../people.csv"), (1, 2), ["people.csv"], 0),
    ("URL that is not there", refused_url, 1, ["404 Not Found", "check the URL"], 0),
    ("a spreadsheet", content("people.csv", b"PK\x03\x04" + bytes(range(256)) * 40), 1, ["people.csv"], 0),
    ("sep= without a sign in the first line", content("people.csv", "sep=\n" + csv()), 1, ["sep="], 0),
    ("JSON Lines as CSV", content("people.csv", JSON_LINES), 1, ["people.csv"], 0),
    ("Windows-1252", content("people.csv", WINDOWS.encode("cp1252")), 1, ["UTF-8"], 40),
    ("two bad addresses", content("people.csv", csv().replace("p7@", "p7 at ").replace("p9@example.org", "p9")), 1, ["2 rows", "line 9", "whenRowIsBad"], 58),
    ("no address is one", content("people.csv", csv().replace("@", " at ")), 1, ["people.csv", "none of its 60 rows"], 0),
    ("a field that some have not", lambda project: (project.put("people.csv", JSON_LINES), project.put("campaign.yaml", CAMPAIGN.replace("csv:", "jsonLines:"))), 1, ["6 recipients", "whenRenderFails"], 54,
     lambda project: project.put("people.csv", JSON_LINES.replace('.org"}', '.org", "name": "Ann"}'))),
]  # fmt: skip


def mistake(program: Path, name: str, make, code: int | tuple, words: list[str], before: int, fix=None) -> str:
    """Makes it, reads what is said, fixes it, and counts who was mailed."""
    project = Project(name, program)
    try:
        make(project)
        first, told = project.run()
        codes = code if isinstance(code, tuple) else (code,)
        require(first in codes, f"exit {first} instead of {code}:\n{told}")
        for word in words:
            require(word in told, f"{word!r} is not said:\n{told}")
        require("right-password" not in told and "wrong-password" not in told, f"a password is printed:\n{told}")
        require("Completed" not in told, f"it says Completed:\n{told}")
        taken = project.server.taken
        require(sum(taken.values()) == before, f"{sum(taken.values())} mailed before the fix:\n{told}")
        # Again without a fix: nobody is mailed, and it is said again.
        again, told_again = project.run()
        require(again == first, f"the second time exit {again}:\n{told_again}")
        require(sum(taken.values()) == before, "the second time somebody was mailed")
        if fix is None:
            project.write()
        else:
            fix(project)
            taken = taken + project.server.taken if project.server.taken is not taken else taken
        last, told = project.run()
        require(last == 0, f"exit {last} after the fix:\n{told}")
        total = taken + project.server.taken if project.server.taken is not taken else taken
        require(total == Counter({f"p{number}@example.org": 1 for number in range(PEOPLE)}), f"not everybody once: {total}\n{told}")
        return f"exit {first}, {before} mailed before the fix"
    finally:
        project.server.close()


def once(project: Project, code: int, *words: str) -> str:
    """A run that must end with this code and say these words."""
    ended, told = project.run()
    require(ended == code, f"exit {ended} instead of {code}:\n{told}")
    for word in words:
        require(word in told, f"{word!r} is not said:\n{told}")
    return told


def only(project: Project, *numbers: int):
    """Everybody up to PEOPLE once, and these once."""
    wanted = Counter({f"p{number}@example.org": 1 for number in (*range(PEOPLE), *numbers)})
    require(project.server.taken == wanted, f"{project.server.taken - wanted} too much, {wanted - project.server.taken} missing")


def rows_after_completion(program: Path) -> str:
    """Rows that came later are told by the next run, and mailed alone by a larger `reopen`, once."""
    project = Project("rows after completion", program)
    once(project, 0, "Completed 60 of 60")
    project.put("people.csv", csv(rows=range(PEOPLE + 3)))
    told = once(project, 0, "3 rows were added", "spec.reopen")
    only(project)
    project.change("campaign.yaml", "  subject", "  reopen: 1\n  subject")
    once(project, 0, "Completed 63 of 63")
    only(project, 60, 61, 62)
    told = once(project, 0)
    require("rows were added" not in told, told)
    # The same number again, with one more row: nobody. A larger one: that row alone, beside one that has gone.
    project.put("people.csv", csv(rows=range(1, PEOPLE + 4)))
    once(project, 0, "1 row was added")
    only(project, 60, 61, 62)
    project.change("campaign.yaml", "  subject", "  reopen: 2\n  subject")
    once(project, 0)
    only(project, 60, 61, 62, 63)
    # An older commit is restored: nobody.
    project.change("campaign.yaml", "  subject", "  reopen: 1\n  subject")
    once(project, 0)
    only(project, 60, 61, 62, 63)
    return "3 told, then mailed alone; 1 more by a larger number; none by an older one"


def rows_that_come_while_it_watches(program: Path) -> str:
    """A process without --once tells them within a few seconds, and mails them when `reopen` is raised."""
    project = Project("rows while it watches", program)
    process = Process([str(program), "run", "."], project.place / "run.out", cwd=project.place)

    def message() -> str:
        status = project.place / ".mailfleet/status/default/Campaign/hello.yaml"
        return status.read_text() if status.exists() else ""

    try:
        wait_until(lambda: "state: Completed" in message(), 30, "completion")
        time.sleep(1.2)
        for added in (2, 5):
            project.put("people.csv", csv(rows=range(PEOPLE + added)))
            began = time.monotonic()
            wait_until(lambda: f"{added} rows were added" in message(), 20, f"{added} rows told")
            took = time.monotonic() - began
        only(project)
        project.change("campaign.yaml", "  subject", "  reopen: 1\n  subject")
        wait_until(lambda: sum(project.server.taken.values()) == PEOPLE + 5, 30, "the five are mailed")
        wait_until(lambda: "state: Completed" in message() and "rows were added" not in message(), 30, "completion")
        only(project, *range(60, 65))
    finally:
        process.kill()
    return f"told after {took:.1f} s, five mailed by reopen"


def bad_rows_fixed_while_it_watches(program: Path) -> str:
    """The stopped run goes on by itself once the file is fixed."""
    project = Project("bad rows while it watches", program)
    project.put("people.csv", csv().replace("p7@", "p7 at ").replace("p9@example.org", "p9"))
    process = Process([str(program), "run", "."], project.place / "run.out", cwd=project.place)
    try:
        wait_until(lambda: "could not be used" in process.text(), 30, "the stop")
        require(sum(project.server.taken.values()) == PEOPLE - 2, "all others are mailed")
        time.sleep(1.2)
        project.put("people.csv", csv())
        wait_until(lambda: "Completed 60 of 60" in process.text(), 30, "completion")
        only(project)
    finally:
        process.kill()
    return "two mailed after the fix"


def template_fixed_while_it_watches(program: Path) -> str:
    """Exactly those are mailed for whom it failed; a row that is removed instead is withdrawn."""
    project = Project("template while it watches", program)
    project.right["people.csv"] = JSON_LINES
    project.right["campaign.yaml"] = CAMPAIGN.replace("csv:", "jsonLines:")
    project.write()
    process = Process([str(program), "run", "."], project.place / "run.out", cwd=project.place)
    try:
        wait_until(lambda: "whenRenderFails" in process.text(), 30, "the stop")
        require(sum(project.server.taken.values()) == PEOPLE - 6, "all others are mailed")
        time.sleep(1.2)
        # One row goes, which leaves five; then the template is fixed for these.
        project.put("people.csv", "".join(line + "\n" for line in JSON_LINES.splitlines() if "p10@" not in line))
        wait_until(lambda: "failed for 5 recipients" in process.text(), 30, "five left")
        project.change("mail.html", "{{ name }}", '{{ name | default("reader") }}')
        project.change("campaign.yaml", "Hello {{ name }}", "Hello")
        wait_until(lambda: "Completed 59 of 59" in process.text(), 30, "completion")
    finally:
        process.kill()
    require(project.server.taken == Counter({f"p{number}@example.org": 1 for number in range(PEOPLE) if number != 10}), str(project.server.taken))
    return "54, then 5; one withdrawn"


def skipped_on_purpose(program: Path) -> str:
    """With Skip a run completes without them, and exits 0; reopen mails them once they are right."""
    project = Project("skipped on purpose", program)
    project.right["campaign.yaml"] = CAMPAIGN.replace("csv:", "jsonLines:").replace("people.csv}", "people.csv}\n    whenRowIsBad: Skip").replace("mail.html}", "mail.html}\n    whenRenderFails: Skip")
    project.right["people.csv"] = JSON_LINES.replace("p1@", "p1 at ")
    project.write()
    once(project, 0, "Completed")
    require(sum(project.server.taken.values()) == PEOPLE - 7, str(project.server.taken))
    project.put("people.csv", JSON_LINES.replace('.org"}', '.org", "name": "Ann"}'))
    once(project, 0, "1 row was added or fixed")
    project.change("campaign.yaml", "  subject", "  reopen: 1\n  subject")
    once(project, 0, "Completed 60 of 60")
    only(project)
    return "53 at first; 7 by reopen"


def bounds_as_a_share(program: Path) -> str:
    """5% is judged from 100 rows on and at the end; nobody is mailed again after the fix."""
    project = Project("bounds as a share", program)
    good = [f"p{number}@example.org,Ann" for number in range(300)]
    bad = [row.replace("@", " at ") if 40 <= number < 60 else row for number, row in enumerate(good)]
    project.put("people.csv", "email,name\n" + "\n".join(bad) + "\n")
    told = once(project, 1, "audience.maxBadRows is 5%")
    mailed = sum(project.server.taken.values())
    require(mailed <= 80, f"{mailed} mailed of the first 100 rows:\n{told}")
    project.change("campaign.yaml", "path: people.csv}", "path: people.csv}\n    maxBadRows: 25%")
    once(project, 1, "20 rows of the audience could not be used", "whenRowIsBad")
    require(sum(project.server.taken.values()) == 280, "all others")
    project.put("people.csv", "email,name\n" + "\n".join(good) + "\n")
    once(project, 0, "Completed 300 of 300")
    require(project.server.taken == Counter({f"p{number}@example.org": 1 for number in range(300)}), "everybody once")
    return f"{mailed} before the stop, 280 with a larger bound, 300 after the fix"


def nobody_accepted(program: Path) -> str:
    """A run of two that both servers refuse is no success."""
    project = Project("nobody accepted", program)
    project.server.script = lambda stage, session: "550 5.1.1 no such user" if stage == "rcpt" else None
    project.put("people.csv", csv(rows=range(2)))
    told = once(project, 1, "No message was accepted")
    require(not project.server.taken, told)
    return "exit 1"


def starts_before_its_deadline(program: Path) -> str:
    """Without a server it starts when one is Active, but not after startingDeadline."""
    project = Project("deadline", program)
    project.right["campaign.yaml"] = CAMPAIGN.replace("  subject", "  startingDeadline: 3s\n  subject")
    project.write()
    project.server.close()
    once(project, 1, "Nothing has been sent yet")
    time.sleep(3.2)
    project.server = Scripted(login=LOGIN, port=project.port)
    once(project, 1, "startingDeadline")
    require(not project.server.taken, "too late, and mailed all the same")
    project.change("campaign.yaml", "startingDeadline: 3s", "startingDeadline: 1h")
    once(project, 0, "Completed 60 of 60")
    only(project)
    return "too late, then with a longer one"


def people_of_another_run(program: Path) -> str:
    """A campaign of those whom another run did not reach: alone, and with the fields of its audience; not while that run goes on."""
    project = Project("people of another run", program)
    project.server.script = lambda stage, session: "550 5.2.1 this account is suspended" if stage == "rcpt" and session.recipient.startswith("p1") else None
    once(project, 0, "Completed 60 of 60")
    refused = {f"p{number}@example.org" for number in (1, *range(10, 20))}
    require(set(project.server.taken) == {f"p{number}@example.org" for number in range(PEOPLE)} - refused, f"{project.server.taken}")
    project.server.script = lambda stage, session: None
    again = CAMPAIGN.replace("{name: hello}", "{name: again}")
    alone = again.replace("csv: {path: people.csv}", "outcomes: {campaign: hello, states: [Rejected]}")
    project.put("again.yaml", alone)
    once(project, 1, "`name`", "`email`")
    project.put("again.yaml", alone.replace("mail.html", "plain.html").replace("Hello {{ name }}", "Hello"))
    project.put("plain.html", "<p>Hello</p>")
    once(project, 0, "campaign default/again Completed 11 of 11")
    only(project)
    # With the rows of the audience, into a third campaign; a run that is not there is told.
    third = again.replace("name: again", "name: third").replace("csv: {path: people.csv}", "csv: {path: people.csv}\n    outcomes: {campaign: hello, run: frist, states: [Rejected]}")
    project.put("third.yaml", third)
    once(project, 1, "no run frist of campaign hello")
    project.put("third.yaml", third.replace("frist", "first"))
    once(project, 0, "campaign default/third Completed 11 of 11")
    require(all(project.server.taken[address] == 2 for address in refused), f"{project.server.taken}")
    # Of a run that goes on, nobody.
    project.put("people.csv", csv() + "p7 at example.org,Bad\n")
    project.change("campaign.yaml", "  subject", "  run: second\n  subject")
    project.put("third.yaml", third.replace("name: third", "name: fourth").replace("frist", "second"))
    project.server.script = lambda stage, session: "550 5.1.1 no such user" if stage == "rcpt" else None
    before = sum(project.server.taken.values())
    process = Process([str(program), "run", "."], project.place / "run.out", cwd=project.place)
    try:
        wait_until(lambda: "run second of campaign hello is not completed" in process.text(), 20, "it waits for the other run")
        time.sleep(2)
        require(sum(project.server.taken.values()) == before, "somebody was mailed")
    finally:
        process.kill()
    return "11 alone, 11 with their fields, none of a run that goes on"


def stopped_midway(program: Path) -> str:
    """Once messages have left, a stop stays one until a person acts, and says first how."""
    project = Project("stopped midway", program)
    project.right["server.yaml"] = project.right["server.yaml"].rstrip() + "\n  limits: {rates: [{messages: 20, per: 1s}], connections: 1}\n"
    project.write()
    process = Process([str(program), "run", ".", "--once"], project.place / "run.out", cwd=project.place)
    try:
        wait_until(lambda: sum(project.server.taken.values()) >= 15, 30, "15 are mailed")
        project.server.close()
        project.server.script = lambda stage, session: "421 4.3.2 shutting down"
        require(process.wait(40) == 1, process.text())
    finally:
        process.kill()
    told = process.text()
    before = Counter(project.server.taken)
    require("Stopped" in told and ": `mailfleet resume hello`" in told, told)
    project.server = Scripted(login=LOGIN, port=project.port)
    told = once(project, 1, "`mailfleet resume hello`", "relay can be used now")
    require("refused" not in told and not project.server.taken, told)
    done = subprocess.run([str(program), "resume", "hello"], cwd=project.place, capture_output=True, text=True, timeout=30)
    require(done.returncode == 0, done.stdout + done.stderr)
    once(project, 0, "Completed 60 of 60")
    total = before + project.server.taken
    require(total == Counter({f"p{number}@example.org": 1 for number in range(PEOPLE)}), f"{total}")
    return f"{sum(before.values())} before, the rest after resume"


FIXES = [
    rows_after_completion,
    rows_that_come_while_it_watches,
    bad_rows_fixed_while_it_watches,
    template_fixed_while_it_watches,
    skipped_on_purpose,
    bounds_as_a_share,
    nobody_accepted,
    starts_before_its_deadline,
    people_of_another_run,
    stopped_midway,
]


def main():
    """Runs them."""
    cases = Cases(__doc__)
    cases.parse()
    program = fleets.binary()
    for name, make, code, words, before, *fix in MISTAKES:
        cases.add(name, mistake, program, name, make, code, words, before, *fix)
    cases.add_all(FIXES, program)
    cases.end()


if __name__ == "__main__":
    main()

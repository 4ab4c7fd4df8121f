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
from parts.process import folder, free_port
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
    ("host misspelt", changed("server.yaml", "127.0.0.1", "relay.invalid"), 1, ["relay.invalid"], 0),
    ("server forgotten", forgotten_server, 1, ["nothing listens there", "starts as soon as"], 0, started),
    ("STARTTLS where there is none", changed("server.yaml", "encryption: None", "encryption: StartTls"), 1, ["STARTTLS"], 0),
    ("TLS where there is none", changed("server.yaml", "encryption: None", "encryption: Tls"), 1, ["TLS"], 0),
    ("server disabled", changed("server.yaml", "spec:", "spec:\n  enabled: false"), 1, ["enabled"], 0),
    ("field misspelt", changed("server.yaml", "host:", "hots:"), 2, ["did you mean `host`?"], 0),
    ("kind misspelt", changed("server.yaml", "kind: SendingServer", "kind: SendngServer"), 2, ["SendngServer"], 0),
    ("apiVersion of another", changed("plan.yaml", "mailfleet.dev/v1alpha1", "mailfleet.dev/v1"), 2, ["mailfleet.dev/v1alpha1"], 0),
    ("a tab", changed("plan.yaml", "spec: {servers", "spec:\n\tservers: x\nother: {servers"), 2, ["plan.yaml"], 0),
    ("quote forgotten", changed("campaign.yaml", "subject: Hello {{ name }}", 'subject: "Hello {{ name }}'), 2, ["campaign.yaml"], 0),
    ("port in quotes", lambda project: project.change("server.yaml", f"port: {project.port}", f'port: "{project.port}"'), 2, ["remove the quotes"], 0),
    ("plan's name misspelt", changed("campaign.yaml", "name: newsletter", "name: newsleter"), 1, ["newsleter"], 0),
    ("plan forgotten", without("plan.yaml"), 1, ["newsletter"], 0),
    ("server's name misspelt in the plan", changed("plan.yaml", "name: relay", "name: realy"), 1, ["realy"], 0),
    ("server forgotten in the plan", changed("plan.yaml", "[{name: relay}]", "[]"), 1, ["grants no server"], 0),
    ("server that is not granted", changed("campaign.yaml", "  subject", "  servers: [{name: other}]\n  subject"), 1, ["other", "relay"], 0),
    ("every weight is 0", changed("campaign.yaml", "  subject", "  servers: [{name: relay, weight: 0}]\n  subject"), 2, ["every weight is 0"], 0),
    ("namespace misspelt", changed("campaign.yaml", "{name: hello}", "{name: hello, namespace: shpo}"), 1, ["newsletter"], 0),
    ("sender's domain not allowed", lambda project: (project.change("plan.yaml", "spec: {", "spec: {senderDomains: [example.net], "), project.put("campaign.yaml", CAMPAIGN)), 1, ["example.net"], 0),
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
    ("column email misspelt", content("people.csv", csv(head="e-mail,name")), 1, ["`email`", "`e-mail`"], 0),
    ("UTF-16", content("people.csv", csv().encode("utf-16")), 1, ["UTF-16"], 0),
    ("empty file", content("people.csv", ""), 1, ["people.csv"], 0),
    ("only a header", content("people.csv", "email,name\n"), 1, ["it has no rows"], 0),
    ("audience forgotten", without("people.csv"), 1, ["people.csv"], 0),
    ("audience outside the folder", changed("campaign.yaml", "path: people.csv", "path: ../people.csv"), (1, 2), ["people.csv"], 0),
    ("a spreadsheet", content("people.csv", b"PK\x03\x04" + bytes(range(256)) * 40), 1, ["people.csv"], 0),
    ("sep= in the first line", content("people.csv", "sep=,\n" + csv()), 1, ["sep="], 0),
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


def main():
    """Runs them."""
    cases = Cases(__doc__)
    cases.parse()
    program = fleets.binary()
    for name, make, code, words, before, *fix in MISTAKES:
        cases.add(name, mistake, program, name, make, code, words, before, *fix)
    cases.end()


if __name__ == "__main__":
    main()

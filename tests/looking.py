#!/usr/bin/env python3
"""Looking before sending: `preview`, `send`, `run --dry-run` and `validate`, with servers on loopback that take what is sent.

Python's `email` reads the messages.
"""

import email
import email.policy
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from parts import fleet as fleets
from parts.process import folder, free_port, wait_until
from parts.report import Cases, need, require
from parts.sinks import Sink

PEOPLE = "email,name,vip\nann@example.com,Ann,\nbo@example.com,Bö,yes\nANN@EXAMPLE.COM,Ann,\nzoe@example.com,Zoe,\n"
HTML = '<h1>Dear {{ name }}</h1>\n<p>{% if vip %}`You` are <b>special</b>.{% endif %} <a href="https://x.example/u?{{ email }}">leave</a></p>\n'


def shop(place: Path, program: Path, *servers: dict, **spec) -> fleets.Fleet:
    """A folder with a campaign to three people that nothing would send today."""
    fleet = fleets.Fleet(place, program)
    (fleet.config / "people.csv").write_text(PEOPLE, encoding="utf-8")
    (fleet.config / "letter.html").write_text(HTML, encoding="utf-8")
    campaign = fleets.campaign("winter", "pro", {"csv": {"path": "people.csv"}}, **{
        "from": {"name": "Shöp", "address": "news@news.example.com"},
        "subject": "Hëllo {{ name }}",
        "content": {"htmlFrom": {"path": "letter.html"}},
        "unsubscribe": {"url": "https://x.example/u?{{ email }}", "oneClick": {}},
        "startAt": "2099-01-01T00:00:00Z",
        **spec,
    })  # fmt: skip
    plan = fleets.plan("pro", *(server["metadata"]["name"] for server in servers))
    fleet.write("all.yaml", *servers, plan, campaign)
    return fleet


def read(raw: bytes) -> dict:
    """What people see of a message, and what their mail programs do."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    fields = {name: str(message[name]) for name in ("From", "To", "Subject", "List-Unsubscribe", "List-Unsubscribe-Post")}
    bodies = {kind: message.get_body((kind,)).get_content() for kind in ("plain", "html")}
    return fields | bodies


def run(program, *words, cwd: Path | None = None) -> tuple[int, bytes, str]:
    """A command, its exit code, output and errors."""
    done = subprocess.run([program, *words], capture_output=True, timeout=60, stdin=subprocess.DEVNULL, cwd=cwd)
    return done.returncode, done.stdout, done.stderr.decode()


def a_preview_is_what_is_sent(program) -> str:
    """Each format shows the message that a dry run of the same campaign writes, and no server is needed."""
    fleet = shop(folder("preview"), program, fleets.smtp_server("relay", 1, {"auth": {"secretRef": {"name": "nowhere"}}}))
    code, _ = fleet.run_once("--dry-run")
    require(code == 0, f"dry run: exit {code}")
    sent = {message["To"]: message for message in map(read, (path.read_bytes() for path in fleet.state.rglob("*.eml")))}
    require(len(sent) == 3, f"{sorted(sent)}")
    for address in ("ann@example.com", "bo@example.com", "zoe@example.com"):
        code, raw, errors = run(program, "preview", "winter", fleet.config, "--recipient", address, "-o", "eml")
        seen = read(raw)
        require(code == 0 and seen == sent[seen["To"]], f"{address}: {code} {errors}\n{seen}\n{sent}")
        _, html, _ = run(program, "preview", "winter", fleet.config, "--recipient", address, "-o", "html")
        require(html.decode().splitlines() == seen["html"].splitlines(), f"{html!r}\n{seen['html']!r}")
    code, text, _ = run(program, "preview", "winter", fleet.config)
    wanted = "From: Shöp <news@news.example.com>\nTo: Ann <ann@example.com>\nSubject: Hëllo Ann\nList-Unsubscribe: <https://x.example/u?ann@example.com>\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\n\nDear Ann\n\nleave (https://x.example/u?ann@example.com)\n"
    require((code, text.decode()) == (0, wanted), f"{code}\n{text.decode()}")
    _, all_of_them, _ = run(program, "preview", "winter", fleet.config, "--first", "9")
    require(all_of_them.decode().count("Subject: ") == 3, "an address is shown twice, or somebody is not shown")
    _, markdown, _ = run(program, "preview", "default/winter", fleet.config, "--recipient", "BO@example.com", "-o", "markdown")
    for part in ("| To | Bö \\<bo&#64;<!-- -->example.com\\> |", "\n```text\nDear Bö", "\n````html\n" if "```" in HTML else "\n```html\n<h1>Dear Bö</h1>"):
        require(part in markdown.decode(), f"{part!r} is not in\n{markdown.decode()}")
    require(not (fleet.state / "ledger.db").exists(), "something touched the ledger")
    return "eml, html, text and markdown of three people"


def a_look_has_the_fields_of_the_message(program) -> str:
    """The same names, and the same values but for what only the process that sends knows: a mailto: where a server's mail is read, the
    campaign's own fields, and no mailto: where no server has one."""
    place = folder("fields")
    about = {"identity": {"returnPath": "b.example.com"}, "feedback": {"bounces": "Listener"}}
    headers = [{"name": "List-Id", "value": "News <news.example.com>"}, {"name": "X-Segment", "value": "{% if vip %}Größe{% endif %}"}]
    public = ("--public-url", "https://news.example.com")
    plain = {"unsubscribe": {"oneClick": {}}, "startAt": "2020-01-01T00:00:00Z", "headers": headers, "content": {"text": "Leave: {{ unsubscribe_url }}"}}
    for spec in (about, {}):
        box = fleets.resource("SendingServer", "box", {"provider": {"outbox": {}}, **spec})
        fleet = shop(place / ("read" if spec else "unread"), program, fleets.smtp_server("first", 1, enabled=False), box, **plain)
        process = fleet.start(*public, "--bounce-address", f"127.0.0.1:{free_port()}", once=False)
        fleet.wait_state("Campaign", "winter", "Completed", 30)
        process.stop()

        def fields(raw: bytes) -> list[tuple[str, str]]:
            """Names and values; a token is the same as any other of its length, and the two lines that nobody knows ahead."""
            message = email.message_from_bytes(raw, policy=email.policy.default)
            masked = {"Date", "Message-ID"}
            token = re.compile(r"(?<=/u/v1/)[a-z2-7]+|(?<=subject=)[a-z2-7]+|(?<=mailto:unsubscribe-)[a-z2-7]+")
            line = lambda value: token.sub(lambda found: "t" * len(found[0]), " ".join(str(value).split()))  # noqa: E731
            written = [(name, value) for name, value in message.items() if name not in ("Return-Path", "Delivered-To")]
            return [(name, "" if name in masked else line(value)) for name, value in written]

        sent = [path.read_bytes() for path in fleet.state.glob("outbox/default/box/new/*")]
        of_bo = next(raw for raw in sent if b"bo@example.com" in raw.split(b"\r\n\r\n")[0])
        code, seen, errors = run(program, "preview", "winter", fleet.config, "--recipient", "bo@example.com", "-o", "eml", *public)
        require(code == 0, errors)
        ours, theirs = fields(seen), fields(of_bo)
        # A real link also holds its run, which takes a few letters more.
        shorter = lambda found: [(name, re.sub("t{20,}", "t", value)) for name, value in found]  # noqa: E731
        require(shorter(ours) == shorter(theirs), f"{ours}\n{theirs}")
        unsubscribe = dict(ours)["List-Unsubscribe"]
        require(("<mailto:unsubscribe" in unsubscribe and "@b.example.com" in unsubscribe) == bool(spec), unsubscribe)
        _, text, _ = run(program, "preview", "winter", fleet.config, "--recipient", "bo@example.com", *public)
        head = text.decode().split("\n\n")[0]
        shown = [line.split(": ")[0] for line in head.splitlines()]
        require(shown == ["From", "To", "Subject", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Id", "X-Segment"], head)
        require("X-Segment: Größe" in head and ("mailto:" in head) == bool(spec), head)
        _, text, _ = run(program, "preview", "winter", fleet.config, *public)
        require("X-Segment" not in text.decode(), "what comes out empty is left out")

        (fleet.state / "outbox").rename(fleet.state / "before")
        code, output = fleet.command("send", "winter", fleet.config, "--state", fleet.state, "--recipient", "bo@example.com", "--to", "me@example.org", *public)
        require(code == 0, output)
        by_hand = fields(next(fleet.state.glob("outbox/default/box/new/*")).read_bytes())
        others = lambda found: [field for field in shorter(found) if field[0] != "To"]  # noqa: E731
        require(others(by_hand) == others(theirs), f"{by_hand}\n{theirs}")
    return "preview, send and the message itself"


def what_a_preview_refuses(program) -> str:
    """A typo in the campaign's name, the address or the template, and a recipient for whom the template fails: with what to do."""
    fleet = shop(folder("refuses"), program, fleets.smtp_server("relay", 1))
    html = "<p>Dear {{ name }}\n{{ name | int + 1 }}</p>"
    cases = [
        ("", ["wintre"], 2, ["there is no campaign `wintre`", "did you mean `winter`?"]),
        ("", ["winter", "--recipient", "zoo@example.com"], 2, ["zoo@example.com is not in the audience of campaign default/winter; did you mean zoe@example.com?"]),
        ("", ["winter", "-n", "other"], 2, ["there is no campaign `winter`"]),
        ("", ["winter", "-o", "eml", "--first", "2"], 2, ["-o html and -o eml print one message"]),
        ("{{ nmae }}", ["winter"], 2, ["letter.html:1:1: fault: Campaign default/winter: spec.content.htmlFrom: it cannot be sent: the audience has no field `nmae`; did you mean `name`?", "campaign default/winter has 1 fault; fix that first"]),
        (html, ["winter", "--recipient", "zoe@example.com"], 1, ["letter.html:2:1: fault: spec.content.htmlFrom: no message can be made for zoe@example.com: ", "fix the template, or this recipient's row"]),
    ]  # fmt: skip
    for template, words, wanted, told in cases:
        (fleet.config / "letter.html").write_text(template or HTML, encoding="utf-8")
        code, output, errors = run(program, "preview", words[0], fleet.config, *words[1:])
        require(code == wanted and not output, f"{words}: exit {code}, {output!r}, {errors}")
        for part in told:
            require(part in errors, f"{words}: {part!r} is not in\n{errors}")
    return f"{len(cases)} mistakes"


def to_oneself(program) -> str:
    """The first recipient's message reaches only the given address, through a server that works, beside a process that holds the
    ledger; nothing is recorded."""
    place = folder("send")
    with Sink(program, place, "up") as up, Sink(program, place, "refuses", "--reply", "*=550") as refuses:
        servers = (
            fleets.smtp_server("down", 1),
            fleets.smtp_server("relay", up.port, identity={"returnPath": "bounces.example.com"}),
            fleets.smtp_server("refuses", refuses.port),
            fleets.resource("SendingServer", "box", {"provider": {"outbox": {}}}),
            fleets.smtp_server("foreign", up.port),
        )
        fleet = shop(place, program, *servers)
        weights = {"down": 9, "relay": 5, "refuses": 1, "box": 1}
        plan = fleets.resource("Plan", "pro", {"servers": [{"name": name, "weight": weight} for name, weight in weights.items()]})
        objects = [json.loads(text) for text in (fleet.config / "all.yaml").read_text().split("---\n") if text]
        fleet.write("all.yaml", *(plan if one["kind"] == "Plan" else one for one in objects))
        process = fleet.start(once=False)
        try:
            wait_until(lambda: fleet.status("Campaign", "winter").get("state") == "Scheduled", 30, "the process that holds the ledger")
            counts = fleet.status("Campaign", "winter")["recipients"]

            def send(*words):
                return run(program, "send", "winter", fleet.config, "--state", fleet.state, "--to", "me@example.org", *words)

            code, output, errors = send()
            require(code == 0, f"exit {code}: {output.decode()}{errors}")
            told = output.decode()
            require("default/relay (smtp, 127.0.0.1" in told and "was accepted: 250 " in told, f"which server, and its reply: {told}")
            require("This is the message of ann@example.com." in told and "following it unsubscribes that person" in told, told)
            require("default/down: Connection failed" in errors, f"the server that failed: {errors}")
            require(dict(up.taken()) == {"me@example.org": 1}, f"{up.taken()}")
            code, output, errors = send("--server", "refuses")
            require(code == 1 and "550" in errors, f"refused: {code} {output} {errors}")
            code, _, errors = send("--server", "foreign")
            require(code == 2 and "granted: default/box, default/down, default/refuses, default/relay" in errors, f"not granted: {code} {errors}")
            code, _, errors = send("--server", "box", "--recipient", "bo@example.com")
            require(code == 0, f"exit {code}: {errors}")
            message = read(next(fleet.state.glob("outbox/default/box/new/*")).read_bytes())
            _, raw, _ = run(program, "preview", "winter", fleet.config, "--recipient", "bo@example.com", "-o", "eml")
            require(message == read(raw) | {"To": "Bö <me@example.org>"}, f"{message}\n{read(raw)}")
            code, _, errors = send("--recipient", "me@example.org")
            require(code == 2 and "is not in the audience" in errors, f"{code} {errors}")
            require(fleet.status("Campaign", "winter")["recipients"] == counts, "the campaign's status counts it")
            require(process.running(), "the process ended")
        finally:
            process.kill()
        require(fleet.recipients_so_far("winter") == {}, "the ledger has recipients of the campaign")
    return "one message to oneself, past a server that is down, and one as another recipient"


def a_dry_run_waits_for_nothing(program) -> str:
    """No start time, no suspension, no limit; it ends, says what it is and where the messages are, and the server gets nothing."""
    place = folder("dry")
    with Sink(program, place) as sink:
        server = fleets.smtp_server("relay", sink.port, limits={"rates": [{"messages": 1, "per": "1h"}]})
        fleet = shop(place, program, server, suspend=True)
        for words, count in (((), 3), (("--first", "2"), 2)):
            process = fleet.start("--dry-run", *words, once=False)
            process.wait(60)
            output, box = process.text(), fleet.state / "dry-run" / "outbox"
            files = list(box.glob("default/relay/new/*.eml"))
            require(process.code == 0 and len(files) == count, f"exit {process.code}, {files}: {output}")
            begin, end = "Dry run: nothing leaves this machine.", f"Dry run: nothing left this machine; {count} messages written to {box}"
            require(begin in output and end in output and output.index(begin) < output.index(end), output)
        require(sink.count()["accepted"] == 0, "the server got messages")
        require(not (fleet.state / "ledger.db").exists(), "the real ledger was made")
        code, _, errors = run(program, "run", fleet.config, "--first", "2")
        require(code == 2 and "--dry-run" in errors, f"--first without --dry-run: {code} {errors}")
    return "three messages of a campaign of 2099, one an hour"


def validate_is_strict_on_demand(program) -> str:
    """What is not there is a warning, and with --strict a fault; the state folder is where `run` has it."""
    fleet = shop(folder("strict"), program, fleets.smtp_server("relay", 1), planRef={"name": "newsleter"})
    code, output, _ = run(program, "validate", fleet.config)
    require(code == 0 and b"warning: Campaign default/winter: spec.planRef.name: there is no Plan default/newsleter" in output, f"{code} {output!r}")
    code, output, _ = run(program, "validate", "--strict", fleet.config)
    require(code == 2 and b"fault: Campaign default/winter: spec.planRef.name" in output and b"1 fault" in output, f"{code} {output!r}")
    with Sink(program, fleet.folder) as sink:
        fleet = shop(fleet.folder / "renamed", program, fleets.smtp_server("relay", sink.port), startAt="2020-01-01T00:00:00Z")
        code, output, errors = run(program, "run", ".", "--once", cwd=fleet.config)
        require(code == 0, f"{output!r} {errors}")
    text = (fleet.config / "all.yaml").read_text()
    (fleet.config / "all.yaml").write_text(text.replace('"winter"', '"winter2"'))
    _, output, _ = run(program, "validate", ".", cwd=fleet.config)
    require(b"of campaign winter, which is no longer here" in output, f"a renamed campaign: {output!r}")
    return "a plan that is not there, and a renamed campaign"


# Both filters give it a thousand points, wherever it stands.
GTUBE = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
# Within a network of its own, so that it asks nobody.
ALONE = """ip link set lo up
rspamd --no-fork --insecure --user root --group root --var="DBDIR=$PLACE" --var="RUNDIR=$PLACE" --var="LOGDIR=$PLACE" --config /etc/rspamd/rspamd.conf >"$PLACE/rspamd.out" 2>&1 &
while ! rspamc stat >/dev/null 2>&1; do kill -0 $! || exit 9; sleep 0.2; done
for name in winter loud; do
    "$MAILFLEET" check $name "$FOLDER" --spam=rspamd -o json >"$PLACE/$name.json"
    echo "$name $?"
done
kill $!
"""


def letters(name: str, program) -> fleets.Fleet:
    """Two campaigns: `winter`, a letter, and `loud`, which every filter takes for spam."""
    content = {"text": "Hello {{ name }}, our shop is open again, and we look forward to your visit."}
    fleet = shop(folder(name), program, fleets.smtp_server("relay", 1), content=content)
    campaign = (fleet.config / "all.yaml").read_text(encoding="utf-8").split("---")[-1]
    campaign = campaign.replace('"winter"', '"loud"').replace("our shop is open again", GTUBE)
    (fleet.config / "loud.yaml").write_text(campaign, encoding="utf-8")
    return fleet


def of_filter(output: bytes | str) -> list[tuple[str, str]]:
    """The rows of the filter: severity, and what it says."""
    return [(row["severity"], row["what"]) for row in json.loads(output or "[]") if row["check"] == "spam"]


def spamassassin_judges(program) -> str:
    """`check --spam=spamassassin` says what a real SpamAssassin says of a letter and of spam."""
    need("" if shutil.which("spamassassin") else "spamassassin")
    fleet = letters("spamassassin", program)
    said = {}
    for name in ("winter", "loud"):
        code, output, errors = run(program, "check", name, fleet.config, "--spam=spamassassin", "-o", "json")
        require(code == (1 if name == "loud" else code) and not errors, f"{name}: exit {code}: {errors}")
        said[name] = of_filter(output)
    require(all(severity == "note" for severity, _ in said["winter"]), f"a letter: {said}")
    require([severity for severity, _ in said["loud"]] == ["warning"] and "GTUBE" in said["loud"][0][1], f"spam: {said}")
    return said["loud"][0][1][:60]


def rspamd_judges(program) -> str:
    """`check --spam=rspamd` says what a real rspamd says of a letter and of spam."""
    need("" if shutil.which("rspamc") else "rspamd")
    need("" if os.geteuid() == 0 else "root, for a network of its own")
    fleet = letters("rspamd", program)
    place = fleet.folder
    variables = os.environ | {"PLACE": str(place), "FOLDER": str(fleet.config), "MAILFLEET": str(program)}
    done = subprocess.run(["unshare", "--net", "sh", "-c", ALONE], capture_output=True, timeout=120, stdin=subprocess.DEVNULL, env=variables)
    log = f"{done} {(place / 'rspamd.out').read_text(errors='replace')[-2000:]}"
    require(b"loud 1" in done.stdout, log)
    said = {name: of_filter((place / f"{name}.json").read_text()) for name in ("winter", "loud")}
    require(all(severity == "note" for severity, _ in said["winter"]), f"a letter: {said} {log}")
    require([severity for severity, _ in said["loud"]] == ["warning"] and "GTUBE" in said["loud"][0][1], f"spam: {said} {log}")
    return said["loud"][0][1][:60]


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all(
        (a_preview_is_what_is_sent, a_look_has_the_fields_of_the_message, what_a_preview_refuses, to_oneself, a_dry_run_waits_for_nothing, validate_is_strict_on_demand, spamassassin_judges, rspamd_judges),
        fleets.binary(),
    )
    cases.end()


if __name__ == "__main__":
    main()

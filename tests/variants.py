#!/usr/bin/env python3
"""One campaign in several languages: each person gets exactly one message, whole in their own, whatever breaks or is killed on the way.

Python's `email` reads the messages.
"""

import base64
import email
import email.policy
import json
import re
from collections import Counter

from parts import fleet as fleets
from parts.place import Place
from parts.process import wait_until
from parts.report import Cases, Shared, require
from parts.scripted import Scripted
from parts.vendors import Vendor, bare

PEOPLE = 480
# A bound for a machine that does ten things at once.
SECONDS = 90

# What the audience says of a person's language, and whose message that is: `content` is what is in no variant.
LANGUAGES = {"en": "en", "de": "de", "fr": "fr", "de-AT": "de", "DE": "de", "pt": "content", "": "content", "fr_CA": "fr"}
VALUES = list(LANGUAGES)
# A word of each part of a message.
WORDS = {
    "en": {"subject": "Spring", "preheader": "Roses", "body": "Dear"},
    "de": {"subject": "Frühling", "preheader": "Rosen", "body": "Guten Tag"},
    "fr": {"subject": "Printemps", "preheader": "Des fleurs", "body": "Bonjour"},
}
WORDS["content"] = WORDS["en"]

HTML = "<html><body><p>Dear {{ name }}, it is spring.</p></body></html>\n"
GERMAN = "<html><body><p>Guten Tag {{ name }}, es ist schön.</p></body></html>\n"
FRENCH = "<mjml><mj-body><mj-section><mj-column><mj-text>Bonjour {{ name }}</mj-text></mj-column></mj-section></mj-body></mjml>\n"


def language(number: int) -> str:
    """What the audience says of a person by number."""
    return VALUES[number % len(VALUES)]


def content(**more) -> dict:
    """The campaign's content: bodies in the document, in files and in a ConfigMap."""
    return {
        "htmlFrom": {"path": "mails/spring.html"},
        "text": "Dear {{ name }}, it is spring.\n",
        "preheader": "Roses for {{ name }}",
        "variantField": "language",
        "variants": {
            "en": {},
            "de": {"subject": "Frühling, {{ name }}", "preheader": "Rosen für {{ name }}", "htmlFrom": {"path": "mails/de.html"}},
            "fr": {"subject": "Printemps, {{ name }}", "preheader": "Des fleurs", "mjmlFrom": {"configMapRef": {"name": "mails", "key": "fr.mjml"}}},
        },
        **more,
    }


def write(fleet: fleets.Fleet, spec: dict, port: int, **campaign):
    """The folder of a campaign with this content, over one SMTP server."""
    write_over(fleet, spec, fleets.smtp_server("relay", port, **campaign.pop("server", {})), **campaign)


def write_over(fleet: fleets.Fleet, spec: dict, *server: dict, **campaign):
    """The same over a server `relay`, perhaps with its Secret."""
    mails = fleet.config / "mails"
    mails.mkdir(exist_ok=True)
    (mails / "spring.html").write_text(HTML)
    (mails / "de.html").write_text(GERMAN)
    rows = "".join(f"{fleets.address(number)},Person {number},{language(number)}\n" for number in range(PEOPLE))
    (fleet.config / "people.csv").write_text(f"email,name,language\n{rows}")
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mails"}, "data": {"fr.mjml": FRENCH}}
    letter = {"subject": "Spring, {{ name }}", "content": spec, **campaign}
    fleet.write("fleet.yaml", *server, fleets.plan("pro", "relay"), config_map, fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}, **letter))


def read(raw: bytes) -> dict:
    """What a person sees of a message: its words by part, and the language that it says of itself."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    html = message.get_body(("html",)).get_content()
    hidden = re.search(r'<body[^>]*>\s*<div style="display:none[^>]*>([^<]*)</div>', html)
    return {
        "subject": str(message["Subject"]),
        "language": message["Content-Language"],
        "preheader": hidden[1] if hidden else "",
        "body": html,
        "text": message.get_body(("plain",)).get_content(),
        "to": message["To"].addresses[0].addr_spec,
    }


def in_their_language(mails: list[tuple[str, str, bytes]]) -> dict[str, int]:
    """Checks each message, part by part, and returns how often each person was mailed."""
    counts: dict[str, int] = {}
    for _, recipient, raw in mails:
        counts[recipient] = counts.get(recipient, 0) + 1
        seen, number = read(raw), int(re.search(r"\d+", recipient)[0])
        wanted = LANGUAGES[language(number)]
        words = WORDS[wanted]
        about = f"{recipient} ({language(number)!r}): {seen}"
        require(seen["to"] == recipient and seen["subject"] == f"{words['subject']}, Person {number}", about)
        require(seen["language"] == (None if wanted == "content" else wanted), about)
        require(seen["preheader"].startswith(words["preheader"]), about)
        require(words["body"] in seen["body"] and words["body"] in seen["text"], about)
        require(words["preheader"] not in seen["text"], f"the preheader is in the text: {about}")
        everything = " ".join(str(part) for part in seen.values())
        others = {word for name in WORDS for word in WORDS[name].values()} - set(words.values())
        require(not [word for word in others if word in everything], f"two languages in one message: {about}")
    return counts


def everybody(counts: dict[str, int], numbers=range(PEOPLE)):
    """Checks that exactly these people were mailed, each once."""
    wanted = {fleets.address(number): 1 for number in numbers}
    require(counts == wanted, f"{len(counts)} of {len(wanted)} people, {sorted(set(counts.values()))} times each: {sorted(set(wanted) ^ set(counts))[:5]}")


def killed_in_the_middle(place):
    """Three languages, regions and people without one; the process is killed twice while it sends."""
    with Scripted() as server:
        server.mails = []
        fleet = place.fleet("killed")
        write(fleet, content(), server.port, server={"limits": {"rates": [{"messages": 60, "per": "1s"}]}})
        for so_far in (PEOPLE // 4, PEOPLE // 2):
            with fleet.start() as process:
                wait_until(lambda so_far=so_far: len(server.mails) >= so_far or not process.running(), SECONDS, f"{so_far} messages")
                require(process.running(), f"it ended early: {process.tail()}")
                process.kill()
        code, output = fleet.run_once(seconds=SECONDS)
        require(code == 0, f"exit {code}: {output}")
        # What was on the wire at a kill is not sent again (whenOutcomeIsUnknown: Skip), and the ledger knows who that is.
        states = fleet.recipients("spring")
        unknown = {address for address, state in states.items() if state == "Unknown"}
        require(len(states) == PEOPLE and len(unknown) <= 128, f"{len(states)} people, {len(unknown)} of them unknown")
        counts = in_their_language(server.mails)
        require(set(counts.values()) == {1}, f"somebody was mailed {max(counts.values())} times")
        missing = {fleets.address(number) for number in range(PEOPLE)} - set(counts)
        require(missing <= unknown, f"not mailed, and not unknown: {sorted(missing - unknown)[:5]}")
        read_to_its_end = fleet.condition("Campaign", "spring", "AudienceRead")["message"]
        require(f"{PEOPLE // 8} recipients have a value in the field that content.variantField names, but no variant matches it (such as `pt`)" in read_to_its_end, read_to_its_end)
    return f"{len(counts)} messages in 3 languages over 2 kills, {len(unknown)} unknown"


def broken_and_fixed(place):
    """A variant that does not compile holds up everybody, one that fails for its people holds up only them; once it is fixed, exactly they are mailed."""
    with Scripted() as server:
        server.mails = []
        fleet = place.fleet("broken")
        write(fleet, content(maxRenderErrors=PEOPLE), server.port)
        german = fleet.config / "mails" / "de.html"

        def replaced(text: str):
            new = fleet.folder / "new.html"
            new.write_text(text)
            new.replace(german)

        replaced("<p>Guten Tag</p>\n<p>{{ name</p>\n")
        code, output = fleet.run_once()
        require(code == 1 and "spec.content.variants.de.htmlFrom: mails/de.html: line 2" in output and "is not closed" in output, f"exit {code}: {output}")
        code, output = fleet.command("validate", fleet.config)
        require(code == 2 and "mails/de.html:2" in output and "spec.content.variants.de.htmlFrom" in output, f"exit {code}: {output}")
        replaced("<p>Guten Tag {{ vorname }}</p>\n")
        code, output = fleet.run_once()
        require(code != 0 and "the audience has no field `vorname`" in output, f"exit {code}: {output}")
        require(not server.mails, f"{len(server.mails)} were mailed before")

        # It fails for each of its people, and for nobody else.
        replaced("<p>Guten Tag {{ name }} {{ 1 // (name | length - name | length) }}</p>\n")
        code, output = fleet.run_once()
        ready = fleet.condition("Campaign", "spring", "Ready")
        require(code == 1 and ready["reason"] == "RenderFailed", f"exit {code}, {ready}: {output}")
        germans = [number for number in range(PEOPLE) if LANGUAGES[language(number)] == "de"]
        everybody(in_their_language(server.mails), [number for number in range(PEOPLE) if number not in germans])
        failed = [address for address, state in fleet.recipients("spring").items() if state == "RenderFailed"]
        require(sorted(failed) == sorted(map(fleets.address, germans)), f"{len(failed)} failed, {len(germans)} get this variant")

        replaced(GERMAN)
        code, output = fleet.run_once()
        require(code == 0, f"exit {code}: {output}")
        everybody(in_their_language(server.mails))
    return f"{len(germans)} of {PEOPLE} after it was fixed"


def of_postmark(request: dict) -> list[tuple[str, str, str]]:
    """Recipient, subject and text of each message of a call."""
    messages = request if isinstance(request, list) else [request]
    return [(bare(one["To"]), one["Subject"], one["TextBody"]) for one in messages]


def of_brevo(request: dict) -> list[tuple[str, str, str]]:
    versions = [{**request, **one} for one in request.get("messageVersions", [{}])]
    return [(to["email"], one["subject"], one["textContent"]) for one in versions for to in one["to"]]


def of_sendgrid(request: dict) -> list[tuple[str, str, str]]:
    text = next(part["value"] for part in request["content"] if part["type"] == "text/plain")
    versions = [{**request, **one} for one in request["personalizations"]]
    return [(to["email"], one["subject"], text) for one in versions for to in one["to"]]


def of_plugin(request: dict) -> list[tuple[str, str, str]]:
    messages = [(one["recipient"], email.message_from_bytes(base64.b64decode(one["content"]), policy=email.policy.default)) for one in request["messages"]]
    return [(to, str(message["Subject"]), message.get_body(("plain",)).get_content()) for to, message in messages]


# Vendors that take several messages in a call.
CALLS = {"postmark": of_postmark, "brevo": of_brevo, "sendgrid": of_sendgrid, "plugin": of_plugin}


def in_calls_of_vendors(place):
    """Messages of three languages that share calls to vendors, also to those which want one body for all of a call."""
    sizes = {}
    for kind, read_call in CALLS.items():
        with Vendor(kind) as vendor:
            fleet = place.fleet(kind)
            # The same for all of a language, so that messages can share what a call has once.
            variants = {"en": {}, "de": {"subject": "Frühling, {{ name }}", "text": "Guten Tag\n"}, "fr": {"subject": "Printemps, {{ name }}", "text": "Bonjour\n"}}
            server = fleets.resource("SendingServer", "relay", {"provider": vendor.spec(batchSize=10), "limits": {"connections": 2}})
            write_over(fleet, {"text": "Dear reader\n", "variantField": "language", "variants": variants}, server, vendor.secret())
            code, output = fleet.run_once(seconds=SECONDS)
            require(code == 0, f"{kind}: exit {code}: {output}")
            calls = [read_call(json.loads(body)) for _, _, _, body in vendor.requests if b"@example.com" in body]
            seen = [message for call in calls for message in call]
            everybody(dict(Counter(to for to, _, _ in seen)))
            for to, subject, text in seen:
                number = int(re.search(r"\d+", to)[0])
                words = WORDS[LANGUAGES[language(number)]]
                require((subject, text.split()[0]) == (f"{words['subject']}, Person {number}", words["body"].split()[0]), f"{kind}: {to} ({language(number)!r}): {subject}, {text!r}")
            sizes[kind] = len(seen) / len(calls)
            require(sizes[kind] >= 2, f"{kind}: {len(calls)} calls for {len(seen)} messages")
    return ", ".join(f"{kind} {size:.1f} messages a call" for kind, size in sizes.items())


def looked_at_before(place):
    """validate, check, preview and send know the variants; a column that is not there is a fault before anybody is mailed."""
    with Scripted() as server:
        server.mails = []
        fleet = place.fleet("looked-at")
        write(fleet, content(), server.port)
        code, output = fleet.command("validate", fleet.config, "--strict")
        note = f"of {PEOPLE} recipients {PEOPLE // 8} have a value in `language` that matches no variant, and get the content itself: `pt` ({PEOPLE // 8})"
        require(code == 0 and note in output, f"exit {code}: {output}")

        code, output = fleet.command("check", "spring", fleet.config, "--sample", "1", "-o", "json")
        rows = {row["check"]: row["what"] for row in json.loads(output)}
        require(code == 0 and rows["no-variant"] == f"`language` matches no variant for {PEOPLE // 8} of {PEOPLE} recipients: `pt` ({PEOPLE // 8})", output)
        require("no-preheader" not in rows and "documents" not in rows, output)
        code, output = fleet.command("check", "spring", fleet.config, "--sample", "1")
        require(" looked at (de 1, en 1, fr 1, none 1): " in output, output)
        code, output = fleet.command("check", "spring", fleet.config, "--all")
        require(f" looked at (de {PEOPLE * 3 // 8}, en {PEOPLE // 8}, fr {PEOPLE // 4}, none {PEOPLE // 4}): " in output, output)

        for words, subject, variant in (
            ((), "Spring, Person 0", "en"),
            (("--recipient", fleets.address(3)), "Frühling, Person 3", "de"),
            (("--recipient", fleets.address(5)), "Spring, Person 5", "none (no variant for language pt)"),
            (("--recipient", fleets.address(6)), "Spring, Person 6", "none (language is empty)"),
            (("--variant", "FR"), "Printemps, Person 2", "fr"),
            (("--variant", "default"), "Spring, Person 5", "none (no variant for language pt)"),
            (("--variant", "fr", "--recipient", fleets.address(1)), "Printemps, Person 1", "fr; this recipient gets de"),
        ):
            code, output = fleet.command("preview", "spring", fleet.config, *words)
            require(code == 0 and f"Subject: {subject}\n" in output and f"\nVariant: {variant}\n" in output, f"{words}: {output}")
        code, output = fleet.command("preview", "spring", fleet.config, "--variant", "it")
        require(code == 2 and "has no variant `it`; there are de, en, fr, default" in output, output)
        code, output = fleet.command("send", "spring", fleet.config, "--state", fleet.state, "--recipient", fleets.address(1), "--to", fleets.address(1))
        require(code == 0 and f"{fleets.address(1)}, variant de." in output, output)
        require(in_their_language(server.mails) == {fleets.address(1): 1}, "what is sent by hand")
        server.mails.clear()

        write(fleet, content(variantField="langage"), server.port)
        code, output = fleet.run_once()
        require(code != 0 and "spec.content.variantField" in output and "did you mean `language`?" in output, f"exit {code}: {output}")
        require(not server.mails, f"{len(server.mails)} were mailed")
    return "validate, check, preview, send"


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all((killed_in_the_middle, broken_and_fixed, looked_at_before, in_calls_of_vendors), Shared(lambda: Place("variants")))
    cases.end()


if __name__ == "__main__":
    main()

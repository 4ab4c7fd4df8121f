#!/usr/bin/env python3
"""Servers of vendors, judged by somebody else's word: Prism on the vendors' documents, their own SDKs at a recorder; and one
campaign over many types.

One line a case, then a table of what was judged; the last line is `N passed, N failed, N skipped`.
"""

import argparse
import base64
import email.message
import email.policy
import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from parts import fleet as fleets
from parts import prism
from parts.letters import LETTERS, letter
from parts.process import folder
from parts.report import Cases, need, require, table
from parts.sinks import Sink
from parts.vendors import MORE, VENDORS, Vendor, form_fields, name_of

# Type: the vendor's document, and the part of our path that stands in its server's address.
DOCUMENTS = {
    "sendgrid": ("sendgrid.json", ""), "mailgun": ("mailgun.prism.yaml", ""),
    "elasticEmail": ("elasticemail.yaml", "/v4"), "brevo": ("brevo.yaml", "/v3"),
}  # fmt: skip
BATCHES = ("sendgrid", "postmark", "brevo")
PEOPLE = ["bob@example.com", "carol@example.com", "dave@example.com"]


class Place:
    """A folder, the program, and what was judged."""

    def __init__(self):
        self.program = fleets.binary()
        self.rows: list[list] = []

    def send(self, vendor: Vendor, home: Path, files: list[Path], to: list[str], **spec) -> dict:
        """A probe, and messages to each of the people, by `mailfleet test`; its verdict."""
        fleet = fleets.Fleet(home, self.program)
        server = fleets.resource("SendingServer", "judged", {"provider": vendor.spec(**spec)})
        fleet.write("all.yaml", vendor.secret(), server)
        words = [word for file in files for word in ("--message", file)] + [word for one in to for word in ("--send-to", one)]
        code, text = fleet.command("test", fleet.config, *words, "-o", "json")
        verdict = json.loads(text.splitlines()[-1])
        require(code == 0 and verdict["passed"], f"{vendor.kind}: {text}")
        return verdict


def by_prism(place: Place, kind: str) -> str:
    """Every request of a type, judged by Prism on the vendor's own document."""
    need(prism.missing())
    document, prefix = DOCUMENTS[kind]
    need("" if (prism.SPECS / document).exists() else f"{prism.SPECS / document}")
    home, found = folder(f"prism-{kind}"), []
    with prism.Prism(home, document) as judge, Vendor(kind) as vendor:
        judged = 0

        def watch(method, path, headers, body):
            nonlocal judged
            judged += 1
            found.extend(f"{method} {path}: {one}" for one in judge.violations(method, path.removeprefix(prefix), headers, body))

        vendor.watch = watch
        for name in LETTERS:
            file = home / f"{name}.eml"
            file.write_bytes(letter(name))
            place.send(vendor, home / name, [file], PEOPLE[:1])
        if kind in BATCHES:
            place.send(vendor, home / "batch", [home / "plain.eml"], PEOPLE)
        # With the labels of a campaign.
        fleet = fleets.Fleet(home / "campaign", place.program)
        server = fleets.resource("SendingServer", "judged", {"provider": vendor.spec()})
        campaign = fleets.campaign("spring", "pro", {"inline": [{"email": one, "name": "Bob"} for one in PEOPLE]})
        fleet.write("all.yaml", vendor.secret(), server, fleets.plan("pro", "judged"), campaign)
        code, text = fleet.run_once()
        require(code == 0, f"exit {code}: {text[-1000:]}")
        require(b"default/spring" in vendor.requests[-1][3], "the campaign's name is not in the request")
        require(set(vendor.taken) == set(PEOPLE), f"{vendor.taken}")
        # The judge can say no.
        method, path, headers, body = next(request for request in vendor.requests if request[0] == "POST")
        require(judge.violations(method, path.removeprefix(prefix), {"content-type": headers["content-type"]}, b"{}"), "Prism takes a request without key and content")
    place.rows.append([kind, "Prism, the vendor's OpenAPI document", judged, len(found)])
    require(not found, "\n".join(found))
    return f"{judged} requests, none refused"


# What an SDK writes and we do as well, in our form: JSON pointers of the body; a batch's are below.
def same(ours, theirs, where: str = "") -> list[str]:
    """What the SDK says and we do not; we may say more."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return [wrong for name, value in theirs.items() if value != [] for wrong in ([f"{where}/{name} is missing"] if name not in ours else same(ours[name], value, f"{where}/{name}"))]
    if isinstance(theirs, list) and isinstance(ours, list):
        if len(ours) < len(theirs):
            return [f"{where}: {len(ours)} entries, theirs {len(theirs)}"]
        if theirs and isinstance(theirs[0], dict) and {"Name", "Value"} <= set(theirs[0]):
            return [f"{where} lacks {one}" for one in theirs if one not in ours]
        return [wrong for number, value in enumerate(theirs) for wrong in same(ours[number], value, f"{where}/{number}")]
    if isinstance(theirs, str) and isinstance(ours, str):
        # Lines end by CRLF in a message.
        ours, theirs = ours.replace("\r\n", "\n"), theirs.replace("\r\n", "\n")
    return [] if ours == theirs else [f"{where}: {str(ours)[:200]!r}, theirs {str(theirs)[:200]!r}"]


def neutral(raw: bytes, batch: bool) -> dict:
    """The message for the SDKs, taken apart by Python."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    mailbox = lambda name: {"name": message[name].addresses[0].display_name, "email": message[name].addresses[0].addr_spec}  # noqa: E731
    own = {"from", "to", "reply-to", "subject", "date", "mime-version", "content-type", "message-id"}
    raw_headers = email.message_from_bytes(raw, policy=email.policy.compat32)
    unfolded = {name: " ".join(line.strip() for line in value.splitlines()) for name, value in raw_headers.items() if name.lower() not in own}
    files = [
        {"name": part.get_filename(), "type": part.get_content_type(), "base64": base64.b64encode(part.get_payload(decode=True)).decode()}
        for part in message.iter_attachments()
    ]
    body = lambda kind: message.get_body((kind,)).get_content().replace("\r\n", "\n").replace("\n", "\r\n")  # noqa: E731
    people = {"batch": [{"email": one} if one != PEOPLE[0] else {"name": "Bob", "email": one} for one in PEOPLE]} if batch else {}
    return {
        "from": mailbox("from"), "to": mailbox("to"), "replyTo": mailbox("reply-to"), "subject": str(message["subject"]), "text": body("plain"),
        "html": body("html"), "headers": unfolded, "attachments": files, "mime": raw.decode(), "domain": "mg.shop.example", **people,
    }  # fmt: skip


def comparable(kind: str, headers: dict, body: bytes):
    """A request's body in a form that can be compared: JSON, or a form's fields."""
    if kind == "mailgun":
        fields = form_fields(headers, body)
        return {name: [value.decode().strip() for value in values] for name, values in fields.items()}
    value = json.loads(body)
    if kind == "sendgrid" and "headers" in value:
        # The same to the vendor: for all, or for each.
        for one in value["personalizations"]:
            one["headers"] = {**value["headers"], **one.get("headers", {})}
        del value["headers"]
    if kind == "sendgrid":
        for one in value["personalizations"]:
            one.setdefault("subject", value.get("subject"))
            one.setdefault("custom_args", value.get("custom_args"))
            one["custom_args"] = {}
        value.pop("subject", None)
        value.pop("custom_args", None)
    if kind == "postmark":
        for one in value if isinstance(value, list) else [value]:
            for file in one.get("Attachments", []):
                file.pop("ContentID", None)
    return value


def by_sdk(place: Place, kind: str) -> str:
    """The requests of the vendor's own SDK for the same messages, compared field by field."""
    need(prism.missing())
    home, wrong, compared = folder(f"sdk-{kind}"), [], 0
    for name in (*LETTERS, *(["batch"] if kind in ("postmark", "brevo") else [])):
        is_batch = name == "batch"
        raw = letter("plain" if is_batch else name)
        file = home / f"{name}.eml"
        file.write_bytes(raw)
        with Vendor(kind) as vendor:
            place.send(vendor, home / name, [file], PEOPLE if is_batch else PEOPLE[:1])
            ours = [request for request in vendor.requests if request[0] == "POST"][-1]
            vendor.requests.clear()
            prism.sdk(kind, f"http://127.0.0.1:{vendor.port}", vendor.key, neutral(raw, is_batch))
            theirs = [request for request in vendor.requests if request[0] == "POST"][-1]
            require(vendor.refused == 0, f"{vendor.refused} requests had another key")
        compared += 1
        if ours[1].rstrip("/") != theirs[1].rstrip("/"):
            wrong.append(f"{name}: path {ours[1]}, theirs {theirs[1]}")
        of = lambda request: request[2]["content-type"].split(";")[0]  # noqa: E731
        if of(ours) != of(theirs):
            wrong.append(f"{name}: {of(ours)}, theirs {of(theirs)}")
        wrong.extend(f"{name}: {one}" for one in same(comparable(kind, ours[2], ours[3]), comparable(kind, theirs[2], theirs[3])))
    place.rows.append([kind, "the vendor's own SDK", compared, len(wrong)])
    require(not wrong, "\n".join(wrong))
    return f"{compared} requests, the same fields"


def one_campaign(place: Place) -> str:
    """A campaign over every type at once, with a key revoked half way: everyone once, and the weights kept until then."""
    home, recipients = folder("many-types"), 6000
    program, seen = home / "sendmail", home / "sendmail.seen"
    program.write_text(f'#!/bin/sh\ncat >/dev/null\necho "$5" >>{seen}\n')
    program.chmod(0o755)
    fleet = fleets.Fleet(home, place.program, "--allow-sendmail", str(program))
    with ExitStack() as stack:
        vendors = {kind: stack.enter_context(Vendor(kind)) for kind in VENDORS | MORE}
        sink = stack.enter_context(Sink(place.program, home))
        probe = {"interval": "5s", "timeout": "2s", "retryAfter": "1s", "failureThreshold": 1}
        servers = [fleets.resource("SendingServer", kind.lower(), {"provider": vendor.spec(), "probe": probe}) for kind, vendor in vendors.items()]
        servers += [
            fleets.smtp_server("smtp", sink.port),
            fleets.resource("SendingServer", "outbox", {"provider": {"outbox": {"path": "outbox/default/many"}}}),
            fleets.resource("SendingServer", "sendmail", {"provider": {"sendmail": {"path": str(program)}}}),
        ]
        names = [server["metadata"]["name"] for server in servers]
        # Google takes 150 a minute by its API: a small share.
        weights = {name: 1 if name == "gmail" else 10 * (1 + number % 3) for number, name in enumerate(names)}
        fleets.write_csv(fleet.config / "people.csv", recipients)
        chosen = [{"name": name, "weight": weight} for name, weight in weights.items()]
        # Gmail's own limit (150 a minute) would pass a part of its share on.
        campaign = fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}, servers=chosen, weighting="Strict")
        fleet.write("all.yaml", *(vendor.secret() for vendor in vendors.values()), *servers, fleets.plan("pro", *names), campaign)
        at_revocation = {}

        def revoke(*_):
            mailed = sum(sum(vendor.taken.values()) for vendor in vendors.values())
            if mailed >= recipients * 0.4 and not vendors["sendgrid"].is_revoked:
                vendors["sendgrid"].is_revoked = True
                at_revocation.update({kind.lower(): sum(vendor.taken.values()) for kind, vendor in vendors.items()})

        vendors["sendgrid"].watch = revoke
        code, output = fleet.run_once(seconds=180)
        require(code == 0, f"exit {code}: {output[-1500:]}")
        taken = sum((vendor.taken for vendor in vendors.values()), Counter()) + sink.taken()
        by_sendmail = seen.read_text().split()
        taken.update(by_sendmail)
        files = list((fleet.state / "outbox/default/many/new").iterdir())
        for path in files:
            message = email.message_from_bytes(path.read_bytes())
            taken[message["Delivered-To"].strip("<>")] += 1
        doubles = [to for to, count in taken.items() if count > 1]
        require(not doubles, f"{len(doubles)} were mailed twice: {doubles[:3]}")
        require(len(taken) == recipients, f"{len(taken)} of {recipients} were mailed")
        states = Counter(fleet.recipients("spring").values())
        require(states == {"Accepted": recipients}, f"the ledger says {dict(states)}")
        # What the ledger keeps is the vendor's own name for the message.
        for kind, vendor in vendors.items():
            kept = dict(fleet.query("select recipient, reply from recipients where server = ?", f"default/{kind.lower()}"))
            wrong = [(to, reply) for to, reply in kept.items() if not reply.partition(" ")[2].startswith("id-" if kind == "sendgrid" else name_of(to))]
            require(set(kept) == set(vendor.taken) and not wrong, f"{kind}: {len(kept)} of {len(vendor.taken)} replies, wrong are {wrong[:3]}")
        reason = fleet.condition("SendingServer", "sendgrid", "Ready").get("reason")
        require(vendors["sendgrid"].is_revoked and vendors["sendgrid"].refused > 0, "the key was not revoked in time")
        require(reason == "AuthenticationFailed", f"sendgrid is Ready={reason}")
        # Among those that were never touched the weights hold to the end.
        untouched = {kind.lower(): sum(vendor.taken.values()) for kind, vendor in vendors.items() if kind != "sendgrid"}
        untouched |= {"smtp": sink.count()["accepted"], "outbox": len(files), "sendmail": len(by_sendmail)}
        total, parts = sum(untouched.values()), sum(weights[name] for name in untouched)
        chi_square = sum((count - total * weights[name] / parts) ** 2 / (total * weights[name] / parts) for name, count in untouched.items())
        require(chi_square < 29.59, f"weights {weights} became {untouched}, chi-square {chi_square:.1f}")  # 10 degrees of freedom, once in 1,000
    return f"{len(names)} types, {recipients} people once; sendgrid revoked after {at_revocation.get('sendgrid')}; chi-square of the others {chi_square:.1f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="*", help="cases whose name holds one of these words")
    cases, place = Cases(parser.parse_args().only), Place()
    for kind in DOCUMENTS:
        cases.run(f"{kind} by Prism", by_prism, place, kind)
    for kind in VENDORS:
        cases.run(f"{kind} by its SDK", by_sdk, place, kind)
    cases.run("one campaign over many types", one_campaign, place)
    if place.rows:
        print(table(["type", "judge", "requests judged", "rejected"], place.rows), flush=True)
    cases.end()


if __name__ == "__main__":
    main()

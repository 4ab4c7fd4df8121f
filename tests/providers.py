#!/usr/bin/env python3
"""Vendors' servers, judged by other people's code: Prism on the vendors' OpenAPI documents, the vendors' SDKs against a recorder; and one
campaign over many types."""

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
from parts.pick import Picker
from parts.place import Place
from parts.process import folder
from parts.report import Cases, need, require
from parts.sinks import Sink
from parts.vendors import MORE, VENDORS, Vendor, form_fields, name_of

# Type to the vendor's document, and the part of our path that belongs to the document's server URL.
DOCUMENTS = {
    "sendgrid": ("sendgrid.json", ""), "mailgun": ("mailgun.prism.yaml", ""),
    "elasticEmail": ("elasticemail.yaml", "/v4"), "brevo": ("brevo.yaml", "/v3"),
}  # fmt: skip
BATCHES = ("sendgrid", "postmark", "brevo")
# The ledger's seed: with it every pick is known.
SEED = 1
PEOPLE = ["bob@example.com", "carol@example.com", "dave@example.com"]


def send(place: Place, vendor: Vendor, home: Path, file: Path, to: list[str]):
    """A probe, and a message to each of the people, by `mailfleet test`."""
    fleet = fleets.Fleet(home, place.program)
    server = fleets.resource("SendingServer", "judged", {"provider": vendor.spec()})
    fleet.write("all.yaml", vendor.secret(), server)
    recipients = [word for one in to for word in ("--send-to", one)]
    code, text = fleet.command("test", fleet.config, "--message", file, *recipients, "-o", "json")
    require(code == 0 and json.loads(text.splitlines()[-1])["passed"], f"{vendor.kind}: {text}")


def by_prism(place: Place, kind: str, rows: list) -> str:
    """Every request of a type, validated by Prism against the vendor's own document."""
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
            send(place, vendor, home / name, file, PEOPLE[:1])
        if kind in BATCHES:
            send(place, vendor, home / "batch", home / "plain.eml", PEOPLE)
        # With the labels of a campaign.
        fleet = fleets.Fleet(home / "campaign", place.program)
        server = fleets.resource("SendingServer", "judged", {"provider": vendor.spec()})
        # And with what goes with its messages: a file, an invitation, and an image where the vendor takes any.
        (fleet.config / "report.pdf").write_bytes(bytes(range(256)) * 40)
        (fleet.config / "invite.ics").write_text("BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n")
        files = [{"path": "report.pdf", "filename": "Größe {{ name }}.pdf"}, {"path": "invite.ics"}]
        if kind not in ("brevo", "elasticEmail"):
            files.append({"path": "report.pdf", "inline": "logo", "contentType": "image/png"})
        content = {"html": '<p>Hello {{ name }} <img src="cid:logo"></p>', "attachments": files}
        campaign = fleets.campaign("spring", "pro", {"inline": [{"email": one, "name": "Bob"} for one in PEOPLE]}, content=content)
        fleet.write("all.yaml", vendor.secret(), server, fleets.plan("pro", "judged"), campaign)
        code, text = fleet.run_once()
        require(code == 0, f"exit {code}: {text[-1000:]}")
        require(b"default/spring" in vendor.requests[-1][3], "the campaign's name is not in the request")
        require(set(vendor.taken) == set(PEOPLE), f"{vendor.taken}")
        # The judge can reject a request.
        method, path, headers, body = next(request for request in vendor.requests if request[0] == "POST")
        require(judge.violations(method, path.removeprefix(prefix), {"content-type": headers["content-type"]}, b"{}"), "Prism accepts a request without key and content")
    rows.append([kind, "Prism, the vendor's OpenAPI document", judged, len(found)])
    require(not found, "\n".join(found))
    return f"{judged} requests, none refused"


# What an SDK writes and we do as well, in our form: JSON pointers of the body; a batch's are below.
def same(ours, theirs, where: str = "") -> list[str]:
    """What the SDK sends and we do not; we may send more."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        wrong = []
        for name, value in theirs.items():
            # An empty list means nothing.
            if value == []:
                continue
            if name in ours:
                wrong += same(ours[name], value, f"{where}/{name}")
            else:
                wrong.append(f"{where}/{name} is missing")
        return wrong
    if isinstance(theirs, list) and isinstance(ours, list):
        if len(ours) < len(theirs):
            return [f"{where}: {len(ours)} entries, theirs {len(theirs)}"]
        if theirs and isinstance(theirs[0], dict) and {"Name", "Value"} <= set(theirs[0]):
            return [f"{where} lacks {one}" for one in theirs if one not in ours]
        return [wrong for number, value in enumerate(theirs) for wrong in same(ours[number], value, f"{where}/{number}")]
    if isinstance(theirs, str) and isinstance(ours, str):
        # Lines end with CRLF in a message.
        ours, theirs = ours.replace("\r\n", "\n"), theirs.replace("\r\n", "\n")
    return [] if ours == theirs else [f"{where}: {str(ours)[:200]!r}, theirs {str(theirs)[:200]!r}"]


def neutral(raw: bytes, batch: bool) -> dict:
    """The message for the SDKs, parsed by Python."""
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
    """A request's body in a comparable form: JSON, or the fields of a form."""
    if kind == "mailgun":
        fields = form_fields(headers, body)
        return {name: [value.decode().strip() for value in values] for name, values in fields.items()}
    value = json.loads(body)
    if kind == "sendgrid" and "headers" in value:
        # For the vendor headers mean the same for all recipients or for each.
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


def by_sdk(place: Place, kind: str, rows: list) -> str:
    """The requests of the vendor's own SDK for the same messages, compared field by field."""
    need(prism.missing())
    home, wrong, compared = folder(f"sdk-{kind}"), [], 0
    for name in (*LETTERS, *(["batch"] if kind in ("postmark", "brevo") else [])):
        is_batch = name == "batch"
        raw = letter("plain" if is_batch else name)
        file = home / f"{name}.eml"
        file.write_bytes(raw)
        with Vendor(kind) as vendor:
            send(place, vendor, home / name, file, PEOPLE if is_batch else PEOPLE[:1])
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
    rows.append([kind, "the vendor's own SDK", compared, len(wrong)])
    require(not wrong, "\n".join(wrong))
    return f"{compared} requests, the same fields"


def one_campaign(place: Place) -> str:
    """A campaign over every type at once, with a key revoked halfway: everybody once, each at the server that the weights pick."""
    home, recipients = folder("many-types"), 6000
    program, seen = home / "sendmail", home / "sendmail.seen"
    program.write_text(f'#!/bin/sh\ncat >/dev/null\necho "$5" >>{seen}\n')
    program.chmod(0o755)
    fleet = fleets.Fleet(home, place.program, "--allow-sendmail", str(program))
    fleet.seed(SEED)
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
        # Google's API takes 150 a minute: a small share.
        weights = {name: 1 if name == "gmail" else 10 * (1 + number % 3) for number, name in enumerate(names)}
        fleets.write_csv(fleet.config / "people.csv", recipients)
        chosen = [{"name": name, "weight": weight} for name, weight in weights.items()]
        # With Overflow, Gmail's own limit (150 a minute) would pass a part of its share on.
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
        rows = fleet.rows("spring")
        states = Counter(row.state for row in rows)
        require(states == {"Accepted": recipients}, f"the ledger says {dict(states)}")
        # The ledger keeps the vendor's ID of each message.
        for kind, vendor in vendors.items():
            kept = {row.email: row.reply for row in rows if row.server == f"default/{kind.lower()}"}
            wrong = [(to, reply) for to, reply in kept.items() if not reply.partition(" ")[2].startswith("id-" if kind == "sendgrid" else name_of(to))]
            require(set(kept) == set(vendor.taken) and not wrong, f"{kind}: {len(kept)} of {len(vendor.taken)} replies, wrong are {wrong[:3]}")
        # Each message has a reference of its own, by which the vendor's webhooks name it. Gmail has neither metadata nor webhooks.
        referred = {kind: (len(vendor.references()), len(vendor.taken)) for kind, vendor in vendors.items() if kind != "gmail"}
        require(all(references >= mailed > 0 for references, mailed in referred.values()), f"references and messages: {referred}")
        reason = fleet.condition("SendingServer", "sendgrid", "Ready").get("reason")
        require(vendors["sendgrid"].is_revoked and vendors["sendgrid"].refused > 0, "the key was not revoked in time")
        require(reason == "AuthenticationFailed", f"sendgrid is Ready={reason}")
        # Each server is picked among all, or among the others once the key is revoked. A message that was not sent does not count as an attempt.
        picker, all_of_them = Picker(SEED, "spring"), {f"default/{name}": weight for name, weight in weights.items()}
        others = {name: weight for name, weight in all_of_them.items() if name != "default/sendgrid"}
        repicked, wrong = 0, []
        for row in rows:
            first = picker.pick(row.email, all_of_them)
            if row.server != first:
                repicked += 1
                if row.server != picker.pick(row.email, others):
                    wrong.append((row.email, row.server, first))
        require(not wrong, f"{len(wrong)} recipients are not at the server that the weights pick: {wrong[:3]}")
        require(0 < repicked < recipients, f"{repicked} of {recipients} were picked among the others")
    return f"{len(names)} types, {recipients} recipients once, each at the server that its weight picks; sendgrid revoked after {at_revocation.get('sendgrid')}, {repicked} picked anew"


def main():
    cases = Cases(__doc__)
    cases.parse()
    place = Place("providers")
    rows = cases.table("type", "judge", "requests judged", "rejected")
    for kind in DOCUMENTS:
        cases.add(f"{kind} by Prism", by_prism, place, kind, rows)
    for kind in VENDORS:
        cases.add(f"{kind} by its SDK", by_sdk, place, kind, rows)
    cases.add("one campaign over many types", one_campaign, place)
    cases.end()


if __name__ == "__main__":
    main()

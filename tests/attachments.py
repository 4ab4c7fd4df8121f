#!/usr/bin/env python3
"""What goes with messages: files, images in the HTML and invitations, as other people's programs read them.

Python's `email`, mailpit, and Dovecot with Python's IMAP client give the same bytes back; the vendors' APIs carry the same files.
"""

import base64
import contextlib
import email
import email.policy
import hashlib
import http.server
import imaplib
import json
import re
import threading
from collections import Counter

from parts import fleet as fleets
from parts.dovecot import Mailbox
from parts.mailpit import Mailpit
from parts.place import Place
from parts.process import OwnMemory, wait_until
from parts.report import Cases, Shared, need, require
from parts.vendors import MORE, VENDORS, Vendor, form_fields

NAMES = ["Ann", "Jörg", "Zoë Müller", "Łukasz", "山田", "O'Brien", 'Bo "B" Berg', "Ärzte & Söhne GmbH, Köln am Rhein, Abteilung für Rechnungswesen"]
INVITATION = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//Shop//DE\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1@shop.example\r\n"
    "DTSTAMP:20261201T080000Z\r\nDTSTART:20261201T080000Z\r\nDTEND:20261201T090000Z\r\nSUMMARY:Frühstück\r\n"
    "ORGANIZER:mailto:news@news.example.com\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
).encode()
PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
HTML = '<h1>Dear {{ name }}</h1><p><img src="cid:logo" alt="Logo"><img src="cid:sign@shop.example" alt=""></p>'


def noise(size: int, seed: int = 1) -> bytes:
    """Bytes that no compression and no line structure helps with; the same for a seed."""
    blocks = (hashlib.sha256(f"{seed} {number}".encode()).digest() for number in range(size // 32 + 1))
    return b"".join(blocks)[:size]


FILES = {"report.pdf": noise(50_000), "empty.bin": b"", "lines.txt": "Grüße\r\n.\r\n\n.dot\r".encode(), "invite.ics": INVITATION}
IMAGES = {"logo": PIXEL, "sign@shop.example": noise(3_000, 2)}


def attachments(inline: bool = True) -> list[dict]:
    """The spec of all of them."""
    found = [
        {"path": "files/report.pdf", "filename": "Rechnung {{ name }}.pdf"},
        {"path": "files/empty.bin"},
        {"path": "files/lines.txt", "filename": "Grüße.txt"},
        {"path": "files/invite.ics"},
    ]
    if inline:
        found += [{"path": "files/logo.png", "inline": "logo"}, {"path": "files/sign", "inline": "sign@shop.example", "contentType": "image/png"}]
    return found


def shop(fleet: fleets.Fleet, count: int, *servers: dict, inline: bool = True, files: list[dict] | None = None, **spec):
    """A campaign with all of them to `count` people."""
    (fleet.config / "files").mkdir()
    for name, content in {**FILES, "logo.png": PIXEL, "sign": IMAGES["sign@shop.example"]}.items():
        (fleet.config / "files" / name).write_bytes(content)
    people = [{"email": f"p{number}@example.com", "name": NAMES[number % len(NAMES)]} for number in range(count)]
    (fleet.config / "people.jsonl").write_text("".join(json.dumps(one) + "\n" for one in people), encoding="utf-8")
    html = HTML if inline else "<h1>Dear {{ name }}</h1>"
    content = {"html": html, "attachments": attachments(inline) if files is None else files}
    campaign = fleets.campaign("spring", "pro", {"jsonLines": {"path": "people.jsonl"}}, content=content, **spec)
    fleet.write("all.yaml", *servers, fleets.plan("pro", *(server["metadata"]["name"] for server in servers)), campaign)


def cleaned(name: str) -> str:
    """A file name as we write it: what could mean a folder is replaced."""
    return re.sub(r"[/\\:]", "_", name)


def wanted(name: str) -> dict[str, bytes]:
    """The files that somebody of this name gets, by their names."""
    named = {f"Rechnung {cleaned(name)}.pdf": FILES["report.pdf"], "empty.bin": b"", "Grüße.txt": FILES["lines.txt"]}
    return named | {"invite.ics": INVITATION}


def by_python(raw: bytes) -> str:
    """Checks a message as Python's `email` reads it; returns the address that it is for."""
    message = email.message_from_bytes(raw, policy=email.policy.default)
    require(not message.defects, f"{message.defects}")
    address = message["To"].addresses[0].addr_spec
    name = NAMES[int(address.partition("@")[0][1:]) % len(NAMES)]
    for part in message.walk():
        require(not part.defects, f"{part['Content-Type']}: {part.defects}")
    require(max(map(len, raw.split(b"\r\n"))) <= 998 and raw.isascii() and b"\n" not in raw.replace(b"\r\n", b""), "lines or bytes that no server must take")
    kinds = [part.get_content_type() for part in message.walk()]
    shape = ["multipart/mixed", "multipart/related", "multipart/alternative", "text/plain", "text/html", "text/calendar", "image/png", "image/png"]
    require(kinds == [*shape, "application/pdf", "application/octet-stream", "text/plain", "application/ics"], f"{kinds}")
    got = {part.get_filename(): part.get_payload(decode=True) for part in message.iter_attachments() if part.get_content_disposition() == "attachment"}
    require(got == wanted(name), f"{name}: {[(key, len(value)) for key, value in got.items()]}")
    shown = {part["Content-ID"].strip("<>"): part.get_payload(decode=True) for part in message.walk() if part["Content-ID"]}
    require(shown == IMAGES, f"{list(shown)}")
    invitation = next(part for part in message.walk() if part.get_content_type() == "text/calendar")
    require(invitation.get_content().encode() == INVITATION and invitation.get_param("method") == "REQUEST", "the invitation is another")
    require(name in message.get_body(("html",)).get_content().replace("&quot;", '"').replace("&#x27;", "'").replace("&amp;", "&"), f"{name} is not in the HTML")
    return address


def as_mail_programs_read_them(place) -> str:
    """200 messages: Python's `email` and mailpit give back the bytes of files, images and invitations, and umlauts in names."""
    need(Mailpit.missing())
    fleet = place.fleet("mailpit")
    with Mailpit(fleet.folder) as mailpit:
        shop(fleet, 200, fleets.smtp_server("relay", mailpit.port))
        code, output = fleet.run_once()
        require(code == 0, f"exit {code}: {output[-1000:]}")
        messages = mailpit.messages()
        addresses = {by_python(mailpit.raw(message["ID"])) for message in messages}
        require(len(addresses) == len(messages) == 200, f"{len(addresses)} addresses, {len(messages)} messages")
        for message in messages[:: len(NAMES) - 1][:20]:
            read = mailpit.message(message["ID"])
            files = {one["FileName"]: one for one in read["Attachments"]}
            name = NAMES[int(read["To"][0]["Address"].partition("@")[0][1:]) % len(NAMES)]
            require(set(wanted(name)) <= set(files), f"{sorted(files)}, wanted {sorted(wanted(name))}")
            for file, content in wanted(name).items():
                require(mailpit.part(message["ID"], files[file]["PartID"]) == content, f"{name}: {file} is another")
            shown = {one["ContentID"]: mailpit.part(message["ID"], one["PartID"]) for one in read["Inline"] if one["ContentID"]}
            require(shown == IMAGES, f"{list(shown)}")
    return "200 messages with 4 files, 2 images and an invitation"


def as_an_imap_client_reads_them(place) -> str:
    """Dovecot takes 200 messages apart, and Python's IMAP client fetches each part of each."""
    need(Mailbox.missing())
    fleet = place.fleet("dovecot")
    box = fleets.resource("SendingServer", "box", {"provider": {"outbox": {}}})
    shop(fleet, 200, box)
    code, output = fleet.run_once()
    require(code == 0, f"exit {code}: {output[-1000:]}")
    with Mailbox(fleet.folder, "ann", "secret") as mailbox:
        new = mailbox.maildir / "new"
        new.mkdir(exist_ok=True)
        for path in fleet.state.glob("outbox/default/box/new/*"):
            copy = new / path.name
            copy.write_bytes(path.read_bytes())
            copy.chmod(0o644)
        client = imaplib.IMAP4("127.0.0.1", mailbox.port)
        client.login("ann", "secret")
        require(client.select("INBOX", readonly=True)[1] == [b"200"], "the mails are not there")
        files = {hashlib.sha256(content).hexdigest() for content in [*FILES.values(), *IMAGES.values()]}
        parts = 0
        for number in range(1, 201):
            _, answer = client.fetch(str(number), "(BODY[])")
            by_python(answer[0][1].split(b"\r\n", 2)[2])
            _, answer = client.fetch(str(number), "(BODYSTRUCTURE)")
            structure = b"".join(one if isinstance(one, bytes) else b"".join(one) for one in answer).decode().lower()
            for word in ('"related"', '"alternative"', '"mixed"', '"method" "request"', '"calendar"', '"<logo>"', '"attachment"', '"inline"'):
                require(word in structure, f"{word} is not in {structure}")
            # Mixed: related (alternative (text, HTML, calendar), two images), four files.
            for section in ("1.1.3", "1.2", "1.3", "2", "3", "4", "5"):
                _, answer = client.fetch(str(number), f"(BODY.PEEK[{section}])")
                content = base64.b64decode(answer[0][1]) if isinstance(answer[0], tuple) else b""
                require(hashlib.sha256(content).hexdigest() in files, f"part {section} of {number} is another: {content[:80]!r}")
                parts += 1
        client.logout()
    return f"200 messages, {parts} parts fetched"


def carried(kind: str, headers: dict, body: bytes) -> dict[str, tuple[str, bytes, str]]:
    """The files of a vendor's request by name: type, bytes, and the id of an inline one."""
    raw = None
    value = {} if kind in ("mailgun", "gmail") else json.loads(body)
    if kind == "mailgun":
        raw = form_fields(headers, body)["message"][0]
    elif kind == "gmail":
        raw = body
    elif kind == "ses":
        raw = base64.b64decode(value["Content"]["Raw"]["Data"])
    elif kind == "sparkpost":
        raw = value["content"]["email_rfc822"].encode()
    elif kind == "plugin":
        raw = base64.b64decode(value["messages"][0]["content"])
    if raw is not None:
        message = email.message_from_bytes(raw, policy=email.policy.default)
        invitations = [part for part in message.walk() if part.get_param("method")]
        require(len(invitations) == 1, f"{kind}: {len(invitations)} invitations")
        found = {part.get_filename(): part for part in message.walk() if part.get_filename()}
        kinds = {name: "text/calendar; charset=utf-8; method=REQUEST" if name == "invite.ics" else part.get_content_type() for name, part in found.items()}
        return {name: (kinds[name], part.get_payload(decode=True), (part["Content-ID"] or "").strip("<>")) for name, part in found.items()}
    decoded = base64.b64decode
    if kind == "sendgrid":
        return {one["filename"]: (one["type"], decoded(one["content"], validate=True), one.get("content_id", "")) for one in value["attachments"]}
    if kind == "postmark":
        one = value[0] if isinstance(value, list) else value
        return {file["Name"]: (file["ContentType"], decoded(file["Content"], validate=True), file.get("ContentID", "").removeprefix("cid:")) for file in one["Attachments"]}
    if kind == "elasticEmail":
        return {file["Name"]: (file["ContentType"], decoded(file["BinaryContent"], validate=True), "") for file in value["Content"]["Attachments"]}
    return {file["name"]: ("", decoded(file["content"], validate=True), "") for file in value["attachment"]}


def over_every_vendors_api(place) -> str:
    """Each API carries the same files in its own form; what takes no inline images is not picked for a campaign that has some."""
    without_inline = {"brevo", "elasticEmail"}
    for kind in VENDORS | MORE:
        inline = kind not in without_inline
        with Vendor(kind) as vendor:
            fleet = place.fleet(f"api-{kind.lower()}")
            server = fleets.resource("SendingServer", "vendor", {"provider": vendor.spec()})
            shop(fleet, 3, server, inline=inline)
            (fleet.config / "secret.yaml").write_text(json.dumps(vendor.secret()))
            code, output = fleet.run_once()
            require(code == 0 and len(vendor.taken) == 3, f"{kind}: exit {code}, {vendor.taken}: {output[-800:]}")
            requests = [request for request in vendor.requests if request[0] == "POST" and len(request[3]) > 50_000]
            require(1 <= len(requests) <= 3, f"{kind}: {len(requests)} requests")
            for _, _, headers, body in requests:
                found = carried(kind, headers, body)
                name = next((name for name in NAMES[:3] if f"Rechnung {name}.pdf" in found), "")
                images = {"logo.png": PIXEL, "sign": IMAGES["sign@shop.example"]} if inline else {}
                require({file: content for file, (_, content, _) in found.items()} == wanted(name) | images, f"{kind}: {[(file, len(one[1])) for file, one in found.items()]}")
                if kind != "brevo":
                    require(found["invite.ics"][0] == "text/calendar; charset=utf-8; method=REQUEST", f"{kind}: {found['invite.ics'][0]}")
                if inline:
                    require(found["logo.png"][2] == "logo" and found["sign"][2] == "sign@shop.example", f"{kind}: the ids are others")
        if not inline:
            with Vendor(kind) as vendor:
                fleet = place.fleet(f"images-{kind.lower()}")
                shop(fleet, 1, fleets.resource("SendingServer", "vendor", {"provider": vendor.spec()}))
                (fleet.config / "secret.yaml").write_text(json.dumps(vendor.secret()))
                code, output = fleet.run_once()
                message = fleet.condition("Campaign", "spring", "Ready").get("message", "")
                require(code != 0 and not vendor.taken and "it does not support inline images" in message, f"{kind}: exit {code}, {message}\n{output[-500:]}")
    return f"{len(VENDORS | MORE)} vendors"


def too_large_for_a_server(place) -> str:
    """What a vendor takes is known before the first message: the campaign is stalled with words, and another server carries it alone."""
    with Vendor("postmark") as vendor:
        large = noise(8_000_000)
        postmark = fleets.resource("SendingServer", "postmark", {"provider": vendor.spec()})
        for name, servers in (("alone", []), ("both", [fleets.resource("SendingServer", "box", {"provider": {"outbox": {}}})])):
            fleet = place.fleet(f"large-{name}")
            shop(fleet, 3, postmark, *servers, inline=False, files=[{"path": "files/large.bin"}])
            (fleet.config / "files/large.bin").write_bytes(large)
            (fleet.config / "secret.yaml").write_text(json.dumps(vendor.secret()))
            code, output = fleet.run_once()
            ready = fleet.condition("Campaign", "spring", "Ready")
            if servers:
                rows = {row["server"]: row for row in fleet.status("Campaign", "spring")["servers"]}
                require(code == 0 and len(list(fleet.state.glob("outbox/default/box/new/*"))) == 3, f"exit {code}: {output[-500:]}")
                require("it accepts messages of up to 10.0 MB, and the attachments alone are 11.0 MB" in rows["default/postmark"]["whyNot"], f"{rows}")
            else:
                require(code != 0 and ready["reason"] == "NoEligibleServer" and "None of its servers accepts its messages" in ready["message"], f"exit {code}: {ready}")
        require(not vendor.taken and not [request for request in vendor.requests if request[0] == "POST"], f"{vendor.taken}")
    return "10 MB of Postmark, against 11 MB"


class Files:
    """A web server whose one file can be replaced, and which counts how often it is asked."""

    def __init__(self, content: bytes):
        self.content, self.status, self.asked = content, 200, Counter()
        files = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                files.asked[self.path] += 1
                self.send_response(files.status)
                self.send_header("Content-Length", str(len(files.content)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):
                    self.wfile.write(files.content)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def from_a_url(place) -> str:
    """A file of a URL is fetched once for all messages; what cannot be fetched or is too large is told, and sent once it can be."""
    need(Mailpit.missing())
    with Files(noise(20_000, 3)) as files, Mailpit(place.new("url-mailpit")) as mailpit:
        fleet = place.fleet("url")
        url = f"http://127.0.0.1:{files.port}/files/Preis%C3%BCbersicht.pdf?key=secret"
        files.status = 404
        shop(fleet, 60, fleets.smtp_server("relay", mailpit.port), inline=False, files=[{"url": url}])
        process = fleet.start(once=False)
        fleet.wait_state("SendingServer", "relay", "Active", 60)
        message = lambda: fleet.condition("Campaign", "spring", "Ready").get("message", "")  # noqa: E731
        wait_until(lambda: "404" in message(), 60, f"the words about the URL, and not {message()}")
        require("spec.content.attachments[0]" in message() and "secret" not in message(), message())
        files.asked.clear()
        files.status = 200
        fleet.wait_state("Campaign", "spring", "Completed", 90)
        process.stop()
        require(sum(files.asked.values()) >= 1, f"{files.asked}")
        fetched = sum(files.asked.values())
        for found in mailpit.messages():
            raw = email.message_from_bytes(mailpit.raw(found["ID"]), policy=email.policy.default)
            part = next(raw.iter_attachments())
            require((part.get_filename(), part.get_payload(decode=True)) == ("Preisübersicht.pdf", files.content), f"{part.get_filename()}")
        require(len(mailpit.messages()) == 60 and fetched <= 3, f"{len(mailpit.messages())} messages, fetched {fetched} times")
        files.content = b"x" * (26 << 20)
        fleet = place.fleet("url-large")
        shop(fleet, 1, fleets.smtp_server("relay", mailpit.port), inline=False, files=[{"url": url}])
        code, _ = fleet.run_once()
        said = fleet.condition("Campaign", "spring", "Ready")
        require(code != 0 and said["reason"] == "InvalidContent" and "it is larger than 25 MiB" in said["message"], f"exit {code}: {said}")
    return f"60 messages, fetched {fetched} times"


def mistakes_are_told(place) -> str:
    """`validate` names what is missing, too large, shown and not there, or there and not shown; `preview` lists what goes with a message."""
    fleet = place.fleet("mistakes")
    html = '<img src="cid:logo"><img src="cid:lgoo">'
    files = [
        {"path": "files/nowhere.pdf"},
        {"path": "files/logo.png", "inline": "logo"},
        {"path": "files/logo.png", "inline": "other"},
        {"path": "files/invite.ics", "contentType": "text/calendar; method=CANCEL"},
        {"path": "files/lines.txt", "filename": "{{ nmae }}.txt"},
    ]
    shop(fleet, 2, fleets.smtp_server("relay", 1), files=files)
    text = (fleet.config / "all.yaml").read_text().replace(json.dumps(HTML), json.dumps(html))
    (fleet.config / "all.yaml").write_text(text)
    code, output = fleet.command("validate", fleet.config)
    require("attachments[0].path: the file `files/nowhere.pdf` does not exist" in output, output)
    (fleet.config / "files/nowhere.pdf").write_bytes(b"%PDF")
    code, output = fleet.command("validate", fleet.config)
    for words in (
        "`cid:lgoo` will not be shown: no attachment has this id; the attachments with `inline` have the ids `logo`, `other`",
        "attachments[2].inline: the HTML does not show it",
        "attachments[3].contentType: it cannot be sent: the type says method=CANCEL, and the calendar itself METHOD:REQUEST",
        "attachments[4].filename: it cannot be sent: the audience has no field `nmae`",
    ):
        require(words in output, f"{words!r} is not in\n{output}")
    require(code != 0, f"exit {code}")
    (fleet.config / "files/nowhere.pdf").write_bytes(b"x" * (25 * 1024 * 1024 + 1))
    _, output = fleet.command("validate", fleet.config)
    require("attachments[0]: it cannot be sent: it is larger than 25 MiB" in output, output)
    fleet = place.fleet("preview")
    shop(fleet, 2, fleets.smtp_server("relay", 1))
    code, output = fleet.command("preview", "spring", fleet.config, "--recipient", "p1@example.com")
    for line in ("Attachment: Rechnung Jörg.pdf (application/pdf, 50 kB)", "Inline: logo.png (image/png, 70 bytes), shown as cid:logo", "Attachment: invite.ics (application/ics, "):
        require(code == 0 and line in output, f"exit {code}: {line!r} is not in\n{output}")
    return "6 mistakes, and a preview"


def memory_is_flat(place) -> str:
    """A file of 1 MB is held once, whoever many get it: in the memory of the process."""
    held = {}
    for count in (200, 1000):
        with place.sink() as sink:
            fleet = place.fleet(f"memory-{count}")
            shop(fleet, count, fleets.smtp_server("relay", sink.port), inline=False, files=[{"path": "files/large.bin"}])
            (fleet.config / "files/large.bin").write_bytes(noise(1_000_000))
            process = fleet.start()
            with OwnMemory(process.pid) as memory:
                process.wait(240)
            require(process.code == 0 and sum(sink.taken().values()) == count, f"exit {process.code}: {process.text()[-500:]}")
            held[count] = memory.peak_kib
    few, many = held[200], held[1000]
    require(many < few + 24 * 1024, f"{held} KiB")
    return ", ".join(f"{count} messages of 1.4 MB: {kib // 1024} MiB" for count, kib in held.items())


def main():
    cases = Cases(__doc__)
    cases.parse()
    every = (
        as_mail_programs_read_them, as_an_imap_client_reads_them, over_every_vendors_api, too_large_for_a_server, from_a_url, mistakes_are_told,
        memory_is_flat,
    )  # fmt: skip
    cases.add_all(every, Shared(lambda: Place("attachments")))
    cases.end()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""DKIM signatures, verified by dkimpy and by OpenDKIM over a real name server (Knot DNS).

A thousand messages of every shape, signed with RSA, Ed25519 and both, as a real Postfix stores them, and those that vendors' APIs were
handed, after what the vendor does to them: all are right, and none is once a byte of it is another. Keys are replaced while mail is sent.
"""

import base64
import contextlib
import json
import random
import re
import smtplib
import subprocess
import time
from pathlib import Path

from parts import fleet as fleets
from parts import signatures
from parts.letters import LETTERS, letter
from parts.nameserver import NameServer
from parts.postfix import Postfix
from parts.process import folder, wait_until
from parts.report import Cases, Shared, need, require
from parts.scripted import Scripted
from parts.vendors import Vendor

SEED = 20261129
KINDS = ("rsa", "ed25519", "both")
PEOPLE = 31  # of each shape and kind of key


def key(*options: str) -> str:
    """A private key in PEM, by openssl."""
    return subprocess.run(["openssl", "genpkey", *options], capture_output=True, check=True, text=True).stdout


def rsa(bits: int = 2048) -> str:
    return key("-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{bits}")


def ed25519() -> str:
    return key("-algorithm", "ed25519")


def pkcs1(pem: str) -> str:
    return subprocess.run(["openssl", "rsa", "-traditional"], input=pem, capture_output=True, check=True, text=True).stdout


def signing(domain: str, selector: str, name: str) -> dict:
    """An entry of `identity.dkim`; the key is in the Secret `dkim`."""
    return {"domain": domain, "selector": selector, "privateKeyRef": {"name": "dkim", "key": name}}


def keys_of(kind: str, domain: str) -> list[dict]:
    names = ["rsa", "ed25519"] if kind == "both" else [kind]
    return [signing(domain, f"{name}-1", name) for name in names]


def selectors(kind: str) -> set[str]:
    return {"rsa-1", "ed25519-1"} if kind == "both" else {f"{kind}-1"}


def records(fleet: fleets.Fleet) -> str:
    """The keys' records, as `mailfleet dns` prints them."""
    _, text = fleet.command("dns", fleet.config, "--no-lookup", "-o", "zone")
    return "".join(f"{line}\n" for line in text.splitlines() if "_domainkey." in line and not line.startswith(";"))


MJML = "<mjml><mj-body><mj-section><mj-column><mj-text>Dear {{ name }},  hello</mj-text><mj-button href='https://shop.example/?a=1&b=2'>Go</mj-button></mj-column></mj-section></mj-body></mjml>"
WORDS = ["plain", "two  spaces", "Grüße", "日本語", "\ttab", "trailing \t ", "", "", ".", "..dots", "=3D", "From here", "é" * 40, "x" * 120]
# A campaign's fields for each shape; `{{ text }}` is other for each person.
SHAPES = {
    "text": {"content": {"text": "Dear {{ name }},\n\n{{ text }}\n"}},
    "utf-8": {"subject": "Grüße, 日本語 für {{ name }} ✓", "content": {"text": "Grüße {{ name }}\n{{ text }}\n\n\n"}},
    "html": {"content": {"html": "<p>Dear {{ name }}</p>\n<pre>{{ text }}</pre>\n"}},
    "same-for-all": {"subject": "News", "content": {"html": "<p>The same  for all</p>\n" * 40, "text": "The same for all\n" * 40}},
    "mjml": {"content": {"mjml": MJML}},
    "long-lines": {"content": {"text": "{{ name }} " + "0123456789" * 700 + "\n" + "word " * 190 + "\n", "html": "<p>" + "x" * 5000 + "{{ name }}</p>"}},
    "empty": {"content": {"text": "{% if name == '' %}x{% endif %}"}},
    "spaces": {"content": {"text": "  {{ name }} \t\n\t\n \n{{ text }}\n.\n \n\n\n"}},
    "headers": {
        "subject": "word " * 60 + "{{ name }}",
        "replyTo": {"name": "Büro, \"Köln\"", "address": "desk@shop.example"},
        "unsubscribe": {"url": "https://shop.example/u?{{ name }}", "oneClick": {}},
        "headers": [{"name": "List-Id", "value": "News <news.shop.example>"}, {"name": "X-Long", "value": "word " * 100}, {"name": "Feedback-ID", "value": "a:b:c:d"}],
        "content": {"text": "{{ text }}"},
    },
    "smtputf8": {"content": {"text": "{{ text }}"}},
    "below": {"content": {"text": "{{ text }}"}},
}


def text_of(chance: random.Random) -> str:
    return "\n".join(chance.choice(WORDS) for _ in range(chance.randint(0, 12)))


class Thousand:
    """A thousand messages and more, signed and stored by a real Postfix, and what each must be signed by."""

    def __init__(self, program: Path):
        need(NameServer.missing() or Postfix.missing() or signatures.missing())
        self.home = folder("dkim-thousand")
        self.chance = random.Random(SEED)
        # Of each stored message, by its recipient: the shape, the domain and the selectors.
        self.wanted: dict[str, tuple[str, str, set[str]]] = {}
        (self.home / "postfix").mkdir()
        self.parts = contextlib.ExitStack()
        self.postfix = self.parts.enter_context(Postfix(self.home / "postfix", stores=True, extra="smtputf8_enable = yes\n"))
        self.fleet = fleets.Fleet(self.home / "fleet", program)
        try:
            with contextlib.ExitStack() as apis:
                self.send({kind: apis.enter_context(Vendor(kind)) for kind in ("ses", "mailgun", "sparkpost", "gmail", "plugin")})
            wait_until(lambda: len(self.postfix.stored()) >= len(self.wanted), 60, "Postfix stores everything", every=0.2)
        except BaseException:
            self.__exit__()
            raise
        self.files = self.postfix.stored()

    def domain(self, shape: str, kind: str) -> str:
        return f"bücher-{kind}.example" if shape == "smtputf8" else f"{kind}.example"

    def send(self, vendors: dict[str, Vendor]):
        servers, campaigns, plans = [], [], []
        for kind in KINDS:
            keys = keys_of(kind, f"{kind}.example") + keys_of(kind, f"bücher-{kind}.example") + keys_of(kind, "shop.example")
            servers.append(fleets.smtp_server(kind, self.postfix.port, identity={"dkim": keys}))
            plans.append(fleets.plan(kind, kind))
            for shape, spec in SHAPES.items():
                domain = self.domain(shape, kind)
                people = [self.person(f"{'jörg' if shape == 'smtputf8' else 'ann'}-{shape}-{kind}-{number}@example.com", shape, domain, kind) for number in range(PEOPLE)]
                sender = {"name": "Ann, \"the\" Shop", "address": f"news@{'deep.news.' if shape == 'below' else ''}{domain}"}
                campaigns.append(fleets.campaign(f"{shape}-{kind}", kind, {"inline": people}, **{"from": sender, **spec}))
        for number, (name, vendor) in enumerate(vendors.items()):
            kind = KINDS[number % 3]
            servers.append(fleets.resource("SendingServer", name, {"provider": vendor.spec(), "identity": {"dkim": keys_of(kind, "shop.example")}}))
            plans.append(fleets.plan(name, name))
            people = [self.person(f"bob-{name}-{number}@example.com", name, "shop.example", kind) for number in range(8)]
            campaigns.append(fleets.campaign(f"by-{name}", name, {"inline": people}, **{"from": {"address": "ann@shop.example"}, **SHAPES["headers"]}))
        secrets = [fleets.secret("dkim", rsa=pkcs1(rsa()), ed25519=ed25519())] + [vendor.secret() for vendor in vendors.values()]
        self.fleet.write("servers.yaml", *secrets, *servers, *plans)
        self.names = self.parts.enter_context(NameServer(self.home / "knot", {"example": records(self.fleet)}))
        # Attachments, by hand: `mailfleet test` signs as the server does.
        for kind in KINDS:
            for name in LETTERS:
                file = self.home / f"{name}.eml"
                file.write_bytes(letter(name))
                to = [f"letter-{name}-{kind}-{number}@example.com" for number in range(2)]
                for one in to:
                    self.wanted[one] = (f"letter {name}", "shop.example", selectors(kind))
                code, text = self.fleet.command("test", self.fleet.config, "--server", kind, "--message", file, *[word for one in to for word in ("--send-to", one)])
                require(code == 0, f"mailfleet test: exit {code}: {text}")
        self.fleet.write("campaigns.yaml", *campaigns)
        code, text = self.fleet.run_once("-q", "--resolver", self.names.address)
        require(code == 0, f"exit {code}: {text[-2000:]}")
        for name, vendor in vendors.items():
            for message in handed(name, vendor):
                self.inject(as_vendor(name, message))

    def person(self, address: str, shape: str, domain: str, kind: str) -> dict:
        self.wanted[address] = (shape, domain, selectors(kind))
        return {"email": address, "name": self.chance.choice(["Ann", "Jörg Ö", "", "X  Y", "a <b>"]), "text": text_of(self.chance)}

    def inject(self, message: bytes):
        """Hands a message to Postfix as the vendor's own server would."""
        to = re.search(rb"\r\nTo:[^\r]*?([-a-z0-9]+@example\.com)", message)[1].decode()
        with smtplib.SMTP("127.0.0.1", self.postfix.port, timeout=20) as client:
            client.sendmail("bounces@vendor.example", [to], message)

    def judged(self, files: list[Path], place: str) -> list[tuple[str, signatures.Verdicts]]:
        port = self.names.port
        return [("dkimpy", signatures.by_dkimpy(files, port)), ("OpenDKIM", signatures.by_opendkim(files, port, self.home / place))]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.parts.close()


def handed(name: str, vendor: Vendor) -> list[bytes]:
    """The messages that a vendor's API was handed, as they are."""
    found = []
    for method, path, _, body in vendor.requests:
        if method != "POST" or path == "/probe":
            continue
        if name == "ses":
            found.append(base64.b64decode(json.loads(body)["Content"]["Raw"]["Data"]))
        elif name == "sparkpost":
            found.append(json.loads(body)["content"]["email_rfc822"].encode())
        elif name == "plugin":
            found += [base64.b64decode(one["content"]) for one in json.loads(body)["messages"]]
        elif name == "mailgun":
            boundary = body.split(b"\r\n", 1)[0]
            part = next(part for part in body.split(boundary) if b'name="message"' in part)
            found.append(part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n"))
        else:
            found.append(body)
    require(len(found) == 8, f"{name} was handed {len(found)} messages")
    return found


def as_vendor(name: str, message: bytes) -> bytes:
    """What a vendor does to a message: Date and Message-ID are its own, and it adds fields before it."""
    message = re.sub(rb"(?m)^Date:.*\r\n", b"Date: Mon, 30 Nov 2026 12:00:00 +0000\r\n", message, count=1)
    message = re.sub(rb"(?m)^Message-ID:.*\r\n", b"Message-ID: <0102-vendor@vendor.example>\r\n", message, count=1)
    added = b"Received: from api.vendor.example by mx.vendor.example; Mon, 30 Nov 2026 12:00:00 +0000\r\nFeedback-ID: 1:vendor\r\n"
    return added + (b"List-Unsubscribe: <mailto:leave@vendor.example>\r\n" if name == "sparkpost" else b"") + message


def recipient(path: Path) -> str:
    return re.search(r"(?m)^(?:X-Original-To|Delivered-To): (.*)$", path.read_bytes().decode(errors="replace"))[1].strip()


def all_are_right(made: Thousand, rows: list) -> str:
    """Every message has the signatures that it must have, and both verifiers say that each is right."""
    require(len(made.files) == len(made.wanted) >= 1000, f"{len(made.files)} messages of {len(made.wanted)}")
    begin = time.monotonic()
    by_shape: dict[str, int] = {}
    for judge, verdicts in made.judged(made.files, "right"):
        wrong = []
        for path in made.files:
            shape, domain, wanted = made.wanted[recipient(path)]
            found = verdicts[path]
            ascii_domain = domain.encode("idna").decode()
            if {selector for _, selector, _, is_right in found if is_right} != wanted or any(one[0] != ascii_domain for one in found) or len(found) != len(wanted):
                wrong.append(f"{shape} {path}: {found}")
            by_shape[shape] = by_shape.get(shape, 0) + 1
        rows.append([judge, len(made.files), len(wrong), ""])
        require(not wrong, f"{judge}: {len(wrong)} of {len(made.files)} are wrong: {wrong[:3]}")
    return f"{len(made.files)} messages of {len(by_shape)} shapes, {time.monotonic() - begin:.0f} s"


def altered(text: bytes, chance: random.Random) -> bytes:
    """The message with one character of what is signed replaced by another."""
    start = re.search(rb"(?m)^From: ", text).start()
    fields = [match.span(1) for match in re.finditer(rb"(?m)^(?:Subject|From|To): (.+)$", text[start:])]
    body = start + text[start:].index(b"\n\n") + 2
    places = [start + at for first, last in fields for at in range(first, last) if chr(text[start + at]).isalnum()]
    in_body = [at for at in range(body, len(text)) if chr(text[at]).isalnum()]
    at = chance.choice(in_body if in_body and chance.random() < 0.6 else places)
    other = chance.choice([byte for byte in b"abcxyz019" if byte != text[at]])
    return text[:at] + bytes([other]) + text[at + 1 :]


def one_byte_is_enough(made: Thousand, rows: list) -> str:
    """Each message with one byte changed is refused by both verifiers."""
    place, chance = made.home / "altered", random.Random(SEED)
    place.mkdir()
    files = []
    for number, path in enumerate(made.files):
        files.append(place / f"{number}.eml")
        files[-1].write_bytes(altered(path.read_bytes(), chance))
    for judge, verdicts in made.judged(files, "wrong"):
        accepted = [f"{path}: {found}" for path, found in verdicts.items() if any(is_right for *_, is_right in found) or not found]
        rows.append([judge, len(files), "", len(files) - len(accepted)])
        require(len(verdicts) == len(files) and not accepted, f"{judge} accepts {len(accepted)} altered messages: {accepted[:3]}")
    return f"{len(files)} altered messages"


def the_next_key_waits_for_its_record(program) -> str:
    """While mail is sent: the next key is put first, signs once its record is published, and the old one's record may go then."""
    need(NameServer.missing() or signatures.missing())
    home = folder("dkim-rotation")
    fleet = fleets.Fleet(home / "fleet", program)
    sink = Scripted()
    sink.mails = []
    secret = fleets.secret("dkim", old=rsa(), next=rsa(), edwards=ed25519())

    def write(*keys: tuple[str, str]):
        entries = [signing("news.example", selector, name) for selector, name in keys]
        fleet.write("server.yaml", secret, fleets.smtp_server("relay", sink.port, identity={"domains": ["news.example"], "dkim": entries}), fleets.plan("all", "relay"))

    def says(*records_of: str, seconds: float = 60):
        wanted = ", ".join(f"{selector}._domainkey.news.example ({'ed25519' if selector == 'e1' else 'rsa'}-sha256)" for selector in records_of)
        wait_until(lambda: fleet.condition("SendingServer", "relay", "Signing").get("message", "").startswith(f"Messages are signed with {wanted}."), seconds, f"signed with {wanted}: {fleet.condition('SendingServer', 'relay', 'Signing')}", every=0.1)

    def sends(number: int) -> set[str]:
        """The selectors with which the next campaign is signed."""
        name, before = f"c{number}", len(sink.mails)
        fleet.write(f"{name}.yaml", fleets.campaign(name, "all", {"inline": [{"email": f"p{number}@example.com", "name": "P"}]}, **{"from": {"address": "ann@news.example"}}))
        wait_until(lambda: fleet.status("Campaign", name).get("state") == "Completed", 30, f"{name} is sent")
        return set(re.findall(r"\bs=([a-z0-9]+);", sink.mails[before][2].decode()))

    write(("s1", "old"), ("s2", "next"), ("e1", "edwards"))
    all_records = {line.split(".", 1)[0]: line for line in records(fleet).splitlines()}
    published = lambda *names: "".join(f"{all_records[name]}\n" for name in names)  # noqa: E731
    write(("s1", "old"))
    with NameServer(home / "knot", {"example": published()}) as names:
        process = fleet.start("-q", "--resolver", names.address, once=False)
        try:
            says("s1")
            require(sends(1) == {"s1"}, "a single key signs, whatever DNS says")
            write(("s2", "next"), ("s1", "old"))
            says("s2", "s1")
            names.change(example=published("s1"))
            says("s1")
            require(sends(2) == {"s1"}, "the next key waits for its record")
            names.stop()
            time.sleep(3)
            require(sends(3) == {"s1"}, "a resolver that goes away changes nothing")
            names.zones["example"] = published("s1", "s2")
            names.start()
            says("s2", seconds=120)
            require(sends(4) == {"s2"}, "the next key signs once its record is seen")
            write(("s2", "next"), ("s1", "old"), ("e1", "edwards"))
            says("s2")
            names.change(example=published("s2", "e1"))
            says("s2", "e1")
            require(sends(5) == {"s2", "e1"}, "both algorithms sign")
        finally:
            process.kill()
    return "s1, then s2, then s2 and e1"


def unfit_keys_are_told(program) -> str:
    """A key that is missing or unfit makes the server Inactive, in words, and nothing of it is printed."""
    home = folder("dkim-unfit")
    fleet = fleets.Fleet(home / "fleet", program)
    curve = key("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    locked = subprocess.run(["openssl", "pkcs8", "-topk8", "-passout", "pass:secret"], input=rsa(), capture_output=True, check=True, text=True).stdout
    unfit = {
        "small": (rsa(1024), "SecretInvalid", "is an RSA key of less than 2,048 bits"),
        "curve": (curve, "SecretInvalid", "is a key on an elliptic curve (EC)"),
        "locked": (locked, "SecretInvalid", "is encrypted with a passphrase"),
        "nonsense": ("not a key", "SecretInvalid", "is not a private key in PEM"),
        "absent": (None, "SecretKeyNotFound", "absent"),
    }
    secret = fleets.secret("dkim", **{name: pem for name, (pem, *_) in unfit.items() if pem})
    sink = Scripted()
    with Vendor("sendgrid") as vendor:
        servers = [fleets.smtp_server(name, sink.port, identity={"dkim": [signing("a.example", "s1", name)]}) for name in unfit]
        gone = fleets.smtp_server("gone", sink.port, identity={"dkim": [{"domain": "a.example", "selector": "s1", "privateKeyRef": {"name": "nowhere", "key": "pem"}}]})
        theirs = fleets.resource("SendingServer", "theirs", {"provider": vendor.spec(), "identity": {"domains": ["a.example"], "dkim": [signing("a.example", "s1", "nonsense")]}})
        fleet.write("all.yaml", secret, vendor.secret(), *servers, gone, theirs, fleets.plan("all", *unfit, "gone", "theirs"))
        process = fleet.start(once=False)
        try:
            wait_until(lambda: fleet.status("SendingServer", "theirs").get("state") == "Active" and all(fleet.status("SendingServer", name) for name in (*unfit, "gone")), 30, "statuses")
            for name, (_, reason, words) in {**unfit, "gone": (None, "SecretNotFound", "nowhere")}.items():
                ready = fleet.condition("SendingServer", name, "Ready")
                require(fleet.status("SendingServer", name)["state"] == "Inactive" and ready["reason"] == reason, f"{name}: {ready}")
                require(words in ready["message"] and "spec.identity.dkim[0].privateKeyRef" in ready["message"], f"{name}: {ready['message']}")
                require(fleet.condition("SendingServer", name, "Stalled").get("status") == "True", f"{name}: somebody has to act")
            signs = fleet.condition("SendingServer", "theirs", "Signing")
            require((signs["status"], signs["reason"]) == ("False", "SignedByVendor"), f"{signs}")
        finally:
            process.kill()
    _, told = fleet.command("validate", fleet.config)
    _, tested = fleet.command("test", fleet.config)
    everything = process.text() + told + tested + "".join(path.read_text() for path in fleet.state.glob("status/*/*/*.yaml"))
    for pem in [pem for pem, *_ in unfit.values() if pem and "BEGIN" in pem]:
        require(not any(line in everything for line in pem.splitlines()[1:-1] if len(line) > 20), "a part of a key is printed")
    require("this has no effect: the vendor makes the message" in told, f"validate does not say it: {told[-1500:]}")
    return f"{len(unfit) + 1} keys"


def main():
    cases = Cases(__doc__)
    cases.parse()
    program = fleets.binary()
    thousand = Shared(lambda: Thousand(program))
    rows = cases.table("verifier", "messages", "wrong", "altered and refused")
    cases.add("a thousand messages of every shape are right", all_are_right, thousand, rows)
    cases.add("one byte is enough", one_byte_is_enough, thousand, rows)
    cases.add_all((the_next_key_waits_for_its_record, unfit_keys_are_told), program)
    cases.end()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Vendors' webhooks over HTTP: calls signed as vendors sign them, verified by the vendors' own libraries and taken by us; every change refused."""

import base64
import contextlib
import datetime
import hashlib
import hmac
import http.client
import http.server
import json
import os
import ssl
import subprocess
import threading
import time
from pathlib import Path

from parts import fleet as fleets
from parts import prism
from parts.certificates import Authority
from parts.fleet import ROOT
from parts.process import folder, free_port, listens, wait_until
from parts.proxy import ConnectProxy
from parts.report import Cases, need, require
from parts.vendors import Vendor

PATH = "/feedback/shop/vendor"
SECRET = "0123456789abcdef0123"  # noqa: S105
TOPIC = "arn:aws:sns:eu-west-1:123456789012:feedback"
HOST = "sns.eu-west-1.amazonaws.com"
NAME = "/SimpleNotificationService-0a1b2c3d.pem"
TAKEN, FORGED, REFUSED, LATER = 200, 401, 406, 503


def door_program() -> Path:
    """The example that plays the address (`cargo build --examples`)."""
    program = os.environ.get("MAILFLEET_BINARY")
    target = Path(program).resolve().parent if program else ROOT / "target/debug"
    return target / "examples/webhook-door"


class Door:
    """The address of one vendor's webhook, and the events that were taken."""

    def __init__(self, kind: str, refuse: int = 0, environment: dict | None = None, **credentials):
        words = [door_program(), kind, json.dumps(credentials), str(refuse)]
        plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**plain, **(environment or {})})
        self.port = int(self.process.stdout.readline())
        self.events: list[dict] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.events.append(json.loads(line))

    def call(self, body: str | bytes = b"", headers: dict | None = None, path: str = PATH, method: str = "POST") -> int:
        """The status of the answer."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(line):
            line.request(method, path, body.encode() if isinstance(body, str) else body, headers or {})
            answer = line.getresponse()
            answer.read()
            return answer.status

    def taken(self, count: int) -> list[dict]:
        """The events, once there are so many."""
        end = time.monotonic() + 10
        while len(self.events) < count and time.monotonic() < end:
            time.sleep(0.01)
        require(len(self.events) == count, f"{len(self.events)} events were taken, and not {count}")
        return self.events

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def judge(calls: list[dict]) -> list[dict]:
    """Calls that tests/judges/webhook.js has signed, and the vendors' own libraries have verified."""
    need(prism.missing())
    environment = {**os.environ, "NODE_PATH": str(prism.folder() / "node_modules")}
    words = ["node", str(ROOT / "tests/judges/webhook.js")]
    done = subprocess.run(words, input=json.dumps(calls), capture_output=True, text=True, timeout=120, env=environment)
    require(done.returncode == 0, f"the vendors' libraries fail: {done.stderr[-1500:]}")
    return json.loads(done.stdout)


def openssl(*words) -> str:
    """The output of openssl."""
    return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, text=True, timeout=60).stdout


def changed(text: str):
    """The text with each of its bytes changed, one after the other."""
    for at, character in enumerate(text):
        yield text[:at] + ("A" if character != "A" else "B") + text[at + 1 :]


def sendgrid():
    """1,000 events signed by ECDSA; each byte of time, body and signature that is changed; repeated, old, and by another key."""
    home = folder("webhooks-sendgrid")
    keys = []
    for name in ("own", "other"):
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", home / name)
        public = "".join(openssl("pkey", "-in", home / name, "-pubout").splitlines()[1:-1])
        keys.append(((home / name).read_text(), public))
    now = int(time.time())
    event = lambda n: {"email": f"p{n}@example.com", "event": "delivered", "timestamp": now, "sg_event_id": f"e{n}", "mailfleet_reference": f"2a-7-0-{n:x}"}  # noqa: E731
    sign = lambda body, at=now, key=keys[0]: {"vendor": "sendgrid", "key": key[0], "publicKey": key[1], "timestamp": str(at), "body": body}  # noqa: E731
    many, short = json.dumps([event(n) for n in range(1000)]), json.dumps([event(2000)])
    again = json.dumps([event(1), event(2)])
    signed = judge([sign(many), sign(short), sign(again, now - 60), sign(short, now - 26 * 3600), sign(short, now + 600), sign(short, now, keys[1])])
    require(all(one["verified"] is True for one in signed), "Twilio's library refuses what was signed")
    large, small, repeated, old, ahead, foreign = signed
    with Door("sendgrid", publicKey=keys[0][1]) as door:
        call = lambda one, **more: door.call(**{"body": one["body"], "headers": one["headers"], **more})  # noqa: E731
        require(call(large) == TAKEN, "1,000 events are not taken")
        ids = {one["id"] for one in door.taken(1000)}
        require(len(ids) == 1000, "events share an id")
        statuses = {name: call(one) for name, one in {"repeated": large, "old": old, "ahead": ahead, "foreign": foreign}.items()}
        require(statuses == {"repeated": REFUSED, "old": REFUSED, "ahead": REFUSED, "foreign": FORGED}, f"{statuses}")
        count = 0
        with many_calls(door) as ask:
            for body in changed(small["body"]):
                ask(FORGED, body, small["headers"])
            for name, value in small["headers"].items():
                for other in changed(value):
                    if same_base64(value, other):
                        continue
                    ask(FORGED, small["body"], {**small["headers"], name: other})
            count = ask.count
        require(call(small) == TAKEN, "the unchanged call is refused")
        require(call(repeated) == TAKEN, "a call with known events is refused")
        taken = door.taken(1003)
        require({one["id"] for one in taken[-2:]} <= ids, "the same event has another id in another call")
    return f"1,000 events in one call; {count} changes refused"


def same_base64(one: str, other: str) -> bool:
    """Whether two texts are base64 of the same: spare bits at the end."""
    with contextlib.suppress(ValueError):
        return base64.b64decode(one, validate=True) == base64.b64decode(other, validate=True)
    return False


class many_calls:  # noqa: N801
    """Calls side by side, since each refusal takes its time; each must be answered with its status."""

    def __init__(self, door: Door):
        self.door, self.threads, self.wrong, self.count = door, [], [], 0
        self.room = threading.Semaphore(32)

    def __call__(self, status: int, body, headers: dict, path: str = PATH):
        self.count += 1
        self.room.acquire()
        self.threads.append(threading.Thread(target=self._ask, args=(status, body, headers, path)))
        self.threads[-1].start()

    def _ask(self, status: int, body, headers: dict, path: str):
        try:
            answer = self.door.call(body, headers, path)
            if answer != status:
                self.wrong.append((answer, str(body)[:200], str(headers)[:300], path))
        except OSError as error:
            self.wrong.append((str(error), str(body)[:200], "", path))
        finally:
            self.room.release()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for thread in self.threads:
            thread.join()
        if kind is None:
            require(not self.wrong, f"{len(self.wrong)} of {self.count} answers differ: {self.wrong[:3]}")


def mailgun():
    """Signed as documentation.mailgun.com says; each changed byte, a used token under another body, and an old one."""
    def call(at: float, token: str, event: dict, key: str = SECRET) -> dict:
        code = hmac.new(key.encode(), f"{int(at)}{token}".encode(), hashlib.sha256).hexdigest()
        return {"signature": {"timestamp": str(int(at)), "token": token, "signature": code}, "event-data": event}

    now = time.time()
    bounced = {"event": "failed", "severity": "permanent", "reason": "bounce", "id": "b1", "timestamp": now, "recipient": "gone@example.com", "delivery-status": {"code": 550, "message": "5.1.1 No such user"}, "user-variables": {"mailfleet_reference": "2a-7-0-1"}}
    with Door("mailgun", secret=SECRET) as door:
        good = call(now, "a" * 50, bounced)
        with many_calls(door) as ask:
            for name, value in good["signature"].items():
                for other in changed(value):
                    ask(FORGED, json.dumps({**good, "signature": {**good["signature"], name: other}}), {})
            count = ask.count
        require(door.call(json.dumps(good)) == TAKEN, "it is refused")
        require(door.taken(1)[0]["kind"] == "HardBounce", f"{door.events}")
        statuses = {
            "repeated": door.call(json.dumps(good)),
            "another body": door.call(json.dumps({**good, "event-data": {**bounced, "id": "b2", "recipient": "ann@example.com"}})),
            "old": door.call(json.dumps(call(now - 9 * 3600, "b" * 50, bounced))),
            "another key": door.call(json.dumps(call(now, "c" * 50, bounced, "another key of Mailgun"))),
        }
        require(statuses == {"repeated": REFUSED, "another body": REFUSED, "old": REFUSED, "another key": FORGED}, f"{statuses}")
        require(door.call(json.dumps(call(now, "d" * 50, bounced))) == TAKEN, "the event told again is refused")
        first, again = door.taken(2)
        require(first["id"] == again["id"], "the same event has another id in another call")
    return f"{count} changes refused"


class Amazon:
    """SNS on loopback: it serves the certificate, and takes confirmations."""

    def __init__(self, home: Path):
        authority = Authority(home)
        tls = authority.issue("sns", f"DNS:{HOST}")
        self.authority = authority.certificate
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", home / "signing.key", "-out", home / "signing.pem", "-days", 2, "-subj", "/CN=sns.amazonaws.com")
        self.key, self.certificate = (home / "signing.key").read_text(), (home / "signing.pem").read_text()
        self.asked: list[str] = []
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):  # noqa: N802
                owner.asked.append(self.path)
                is_known = self.path == NAME or self.path.startswith("/?Action=ConfirmSubscription")
                body = owner.certificate.encode() if self.path == NAME else b"<ConfirmSubscriptionResponse/>"
                self.send_response(200 if is_known else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.proxy = ConnectProxy({f"{HOST}:443": self.server.server_port})

    def environment(self) -> dict:
        """Through the proxy, Amazon's host is here, and its authority is trusted."""
        return {"HTTPS_PROXY": self.proxy.url, "SSL_CERT_FILE": str(self.authority)}

    def message(self, kind: str, number: int, version: str = "2", at: float | None = None, **more) -> dict:
        """An unsigned call to the judge."""
        timestamp = datetime.datetime.fromtimestamp(at or time.time(), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        message = {"Type": kind, "MessageId": f"m{number}", "TopicArn": TOPIC, "Timestamp": timestamp, "SignatureVersion": version, "SigningCertURL": f"https://{HOST}{NAME}", **more}
        return {"vendor": "sns", "key": self.key, "certificate": self.certificate, "message": message}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.proxy.__exit__()


def ses():
    """Both versions of SNS' signature, verified by Amazon's validator; the certificate is fetched once, the subscription confirmed; changes and strangers refused."""
    event = lambda n: json.dumps({"eventType": "Bounce", "bounce": {"bounceType": "Permanent", "bounceSubType": "NoEmail", "feedbackId": f"f{n}", "bouncedRecipients": [{"emailAddress": f"p{n}@example.com", "diagnosticCode": "smtp; 550 5.1.1 User unknown"}]}, "mail": {"messageId": f"s{n}", "tags": {"mailfleet_reference": ["2a-7-0-1"]}}})  # noqa: E731
    with Amazon(folder("webhooks-ses")) as amazon:
        confirm = f"https://{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336"
        wanted = [
            amazon.message("SubscriptionConfirmation", 1, Message="You have chosen to subscribe", Token="2336", SubscribeURL=confirm),
            amazon.message("Notification", 2, "1", Subject="Amazon SES Email Event Notification", Message=event(1)),
            amazon.message("Notification", 3, "2", Message=event(2)),
            amazon.message("Notification", 4, "2", at=time.time() - 2 * 3600, Message=event(3)),
            amazon.message("Notification", 5, "2", Message=event(4)),
        ]
        elsewhere = amazon.message("Notification", 7, Message=event(5))
        elsewhere["message"]["SigningCertURL"] = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0a.pem"
        topic = amazon.message("SubscriptionConfirmation", 8, Message="x", Token="9", SubscribeURL=confirm)
        topic["message"]["TopicArn"] = TOPIC.replace("feedback", "strangers")
        signed = judge([*wanted, elsewhere, topic])
        require(all(one["verified"] is True for one in signed), f"Amazon's validator refuses what was signed: {[one['verified'] for one in signed]}")
        subscription, first, second, old, small, elsewhere, topic = signed
        with Door("ses", topicArn=TOPIC, environment=amazon.environment()) as door:
            call = lambda one: door.call(one["body"], one["headers"])  # noqa: E731
            require(call(topic) == FORGED and not amazon.asked, f"another topic's subscription: {amazon.asked}")
            require(call(subscription) == TAKEN, "the subscription is not confirmed")
            require(len(amazon.asked) == 2 and amazon.asked[0] == NAME and "Token=2336" in amazon.asked[1], f"{amazon.asked}")
            require((call(first), call(second)) == (TAKEN, TAKEN), "a message is refused")
            require([one["kind"] for one in door.taken(2)] == ["HardBounce"] * 2, f"{door.events}")
            require((call(second), call(old), call(elsewhere)) == (REFUSED, REFUSED, FORGED), "repeated, old, or by another host's certificate")
            whole = json.loads(small["body"])
            with many_calls(door) as ask:
                for name in ("Type", "MessageId", "TopicArn", "Message", "SignatureVersion", "Signature"):
                    for other in changed(whole[name]):
                        if name == "Signature" and same_base64(whole[name], other):
                            continue
                        ask(FORGED, json.dumps({**whole, name: other}), {})
                count = ask.count
            require(call(small) == TAKEN, "the unchanged message is refused")
            require(len(amazon.asked) == 2 and set(amazon.proxy.targets) == {f"{HOST}:443"}, f"asked: {amazon.asked}, {amazon.proxy.targets}")
    return f"{count} changes refused, the certificate fetched once"


def secrets():
    """Vendors that sign nothing: the secret in every form that they can send, and each changed byte of it."""
    told = {
        "sparkpost": [{"msys": {"message_event": {"type": "delivery", "event_id": "1", "rcpt_to": "a@example.com"}}}],
        "postmark": {"RecordType": "Delivery", "MessageID": "m1", "Recipient": "a@example.com", "DeliveredAt": "2026-11-29T10:00:00Z"},
        "brevo": {"event": "delivered", "email": "a@example.com", "message-id": "<m1@x>", "ts_event": 1},
        "elasticEmail": {"status": "Sent", "to": "a@example.com", "messageid": "m1"},
        "plugin": {"id": "1", "event": "Delivered", "recipient": "a@example.com"},
    }
    basic = lambda secret: {"Authorization": "Basic " + base64.b64encode(f"vendor:{secret}".encode()).decode()}  # noqa: E731
    bearer = lambda secret: {"Authorization": f"Bearer {secret}"}  # noqa: E731
    count = 0
    for kind, event in told.items():
        body = json.dumps(event)
        with Door(kind, secret=SECRET) as door:
            statuses = [door.call(body, basic(SECRET)), door.call(body, bearer(SECRET)), door.call(body, path=f"{PATH}/{SECRET}")]
            require(statuses == [TAKEN] * 3, f"{kind}: {statuses}")
            require(len({one["id"] for one in door.taken(3)}) == 1, f"{kind}: the same event has several ids")
            with many_calls(door) as ask:
                for other in [*changed(SECRET), "", SECRET + "0", SECRET[:-1]]:
                    ask(FORGED, body, basic(other))
                    ask(FORGED, body, bearer(other))
                    ask(FORGED, body, {}, f"{PATH}/{other}")
                ask(FORGED, body, bearer(SECRET), "/feedback/shop/nobody")
                count += ask.count
    with Door("elasticEmail", secret=SECRET) as door:
        query = "to=ann%40example.com&status=Error&category=NoMailbox&messageid=m2"
        require(door.call(path=f"{PATH}/{SECRET}?{query}", method="GET") == TAKEN, "Elastic Email's GET is refused")
        require(door.taken(1)[0]["kind"] == "HardBounce", f"{door.events}")
    return f"{len(told)} vendors, {count} wrong secrets refused"


def not_durable():
    """A call whose events could not be recorded is answered with 503, may come again, and is then taken once."""
    body = json.dumps([{"id": str(n), "event": "Delivered", "recipient": "a@example.com"} for n in range(50)])
    with Door("plugin", refuse=2, secret=SECRET) as door:
        headers = {"Authorization": f"Bearer {SECRET}"}
        statuses = [door.call(body, headers) for _ in range(3)]
        require(statuses == [LATER, LATER, TAKEN], f"{statuses}")
        door.taken(50)


def a_whole_round(program) -> str:
    """A process that sends through a vendor and takes its webhook: found by the reference, counted once over a kill -9, suppressed in the next run."""
    people = ["ann@example.com", "gone@example.com", "bob@example.com"]
    audience = {"inline": [{"email": one, "name": "Ann"} for one in people]}
    port = free_port()
    with Vendor("postmark") as vendor:
        fleet = fleets.Fleet(folder("webhooks-round"), program)
        server = fleets.resource("SendingServer", "postmark", {"provider": vendor.spec(), "feedback": {"webhook": {"secretRef": {"name": "hooks", "key": "secret"}}}})
        write = lambda **more: fleet.write("all.yaml", vendor.secret(), fleets.secret("hooks", secret=SECRET), server, fleets.plan("pro", "postmark"), fleets.campaign("spring", "pro", audience, **more))  # noqa: E731
        write()
        start = lambda: fleet.start("--public-url", "https://news.example.com", "--public-address", f"127.0.0.1:{port}", "--quiet", once=False)  # noqa: E731
        process = start()
        try:
            fleet.wait_state("Campaign", "spring", "Completed", 30)
            require(fleet.condition("SendingServer", "postmark", "FeedbackReady").get("reason") == "WebhookWaiting", "no call has come")
            sent = [one for *_, body in vendor.requests if body for one in as_list(json.loads(body))]
            references = {one["To"].strip("<>").rpartition("<")[2]: one["Metadata"]["mailfleet_reference"] for one in sent}
            require(set(references) == set(people), f"{references}")
            told = [
                {"RecordType": "Delivery", "MessageID": "1", "Recipient": "ann@example.com", "DeliveredAt": "2026-11-29T10:00:00Z", "Metadata": {"mailfleet_reference": references["ann@example.com"]}},
                {"RecordType": "Bounce", "ID": 1, "Type": "HardBounce", "Details": "smtp;550 5.1.1 No such user", "Email": "gone@example.com", "BouncedAt": "2026-11-29T10:00:00Z", "Metadata": {"mailfleet_reference": references["gone@example.com"]}},
                # Of another ledger, and of nobody.
                {"RecordType": "Bounce", "ID": 2, "Type": "HardBounce", "Email": "bob@example.com", "BouncedAt": "2026-11-29T10:00:00Z", "Metadata": {"mailfleet_reference": "1-1-0-1"}},
            ]

            def call(secret: str = SECRET) -> int:
                line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                with contextlib.closing(line):
                    login = base64.b64encode(f"x:{secret}".encode()).decode()
                    line.request("POST", "/feedback/default/postmark", json.dumps(told + told), {"Authorization": f"Basic {login}"})
                    return line.getresponse().status

            require(call("another secret of it") == FORGED, "another secret is taken")
            require(call() == TAKEN, "the call is refused")
            # What was answered is durable.
            process.kill()
            process = start()
            wait_until(lambda: listens(process.pid, port), 30, "the listener")
            wait_until(lambda: call() == TAKEN, 30, "the same call after a kill -9")
            counts = wait_until(lambda: fleet.status("Campaign", "spring").get("feedback"), 20, "counts of what came back")
            require((counts.get("delivered"), counts.get("bounced")) == (1, 1), f"{counts}")
            wait_until(lambda: fleet.condition("SendingServer", "postmark", "FeedbackReady").get("reason") == "WebhookReceiving", 20, "WebhookReceiving")
            write(run="second")
            wait_until(lambda: fleet.status("Campaign", "spring").get("run") == "second", 20, "the second run")
            fleet.wait_state("Campaign", "spring", "Completed", 30)
            states = fleet.recipients("spring", "second")
            require(states == {"ann@example.com": "Accepted", "gone@example.com": "Suppressed", "bob@example.com": "Accepted"}, f"{states}")
        finally:
            process.kill()
    return "delivered and bounced counted once, the bounced one suppressed"


def as_list(value) -> list:
    """A list as it is, and anything else as a list of it."""
    return value if isinstance(value, list) else [value]


def main():
    cases = Cases(__doc__)
    cases.parse()
    needs = lambda: "" if door_program().exists() else f"{door_program()} (cargo build --examples)"  # noqa: E731
    cases.add_all([sendgrid, mailgun, ses, secrets, not_durable], needs=needs)
    cases.add_all([a_whole_round], fleets.binary())
    cases.end()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Gmail's OAuth 2.0: access tokens that expire every two seconds, and servers that check them.

Over SMTP the server is Postfix with Dovecot, which asks the token server about each token; for the API it is a small HTTP server.
openssl verifies the assertions of a service account.
"""

import base64
import email
import fnmatch
import json
import subprocess
import threading
import time
import urllib.parse
from collections import Counter
from pathlib import Path

from parts import fleet as fleets
from parts.dovecot import Dovecot
from parts.loopback import JsonServer
from parts.postfix import Postfix
from parts.process import folder
from parts.report import Cases, need, require

USER = "news@shop.example"
CLIENT = {"clientId": "client-1", "clientSecret": "client-secret-0123", "refreshToken": "refresh-token-0123"}
LIFE = 2.0
API = ("gmail",)
# The vendor's own description of its API.
DISCOVERY = fleets.ROOT.parent / "shared/specs/gmail.v1.json"


def violations(method: str, path: str, headers: dict, body: bytes) -> list[str]:
    """What in a request contradicts Google's discovery document."""
    document = json.loads(DISCOVERY.read_text())
    users = document["resources"]["users"]
    path, _, query = path.partition("?")
    found = [f"{name} is no parameter" for name, _ in urllib.parse.parse_qsl(query) if name not in document["parameters"]]
    upload = users["resources"]["messages"]["methods"]["send"]["mediaUpload"]
    if method == "GET":
        known = "/" + users["methods"]["getProfile"]["path"].replace("{userId}", "me")
        return found + ([] if path == known and not body else [f"{path}, not {known}"])
    known = upload["protocols"]["simple"]["path"].replace("{userId}", "me")
    found += [] if path == known and "uploadType=media" in query else [f"{path}?{query}, not {known}"]
    found += [] if any(fnmatch.fnmatch(headers.get("content-type", ""), kind) for kind in upload["accept"]) else [f"{headers.get('content-type')}"]
    return found + ([] if len(body) <= int(upload["maxSize"]) else [f"{len(body)} bytes"])


class Google(JsonServer):
    """A token endpoint and the two calls of the Gmail API; tokens live for two seconds."""

    def __init__(self, public_key: Path | None = None):
        # Token to its expiry; `owners` is what Dovecot asks about.
        self.until: dict[str, float] = {}
        self.owners: dict[str, str] = {}
        self.issued = self.refused = self.judged = 0
        self.violations: list[str] = []
        self.is_revoked = False
        self.public_key, self.taken = public_key, Counter()
        self.lock = threading.Lock()
        super().__init__()

    def handle(self, method, path, headers, body):
        with self.lock:
            self.forget()
            if path == "/token":
                return self.token(dict(urllib.parse.parse_qsl(body.decode())))
            if DISCOVERY.exists():
                self.judged += 1
                self.violations += violations(method, path, headers, body)
            token = (headers.get("authorization") or "").removeprefix("Bearer ")
            if token not in self.until:
                self.refused += 1
                return 401, {"error": {"code": 401, "message": "Invalid Credentials"}}
            if path.startswith("/gmail/v1/users/me/profile"):
                return 200, {"emailAddress": USER}
            message = email.message_from_bytes(body)
            self.taken[email.utils.parseaddr(message["To"])[1]] += 1
            return 200, {"id": "1", "threadId": "1"}

    def forget(self):
        now = time.monotonic()
        for token in [token for token, until in self.until.items() if until < now]:
            del self.until[token]
            self.owners.pop(token, None)

    def token(self, form: dict):
        if form.get("grant_type") == "refresh_token":
            right = {"client_id": CLIENT["clientId"], "client_secret": CLIENT["clientSecret"], "refresh_token": CLIENT["refreshToken"]}
            good = all(form.get(name) == value for name, value in right.items())
        else:
            good = form.get("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer" and self.is_signed(form.get("assertion", ""))
        if self.is_revoked or not good:
            return 400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
        self.issued += 1
        token = f"ya29.token-{self.issued}"
        self.until[token], self.owners[token] = time.monotonic() + LIFE, USER
        return 200, {"access_token": token, "expires_in": int(LIFE), "token_type": "Bearer"}

    def is_signed(self, assertion: str) -> bool:
        signed, _, signature = assertion.rpartition(".")
        decoded = lambda part: base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))  # noqa: E731
        claims = json.loads(decoded(signed.split(".")[1]))
        require(claims["iss"] == "robot@project.iam.example" and claims["sub"] == USER and claims["aud"] == f"{self.base}/token", f"{claims}")
        require(claims["scope"] == "https://mail.google.com/" and claims["exp"] - claims["iat"] == 3600, f"{claims}")
        place = self.public_key.parent
        (place / "signature").write_bytes(decoded(signature))
        (place / "signed").write_text(signed)
        words = ["openssl", "dgst", "-sha256", "-verify", self.public_key, "-signature", place / "signature", place / "signed"]
        return subprocess.run(words, capture_output=True, timeout=20).returncode == 0


def write(fleet, provider: dict, values: dict, recipients: int, rate: int):
    """A campaign over Gmail, slow enough for many tokens."""
    spec = {"provider": {"gmail": {"user": USER, "secretRef": {"name": "gmail"}, **provider}}, "probe": {"retryAfter": "200ms", "interval": "1s", "failureThreshold": 2}}
    spec["limits"] = {"rates": [{"messages": rate, "per": "1s"}], "messagesPerConnection": 20, "connections": 4}
    fleets.write_csv(fleet.config / "people.csv", recipients)
    campaign = fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}})
    fleet.write("all.yaml", fleets.secret("gmail", **values), fleets.resource("SendingServer", "gmail", spec), fleets.plan("pro", "gmail"), campaign)


def everyone(fleet, recipients: int):
    states = Counter(fleet.recipients("spring").values())
    require(states == {"Accepted": recipients}, f"the ledger says {dict(states)}")


def smtp_server(home: Path, google: Google) -> Postfix:
    """Postfix and Dovecot, which checks tokens with the token server."""
    sasl = Dovecot(home, USER, "unused", token="never-issued", mechanisms="xoauth2")
    sasl.tokens.owners.clear()
    google.owners = sasl.tokens.owners
    return Postfix(home, sasl=sasl)


def by_smtp(program, values: dict, google: Google, home: Path) -> str:
    recipients = 1_900
    fleet = fleets.Fleet(home, program)
    with google, smtp_server(home, google) as postfix:
        provider = {"host": "localhost", "port": postfix.port, "encryption": "None", "tokenUrl": f"{google.base}/token"}
        write(fleet, provider, values, recipients, rate=200)
        code, output = fleet.run_once(seconds=180)
        require(code == 0, f"exit {code}: {output[-1500:]}")
        everyone(fleet, recipients)
        delivered = postfix.wait_delivered([fleets.address(number) for number in range(recipients)], 60)
        require(len(delivered) == recipients and set(delivered.values()) == {1}, f"Postfix has {len(delivered)} people, {Counter(delivered.values())}")
        methods = Counter(line.split("sasl_method=")[1].split(",")[0] for line in postfix.log().splitlines() if "sasl_method=" in line)
        require(set(methods) == {"XOAUTH2"}, f"{methods}")
        require(google.issued >= 4, f"only {google.issued} tokens")
        # It is over before another probe meets the revoked grant.
        google.is_revoked = True
        code, output = fleet.command("test", fleet.config)
        require(code == 1 and "Token has been expired or revoked" in output and CLIENT["refreshToken"] not in output, output)
    return f"{recipients} people once, {google.issued} tokens"


def refresh_token(program) -> str:
    """A person's refresh token, over SMTP."""
    need(Postfix.missing() or Dovecot.missing())
    return by_smtp(program, CLIENT, Google(), folder("gmail-refresh"))


def service_account(program) -> str:
    """A service account, over SMTP: openssl verifies each assertion."""
    need(Postfix.missing() or Dovecot.missing())
    home = folder("gmail-account")
    subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", home / "key.pem"], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", home / "key.pem", "-pubout", "-out", home / "public.pem"], check=True, capture_output=True)
    account = {"type": "service_account", "client_email": "robot@project.iam.example", "private_key": (home / "key.pem").read_text(), "token_uri": "http://127.0.0.1:1/other"}
    return by_smtp(program, {"serviceAccount": json.dumps(account)}, Google(home / "public.pem"), home)


def over_the_api(program) -> str:
    """The Gmail API: tokens that expire during the campaign, and one that is refused before its expiry."""
    # Google's limit of 150 a minute holds for the API: 2.5 a second.
    need("" if DISCOVERY.exists() else f"{DISCOVERY}")
    home, recipients = folder("gmail-api"), 40
    fleet = fleets.Fleet(home, program)
    with Google() as google:
        write(fleet, {"via": "Api", "endpoint": google.base, "tokenUrl": f"{google.base}/token"}, CLIENT, recipients, rate=30)
        process = fleet.start()
        # Not each time: a token that is about to expire is replaced before it is used again.
        while google.refused == 0 and process.running():
            time.sleep(0.3)
            with google.lock:
                google.until.clear()
        process.wait(120)
        require(process.code == 0, f"exit {process.code}: {process.text()[-1500:]}")
        everyone(fleet, recipients)
        require(len(google.taken) == recipients and set(google.taken.values()) == {1}, f"{len(google.taken)} people, {Counter(google.taken.values())}")
        require(google.issued >= 3 and google.refused >= 1, f"{google.issued} tokens, {google.refused} refused")
        require(google.judged > recipients and not google.violations, f"{google.judged} judged, {google.violations[:3]}")
        require(violations("POST", "/gmail/v1/users/me/messages/send?uploadType=media", {"content-type": "text/plain"}, b""), "the judge accepts anything")
    return f"{recipients} people once, {google.issued} tokens, {google.refused} refused and replaced; {google.judged} requests as the discovery document has them"


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all((refresh_token, service_account, over_the_api), fleets.binary(), prefix="gmail: ")
    cases.end()


if __name__ == "__main__":
    main()

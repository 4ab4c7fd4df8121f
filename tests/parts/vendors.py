"""Vendors' APIs on loopback, as far as a sender sees them: they check the key, take messages and count recipients.

What they answer is the vendor's form; what they ask for is no more than a test needs. Whether requests are right is for Prism
and the vendors' own SDKs to say (tests/providers.py).
"""

import base64
import email
import email.policy
import json
import re
import threading
from collections import Counter

from .loopback import JsonServer


def form_fields(headers, body: bytes) -> dict[str, list[bytes]]:
    """The fields of a multipart form, by Python's own parser."""
    head = b"Content-Type: " + headers["content-type"].encode() + b"\r\n\r\n"
    fields: dict[str, list[bytes]] = {}
    for part in email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts():
        name = part.get_param("name", header="content-disposition")
        if part.get_content_type() == "message/rfc822":
            value = part.get_payload(0).as_bytes(policy=email.policy.SMTP)
        else:
            value = part.get_payload(decode=True)
        fields.setdefault(name, []).append(value)
    return fields


def bare(address: str) -> str:
    """The address of `"Name" <address>`."""
    return address.rsplit("<", 1)[-1].rstrip(">")


def name_of(to: str) -> str:
    """A vendor's ID of the message to an address. SendGrid has one ID for a call: that of its first message."""
    return f"id-{to}"


# For each: how the key is sent, the response to the probe, and the recipients of a request with the response to it.
def _sendgrid(path, headers, body):
    if path == "/v3/scopes":
        return 200, {"scopes": ["mail.send"]}, []
    message = json.loads(body)
    return 202, None, [to["email"] for one in message["personalizations"] for to in one["to"]]


def _mailgun(path, headers, body):
    if path.startswith("/v4/domains/"):
        return 200, {"domain": {"name": path.rsplit("/", 1)[-1], "state": "active"}}, []
    to = [one.decode() for one in form_fields(headers, body)["to"]]
    return 200, {"id": name_of(to[0]), "message": "Queued. Thank you."}, to


def _sparkpost(path, headers, body):
    if path.startswith("/api/v1/account"):
        return 200, {"results": {"status": "active"}}, []
    to = [one["address"]["email"] for one in json.loads(body)["recipients"]]
    return 200, {"results": {"total_rejected_recipients": 0, "total_accepted_recipients": len(to), "id": name_of(to[0])}}, to


def _elastic_email(path, headers, body):
    if path == "/v4/domains":
        return 200, [], []
    to = [bare(one) for one in json.loads(body)["Recipients"]["To"]]
    return 200, {"TransactionID": "t", "MessageID": name_of(to[0])}, to


def _postmark(path, headers, body):
    if path == "/server":
        return 200, {"ID": 1, "Name": "Shop", "DeliveryType": "Live"}, []
    messages = json.loads(body)
    to = [bare(one["To"]) for one in (messages if isinstance(messages, list) else [messages])]
    answers = [{"To": one, "MessageID": name_of(one), "ErrorCode": 0, "Message": "OK"} for one in to]
    return 200, answers if isinstance(messages, list) else answers[0], to


def _ses(path, headers, body):
    if path == "/v2/email/account":
        quota = {"Max24HourSend": 50_000.0, "MaxSendRate": 5_000.0, "SentLast24Hours": 0.0}
        return 200, {"SendingEnabled": True, "ProductionAccessEnabled": True, "EnforcementStatus": "HEALTHY", "SendQuota": quota}, []
    to = json.loads(body)["Destination"]["ToAddresses"]
    return 200, {"MessageId": name_of(to[0])}, to


def _gmail(path, headers, body):
    if path.startswith("/gmail/v1/users/me/profile"):
        return 200, {"emailAddress": "ann@shop.example"}, []
    to = bare(email.message_from_bytes(body)["To"])
    return 200, {"id": name_of(to), "threadId": "1"}, [to]


def _plugin(path, headers, body):
    if path == "/probe":
        return 200, {"ready": True}, []
    messages = json.loads(body)["messages"]
    outcomes = [{"id": one["id"], "outcome": "accepted", "reply": name_of(one["recipient"])} for one in messages]
    return 200, {"outcomes": outcomes}, [one["recipient"] for one in messages]


def _brevo(path, headers, body):
    if path == "/v3/account":
        return 200, {"email": "a@b.example", "relay": {"enabled": True}}, []
    message = json.loads(body)
    versions = message.get("messageVersions") or [message]
    to = [one["email"] for version in versions for one in version["to"]]
    ids = [name_of(one) for one in to]
    return 201, {"messageIds": ids} if len(ids) > 1 else {"messageId": ids[0]}, to


def _basic(key):
    return "Basic " + base64.b64encode(f"api:{key}".encode()).decode()


# Type: the header of the key, what stands in it, and the answers; the Secret's key; the refusal of a wrong key.
VENDORS = {
    "sendgrid": ("authorization", lambda key: f"Bearer {key}", _sendgrid, "apiKey", {"errors": [{"message": "The provided authorization grant is invalid, expired, or revoked", "field": None}]}),
    "mailgun": ("authorization", _basic, _mailgun, "apiKey", {"message": "Invalid private key"}),
    "sparkpost": ("authorization", lambda key: key, _sparkpost, "apiKey", {"errors": [{"message": "Unauthorized."}]}),
    "elasticEmail": ("x-elasticemail-apikey", lambda key: key, _elastic_email, "apiKey", {"Error": "APIKey Expired"}),
    "postmark": ("x-postmark-server-token", lambda key: key, _postmark, "serverToken", {"ErrorCode": 10, "Message": "Bad or missing Server API token."}),
    "brevo": ("api-key", lambda key: key, _brevo, "apiKey", {"code": "unauthorized", "message": "Key not found"}),
}
# Types with judges of their own, as far as a campaign over many types needs them.
MORE = {
    "ses": ("authorization", lambda key: f"AWS4-HMAC-SHA256 Credential={key}/", _ses, "accessKeyId secretAccessKey", {"message": "The security token included in the request is invalid."}),
    "gmail": ("authorization", lambda key: f"Bearer {key}", _gmail, "clientId clientSecret refreshToken", {"error": {"code": 401, "message": "Invalid Credentials"}}),
    "plugin": ("authorization", lambda key: f"Bearer {key}", _plugin, "token", {"error": "unknown token"}),
}
# What a spec needs beside secretRef and endpoint.
SPEC = {"mailgun": {"domain": "mg.shop.example"}, "ses": {"region": "eu-west-1"}, "gmail": {"user": "ann@shop.example", "via": "Api"}}


# Our reference to a message, in whichever form a vendor's metadata have.
REFERENCE = re.compile(rb"(?:reference\\?\"?\W+(?:Value\W+)?|ref=)([0-9a-f]{1,8}(?:-[0-9a-f]{1,8}){3})\b")


class Vendor(JsonServer):
    """One vendor's API on a local port."""

    def __init__(self, kind: str, key: str = "key-0123456789"):
        self.kind, self.key, self.is_revoked = kind, key, False
        self.requests: list[tuple[str, str, dict, bytes]] = []
        self.taken: Counter = Counter()
        self.refused = 0
        # Called with each request before it is answered.
        self.watch = None
        self.lock = threading.Lock()
        self.call = threading.local()
        super().__init__()

    def fields(self, status: int) -> dict[str, str]:
        """SendGrid returns a message's ID in a header."""
        return {"X-Message-Id": name_of(self.call.to[0])} if status == 202 else {}

    def handle(self, method: str, path: str, headers: dict, body: bytes) -> tuple[int, object]:
        """Checks the key, accepts the messages, and answers."""
        name, form, answers, _, refusal = (VENDORS | MORE)[self.kind]
        if path == "/token":
            return 200, {"access_token": self.key, "expires_in": 3600}
        with self.lock:
            self.requests.append((method, path, headers, body))
            if self.watch:
                self.watch(method, path, headers, body)
            # A signature follows the key's ID; elsewhere the header is the key.
            known = headers.get(name, "")[: len(form(self.key)) if self.kind == "ses" else None]
            if self.is_revoked or known != form(self.key):
                self.refused += 1
                return 401, refusal
            status, value, to = answers(path, headers, body)
            self.call.to = to
            self.took(to)
            return status, value

    def references(self) -> list[bytes]:
        """The references to messages that requests had, each once."""
        return sorted({found for *_, body in self.requests for found in REFERENCE.findall(body)})

    def took(self, to: list[str]):
        """Called before the response, for one request at a time, with its recipients."""
        self.taken.update(to)

    def names(self, to: list[str]) -> list[str]:
        """The IDs of a call's messages."""
        return [name_of(to[0] if self.kind == "sendgrid" else one) for one in to]

    def spec(self, **more) -> dict:
        """The provider of a SendingServer that uses it."""
        address = {"url": self.base} if self.kind == "plugin" else {"endpoint": self.base}
        if self.kind == "gmail":
            address["tokenUrl"] = f"{self.base}/token"
        return {self.kind: {"secretRef": {"name": self.kind.lower()}, **address, **SPEC.get(self.kind, {}), **more}}

    def secret(self) -> dict:
        """The Secret of that server."""
        values = {name: self.key for name in (VENDORS | MORE)[self.kind][3].split()}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": self.kind.lower()}, "stringData": values}

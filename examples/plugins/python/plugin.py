#!/usr/bin/env python3
"""A plugin for Mailfleet with Python's standard library: writes messages as .eml files, or sends them to an SMTP relay.

    PLUGIN_TOKEN=secret python3 plugin.py --port 8025 --folder mails

`config` of the SendingServer: `relay: host:port` hands messages to that relay instead. The contract is docs/plugin/openapi.yaml;
`mailfleet plugin check http://127.0.0.1:8025 --token-file FILE` checks it.
"""

import argparse
import base64
import binascii
import hmac
import json
import os
import smtplib
import threading
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REQUEST_MAX = 64 << 20
# How many answers are remembered, so that a repeated request is not carried out again.
ANSWERS_MAX = 10_000


class Refusal(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Plugin:
    """What the plugin does, apart from HTTP."""

    def __init__(self, folder: Path, token: str):
        self.folder, self.token = folder, token
        self.answers: OrderedDict[str, dict] = OrderedDict()
        self.lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def authorize(self, header: str | None):
        """Refuses a wrong token, where one is asked for."""
        if self.token and not hmac.compare_digest((header or "").encode(), f"Bearer {self.token}".encode()):
            raise Refusal(401, "the token is missing or wrong")

    def probe(self, request: dict) -> dict:
        """Whether messages could be sent now."""
        if relay := request["config"].get("relay"):
            try:
                with self.connect(relay) as smtp:
                    smtp.noop()
            except (OSError, smtplib.SMTPException) as error:
                reason = {"reason": "ServiceNotAvailable", "message": f"the relay {relay} does not answer: {type(error).__name__}", "needsPerson": False}
                return {"ready": False, "failure": reason}
        return {"ready": True}

    def deliver(self, request: dict, key: str | None) -> dict:
        """One outcome for each message; the same for the same key."""
        if not key:
            raise Refusal(400, "Idempotency-Key is missing")
        messages = request.get("messages")
        if not isinstance(messages, list) or not messages:
            raise Refusal(400, "messages is missing")
        # One at a time: a repeated request waits for the first.
        with self.lock:
            if key not in self.answers:
                self.answers[key] = {"outcomes": [self.hand_over(message, request) for message in messages]}
                while len(self.answers) > ANSWERS_MAX:
                    self.answers.popitem(last=False)
            return self.answers[key]

    def hand_over(self, message: dict, request: dict) -> dict:
        """The outcome of one message."""
        try:
            identity, recipient = message["id"], message["recipient"]
            content = base64.b64decode(message["content"], validate=True)
        except (KeyError, TypeError, binascii.Error) as error:
            raise Refusal(400, f"a message cannot be read: {error}") from error
        if recipient.count("@") != 1 or any(character.isspace() or not character.isprintable() for character in recipient):
            return {"id": identity, "outcome": "rejected", "reply": "this is no address"}
        if request.get("dryRun"):
            return {"id": identity, "outcome": "accepted", "reply": "dry run"}
        if relay := request["config"].get("relay"):
            return {"id": identity, **self.by_smtp(relay, message, content)}
        name = f"{message.get('messageId') or identity}-{recipient}".replace("/", "_")[:200]
        new = self.folder / f".{name}.new"
        new.write_bytes(content)
        new.replace(self.folder / f"{name}.eml")
        return {"id": identity, "outcome": "accepted", "reply": f"written to {name}.eml"}

    @staticmethod
    def connect(relay: str) -> smtplib.SMTP:
        host, _, port = relay.partition(":")
        return smtplib.SMTP(host, int(port or 25), timeout=20)

    def by_smtp(self, relay: str, message: dict, content: bytes) -> dict:
        """Hands a message to a relay."""
        try:
            smtp = self.connect(relay)
        except (OSError, smtplib.SMTPException) as error:
            return {"outcome": "failed", "failure": {"reason": "ServiceNotAvailable", "message": f"the relay {relay} does not answer: {type(error).__name__}"}}
        try:
            with smtp:
                smtp.sendmail(message["mailFrom"], [message["recipient"]], content)
        except smtplib.SMTPRecipientsRefused as error:
            code, words = next(iter(error.recipients.values()))
            return {"outcome": "rejected" if code >= 500 else "deferred", "reply": f"{code} {words.decode(errors='replace')}"}
        except smtplib.SMTPResponseException as error:
            return {"outcome": "rejected" if error.smtp_code >= 500 else "deferred", "reply": f"{error.smtp_code} {error.smtp_error!r}"}
        except (OSError, smtplib.SMTPException) as error:
            return {"outcome": "unknown", "failure": {"reason": "ServiceNotAvailable", "message": f"the relay {relay} broke off: {type(error).__name__}"}}
        return {"outcome": "accepted", "reply": f"taken by {relay}"}


def handler(plugin: Plugin):
    """The HTTP side of a plugin."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_POST(self):
            try:
                length = int(self.headers.get("content-length") or -1)
                if not 0 <= length <= REQUEST_MAX:
                    self.close_connection = True
                    raise Refusal(400, "Content-Length is missing, or more than 64 MiB")
                body = self.rfile.read(length)
                plugin.authorize(self.headers.get("authorization"))
                try:
                    request = json.loads(body)
                except ValueError as error:
                    raise Refusal(400, "the body is not JSON") from error
                if not isinstance(request, dict) or request.get("contract") != "v1":
                    raise Refusal(400, "the contract is not v1")
                request.setdefault("config", {})
                if self.path.endswith("/probe"):
                    self.answer(200, plugin.probe(request))
                elif self.path.endswith("/deliver"):
                    self.answer(200, plugin.deliver(request, self.headers.get("idempotency-key")))
                else:
                    raise Refusal(404, "there are /probe and /deliver")
            except Refusal as refusal:
                self.answer(refusal.status, {"error": {"message": str(refusal)}})

        def answer(self, status: int, value: dict):
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    return Handler


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8025)
    parser.add_argument("--folder", type=Path, default=Path("mails"))
    options = parser.parse_args()
    plugin = Plugin(options.folder, os.environ.get("PLUGIN_TOKEN", ""))
    server = ThreadingHTTPServer(("127.0.0.1", options.port), handler(plugin))
    server.daemon_threads = True
    print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()

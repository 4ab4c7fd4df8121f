"""What comes back from people while a campaign is sent: they leave by the link of their message, or their mail bounces.

It is told until it is taken, also over restarts of Mailfleet, as a mail program and a relay do.
"""

import email
import email.policy
import http.client
import smtplib
import threading
import time

from .process import free_port
from .report import require
from .scripted import Scripted

PUBLIC = "https://news.example.com"
FORM = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "Mozilla/5.0"}
NOTICE = """From: MAILER-DAEMON@relay.example
To: {sender}
Subject: Undelivered Mail Returned to Sender
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

I could not deliver your mail.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example

Final-Recipient: rfc822; {recipient}
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <{recipient}>: no such user

--b--
"""


class Returns:
    """Of each tenth message that the relays took, one event, by turns a one-click unsubscription and a notification of a bounce."""

    def __init__(self, relays: list[Scripted]):
        self.relays = relays
        self.public, self.bounces = free_port(), free_port()
        # Recipient to the kind of the event that was taken.
        self.taken: dict[str, str] = {}
        self.refused: list[str] = []
        self.unsigned = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def options(self) -> list[str]:
        """Those of `mailfleet run` by which it is reached."""
        return ["--public-url", PUBLIC, "--public-address", f"127.0.0.1:{self.public}", "--bounce-address", f"127.0.0.1:{self.bounces}"]

    def wanted(self) -> int:
        """How many events there are to be told, of different people."""
        return len({mail[1] for relay in self.relays for mail in relay.mails[9::10]})

    def stop(self):
        """Tells nothing more."""
        self._over.set()
        self._thread.join(30)

    def _run(self):
        seen = [0] * len(self.relays)
        while not self._over.is_set():
            for at, relay in enumerate(self.relays):
                while len(relay.mails) >= seen[at] + 10 and not self._over.is_set():
                    sender, recipient, content = relay.mails[seen[at] + 9]
                    seen[at] += 10
                    # A person whose message was sent again has told already.
                    if recipient not in self.taken:
                        self._tell(sender, recipient, content, len(self.taken) % 2 == 0)
            time.sleep(0.01)

    def _tell(self, sender: str, recipient: str, content: bytes, leaves: bool):
        self.unsigned += not content.startswith(b"DKIM-Signature:")
        while not self._over.is_set():
            try:
                code = self._leave(content) if leaves else self._bounce(sender, recipient)
            except (OSError, http.client.HTTPException, smtplib.SMTPException):
                # It is killed, or starts.
                time.sleep(0.05)
                continue
            if code in (200, 250):
                self.taken[recipient] = "Unsubscribed" if leaves else "HardBounce"
            else:
                self.refused.append(f"{recipient}: {code}")
            return

    def _leave(self, content: bytes) -> int:
        message = email.message_from_bytes(content, policy=email.policy.default)
        fields = "".join(str(message["List-Unsubscribe"]).split()).split(",")
        link = next(field.strip("<>") for field in fields if field.startswith("<https:"))
        require(link.startswith(PUBLIC), link)
        connection = http.client.HTTPConnection("127.0.0.1", self.public, timeout=20)
        try:
            connection.request("POST", link.removeprefix(PUBLIC), "List-Unsubscribe=One-Click", FORM)
            return connection.getresponse().status
        finally:
            connection.close()

    def _bounce(self, sender: str, recipient: str) -> int:
        with smtplib.SMTP("127.0.0.1", self.bounces, timeout=20) as client:
            client.sendmail("", [sender], NOTICE.format(sender=sender, recipient=recipient).replace("\n", "\r\n").encode())
        return 250

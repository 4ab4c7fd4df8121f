#!/usr/bin/env python3
"""Mailfleet against real servers: Postfix with logins, greylisting, 421 and bad certificates, smtp-sink, mailpit, a Maildir.

Each case runs `mailfleet run --once` or `mailfleet test` and checks the exit code, status and what the server itself saw.
"""

import email
import email.policy
import shutil
import subprocess
from collections import Counter

from parts import fleet as fleets
from parts import policy
from parts.certificates import Authority
from parts.dovecot import Dovecot
from parts.mailpit import Mailpit
from parts.place import Place
from parts.postfix import Postfix
from parts.process import free_port
from parts.report import Cases, Shared, need, require
from parts.sinks import Sink, SmtpSink

USER, PASSWORD, TOKEN = "ann", "correct horse", "ya29.a-token"
QUICK_PROBE = {"timeout": "5s", "retryAfter": "500ms", "interval": "5s"}


class Relays(Place):
    """What the cases share: a CA, a good certificate, and a Postfix with logins."""

    def __init__(self):
        super().__init__("real")
        self.authority = Authority(self.root)
        self.good = self.authority.issue("good")
        self.shared = None

    def postfix_with_logins(self) -> Postfix:
        """A Postfix that several cases share, each with its own recipient domain."""
        need(Postfix.missing() or Dovecot.missing())
        if not self.shared:
            home = self.new("postfix")
            sasl = Dovecot(home, USER, PASSWORD, TOKEN)
            self.shared = self.stack.enter_context(Postfix(home, certificate=self.good, sasl=sasl))
        return self.shared

    def ca(self, authority=None) -> dict:
        return fleets.secret("ca", **{"ca.pem": (authority or self.authority).certificate.read_text()})


def starttls(**more) -> dict:
    return {"host": "localhost", "encryption": "StartTls", "caRef": {"name": "ca", "key": "ca.pem"}, **more}


def send(fleet, documents, audience_size=50, recipients=None, **campaign) -> tuple[int, str]:
    """Writes servers, a plan over them and a campaign, and runs them once."""
    names = [document["metadata"]["name"] for document in documents if document["kind"] == "SendingServer"]
    people = recipients or [fleets.address(number) for number in range(audience_size)]
    audience = {"inline": [{"email": address, "name": f"Person {number}"} for number, address in enumerate(people)]}
    fleet.write("all.yaml", *documents, fleets.plan("pro", *names), fleets.campaign("spring", "pro", audience, **campaign))
    return fleet.run_once()


def require_sent(fleet, result, states: dict, server="relay"):
    """The run ended with 0, everybody has the expected outcome, and the server is Active."""
    code, output = result
    require(code == 0, f"exit {code}: {output[-1500:]}")
    counts = dict(Counter(fleet.recipients("spring").values()))
    require(counts == states, f"the ledger has {counts}, expected {states}")
    if server:
        require(fleet.status("SendingServer", server).get("state") == "Active", f"{server}: {fleet.condition('SendingServer', server, 'Ready')}")


def require_delivered(postfix, addresses):
    """Each of these people got one message; others are ignored."""
    people = set(addresses)
    delivered = Counter({recipient: times for recipient, times in postfix.wait_delivered(people).items() if recipient in people})
    require(delivered == Counter(people), f"Postfix delivered {delivered.total()} messages to {len(delivered)} of {len(people)} people")


def login(place, mechanism: str, port: str = "port") -> str:
    """Logs in with a mechanism, sends 50 messages, and the mail log has each once. `mailfleet test` says the same."""
    postfix, fleet = place.postfix_with_logins(), place.fleet("login")
    people = [fleets.address(number, f"login{mechanism}-{port.replace('_', '-')}.example.com".lower()) for number in range(50)]
    already = len(postfix.log())
    values = {"token": TOKEN} if mechanism == "XOAuth2" else {"password": PASSWORD}
    auth = {"secretRef": {"name": "login"}, **({"mechanism": mechanism} if mechanism else {})}
    smtp = starttls(auth=auth, **({"encryption": "Tls"} if port == "tls_port" else {}))
    server = fleets.smtp_server("relay", getattr(postfix, port), smtp)
    documents = [place.ca(), fleets.secret("login", username=USER, **values), server]
    require_sent(fleet, send(fleet, documents, recipients=people), {"Accepted": 50})
    require_delivered(postfix, people)
    code, output = fleet.command("test", fleet.config, "--server", "relay")
    require(code == 0 and "Connection successful" in output, f"mailfleet test: exit {code}: {output[-500:]}")
    lines = postfix.log()[already:].splitlines()
    methods = Counter(line.split("sasl_method=")[1].split(",")[0] for line in lines if "sasl_method=" in line)
    require(not mechanism or set(methods) == {WIRE_NAMES[mechanism]}, f"Postfix saw {dict(methods)}")
    return ", ".join(methods)


WIRE_NAMES = {"Plain": "PLAIN", "Login": "LOGIN", "ScramSha256": "SCRAM-SHA-256", "XOAuth2": "XOAUTH2"}


def wrong_login(place, mechanism: str) -> str:
    """A wrong password: Inactive, Stalled, AuthenticationFailed, nothing sent, and the password in no output."""
    postfix, fleet = place.postfix_with_logins(), place.fleet("wrong-login")
    wrong, domain = "wr0ng-and-secret", f"wrong-{mechanism}.example.com".lower()
    auth = {"secretRef": {"name": "login"}, "mechanism": mechanism}
    values = {"token": wrong} if mechanism == "XOAuth2" else {"password": wrong}
    server = fleets.smtp_server("relay", postfix.port, starttls(auth=auth), probe=QUICK_PROBE)
    documents = [place.ca(), fleets.secret("login", username=USER, **values), server]
    result = send(fleet, documents, recipients=[fleets.address(number, domain) for number in range(50)])
    require_inactive(fleet, result, "AuthenticationFailed", stalled=True)
    code, output = fleet.command("test", fleet.config, "--server", "relay")
    require(code == 1 and "Connection failed" in output, f"mailfleet test: exit {code}: {output[-500:]}")
    statuses = "".join(path.read_text() for path in fleet.state.glob("status/*/*/*.yaml"))
    require(wrong not in output + result[1] + statuses, "the password is in the output or in a status file")
    require(domain not in postfix.log(), "a message reached the server nevertheless")
    return fleet.condition("SendingServer", "relay", "Ready")["message"]


# Relays that offer a login: one that knows this machine by its network, and one that wants the login at MAIL.
KNOWN_NETWORK = "smtpd_relay_restrictions = permit_mynetworks, reject\nsmtpd_recipient_restrictions = permit_mynetworks, reject\n"
WANTED_AT_MAIL = (
    "smtpd_delay_reject = no\nsmtpd_sender_restrictions = permit_sasl_authenticated, check_sender_access static:{530 5.7.0 Authentication required}\n"
)


def no_login(place) -> str:
    """Without a login: a relay that offers one and knows the network takes the mail; one that wants it is Inactive before anything is sent, until it has one."""
    need(Postfix.missing() or Dovecot.missing())
    home, fleet = place.new("postfix"), place.fleet("no-login")
    people = [fleets.address(number) for number in range(20)]
    with Postfix(home, certificate=place.good, sasl=Dovecot(home, USER, PASSWORD), extra=KNOWN_NETWORK) as postfix:
        server = lambda **auth: fleets.smtp_server("relay", postfix.port, starttls(**auth), probe=QUICK_PROBE)  # noqa: E731
        require_sent(fleet, send(fleet, [place.ca(), server()], recipients=people), {"Accepted": len(people)})
        require_delivered(postfix, people)
        postfix.reconfigure(WANTED_AT_MAIL)
        fleet = place.fleet("login-wanted")
        others = [fleets.address(number, "example.net") for number in range(20)]
        require_inactive(fleet, send(fleet, [place.ca(), server()], recipients=others), "AuthenticationFailed", stalled=True)
        message = fleet.condition("SendingServer", "relay", "Ready")["message"]
        require("530 5.7.0" in message and "set auth.secretRef" in message, message)
        asked = [line for line in postfix.log().splitlines() if "530 5.7.0" in line]
        require(asked and all("from=<>" in line and "to=<" not in line for line in asked), f"{asked}")
        login = fleets.secret("login", username=USER, password=PASSWORD)
        result = send(fleet, [place.ca(), login, server(auth={"secretRef": {"name": "login"}})], recipients=others)
        require_sent(fleet, result, {"Accepted": len(others)})
        require_delivered(postfix, others)
    return message


def require_inactive(fleet, result, reason: str, stalled: bool = False):
    """The run ended with 1 because its only server is Inactive for that reason."""
    code, output = result
    require(code == 1, f"exit {code} instead of 1: {output[-1000:]}")
    require(fleet.status("SendingServer", "relay").get("state") == "Inactive", "the server is not Inactive")
    ready = fleet.condition("SendingServer", "relay", "Ready")
    require(ready.get("reason") == reason, f"Ready says {ready}")
    require(not stalled or fleet.condition("SendingServer", "relay", "Stalled").get("status") == "True", "it is not Stalled")
    state = fleet.status("Campaign", "spring").get("state")
    require(state == "Scheduled", f"the campaign is {state}")
    require(fleet.condition("Campaign", "spring", "Stalled").get("reason") == "NoEligibleServer", "it does not say that it has no server")


def wrong_certificate(place, how: str) -> str:
    """Another name, expired, or issued by an unknown CA: TlsFailed, and nothing sent."""
    need(Postfix.missing())
    certificate = {
        "another name": lambda: place.authority.issue("other", "DNS:other.example"),
        "expired": lambda: place.authority.issue("old", days=-1),
        "unknown CA": lambda: Authority(place.new("ca"), "An unknown CA").issue("stranger"),
    }[how]()
    home, fleet = place.new("postfix"), place.fleet("certificate")
    with Postfix(home, certificate=certificate) as postfix:
        server = fleets.smtp_server("relay", postfix.port, starttls(), probe=QUICK_PROBE)
        require_inactive(fleet, send(fleet, [place.ca(), server]), "TlsFailed", stalled=True)
        require(not postfix.delivered(), "something was sent nevertheless")
    return fleet.condition("SendingServer", "relay", "Ready")["message"]


def no_starttls(place) -> str:
    """Nothing is sent in the clear to a server without STARTTLS."""
    need(Postfix.missing())
    fleet = place.fleet("no-starttls")
    with Postfix(place.new("postfix")) as postfix:
        server = fleets.smtp_server("relay", postfix.port, starttls(), probe=QUICK_PROBE)
        require_inactive(fleet, send(fleet, [place.ca(), server]), "StartTlsNotOffered")
        require(not postfix.delivered(), "something was sent in the clear")


def nobody_listens(place) -> str:
    """Nothing listens on the port: ConnectionRefused."""
    fleet = place.fleet("refused")
    server = fleets.smtp_server("relay", free_port(), probe=QUICK_PROBE)
    require_inactive(fleet, send(fleet, [server]), "ConnectionRefused")
    return fleet.condition("SendingServer", "relay", "Ready")["message"]


def extensions(place, without: str) -> str:
    """Everything is sent without CHUNKING or PIPELINING too."""
    need(Postfix.missing())
    fleet = place.fleet("extensions")
    with Postfix(place.new("postfix"), without=without) as postfix:
        require_sent(fleet, send(fleet, [fleets.smtp_server("relay", postfix.port)]), {"Accepted": 50})
        require_delivered(postfix, [fleets.address(number) for number in range(50)])


def greylisting(place) -> str:
    """Every recipient is deferred once, and accepted at the second attempt."""
    need(Postfix.missing())
    fleet = place.fleet("greylist")
    with Postfix(place.new("postfix"), verdict=policy.greylist()) as postfix:
        result = send(fleet, [fleets.smtp_server("relay", postfix.port)], retry={"attempts": 5, "initialDelay": "1s"})
        require_sent(fleet, result, {"Accepted": 50})
        require_delivered(postfix, [fleets.address(number) for number in range(50)])
        attempts = {row.attempts for row in fleet.rows("spring")}
        refused = postfix.log().count("Greylisted")
        require(refused == 50, f"Postfix refused {refused} times instead of 50")
    return f"attempts {sorted(attempts)}"


def greylisting_for_ever(place) -> str:
    """A recipient that is always deferred is given up after `retry.attempts`, and delays nobody else."""
    need(Postfix.missing())
    fleet = place.fleet("expired")
    with Postfix(place.new("postfix"), verdict=lambda recipient: "450 4.2.0 Later" if recipient.startswith("person1@") else "DUNNO") as postfix:
        result = send(fleet, [fleets.smtp_server("relay", postfix.port)], 10, retry={"attempts": 2, "initialDelay": "1s"})
        require_sent(fleet, result, {"Accepted": 9, "Expired": 1})


def busy(place) -> str:
    """One server answers 421 to every recipient: everything goes through the other, nothing is unknown, nobody is mailed twice."""
    need(Postfix.missing())
    fleet = place.fleet("busy")
    with Postfix(place.new("postfix"), verdict=policy.too_busy) as busy, Postfix(place.new("postfix")) as postfix:
        servers = [fleets.smtp_server(name, port, probe=QUICK_PROBE) for name, port in (("busy", busy.port), ("relay", postfix.port))]
        require_sent(fleet, send(fleet, servers), {"Accepted": 50})
        require_delivered(postfix, [fleets.address(number) for number in range(50)])
        require(not busy.delivered(), "the busy server took something")
    return f"busy: {fleet.status('SendingServer', 'busy').get('state')}, {fleet.condition('SendingServer', 'busy', 'Ready').get('message')}"


def busy_from_the_start(place) -> str:
    """A server whose greeting is 421 is Inactive: ServiceNotAvailable."""
    need(Postfix.missing())
    fleet = place.fleet("busy-greeting")
    with Postfix(place.new("postfix"), banner="421 4.3.0 Closed for maintenance") as postfix:
        server = fleets.smtp_server("relay", postfix.port, probe=QUICK_PROBE)
        require_inactive(fleet, send(fleet, [server]), "ServiceNotAvailable")
    return fleet.condition("SendingServer", "relay", "Ready")["message"]


def unknown_users(place) -> str:
    """60 of 120 recipients do not exist: they are Rejected, the others Accepted, and the server stays Active."""
    need(Postfix.missing())
    fleet = place.fleet("unknown-users")
    people = [f"{'gone' if number < 60 else 'person'}{number}@example.com" for number in range(120)]
    # Postfix's own limit of 20 errors a session applies: a relay hangs up like this after many bad addresses.
    with Postfix(place.new("postfix"), verdict=policy.unknown_users) as postfix:
        server = fleets.smtp_server("relay", postfix.port, probe=QUICK_PROBE, limits={"connections": 1})
        result = send(fleet, [server], recipients=people, whenNoServerIsActive="Wait")
        require_sent(fleet, result, {"Accepted": 60, "Rejected": 60}, server="")
        require_delivered(postfix, [address for address in people if address.startswith("person")])
        hung_up = postfix.log().count("too many errors")
    replies = [row.reply for row in fleet.rows("spring") if row.state == "Rejected"]
    require(all("550" in reply for reply in replies), f"the ledger keeps no reply: {replies[:2]}")
    return f"Postfix hung up {hung_up} times"


SENDER = "news@news.example.com"
# Mistakes in Postfix's configuration: the wrong lines, and the right ones. Each shows at RCPT TO.
SETUPS = {
    "the sender belongs to another login": (
        f"smtpd_sender_restrictions = reject_sender_login_mismatch\nsmtpd_sender_login_maps = inline:{{{{{SENDER}=bob}}}}\n",
        f"smtpd_sender_restrictions = reject_sender_login_mismatch\nsmtpd_sender_login_maps = inline:{{{{{SENDER}={USER}}}}}\n",
    ),
    "554 relay access denied": (
        "mynetworks = 192.0.2.0/24\nsmtpd_recipient_restrictions =\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n",
        "",
    ),
    "454 relay access denied": (
        "mynetworks = 192.0.2.0/24\nsmtpd_recipient_restrictions =\nsmtpd_relay_restrictions = permit_mynetworks, defer_unauth_destination\n",
        "",
    ),
    "HELO is not fully qualified": ("smtpd_helo_restrictions = reject_non_fqdn_helo_hostname\n", None),
}


def wrong_setup(place, how: str, reason: str, refusal: str) -> str:
    """Nobody is given up, the campaign says what is wrong, and once it is fixed and resumed everybody is mailed once."""
    need(Postfix.missing() or Dovecot.missing())
    home, fleet = place.new("postfix"), place.fleet("wrong-setup")
    people = [fleets.address(number, "example.com" if number % 2 else "example.org") for number in range(40)]
    wrong, right = SETUPS[how]
    has_login = "login" in wrong
    sasl = Dovecot(home, USER, PASSWORD) if has_login else None
    with Postfix(home, certificate=place.good if has_login else None, sasl=sasl, extra=wrong) as postfix:
        documents = [place.ca(), fleets.secret("login", username=USER, password=PASSWORD)] if has_login else []
        smtp = starttls(auth={"secretRef": {"name": "login"}}) if has_login else {}
        server = lambda helo: fleets.smtp_server("relay", postfix.port, {**smtp, "heloName": helo}, probe=QUICK_PROBE)  # noqa: E731
        code, output = send(fleet, [*documents, server("mailer" if right is None else "mailer.example.com")], recipients=people)
        require(code == 1, f"exit {code} instead of 1: {output[-600:]}")
        ends = Counter(fleet.recipients("spring").values())
        require(not ends.keys() - {"Held", "Deferred"} and ends.total() <= 20, f"somebody was given up, or many were tried: {dict(ends)}")
        stalled = fleet.condition("Campaign", "spring", "Stalled")
        # A refused sender is the campaign's problem; the others are the server's, whose condition the campaign repeats.
        judged = stalled if reason == "SenderRefused" else fleet.condition("SendingServer", "relay", "Routed")
        require(judged.get("reason") == reason and refusal in judged["message"], f"{judged}, and the campaign {stalled}")
        require(refusal in stalled.get("message", ""), f"the campaign does not say it: {stalled}")
        require(refusal in postfix.log() and not postfix.delivered(), "Postfix saw something else")
        if right is not None:
            postfix.reconfigure(right)
        code, output = fleet.command("resume", "spring", "--state", fleet.state)
        require(code == 0, f"resume: exit {code}: {output}")
        require_sent(fleet, send(fleet, [*documents, server("mailer.example.com")], recipients=people), {"Accepted": len(people)})
        require_delivered(postfix, people)
    return f"{ends.total()} tried, {judged['reason']}; fixed, all {len(people)} once"


def oversized(place) -> str:
    """A message larger than the server's SIZE is not sent."""
    need(Postfix.missing())
    fleet = place.fleet("oversized")
    with Postfix(place.new("postfix"), extra="message_size_limit = 20000\n") as postfix:
        content = {"text": "Dear {{ name }},\n" + "this is a long line of the news.\n" * 2000}
        result = send(fleet, [fleets.smtp_server("relay", postfix.port, probe=QUICK_PROBE)], 5, content=content)
        code, output = result
        require(code == 1 and "No message was accepted" in output, f"exit {code}: {output[-400:]}")
        states = fleet.recipients("spring").values()
        require(sorted(states) == ["Rejected"] * 5, f"{states}")
        require(not postfix.delivered(), "it was sent")


def few_connections(place, recipients: int) -> str:
    """A server that takes 1 or 3 connections at a time, with each set of extensions: everybody is mailed once, and it stays Active."""
    need(Postfix.missing())
    told = []
    for most in (1, 3):
        # Without a setting the number adapts; 10 is too many.
        for without, connections in (("chunking,pipelining", 10), ("chunking", 10), ("", 10), ("chunking", None)):
            fleet = place.fleet(f"few-connections-{most}-{without.replace(',', '-') or 'none'}-{connections}")
            limit = f"smtpd_client_connection_count_limit = {most}\nsmtpd_client_event_limit_exceptions =\n"
            with Postfix(place.new("postfix"), without=without, extra=limit) as postfix:
                limits = {"limits": {"connections": connections}} if connections else {}
                server = fleets.smtp_server("relay", postfix.port, probe=QUICK_PROBE, **limits)
                require_sent(fleet, send(fleet, [server], recipients), {"Accepted": recipients})
                require_delivered(postfix, [fleets.address(number) for number in range(recipients)])
                told.append(postfix.log().count("Connection concurrency limit exceeded"))
    require(any(told), "Postfix refused no connection")
    return f"Postfix refused {', '.join(map(str, told))} connections, and took {recipients:,} messages each time"


def to_smtp_sink(place) -> str:
    """1,000 messages to postfix's smtp-sink."""
    need(SmtpSink.missing())
    fleet = place.fleet("smtp-sink")
    with SmtpSink(fleet.folder) as sink:
        require_sent(fleet, send(fleet, [fleets.smtp_server("relay", sink.port)], 1000), {"Accepted": 1000})


def send_to(place) -> str:
    """A test message to one address by `mailfleet test --send-to`."""
    fleet = place.fleet("send-to")
    with Sink(place.program, fleet.folder) as sink:
        fleet.write("all.yaml", fleets.smtp_server("relay", sink.port), fleets.plan("pro", "relay"))
        code, output = fleet.command("test", fleet.config, "--server", "relay", "--send-to", "me@example.com")
        require(code == 0, f"exit {code}: {output[-500:]}")
        require(sink.taken() == Counter({"me@example.com": 1}), f"the server has {dict(sink.taken())}")
    return "one message"


NEWS = {
    "subject": "Grüße an {{ name }} – {{ city }}",
    "content": {
        "text": "Liebe/r {{ name }},\n\n.a line with a dot\nFrom the first\n" + "x" * 1200 + "\nunsubscribe?\n",
        "html": "<p>Liebe/r <b>{{ name }}</b> &amp; alle in {{ city }}</p>\n<p>" + "ü" * 600 + "</p>",
    },
    "headers": [{"name": "List-Id", "value": "News for {{ city }} <news.example.com>"}],
    "unsubscribe": {"url": "https://news.example.com/leave?who={{ email|urlencode }}", "oneClick": {}},
}
PEOPLE = [
    {"email": "ann@example.com", "name": "Ann", "city": "Köln"},
    {"email": "bo@example.com", "name": "Bo <b>\"Ø\"</b>", "city": "Zürich"},
    {"email": "eve@example.com", "name": "Eve\r\nBcc: all@example.com", "city": "東京"},
]


def sendmail(place) -> str:
    """Postfix's own sendmail: each message is in its queue, even while Postfix is down; and only allowed programs run."""
    need(Postfix.missing())
    home = place.new("sendmail")
    with Postfix(home) as postfix:
        # The program must use this Postfix and not the system's.
        program = home / "sendmail"
        program.write_text(f'#!/bin/sh\nMAIL_CONFIG={home}/etc exec {shutil.which("sendmail", path="/usr/sbin:/usr/lib:/usr/bin")} "$@"\n')
        program.chmod(0o755)
        server = fleets.resource("SendingServer", "relay", {"provider": {"sendmail": {"path": str(program)}}, "probe": QUICK_PROBE})
        people = [fleets.address(number) for number in range(100)] + ["\"a, b\"@example.com", "o'neil+x@example.com"]
        refused = fleets.Fleet(home / "refused", place.program)
        refused.write("all.yaml", server)
        code, text = refused.command("test", refused.config)
        require(code == 1 and "--allow-sendmail" in text, text)
        fleet = fleets.Fleet(home / "fleet", place.program, "--allow-sendmail", str(program))
        require_sent(fleet, send(fleet, [server], recipients=people), {"Accepted": len(people)})
        require_delivered(postfix, people)
        subprocess.run(["postfix", "-c", str(home / "etc"), "stop"], check=True, capture_output=True, timeout=60)
        later = [fleets.address(number, "later.example") for number in range(30)]
        again = fleets.Fleet(home / "again", place.program, "--allow-sendmail", str(program))
        require_sent(again, send(again, [server], recipients=later), {"Accepted": len(later)})
        require(not set(later) & set(postfix.delivered()), "delivered by a Postfix that is down")
        subprocess.run(["postfix", "-c", str(home / "etc"), "start"], check=True, capture_output=True, timeout=60)
        require_delivered(postfix, later)
    return f"{len(people)} people once, {len(later)} more from the queue once Postfix was up"


def news_fleet(place, name, server):
    fleet = place.fleet(name)
    campaign = fleets.campaign("spring", "pro", {"inline": PEOPLE}, **NEWS)
    fleet.write("all.yaml", server, fleets.plan("pro", "relay"), campaign)
    code, output = fleet.run_once()
    require(code == 0, f"exit {code}: {output[-1000:]}")
    return fleet


def check_message(message: email.message.EmailMessage, person: dict):
    """What Python's email package reads must be what the campaign says."""
    require(not message.defects, f"defects: {message.defects}")
    one_line = " ".join(person["name"].split())
    subject = " ".join(str(message["Subject"]).split())
    require(subject == f"Grüße an {one_line} – {person['city']}", f"subject {subject!r}")
    require(message["To"].addresses[0].addr_spec == person["email"], f"To {message['To']}")
    require(message["From"].addresses[0].addr_spec == "news@news.example.com", f"From {message['From']}")
    require(message["Bcc"] is None, "a header field was injected")
    for field in ("Date", "Message-ID", "MIME-Version", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Id"):
        require(len(message.get_all(field, [])) == 1, f"{field}: {message.get_all(field)}")
    require(message["Date"].datetime is not None, f"Date {message['Date']}")
    require("".join(str(message["List-Unsubscribe"]).split()).startswith("<https://news.example.com/leave?who="), str(message["List-Unsubscribe"]))
    require(message.get_content_type() == "multipart/alternative", message.get_content_type())
    text, html = (message.get_body((kind,)).get_content().replace("\r\n", "\n") for kind in ("plain", "html"))
    lines = text.split("\n")
    for line in (".a line with a dot", "From the first", "x" * 1200, "unsubscribe?"):
        require(line in lines, f"the text lacks {line[:30]!r}")
    require("ü" * 600 in html and person["city"] in html, "the HTML lacks its letters")
    require("<b>\"Ø\"" not in html, "the recipient's name was not escaped in the HTML")
    for part in message.walk():
        require(not part.defects, f"{part.get_content_type()}: {part.defects}")


def check_lines(raw: bytes):
    """RFC 5322, 2.1.1: lines of 998 bytes at most, ended with CRLF."""
    require(b"\n" not in raw.replace(b"\r\n", b""), "a bare line feed")
    longest = max(len(line) for line in raw.split(b"\r\n"))
    require(longest <= 998, f"a line of {longest} bytes")


def read_back(place) -> str:
    """Through mailpit: subject, bodies and headers as a mail client sees them."""
    need(Mailpit.missing())
    with Mailpit(place.new("mailpit")) as mailpit:
        news_fleet(place, "mailpit", fleets.smtp_server("relay", mailpit.port))
        messages = {message["To"][0]["Address"]: message["ID"] for message in mailpit.messages()}
        require(set(messages) == {person["email"] for person in PEOPLE}, f"mailpit has {sorted(messages)}")
        for person in PEOPLE:
            identity = messages[person["email"]]
            seen = mailpit.message(identity)
            expected = f"Grüße an {' '.join(person['name'].split())} – {person['city']}"
            require(" ".join(seen["Subject"].split()) == expected, f"subject {seen['Subject']!r}")
            require(seen["From"]["Name"] == "Example News", f"from {seen['From']}")
            require("ü" * 600 in seen["HTML"], "the HTML lacks its letters")
            require("\n.a line with a dot" in seen["Text"].replace("\r\n", "\n"), "the dot at the beginning of a line")
            check_message(email.message_from_bytes(mailpit.raw(identity), policy=email.policy.default), person)
            require(any("<https://" in value for value in mailpit.headers(identity)["List-Unsubscribe"]), "List-Unsubscribe")
    return f"{len(PEOPLE)} messages"


def maildir(place) -> str:
    """The outbox is a Maildir whose messages Python's email package reads without a defect."""
    server = fleets.resource("SendingServer", "relay", {"provider": {"outbox": {}}})
    fleet = news_fleet(place, "outbox", server)
    box = fleet.state / "outbox/default/relay"
    require(sorted(path.name for path in box.iterdir()) == ["cur", "new", "tmp"], f"{box} is no Maildir")
    require(not list((box / "tmp").iterdir()), "tmp is not empty")
    people = {person["email"]: person for person in PEOPLE}
    paths = list((box / "new").iterdir())
    require(len(paths) == len(people), f"{len(paths)} files")
    identities = set()
    for path in paths:
        raw = path.read_bytes()
        # In a Maildir lines end as on this system or as on the wire.
        wire = raw if b"\r\n" in raw else raw.replace(b"\n", b"\r\n")
        check_lines(wire)
        message = email.message_from_bytes(raw, policy=email.policy.default)
        check_message(message, people[message["To"].addresses[0].addr_spec])
        identities.add(message["Message-ID"])
    require(len(identities) == len(people), "two messages have the same Message-ID")
    return f"{len(paths)} messages"


def dry_run(place) -> str:
    """`run --dry-run` sends every server's mail to an outbox and nothing to the server."""
    fleet = place.fleet("dry-run")
    with Sink(place.program, fleet.folder) as sink:
        audience = {"inline": PEOPLE}
        fleet.write("all.yaml", fleets.smtp_server("relay", sink.port), fleets.plan("pro", "relay"), fleets.campaign("spring", "pro", audience))
        code, output = fleet.run_once("--dry-run")
        require(code == 0, f"exit {code}: {output[-1000:]}")
        require(sink.count()["accepted"] == 0, "the server got messages")
        files = list(fleet.state.glob("**/new/*"))
        require(len(files) == len(PEOPLE), f"{len(files)} files in the outbox")
    return f"{len(files)} previews"


def main():
    cases = Cases(__doc__)
    cases.option("--quick", action="store_true", help="500 instead of 2,000 messages to servers that take few connections")
    quick = cases.parse().quick
    place = Shared(Relays)
    for mechanism in WIRE_NAMES:
        cases.add(f"login with {mechanism} over STARTTLS", login, place, mechanism)
    cases.add("login with the strongest mechanism", login, place, "")
    cases.add("login over TLS from the first byte", login, place, "Plain", "tls_port")
    for mechanism in WIRE_NAMES:
        cases.add(f"wrong login {mechanism}", wrong_login, place, mechanism)
    for how in ("another name", "expired", "unknown CA"):
        cases.add(f"certificate: {how}", wrong_certificate, place, how)
    cases.add("no login given", no_login, place)
    cases.add("no STARTTLS offered", no_starttls, place)
    cases.add("nobody listens", nobody_listens, place)
    for without in ("chunking", "chunking,pipelining"):
        cases.add(f"Postfix without {without}", extensions, place, without)
    cases.add("greylisting", greylisting, place)
    cases.add("greylisting forever", greylisting_for_ever, place)
    cases.add("421 to every recipient", busy, place)
    cases.add("421 in the greeting", busy_from_the_start, place)
    cases.add("550 for the first half of the recipients", unknown_users, place)
    for how, reason, refusal in (
        ("the sender belongs to another login", "SenderRefused", "553 5.7.1"),
        ("554 relay access denied", "RelayDenied", "554 5.7.1"),
        ("454 relay access denied", "RelayDenied", "454 4.7.1"),
        ("HELO is not fully qualified", "HeloRefused", "504 5.5.2"),
    ):
        cases.add(f"set-up: {how}", wrong_setup, place, how, reason, refusal)
    cases.add("larger than SIZE", oversized, place)
    cases.add("fewer connections than limits.connections", few_connections, place, 500 if quick else 2000)
    cases.add("smtp-sink", to_smtp_sink, place)
    cases.add("mailfleet test --send-to", send_to, place)
    cases.add("sendmail of Postfix", sendmail, place)
    cases.add("read back through mailpit", read_back, place)
    cases.add("outbox Maildir", maildir, place)
    cases.add("dry run", dry_run, place)
    cases.end()


if __name__ == "__main__":
    main()

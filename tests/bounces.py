#!/usr/bin/env python3
"""A bounce's whole round: Mailfleet to a real Postfix that takes everything and bounces it later, the notification back to Mailfleet.

Half of the people are given up by that Postfix itself (a transport that fails), half are refused by a second one behind it. The
notifications come to the listener by LMTP and by SMTP, or into a mailbox of Dovecot that is read over IMAP. Mailfleet is killed
(SIGKILL) while they arrive, and starts again; every one of them is in the ledger at the end.
"""

import base64
import contextlib
import imaplib
import os
import smtplib
import threading
import time

from parts import fleet as fleets
from parts import ledgerfile
from parts.certificates import Authority
from parts.dovecot import Mailbox
from parts.postfix import Postfix
from parts.process import folder, free_port, wait_until
from parts.report import Cases, need, require

RETURN_PATH = "bounces.shop.example"
USER, PASSWORD = "bounces@shop.example", "bounce-Mailbox-7"
# Kept and tried again within seconds: the other Postfixes of the suites give their bounces up at once.
QUEUE = "bounce_queue_lifetime = 1h\nmaximal_queue_lifetime = 1h\nminimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n"
REFUSING = "smtpd_recipient_restrictions = check_recipient_access inline:{{full.example = 552 5.2.2 Mailbox full}}, reject_unlisted_recipient\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\nmydestination = refused.example, full.example\nlocal_recipient_maps = inline:{someone=x}\n"


# Programs that fail: no such user, no permission (sysexits.h). Recipients of `error:` would be refused at once.
FAILING = "unknown unix - n n - - pipe user=nobody argv=/bin/sh -c {exit 67}\nforbidden unix - n n - - pipe user=nobody argv=/bin/sh -c {exit 77}\n"


def transports(refusing: int, back: str) -> str:
    """Where the first Postfix sends what: some to nowhere, some to the second, bounces back."""
    table = {
        "gone.example": "unknown:",
        "policy.example": "forbidden:",
        "refused.example": f"smtp:[127.0.0.1]:{refusing}",
        "full.example": f"smtp:[127.0.0.1]:{refusing}",
        RETURN_PATH: back,
    }
    return "transport_maps = inline:{" + ", ".join(f"{{{domain} = {transport}}}" for domain, transport in table.items()) + "}\n"


def people(count: int) -> dict[str, str]:
    """Address to what comes of it."""
    kinds = [("gone.example", "HardBounce"), ("refused.example", "HardBounce"), ("policy.example", "SoftBounce"), ("full.example", "SoftBounce")]
    # Most are hard, so that most are suppressed.
    pick = lambda number: kinds[number % 2] if number % 10 else kinds[2 + number // 10 % 2]  # noqa: E731
    return {fleets.address(number, pick(number)[0]): pick(number)[1] for number in range(count)}


def recorded(fleet) -> dict[str, str]:
    """Address to the kind of its event in the ledger."""
    return dict(ledgerfile.feedback_events(fleet.state))


def key(fleet):
    """The key of return paths; the process reads it from the state folder."""
    fleet.state.mkdir(parents=True, exist_ok=True)
    (fleet.state / "keys").write_text(f"1 {base64.b64encode(os.urandom(32)).decode()}\n")


def write(fleet, port: int, wanted: dict[str, str], feedback: dict, *others: dict):
    (fleet.config / "people.csv").write_text("email,name\n" + "".join(f"{address},A Person\n" for address in wanted))
    server = fleets.smtp_server("relay", port, limits={"connections": 4}, identity={"returnPath": RETURN_PATH}, feedback=feedback, probe={"interval": "5s"})
    fleet.write("all.yaml", *others, server, fleets.plan("pro", "relay"), fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}, whenOutcomeIsUnknown="Resend", stopWhen={"bouncePercent": "100"}))


def round_trip(fleet, relay: Postfix, wanted: dict[str, str], *options: str) -> str:
    """Sends, is killed twice while bounces arrive, and waits for the rest."""
    process = fleet.start(*options, once=False)
    kills = 0
    try:
        for share in (0.2, 0.6):
            wait_until(lambda: len(recorded(fleet)) >= share * len(wanted), 180, f"{share:.0%} of the bounces", every=0.1)
            process.kill()
            kills += 1
            time.sleep(2)
            process = fleet.start(*options, once=False)
        began = time.monotonic()
        # A Postfix that skipped a notification as "still being delivered" was seen to forget it until its queue was flushed.
        for _ in range(18):
            with contextlib.suppress(TimeoutError):
                wait_until(lambda: len(recorded(fleet)) >= len(wanted), 10, "every bounce", every=0.2)
                break
            relay.flush()
        found = recorded(fleet)
        wrong = {address: (found.get(address), kind) for address, kind in wanted.items() if found.get(address) != kind}
        require(not wrong, f"{len(wrong)} of {len(wanted)} are wrong: {list(wrong.items())[:5]}")
        suppressed = {row["email"] for row in fleet.suppressed()}
        hard = {address for address, kind in wanted.items() if kind == "HardBounce"}
        require(suppressed == hard, f"{len(suppressed)} are suppressed, not the {len(hard)} whose address is gone")
        wait_until(lambda: fleet.condition("SendingServer", "relay", "FeedbackReady").get("status") == "True", 30, "FeedbackReady")
    finally:
        process.kill()
    return f"{len(wanted)} bounces, none lost over {kills} kills, {len(hard)} people suppressed; the last ones {time.monotonic() - began:.0f} s after the last start"


def to_the_listener(program, back: str, count: int) -> str:
    need(Postfix.missing())
    home = folder(f"bounces-{back}")
    (home / "first").mkdir(), (home / "second").mkdir()
    fleet, port, wanted = fleets.Fleet(home, program), free_port(), people(count)
    key(fleet)
    transport = f"lmtp:inet:127.0.0.1:{port}" if back == "lmtp" else f"smtp:[127.0.0.1]:{port}"
    with Postfix(home / "second", extra=REFUSING) as second, Postfix(home / "first", extra=QUEUE + transports(second.port, transport), services=FAILING) as first:
        write(fleet, first.port, wanted, {"bounces": "Listener"})
        return round_trip(fleet, first, wanted, "--bounce-address", f"127.0.0.1:{port}")


def by_lmtp(program, quick: bool) -> str:
    """Notifications handed to the listener by LMTP."""
    return to_the_listener(program, "lmtp", 200 if quick else 1000)


def by_smtp(program, quick: bool) -> str:
    """The same by SMTP, as the host of an MX record gets them."""
    return to_the_listener(program, "smtp", 200 if quick else 1000)


def by_imap(program, quick: bool) -> str:
    """Notifications in a mailbox, read over IMAP with TLS, and moved away; what is no bounce stays where it is."""
    need(Postfix.missing() or Mailbox.missing())
    home = folder("bounces-imap")
    (home / "first").mkdir(), (home / "second").mkdir()
    fleet, wanted = fleets.Fleet(home, program), people(200 if quick else 1000)
    key(fleet)
    authority = Authority(home)
    with Mailbox(home, USER, PASSWORD, authority.issue("imap")) as box, Postfix(home / "second", extra=REFUSING) as second:
        delivery = f"virtual_mailbox_domains = {RETURN_PATH}\nvirtual_mailbox_base = {box.maildir.parent}\nvirtual_mailbox_maps = static:maildir/\nvirtual_uid_maps = static:{box.uid}\nvirtual_gid_maps = static:{box.gid}\n"
        with Postfix(home / "first", extra=QUEUE + delivery + transports(second.port, "virtual:"), services=FAILING) as first:
            login = fleets.secret("imap", username=USER, password=PASSWORD, ca=authority.certificate.read_text())
            imap = {"host": "localhost", "port": box.tls_port, "auth": {"secretRef": {"name": "imap"}}, "caRef": {"name": "imap", "key": "ca"}, "whenRead": "Move", "moveTo": "read"}
            write(fleet, first.port, wanted, {"mailbox": {"imap": imap}}, login)
            wait_until(lambda: box.maildir.exists(), 10, "the Maildir")
            with smtplib.SMTP("127.0.0.1", first.port, timeout=20) as client:
                client.sendmail("ann@shop.example", [f"bounces@{RETURN_PATH}"], b"Subject: A question\r\n\r\nWho reads this?\r\n")
            make_folder(box)
            told = round_trip(fleet, first, wanted)
            # Some messages were sent twice, and bounced twice.
            left, moved = len(box.mails()), len(box.mails("read"))
            require(left == 1 and moved >= len(wanted), f"{left} mails are left, {moved} were moved")
    return told


def make_folder(box: Mailbox):
    """The folder for what was read, as a person makes it."""
    client = imaplib.IMAP4("127.0.0.1", box.port)
    client.login(USER, PASSWORD)
    client.create("read")
    client.logout()


def faults_are_named(program, quick: bool) -> str:
    """A wrong password, a folder that is not there, a listener that is not started: each is in the condition, and passes once it is fixed."""
    need(Mailbox.missing())
    home = folder("bounces-faults")
    fleet, authority = fleets.Fleet(home, program), Authority(home)
    good = {"host": "localhost", "auth": {"secretRef": {"name": "imap"}}, "caRef": {"name": "imap", "key": "ca"}}
    steps = []
    with Mailbox(home, USER, PASSWORD, authority.issue("imap")) as box:
        tls, start = {"port": box.tls_port}, {"port": box.port, "encryption": "StartTls"}
        for password, feedback, reason in (
            ("wrong-Password-7", {"mailbox": {"imap": {**good, **tls}}}, "AuthenticationFailed"),
            (PASSWORD, {"mailbox": {"imap": {**good, **tls, "folder": "Nowhere"}}}, "FolderUnusable"),
            (PASSWORD, {"mailbox": {"imap": {**good, "port": box.port}}}, "TlsFailed"),
            (PASSWORD, {"bounces": "Listener"}, "NotListening"),
            (PASSWORD, {"mailbox": {"imap": {**good, **start}}}, "FeedbackRead"),
            (PASSWORD, {"mailbox": {"imap": {**good, **tls, "whenRead": "Delete"}}}, "FeedbackRead"),
        ):
            login = fleets.secret("imap", username=USER, password=password, ca=authority.certificate.read_text())
            server = fleets.smtp_server("relay", free_port(), identity={"returnPath": RETURN_PATH}, feedback=feedback)
            fleet.write("all.yaml", login, server, fleets.plan("pro", "relay"))
            process = fleet.start(once=False)
            try:
                said = lambda: fleet.condition("SendingServer", "relay", "FeedbackReady")  # noqa: E731
                wait_until(lambda: said().get("reason") == reason, 20, f"{reason} ({said()})")  # noqa: B023
                require(PASSWORD not in str(said()) and password not in process.text(), f"{said()}")
                steps.append(reason)
            finally:
                process.kill()
            (fleet.status_path("SendingServer", "relay")).unlink()
    return ", ".join(steps)


def nothing_is_relayed(program, quick: bool) -> str:
    """What is no return path of ours is refused; so are forged ones, and each connection has its bounds."""
    home, port = folder("bounces-relay"), free_port()
    fleet = fleets.Fleet(home, program)
    fleet.write("all.yaml", fleets.plan("none", "none"))
    process = fleet.start("--bounce-address", f"127.0.0.1:{port}", once=False)
    try:
        wait_until(lambda: "accepts bounces" in process.text(), 20, "the listener")
        refused = 0
        forged = [f"bounce-{'a' * 42}@{RETURN_PATH}", "ann@example.com", f"unsubscribe-{'b' * 40}@{RETURN_PATH}", "postmaster"]
        for _ in range(3):
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                client.ehlo("mx.example")
                for recipient in forged:
                    client.mail("")
                    code, words = client.rcpt(recipient)
                    require(code == 550 and b"5.1.1" in words, f"{recipient}: {code} {words}")
                    client.rset()
                    refused += 1
        stop, answered = threading.Event(), []

        def flood():
            while not stop.is_set():
                try:
                    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
                        answered.append(client.noop()[0])
                        time.sleep(0.5)
                except (OSError, smtplib.SMTPException) as error:
                    answered.append(str(error)[:40])

        threads = [threading.Thread(target=flood) for _ in range(60)]
        [thread.start() for thread in threads]
        time.sleep(2)
        stop.set()
        [thread.join() for thread in threads]
        require(any("421" in str(answer) for answer in answered) and 250 in answered, f"{set(answered)}")
    finally:
        process.kill()
    return f"{refused} recipients refused; of 60 connections of one address at a time some are told to come later"


def main():
    cases = Cases(__doc__)
    cases.option("--quick", action="store_true", help="200 bounces instead of 1,000")
    quick = cases.parse().quick
    cases.add_all((by_lmtp, by_smtp, by_imap, faults_are_named, nothing_is_relayed), fleets.binary(), quick, prefix="bounces: ")
    cases.end()


if __name__ == "__main__":
    main()

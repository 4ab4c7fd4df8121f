"""A real Postfix relay on loopback: its own configuration, queue and log in a folder; everything is discarded in the end, or stored.

Needs root, since Postfix's master does. The system's own Postfix is neither used nor touched.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from .certificates import Certificate
from .policy import Policy
from .process import answers, free_port, wait_until

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}
myhostname = localhost.localdomain
mydomain = localdomain
mynetworks = 127.0.0.0/8
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
default_transport = discard:
relay_transport = discard:
local_transport = discard:
disable_dns_lookups = yes
biff = no
bounce_queue_lifetime = 0
smtpd_recipient_restrictions = {restrictions}
smtpd_relay_restrictions = {relay}, reject
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_message_rate_limit = 0
smtpd_error_sleep_time = 0
smtpd_timeout = 60s
"""

TLS = """\
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_tls_session_cache_database =
"""

SASL = """\
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = {kind}
smtpd_sasl_path = {path}
smtpd_sasl_security_options = noanonymous
"""

# Every message into one Maildir, as a receiver stores it.
STORED = """\
default_transport = virtual:
relay_transport = virtual:
virtual_mailbox_base = {folder}/stored
virtual_mailbox_maps = static:all/
virtual_mailbox_limit = 0
virtual_minimum_uid = 1
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
"""

# service, type, private, unpriv, chroot, wakeup, maxproc, command
MASTER = """\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


def each_once(main: str) -> str:
    """main.cf with only the last line of each parameter.

    Every program of Postfix warns about a duplicate parameter. So does postlogd, on its own socket: when ten lines already
    wait there, it waits for itself forever, and so does every process that logs.
    """
    lines = [line for line in main.splitlines() if line.strip() and not line.startswith("#")]
    return "".join(f"{line}\n" for line in {line.split("=", 1)[0].strip(): line for line in lines}.values())


class Postfix:
    """The relay. `port` offers STARTTLS when there is a certificate, `tls_port` is TLS from the first byte."""

    def __init__(
        self, folder: Path, *, certificate: Certificate | None = None, sasl=None, verdict=None, without: str = "", banner: str = "", extra: str = "",
        services: str = "", stores: bool = False
    ):
        self.folder = folder
        self.port, self.tls_port = free_port(), free_port()
        self.sasl = sasl
        self.policy = Policy(verdict) if verdict else None
        restrictions = "permit_sasl_authenticated, reject" if sasl else "permit_mynetworks, reject"
        if self.policy:
            restrictions = f"check_policy_service inet:127.0.0.1:{self.policy.port}, {restrictions}"
        main = MAIN.format(folder=folder, restrictions=restrictions, relay="permit_sasl_authenticated" if sasl else "permit_mynetworks")
        if stores:
            (folder / "stored").mkdir()
            os.chown(folder / "stored", 65534, 65534)
            main += STORED.format(folder=folder)
        if certificate:
            main += TLS.format(certificate=certificate.certificate, key=certificate.key)
        if sasl:
            main += SASL.format(kind=sasl.kind, path=sasl.path)
        if banner:
            # Applied before the greeting, which then is the refusal.
            main += f"smtpd_delay_reject = no\nsmtpd_client_restrictions = check_client_access static:{{{banner}}}\n"
        keywords = f" -o smtpd_discard_ehlo_keywords={without}" if without else ""
        master = f"127.0.0.1:{self.port} inet n - n - 100 smtpd{keywords}\n"
        if certificate:
            master += f"127.0.0.1:{self.tls_port} inet n - n - 100 smtpd -o smtpd_tls_wrappermode=yes{keywords}\n"
        self.main, self.master = main, master + MASTER + services
        self._write(main + extra, self.master)
        self._postfix("start")
        wait_until(lambda: answers(self.port), 20, "Postfix's start")

    @staticmethod
    def missing() -> str:
        """What is missing; empty when nothing is."""
        if not shutil.which("postfix"):
            return "postfix (Debian: postfix)"
        return "" if os.geteuid() == 0 else "root, which Postfix's master needs"

    def _write(self, main: str, master: str):
        for name in ("etc", "queue", "data", "log"):
            (self.folder / name).mkdir(exist_ok=True)
        shutil.chown(self.folder / "data", "postfix")
        (self.folder / "etc/main.cf").write_text(each_once(main))
        (self.folder / "etc/master.cf").write_text(master)
        # Postfix reads these beside main.cf even when none of their maps is used.
        for name in ("dynamicmaps.cf", "postfix-files"):
            if Path("/etc/postfix", name).exists():
                shutil.copy(Path("/etc/postfix", name), self.folder / "etc" / name)

    def _postfix(self, word: str):
        command = ["postfix", "-c", str(self.folder / "etc"), word]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise RuntimeError(f"postfix {word}: {done.stderr or done.stdout or self.log()[-2000:]}")

    def flush(self):
        """Has it try at once what waits in its queue."""
        self._postfix("flush")

    def reconfigure(self, extra: str):
        """Replaces the lines at the end of its configuration; they apply from the next connection."""
        self._write(self.main + extra, self.master)
        self._postfix("reload")

    def log(self) -> str:
        """Its mail log."""
        path = self.folder / "log/mail.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def delivered(self) -> Counter:
        """How often each recipient's message was delivered, which here means discarded."""
        return Counter(re.findall(r"postfix/discard\[\d+\]: [0-9A-Za-z]+: to=<([^>]*)>.* status=sent", self.log()))

    def wait_delivered(self, people, seconds: float = 20) -> Counter:
        """The same once all these people have something, or what was delivered after `seconds`."""
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: set(people) <= set(self.delivered()), seconds, "the delivery", every=0.1)
        return self.delivered()

    def stored(self) -> list[Path]:
        """The files of stored messages."""
        return sorted((self.folder / "stored/all/new").glob("*"))

    def stop(self):
        self._postfix("stop")
        for part in (self.policy, self.sasl):
            if part:
                part.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

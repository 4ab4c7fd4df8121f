"""Logins for Postfix by Dovecot: PLAIN, LOGIN, SCRAM-SHA-256, and XOAUTH2 against a token server of ours. Needs root."""

import http.server
import json
import os
import shutil
import stat
import threading
import urllib.parse
from pathlib import Path

from .process import Process, answers, free_port, wait_until

CONFIGURATION = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols =
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
auth_verbose = yes
auth_mechanisms = {mechanisms}
{passdbs}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home=/nonexistent
}}
service auth {{
  unix_listener {socket} {{
    mode = 0660
    user = postfix
    group = postfix
  }}
}}
# Without this each wrong password makes the next answer some seconds slower.
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""

PASSWORDS = """\
passdb {{
  driver = passwd-file
  mechanisms = plain login scram-sha-256
  args = scheme=PLAIN username_format=%u {folder}/users
}}
"""

TOKENS = """\
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {folder}/oauth2.conf
}}
"""


MAILBOX = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap
ssl = {ssl}
{certificate}
disable_plaintext_auth = no
auth_failure_delay = 0
auth_mechanisms = plain
mail_location = maildir:{maildir}
mailbox_idle_check_interval = 1 s
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home
}}
service imap-login {{
  inet_listener imap {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""


class Tokens:
    """Says to whom a bearer token belongs, as Google's tokeninfo does."""

    def __init__(self, owners: dict[str, str]):
        self.owners = owners

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                owner = owners.get(query.get("access_token", [""])[0])
                body = json.dumps({"email": owner} if owner else {"error": "invalid_token"}).encode()
                self.send_response(200 if owner else 400)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Dovecot:
    """An authentication service on a socket in Postfix's queue folder."""

    kind, path = "dovecot", "private/auth"

    def __init__(self, folder: Path, user: str, password: str, token: str = "", mechanisms: str = "plain login scram-sha-256 xoauth2"):
        self.folder = folder / "dovecot"
        self.folder.mkdir()
        private = folder / "queue/private"
        private.mkdir(parents=True)
        private.chmod(0o700)
        shutil.chown(private, "postfix")
        socket = private / "auth"
        (self.folder / "users").write_text(f"{user}:{password}\n")
        self.tokens = Tokens({token: user}) if token else None
        passdbs = PASSWORDS.format(folder=self.folder)
        if self.tokens:
            url = f"http://127.0.0.1:{self.tokens.port}/tokeninfo?access_token="
            (self.folder / "oauth2.conf").write_text(f"tokeninfo_url = {url}\nusername_attribute = email\nintrospection_mode =\n")
            passdbs += TOKENS.format(folder=self.folder)
        else:
            mechanisms = mechanisms.replace("xoauth2", "")
        configuration = self.folder / "dovecot.conf"
        configuration.write_text(CONFIGURATION.format(folder=self.folder, mechanisms=mechanisms, passdbs=passdbs, socket=socket))
        self.process = Process(["dovecot", "-F", "-c", configuration], self.folder / "dovecot.out")

        def ready():
            if not self.process.running():
                raise RuntimeError(f"dovecot ended at once: {self.process.tail()}\n{self.log()}")
            return socket.exists() and stat.S_ISSOCK(socket.stat().st_mode)

        wait_until(ready, 20, "Dovecot's start")

    @staticmethod
    def missing() -> str:
        """What is missing; empty when nothing is."""
        if not shutil.which("dovecot"):
            return "dovecot (Debian: dovecot-core)"
        return "" if os.geteuid() == 0 else "root, which Dovecot's master needs"

    def log(self) -> str:
        """Its log."""
        path = self.folder / "dovecot.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self):
        self.process.stop()
        if self.tokens:
            self.tokens.stop()


class Mailbox:
    """One Maildir over IMAP: `port` offers STARTTLS when there is a certificate, `tls_port` is TLS from the first byte."""

    # Debian's nobody and nogroup.
    uid = gid = 65534

    def __init__(self, folder: Path, user: str, password: str, certificate=None):
        self.folder, self.maildir = folder / "imap", folder / "imap/maildir"
        self.maildir.mkdir(parents=True)
        (self.folder / "home").mkdir()
        os.chown(self.maildir, self.uid, self.gid)
        (self.folder / "users").write_text(f"{user}:{password}\n")
        self.port, self.tls_port = free_port(), free_port()
        text = MAILBOX.format(
            folder=self.folder, maildir=self.maildir, uid=self.uid, gid=self.gid, port=self.port, tls_port=self.tls_port if certificate else 0,
            ssl="yes" if certificate else "no", certificate=f"ssl_cert = <{certificate.certificate}\nssl_key = <{certificate.key}" if certificate else "",
        )  # fmt: skip
        configuration = self.folder / "dovecot.conf"
        configuration.write_text(text)
        self.process = Process(["dovecot", "-F", "-c", configuration], self.folder / "dovecot.out")
        wait_until(lambda: answers(self.port) or not self.process.running(), 20, "Dovecot's start")
        if not self.process.running():
            raise RuntimeError(f"dovecot ended at once: {self.process.tail()}")

    @staticmethod
    def missing() -> str:
        """What is missing; empty when nothing is."""
        if not Path("/usr/lib/dovecot/imap").exists():
            return "dovecot's IMAP (Debian: dovecot-imapd)"
        return Dovecot.missing()

    def mails(self, box: str = "") -> list[Path]:
        """The files of a folder's mails."""
        place = self.maildir / (f".{box}" if box else "")
        return [path for part in ("new", "cur") for path in (place / part).glob("*")]

    def stop(self):
        self.process.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

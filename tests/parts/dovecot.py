"""Logins for Postfix by Dovecot: PLAIN, LOGIN, SCRAM-SHA-256, and XOAUTH2 against a token server of ours. Needs root."""

import http.server
import json
import os
import shutil
import stat
import threading
import urllib.parse
from pathlib import Path

from .process import Process, wait_until

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

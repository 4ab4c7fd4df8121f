"""A policy service for Postfix (SMTPD_POLICY_README): the test decides its action for each recipient, and may change it."""

import socketserver
import threading


def greylist(seen=None):
    """Every recipient is deferred once."""
    seen = set() if seen is None else seen

    def verdict(recipient: str) -> str:
        if recipient in seen:
            return "DUNNO"
        seen.add(recipient)
        return "450 4.2.0 Greylisted, please try again later"

    return verdict


def too_busy(_recipient: str) -> str:
    """421: the connection is closed too."""
    return "421 4.7.0 Too busy, please try again later"


def unknown_users(recipient: str) -> str:
    """Recipients whose address begins with `gone` do not exist."""
    return "550 5.1.1 No such user" if recipient.startswith("gone") else "DUNNO"


class Policy:
    """The service on a loopback port. `verdict` maps a recipient to an access(5) action."""

    def __init__(self, verdict):
        self.verdict = verdict
        lock = threading.Lock()
        policy = self

        class Handler(socketserver.StreamRequestHandler):
            timeout = 60

            def handle(self):
                attributes = {}
                for line in self.rfile:
                    line = line.decode(errors="replace").rstrip("\n")
                    if line:
                        name, _, value = line.partition("=")
                        attributes[name] = value
                        continue
                    with lock:
                        action = policy.verdict(attributes.get("recipient", ""))
                    self.wfile.write(f"action={action}\n\n".encode())
                    attributes = {}

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

"""Servers that echo what they were given, over SMTP and as vendors' APIs, in every form in which a secret can be read.

A form is a function of the secret. Which form a server uses, and where it says it, is for whoever makes it to choose.
"""

import base64
import hashlib
import hmac
import html
import json
import quopri
import socket
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler

from .loopback import Loopback

USER = "ann@shop.example"


def _b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()


def _plain(secret: str) -> bytes:
    return f"\0{USER}\0{secret}".encode()


def _bearer(secret: str) -> bytes:
    return f"user={USER}\x01auth=Bearer {secret}\x01\x01".encode()


def _hex(text: str, between: str = "") -> str:
    return between.join(f"{byte:02x}" for byte in text.encode())


def _halves(text: str, between: str) -> str:
    return text[: len(text) // 2] + between + text[len(text) // 2 :]


# Each returns the secret; the server adds the text around it.
FORMS = {
    "raw": lambda s: s,
    "capitals": str.upper,
    "small": str.lower,
    "two lines": lambda s: _halves(s, "\n"),
    "two lines with codes": lambda s: _halves(s, "\n5.7.8 "),
    "a space within": lambda s: _halves(s, " "),
    "invisible within": lambda s: _halves(s, "\u200b"),
    "a control within": lambda s: _halves(s, "\x07"),
    "spelt": "-".join,
    "base64": lambda s: _b64(s.encode()),
    "base64, small": lambda s: _b64(s.encode()).lower(),
    "base64, unpadded": lambda s: _b64(s.encode()).rstrip("="),
    "base64 for URLs": lambda s: _url(s.encode()),
    "base64 twice": lambda s: _b64(_b64(s.encode()).encode()),
    "base64, two lines": lambda s: _halves(_b64(s.encode()), "\n"),
    "AUTH PLAIN": lambda s: _b64(_plain(s)),
    "AUTH PLAIN decoded": lambda s: _plain(s).decode(),
    "AUTH PLAIN for URLs": lambda s: _url(_plain(s)).rstrip("="),
    "AUTH PLAIN in hexadecimal": lambda s: _hex(_b64(_plain(s))),
    "AUTH XOAUTH2": lambda s: _b64(_bearer(s)),
    "Basic": lambda s: "Basic " + _b64(f"api:{s}".encode()),
    "Bearer": lambda s: f"authorization: Bearer {s}",
    "percent-encoded": lambda s: urllib.parse.quote(s, safe=""),
    "percent-encoded throughout": lambda s: "%" + _hex(s, "%"),
    "percent-encoded twice": lambda s: urllib.parse.quote(urllib.parse.quote(s, safe="")),
    "a form": urllib.parse.quote_plus,
    "quoted-printable": lambda s: quopri.encodestring(s.encode()).decode(),
    "quoted-printable throughout": lambda s: "=" + _hex(s, "=").upper(),
    "JSON": lambda s: json.dumps(s),
    "JSON twice": lambda s: json.dumps(json.dumps(s)),
    "JSON by number": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "HTML": html.escape,
    "HTML by number": lambda s: "".join(f"&#{ord(c)};" for c in s),
    "hexadecimal": _hex,
    "hexadecimal with colons": lambda s: _hex(s, ":").upper(),
    "escapes of C": lambda s: "\\x" + _hex(s, "\\x"),
    "in a long text": lambda s: "x " * 110 + s + " y" * 200,
}


def traces(secret: str) -> set[str]:
    """Traces that give the secret away in a text without spaces, in lower case."""
    # A whole form, except those within a longer one; and each of the three alignments of base64.
    whole = {form(secret) for name, form in FORMS.items() if name not in ("in a long text", "spelt")}
    for before in range(3):
        encoded = _b64(b"\0" * before + secret.encode())
        whole.add(encoded[-(-before * 8 // 6) : (before + len(secret.encode())) * 8 // 6])
    return {dense(one) for one in whole}


def dense(text: str) -> str:
    """The text in lower case, without spaces and invisible characters."""
    return "".join(c for c in text.lower() if not c.isspace() and c.isprintable())


class EchoSmtp:
    """An SMTP server that asks for a login and says `words` of it at one stage: greeting, ehlo, auth, mail, rcpt, content, taken.

    A stage may have a code: `auth 454`, `mail 421`. For SCRAM it has to know the secret before.
    """

    def __init__(self, stage: str, words: str, mechanism: str = "PLAIN", secret: str = ""):
        self.secret = secret
        self.stage, _, self.code = stage.partition(" ")
        self.words, self.mechanism = words, mechanism
        self.said = 0
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self):
        """Accepts no more connections."""
        self._listener.close()

    def _listen(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket):
        try:
            with connection:
                self._converse(connection)
        except (OSError, IndexError):
            pass

    def _converse(self, connection: socket.socket):
        reader = connection.makefile("rb")

        def answer(stage: str, usual: str, code: str) -> bool:
            """Sends the usual reply, or the echo at its stage; False when that ends the session."""
            if stage != self.stage:
                connection.sendall(f"{usual}\r\n".encode())
                return True
            self.said += 1
            code = self.code or code
            lines = f"5.7.8 you sent {self.words} to us".split("\n")
            # Whole lines: a line of a reply has 2 KiB at most.
            text = "".join(f"{code}{'-' if n + 1 < len(lines) else ' '}{line.strip(chr(13))}\r\n" for n, line in enumerate(lines))
            connection.sendall(text.encode())
            return code.startswith("2")

        if not answer("greeting", "220 echo.example ESMTP", "554"):
            return
        while line := reader.readline():
            verb, _, rest = line.decode(errors="replace").strip().partition(" ")
            match verb.upper():
                case "EHLO":
                    if not answer("ehlo", f"250-echo.example\r\n250-AUTH {self.mechanism}\r\n250 8BITMIME", "550"):
                        return
                case "AUTH":
                    # What is said is made of the secret that the test knows: it is what comes here, checked by its end.
                    if self.mechanism == "LOGIN":
                        for prompt in ("VXNlcm5hbWU6", "UGFzc3dvcmQ6"):
                            connection.sendall(f"334 {prompt}\r\n".encode())
                            reader.readline()
                    elif self.mechanism == "SCRAM-SHA-256":
                        first = base64.b64decode(rest.split(" ")[1]).decode().removeprefix("n,,")
                        challenge = f"r={first.rsplit('r=', 1)[1]}x,s={_b64(b'salt' * 4)},i=4096"
                        connection.sendall(f"334 {_b64(challenge.encode())}\r\n".encode())
                        last = base64.b64decode(reader.readline()).decode().rsplit(",p=", 1)[0]
                        if self.stage != "auth":
                            salted = hashlib.pbkdf2_hmac("sha256", self.secret.encode(), b"salt" * 4, 4096)
                            key = hmac.digest(salted, b"Server Key", "sha256")
                            proof = hmac.digest(key, f"{first},{challenge},{last}".encode(), "sha256")
                            connection.sendall(f"334 {_b64(f'v={_b64(proof)}'.encode())}\r\n".encode())
                            reader.readline()
                    if not answer("auth", "235 2.7.0 welcome", "535"):
                        return
                case "MAIL":
                    if not answer("mail", "250 2.1.0 Ok", "550") and self.code == "421":
                        return
                case "RCPT":
                    answer("rcpt", "250 2.1.5 Ok", "550")
                case "DATA":
                    connection.sendall(b"354 go\r\n")
                    while (content := reader.readline()) not in (b".\r\n", b""):
                        pass
                    if not content:
                        return
                    answer("taken" if self.stage == "taken" else "content", "250 2.0.0 Ok", "250" if self.stage == "taken" else "554")
                case "QUIT":
                    connection.sendall(b"221 bye\r\n")
                    return
                case _:
                    connection.sendall(b"250 2.0.0 Ok\r\n")


class EchoApi(Loopback):
    """A vendor's API that says `words` of the key: under `/NAME/...` as `cases[NAME]` has it, a function of method and path that
    gives status, headers and body."""

    def __init__(self, cases: dict):
        self.asked: dict[str, int] = {}
        echo = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                name, _, path = self.path.lstrip("/").partition("/")
                echo.asked[name] = echo.asked.get(name, 0) + 1
                try:
                    status, headers, text = cases[name](self.command, "/" + path, body)
                except ValueError:
                    status, headers, text = 400, {}, b"this is no JSON"
                self.send_response(status)
                for field, value in headers.items():
                    self.send_header(field, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = answer

        super().__init__(Handler)

"""An SMTP server on loopback that answers as a script says, and counts what it took: relays' own words, in any mood."""

import base64
import socket
import threading
from collections import Counter

# What a script may answer to; a script is called as `script(stage, session)` and answers a reply, or None for the usual one.
STAGES = ("greeting", "ehlo", "mail", "rcpt", "data", "content")


class Session:
    """What is known of a connection when a script is asked."""

    def __init__(self, number: int):
        self.number = number
        self.sender = self.recipient = ""
        self.content = b""
        self.accepted = 0


class Scripted:
    """The server. `taken` counts accepted messages by recipient, `asked` every RCPT by recipient."""

    def __init__(
        self,
        script=None,
        extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"),
        login: tuple[str, str] | None = None,
        port: int = 0,
    ):
        # User and password without which nothing is taken, by AUTH PLAIN.
        self.login = login
        if login:
            extensions = (*extensions, "AUTH PLAIN")
        self.script = script or (lambda stage, session: None)
        self.extensions = extensions
        self.taken, self.asked = Counter(), Counter()
        # Sender, recipient and content of each accepted message, where somebody wants to see them.
        self.mails: list[tuple[str, str, bytes]] | None = None
        self.open = self.most_open = self.sessions = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Takes no further connection."""
        # Otherwise a thread that waits in accept takes one more.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket):
        with self._lock:
            self.sessions += 1
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            session = Session(self.sessions)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._converse(connection, session)
        except OSError:
            pass
        finally:
            with self._lock:
                self.open -= 1
            connection.close()

    def _converse(self, connection: socket.socket, session: Session):
        reader = connection.makefile("rb")

        def answer(stage: str, usual: str) -> str:
            reply = self.script(stage, session) or usual
            lines = reply.split("\n")
            code = lines[0][:3]
            rest = [line if line[:3] == code else f"{code} {line}" for line in lines]
            text = "".join(f"{line[:3]}{'-' if line is not rest[-1] else ' '}{line[4:]}\r\n" for line in rest)
            connection.sendall(text.encode())
            return reply

        if not answer("greeting", "220 scripted.example ESMTP").startswith("2"):
            return
        is_recipient_good = False
        is_logged_in = self.login is None
        while line := reader.readline():
            command = line.decode("utf-8", "replace").strip()
            word = command.upper().split(" ")[0]
            if word in ("EHLO", "HELO"):
                answer("ehlo", "250 scripted.example" + "".join(f"\n250 {name}" for name in self.extensions))
            elif word == "AUTH":
                given = base64.b64decode(command.split(" ")[2] if command.count(" ") > 1 else "").decode().split("\0")[1:]
                is_logged_in = tuple(given) == self.login
                connection.sendall(b"235 2.7.0 welcome\r\n" if is_logged_in else b"535 5.7.8 Username and Password not accepted\r\n")
            elif word == "MAIL" and not is_logged_in:
                connection.sendall(b"530 5.7.0 Authentication required\r\n")
            elif word == "MAIL":
                session.sender = command[command.find("<") + 1 : command.find(">")]
                session.recipient, is_recipient_good = "", False
                reply = answer("mail", "250 2.1.0 ok")
                if reply.startswith("421"):
                    return
            elif word == "RCPT":
                session.recipient = command[command.find("<") + 1 : command.find(">")]
                with self._lock:
                    self.asked[session.recipient] += 1
                reply = answer("rcpt", "250 2.1.5 ok")
                is_recipient_good = reply.startswith("2")
                if reply.startswith("421"):
                    return
            elif word == "DATA":
                if not is_recipient_good:
                    connection.sendall(b"554 5.5.1 no valid recipients\r\n")
                    continue
                if not answer("data", "354 go ahead").startswith("3"):
                    continue
                session.content = b""
                while (line := reader.readline()) not in (b".\r\n", b""):
                    session.content += line.removeprefix(b".")
                if not line or not self._end(answer, session):
                    return
            elif word == "BDAT":
                session.content = reader.read(int(command.split(" ")[1]))
                if not is_recipient_good:
                    connection.sendall(b"503 5.5.1 no valid recipients\r\n")
                elif not self._end(answer, session):
                    return
            elif word == "RSET":
                connection.sendall(b"250 2.0.0 ok\r\n")
            elif word == "NOOP":
                connection.sendall(b"250 2.0.0 ok\r\n")
            elif word == "QUIT":
                connection.sendall(b"221 2.0.0 bye\r\n")
                return
            else:
                connection.sendall(b"502 5.5.2 not known\r\n")

    def _end(self, answer, session: Session) -> bool:
        """The whole content is here. False: the connection is over."""
        reply = answer("content", "250 2.0.0 queued")
        if reply.startswith("2"):
            session.accepted += 1
            with self._lock:
                self.taken[session.recipient] += 1
                if self.mails is not None:
                    self.mails.append((session.sender, session.recipient, session.content))
        return not reply.startswith("421")


def always(stage: str, reply: str):
    """A script that gives one reply at a stage; `{rcpt}` and `{from}` stand for the addresses."""

    def script(at, session):
        if at == stage:
            return reply.replace("{rcpt}", session.recipient).replace("{from}", session.sender)
        return None

    return script

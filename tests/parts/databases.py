"""PostgreSQL and MariaDB on loopback, each of a test's own, and a line to either that can be cut."""

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

from .cache import part
from .process import Process, answers, free_port, wait_until

USER, PASSWORD = "news", "s3cret/with@signs"
# As it is written in a URL.
QUOTED = "s3cret%2Fwith%40signs"
DATABASE = "shop"
# Debian's nobody: neither server runs as root.
NOBODY = "nobody"


def as_nobody(*words) -> list[str]:
    """A command as a user without rights."""
    return ["setpriv", f"--reuid={NOBODY}", "--regid=nogroup", "--clear-groups", "--", *map(str, words)]


def own(path: Path):
    """Gives a folder and what is in it to that user."""
    for each in (path, *path.rglob("*")):
        shutil.chown(each, NOBODY)


class Database:
    """A database server that runs until it is stopped."""

    scheme: str
    port: int
    process: Process

    def url(self, port: int = 0, password: str = QUOTED, **parameters: str) -> str:
        """Its URL, perhaps by another port."""
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"{self.scheme}://{USER}:{password}@127.0.0.1:{port or self.port}/{DATABASE}{'?' if query else ''}{query}"

    def stop(self):
        self.process.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Postgres(Database):
    """A PostgreSQL with the database and a user who may read: SCRAM-SHA-256, and TLS where there is a certificate."""

    scheme = "postgres"

    def __init__(self, folder: Path, certificate=None):
        self.folder, self.port = folder / "postgres", free_port()
        self.folder.mkdir()
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if certificate:
            for name, source in (("server.crt", certificate.certificate), ("server.key", certificate.key)):
                shutil.copy(source, self.folder / name)
                (self.folder / name).chmod(0o600)
        own(self.folder)
        data = self.folder / "data"
        initdb = [self.program("initdb"), "-D", data, "-U", "owner", "--pwfile", password, "-A", "scram-sha-256", "-E", "UTF8", "--no-locale", "--no-sync"]
        subprocess.run(as_nobody(*initdb), check=True, capture_output=True, timeout=300)
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self.folder, "fsync": "off"}
        if certificate:
            settings |= {"ssl": "on", "ssl_cert_file": self.folder / "server.crt", "ssl_key_file": self.folder / "server.key"}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.command = as_nobody(self.program("postgres"), "-D", data, *words)
        self.start()
        self.run(f"CREATE DATABASE {DATABASE}", "postgres")
        self.run(f"CREATE USER {USER} PASSWORD '{PASSWORD}'; ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO {USER}; ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO {USER}")

    def start(self):
        """Starts it, also again; returns once it answers."""
        self.process = Process(self.command, self.folder / "postgres.out")
        wait_until(lambda: answers(self.port) or not self.process.running(), 120, "PostgreSQL's start")
        wait_until(lambda: self.run("SELECT 1", "postgres", required=False).returncode == 0 or not self.process.running(), 60, "PostgreSQL answers")
        if not self.process.running():
            raise RuntimeError(f"postgres ended at once: {self.process.tail()}")

    def crash(self):
        """Ends it as a crash does: no connection is told, and it recovers at the next start."""
        self.process.signal(signal.SIGQUIT)
        self.process.wait(30)

    @staticmethod
    def program(name: str) -> str:
        """A program of the newest version."""
        found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
        return found[-1] if found else name

    @classmethod
    def missing(cls) -> str:
        """What is missing; empty when nothing is."""
        if not shutil.which("psql") or not Path(cls.program("initdb")).exists():
            return "postgresql (Debian: postgresql)"
        return "" if os.geteuid() == 0 else "root, to start PostgreSQL as another user"

    def run(self, statements: str, database: str = DATABASE, required: bool = True):
        """Runs statements as the owner."""
        words = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port), "-U", "owner", "-d", database, "-c", statements]
        return subprocess.run(words, check=required, capture_output=True, text=True, timeout=300, env={**os.environ, "PGPASSWORD": PASSWORD})


class Standby(Postgres):
    """A copy of a PostgreSQL that follows it, and without which the first one tells no commit as durable."""

    def __init__(self, folder: Path, primary: Postgres):
        self.folder, self.port = folder / "standby", free_port()
        self.folder.mkdir()
        own(self.folder)
        data = self.folder / "data"
        copy = as_nobody(self.program("pg_basebackup"), "-D", data, "-R", "-X", "stream", "-c", "fast", "-h", "127.0.0.1", "-p", primary.port, "-U", "owner", "--no-sync")
        subprocess.run(copy, check=True, capture_output=True, timeout=300, env={**os.environ, "PGPASSWORD": PASSWORD})
        self.command = [word.replace(f"port={primary.port}", f"port={self.port}").replace(str(primary.folder / "data"), str(data)) for word in primary.command]
        self.start()
        primary.run("ALTER SYSTEM SET synchronous_standby_names = '*'", "postgres")
        primary.run("SELECT pg_reload_conf()", "postgres")

    def promote(self):
        """Has it take writes."""
        self.run("SELECT pg_promote()", "postgres")


class MariaDB(Database):
    """A MariaDB with the database, tables made by `statements`, and a user who has every right on it; TLS where there is a certificate."""

    scheme = "mysql"

    def __init__(self, folder: Path, statements: str, certificate=None):
        self.folder, self.port = folder / "mariadb", free_port()
        self.folder.mkdir()
        begin = f"CREATE DATABASE {DATABASE}; CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'; GRANT ALL ON {DATABASE}.* TO {USER}@'%'; USE {DATABASE}; "
        # One statement a line, as the server reads the file.
        lines = [line.strip() for line in (begin + statements).replace("\n", " ").split(";") if line.strip()]
        (self.folder / "init.sql").write_text("".join(f"{line};\n" for line in lines))
        options = ["--no-defaults", f"--datadir={self.folder}/data", f"--tmpdir={self.folder}"]
        if certificate:
            for name, source in (("server.crt", certificate.certificate), ("server.key", certificate.key)):
                shutil.copy(source, self.folder / name)
        own(self.folder)
        install = ["mariadb-install-db", *options, "--auth-root-authentication-method=normal", "--skip-test-db", f"--user={NOBODY}"]
        subprocess.run(install, check=True, capture_output=True, timeout=300)
        tls = [f"--ssl-cert={self.folder}/server.crt", f"--ssl-key={self.folder}/server.key"] if certificate else []
        words = ["mariadbd", *options, *tls, f"--user={NOBODY}", "--bind-address=127.0.0.1", f"--port={self.port}", f"--socket={self.folder}/socket"]
        self.process = Process([*words, f"--init-file={self.folder}/init.sql", "--innodb-flush-log-at-trx-commit=0", "--character-set-server=utf8mb4"], self.folder / "mariadb.out")
        # The file is run before anybody may connect.
        wait_until(lambda: answers(self.port) or not self.process.running(), 180, "MariaDB's start")
        if not self.process.running():
            raise RuntimeError(f"mariadbd ended at once: {self.process.tail()}")

    @staticmethod
    def missing() -> str:
        """What is missing; empty when nothing is."""
        if not shutil.which("mariadbd") or not shutil.which("my_print_defaults"):
            return "mariadbd (Debian: mariadb-server-core, mariadb-client-core)"
        try:
            pwd.getpwnam(NOBODY)
        except KeyError:
            return "a user nobody"
        return "" if os.geteuid() == 0 else "root, to start MariaDB as another user"


class MySQLLogin(Database):
    """A front of a MariaDB that logs people in as MySQL 8 does, by go-mysql's server; `logins` are the kinds of those so far."""

    scheme = "mysql"

    def __init__(self, folder: Path, behind: MariaDB, certificate):
        self.port, self.output = free_port(), folder / "mysql-login.out"
        words = {"listen": f"127.0.0.1:{self.port}", "behind": f"127.0.0.1:{behind.port}", "database": DATABASE, "user": USER, "password": PASSWORD}
        words |= {"certificate": certificate.certificate, "key": certificate.key}
        self.process = Process([self.program(), *(word for name, value in words.items() for word in (f"-{name}", str(value)))], self.output)
        wait_until(lambda: answers(self.port) or not self.process.running(), 30, "the front of the database")
        if not self.process.running():
            raise RuntimeError(f"the front of the database ended at once: {self.process.tail()}")

    def logins(self) -> list[str]:
        """`full`, `cached` or `refused`, in their order."""
        return [line for line in self.output.read_text().splitlines() if line in ("full", "cached", "refused")]

    @staticmethod
    def program() -> Path:
        return part("mysql") / "front"

    @classmethod
    def missing(cls) -> str:
        """What is missing; empty when nothing is."""
        return MariaDB.missing() or ("" if cls.program().exists() else "the login of MySQL 8 (scripts/setup mysql)")


class Line:
    """A line to a port of loopback that is cut after so many bytes from there, some thousand more each time, as long as `cuts` is true."""

    def __init__(self, port: int, after: int):
        self.target, self.after, self.cuts = port, after, True
        self.was_cut = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                line, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket):
        with line, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.target), timeout=10) as other:
            other.settimeout(None)
            threading.Thread(target=self._forward, args=(line, other), daemon=True).start()
            passed = 0
            while data := other.recv(16_384):
                passed += len(data)
                # Wherever an exchange is then; a commit that ends many messages has to fit.
                if self.cuts and passed > self.after + self.was_cut * 997 % 5_000:
                    self.was_cut += 1
                    break
                line.sendall(data)
            for each in (line, other):
                each.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _forward(line: socket.socket, other: socket.socket):
        with contextlib.suppress(OSError):
            while data := line.recv(16_384):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()

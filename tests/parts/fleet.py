"""Mailfleet as its users see it: a folder of YAML in, status files and `mailfleet get` out."""

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from . import ledgerfile, statusyaml
from .cache import ROOT
from .process import Process, wait_until

# Nothing listens there: without a name server of the test's own, the records of identities are not known, and nobody else is asked.
os.environ.setdefault("MAILFLEET_RESOLVER", "127.0.0.1:9")


def is_release(program: Path) -> bool:
    """Whether it is a release build, by its path: bounds of time and memory hold for one alone."""
    return "release" in program.parts or program.name.endswith("-release")


def binary() -> Path:
    """MAILFLEET_BINARY, or the newest of the two builds."""
    if path := os.environ.get("MAILFLEET_BINARY"):
        return Path(path).resolve()
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    built = [path for path in (target / "release/mailfleet", target / "debug/mailfleet") if path.exists()]
    if not built:
        raise SystemExit("no mailfleet binary: run `make build` first, or set MAILFLEET_BINARY")
    return max(built, key=lambda path: path.stat().st_mtime)


def resource(kind: str, name: str, spec: dict, namespace: str = "") -> dict:
    """An object of one of the three kinds."""
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "mailfleet.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def smtp_server(name: str, port: int, smtp: dict | None = None, namespace: str = "", **spec) -> dict:
    """A SendingServer on a loopback port, without encryption unless `smtp` says so."""
    smtp = {"host": "127.0.0.1", "port": port, "encryption": "None", **(smtp or {})}
    return resource("SendingServer", name, {"provider": {"smtp": smtp}, **spec}, namespace)


def plan(name: str, *servers: str) -> dict:
    """A Plan that grants servers with equal weights."""
    return resource("Plan", name, {"servers": [{"name": server} for server in servers]})


def campaign(name: str, plan_name: str, audience: dict, **spec) -> dict:
    """A Campaign with a short text."""
    base = {
        "planRef": {"name": plan_name},
        "from": {"name": "Example News", "address": "news@news.example.com"},
        "subject": "Hello {{ name }}",
        "content": {"text": "Dear {{ name }},\n\nthis is the news.\n"},
        "audience": audience,
    }
    return resource("Campaign", name, {**base, **spec})


def secret(name: str, **values: str) -> dict:
    """A Secret, as a document in the folder."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def write_csv(path: Path, recipients: int):
    """An audience of `recipients` different people, with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write("email,name\n")
        file.writelines(f"{address(number)},Person {number}\n" for number in range(recipients))


def address(number: int, domain: str = "example.com") -> str:
    """The address of a person by number."""
    return f"person{number}@{domain}"


@dataclass(frozen=True)
class Recipient:
    """A row of `mailfleet get campaigns NAME --recipients`."""

    email: str
    state: str
    attempts: int
    server: str
    reply: str

    @classmethod
    def of(cls, row: dict) -> "Recipient":
        """From its JSON, whose keys were `recipient` and `tries` before."""
        email, attempts = row.get("email", row.get("recipient")), row.get("attempts", row.get("tries"))
        return cls(email, row["state"], attempts, row.get("server", ""), row.get("reply", ""))


def objects(text: str) -> list[dict]:
    """The objects of a JSON list, or of JSON Lines."""
    return json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]


class Ledger:
    """The recipients in the ledger of a state folder, or of the database that `where` names, by `mailfleet get`, which reads beside the
    process that writes."""

    def __init__(self, state: Path, program: Path, *where: str):
        self.state, self.program, self.where = state, program, where

    def _listed(self, *words: str) -> list[dict]:
        done = subprocess.run([self.program, *words, "--state", self.state, *self.where, "-o", "json"], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise LookupError(f"mailfleet {' '.join(words[:2])}: exit {done.returncode}: {done.stderr.strip()}")
        return objects(done.stdout)

    def rows(self, name: str, run: str = "first", namespace: str = "default") -> list[Recipient]:
        """Every recipient of a run.

        Raises:
            LookupError: there is no ledger, or no such run in it.
        """
        return [Recipient.of(row) for row in self._listed("get", "campaigns", name, "--namespace", namespace, "--run", run, "--recipients")]

    def ledger_runs(self) -> list[dict]:
        """Every run, with its counts. Raises LookupError without a ledger."""
        return self._listed("get", "runs")

    def suppressed(self) -> list[dict]:
        """Everybody who is not mailed, and why. Raises LookupError without a ledger."""
        return self._listed("suppressions", "list")

    def recipients(self, name: str, run: str = "first", namespace: str = "default") -> dict[str, str]:
        """The state of every recipient of a run. Raises as `rows` does."""
        return {row.email: row.state for row in self.rows(name, run, namespace)}

    def recipients_so_far(self, name: str, run: str = "first", namespace: str = "default") -> dict[str, str]:
        """The same for polling: empty while there is no ledger, or no such run in it."""
        try:
            return self.recipients(name, run, namespace)
        except LookupError:
            return {}


class Fleet(Ledger):
    """A folder of YAML and a state folder beside it."""

    def __init__(self, folder: Path, program: Path, *options: str):
        super().__init__(folder / "state", program)
        self.folder, self.options = folder, options
        self.config = folder / "config"
        self.config.mkdir(parents=True, exist_ok=True)
        self.runs = 0

    def seed(self, seed: int):
        """Creates the ledger with this seed, by a run over nothing but a plan."""
        alone = self.folder / "seed"
        alone.mkdir()
        (alone / "plan.yaml").write_text(json.dumps(plan("none", "none")))
        code, output = self.command("run", alone, "--once", "--quiet", "--state", self.state)
        if code:
            raise RuntimeError(f"the run that creates the ledger ended with {code}: {output[-1000:]}")
        ledgerfile.set_seed(self.state, seed)

    def write(self, name: str, *objects: dict):
        """Writes objects into a file of the folder, atomically. JSON is YAML."""
        text = "".join(f"---\n{json.dumps(obj, indent=1)}\n" for obj in objects)
        new = self.folder / f"{name}.new"
        new.write_text(text)
        new.replace(self.config / name)

    def start(self, *options: str, group: bool = False, once: bool = True, variables: dict | None = None) -> Process:
        """`mailfleet run`, with `--once` unless told otherwise; `variables` are added to the environment."""
        self.runs += 1
        words = [self.program, "run", self.config, "--state", self.state, *(["--once"] if once else []), *self.options, *options]
        return Process(words, self.folder / f"run-{self.runs}.out", group=group, env=os.environ | (variables or {}))

    def run_once(self, *options: str, seconds: float = 120) -> tuple[int, str]:
        """Its exit code and output once every campaign has ended."""
        process = self.start(*options)
        try:
            process.wait(seconds)
        finally:
            process.kill()
        return process.code, process.text()

    def command(self, *words, seconds: float = 60, environment: dict[str, str] | None = None) -> tuple[int, str]:
        """Another command, its exit code and output."""
        words = [str(word) for word in (self.program, *words)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL, env=environment)
        return done.returncode, done.stdout + done.stderr

    def status_path(self, kind: str, name: str, namespace: str = "default") -> Path:
        return self.state / "status" / namespace / kind / f"{name}.yaml"

    def status(self, kind: str, name: str, namespace: str = "default") -> dict:
        """The status of an object; empty before there is one."""
        try:
            text = self.status_path(kind, name, namespace).read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        return statusyaml.read(text).get("status") or {}

    def condition(self, kind: str, name: str, condition: str, namespace: str = "default") -> dict:
        """A condition of an object; empty when it is not there."""
        conditions = self.status(kind, name, namespace).get("conditions") or []
        return next((c for c in conditions if c["type"] == condition), {})

    def broken_status_files(self) -> list[str]:
        """What is wrong with status files that are not whole. A file that a kill left before its rename is not one."""
        broken = []
        for path in self.state.glob("status/*/*/[!.]*.yaml"):
            try:
                value = statusyaml.read(path.read_text(encoding="utf-8"))
                if value["kind"] != path.parent.name or value["metadata"]["name"] != path.stem:
                    broken.append(f"{path}: it is about another object")
                if not value["status"]["conditions"]:
                    broken.append(f"{path}: it has no conditions")
            except FileNotFoundError:
                continue
            except (ValueError, KeyError, TypeError) as fault:
                broken.append(f"{path}: {type(fault).__name__} {fault}")
        return broken

    def wait_state(self, kind: str, name: str, state: str, seconds: float) -> float:
        """How many seconds it took until the status file says that state."""
        begin = time.monotonic()
        wait_until(lambda: self.status(kind, name).get("state") == state, seconds, f"{kind} {name} {state}")
        return time.monotonic() - begin

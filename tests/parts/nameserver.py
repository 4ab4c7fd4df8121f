"""A real name server on loopback: Knot DNS, with zones that a test writes."""

import shutil
import subprocess
from pathlib import Path

from .process import Process, free_port, wait_until

CONFIGURATION = """\
server:
    rundir: {folder}
    listen: [ 127.0.0.1@{port} ]
    # Smaller than a long TXT record: the answer is truncated, and asked for again over TCP.
    udp-max-payload: 1232
database:
    storage: {folder}/db
log:
  - target: {folder}/knot.log
    any: info
template:
  - id: default
    storage: {folder}
    file: "%s.zone"
    semantic-checks: off
zone:
{zones}
"""

# Nothing is kept longer than a second, so that changes are seen soon.
HEAD = "$TTL 1\n@ SOA ns.invalid. hostmaster.invalid. {serial} 3600 600 86400 1\n@ NS ns.invalid.\n"


class NameServer:
    """Serves zones by name; a zone without a text cannot be loaded, and is answered with SERVFAIL."""

    def __init__(self, folder: Path, zones: dict[str, str | None]):
        self.folder, self.zones, self.port, self.serial = folder, dict(zones), free_port(), 1
        folder.mkdir(parents=True, exist_ok=True)
        self.process = None
        self.start()

    @staticmethod
    def missing() -> str:
        """What is not installed; empty if all is there."""
        return "" if shutil.which("knotd") else "knotd (Debian: knot)"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self):
        """Writes the zones and serves them."""
        self.serial += 1
        for name, text in self.zones.items():
            path = self.folder / f"{name}.zone"
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(HEAD.format(serial=self.serial) + text)
        listed = "\n".join(f"  - domain: {name}" for name in self.zones)
        configuration = self.folder / "knot.conf"
        configuration.write_text(CONFIGURATION.format(folder=self.folder, port=self.port, zones=listed))
        self.process = Process(["knotd", "-c", configuration], self.folder / "knot.out")
        served = [name for name, text in self.zones.items() if text is not None]
        wait_until(lambda: all(self.ask(name, "SOA") for name in served), 10, f"knotd serves {', '.join(served)}: {self.log()}")

    def stop(self):
        """Answers nobody any more."""
        if self.process:
            self.process.kill()
            self.process = None

    def change(self, **zones: str | None):
        """Serves other texts; `_` in a keyword stands for `.`."""
        self.stop()
        self.zones.update({name.replace("_", "."): text for name, text in zones.items()})
        self.start()

    def ask(self, name: str, kind: str, *options: str) -> str:
        """What another resolver than ours is answered: kdig's short output."""
        words = ["kdig", "+short", "+timeout=1", "+retry=0", *options, "@127.0.0.1", "-p", str(self.port), name, kind]
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
        return done.stdout.strip() if done.returncode == 0 and not done.stdout.startswith(";;") else ""

    def log(self) -> str:
        path = self.folder / "knot.log"
        return path.read_text(errors="replace")[-2000:] if path.exists() else ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

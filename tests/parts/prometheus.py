"""Prometheus: its parsers, promtool, and a server of it on loopback that scrapes and judges rules."""

import contextlib
import json
import subprocess
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from .cache import ROOT, part
from .process import Process, answers, free_port, wait_until

SCRIPT = ROOT / "tests/judges/openmetrics.py"
# What Prometheus itself asks for.
OPEN_METRICS = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.25,*/*;q=0.1"
TEXT = "text/plain;version=0.0.4"


def missing() -> str:
    """What is missing; empty when nothing is."""
    for program in (part("prometheus") / "promtool", part("python") / "bin/python"):
        if not program.exists():
            return f"{program} (scripts/setup installs it)"
    return ""


def promtool(*words, given: str | None = None, folder: Path | None = None) -> tuple[int, str]:
    """Its exit code and what it says."""
    command = [str(word) for word in (part("prometheus") / "promtool", *words)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300, cwd=folder, check=False)
    return done.returncode, done.stdout + done.stderr


def scrape(port: int, accept: str) -> tuple[str, str]:
    """The content type, and the text."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


@dataclass(frozen=True)
class Scrape:
    """The families of a scrape, as Prometheus's client for Python reads them."""

    families: list[dict]

    @classmethod
    def of(cls, text: str, form: str) -> "Scrape":
        """Reads a text. Raises RuntimeError with what the parser says."""
        words = [part("python") / "bin/python", SCRIPT, form]
        done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise RuntimeError(f"the parser refuses it: {done.stderr[-1000:]}")
        return cls(json.loads(done.stdout))

    @classmethod
    def at(cls, port: int) -> "Scrape":
        """Scrapes as Prometheus does."""
        return cls.of(scrape(port, OPEN_METRICS)[1], "openmetrics")

    def samples(self) -> dict[tuple, float]:
        """Each value by its name and labels."""
        return {(one["name"], *sorted(one["labels"].items())): one["value"] for family in self.families for one in family["samples"]}

    def value(self, name: str, **labels: str) -> float | None:
        """The value of one series; None without it."""
        return self.samples().get((name, *sorted(labels.items())))

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """The values of the series that have these labels, by one more label."""
        found = {}
        for (one, *pairs), value in self.samples().items():
            given = dict(pairs)
            if one == name and labels.items() <= given.items() and label in given:
                found[given[label]] = value
        return found


class Prometheus:
    """Prometheus itself, on loopback."""

    def __init__(self, folder: Path, target: int, rules: Path | None = None):
        self.port = free_port()
        configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "scrape_configs": [{"job_name": "mailfleet", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
            **({"rule_files": [str(rules)]} if rules else {}),
        }
        folder.mkdir(parents=True, exist_ok=True)
        # JSON is YAML.
        (folder / "prometheus.yml").write_text(json.dumps(configuration))
        words = [part("prometheus") / "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        self.process = Process([*words, f"--web.listen-address=127.0.0.1:{self.port}"], folder / "prometheus.out")
        wait_until(self.is_ready, 60, "Prometheus's start")

    def is_ready(self) -> bool:
        """Whether it has read what it stored, which nobody may ask before."""
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=30):
            return True
        return False

    def ask(self, path: str, **query: str):
        """What its API says."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str) -> list[tuple[dict, float]]:
        """The labels and values of an expression, now."""
        return [(one["metric"], float(one["value"][1])) for one in self.ask("query", query=expression)["result"]]

    def target(self) -> dict:
        """How its one target stands."""
        found = self.ask("targets")["activeTargets"]
        return found[0] if found else {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()

"""Amazon SES on loopback: moto, which verifies signatures, behind botocore, which validates requests (tests/judges/aws.py)."""

import base64
import json
import os
import subprocess
from pathlib import Path

from .cache import part
from .fleet import ROOT
from .process import free_port

SCRIPT = ROOT / "tests/judges/aws.py"
# An account with practically no limit.
ACCOUNT = {
    "SendingEnabled": True, "ProductionAccessEnabled": True, "EnforcementStatus": "HEALTHY", "DedicatedIpAutoWarmupEnabled": False,
    "SendQuota": {"Max24HourSend": 1_000_000.0, "MaxSendRate": 10_000.0, "SentLast24Hours": 0.0},
}  # fmt: skip
# No key, profile or proxy of the person who runs the tests.
FOREIGN = ("AWS_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def python() -> Path:
    """The interpreter of the environment that scripts/setup makes."""
    return part("python") / "bin/python"


def missing() -> str:
    """What is missing; empty when nothing is."""
    return "" if python().exists() else f"{python()} (scripts/setup installs it)"


def environment(**more: str) -> dict[str, str]:
    """Our environment without anybody's credentials, and without waiting for a metadata service."""
    own = {name: value for name, value in os.environ.items() if not name.upper().startswith(FOREIGN)}
    nowhere = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
    return {**own, **nowhere, "NO_PROXY": "127.0.0.1,localhost", **more}


class Ses:
    """SES in a folder of its own."""

    def __init__(self, place: Path):
        self.place = place
        self.account(ACCOUNT)
        log = (place / "aws.log").open("w")
        words = [python(), SCRIPT, "serve", place, str(free_port())]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment())
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"moto does not start: {(place / 'aws.log').read_text()[-2000:]}")
        said = json.loads(line)
        self.url, self.role = said["url"], said["role"]
        self.key = {name: said[name] for name in ("AccessKeyId", "SecretAccessKey")}

    def account(self, account: dict):
        """What GetAccount returns from now on."""
        (self.place / "account.json").write_text(json.dumps(account))

    def judged(self) -> list[dict]:
        """Every request to SES, with its violations and the status of its response."""
        path = self.place / "judged.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def sent(self) -> list[tuple[dict, bytes]]:
        """The messages that were accepted: parameters and content."""
        taken = [json.loads(one["body"]) for one in self.judged() if one["method"] == "POST" and one["status"] == 200]
        return [(one, base64.b64decode(one["Content"]["Raw"]["Data"])) for one in taken]

    def by_boto3(self, to: str, raw: bytes, tags: dict[str, str], configuration_set: str = ""):
        """The same message by the vendor's other SDK."""
        said = {"key": self.key, "to": to, "raw": base64.b64encode(raw).decode(), "tags": tags, "configurationSet": configuration_set}
        words = [python(), SCRIPT, "send", self.url]
        done = subprocess.run(words, input=json.dumps(said), capture_output=True, text=True, timeout=60, env=environment())
        if done.returncode:
            raise AssertionError(f"boto3 fails: {done.stderr[-2000:]}")

    def provider(self, **more) -> dict:
        """The provider of a SendingServer that uses it."""
        return {"ses": {"region": "eu-west-1", "endpoint": self.url, **more}}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()

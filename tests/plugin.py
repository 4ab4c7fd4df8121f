#!/usr/bin/env python3
"""Plugins: the example keeps the contract, broken ones are found, and a campaign survives a plugin that is killed."""

import importlib.util
import io
import os
import sys
import time
from collections import Counter

from parts import fleet as fleets
from parts import prism
from parts.loopback import Loopback
from parts.process import Process, answers, folder, free_port, wait_until
from parts.report import Cases, need, require

EXAMPLE = fleets.ROOT / "examples/plugins/python/plugin.py"
CONTRACT = fleets.ROOT / "docs/plugin/openapi.yaml"
TOKEN = "token-0123456789"


def example():
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("plugin_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Served(Loopback):
    """The example plugin in a thread of this process; `change` breaks it."""

    def __init__(self, home, change=None):
        module = example()
        self.plugin = module.Plugin(home / "mails", TOKEN)
        handler = module.handler(self.plugin)
        if change:
            handler = change(module, self.plugin, handler) or handler
        super().__init__(handler)
        self.url = self.base


def check(program, home, url) -> tuple[int, str]:
    """`mailfleet plugin check`."""
    fleet = fleets.Fleet(home, program)
    token = home / "token"
    token.write_text(TOKEN + "\n")
    return fleet.command("plugin", "check", url, "--token-file", token, seconds=180)


def keeps_the_contract(program) -> str:
    """The example passes every check, and nothing is sent."""
    home = folder("plugin-check")
    with Served(home) as served:
        code, text = check(program, home, served.url)
        require(code == 0 and "11 checks, 0 failed" in text, f"exit {code}: {text}")
        require(not list((home / "mails").iterdir()), "a dry run wrote a message")
    return text.splitlines()[-1]


def broken_ones_are_found(program) -> str:
    """Each violation of the contract fails its check."""

    def doubled(module, plugin, handler):
        whole = plugin.deliver

        def deliver(request, key):
            outcomes = whole(request, key)["outcomes"]
            return {"outcomes": outcomes + outcomes[:1]}

        plugin.deliver = deliver

    def dropped(module, plugin, handler):
        whole = plugin.deliver
        plugin.deliver = lambda request, key: {"outcomes": whole(request, key)["outcomes"][1:]}

    def page(module, plugin, handler):
        class Page(handler):
            def answer(self, status, value):
                if status != 200:
                    return super().answer(status, value)
                self.send_response(200)
                self.send_header("Content-Length", "13")
                self.end_headers()
                self.wfile.write(b"<html></html>")
                return None

        return Page

    def open_door(module, plugin, handler):
        plugin.authorize = lambda header: None

    def forgetful(module, plugin, handler):
        whole = plugin.deliver

        def deliver(request, key):
            plugin.answers.clear()
            return whole(request, key)

        plugin.deliver = deliver

    def careless(module, plugin, handler):
        whole = plugin.hand_over
        plugin.hand_over = lambda message, request: {**whole(message, request), "outcome": "accepted"}

    def any_version(module, plugin, handler):
        class Any(handler):
            def do_POST(self):
                loads = module.json.loads
                module.json = type("Json", (), {"loads": staticmethod(lambda body: {**loads(body), "contract": "v1"}), "dumps": staticmethod(module.json.dumps)})
                super().do_POST()

        return Any

    wanted = {
        doubled: "one outcome for each id", dropped: "one outcome for each id", page: "not JSON", open_door: "without the token is refused",
        forgetful: "a repeated request gets the same answer", careless: "is rejected, without a failure of the plugin", any_version: "another contract is refused",
    }  # fmt: skip
    for change, words in wanted.items():
        home = folder(f"plugin-{change.__name__}")
        with Served(home, change) as served:
            code, text = check(program, home, served.url)
        failed = "\n".join(line for line in text.splitlines() if line.startswith("failed"))
        require(code == 1 and words in failed, f"{change.__name__}: exit {code}: {text}")
    home = folder("plugin-absent")
    code, text = check(program, home, f"http://127.0.0.1:{free_port()}")
    require(code == 2 and "connection refused" in text, f"nobody there: exit {code}: {text}")
    return f"{len(wanted)} violations, and a plugin that is not there"


def conforms_to_the_contract(program) -> str:
    """Requests of a probe and of deliveries, validated by Prism against the contract."""
    need(prism.missing())
    home, found, judged = folder("plugin-prism"), [], []
    with prism.Prism(home, CONTRACT) as judge:

        def watch(module, plugin, handler):
            class Watched(handler):
                def do_POST(self):
                    body = self.rfile.read(int(self.headers["content-length"]))
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    judged.append(self.path)
                    found.extend(str(one) for one in judge.violations("POST", self.path, headers, body))
                    self.rfile = io.BytesIO(body)
                    super().do_POST()
                    self.close_connection = True

            return Watched

        with Served(home, watch) as served:
            fleet = fleets.Fleet(home, program)
            write(fleet, served.url, 30, batch=10)
            code, text = fleet.run_once()
            require(code == 0, f"exit {code}: {text[-1000:]}")
        require(judge.violations("POST", "/deliver", {"content-type": "application/json"}, b"{}"), "Prism takes anything")
    require(not found, "\n".join(found))
    require({"/probe", "/deliver"} <= set(judged), f"{judged}")
    return f"{len(judged)} requests, none refused"


def write(fleet, url: str, recipients: int, batch: int):
    """A campaign over the plugin."""
    provider = {"plugin": {"url": url, "secretRef": {"name": "token"}, "batchSize": batch, "config": {"a": "b"}}}
    probe = {"interval": "2s", "timeout": "2s", "retryAfter": "200ms"}
    server = fleets.resource("SendingServer", "plugin", {"provider": provider, "probe": probe, "limits": {"connections": 2}})
    fleets.write_csv(fleet.config / "people.csv", recipients)
    campaign = fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}, whenNoServerIsActive="Wait")
    fleet.write("all.yaml", fleets.secret("token", token=TOKEN), server, fleets.plan("pro", "plugin"), campaign)


def killed_halfway(program) -> str:
    """kill -9 of the plugin during a campaign, then a restart: nobody mailed twice, everybody mailed or listed as unknown."""
    home, recipients, port = folder("plugin-killed"), 500, free_port()
    environment = {**os.environ, "PLUGIN_TOKEN": TOKEN}
    start = lambda number: Process([sys.executable, EXAMPLE, "--port", str(port), "--folder", home / "mails"], home / f"plugin-{number}.out", env=environment)  # noqa: E731
    mails = lambda: list((home / "mails").glob("*.eml"))  # noqa: E731
    fleet = fleets.Fleet(home, program)
    write(fleet, f"http://127.0.0.1:{port}", recipients, batch=20)
    with start(1) as first:
        wait_until(lambda: answers(port), 10, "the plugin")
        with fleet.start() as process:
            wait_until(lambda: len(mails()) >= recipients // 4, 30, "a quarter of the messages")
            first.kill()
            time.sleep(1)
            with start(2):
                process.wait(90)
                code, text = process.code, process.text()
    require(code == 0, f"exit {code}: {text[-1000:]}")
    # A file is named by its recipient, and a second delivery would overwrite it; so the ledger is counted too.
    states = Counter(fleet.recipients("spring").values())
    mailed = {path.stem.split("-person", 1)[1] for path in mails()}
    accepted = {address.removeprefix("person") for address, state in fleet.recipients("spring").items() if state == "Accepted"}
    require(sum(states.values()) == recipients and set(states) <= {"Accepted", "Unknown"}, f"{dict(states)}")
    require(accepted <= mailed, f"{len(accepted - mailed)} are Accepted and were not mailed")
    require(states["Unknown"] <= 40, f"{states['Unknown']} unknown; two requests of 20 were in flight at most")
    return f"{recipients} people: {states['Accepted']} accepted, {states['Unknown']} listed as unknown"


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all((keeps_the_contract, broken_ones_are_found, conforms_to_the_contract, killed_halfway), fleets.binary(), prefix="plugin: ")
    cases.end()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What people see on a terminal: the progress of a run, captured with tmux at several sizes, and compared with golden texts.

Numbers, rates and times are masked. In every screen no line is wrapped by the terminal, and nothing of an older picture is left.
"""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from parts import fleet as fleets
from parts.process import folder, free_port, wait_until
from parts.report import Cases, require
from parts.sinks import Sink
from parts.terminal import Terminal

GOLDEN = Path(__file__).parent / "screens"
SIZES = ((80, 24), (100, 30), (200, 50))
RELAYS = 30
# How long something takes, as people are told: `40s`, `1h41m`, `3 days`.
TIME = r"(?:(?:\d+[hms])+|\d+ days)"


def masked(lines: list[str]) -> str:
    """A screen without what differs between two runs."""
    text = "\n".join(line.rstrip() for line in lines)
    for pattern, word in (
        (r"\d[\d,.]*(/s|/min|/h)\b", "RATE"),
        (rf", {TIME} left", ", TIME left"),
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIMESTAMP"),
        (r" *~?\d[\d,]*(\.\d+)?", " N"),
    ):
        text = re.sub(pattern, word, text)
    return text + "\n"


def compare(name: str, lines: list[str]):
    """Compares a masked screen with its golden text; UPDATE_GOLDEN=1 writes that."""
    path, text = GOLDEN / f"{name}.txt", masked(lines)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    golden = path.read_text(encoding="utf-8") if path.exists() else ""
    require(text == golden, f"{path.name} differs (UPDATE_GOLDEN=1 writes it):\n{text}")


class Shop:
    """A folder with a campaign through some relays, all of them one sink."""

    def __init__(self, program: Path, relays: int, recipients: int, per_second: int = 0, *sink: str):
        self.folder, self.program = folder("screens"), program
        self.sink = Sink(program, self.folder, "sink", *sink)
        self.place = self.folder / "shop"
        names = [f"relay-{number:02}" for number in range(1, relays + 1)]
        limits = {"limits": {"rates": [{"messages": per_second, "per": "1s"}]}} if per_second else {}
        servers = [fleets.smtp_server(name, self.sink.port, **limits) for name in names]
        fleet = fleets.Fleet(self.folder, program)
        self.place.mkdir()
        objects = [*servers, fleets.plan("pro", *names), fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}})]
        fleets.write_csv(self.folder / "config/people.csv", recipients)
        fleet.write("fleet.yaml", *objects)
        (self.folder / "config").rename(self.place / "config")

    def command(self, *options: str, before: str = "") -> str:
        """The command that sends it."""
        return " ".join([before, "mailfleet", "run", "config", *options]).strip()

    def terminal(self, columns: int, rows: int, **environment: str) -> Terminal:
        """A terminal in the folder, where the program is called as users call it."""
        return Terminal(columns, rows, self.place, PATH=f"{self.links()}:{os.environ['PATH']}", **environment)

    def links(self) -> Path:
        """A folder of programs that has it as `mailfleet`."""
        path = self.folder / "bin"
        if not path.exists():
            path.mkdir()
            (path / "mailfleet").symlink_to(self.program)
        return path


def without_warnings(lines: list[str]):
    """The lines without log lines and what of them is wrapped."""
    is_warning = False
    for line in lines:
        is_warning = bool(re.match(r" *\d\d:\d\d:\d\d ", line)) or (is_warning and line.startswith("  "))
        if not is_warning:
            yield line


def tour(program, columns: int, rows: int) -> str:
    """`mailfleet demo`: one picture, and the servers' own counts."""
    place = folder("screens-demo")
    (place / "mailfleet").symlink_to(program)
    with Terminal(columns, rows, place, PATH=f"{place}:{os.environ['PATH']}") as terminal:
        terminal.type("mailfleet demo")
        terminal.end(120)
        terminal.require_whole("default/spring")
        lines = [line for line in terminal.everything() if not re.match(r"\d{4}-|server ", line)]
    # How dublin fails depends on who meets it first, whether it is Inactive at the end on how fast the rest is sent, and where a
    # warning is wrapped on the digits of its port. What warnings look like is compared elsewhere.
    lines = list(without_warnings(lines))
    lines = [re.sub(r"(Inactive|Routed|Waits|a send failed)\b.*", "Inactive…", line) for line in lines]
    lines = [re.sub(r"(^dublin .*%) .*", r"\1 Inactive…", re.sub(r"STATE +WHY", "STATE WHY", line)) for line in lines]
    lines = [line for line in lines if not line.startswith(" " * 20)]
    compare(f"demo-{columns}x{rows}", lines)
    return "one picture"


def once_and_again(program) -> str:
    """One server: what a first run says, and a second one that has nothing to do."""
    shop = Shop(program, 1, 20)
    with shop.terminal(80, 24) as terminal:
        for name in ("first", "second"):
            terminal.type(shop.command("--once"))
            terminal.end()
            terminal.require_whole("default/spring")
            compare(f"one-server-{name}", terminal.everything())
            text = " ".join(terminal.everything())
            require(("0 sent now, 20 before" in text) == (name == "second"), text)
            terminal.tmux("clear-history", "-t", "main")
        terminal.type("mailfleet get servers")
        terminal.end()
        require(re.search(r"relay-01 +smtp +Active", terminal.shown()), terminal.shown())
    return "0 sent now, 20 before"


def many_servers(program, columns: int, rows: int) -> str:
    """30 servers: the campaign is always visible, and the total is known from the start; Ctrl-C says what is left."""
    shop = Shop(program, RELAYS, 60_000, 5)
    with shop.terminal(columns, rows) as terminal:
        terminal.type(shop.command())
        begin = time.monotonic()
        terminal.wait(rf"Sending [\d,]+ of 60,000 \(\d+%\), [\d.]+/s, {TIME} left", 30)
        took = time.monotonic() - begin
        screen = terminal.shown().split("\n")
        require(any(line.startswith("campaign default/spring") for line in screen), "the campaign scrolled away:\n" + "\n".join(screen))
        compare(f"thirty-servers-{columns}x{rows}", [line for line in screen if not line.startswith("server ")])
        terminal.press("C-c")
        terminal.end()
        screen = terminal.shown()
        require("campaign default/spring Waiting" in screen, f"the campaign scrolled away:\n{screen}")
        terminal.require_whole("default/spring")
        left = re.search(r"campaign default/spring: [\d,]+ of 60,000 sent; the rest is sent at the next start: `mailfleet run config`", terminal.words())
        require(left, screen)
        terminal.type("mailfleet get campaigns spring")
        terminal.end()
        note = terminal.words()
        require("Not running: no process is using this state folder; last seen " in note and re.search(r"At most once .*: [\d,]+ accepted once; [\d,]+ left\.", note), note)
        require(re.search(r"spring Waiting [\d,]+/60,000 ", note), note)
    return f"a total after {took:.1f} s"


def resized(program) -> str:
    """The terminal becomes narrower, lower and larger while it sends: one picture each time, as wide and as high as there is room."""
    for relays in (5, RELAYS):
        shop = Shop(program, relays, 60_000, 5)
        with shop.terminal(100, 30) as terminal:
            terminal.type(shop.command())
            terminal.wait("Sending .* left", 30)
            for columns, rows in ((60, 30), (45, 30), (120, 30), (120, 40), (70, 40), (70, 12), (90, 12)):
                terminal.resize(columns, rows)
                time.sleep(1)
                screen = terminal.shown().split("\n")
                heads = sum(line.startswith("campaign ") for line in screen)
                servers = sum(line.startswith("  default/") for line in screen)
                # What a lower terminal scrolls away is beyond anybody's reach; of a small picture it is nothing.
                require(heads == 1 and len(screen) <= rows and servers >= min(relays, rows - 6), f"{columns}x{rows}:\n" + "\n".join(screen))
                if relays == 5:
                    terminal.require_whole("default/spring")
            terminal.press("C-c")
            terminal.end()
    return "45 to 120 columns, 12 to 40 rows"


def logs_above(program) -> str:
    """A server that fails is logged while the picture is drawn: above it, and never within."""
    shop = Shop(program, 2, 3000, 100, "--fail-after", "300", "--fail-how", "421")
    with shop.terminal(80, 24) as terminal:
        terminal.type(shop.command())
        warned = re.compile(r"\d\d:\d\d:\d\d warning: a send failed: ")
        wait_until(lambda: any(warned.match(line) for line in terminal.everything()), 60, "a warning")
        time.sleep(1)
        terminal.require_whole("default/spring")
        lines = terminal.everything()
        head = next(place for place, line in enumerate(lines) if line.startswith("campaign "))
        logs = [place for place, line in enumerate(lines) if warned.match(line)]
        require(max(logs) < head, "\n".join(lines))
        require(not any(word in terminal.words() for word in ("WARN", "T0", "T1", "T2", "server=")), "a raw log line:\n" + "\n".join(lines))
        terminal.press("C-c")
        terminal.end()
    return f"{len(logs)} warnings"


def colours(program) -> str:
    """The state alone is coloured, unless NO_COLOR; TERM=dumb and files get plain lines, and colours only with FORCE_COLOR."""
    escape = "\x1b"
    for variables, is_coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        shop = Shop(program, 1, 5)
        with shop.terminal(80, 24, **variables) as terminal:
            terminal.type(shop.command("--once"))
            terminal.end()
            text = terminal.shown("-e")
            require((f"{escape}[32mCompleted{escape}[" in text) == is_coloured, repr(text))
    shop = Shop(program, 1, 5)
    with shop.terminal(80, 24, TERM="dumb") as terminal:
        terminal.type(shop.command("--once", "2>&1 | cat -v > plain.txt; TERM=dumb script -qec 'mailfleet run config --once' typed.txt > /dev/null"))
        terminal.end()
        for name in ("plain.txt", "typed.txt"):
            text = (shop.place / name).read_text(encoding="utf-8")
            require("Completed 5 of 5 (100%)" in text and escape not in text and "^[" not in text, repr(text))
    for variables, is_coloured in (({}, False), ({"FORCE_COLOR": "1"}, True), ({"CLICOLOR_FORCE": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)):
        shop = Shop(program, 1, 5)
        plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE")}
        done = subprocess.run([program, "run", "config", "--once"], cwd=shop.place, capture_output=True, text=True, timeout=60, env={**plain, **variables})
        require((f"{escape}[32mCompleted{escape}[0m" in done.stderr) == is_coloured, f"{variables}: {done.stderr!r}")
        require(is_coloured or escape not in done.stderr, f"{variables}: {done.stderr!r}")
    return "state only"


def tables(program) -> str:
    """`get campaigns` fits into 80 columns, and wraps its last column alone."""
    shop = Shop(program, 2, 20)
    with shop.terminal(80, 24) as terminal:
        terminal.type(shop.command("-q", "--once"))
        terminal.end()
        for name, command in (
            ("campaigns", "mailfleet get campaigns"),
            ("campaign", "mailfleet get campaigns spring"),
            ("problems", "mailfleet get campaigns spring --problems"),
            ("elsewhere", "mailfleet get campaigns spring -n shop"),
        ):
            terminal.type(command)
            terminal.end()
            compare(f"get-{name}", terminal.shown("-J").split("\n"))
        rows = [line for line in terminal.everything() if line.startswith("default ")]
        require(all(len(row) <= 80 for row in rows), "\n".join(rows))
    return "80 columns"


def every_table(program, columns: int, rows: int) -> str:
    """Every table, with a campaign that cannot be sent: nothing is wrapped by the terminal, and a pipe gets everything."""
    shop = Shop(program, 2, 20)
    absent = free_port()
    more = [fleets.smtp_server("relay-03", absent), fleets.plan("basic", "relay-03"), fleets.campaign("summer", "basic", {"csv": {"path": "people.csv"}})]
    (shop.place / "config/more.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": more}), encoding="utf-8")
    texts = []
    with shop.terminal(columns, rows) as terminal:
        terminal.type(shop.command("-q", "--once"))
        terminal.end()
        for words in (
            "servers -o wide",
            "plans -o wide",
            "campaigns -o wide",
            "campaigns summer",
            "campaigns spring --recipients --only Accepted",
            "runs",
            "runs -o wide",
            "types",
            "types gmail",
        ):
            terminal.tmux("clear-history", "-t", "main")
            terminal.type(f"mailfleet get {words} > whole.txt; mailfleet get {words}")
            terminal.end()
            shown, joined = ([line.rstrip() for line in terminal.shown(*options, "-S", "-").split("\n")] for options in ((), ("-J",)))
            require(shown == joined, f"{words}: wrapped by the terminal:\n" + "\n".join(shown))
            whole = (shop.place / "whole.txt").read_text(encoding="utf-8")
            require("(no room for" not in whole and "…" not in whole, f"{words}: a pipe is cut:\n{whole}")
            # Sinks reply in the order of their connections.
            is_stable = lambda line: "--recipients" not in words or not line.startswith(("person", " "))  # noqa: B023, E731
            if words == "runs -o wide":
                # A time without a fraction of a second is shorter.
                shown = [re.sub(r" {2,}", "  ", line) for line in shown]
            # The prompt after the end may not be drawn yet.
            over = max(index for index, line in enumerate(shown) if line.startswith("end-"))
            texts += [f"== {words}", *(line.replace(str(absent), "PORT") for line in shown[:over] if is_stable(line))]
    compare(f"tables-{columns}x{rows}", texts)
    return f"{len(texts)} lines"


def typed(program) -> str:
    """What is typed while a picture is drawn leaves no trace in it, and the terminal echoes again, however the process ends."""
    for end in ("Ctrl-C", "SIGTERM", "completed"):
        shop = Shop(program, 2, 400, 20)
        with shop.terminal(80, 24) as terminal:
            terminal.type(shop.command("--once"))
            terminal.wait(r"Sending .* left", 30)
            for key in ("Enter", "x", "Enter", "Up", "Enter"):
                terminal.press(key)
                time.sleep(0.3)
            terminal.require_whole("default/spring")
            if end == "Ctrl-C":
                terminal.press("C-c")
            if end == "SIGTERM":
                os.kill(terminal.child(), signal.SIGTERM)
            terminal.end()
            terminal.require_whole("default/spring")
            picture = [line for line in terminal.everything() if line.startswith("  default/")]
            require(len(picture) == 2, "\n".join(terminal.everything()))
            terminal.press("C-c")
            terminal.type("stty -a | tr ' ' '\\n' | grep -x -e 'echo' -e '-echo'")
            terminal.end()
            require("\necho\n" in "\n" + terminal.shown() and "-echo\n" not in terminal.shown().split("end-")[0], terminal.shown())
    return "Ctrl-C, SIGTERM, the end"


def late_rows(program) -> str:
    """A process that watches tells once of rows that came after the end."""
    shop = Shop(program, 1, 20)
    with shop.terminal(80, 24) as terminal:
        terminal.type(shop.command())
        terminal.wait("Completed 20 of 20", 30)
        with (shop.place / "config/people.csv").open("a", encoding="utf-8") as people:
            people.write(f"{fleets.address(99)},Late\n")
        terminal.wait("1 row was added or fixed after completion", 30)
        time.sleep(2)
        require(terminal.words().count("added or fixed after completion") == 1, terminal.words())
        terminal.require_whole("default/spring")
        terminal.press("C-c")
        terminal.end()
    return "told once"


def said_once(program) -> str:
    """`run` and `get` say a cause once, and the commands that they name have the state folder and the namespace that they need."""
    shop = Shop(program, 1, 20)
    fleet = shop.place / "config/fleet.yaml"
    fleet.write_text(fleet.read_text(encoding="utf-8").replace('"metadata": {', '"metadata": {"namespace": "shop", '), encoding="utf-8")
    with shop.terminal(80, 24) as terminal:
        with (shop.place / "config/people.csv").open("a", encoding="utf-8") as people:
            people.write("nobody,Bad\n")
        terminal.type(shop.command("--once", "--state", "'my state'"))
        terminal.end()
        text = terminal.words()
        require(text.count("could not be used: ") == 1, text)
        command = "`mailfleet get campaigns spring -n shop --problems --state 'my state'`"
        require(command in text, text)
        terminal.type(command.strip("`"))
        terminal.end()
        require(re.search(r"LINE +PROBLEM\n22 +", terminal.shown()), terminal.shown())
        terminal.type("mailfleet get campaigns spring -n shop --state 'my state'")
        terminal.end()
        text = terminal.words()
        require(text.count("could not be used: ") == 1 and command in text and "see above" in text, text)
        shop.sink.process.kill()
        terminal.tmux("clear-history", "-t", "main")
        terminal.type(shop.command("--once", "--state", "other"))
        terminal.end()
        text = terminal.words()
        # The picture has the beginning of the cause, as far as there is room in the server's line.
        require(text.count("Check host and port") == 1 and "relay-01: see above. Nothing has been sent yet" in text, text)
    return "once each"


def main():
    cases = Cases(__doc__)
    cases.parse()
    program = fleets.binary()
    tmux = lambda: "" if subprocess.run(["which", "tmux"], capture_output=True).returncode == 0 else "tmux"  # noqa: E731
    for columns, rows in SIZES:
        cases.add(f"demo at {columns}x{rows}", tour, program, columns, rows, needs=tmux)
        cases.add(f"thirty servers at {columns}x{rows}", many_servers, program, columns, rows, needs=tmux)
        cases.add(f"every table at {columns}x{rows}", every_table, program, columns, rows, needs=tmux)
    cases.add_all((once_and_again, resized, logs_above, colours, tables, typed, late_rows, said_once), program, needs=tmux)
    cases.end()


if __name__ == "__main__":
    main()

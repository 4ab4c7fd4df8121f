#!/usr/bin/env python3
"""Takes the ledger away during a campaign: its database locked by another program, its disk full. Then gives it back.

Meanwhile nothing may be sent beyond what was on the wire, status must say why, and no server may be blamed. Afterwards the campaign
resumes without help, and everybody is mailed once.
"""

import contextlib
import errno
import os
import shutil
import subprocess
import time
from collections import Counter

from parts import fleet as fleets
from parts import ledgerfile
from parts.judge import IN_FLIGHT_MAX
from parts.process import folder, wait_until
from parts.report import Cases, need, require
from parts.sinks import Sink

# The sink is slow enough that messages are on the wire at every moment, and that the campaign outlives the fault.
DELAY, CONNECTIONS = "3ms", 3
# Shorter than the fault: a server that is idle because it gets no messages must not look as if it hung.
PROBE = {"interval": "2s", "timeout": "1s", "retryAfter": "500ms", "failureThreshold": 3}
LOCKED_SECONDS, FULL_SECONDS = 8, 8
# More than the ledger and its WAL ever need here.
DISK_BYTES = 128 << 20


class Watch:
    """Polls status, and keeps every state and reason that it showed."""

    def __init__(self, fleet, process):
        self.fleet, self.process = fleet, process
        self.server_states, self.reasons = Counter(), Counter()

    def look(self) -> dict:
        """The campaign's Ready condition now."""
        require(self.process.running(), f"mailfleet ended ({self.process.code}): {self.process.tail()}")
        self.server_states[self.fleet.status("SendingServer", "a").get("state")] += 1
        ready = self.fleet.condition("Campaign", "spring", "Ready")
        self.reasons[ready.get("reason")] += 1
        return ready

    def until(self, condition, seconds: float, what: str):
        """Polls until the condition holds."""

        def look_and_ask():
            self.look()
            return condition()

        return wait_until(look_and_ask, seconds, what, every=0.1)

    def during(self, seconds: float):
        """Polls for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()
            time.sleep(0.1)


@contextlib.contextmanager
def sending(program, name: str, recipients: int, state=None):
    """A fleet in the middle of a campaign: fleet, sink and watch."""
    place = folder(f"ledger-{name}")
    with Sink(program, place, "sink", "--delay", DELAY) as sink:
        fleet = fleets.Fleet(place, program)
        fleet.state = state or fleet.state
        fleets.write_csv(fleet.config / "people.csv", recipients)
        server = fleets.smtp_server("a", sink.port, limits={"connections": CONNECTIONS}, probe=PROBE)
        campaign = fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}})
        fleet.write("fleet.yaml", server, fleets.plan("pro", "a"), campaign)
        with fleet.start(once=False) as process:
            watch = Watch(fleet, process)
            watch.until(lambda: sink.count()["accepted"] >= recipients // 4, 60, "a quarter of the campaign")
            # Earlier states are not the fault's: a server starts as Inactive.
            watch.server_states.clear()
            before = len(process.text())
            yield fleet, sink, watch
            watch.until(lambda: fleet.status("Campaign", "spring").get("state") == "Completed", 120, "the campaign's end")
        judge(fleet, sink, watch, process.text()[before:], recipients)


def judge(fleet, sink, watch, output: str, recipients: int):
    """Everybody once, nobody unknown, nobody blamed."""
    everyone = {fleets.address(number) for number in range(recipients)}
    taken = sink.taken()
    require(set(taken) == everyone, f"{len(taken)} of {recipients} were mailed")
    doubles = [recipient for recipient, count in taken.items() if count > 1]
    require(not doubles, f"{len(doubles)} recipients were mailed twice: {doubles[:3]}")
    counts = Counter(fleet.recipients("spring").values())
    require(counts == {"Accepted": recipients}, f"the ledger says {dict(counts)}")
    require(set(watch.server_states) <= {"Active"}, f"the server was blamed: {dict(watch.server_states)}")
    require("server default/a Inactive" not in output and "a send failed" not in output, f"the server was blamed:\n{output}")


def told(fleet, watch, *words: str):
    """Status says Waiting, LedgerUnavailable, with these words in its message."""
    state, ready = fleet.status("Campaign", "spring").get("state"), watch.look()
    require((state, ready.get("status"), ready.get("reason")) == ("Waiting", "False", "LedgerUnavailable"), f"status says {state}, {ready}")
    missing = [word for word in words if word not in ready["message"]]
    require(not missing, f"{missing} not in the message: {ready['message']}")
    return ready["message"]


def still(sink, watch, seconds: float, before: int):
    """For so long nothing is sent but what was on the wire at the beginning."""
    time.sleep(0.5)
    settled = sink.count()["accepted"]
    require(settled - before <= IN_FLIGHT_MAX, f"{settled - before} messages left after the ledger was taken away")
    watch.during(seconds)
    require(sink.count()["accepted"] == settled, f"{sink.count()['accepted'] - settled} messages left while the ledger could not be written")


def locked(program, recipients: int):
    """Another program holds a transaction for 8 seconds."""
    with sending(program, "locked", recipients) as (fleet, sink, watch):
        with ledgerfile.locked(fleet.state):
            begin, before = time.monotonic(), sink.count()["accepted"]
            still(sink, watch, LOCKED_SECONDS - 1.5, before)
            message = told(fleet, watch, "ledger.db is locked by another program", "resumes automatically")
            time.sleep(max(0.0, begin + LOCKED_SECONDS - time.monotonic()))
        end, at = time.monotonic(), sink.count()["accepted"]
        watch.until(lambda: sink.count()["accepted"] > at, 10, "messages after the lock was released")
        resumed = time.monotonic() - end
    return f"{message}; resumed after {resumed:.1f} s"


@contextlib.contextmanager
def small_disk(name: str):
    """An empty disk in memory."""
    place = folder(name)
    need("" if os.geteuid() == 0 and shutil.which("mount") else "root, to mount a small disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "mailfleet", place], capture_output=True, text=True)
    need(f"the right to mount: {mounted.stderr.strip()}" if mounted.returncode else "")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=False)


def fill(path) -> int:
    """Writes until the disk is full; returns how many bytes that took."""
    written = 0
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    written += file.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
    return written


def full(program, recipients: int):
    """A file fills the disk of the state folder, and is removed after 8 seconds."""
    with small_disk("ledger-disk") as disk:
        with sending(program, "full", recipients, state=disk / "state") as (fleet, sink, watch):
            # The WAL reuses its blocks where it can, so the full disk is not noticed at once.
            filler = disk / "filler"
            fill(filler)
            output = watch.process.text
            watch.until(lambda: "disk is full" in output(), 30, "the full disk being noticed")
            still(sink, watch, FULL_SECONDS, sink.count()["accepted"])
            # A status file needs room too; the output says what it cannot.
            lines = [line for line in output().splitlines() if "spring Waiting" in line and "the disk is full" in line and "make room" in line]
            require(lines, f"the output does not say why it waits:\n{watch.process.tail()}")
            on_disk = fleet.condition("Campaign", "spring", "Ready").get("reason")
            filler.unlink()
            end, at = time.monotonic(), sink.count()["accepted"]
            watch.until(lambda: sink.count()["accepted"] > at, 15, "messages after there was room")
            resumed = time.monotonic() - end
            require(not fleet.broken_status_files(), f"broken status files: {fleet.broken_status_files()}")
    return f"{lines[-1].split(': ', 1)[1]}; status file meanwhile: {on_disk}; resumed after {resumed:.1f} s"


def main():
    cases = Cases(__doc__)
    cases.option("--quick", action="store_true", help="6,000 recipients instead of 20,000")
    recipients = 6_000 if cases.parse().quick else 20_000
    program = fleets.binary()
    cases.add("locked database", locked, program, recipients)
    cases.add("full disk", full, program, recipients)
    cases.end()


if __name__ == "__main__":
    main()

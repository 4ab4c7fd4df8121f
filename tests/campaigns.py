#!/usr/bin/env python3
"""Campaigns over their whole life: deleted and applied again, with a copied ledger, in a new run, with a million recipients.

`--memory` measures peak memory for 100,000 and 1,000,000 recipients from a gzipped CSV, and nothing else.
"""

import gzip
import os
import shutil
import time
from collections import Counter

from parts import fleet as fleets
from parts.pick import Picker
from parts.process import folder, peak_memory_kib, wait_until
from parts.report import Cases, require, table
from parts.sinks import Sink

MEMORY_MAX_KIB = 100 * 1024
# The ledger's seed: with it every pick is known.
SEED = 1
FLAT = 1.25  # the most that the peak may grow with ten times the recipients


def servers(*sinks: Sink) -> list[dict]:
    return [fleets.smtp_server(f"server-{number}", sink.port) for number, sink in enumerate(sinks)]


def expect_taken(sink: Sink, recipients: int, times: int, what: str):
    taken = sink.taken()
    require(
        len(taken) == recipients and set(taken.values()) == {times},
        f"{what}: {len(taken)} of {recipients} recipients, mailed {Counter(taken.values())} times, expected {times}",
    )


def again(program, recipients: int) -> str:
    """Deleting a campaign and applying it again mails nobody; nor does a copied ledger elsewhere; a new run mails everybody."""
    place = folder("again")
    with Sink(program, place) as sink:
        fleet = fleets.Fleet(place, program)
        fleet.write("servers.yaml", *servers(sink), fleets.plan("pro", "server-0"))
        fleets.write_csv(fleet.config / "people.csv", recipients)
        campaign = fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}})

        def complete(fleet, what, times):
            code, output = fleet.run_once()
            require(code == 0, f"{what}: exit {code}: {output[-1000:]}")
            expect_taken(sink, recipients, times, what)
            require(fleet.status("Campaign", "spring").get("state") in ("Completed", None), f"{what}: {fleet.status('Campaign', 'spring').get('state')}")

        fleet.write("campaign.yaml", campaign)
        complete(fleet, "the first time", 1)
        (fleet.config / "campaign.yaml").unlink()
        complete(fleet, "without the campaign", 1)
        fleet.write("campaign.yaml", campaign)
        complete(fleet, "applied again", 1)

        # On another machine: only the folder and the ledger come along, no status.
        other = fleets.Fleet(place / "elsewhere" / "deep", program)
        shutil.copytree(fleet.config, other.config, dirs_exist_ok=True)
        other.state.mkdir(parents=True)
        for path in fleet.state.glob("ledger.db*"):
            shutil.copy(path, other.state)
        complete(other, "with a copied ledger", 1)

        campaign["spec"]["run"] = "second"
        other.write("campaign.yaml", campaign)
        complete(other, "in a new run", 2)
        require(set(other.recipients("spring", "second").values()) == {"Accepted"}, "the second run is not in the ledger")
    return f"{recipients} recipients"


def ledger_missing(program, recipients: int) -> str:
    """A status that says a run began, and a ledger without it: nothing is sent."""
    place = folder("ledger-missing")
    with Sink(program, place) as sink:
        fleet = fleets.Fleet(place, program)
        fleets.write_csv(fleet.config / "people.csv", recipients)
        fleet.write("all.yaml", *servers(sink), fleets.plan("pro", "server-0"), fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}))
        require(fleet.run_once()[0] == 0, "the first run")
        for path in fleet.state.glob("ledger.db*"):
            path.unlink()
        code, output = fleet.run_once(seconds=60)
        expect_taken(sink, recipients, 1, "without the ledger")
        require(code == 1, f"exit {code} instead of 1: {output[-500:]}")
        reason = fleet.condition("Campaign", "spring", "Stalled").get("reason")
        require(reason == "LedgerMissing", f"Stalled says {reason}")
    return "Stalled, LedgerMissing, nothing sent"


def narrowed(program, recipients: int) -> str:
    """A campaign narrowed to a server that is down does not start, and no message goes elsewhere."""
    place = folder("narrowed")
    with Sink(program, place, "up") as up, Sink(program, place, "down") as down:
        down.kill()
        fleet = fleets.Fleet(place, program)
        probe = {"timeout": "1s", "retryAfter": "500ms", "interval": "2s"}
        down_server = fleets.smtp_server("down", down.port, probe=probe)
        fleets.write_csv(fleet.config / "people.csv", recipients)
        campaign = fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}, servers=[{"name": "down"}])
        fleet.write("all.yaml", *servers(up), down_server, fleets.plan("pro", "server-0", "down"), campaign)
        code, output = fleet.run_once(seconds=60)
        require(code == 1, f"exit {code} instead of 1: {output[-500:]}")
        require(up.count()["accepted"] == 0, f"{up.count()['accepted']} messages went through a server that was not chosen")
        status = fleet.status("Campaign", "spring")
        require(status.get("state") == "Scheduled", f"the campaign is {status.get('state')}")
        reason = fleet.condition("Campaign", "spring", "Stalled").get("reason")
        require(reason == "NoEligibleServer", f"Stalled says {reason}")
        rows = {row["server"].split("/")[-1]: row for row in status["servers"]}
        require(rows["down"].get("whyNot"), f"the table does not say why `down` is not used: {rows.get('down')}")
    return "Stalled, NoEligibleServer, no message elsewhere"


def shares(program, recipients: int) -> str:
    """A campaign's weights: each recipient is at the server that the ledger's seed picks."""
    place = folder("shares")
    with Sink(program, place, "a") as a, Sink(program, place, "b") as b:
        fleet = fleets.Fleet(place, program)
        fleet.seed(SEED)
        fleets.write_csv(fleet.config / "people.csv", recipients)
        chosen = [{"name": "server-0", "weight": 80}, {"name": "server-1", "weight": 20}]
        campaign = fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}, servers=chosen)
        fleet.write("all.yaml", *servers(a, b), fleets.plan("pro", "server-0", "server-1"), campaign)
        code, output = fleet.run_once()
        require(code == 0, f"exit {code}: {output[-500:]}")
        picker, weights = Picker(SEED, "spring"), {"default/server-0": 80, "default/server-1": 20}
        everyone = [fleets.address(number) for number in range(recipients)]
        expected = {who for who in everyone if picker.pick(who, weights) == "default/server-0"}
        # A property of the seed: it cannot fail by chance.
        require(abs(len(expected) / recipients - 0.8) < 0.03, f"the seed gives {len(expected)} of {recipients} to the first server")
        require(a.taken() == Counter(expected), f"the first server has {len(a.taken())} recipients, expected {len(expected)}: {sorted(set(a.taken()) ^ expected)[:3]}")
        require(b.taken() == Counter(set(everyone) - expected), f"the second server has {len(b.taken())} recipients, expected {recipients - len(expected)}")
    return f"80:20 became {len(expected)}:{recipients - len(expected)}, each recipient as the seed says"


def memory(program, recipients: int) -> tuple[int, float]:
    """Peak memory in KiB and the seconds of a campaign from a gzipped CSV."""
    place = folder(f"memory-{recipients}")
    with Sink(program, place, log=False) as sink:
        fleet = fleets.Fleet(place, program)
        with gzip.open(fleet.config / "people.csv.gz", "wt", compresslevel=1, encoding="utf-8") as file:
            file.write("email,name\n")
            file.writelines(f"{fleets.address(number)},Person {number}\n" for number in range(recipients))
        campaign = fleets.campaign("spring", "pro", {"csv": {"path": "people.csv.gz"}})
        fleet.write("all.yaml", *servers(sink), fleets.plan("pro", "server-0"), campaign)
        begin, peak = time.monotonic(), 0
        process = fleet.start()

        def ended():
            nonlocal peak
            peak = max(peak, peak_memory_kib(process.pid))
            return not process.running()

        wait_until(ended, 900, "the campaign's end", every=0.05)
        seconds = time.monotonic() - begin
        require(process.code == 0, f"exit {process.code}: {process.tail()}")
        require(sink.count()["accepted"] == recipients, f"{sink.count()['accepted']} messages for {recipients} recipients")
    shutil.rmtree(place)
    return peak, seconds


def renamed(program, recipients: int) -> str:
    """A renamed campaign mails nobody until a person says so, over restarts; a new campaign, and a renamed one in a new run, need no word."""
    place = folder("renamed")
    with Sink(program, place) as sink:
        fleet = fleets.Fleet(place, program)
        fleet.write("servers.yaml", *servers(sink), fleets.plan("pro", "server-0"))
        fleets.write_csv(fleet.config / "people.csv", recipients)
        source = {"csv": {"path": "people.csv"}}

        def turn(what: str, times: int, *campaigns: dict, stops: bool = False):
            fleet.write("campaign.yaml", *campaigns)
            _, validated = fleet.command("validate", "--state", fleet.state, fleet.config)
            require(("the message (or a part of it) of campaign spring" in validated) == stops, f"{what}: {validated}")
            code, output = fleet.run_once()
            require(code == int(stops), f"{what}: exit {code}: {output[-1000:]}")
            expect_taken(sink, recipients, times, what)
            if stops:
                condition = fleet.condition("Campaign", campaigns[0]["metadata"]["name"], "Stalled")
                require(condition["reason"] == "MayBeRenamed" and "Restore the name spring" in condition["message"], f"{what}: {condition}")
                require(condition["message"] in output, f"{what}: {output}")

        turn("the first time", 1, fleets.campaign("spring", "pro", source))
        # Another schedule and other weights do not make it another campaign.
        summer = fleets.campaign("summer", "pro", source, startingDeadline="2h")
        turn("renamed", 1, summer, stops=True)
        turn("renamed, and started again", 1, summer, stops=True)
        turn("the old name beside it", 2, summer, fleets.campaign("spring", "pro", source))
        turn("only the new one, which has its run now", 2, summer)
        for edit in ({"subject": "Leaves"}, {"content": {"text": "Leaves fall."}}):
            turn(f"renamed, and edited at once: {[*edit]}", 2, fleets.campaign("autumn", "pro", source, **edit), stops=True)
        turn("another message", 3, fleets.campaign("autumn", "pro", source, subject="Leaves", content={"text": "Leaves fall."}))
        turn("renamed, in a new run", 4, fleets.campaign("winter", "pro", source, run="winter"))
    return f"{recipients} recipients, mailed again only on purpose"


def without_a_ledger(program, recipients: int) -> str:
    """A fresh checkout: `--expect-ledger` refuses; with the statuses alone nothing is sent either."""
    place = folder("no-ledger")
    with Sink(program, place) as sink:
        fleet = fleets.Fleet(place, program)
        fleet.write("servers.yaml", *servers(sink), fleets.plan("pro", "server-0"), fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}))
        fleets.write_csv(fleet.config / "people.csv", recipients)

        def refused(what: str):
            code, output = fleet.run_once("--expect-ledger")
            require(code == 2 and "Nothing was sent" in output and "leave out --expect-ledger" in output, f"{what}: exit {code}: {output}")

        refused("the first start")
        require(not fleet.state.exists(), "a refused start leaves a folder")
        for is_new in (True, False):
            code, output = fleet.command("run", fleet.config, "--state", fleet.state, "--once", environment={**os.environ, "CI": "true"})
            require(code == 0 and ("a new one begins" in output) == is_new, f"in a CI job: exit {code}: {output}")
        code, output = fleet.run_once("--expect-ledger")
        require(code == 0, f"with the ledger: exit {code}: {output}")
        statuses = place / "statuses"
        shutil.copytree(fleet.state / "status", statuses)
        shutil.rmtree(fleet.state)
        refused("a checkout without statuses")
        shutil.copytree(statuses, fleet.state / "status")
        refused("a checkout with statuses")
        code, output = fleet.run_once()
        reason = fleet.condition("Campaign", "spring", "Stalled").get("reason")
        require((code, reason) == (1, "LedgerMissing"), f"exit {code}, {reason}: {output}")
        expect_taken(sink, recipients, 1, "in the end")
    return f"{recipients} recipients, each mailed once"


def flat_memory(program) -> str:
    """Under 100 MB for a million, and flat."""
    rows = []
    peaks = []
    for recipients in (100_000, 1_000_000):
        peak, seconds = memory(program, recipients)
        peaks.append(peak)
        rows.append([f"{recipients:,}", f"{peak / 1024:.1f}", f"{seconds:.1f}", f"{recipients / seconds:,.0f}"])
    print(table(["recipients", "peak memory MiB", "s", "messages/s"], rows), flush=True)
    require(max(peaks) < MEMORY_MAX_KIB, f"{max(peaks) / 1024:.1f} MiB is not under {MEMORY_MAX_KIB / 1024:.0f} MiB")
    require(peaks[1] <= peaks[0] * FLAT, f"memory grows with the audience: {peaks[0] / 1024:.1f} to {peaks[1] / 1024:.1f} MiB")
    return f"{peaks[1] / 1024:.1f} MiB at most"


def main():
    cases = Cases(__doc__)
    cases.option("--memory", action="store_true", help="only memory, with 100,000 and 1,000,000 recipients")
    cases.option("--quick", action="store_true", help="fewer recipients, and not a million")
    options = cases.parse()
    program = fleets.binary()
    recipients = 300 if options.quick else 3_000
    if not options.memory:
        cases.add("deleted, applied again, with a copied ledger, in a new run", again, program, recipients)
        cases.add("ledger missing", ledger_missing, program, recipients)
        cases.add("renamed", renamed, program, recipients)
        cases.add("without a ledger", without_a_ledger, program, recipients)
        cases.add("narrowed to a server that is down", narrowed, program, recipients)
        cases.add("weights 80:20", shares, program, recipients * 3)
    if not options.quick:
        cases.add("memory", flat_memory, program)
    cases.end()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Sending hours: a campaign waits outside of them and says until when, goes on by itself, and mails nobody twice, whoever kills it."""

import time
from datetime import datetime, timedelta, timezone

from parts import fleet as fleets
from parts.place import Place
from parts.process import wait_until
from parts.report import Cases, Shared, require

RECIPIENTS = 600
# A bound for a machine that does ten things at once.
SECONDS = 60


def clock(hours: int) -> str:
    """The time in UTC so many hours from now."""
    return (datetime.now(timezone.utc) + timedelta(hours=hours)).strftime("%H:%M")


def within(begins: int, ends: int, **more) -> dict:
    """Hours that begin and end so many hours from now; far enough from it for the longest case."""
    return {"zone": "UTC", "from": clock(begins), "to": clock(ends), **more}


def set_hours(fleet, sending: dict):
    """Writes the campaign with these hours."""
    fleet.write("campaign.yaml", fleets.campaign("spring", "pro", {"csv": {"path": "people.csv"}}, sendingHours=sending))


def waits(fleet, state: str, words: str):
    """Waits until the campaign is outside its hours, and says so in these words."""

    def is_outside():
        ready = fleet.condition("Campaign", "spring", "Ready")
        return fleet.status("Campaign", "spring").get("state") == state and ready.get("reason") == "OutsideSendingHours" and words in ready["message"]

    try:
        wait_until(is_outside, SECONDS, f"{state} outside of its hours")
    except Exception as fault:
        raise AssertionError(f"{fault}: {fleet.status('Campaign', 'spring').get('state')} {fleet.condition('Campaign', 'spring', 'Ready')}") from fault


def says(process, words: str):
    """Waits until this process, and not one before it, says so."""
    wait_until(lambda: words in process.text(), SECONDS, f"a process that says {words}")


def settled(sink) -> int:
    """How many messages the sink has once none arrives any more."""
    before = -1
    while before != (before := sink.count()["accepted"]):
        time.sleep(0.5)
    return before


def nothing_is_in_flight(fleet, sink) -> int:
    """How many messages the sink has once each has its outcome: a kill before that leaves some whose outcome is unknown."""

    def is_told():
        recipients = fleet.status("Campaign", "spring").get("recipients", {})
        return recipients.get("sending") == 0 and recipients.get("accepted") == sink.count()["accepted"]

    wait_until(is_told, SECONDS, "an outcome for each message")
    return settled(sink)


def everybody_once(sink, recipients: int):
    taken = sink.taken()
    require(len(taken) == recipients and set(taken.values()) == {1}, f"{len(taken)} of {recipients} recipients, mailed {set(taken.values())} times")


def opened_and_closed_by_edits(place):
    """Shut, it is not begun; an edit opens it, another one shuts it midway, it survives a kill, and `--once` waits for the hours."""
    with place.sink() as sink:
        fleet = place.fleet("edits")
        fleets.write_csv(fleet.config / "people.csv", RECIPIENTS)
        server = fleets.smtp_server("relay", sink.port, limits={"rates": [{"messages": 40, "per": "1s"}]})
        fleet.write("fleet.yaml", server, fleets.plan("pro", "relay"))

        shut = within(3, 4)
        set_hours(fleet, shut)
        with fleet.start(once=False) as process:
            waits(fleet, "Scheduled", f"sending begins at {shut['from']} on ")
            require(not fleet.status("Campaign", "spring").get("startedAt"), "it has begun")
            require(sink.count()["accepted"] == 0, "it sends outside of its hours")
            set_hours(fleet, within(-1, 3))
            wait_until(lambda: sink.count()["accepted"] > 40, SECONDS, "messages within the hours")
            shut = within(3, 4)
            set_hours(fleet, shut)
            waits(fleet, "Waiting", f"sending resumes at {shut['from']} on ")
            midway = nothing_is_in_flight(fleet, sink)
            require(midway < RECIPIENTS, "everybody was mailed before the hours ended")
            code, output = fleet.command("get", "campaigns", "spring", "--state", fleet.state)
            require(code == 0 and f"sending resumes at {shut['from']}" in output, f"get campaigns: {output}")
            process.kill()
        with fleet.start() as process:
            says(process, f"sending resumes at {shut['from']} on ")
            require(settled(sink) == midway and process.running(), f"{sink.count()['accepted']} after a restart, {midway} before: {process.tail()}")
            process.kill()
        set_hours(fleet, within(-1, 3))
        code, output = fleet.run_once()
        require(code == 0, f"exit {code}: {output}")
        everybody_once(sink, RECIPIENTS)
    return f"{midway} of {RECIPIENTS} before the hours ended, the rest after a kill"


def each_by_their_own_clock(place):
    """People are mailed while it is the time by their own clock; who has no zone goes by the campaign's; nobody is lost or mailed twice."""
    with place.sink() as sink:
        fleet = place.fleet("clocks")
        # For half of them it is the time; a quarter lives six hours ahead, and the others have no zone that is known.
        zones = ["UTC", "Etc/GMT-6", "utc", "Somewhere/Else"]
        rows = "".join(f"{fleets.address(number)},Person {number},{zones[number % 4]}\n" for number in range(RECIPIENTS))
        (fleet.config / "people.csv").write_text(f"email,name,zone\n{rows}")
        fleet.write("fleet.yaml", fleets.smtp_server("relay", sink.port), fleets.plan("pro", "relay"))

        set_hours(fleet, within(-1, 3, zoneField="zones"))
        code, output = fleet.run_once()
        require(code == 1 and "nobody in the audience has a field `zones`; did you mean `zone`?" in output, f"exit {code}: {output}")
        set_hours(fleet, {**within(-1, 3, zoneField="zone"), "zone": "Etc/GMT-6"})
        with fleet.start(once=False) as process:
            waits(fleet, "Waiting", "It is outside sendingHours in the time zones of all remaining recipients; sending resumes at ")
            require(set(sink.taken()) == {fleets.address(number) for number in range(0, RECIPIENTS, 2)}, f"{len(sink.taken())} are mailed")
            read = fleet.condition("Campaign", "spring", "AudienceRead")["message"]
            require(f"{RECIPIENTS // 4} recipients have no known time zone" in read and "`Somewhere/Else`" in read, read)
            process.kill()
        with fleet.start() as process:
            says(process, "(Etc/GMT-6)")
            require(settled(sink) == RECIPIENTS // 2 and process.running(), f"{sink.count()['accepted']} after a restart: {process.tail()}")
            process.kill()
        # Now by the clock of the others.
        set_hours(fleet, {**within(5, 9, zoneField="zone"), "zone": "Etc/GMT-6"})
        code, output = fleet.run_once()
        require(code == 0, f"exit {code}: {output}")
        everybody_once(sink, RECIPIENTS)
    return f"{RECIPIENTS // 2} at first, {RECIPIENTS // 2} by another clock"


def a_start_with_a_zone(place):
    """A start by the clock of a zone is told by that clock, without any database of zones on the machine; what is no zone is told with the nearest."""
    with place.sink() as sink:
        fleet = place.fleet("start")
        fleet.write("fleet.yaml", fleets.smtp_server("relay", sink.port), fleets.plan("pro", "relay"))
        audience = {"inline": [{"email": "ann@example.org", "name": "Ann"}]}

        def start(at: str):
            fleet.write("campaign.yaml", fleets.campaign("spring", "pro", audience, startAt=at))

        start("2099-03-29T02:30[Europe/Berlin]")
        # A folder without zones stands for an image without any.
        (fleet.folder / "empty").mkdir()
        with fleet.start(once=False, variables={"TZDIR": str(fleet.folder / "empty")}):
            fleet.wait_state("Campaign", "spring", "Scheduled", SECONDS)
            message = fleet.condition("Campaign", "spring", "Ready")["message"]
            # The clock goes from 02:00 to 03:00 on that day.
            require(message == "Starts at 03:30 on Sun 2099-03-29 (Europe/Berlin).", message)
            start("2020-07-01T08:00[Europe/Berlin]")
            fleet.wait_state("Campaign", "spring", "Completed", SECONDS)
        require(sink.taken() == {"ann@example.org": 1}, f"{sink.taken()}")
        for wrong, words in {
            "2099-12-01T08:00[Europe/Berln]": "did you mean `Europe/Berlin`?",
            "2099-12-01T08:00+05:00[Europe/Berlin]": "contradicts itself: Europe/Berlin is at +01:00 then",
        }.items():
            fleet.write("campaign.yaml", fleets.campaign("autumn", "pro", audience, startAt=wrong))
            code, output = fleet.command("validate", "--strict", fleet.config)
            require(code == 2 and words in output and "spec.startAt" in output, f"validate: exit {code}: {output}")
            code, output = fleet.run_once()
            require(code == 1 and words in output, f"run: exit {code}: {output}")
    return "gap, past, and two that are wrong"


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all((opened_and_closed_by_edits, each_by_their_own_clock, a_start_with_a_zone), Shared(lambda: Place("hours")))
    cases.end()


if __name__ == "__main__":
    main()

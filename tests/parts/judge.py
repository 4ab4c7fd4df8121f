"""Whether everybody was mailed once, by what the sinks and the ledger say."""

from collections import Counter

from . import fleet as fleets
from .report import require
from .sinks import Sink

IN_FLIGHT_MAX = 64  # claims without an outcome that a process may hold


def everyone_once(states: dict[str, str], sinks: list[Sink], recipients: int) -> dict:
    """Everybody was mailed once or is listed as unknown, and no more are unknown than were on the wire."""
    everyone = {fleets.address(number) for number in range(recipients)}
    counts = Counter(states.values())
    require(set(states) == everyone, f"the ledger has {len(states)} recipients of {recipients}")
    require(set(counts) <= {"Accepted", "Unknown"}, f"recipients without a final outcome: {dict(counts)}")
    doubles = nobody_twice(states, sinks)
    answered = answered_by(sinks)
    unnamed = [recipient for recipient in everyone - answered if states[recipient] != "Unknown"]
    require(not unnamed, f"{len(unnamed)} recipients were not answered for and are not listed as unknown: {unnamed[:3]}")
    require(counts["Unknown"] <= IN_FLIGHT_MAX, f"{counts['Unknown']} unknown, but at most {IN_FLIGHT_MAX} were on the wire")
    return {"accepted": counts["Accepted"], "unknown": counts["Unknown"], "doubles": doubles}


def nobody_twice(states: dict[str, str], sinks: list[Sink]) -> int:
    """Nobody was mailed twice, and everybody who is Accepted in the ledger is in a sink; also for a campaign that did not complete."""
    # A real server may have accepted a message that arrived whole and got no reply: it counts as mailed.
    taken = sum((sink.taken() for sink in sinks), Counter())
    doubles = [recipient for recipient, count in taken.items() if count > 1]
    require(not doubles, f"{len(doubles)} recipients were mailed twice: {doubles[:3]}")
    answered = answered_by(sinks)
    lost = [recipient for recipient, state in states.items() if state == "Accepted" and recipient not in answered]
    require(not lost, f"{len(lost)} recipients are Accepted in the ledger, and no sink accepted them: {lost[:3]}")
    return len(doubles)


def answered_by(sinks: list[Sink]) -> set[str]:
    """Recipients for whom a sink replied that it accepted the message."""
    return {recipient for sink in sinks for word, recipient, _ in sink.lines() if word == "accepted"}

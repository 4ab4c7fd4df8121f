"""A fleet with one relay that keeps count, for suites about audiences."""

from . import fleet as fleets
from .process import wait_until
from .scripted import Scripted


class Relayed:
    """A fleet with one relay, its plan, and a campaign `spring` that a suite writes."""

    def __init__(self, place, name: str, *options: str, extensions: tuple[str, ...] = ("PIPELINING", "CHUNKING"), **limits):
        self.fleet = place.fleet(name, *options)
        self.server = Scripted(extensions=extensions)
        self.base = (fleets.smtp_server("relay", self.server.port, limits={"connections": 4, **limits}), fleets.plan("plan", "relay"))

    def write(self, audience: dict, *others: dict, name: str = "spring", **spec):
        """Writes the campaign, with other documents before it."""
        self.fleet.write("fleet.yaml", *self.base, *others, fleets.campaign(name, "plan", audience, **spec))

    def says(self, words: str, seconds: float = 60):
        """Waits until status says this of the campaign."""

        def conditions() -> list[dict]:
            return self.fleet.status("Campaign", "spring").get("conditions") or []

        try:
            wait_until(lambda: any(words in condition["message"] for condition in conditions()), seconds, words)
        except TimeoutError as late:
            raise AssertionError(f"{late}: {conditions()}") from late

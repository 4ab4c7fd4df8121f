#!/usr/bin/env python3
"""APIs as audiences: people on pages of JSON in each of the usual ways, refused for a while, killed in the middle, and without an end."""

from parts import fleet as fleets
from parts.api import NEXT, Api
from parts.place import Place
from parts.process import wait_until
from parts.relayed import Relayed
from parts.report import Cases, Shared, require

TOKEN = "token-of-the-crm-7"


def people(count: int) -> list[str]:
    """So many addresses."""
    return [fleets.address(number) for number in range(count)]


class Sent(Relayed):
    """A fleet with one relay, and the token of an API."""

    def write(self, audience: dict, **spec):
        """Writes the campaign."""
        super().write(audience, fleets.secret("crm", token=TOKEN), **spec)

    def everybody_once(self, wanted: list[str]):
        """All of them were mailed, and nobody twice."""
        taken = self.server.taken
        require(set(taken) == set(wanted), f"left out {sorted(set(wanted) - set(taken))[:3]}, too many {sorted(set(taken) - set(wanted))[:3]}")
        require(max(taken.values()) == 1, f"twice: {[who for who, count in taken.items() if count > 1][:3]}")


def every_way_to_page(place) -> str:
    """The Link header, a URL, a cursor, a page number, an offset, each with a token: everybody once; validate, preview and dry run see the people."""
    wanted = people(250)
    for way in NEXT:
        sent, api = Sent(place, way), Api(wanted, way, token=TOKEN)
        sent.write(api.audience())
        code, text = sent.fleet.command("validate", sent.fleet.config)
        require(code == 0 and not api.seen, f"validate fetches nothing: exit {code}: {text}")
        code, text = sent.fleet.run_once("-q")
        require(code == 0, f"{way}: exit {code}: {text}")
        sent.everybody_once(wanted)
        require(all(fields["authorization"] == f"Bearer {TOKEN}" for _, fields in api.seen), f"{way}: asked without the token")
        require(all(query["limit"] == "100" for query, _ in api.seen), f"{way}: {[query for query, _ in api.seen]}")
    one = Api(wanted[:3], "url", size=10)
    sent = Sent(place, "looks")
    sent.write(one.audience())
    code, text = sent.fleet.command("preview", "spring", sent.fleet.config, "--state", sent.fleet.state, "--recipient", wanted[2])
    require(code == 0 and f"Dear Name of {wanted[2]}," in text, f"preview: exit {code}: {text}")
    code, text = sent.fleet.run_once("--dry-run")
    require(code == 0 and "3" in text, f"dry run: exit {code}: {text}")
    kept = [path for path in [*sent.fleet.state.rglob("*"), *sent.fleet.folder.glob("run-*.out")] if path.is_file()]
    require(not [path for path in kept if TOKEN.encode() in path.read_bytes()], "the token is kept")
    return f"{len(NEXT)} ways, {len(wanted)} people each"


def refused_for_a_while(place) -> str:
    """Pages that are refused, and asked for again after the time that the server names; a wrong token, a list elsewhere and a page that stays away are told, and the campaign goes on by itself."""
    wanted = people(500)
    sent, api = Sent(place, "refused"), Api(wanted, "cursor", token=TOKEN)
    api.failures = {100: [(429, {"Retry-After": "1"}), (503, {})], 200: [(500, {})], 400: [(502, {})] * 5}
    process = sent.fleet.start(once=False)
    sent.write({"json": {**api.audience()["json"], "items": "/people"}})
    sent.says("the answer has no list at `/people`; its members are `total`, `results`, `paging`; correct `items`")
    sent.write({"json": {**api.audience()["json"], "columns": {}}})
    sent.says("no item of the first page has a member `email`; the first has `id`, `properties`; if `/properties/email` is it, write `columns: {email: /properties/email}`")
    require(not sent.server.taken, f"{dict(sent.server.taken)}")
    api.token = "another"
    sent.write(api.audience())
    sent.says("the server answered 401 Unauthorized; check the Secret that `auth` names")
    api.token = TOKEN
    # The page that stays away ends the first reading: whoever is on the pages before is mailed.
    wait_until(lambda: not api.failures[400], 120, "the last page is asked for")
    sent.fleet.wait_state("Campaign", "spring", "Completed", 120)
    process.kill()
    sent.everybody_once(wanted)
    return f"{len(api.seen)} requests for {len(wanted)} people"


def killed_in_the_middle(place) -> str:
    """Killed again and again while pages come and messages leave: everybody is mailed, and twice at most who was on the wire."""
    wanted = people(8000)
    sent, api = Sent(place, "killed", rates=[{"messages": 3000, "per": "1s"}]), Api(wanted, "link", size=250)
    sent.write(api.audience(), whenOutcomeIsUnknown="Resend")
    on_the_wire = set()
    for turn in range(3):
        api.failures = {1000 * (turn + 1): [(503, {})]}
        process = sent.fleet.start("-q")
        wait_until(lambda turn=turn: sum(sent.server.taken.values()) > 1000 * (turn + 1), 60, "it sends")
        process.kill()
        on_the_wire |= {who for who, state in sent.fleet.recipients("spring").items() if state == "Claimed"}
    code, text = sent.fleet.run_once("-q")
    require(code == 0, f"exit {code}: {text[-300:]}")
    require(set(sent.server.taken) == set(wanted), f"left out: {len(set(wanted) - set(sent.server.taken))}")
    twice = {who for who, count in sent.server.taken.items() if count > 1}
    require(twice <= on_the_wire, f"twice, and not on the wire: {sorted(twice - on_the_wire)[:3]}")
    left = [path.name for path in sent.fleet.state.iterdir() if path.name.endswith(".tmp")]
    require(not left, f"left in the state folder: {left}")
    return f"3 kills: {len(wanted)} mailed, {len(twice)} of {len(on_the_wire)} on the wire twice"


def pages_elsewhere(place) -> str:
    """A page on another host gets no token; with --deny-private-networks no page of this network is asked for; a list of people who are left out may be an API too."""
    wanted = people(150)
    sent, there = Sent(place, "elsewhere"), Api(wanted, "url")
    here = Api(wanted, "url", token=TOKEN)
    here.elsewhere = there.url
    sent.write({**here.audience(), "exclude": [Api(wanted[:20], "offset", size=7).audience()]})
    code, text = sent.fleet.run_once("-q")
    require(code == 0, f"exit {code}: {text}")
    sent.everybody_once(wanted[20:])
    require(there.seen and not [fields for _, fields in there.seen if "authorization" in fields or "referer" in fields], f"{there.seen}")
    asked = len(here.seen)
    sent = Sent(place, "denied", "--deny-private-networks")
    process = sent.fleet.start(once=False)
    sent.write(here.audience())
    sent.says("the host has no public address")
    process.kill()
    require(len(here.seen) == asked and not sent.server.taken, "something was reached")
    return f"{len(there.seen)} request without the token"


def without_an_end(place) -> str:
    """An API that gives its first page for ever: the campaign stops and says so, and goes on once the API pages."""
    wanted = people(300)
    for way, words in (("page", "page 2 has the same people as one before; the server may not know the parameter `page`"), ("url", "page 2 has the same people as one before")):
        sent, api = Sent(place, f"endless-{way}"), Api(wanted, way)
        api.is_stuck = True
        process = sent.fleet.start(once=False)
        sent.write(api.audience())
        sent.says(words)
        require(set(sent.server.taken) <= set(wanted[:100]), "who is on no page")
        api.is_stuck = False
        sent.fleet.wait_state("Campaign", "spring", "Completed", 120)
        process.kill()
        sent.everybody_once(wanted)
    return "2 ways not to end"


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all((every_way_to_page, refused_for_a_while, killed_in_the_middle, pages_elsewhere, without_an_end), Shared(lambda: Place("apis")))
    cases.end()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""DNS records of senders' domains, judged against a real name server (Knot DNS) on loopback.

Right, wrong, missing, split, oversized, aliased and failing records; the printed zone, loaded into the name server, turns every condition True; a
resolver that goes away changes nothing; and what mailbox providers ask of bulk senders, point by point.
"""

import base64
import difflib
import json
import subprocess
import time

from parts import fleet as fleets
from parts import ledgerfile
from parts.nameserver import NameServer
from parts.process import folder, wait_until
from parts.report import Cases, need, require
from parts.scripted import Scripted


def key(*options: str) -> tuple[str, str]:
    """A private key in PEM, and the `p=` of its record, by openssl."""
    pem = subprocess.run(["openssl", "genpkey", *options], capture_output=True, check=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubout", "-outform", "DER"], input=pem, capture_output=True, check=True).stdout
    # RFC 8463 publishes the bare 32 octets.
    public = der[-32:] if "ed25519" in options else der
    return pem.decode(), base64.b64encode(public).decode()


KEYS = {
    "rsa2048": key("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "rsa4096": key("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:4096"),
    "ed25519": key("-algorithm", "ed25519"),
}


# The key alone, as RFC 6376 has it in its text, where everybody publishes it with its algorithm.
BARE = base64.b64encode(
    subprocess.run(["openssl", "rsa", "-RSAPublicKey_out", "-outform", "DER"], input=KEYS["rsa2048"][0].encode(), capture_output=True, check=True).stdout
).decode()


def record(name: str) -> str:
    """The text of a key's record."""
    return f"v=DKIM1; k={'ed25519' if name == 'ed25519' else 'rsa'}; p={KEYS[name][1]}"


def quoted(text: str, length: int = 255) -> str:
    """A text as strings of a TXT record."""
    return " ".join(f'"{text[at : at + length]}"' for at in range(0, len(text), length))


def secrets() -> list[dict]:
    """The private keys, as Secrets."""
    return [fleets.secret(f"dkim-{name}", pem=pem) for name, (pem, _) in KEYS.items()]


def server(name: str, key_name: str = "ed25519", port: int = 2525, domain: str = "", **identity) -> dict:
    """A relay that sends for a domain of its own, signs, and sends from 192.0.2.10."""
    domain = domain or f"{name}.example"
    base = {
        "domains": [domain],
        "dkim": [{"domain": domain, "selector": "s1", "privateKeyRef": {"name": f"dkim-{key_name}", "key": "pem"}}],
        "sendingAddresses": ["192.0.2.10"],
    }
    return fleets.smtp_server(name, port, identity={**base, **identity})


def good(domain: str, key_name: str = "ed25519") -> dict[str, str]:
    """The records of such a domain, as lines by purpose."""
    return {
        "DKIM": f"s1._domainkey.{domain}. TXT {quoted(record(key_name))}",
        "SPF": f'{domain}. TXT "v=spf1 ip4:192.0.2.10 -all"',
        "DMARC": f'_dmarc.{domain}. TXT "v=DMARC1; p=none"',
        "return path": f"{domain}. MX 10 relay.example.",
    }


REVERSE = "10.2.0 PTR relay.example.\n"
HOSTS = "relay.example. A 192.0.2.10\n"
BULKY = "x=" + "y" * 1200

# Name of the domain, purpose, its line or lines instead, the verdict, and words of the message.
SITUATIONS = [
    ("right", "DKIM", None, "ok", ""),
    ("none", "DKIM", "", "missing", "has no TXT record. Publish: s1._domainkey.none.example. TXT \"v=DKIM1; k=ed25519; p="),
    ("other", "DKIM", f"s1._domainkey.other.example. TXT {quoted(record('rsa2048').replace('k=rsa', 'k=ed25519'))}", "wrong", "contains another key"),
    ("kind", "DKIM", f"s1._domainkey.kind.example. TXT {quoted(record('rsa2048'))}", "wrong", "is for a key of another type"),
    ("revoked", "DKIM", 's1._domainkey.revoked.example. TXT "v=DKIM1; p="', "wrong", "revokes the key"),
    ("bare", "DKIM", f"s1._domainkey.bare.example. TXT {quoted('v=DKIM1; p=' + BARE)}", "ok", ""),
    ("strings", "DKIM", f"s1._domainkey.strings.example. TXT {quoted(record('ed25519'), 20)}", "ok", ""),
    ("alias", "DKIM", f"s1._domainkey.alias.example. CNAME key.example.\nkey.example. TXT {quoted(record('ed25519'))}", "ok", ""),
    ("chain", "DKIM", "s1._domainkey.chain.example. CNAME c1.example.\nc1.example. CNAME c2.example.\nc2.example. CNAME key.example.", "ok", ""),
    ("dangling", "DKIM", "s1._domainkey.dangling.example. CNAME nothing-here.example.", "missing", "has no TXT record"),
    ("oversized", "DKIM", f"s1._domainkey.oversized.example. TXT {quoted(record('ed25519') + '; ' + BULKY)}", "ok", ""),
    ("twice", "DKIM", f"s1._domainkey.twice.example. TXT {quoted(record('ed25519'))}\ns1._domainkey.twice.example. TXT hello", "wrong", "more than one"),
    ("closed", "SPF", 'closed.example. TXT "v=spf1 ip4:192.0.2.77 -all"', "wrong", 'closed.example. TXT "v=spf1 ip4:192.0.2.10 ip4:192.0.2.77 -all"'),
    ("spf2", "SPF", 'spf2.example. TXT "v=spf1 a -all"\nspf2.example. TXT "v=spf1 mx -all"', "wrong", "has 2 SPF records"),
    ("spf0", "SPF", 'spf0.example. TXT "google-site-verification=x"', "missing", "has no SPF record"),
    ("deep", "SPF", "\n".join(f'{"deep" if n == 0 else f"d{n}"}.example. TXT "v=spf1 include:d{n + 1}.example -all"' for n in range(12)), "wrong", "more than 10 lookups"),
    ("voids", "SPF", 'voids.example. TXT "v=spf1 a:v1.example a:v2.example a:v3.example ip4:192.0.2.10 -all"', "wrong", "more than 2 of its lookups find nothing"),
    ("through", "SPF", 'through.example. TXT "v=spf1 redirect=_spf.example"\n_spf.example. TXT "v=spf1 a:relay.example ~all"', "ok", ""),
    ("macro", "SPF", 'macro.example. TXT "v=spf1 exists:%{ir}.list.example -all"\n10.2.0.192.list.example. A 127.0.0.2', "ok", ""),
    ("broken-include", "SPF", 'broken-include.example. TXT "v=spf1 include:servfail.example -all"', "not known", "SERVFAIL"),
    ("nodmarc", "DMARC", "", "missing", "neither _dmarc.nodmarc.example nor a domain above it has a policy"),
    ("sub.organization", "DMARC", '_dmarc.organization.example. TXT "v=DMARC1; p=quarantine"', "ok", ""),
    ("dmarc2", "DMARC", '_dmarc.dmarc2.example. TXT "v=DMARC1; p=none"\n_dmarc.dmarc2.example. TXT "v=DMARC1; p=reject"', "wrong", "more than once"),
    ("silent", "return path", "silent.example. MX 0 .", "wrong", "bounces are lost"),
    ("nomx", "return path", "nomx.example. A 192.0.2.99", "ok", ""),
    ("nowhere", "return path", "nowhere.example. MX 10 gone.example.", "wrong", "names a host that has an address"),
]


def zone_of_situations() -> str:
    """All of them in one zone."""
    lines = []
    for name, purpose, instead, _, _ in SITUATIONS:
        records = good(f"{name}.example")
        if instead is not None:
            records[purpose] = instead
        lines += records.values()
    return HOSTS + "\n".join(lines) + "\n"


def rows(fleet, *options: str) -> tuple[int, list[dict]]:
    """The exit code and the rows of `mailfleet dns -o json`."""
    words = [str(fleet.program), "dns", str(fleet.config), "-o", "json", *options]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    return done.returncode, json.loads(done.stdout) if done.stdout else []


def every_situation_is_judged(program) -> str:
    """One server for each situation, one name server for all of them."""
    need(NameServer.missing())
    place = folder("dns-situations")
    fleet = fleets.Fleet(place, program)
    servers = [server(name.replace(".", "-"), "rsa2048" if name == "bare" else "ed25519", domain=f"{name}.example") for name, *_ in SITUATIONS]
    fleet.write("fleet.yaml", *secrets(), *servers)
    zones = {"example": zone_of_situations(), "192.in-addr.arpa": REVERSE, "servfail.example": None}
    with NameServer(place / "knot", zones) as names:
        # What is proven of the name server itself: the answer does not fit into a datagram, and a broken zone fails.
        flags = subprocess.run(
            ["kdig", "+ignore", "+notcp", "@127.0.0.1", "-p", str(names.port), "s1._domainkey.oversized.example", "TXT"],
            capture_output=True, text=True, timeout=10,
        ).stdout
        require(" tc" in flags.split("Flags:", 1)[-1].split("\n", 1)[0], f"the oversized record is not truncated over UDP: {flags}")
        code, found = rows(fleet, "--resolver", names.address)
        require(code == 1, f"exit {code}")
        by_server = {}
        for row in found:
            for one in row["servers"]:
                by_server.setdefault(one.removeprefix("default/"), []).append(row)
        for name, purpose, _, verdict, words in SITUATIONS:
            own = [row for row in by_server[name.replace(".", "-")] if row["purpose"] in (purpose, "SPF")]
            row = next(row for row in own if row["purpose"] == purpose)
            require(row["verdict"] == verdict, f"{name}: {row}")
            require(words in row.get("message", ""), f"{name}: {words} is not in {row.get('message')}")
            others = [row for row in by_server[name.replace(".", "-")] if row["purpose"] != purpose and row["verdict"] != "ok"]
            require(not others, f"{name}: {others}")
        aliased = next(row for row in found if row["name"] == "s1._domainkey.chain.example")
        require(aliased["found"].startswith("CNAME "), f"the alias is not shown: {aliased}")
        code, text = fleet.command("dns", fleet.config, "--resolver", names.address, "-o", "zone", "--zone", "chain.example")
        require("s1._domainkey.chain.example. 3600 IN CNAME" in text, f"the alias is not printed: {text}")
        for domain, wanted in (("right", 0), ("none", 1), ("broken-include", 3)):
            alone = fleets.Fleet(place / domain, program)
            alone.write("fleet.yaml", *secrets(), server(domain))
            code, _ = rows(alone, "--resolver", names.address)
            require(code == wanted, f"{domain}: exit {code}, not {wanted}")
            code, found = rows(alone, "--no-lookup")
            require(code == 0 and "verdict" not in found[0], f"{domain} without lookups: exit {code}: {found[0]}")
        (place / "right/config/bad.yaml").write_text("kind: SendingServer\n")
        code, _ = rows(fleets.Fleet(place / "right", program), "--resolver", names.address)
        require(code == 2, f"a broken configuration: exit {code}")
    # A split horizon: inside, the domain is another.
    with NameServer(place / "inside", {"example": 'right.example. TXT "v=spf1 -all"\n', "192.in-addr.arpa": REVERSE}) as inside:
        code, found = rows(fleets.Fleet(place / "none", program), "--resolver", inside.address)
        require(code == 1 and not any(row["verdict"] == "not known" for row in found), f"inside: exit {code}: {found}")
        require({row["verdict"] for row in found if row["name"].endswith("none.example")} == {"missing"}, f"inside: {found}")
    code, found = rows(fleet, "--resolver", names.address)
    require(code == 3 and {row["verdict"] for row in found} == {"not known"}, f"without a resolver: exit {code}")
    return f"{len(SITUATIONS)} situations"


def identity(fleet, name: str) -> dict:
    """The condition of a server."""
    return fleet.condition("SendingServer", name, "IdentityReady")


def the_printed_zone_turns_every_condition_true(program) -> str:
    """Nothing is published; what `mailfleet dns -o zone` prints is loaded by the name server, and every server is ready."""
    need(NameServer.missing())
    place = folder("dns-zone")
    fleet = fleets.Fleet(place, program)
    names_of_servers = ["rsa", "large", "ed", "shared-a", "shared-b", "own", "six"]
    fleet.write(
        "fleet.yaml",
        *secrets(),
        fleets.plan("all", *names_of_servers),
        server("rsa", "rsa2048"),
        server("large", "rsa4096", returnPath="bounces.large.example"),
        server("ed", "ed25519", domain="a.b.ed.example"),
        # One SPF record permits both.
        server("shared-a", returnPath="shared.example", sendingAddresses=["192.0.2.20"]),
        server("shared-b", returnPath="shared.example", sendingAddresses=["192.0.2.21"]),
        # By the name of the host alone, whose address is public and known.
        fleets.smtp_server("own", 25, {"host": "relay.own.example"}, identity={"domains": ["own.example"]}),
        server("six", sendingAddresses=["2001:db8::10"]),
    )
    before = {"example": "relay.own.example. A 8.20.30.40\n", "192.in-addr.arpa": "", "8.in-addr.arpa": "", "ip6.arpa": ""}
    with NameServer(place / "knot", before) as names:
        process = fleet.start("-q", "--resolver", names.address, once=False)
        try:
            wait_until(lambda: all(identity(fleet, name).get("status") == "False" for name in names_of_servers), 30, "all are False")
            said = {name: identity(fleet, name) for name in names_of_servers}
            require(all("Publish: " in one["message"] for one in said.values()), f"no record to publish: {said}")
            loaded = {}
            for zone, text in before.items():
                code, printed = fleet.command("dns", fleet.config, "--resolver", names.address, "-o", "zone", "--zone", zone)
                require(code == 1, f"exit {code}: {printed}")
                (place / f"knot/{zone}.printed").write_text(printed)
                # As an administrator does it, beside what is there.
                loaded[zone] = text.replace("relay.own.example. A 8.20.30.40\n", "" if "relay.own.example." in printed else text) + f"$INCLUDE {zone}.printed\n"
            longest = max(len(part) for line in (place / "knot/example.printed").read_text().splitlines() for part in line.split('"')[1::2])
            require(longest <= 255, f"a string of {longest} bytes")
            names.change(**{zone.replace(".", "_"): text for zone, text in loaded.items()})
            wait_until(lambda: all(identity(fleet, name).get("status") == "True" for name in names_of_servers), 60, f"all are True: {[identity(fleet, n) for n in names_of_servers]}")
            code, found = rows(fleet, "--resolver", names.address)
            require(code == 0 and {row["verdict"] for row in found} == {"ok"}, f"exit {code}: {found}")
            shared = [row for row in found if (row["name"], row["purpose"]) == ("shared.example", "SPF")]
            require(len(shared) == 1 and len(shared[0]["servers"]) == 2, f"not one SPF record for both: {shared}")
            require({identity(fleet, name)["reason"] for name in names_of_servers} == {"RecordsPublished"}, "the reason")
        finally:
            process.kill()
    return f"{len(names_of_servers)} servers, {len(found)} records"


def a_resolver_that_is_away_changes_nothing(program) -> str:
    """`requireDns`: without records Inactive, with them Active, and as it was while the resolver is away; the messages are stable."""
    need(NameServer.missing())
    place = folder("dns-away")
    fleet = fleets.Fleet(place, program)
    relay = Scripted()
    people = [{"email": f"u{number}@example.com", "name": f"U{number}"} for number in range(20)]
    fleet.write(
        "fleet.yaml",
        *secrets(),
        server("strict", port=relay.port, requireDns=True),
        server("lax", port=relay.port),
        fleets.plan("all", "strict"),
        fleets.plan("other", "lax"),
        fleets.campaign("spring", "all", {"inline": people}, **{"from": {"address": "news@strict.example"}}),
    )
    published = HOSTS + "".join(f"{line}\n" for domain in ("strict", "lax") for line in good(f"{domain}.example").values())
    with NameServer(place / "knot", {"example": HOSTS, "192.in-addr.arpa": REVERSE}) as names:
        code, text = fleet.run_once("--resolver", names.address)
        require(code == 1 and "identity.requireDns is true" in text and not relay.taken, f"--once without records: exit {code}: {text[-600:]}")
        # Times in a status are whole seconds: the next process must not begin in the one in which this process wrote.
        now = lambda: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())  # noqa: E731
        wait_until(lambda: now() > identity(fleet, "strict")["lastTransitionTime"], 5, "that second is over")
        started = now()
        process = fleet.start("-q", "--resolver", names.address, once=False)

        def holds(strict: str, condition: str, reason: str = "", seconds: float = 60):
            def is_so() -> bool:
                of_strict, of_lax = identity(fleet, "strict"), identity(fleet, "lax")
                is_condition = of_strict.get("status") == of_lax.get("status") == condition and reason in ("", of_strict.get("reason"))
                return is_condition and fleet.status("SendingServer", "strict").get("state") == strict and fleet.status("SendingServer", "lax").get("state") == "Active"

            wait_until(is_so, seconds, f"{strict}, {condition} {reason}: {identity(fleet, 'strict')}", every=0.2)

        try:
            # Not what the process before left behind.
            wait_until(lambda: identity(fleet, "strict").get("lastTransitionTime", "") >= started, 60, "a look of this process")
            holds("Inactive", "False", "DkimRecordMissing")
            ready = fleet.condition("SendingServer", "strict", "Ready")
            require(ready["reason"] == "DkimRecordMissing" and "identity.requireDns is true" in ready["message"] and "Publish: s1._domainkey" in ready["message"], f"{ready}")
            require(not relay.taken, "somebody was mailed through an Inactive server")
            text = fleet.status_path("SendingServer", "strict").read_text()
            time.sleep(20)
            changed = difflib.unified_diff(text.splitlines(), fleet.status_path("SendingServer", "strict").read_text().splitlines(), lineterm="", n=0)
            require(not (told := "\n".join(changed)), f"the status changes from look to look: {told}")
            names.stop()
            holds("Inactive", "Unknown", "LookupFailed")
            require("the resolver does not answer" in identity(fleet, "strict")["message"], f"{identity(fleet, 'strict')}")
            names.zones["example"] = published
            names.start()
            holds("Active", "True")
            wait_until(lambda: fleet.status("Campaign", "spring").get("state") == "Completed", 30, "the campaign is sent")
            require(sum(relay.taken.values()) == len(people), f"{sum(relay.taken.values())} mails")
            names.stop()
            holds("Active", "Unknown", "LookupFailed")
            names.zones["example"] = published.replace("p=none", "p=sure")
            names.start()
            holds("Inactive", "False", "DmarcRecordInvalid")
            names.change(example=published)
            holds("Active", "True")
        finally:
            process.kill()
    # At a start without a resolver nothing is known, and a server is used as before.
    again = fleets.campaign("spring", "all", {"inline": people}, run="second", **{"from": {"address": "news@strict.example"}})
    fleet.write("again.yaml", again)
    text = (fleet.config / "fleet.yaml").read_text()
    (fleet.config / "fleet.yaml").write_text(text[: text.index('---\n{\n "apiVersion": "mailfleet.dev/v1alpha1",\n "kind": "Campaign"')])
    code, text = fleet.run_once("-q", "--resolver", names.address)
    require(code == 0 and sum(relay.taken.values()) == 2 * len(people), f"a start without a resolver: exit {code}: {text[-500:]}")
    return f"{len(people)} mailed once the records were there, and {len(people)} without a resolver"


def a_bulk_sender_becomes_ready(program) -> str:
    """A newsletter from gmail.com with nothing in order: the condition names every point that is open, each fix takes one away, and with the last it is True; it turns False with complaints, and nothing ever waits for it."""
    need(NameServer.missing())
    place = folder("dns-bulk")
    fleet = fleets.Fleet(place, program)
    relay = Scripted(extensions=("PIPELINING", "CHUNKING"))
    people = {"inline": [{"email": f"u{number}@people.example"} for number in range(1000)]}
    text = {"subject": "Hi", "content": {"text": "Hi"}}
    receipts = fleets.campaign("receipts", "all", people, **{"from": {"address": "shop@news.example"}}, **text)
    records = {**good("news.example"), "host": HOSTS.strip()}
    spec = {"startAt": "2999-01-01T00:00:00Z", "unsubscribe": {"url": "https://news.example/leave"}, **text, "from": {"address": "news@gmail.com"}}
    names = NameServer(place / "knot", {"example": "", "192.in-addr.arpa": ""})
    seen = []

    def shown(reason: str, *words: str, without: tuple[str, ...] = (), restarts: bool = True) -> str:
        """The message, once it has these words and none of the others."""
        told = lambda: fleet.condition("Campaign", "spring", "BulkSenderReady")  # noqa: E731
        is_so = lambda one: one.get("reason") == reason and all(word in one["message"] for word in words) and not any(word in one["message"] for word in without)  # noqa: E731
        process = fleet.start("-q", "--resolver", names.address, once=False) if restarts else None
        try:
            wait_until(lambda: is_so(told()), 60, f"{reason} with {words}, without {without}")
            require(fleet.condition("Campaign", "spring", "Ready")["reason"] == "Scheduled", "it waits for its time alone")
            require(not fleet.condition("Campaign", "receipts", "BulkSenderReady"), "receipts are not asked")
        finally:
            if process:
                process.kill()
        seen.append(reason)
        return told()["message"]

    with names:
        fleet.write("server.yaml", *secrets(), server("news", port=relay.port), fleets.plan("all", "news"))
        fleet.write("receipts.yaml", receipts)
        code, output = fleet.run_once("-q", "--resolver", names.address)
        require(code == 0 and sum(relay.taken.values()) == 1000, f"exit {code}: {output[-300:]}")
        write = lambda: fleet.write("spring.yaml", fleets.campaign("spring", "all", {"inline": [{"email": "a@people.example"}]}, **spec))  # noqa: E731
        write()
        shown("RequirementsOpen", "From domain: gmail.com", "one-click: ", "visible link: ", without=("SPF: ",))
        code, output = fleet.command("validate", fleet.config, "-o", "json")
        open_points = [(finding["severity"], finding["field"]) for finding in json.loads(output)["findings"] if "ask for it" in finding["message"]]
        require(code == 0 and sorted(open_points) == [("warning", f"spec.{field}") for field in ("content", "from.address", "unsubscribe")], f"exit {code}: {open_points}")
        code, output = fleet.command("validate", fleet.config, "--strict")
        require(code == 2, f"--strict: exit {code}")
        of_dns = ("SPF: ", "DKIM: ", "DMARC: ", "PTR: ")
        for field, value, gone in (
            ("from", {"address": "news@news.example"}, "From domain: "),
            ("unsubscribe", {"url": "https://news.example/leave", "oneClick": {}}, "one-click: "),
            ("content", {"text": "Hi. Leave: {{ unsubscribe_url }}"}, "visible link: "),
        ):
            spec[field] = value
            write()
            message = shown("RequirementsOpen", *of_dns, "(default/news)", without=(gone,))
        code, output = fleet.command("validate", fleet.config)
        require(code == 0 and "no faults" in output and "warning" not in output, f"exit {code}: {output}")
        published = []
        for purpose, point in (("SPF", "SPF: "), ("DKIM", "DKIM: "), ("DMARC", "DMARC: ")):
            published += [records[purpose]]
            names.change(example="\n".join(published) + "\n")
            left = of_dns[of_dns.index(point) + 1 :]
            message = shown("RequirementsOpen", *left, without=(point,))
        require("\n" not in message and "`mailfleet dns`" in message, message)
        names.change(example="\n".join([*published, records["return path"], records["host"]]) + "\n", **{"192_in-addr_arpa": REVERSE})
        shown("RequirementsMet")
        ledgerfile.set_complaints(fleet.state, "receipts", 4)
        shown("RequirementsOpen", "spam rate: 0.3% or more", without=of_dns)
        ledgerfile.set_complaints(fleet.state, "receipts", 2)
        shown("RequirementsMet", "0.1% or more of what this namespace sent")
    return f"{len(seen)} states of one newsletter, from 7 open points to none; 1,000 receipts left alone"


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all(
        (every_situation_is_judged, the_printed_zone_turns_every_condition_true, a_resolver_that_is_away_changes_nothing, a_bulk_sender_becomes_ready),
        fleets.binary(),
    )
    cases.end()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Metrics as Prometheus wants them, judged by its own parsers, promtool and Prometheus itself; and that they say what `mailfleet get` says."""

import json
import json
import time

from parts import alerts, prometheus
from parts import fleet as fleets
from parts.fleet import campaign, plan, smtp_server
from parts.place import Place
from parts.process import free_port, wait_until
from parts.prometheus import Prometheus, Scrape, promtool
from parts.report import Cases, Shared, require
from parts.scripted import Scripted

PEOPLE = 120
DEAD = "550 5.1.1 no such user"
# Two servers with limits beside one that dies; 24 hours is the window whose use is shown.
DAILY = {"rates": [{"messages": 5000, "per": "24h"}, {"messages": 200, "per": "1s"}]}


class Mailboxes(Scripted):
    """A server that rejects the dead, puts the busy off, and is well until it is down."""

    def __init__(self):
        self.is_down = False
        super().__init__(self.answer)

    def answer(self, stage, session):
        if self.is_down:
            return "421 4.3.2 shutting down"
        if stage == "rcpt" and session.recipient.startswith("dead"):
            return DEAD
        return "450 4.2.1 busy" if stage == "rcpt" and session.recipient.startswith("busy") else None


class Watched(fleets.Fleet):
    """A fleet whose process serves metrics."""

    def __init__(self, place, name: str):
        self.admin = free_port()
        super().__init__(place.new(name), place.program, f"--admin-address=127.0.0.1:{self.admin}")

    def got(self, kind: str) -> list[dict]:
        """The objects of a kind, as `mailfleet get` has them."""
        code, text = self.command("get", kind, "--state", self.state, "-o", "json")
        require(code == 0, f"get {kind}: {text}")
        return json.loads(text)["items"]


def people(fleet, name: str, *special: str):
    """An audience with these people before the others."""
    everybody = [*special, *(fleets.address(number) for number in range(PEOPLE))]
    (fleet.config / f"{name}.csv").write_text("email,name\n" + "".join(f"{one},Person\n" for one in everybody))
    return {"csv": {"path": f"{name}.csv"}}


def at_work(place, name: str, mailboxes, steady, dying):
    """A fleet that begins to send a campaign through three servers; and its process."""
    fleet = Watched(place, name)
    special = [*(f"dead{n}@example.com" for n in range(5)), *(f"busy{n}@example.com" for n in range(3))]
    objects = [
        smtp_server("mailboxes", mailboxes.port, limits=DAILY),
        smtp_server("steady", steady.port, limits=DAILY, warmup={"startDate": time.strftime("%Y-%m-%d", time.gmtime()), "preset": "Balanced"}),
        smtp_server("dying", dying.port, limits={"rates": [{"messages": 20, "per": "1s"}]}, probe={"interval": "5s", "failureThreshold": 1}),
        smtp_server("unused", free_port(), probe={"failureThreshold": 1}),
        plan("pro", "mailboxes", "steady", "dying"),
        plan("dead", "dying"),
        plan("spare", "unused"),
    ]
    once = {"retry": {"attempts": 1}, "stopWhen": {"bouncePercent": "100"}}
    fleet.write("fleet.yaml", *objects, campaign("spring", "pro", people(fleet, "spring", *special), **once))
    return fleet, fleet.start("--quiet", once=False)


class AtRest:
    """The fleet of `at_work`, once it rests: one server died, and another campaign waits for it."""

    def __init__(self, place, name: str):
        self.servers = [Mailboxes(), Mailboxes(), Mailboxes()]
        dying = self.servers[-1]
        self.fleet, self.process = at_work(place, name, *self.servers)
        try:
            wait_until(lambda: dying.taken, 60, "the server that dies takes something")
            dying.is_down = True
            self.fleet.wait_state("Campaign", "spring", "Completed", 120)
            self.fleet.wait_state("SendingServer", "dying", "Inactive", 60)
            self.fleet.wait_state("SendingServer", "unused", "Inactive", 60)
            self.fleet.write("late.yaml", campaign("late", "dead", {"inline": [{"email": "ann@example.com", "name": "Ann"}]}, whenNoServerIsActive="Wait"))
            self.fleet.wait_state("Campaign", "late", "Waiting", 60)
        except BaseException:
            self.close()
            raise

    def close(self):
        self.process.stop()
        for server in self.servers:
            server.close()

    def __enter__(self):
        return self.fleet

    def __exit__(self, *_):
        self.close()


def both_forms_are_good(place):
    """OpenMetrics by the strict parser of Prometheus's client, and the text format by that and by promtool; with the same series."""
    with AtRest(place, "forms") as fleet:
        kind, text = prometheus.scrape(fleet.admin, prometheus.OPEN_METRICS)
        require(kind == "application/openmetrics-text; version=1.0.0; charset=utf-8" and text.endswith("\n# EOF\n"), f"{kind}: {text[-200:]}")
        opened = Scrape.of(text, "openmetrics")
        kind, plain = prometheus.scrape(fleet.admin, prometheus.TEXT)
        require(kind == "text/plain; version=0.0.4; charset=utf-8", kind)
        code, told = promtool("check", "metrics", given=plain)
        require(code == 0 and not told.strip(), f"promtool check metrics: {code} {told}")


        def names(scrape: Scrape) -> set[tuple]:
            # The bounds of buckets are the same numbers, written differently.
            return {(name, *((label, value) for label, value in labels if label != "le")) for name, *labels in scrape.samples()}

        def differ() -> set[tuple]:
            both = [prometheus.scrape(fleet.admin, accept)[1] for accept in (prometheus.OPEN_METRICS, prometheus.TEXT)]
            return names(Scrape.of(both[0], "openmetrics")) ^ names(Scrape.of(both[1], "text"))

        wait_until(lambda: not differ(), 30, "the same series in both forms", every=0.5)
        for family in opened.families:
            require(family["help"], f"{family['name']} has no help")
            if family["name"].endswith(("_seconds", "_bytes")):
                require(family["unit"] and family["name"].endswith(family["unit"]), f"{family['name']}: unit {family['unit']}")
        kinds = {family["type"] for family in opened.families}
        require(kinds == {"info", "gauge", "counter", "histogram"}, f"{kinds}")
        # The test of tests: what is wrong is seen.
        code, told = promtool("check", "metrics", given="# TYPE x_total gauge\nx_total 1\n")
        require(code != 0 and "help" in told, f"promtool finds nothing: {code} {told}")
        return f"{len(opened.families)} metrics, {len(opened.samples())} series"


def prometheus_reads_them(place):
    """Prometheus scrapes the process as it is: types and units arrive, and its queries have answers."""
    with AtRest(place, "scraped") as fleet, Prometheus(place.new("prometheus"), fleet.admin) as server:
        wait_until(lambda: server.target().get("health") == "up", 60, f"a scrape: {server.target()}")
        require(server.target()["lastError"] == "", f"{server.target()}")
        wait_until(lambda: server.query("mailfleet_leader"), 30, "the first samples")
        described = {one["metric"]: one for one in server.ask("targets/metadata")}
        for name, kind, unit in [
            ("mailfleet_turn_duration_seconds", "histogram", "seconds"),
            ("mailfleet_server_messages", "counter", ""),
            ("mailfleet_ledger_size_bytes", "gauge", "bytes"),
            ("mailfleet_build", "info", ""),
        ]:
            one = described.get(name, {})
            require((one.get("type"), one.get("unit")) == (kind, unit) and one.get("help"), f"{name}: {one}")
        accepted = server.query('sum(mailfleet_server_messages_total{outcome="Accepted"})')
        require(accepted and accepted[0][1] == PEOPLE, f"{accepted}")
        share = server.query("max(mailfleet_server_limit_used_messages / on(server, window) mailfleet_server_limit_messages)")
        require(share and 0 < share[0][1] < 1, f"{share}")
        median = server.query("histogram_quantile(0.5, sum by (le) (mailfleet_delivery_duration_seconds_bucket))")
        require(median and 0 < median[0][1] < 60, f"{median}")
        for panel in json.loads((fleets.ROOT / "charts/mailfleet/files/grafana-dashboard.json").read_text())["panels"]:
            for target in panel.get("targets", []):
                expression = target["expr"].replace("$__rate_interval", "1m").replace("$job", ".*").replace("$server", ".*").replace("$campaign", ".*")
                # An expression that cannot be read, or whose labels do not match one to one, is refused.
                server.query(expression)
        code, told = promtool("query", "instant", f"http://127.0.0.1:{server.port}", "up")
        require(code == 0 and "=> 1 @" in told, told)
        return f"{len(described)} metrics"


def words(conditions: list[dict]) -> set[tuple[str, str]]:
    return {(one["type"], one["status"]) for one in conditions}


def holding(scrape: Scrape, name: str, label: str, key: str, labels: tuple[str, ...]) -> set[tuple]:
    """The labels of the series that are 1, of one object."""
    found = set()
    for (one, *pairs), value in scrape.samples().items():
        given = dict(pairs)
        if one == name and value == 1 and given[label] == key:
            found.add(tuple(given[other] for other in labels))
    return found


def differences(fleet) -> list[str]:
    """What `mailfleet get` and the metrics say differently."""
    servers, plans, campaigns = (fleet.got(kind) for kind in ("servers", "plans", "campaigns"))
    scrape = Scrape.at(fleet.admin)
    found: list[str] = []

    def same(what: str, got, measured):
        if got != measured:
            found.append(f"{what}: get {got}, metrics {measured}")

    def totals(name: str, objects: list[dict]):
        for state, count in scrape.by(name, "state").items():
            same(f"{name} {state}", sum(one["status"]["state"] == state for one in objects), count)

    totals("mailfleet_servers", servers)
    totals("mailfleet_campaigns", campaigns)
    for one in servers:
        key, status = f"{one['metadata']['namespace']}/{one['metadata']['name']}", one["status"]
        value = lambda name, key=key, **labels: scrape.value(f"mailfleet_server_{name}", server=key, **labels)  # noqa: E731
        ready = next(condition for condition in status["conditions"] if condition["type"] == "Ready")
        same(f"{key} is active", float(status["state"] == "Active"), value("active"))
        same(f"{key} type", 1.0, value("info", provider=status["provider"]))
        same(f"{key} reason", {(ready["reason"],)}, holding(scrape, "mailfleet_server_reason", "server", key, ("reason",)))
        same(f"{key} conditions", words(status["conditions"]), holding(scrape, "mailfleet_server_condition", "server", key, ("condition", "status")))
        rates = {rate["per"]: float(rate["messages"]) for rate in status["effective"].get("rates", [])}
        same(f"{key} limits", rates, scrape.by("mailfleet_server_limit_messages", "window", server=key))
        if used := status.get("used"):
            count, window = used.split("/")[0], used.split(" per ")[1]
            same(f"{key} used", float(count), value("limit_used_messages", window=window))
        if warmup := status.get("warmup"):
            for field, name in (("limit", "limit_messages"), ("step", "step"), ("steps", "steps"), ("used", "used_messages")):
                same(f"{key} warmup.{field}", warmup.get(field), value(f"warmup_{name}"))
            same(f"{key} warmup.daysNotCounted", warmup.get("daysNotCounted", 0), value("warmup_held_steps"))
    for one in plans:
        key, status = f"{one['metadata']['namespace']}/{one['metadata']['name']}", one["status"]
        for field, name in (("serversActive", "servers_active"), ("serversGranted", "servers_granted"), ("campaigns", "campaigns")):
            same(f"{key} {field}", status[field], scrape.value(f"mailfleet_plan_{name}", plan=key))
    accepted: dict[str, float] = {}
    for one in campaigns:
        key, status = f"{one['metadata']['namespace']}/{one['metadata']['name']}", one["status"]
        recipients = scrape.by("mailfleet_campaign_recipients", "outcome", campaign=key)
        ready = next(condition for condition in status["conditions"] if condition["type"] == "Ready")
        same(f"{key} state", {(status["state"],)}, holding(scrape, "mailfleet_campaign_state", "campaign", key, ("state",)))
        same(f"{key} reason", {(ready["reason"],)}, holding(scrape, "mailfleet_campaign_reason", "campaign", key, ("reason",)))
        same(f"{key} conditions", words(status["conditions"]), holding(scrape, "mailfleet_campaign_condition", "campaign", key, ("condition", "status")))
        for outcome, count in recipients.items():
            field = outcome[0].lower() + outcome[1:]
            if outcome != "Pending":
                same(f"{key} recipients.{field}", status["recipients"].get(field, 0), count)
        if (total := status["recipients"].get("total")) is not None:
            same(f"{key} recipients.total", total, sum(recipients.values()))
            same(f"{key} expected", total, scrape.value("mailfleet_campaign_recipients_expected", campaign=key, estimate="false"))
        if status["state"] == "Completed":
            same(f"{key} backlog", 0, scrape.value("mailfleet_campaign_backlog_recipients", campaign=key))
        for row in status["servers"]:
            accepted[row["server"]] = accepted.get(row["server"], 0) + row["accepted"]
    for server, count in accepted.items():
        same(f"{server} accepted", count, scrape.value("mailfleet_server_messages_total", server=server, outcome="Accepted") or 0)
    return found


def get_and_metrics_say_the_same(place):
    """A campaign over servers of which one dies, another that waits: at rest each figure of `get -o json` is that of the metrics."""
    with AtRest(place, "agree") as fleet:
        told = []

        def agree() -> bool:
            told[:] = differences(fleet)
            return not told

        try:
            wait_until(agree, 30, "both say the same", every=0.5)
        except TimeoutError:
            require(False, "; ".join(told[:5]))
        scrape = Scrape.at(fleet.admin)
        by_outcome = scrape.by("mailfleet_campaign_recipients", "outcome", campaign="default/spring")
        require(by_outcome["Accepted"] == PEOPLE, f"{by_outcome}")
        # So that the comparison compares something: each kind of answer was given, and each state is there.
        require((by_outcome["Rejected"], by_outcome["Expired"]) == (5, 3), f"{by_outcome}")
        answers = scrape.by("mailfleet_server_messages_total", "outcome", server="default/mailboxes")
        require(answers["Accepted"] > 0, f"{answers}")
        require(scrape.value("mailfleet_servers", state="Inactive") == 2 and scrape.value("mailfleet_campaigns", state="Waiting") == 1, "the states")
        require(scrape.value("mailfleet_server_campaigns", server="default/dying") == 1, "the campaign that waits needs the dead server")
        # It waits from before its audience is read.
        wait_until(lambda: Scrape.at(fleet.admin).value("mailfleet_backlog_recipients") == 1, 30, "the one who waits", every=0.5)
        ledger = fleet.recipients("spring")
        require(sum(state == "Accepted" for state in ledger.values()) == PEOPLE, "the ledger")
        return f"{len(scrape.samples())} series"


def the_config_is_watched(place):
    """A broken file is told by the metrics until it is fixed."""
    fleet = Watched(place, "config")
    with place.sink() as sink:
        fleet.write("fleet.yaml", smtp_server("relay", sink.port), plan("pro", "relay"))
        process = fleet.start("--quiet", once=False)
        good = lambda: Scrape.at(fleet.admin).value("mailfleet_config_last_reload_successful")  # noqa: E731
        try:
            wait_until(lambda: prometheus.answers(fleet.admin) and good() == 1.0, 60, "the good file")
            fleet.write("fleet.yaml", smtp_server("relay", sink.port, enabled="maybe"), plan("pro", "relay"))
            wait_until(lambda: good() == 0.0, 30, "the broken file is told")
            scrape = Scrape.at(fleet.admin)
            require(scrape.value("mailfleet_config_broken_objects", kind="SendingServer") == 1, "the broken server")
            require((scrape.value("mailfleet_config_faults") or 0) >= 1, "the fault")
            before = scrape.value("mailfleet_config_last_reload_success_timestamp_seconds")
            fleet.write("fleet.yaml", smtp_server("relay", sink.port), plan("pro", "relay"))
            wait_until(lambda: good() == 1.0, 30, "the fixed file")
            require(Scrape.at(fleet.admin).value("mailfleet_config_last_reload_success_timestamp_seconds") > before, "the time of the last good read")
        finally:
            process.stop()
    return ""


def each_alert_fires_when_it_should(place):
    """promtool checks the rules, and tests each alert with what makes it fire and with what does not."""
    code, told = promtool("check", "rules", alerts.RULES)
    require(code == 0 and f"{len(alerts.names())} rules found" in told, told)
    tested = {alert.name for alert in alerts.ALERTS}
    require(tested == set(alerts.names()), f"without a test, or gone: {sorted(tested ^ set(alerts.names()))}")
    folder = place.new("rules")
    files = [alerts.write(folder / f"every-{step}-minutes.yaml", step, alerts.tests(step)) for step in (1, 60)]
    code, told = promtool("test", "rules", *files, folder=folder)
    require(code == 0, f"promtool test rules: {told[-3000:]}")
    # The test of tests: an alert that never fires, and one that always does, are seen.
    for number, (given, fires) in enumerate([([], True), (alerts.ALERTS[4].fires, False)]):
        broken = alerts.write(folder / f"broken-{number}.yaml", 1, [alerts.case(alerts.ALERTS[4], given, fires)])
        code, told = promtool("test", "rules", broken, folder=folder)
        require(code != 0 and "FAILED" in told, told)
    return f"{len(alerts.names())} alerts, {len(alerts.tests(1)) + len(alerts.tests(60))} tests"


def alerts_arrive_with_their_words(place):
    """Prometheus with the rules beside a fleet with a dead server: the alerts are those, and their texts name the objects."""
    folder = place.new("alerts")
    # The same without waiting: how long is tested by promtool.
    rules = "".join(line for line in alerts.RULES.read_text().splitlines(keepends=True) if not line.strip().startswith("for: "))
    (folder / "rules.yaml").write_text(rules)
    with AtRest(place, "alerting") as fleet, Prometheus(folder, fleet.admin, folder / "rules.yaml") as server:

        def firing() -> dict[tuple, dict]:
            found = server.ask("alerts")["alerts"]
            return {(one["labels"]["alertname"], one["labels"].get("server") or one["labels"].get("campaign")): one for one in found if one["state"] == "firing"}

        wanted = {("MailfleetServerInactive", "default/dying"), ("MailfleetProbeFailing", "default/unused"), ("MailfleetNoServerLeft", "default/late")}
        wait_until(lambda: wanted <= set(firing()), 60, f"the alerts {sorted(wanted)}")
        found = firing()
        # A start without a scrape is an absent process for a moment.
        # And how full the disk is here is nobody's fault.
        others = {name for name, _ in found} - {name for name, _ in wanted} - {"MailfleetAbsent", "MailfleetLedgerDiskFilling"}
        require(not others, f"{sorted(others)}")
        for (name, which), one in found.items():
            texts = " ".join(one["annotations"].values())
            require("error" not in texts.lower() and "no value" not in texts and "{{" not in texts, texts)
            require(which is None or which in one["annotations"]["summary"], texts)
            require(one["annotations"]["runbook_url"].endswith(f"#{name.lower()}"), texts)
        return ", ".join(sorted(name for name, _ in found))


def main():
    cases = Cases(__doc__)
    cases.parse()
    place = Shared(lambda: Place("metrics"))
    cases.add_all((both_forms_are_good, prometheus_reads_them, get_and_metrics_say_the_same, the_config_is_watched, each_alert_fires_when_it_should, alerts_arrive_with_their_words), place, needs=prometheus.missing)
    cases.end()


if __name__ == "__main__":
    main()

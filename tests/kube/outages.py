"""What goes away during a campaign: the leader, the API server, the campaign, its namespace, the whole cluster."""

import json
import os
import signal
import time
from collections import Counter
from urllib.parse import urlencode

from parts import fleet as fleets
from parts.controller import Controller
from parts.judge import everyone_once, nobody_twice
from parts.kubeapi import config_map, path_of
from parts.process import wait_until
from parts.report import require

from .basics import replace_crd
from .place import QUICK_PROBE, Clusters, csv, people, wait_state, within

# This delay for each message over so many connections makes 200 messages a second.
SLOW, CONNECTIONS = "10ms", 2
RATE = 200
# Between two messages: while the API server is away, and while its start takes all processors of a small machine.
GAP_SECONDS, START_GAP_SECONDS = 1.0, 2.0
CATCH_UP_SECONDS = 10.0
# After meeting a finalizer the namespace controller retries only 8 s later.
GONE_SECONDS = {"Campaign": 5.0, "Namespace": 20.0}


def long_campaign(namespace: str, recipients: int, *ports: int, **campaign) -> list[dict]:
    """Servers on these ports, a plan over them, and a campaign from a ConfigMap."""
    limits = {"connections": CONNECTIONS}
    servers = [fleets.smtp_server(f"relay-{number}", port, probe=QUICK_PROBE, limits=limits) for number, port in enumerate(ports)]
    names = [server["metadata"]["name"] for server in servers]
    audience = {"csv": {"configMapRef": {"name": "people", "key": "people.csv"}}}
    objects = [*servers, fleets.plan("pro", *names), fleets.campaign("spring", "pro", audience, **campaign)]
    return [config_map(namespace, "people", people__csv=csv(recipients)), *within(namespace, *objects)]


def accepted(*sinks) -> int:
    """Messages that the sinks took since they started."""
    return sum(sink.count()["accepted"] for sink in sinks)


def wait_accepted(number: int, *sinks, seconds: float = 60):
    """Waits until the sinks have taken that many."""
    wait_until(lambda: accepted(*sinks) >= number, seconds, f"{number} messages in the sinks", every=0.005)


def two_on_one_state(place: Clusters, namespace: str, plane=None) -> tuple[Controller, Controller]:
    """A leader, and a standby with the same state folder."""
    leader = place.controller(namespace, plane=plane).start()
    standby = place.controller(namespace, plane=plane, state=leader.state).start(leads=False)
    wait_until(lambda: "standing by" in standby.process.text(), 20, "the standby")
    return leader, standby


def leader_killed(place: Clusters) -> str:
    """kill -9 of the leader: the standby takes over, and everybody is mailed once or listed as unknown."""
    api, namespace, recipients = place.plane.api, place.namespace("killed"), 2_000 if place.quick else 10_000
    with place.sink("--delay", SLOW) as one, place.sink("--delay", SLOW) as two:
        leader, standby = two_on_one_state(place, namespace)
        with leader, standby:
            api.apply(*long_campaign(namespace, recipients, one.port, two.port))
            wait_accepted(recipients // 3, one, two)
            leader.kill()
            begin, at_kill = time.monotonic(), accepted(one, two)
            standby.wait_leads(30)
            wait_until(lambda: accepted(one, two) > at_kill + 10, 30, "the other sending")
            takeover = time.monotonic() - begin
            wait_state(api, "Campaign", namespace, "spring", "Completed", recipients / RATE + 60)
            facts = everyone_once(standby.recipients("spring", namespace=namespace), [one, two], recipients)
            counts = api.status("Campaign", namespace, "spring")["recipients"]
            require((counts["accepted"], counts["unknown"]) == (facts["accepted"], facts["unknown"]), f"status {counts}, ledger {facts}")
    return f"killed after {at_kill} of {recipients}; the standby sent after {takeover:.1f} s; {facts['unknown']} unknown, 0 mailed twice"


def leader_paused(place: Clusters) -> str:
    """A leader that is suspended for longer than its Lease and wakes up: it sends nothing more, and nobody is mailed twice."""
    api, namespace, recipients = place.plane.api, place.namespace("paused"), 1_500 if place.quick else 6_000
    with place.sink("--delay", SLOW) as sink:
        leader, standby = two_on_one_state(place, namespace)
        with leader, standby:
            api.apply(*long_campaign(namespace, recipients, sink.port))
            wait_accepted(recipients // 3, sink)
            leader.process.signal(signal.SIGSTOP)
            try:
                standby.wait_leads(30)
                # Longer than a claim, a batch or a turn: whatever was in progress is old when the leader wakes up.
                time.sleep(3)
            finally:
                leader.process.signal(signal.SIGCONT)
            code = leader.process.wait(40)
            require(code == 3, f"the woken leader ended with {code} instead of 3: {leader.process.tail()}")
            wait_state(api, "Campaign", namespace, "spring", "Completed", recipients / RATE * 2 + 60)
            facts = everyone_once(standby.recipients("spring", namespace=namespace), [sink], recipients)
    return f"it exited; {facts['unknown']} unknown, 0 mailed twice"


class Pulse:
    """The longest pause between two messages at the sinks, while it is measured."""

    def __init__(self, *sinks):
        self.sinks = sinks
        self.restart()

    def restart(self):
        """Measures from now on."""
        self.count, self.at, self.longest = accepted(*self.sinks), time.monotonic(), 0.0

    def look(self):
        """One look."""
        count, now = accepted(*self.sinks), time.monotonic()
        if count != self.count:
            self.longest, self.count, self.at = max(self.longest, now - self.at), count, now
        self.longest = max(self.longest, now - self.at)

    def watch(self, seconds: float):
        """Samples every 5 ms for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()
            time.sleep(0.005)


def api_server_down(place: Clusters) -> str:
    """The API server stopped during a campaign: sending never pauses, the leader stays, and status is correct soon after its return."""
    away = 15 if place.quick else 60
    recipients = RATE * (away + 18)
    with place.own_plane("away") as plane, place.sink("--delay", SLOW) as sink, place.sink("--delay", SLOW) as idle:
        namespace = plane.api.namespace("away")
        leader, standby = two_on_one_state(place, namespace, plane)
        with leader, standby:
            plane.api.apply(*long_campaign(namespace, recipients, sink.port))
            # Another server, which fails meanwhile.
            plane.api.apply(*within(namespace, fleets.smtp_server("doomed", idle.port, probe=QUICK_PROBE), fleets.plan("other", "doomed")))
            plane.api.wait_condition("SendingServer", namespace, "doomed", "Ready", seconds=20, status="True")
            wait_accepted(RATE * 3, sink)
            pulse = Pulse(sink)
            pulse.watch(3)
            before = pulse.longest
            pulse.restart()
            plane.stop_apiserver()
            idle.kill()
            pulse.watch(away)
            longest = pulse.longest
            pulse.restart()
            plane.start_apiserver(meanwhile=pulse.look)
            back, at_return = time.monotonic(), accepted(sink)

            def is_right():
                pulse.look()
                campaign = plane.api.status("Campaign", namespace, "spring")
                return (
                    campaign["recipients"]["accepted"] >= at_return
                    and plane.api.condition("SendingServer", namespace, "doomed", "Ready").get("reason") == "ConnectionRefused"
                    and plane.api.condition("Plan", namespace, "other", "Ready").get("reason") == "NoActiveServer"
                )

            wait_until(is_right, 60, "the right statuses")
            caught_up = time.monotonic() - back
            pulse.watch(3)
            require(accepted(sink) < recipients, "the campaign ended too soon: nothing was tested")
            wait_state(plane.api, "Campaign", namespace, "spring", "Completed", 90)
            require(leader.process.running() and not standby.leads(), f"the leader changed: {leader.process.tail()} / {standby.process.tail()}")
            everyone_once(leader.recipients("spring", namespace=namespace), [sink], recipients)
            # On an overloaded machine nothing keeps its pace.
            load = f"the machine's load is {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
            require(longest <= GAP_SECONDS, f"sending paused for {longest:.2f} s while it was away; {load}")
            require(pulse.longest <= START_GAP_SECONDS, f"sending paused for {pulse.longest:.2f} s at its return; {load}")
            require(caught_up <= CATCH_UP_SECONDS, f"status was correct only {caught_up:.1f} s after the return")
    gaps = f"{before * 1000:.0f} ms before, {longest * 1000:.0f} ms meanwhile, {pulse.longest * 1000:.0f} ms at its return"
    return f"away {away} s; longest gap {gaps}; statuses correct {caught_up:.1f} s after it"


def deleted_while_sending(place: Clusters) -> str:
    """A campaign, and then a whole namespace, deleted while sending: gone within seconds, and the ledger is exact."""
    api, recipients, notes = place.plane.api, 1_500 if place.quick else 6_000, []
    # What ends namespaces is the control plane, which reconnects late after an outage as in the case before.
    empty = place.namespace("empty")
    api.delete("Namespace", empty, empty)
    wait_until(lambda: api.get("Namespace", empty, empty) is None, 240, "the end of an empty Namespace")
    for what in ("Campaign", "Namespace"):
        namespace = place.namespace("deleted")
        with place.sink("--delay", SLOW) as sink, place.controller(namespace).start() as controller:
            objects = long_campaign(namespace, recipients, sink.port)
            api.apply(*objects)
            wait_accepted(recipients // 6, sink)
            require(api.get("Campaign", namespace, "spring")["metadata"].get("finalizers"), "a campaign that sends has no finalizer")
            name = "spring" if what == "Campaign" else namespace
            api.delete(what, namespace, name)
            begin = time.monotonic()
            wait_until(lambda: api.get(what, namespace, name) is None, 60, f"the end of the {what}", every=0.02)
            gone = time.monotonic() - begin
            count = accepted(sink)
            time.sleep(1)
            require(accepted(sink) == count, f"{accepted(sink) - count} messages left after the {what} was gone")
            states = controller.recipients("spring", namespace=namespace)
            ends = Counter(states.values())
            require(set(ends) == {"Accepted"} and ends["Accepted"] == count < recipients, f"the ledger has {dict(ends)}, the sink {count}")
            nobody_twice(states, [sink])
            require(gone <= GONE_SECONDS[what], f"the {what} was gone only after {gone:.1f} s")
            if what == "Namespace":
                api.namespace(namespace)
            # Applied again, it mails the rest.
            api.apply(*objects)
            wait_state(api, "Campaign", namespace, "spring", "Completed", recipients / RATE + 60)
            facts = everyone_once(controller.recipients("spring", namespace=namespace), [sink], recipients)
            require(facts["unknown"] == 0, f"{facts['unknown']} unknown after a clean deletion")
            notes.append(f"{what} gone after {gone:.2f} s")
    return ", ".join(notes) + "; applied again, the rest was mailed"


def deleted_after_a_crd_change(place: Clusters) -> str:
    """The CRD changes under a campaign that sends, and the stored object no longer fits: it can still be deleted."""
    recipients = 1_500
    with place.own_plane("unfit") as plane, place.sink("--delay", SLOW) as sink:
        api, namespace = plane.api, plane.api.namespace("unfit")
        with place.controller(namespace, plane=plane).start() as controller:
            api.apply(*long_campaign(namespace, recipients, sink.port))
            wait_accepted(recipients // 6, sink)
            require(api.get("Campaign", namespace, "spring")["metadata"].get("finalizers"), "a campaign that sends has no finalizer")
            crd = api.get("CustomResourceDefinition", "", "campaigns.mailfleet.dev")
            spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
            spec.pop("x-kubernetes-validations", None)
            spec["properties"]["planRef"] = {"type": "integer"}
            replace_crd(api, crd)
            path = path_of("Campaign", namespace, "spring") + "?" + urlencode({"fieldManager": "nobody", "dryRun": "All"})
            label = {"apiVersion": crd["spec"]["group"] + "/v1alpha1", "kind": "Campaign", "metadata": {"name": "spring", "labels": {"a": "b"}}}
            refuses = lambda: api.raw("PATCH", path, label, "application/apply-patch+yaml")[0] == 500  # noqa: E731
            wait_until(refuses, 20, "an API server that no longer takes an apply to what it has stored", every=0.2)
            api.delete("Campaign", namespace, "spring")
            begin = time.monotonic()
            wait_until(lambda: api.get("Campaign", namespace, "spring") is None, 30, "the end of the campaign", every=0.02)
            gone, count = time.monotonic() - begin, accepted(sink)
            time.sleep(1)
            require(accepted(sink) == count, f"{accepted(sink) - count} messages left after the campaign was gone")
            ends = Counter(controller.recipients("spring", namespace=namespace).values())
            require(set(ends) == {"Accepted"} and ends["Accepted"] == count < recipients, f"the ledger has {dict(ends)}, the sink {count}")
            require(gone <= GONE_SECONDS["Campaign"], f"it was gone only after {gone:.1f} s")
    return f"gone after {gone:.2f} s, {count} of {recipients} mailed, as the ledger says"


def cluster_wiped(place: Clusters) -> str:
    """A new, empty cluster with the same YAML and the same ledger: nobody is mailed again until `run` changes."""
    recipients = 500
    with place.own_plane("wiped") as plane, place.sink() as sink:
        namespace = plane.api.namespace("shop")
        documents = long_campaign(namespace, recipients, sink.port)
        # Read into memory, as a large export is not: an audience in place is another way into the run.
        documents += within(namespace, fleets.campaign("summer", "pro", people(50)))

        def complete():
            for name in ("spring", "summer"):
                wait_state(plane.api, "Campaign", namespace, name, "Completed", 60)

        with place.controller(namespace, plane=plane) as controller:
            controller.start()
            plane.api.apply(*documents)
            complete()
            uid = plane.api.get("Campaign", namespace, "spring")["metadata"]["uid"]
            seconds = []
            for is_running in (True, False):
                if not is_running:
                    controller.stop()
                plane.wipe()
                plane.install_crds()
                plane.api.namespace(namespace)
                plane.api.apply(*documents)
                begin = time.monotonic()
                if not is_running:
                    controller.start()
                complete()
                seconds.append(time.monotonic() - begin)
                require(plane.api.get("Campaign", namespace, "spring")["metadata"]["uid"] != uid, "it is the same object")
                time.sleep(1)
                require(accepted(sink) == recipients + 50, f"{accepted(sink)} messages for {recipients + 50} people after the wipe")
            plane.api.merge("Campaign", namespace, "spring", {"spec": {"run": "second"}})
            plane.api.wait_condition("Campaign", namespace, "spring", "Completed", seconds=5, status="False")
            complete()
            taken = sink.taken()
            twice = sum(taken[fleets.address(number)] >= 2 for number in range(recipients))
            require(taken.total() == 2 * recipients + 50 and twice == recipients, f"{taken.total()} messages, {twice} people mailed twice")
    return f"nobody mailed again, with the controller running ({seconds[0]:.1f} s) and restarted ({seconds[1]:.1f} s); a new run mailed all"


def statuses_overwritten_by_others(place: Clusters) -> str:
    """Somebody overwrites a status: it is corrected, and repeated conflicts do not become a storm of writes."""
    api, namespace = place.plane.api, place.namespace("fight")
    with place.sink() as sink, place.controller(namespace).start():
        api.apply(*within(namespace, fleets.smtp_server("relay", sink.port), fleets.plan("pro", "relay")))
        api.wait_condition("SendingServer", namespace, "relay", "Ready", seconds=20, status="True")
        good = api.status("SendingServer", namespace, "relay")
        api.merge("SendingServer", namespace, "relay", {"status": {"state": "Inactive"}}, subresource="status")
        begin = time.monotonic()
        wait_state(api, "SendingServer", namespace, "relay", "Active", 40)
        righted = time.monotonic() - begin
        require(json.dumps(api.status("SendingServer", namespace, "relay"), sort_keys=True) == json.dumps(good, sort_keys=True), "another status")
        before = api.requests()
        for _ in range(20):
            api.merge("SendingServer", namespace, "relay", {"status": {"state": "Inactive"}}, subresource="status")
            api.merge("SendingServer", namespace, "relay", {"status": {"state": "Active"}}, subresource="status")
        time.sleep(1)
        repairs = (api.requests() - before)["APPLY", "sendingservers", "status"]
        require(repairs <= 1, f"{repairs} writes against 40 of somebody else's")
    return f"corrected after {righted:.1f} s; {repairs} writes against 40 in a row"

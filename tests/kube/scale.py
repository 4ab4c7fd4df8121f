"""What many objects cost: writes to the API server, time, memory, CPU; and that nothing is written when nothing happens."""

import contextlib
import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from parts import fleet as fleets
from parts.kubeapi import KubeApi, condition_of
from parts.process import OwnMemory, peak_memory_kib
from parts.report import require, table

from .place import Clusters, people, within

SERVERS_A_PLAN = 20
SINKS = 2
# So many requests at once, as a GitOps tool sends them.
HANDS = 4
SETTLE_MAX_SECONDS = 120
# Longer than it takes to create and settle the most of them.
WATCHED_SECONDS = 600

# What the smallest of the sizes may cost.
WRITES_MAX = 2.0
SETTLED_SECONDS = 2.0
# What the process holds itself: its heap and stacks (RssAnon). The pages of the program that happen to be mapped are no cost of the
# objects: with the same binary they came to 24 to 28 MiB, depending on what the page cache had (fault-around), while its own were
# 15.3 to 16.1 MB each time (4 MB with 25 objects). The total is told beside it.
OWN_MIB = 20
CPU_MS = 2.0
# With five times the objects the cost of each write may grow by this factor: the total is linear. There are more writes the longer
# it takes to create them all, since more is told meanwhile of what is not there yet.
LINEAR = 1.3
OURS = {"sendingservers", "plans", "campaigns", "events"}
WRITING = {"APPLY", "PATCH", "PUT", "POST", "DELETE"}


@dataclass
class Cost:
    """What a size cost."""

    servers: int
    objects: int
    created_seconds: float
    settled_seconds: float
    writes: float
    own_mib: float
    peak_mib: float
    cpu_ms: float
    idle_writes: int
    idle_seconds: int

    def row(self) -> list:
        """A row of the table."""
        return [
            self.servers, self.objects, f"{self.created_seconds:.1f}", f"{self.settled_seconds:.2f}", f"{self.writes:.2f}",
            f"{self.own_mib:.1f}", f"{self.peak_mib:.1f}", f"{self.cpu_ms:.2f}", f"{self.idle_writes} in {self.idle_seconds} s",
        ]  # fmt: skip


HEAD = ["servers", "objects", "s to create", "s to settle", "writes an object", "own MiB", "with the program", "CPU ms an object", "idle writes"]


def writes(before: Counter, after: Counter, created: Counter) -> int:
    """Writes of our kinds and their events between two measurements, without the test's own."""
    made = Counter({what: count for what, count in (after - before).items() if what[0] in WRITING and what[1] in OURS})
    return sum((made - created).values())


def measure(place: Clusters, servers: int, idle_seconds: int) -> Cost:
    """Creates servers, plans over 20 of them each, and campaigns; waits until all are settled; then stays idle."""
    plans, campaigns = servers // SERVERS_A_PLAN, servers // 5
    with contextlib.ExitStack() as stack:
        plane = stack.enter_context(place.own_plane(f"scale-{servers}"))
        api, namespace = plane.api, plane.api.namespace("scale")
        sinks = [stack.enter_context(place.sink(log=False)) for _ in range(SINKS)]
        controller = stack.enter_context(place.controller(namespace, plane=plane, kubeconfig=plane.kubeconfig).start())
        own = stack.enter_context(OwnMemory(controller.process.pid))
        names = [f"s{number:05}" for number in range(servers)]
        # By their kinds' names, as kustomize and files of a folder come.
        waves = [
            [fleets.campaign(f"c{number:05}", f"p{number % plans:04}", people(1), suspend=True) for number in range(campaigns)],
            [fleets.plan(f"p{number:04}", *names[number * SERVERS_A_PLAN :][:SERVERS_A_PLAN]) for number in range(plans)],
            [fleets.smtp_server(name, sinks[number % SINKS].port) for number, name in enumerate(names)],
        ]
        time.sleep(1)
        settling = Settling(api, namespace, servers + plans + campaigns)
        before, cpu_before, begin = api.requests(), controller.cpu_seconds(), time.monotonic()
        with ThreadPoolExecutor(HANDS) as hands:
            for wave in waves:
                list(hands.map(api.create, within(namespace, *wave)))
        created = time.monotonic()
        settled = settling.wait(created + SETTLE_MAX_SECONDS)
        time.sleep(1)
        unsettled = count_unsettled(api, namespace)
        require(unsettled == 0, f"{unsettled} of {servers + plans + campaigns} objects are not settled: {controller.process.tail(4)}")
        by_test = Counter({("POST", plural, ""): len(wave) for plural, wave in zip(("campaigns", "plans", "sendingservers"), waves)})
        objects = servers + plans + campaigns
        first = api.requests()
        cost = Cost(
            servers=servers,
            objects=objects,
            created_seconds=created - begin,
            settled_seconds=settled - created,
            writes=writes(before, first, by_test) / objects,
            own_mib=own.peak_kib / 1024,
            peak_mib=peak_memory_kib(controller.process.pid) / 1024,
            cpu_ms=(controller.cpu_seconds() - cpu_before) * 1000 / objects,
            idle_writes=0,
            idle_seconds=idle_seconds,
        )
        time.sleep(idle_seconds)
        cost.idle_writes = writes(first, api.requests(), Counter())
        for sink in sinks:
            require(sink.count()["accepted"] == 0, "a suspended campaign was sent")
    return cost


# What `Ready` says in the final status of each kind.
FINAL = {"SendingServer": "Active", "Plan": "ServersActive", "Campaign": "Suspended"}


def is_settled(kind: str, obj: dict) -> bool:
    """Has the object its final status?"""
    status = obj.get("status") or {}
    is_whole = kind != "Plan" or status.get("serversActive") == SERVERS_A_PLAN
    return is_whole and condition_of(status, "Ready").get("reason") == FINAL[kind]


def count_unsettled(api: KubeApi, namespace: str) -> int:
    """How many objects do not have their final status yet."""
    return sum(not is_settled(kind, obj) for kind in FINAL for obj in api.list(kind, namespace))


class Settling:
    """Since when all objects have their final status, by watches: lists in a loop would take a second of CPU each from what is measured."""

    def __init__(self, api: KubeApi, namespace: str, objects: int):
        self.api, self.namespace, self.objects = api, namespace, objects
        self.settled: set[tuple[str, str]] = set()
        self.since = None
        self.changed = threading.Condition()
        # They end with the API server.
        for kind in FINAL:
            threading.Thread(target=self.follow, args=(kind,), daemon=True).start()

    def follow(self, kind: str):
        """Notes what becomes of the objects of a kind."""
        for obj in self.api.watch(kind, self.namespace, WATCHED_SECONDS):
            key = (kind, obj["metadata"]["name"])
            with self.changed:
                (self.settled.add if is_settled(kind, obj) else self.settled.discard)(key)
                if len(self.settled) < self.objects:
                    self.since = None
                elif self.since is None:
                    self.since = time.monotonic()
                    self.changed.notify_all()

    def wait(self, until: float) -> float:
        """When the last object got its final status; the deadline if one has not."""
        with self.changed:
            self.changed.wait_for(lambda: self.since is not None, max(0, until - time.monotonic()))
            return self.since or until


def many_objects(place: Clusters) -> str:
    """1,000 servers, 50 plans and 200 campaigns, and five times as many in the full suite."""
    idle = 20 if place.quick else 60
    # The load shows whether the machine did other things meanwhile.
    load = os.getloadavg()[0]
    costs = [measure(place, servers, idle) for servers in ((1_000,) if place.quick else (1_000, 5_000))]
    print(table(HEAD, [cost.row() for cost in costs]), flush=True)
    small, wrong = costs[0], []

    def hold(what: str, value: float, most: float):
        if value > most:
            wrong.append(f"{what}: {value:.2f}, and {most:g} is the most")

    for cost in costs:
        hold(f"writes an object at {cost.servers}", cost.writes, WRITES_MAX)
        hold(f"idle writes at {cost.servers}", cost.idle_writes, 0)
    # A debug build is several times slower and larger.
    if is_release := fleets.is_release(place.program):
        hold("seconds to settle", small.settled_seconds, SETTLED_SECONDS)
        hold("MiB of its own memory", small.own_mib, OWN_MIB)
        hold("ms of CPU an object", small.cpu_ms, CPU_MS)
        if len(costs) > 1:
            hold("ms of CPU a write at five times the size", costs[1].cpu_ms / costs[1].writes, small.cpu_ms / small.writes * LINEAR)
            hold("MiB of its own memory at five times the size", costs[1].own_mib, OWN_MIB * 5)
            hold("seconds to settle at five times the size", costs[1].settled_seconds, SETTLED_SECONDS * 5)
    require(not wrong, f"{'; '.join(wrong)} (load before {load:.1f} on {os.cpu_count()} processors)")
    note = "" if is_release else "; memory and time count with a release build only"
    return f"{small.writes:.2f} writes an object, settled {small.settled_seconds:.2f} s after the last, {small.own_mib:.1f} MiB of its own, {small.peak_mib:.0f} with the program; load before {load:.1f}{note}"

"""What the cases share: the program, a control plane with the CRDs, a namespace and a controller for each case."""

import contextlib
import itertools
from pathlib import Path

from parts import fleet as fleets
from parts.cluster import ControlPlane
from parts.controller import Controller
from parts.process import folder, wait_until
from parts.sinks import Sink

# So that a server that is down is noticed while a test waits.
QUICK_PROBE = {"timeout": "2s", "retryAfter": "500ms", "interval": "5s"}
LEASE = ["--lease-duration", "3s"]


class Place:
    """One control plane for all cases that leave it as it was; others take one of their own."""

    def __init__(self, quick: bool):
        self.quick = quick
        self.program = fleets.binary()
        self.root = folder("kubernetes")
        self.numbers = itertools.count(1)
        self.stack = contextlib.ExitStack()
        self.shared: ControlPlane | None = None
        self.controllers: list[Controller] = []
        # Every value that no log, event or status may show.
        self.secrets: set[str] = set()

    @property
    def plane(self) -> ControlPlane:
        """The shared one, with the CRDs and the controller-manager."""
        if not self.shared:
            self.shared = self.stack.enter_context(self.own_plane("shared", controllers=True))
        return self.shared

    def own_plane(self, name: str, **options) -> ControlPlane:
        """A control plane for one case, with the CRDs."""
        plane = ControlPlane(self.new(name), **options)
        plane.install_crds()
        return plane

    def new(self, name: str) -> Path:
        """A folder of a case's own."""
        path = self.root / f"{next(self.numbers)}-{name}"
        path.mkdir()
        return path

    def namespace(self, name: str, **labels: str) -> str:
        """A new namespace of the shared plane."""
        return self.plane.api.namespace(f"{name}-{next(self.numbers)}", **labels)

    def controller(self, namespace: str, *options, plane: ControlPlane | None = None, **more) -> Controller:
        """A controller for one namespace, with a Lease there. Not started yet."""
        scope = ["--namespace", namespace, "--lease-namespace", namespace, *LEASE]
        return self.note(Controller(self.program, plane or self.plane, self.new(f"controller-{namespace}"), *scope, *options, **more))

    def note(self, controller: Controller) -> Controller:
        """Remembers a controller, so that what it wrote is looked through in the end."""
        self.controllers.append(controller)
        return controller

    def sink(self, *options: str, **more) -> Sink:
        """A server that takes everything."""
        return Sink(self.program, self.new("sink"), "sink", *options, **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()


def within(namespace: str, *objects: dict) -> list[dict]:
    """The same objects in a namespace."""
    return [{**obj, "metadata": {**obj["metadata"], "namespace": namespace}} for obj in objects]


def people(number: int) -> dict:
    """An audience in place."""
    return {"inline": [{"email": fleets.address(person), "name": f"Person {person}"} for person in range(number)]}


def csv(number: int) -> str:
    """An audience as text, for a ConfigMap: 20,000 people fit into its 1 MiB."""
    return "email,name\n" + "".join(f"{fleets.address(person)},Person {person}\n" for person in range(number))


def wait_state(api, kind: str, namespace: str, name: str, state: str, seconds: float):
    """Waits for `status.state`."""
    last = {}

    def holds():
        nonlocal last
        last = api.status(kind, namespace, name)
        return last.get("state") == state

    try:
        wait_until(holds, seconds, "a state", every=0.05)
    except TimeoutError:
        raise TimeoutError(f"{kind} {namespace}/{name} is not {state} within {seconds:g} s: {last}") from None

"""What the cases share: the program, a control plane with the CRDs, a namespace and a controller for each case."""

from parts import fleet as fleets
from parts.cluster import ControlPlane
from parts.controller import Controller
from parts.place import Place
from parts.process import wait_until

# A server that is down must be noticed while a test waits.
QUICK_PROBE = {"timeout": "2s", "retryAfter": "500ms", "interval": "5s"}
LEASE = ["--lease-duration", "3s"]


class Clusters(Place):
    """One control plane for all cases that leave it unchanged; others start their own."""

    def __init__(self, quick: bool):
        super().__init__("kubernetes")
        self.quick = quick
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

    def namespace(self, name: str, **labels: str) -> str:
        """A new namespace of the shared plane."""
        self.number += 1
        return self.plane.api.namespace(f"{name}-{self.number}", **labels)

    def controller(self, namespace: str, *options, plane: ControlPlane | None = None, **more) -> Controller:
        """A controller for one namespace, with a Lease there. Not started yet."""
        scope = ["--namespace", namespace, "--lease-namespace", namespace, *LEASE]
        return self.note(Controller(self.program, plane or self.plane, self.new(f"controller-{namespace}"), *scope, *options, **more))

    def note(self, controller: Controller) -> Controller:
        """Records a controller, so that everything it wrote is searched for secrets at the end."""
        self.controllers.append(controller)
        return controller


def within(namespace: str, *objects: dict) -> list[dict]:
    """The same objects in a namespace."""
    return [{**obj, "metadata": {**obj["metadata"], "namespace": namespace}} for obj in objects]


def people(number: int) -> dict:
    """An inline audience."""
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

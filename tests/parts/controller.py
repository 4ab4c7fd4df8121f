"""`mailfleet run --kubernetes` against a control plane, with a state folder that outlives it."""

import signal
from pathlib import Path

from .cluster import ControlPlane, environment
from .fleet import Ledger
from .process import HEAP_OF_IMAGE, Process, wait_until


class Controller(Ledger):
    """One state folder and the process that leads with it; a second process with the same folder is a standby."""

    def __init__(self, program: Path, plane: ControlPlane, folder: Path, *options, kubeconfig: Path | None = None, state: Path | None = None, variables: dict | None = None):
        super().__init__(state or folder / "state", program)
        # More variables of the environment.
        self.variables = variables or {}
        self.plane, self.folder, self.options = plane, folder, options
        self.kubeconfig = kubeconfig or plane.kubeconfig
        self.process: Process | None = None
        self.outputs: list[Path] = []

    def start(self, *options, leads: bool = True) -> "Controller":
        """Starts it, for the first time or again; waits until it leads unless told otherwise."""
        words = [self.program, "run", "--kubernetes", "--kubeconfig", self.kubeconfig, "--state", self.state, "--quiet", *self.options, *options]
        output = self.folder / f"controller-{len(self.outputs) + 1}-{id(self):x}.out"
        self.outputs.append(output)
        self.process = Process(words, output, env=environment() | HEAP_OF_IMAGE | self.variables)
        if leads:
            self.wait_leads(30)
        return self

    def wait_leads(self, seconds: float):
        """Waits until it says that it leads.

        Raises:
            RuntimeError: it ended instead.
        """
        wait_until(lambda: self.leads() or not self.process.running(), seconds, "leading")
        if not self.process.running():
            raise RuntimeError(f"the controller ended with {self.process.code}: {self.process.tail()}")

    def leads(self) -> bool:
        """Whether it has said so."""
        return any(line.split(": ")[-1].endswith(" leads") for line in self.process.text().splitlines())

    def text(self) -> str:
        """All that it has written, over every start."""
        return "".join(path.read_text(errors="replace") for path in self.outputs)

    def kill(self):
        """kill -9."""
        self.process.kill()

    def stop(self, seconds: float = 40) -> int:
        """SIGTERM, and its exit code."""
        self.process.signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def cpu_seconds(self) -> float:
        """User and system time so far."""
        return self.process.cpu_seconds_so_far()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.stop()

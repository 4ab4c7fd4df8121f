"""Where the cases of a suite work: the program, a temporary folder, and folders within it."""

import contextlib
from pathlib import Path

from . import fleet as fleets
from .process import folder
from .sinks import Sink


class Place:
    """One folder for all cases of a suite; what `stack` holds ends with it."""

    def __init__(self, name: str):
        self.program = fleets.binary()
        self.root = folder(name)
        self.number = 0
        self.stack = contextlib.ExitStack()

    def new(self, name: str) -> Path:
        """A new folder for one case."""
        self.number += 1
        path = self.root / f"{self.number}-{name}"
        path.mkdir()
        return path

    def fleet(self, name: str, *options: str) -> fleets.Fleet:
        """A fleet in a new folder."""
        return fleets.Fleet(self.new(name), self.program, *options)

    def sink(self, *options: str, **more) -> Sink:
        """A server that takes everything, in a new folder."""
        return Sink(self.program, self.new("sink"), "sink", *options, **more)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

#!/usr/bin/env python3
"""Every command of README.md and docs/*.md, typed as it stands there: against real servers on loopback, a real git repository, a real
control plane. What a page shows below a command is what it printed.

The suite runs in a network namespace of its own, so that pages may use the ports that they name, and nothing can leave the machine.
What cannot run here stands in ELSEWHERE with the reason; a line of it that no page has fails.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

from parts import blocks
from parts import fleet as fleets
from parts.cache import ROOT
from parts.cluster import environment as environment_of_cluster
from parts.controller import Controller
from parts.pages import CLUSTER, ELSEWHERE, PAGES
from parts.process import folder
from parts.releases import HelmPlane, helm_program, nothing_for_releases
from parts.report import Cases, Shared, need, require, skip_program
from parts.scripted import Scripted
from parts.typed import Page, bare, begins, run
from parts.vendors import MORE, VENDORS, Vendor

ISOLATED = "MAILFLEET_ISOLATED"
# The key of the vendors that tests/parts/vendors.py plays.
KEY = "key-0123456789"


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def split(path: Path) -> tuple[list[blocks.Command], list[blocks.Command]]:
    """The commands of a page that run here, and the others."""
    here, elsewhere = [], []
    for command in blocks.commands(path):
        is_elsewhere = begins(command.text, (text for page, text in ELSEWHERE if page in (name_of(path), "*")))
        (elsewhere if is_elsewhere or command.is_root else here).append(command)
    return here, elsewhere


class Place:
    """Folders, programs on the path, vendors' APIs, and a control plane for those who ask for one."""

    def __init__(self):
        self.root, self.program = folder("commands"), fleets.binary()
        self.tools = self.root / "bin"
        self.tools.mkdir()
        (self.tools / "mailfleet").symlink_to(self.program)
        self.stack = contextlib.ExitStack()

    def environment(self, home: Path) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MAILFLEET_", "GIT_", "CI")) and name != "KUBECONFIG"}
        return kept | {
            "HOME": str(home),
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "REPOSITORY": str(ROOT),
            "PLACE": str(home.parent / "page"),
            "NO_COLOR": "1",
            "COLUMNS": "200",
            "LC_ALL": "C.UTF-8",
            "MAILFLEET_RESOLVER": "127.0.0.1:9",
            "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
            "GIT_CONFIG_SYSTEM": os.devnull,
        }

    def new(self, name: str, copied: tuple[str, ...]) -> tuple[Path, dict[str, str]]:
        """A folder with what is beside the documents, and the environment of its shell."""
        place = self.root / name.replace("/", "-").removesuffix(".md")
        home = place / "home"
        (home / ".local/bin").mkdir(parents=True)
        (place / "page").mkdir()
        (home / ".local/share/bash-completion/completions").mkdir(parents=True)
        (home / "gitconfig").write_text("[user]\nname = Ann\nemail = ann@example.com\n[init]\ndefaultBranch = main\n[advice]\ndetachedHead = false\n")
        for folder_of_ours in copied:
            shutil.copytree(ROOT / folder_of_ours, place / "page" / folder_of_ours)
        return place, self.environment(home)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()


def of_a_page(place: Place, path: Path) -> str:
    """All commands of one page."""
    name = name_of(path)
    page = PAGES.get(name, Page())
    here, elsewhere = split(path)
    if page.cluster:
        need(nothing_for_releases())
    folder_of_page, environment = place.new(name, page.copied)
    with contextlib.ExitStack() as stack:
        if name == "docs/vendors.md":
            for kind in VENDORS | MORE:
                vendor = stack.enter_context(Vendor(kind))
                environment[f"VENDOR_{kind.upper()}"] = vendor.base
            relay = stack.enter_context(Scripted(login=(KEY, KEY)))
            environment["RELAY"] = str(relay.port)
        if page.cluster:
            plane = HelmPlane(folder_of_page)
            stack.callback(plane.stop)
            for tool, program in (("kubectl", plane.programs / "kubectl"), ("helm", helm_program())):
                (folder_of_page / "home/.local/bin" / tool).symlink_to(program)
            environment = environment_of_cluster(**environment)
            environment |= {"KUBECONFIG": str(plane.kubeconfig), "KUBECACHEDIR": str(folder_of_page / "kubectl-cache")}
            if name in CLUSTER:
                plane.install_crds()
                controller = Controller(place.program, plane, folder_of_page / "controller", *CLUSTER[name])
                (folder_of_page / "controller").mkdir()
                stack.enter_context(controller).start()
        environment["PATH"] = f"{folder_of_page}/home/.local/bin:{environment['PATH']}"
        count = run(page, here, folder_of_page / "page", environment)
    return f"{count} commands" + (f", {len(elsewhere)} elsewhere" if elsewhere else "")


def the_list_of_what_runs_elsewhere_is_needed():
    """Each line of ELSEWHERE is in its page, with a reason."""
    texts = {name_of(path): [command for command in blocks.commands(path)] for path in documents()}
    stale = [
        f"{page}: {text}"
        for page, text in ELSEWHERE
        if not any(command.text.startswith(text) for name, commands in texts.items() if page in (name, "*") for command in commands)
    ]
    require(not stale, f"no page has these any more: {stale}")
    require(all(len(reason) > 10 for reason in ELSEWHERE.values()), "a reason is missing")
    of_root = [f"{name}: {bare(command.text)}" for name, commands in texts.items() for command in commands if command.is_root]
    unknown = [name for name in PAGES if name not in texts]
    require(not unknown, f"these pages are gone: {unknown}")
    return f"{sum(map(len, texts.values()))} commands, {len(ELSEWHERE)} lines, {len(of_root)} of root"


def differences_are_seen():
    """The comparison itself: wildcards, times, and a line that is not there."""
    require(not blocks.differs(["a …", "…", "z 3s"], ["a b c", "d", "e", "z   14s"]), "what is the same")
    require(blocks.differs(["a b"], ["a c"]) and blocks.differs(["a"], ["a", "b"]) and blocks.differs(["a", "b"], ["a"]), "what differs")
    require(not blocks.differs(["at 2026-12-01T08:00:00Z"], ["at 2027-01-02T03:04:05Z"]), "times")


def isolate():
    """Starts this suite again in a network namespace of its own, which has nothing but its loopback."""
    if os.environ.get(ISOLATED):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            # SIOCSIFFLAGS: IFF_UP | IFF_RUNNING.
            fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
        return
    words = ["unshare", "--net", *(["--map-root-user"] if os.geteuid() else []), sys.executable, __file__, *sys.argv[1:]]
    program = shutil.which("unshare")
    skip_program("" if program else "unshare (Debian: util-linux)")
    # A container may have no right to make one, also for root.
    tried = subprocess.run([*words[:words.index(sys.executable)], "true"], capture_output=True, text=True, check=False)
    skip_program("" if tried.returncode == 0 else f"a network namespace of its own ({tried.stderr.strip()})")
    os.execve(program, words, os.environ | {ISOLATED: "yes"})


def main():
    cases = Cases(__doc__)
    cases.parse()
    if not cases.options.list:
        isolate()
    shared = Shared(Place)
    cases.add("the list of what runs elsewhere is needed", the_list_of_what_runs_elsewhere_is_needed)
    cases.add("differences are seen", differences_are_seen)
    for path in documents():
        if split(path)[0]:
            cases.add(name_of(path), of_a_page, shared, path)
    cases.end()


if __name__ == "__main__":
    main()

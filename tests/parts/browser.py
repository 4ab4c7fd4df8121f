"""A real browser: the Chromium of the machine, driven by Playwright, with axe-core as the judge of pages."""

import json
import os
import shutil
import subprocess

from .cache import ROOT, part

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def program() -> str:
    """The browser; empty where there is none."""
    return next((path for path in map(shutil.which, PROGRAMS) if path), "")


def missing() -> str:
    """What is missing; empty when nothing is."""
    if not program():
        return "chromium (Debian: chromium)"
    if not shutil.which("node"):
        return "Node 20 or newer"
    return "" if (part("browser") / "node_modules/playwright-core").is_dir() else "Playwright (scripts/setup browser)"


class Fault(AssertionError):
    """A script in the browser failed."""


class Browser:
    """A browser, for as long as the block lasts. `run` runs a script in the process that drives it; see tests/browser/browser.js."""

    def __init__(self):
        # The browser asks nobody but 127.0.0.1, and by no proxy.
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        environment["NODE_PATH"] = str(part("browser") / "node_modules")
        words = ["node", str(ROOT / "tests/browser/browser.js"), program()]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.version = self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise Fault("the browser ended")
        answer = json.loads(line)
        if "fault" in answer:
            raise Fault(answer["fault"])
        return answer["value"]

    def run(self, script: str, **args):
        """What the script returns."""
        self.process.stdin.write(json.dumps({"script": script, "args": args}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def open(self, url: str, **settings):
        """Opens a page in a new context, with Playwright's settings of one."""
        self.run("const opened = await open(args.settings); await opened.goto(args.url)", url=url, settings=settings)

    def go(self, url: str):
        """Leads the page somewhere else."""
        self.run("await page.goto(args.url)", url=url)

    def text(self, selector: str = "main") -> str:
        """The text of an element, as it is shown."""
        return self.run("return page.locator(args.selector).first().innerText()", selector=selector)

    def violations(self) -> list[str]:
        """What axe-core finds wrong with the page."""
        return self.run("return judge()")

    def complaints(self) -> list[str]:
        """What the browser complained about, and requests to anybody else, since it was started."""
        return self.run("return complaints")

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

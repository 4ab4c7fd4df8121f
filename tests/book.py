#!/usr/bin/env python3
"""The book of docs/ as mdBook makes it, in a real Chromium; its links, versions, pictures and prose."""

import contextlib
import functools
import html.parser
import json
import re
import subprocess
import sys
import threading
import urllib.parse
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from parts import browser as browsers
from parts.browser import Browser
from parts.cache import ROOT, part
from parts.process import folder, wait_until
from parts.report import Cases, Shared, need, require

sys.path.insert(0, str(ROOT / "bench"))
import plots  # noqa: E402

VERSION = "1.2.3"
# Others that are unpacked beside it.
MORE = ("1.10.0", "1.9.0", "1.10.0-g6010dc982d3c")
# Reasons by which people search; the first is what a probe says most often.
SEARCHED = ("ConnectionRefused", "SenderNotAllowed", "WaitingForLimits")
PROSE = ROOT / "tests/prose"


def program(name: str, file: str) -> str:
    """What is missing of a part; empty if it is there."""
    return "" if (part(name) / file).exists() else f"{name} (scripts/setup {name})"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Book:
    """The book, built once and served on loopback."""

    def __init__(self):
        need(program("mdbook", "bin/mdbook"))
        self.folder = folder("book") / "site"
        done = subprocess.run([ROOT / "scripts/book", "--output", self.folder, "--version", VERSION], capture_output=True, text=True, timeout=120, check=False)
        require(done.returncode == 0, f"scripts/book: {done.stdout}{done.stderr}")
        self.pages = sorted((self.folder / VERSION).rglob("*.html"))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=self.folder))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.base = f"http://127.0.0.1:{self.server.server_address[1]}/{VERSION}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Anchors(html.parser.HTMLParser):
    """The ids of a page and what it links to or loads."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids, self.links, self.loaded = set(), [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.ids |= {named[key] for key in ("id", "name") if named.get(key)}
        if tag == "a" and named.get("href"):
            self.links.append(named["href"])
        if tag in ("script", "img", "source", "iframe") or (tag == "link" and named.get("rel") in ("stylesheet", "icon", "preload", "shortcut icon")):
            self.loaded.append(named.get("src") or named.get("srcset") or named.get("href") or "")


def every_link_leads_somewhere(book: Book):
    """Each file and anchor of the built pages is there, and nothing is loaded from elsewhere."""
    read = {path: Anchors(path) for path in book.pages}
    faults, count = [], 0
    for path, page in read.items():
        for target in page.loaded:
            parts = urllib.parse.urlsplit(target)
            if parts.netloc:
                faults.append(f"{path.name} loads {target}")
            elif parts.scheme != "data" and parts.path and not (path.parent / urllib.parse.unquote(parts.path.lstrip("/") if path.name == "404.html" else parts.path)).exists():
                faults.append(f"{path.name}: {target}, which it loads, is not there")
        if path.name in ("404.html", "print.html", "toc.html"):
            continue
        for link in page.links:
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                if not (parts.scheme in ("http", "https", "mailto") and (parts.netloc or parts.path)):
                    faults.append(f"{path.name}: {link} is no address")
                continue
            count += 1
            file = (path.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else path
            if not file.exists():
                faults.append(f"{path.name}: {link} is not there")
            elif parts.fragment and file in read and urllib.parse.unquote(parts.fragment) not in read[file].ids:
                faults.append(f"{path.name}: {link} names no anchor")
    require(not faults, "\n".join(sorted(set(faults))[:40]))
    require(count > 500, f"only {count} links")
    return f"{len(read)} pages, {count} links"


def the_search_finds_a_reason(book: Book):
    """A person types a reason, follows the first result, and stands at its heading; no request leaves this machine."""
    need(browsers.missing())
    with Browser() as browser:
        browser.open(f"{book.base}/index.html")
        for reason in SEARCHED:
            browser.go(f"{book.base}/index.html?search={reason}")
            links = "return page.locator('#mdbook-searchresults a, #searchresults a').evaluateAll((all) => all.map((one) => one.getAttribute('href')))"
            found = wait_until(lambda run=links: browser.run(run), 20, f"results for {reason}", every=0.2)
            at = next((link for link in found if "troubleshooting.html" in link and link.endswith(f"#{reason.lower()}")), None)
            require(at, f"{reason}: {found[:5]}")
            require(found.index(at) < 3, f"{reason} is at place {found.index(at) + 1}: {found[:5]}")
            browser.run("await page.goto(new URL(args.link, page.url()).href)", link=at)
            head = browser.run("return page.evaluate(() => document.getElementById(location.hash.slice(1)).textContent)")
            require(reason in head, f"{reason}: the link leads to {head}")
        for page in ("concepts", "howto-outage", "comparison", "providers", "cli"):
            browser.go(f"{book.base}/{page}.html")
            require(browser.text("main h1"), page)
        elsewhere = [one for one in browser.complaints() if "asks elsewhere" in one]
        require(not elsewhere, f"{elsewhere}")
    return f"{len(SEARCHED)} reasons"


def versions_stand_beside_each_other(book: Book):
    """Title and path have the version; a second one is listed above the first, and a page leads to the list."""
    for version in MORE:
        (book.folder / version).mkdir(exist_ok=True)
        (book.folder / version / "searcher.js").write_text("")
    try:
        subprocess.run([ROOT / "scripts/book", "--index", book.folder], check=True, capture_output=True, text=True, timeout=60)
        listed = re.findall(r'href="([^"]+)/index.html"', (book.folder / "index.html").read_text())
        require(listed == ["1.10.0", "1.10.0-g6010dc982d3c", "1.9.0", VERSION], f"{listed}")
    finally:
        for version in MORE:
            (book.folder / version / "searcher.js").unlink()
            (book.folder / version).rmdir()
    first = (book.folder / VERSION / "index.html").read_text(encoding="utf-8")
    require(f"Mailfleet {VERSION}" in first and "../index.html" in first, "the first page says neither version nor list")
    done = subprocess.run([ROOT / "scripts/book", "--index", folder("book-empty")], capture_output=True, text=True, timeout=60, check=False)
    require(done.returncode and "no version" in done.stderr, f"an empty folder: {done.stderr}")


def every_document_is_in_the_book():
    """The table of contents has each page of docs/, once."""
    listed = re.findall(r"\]\(([^)]+)\)", (ROOT / "docs/SUMMARY.md").read_text(encoding="utf-8"))
    there = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")} - {"SUMMARY.md"}
    require(len(listed) == len(set(listed)), "a page stands twice in docs/SUMMARY.md")
    require(there <= set(listed), f"docs/SUMMARY.md lacks {sorted(there - set(listed))}")
    return f"{len(listed)} pages"


def pictures_show_what_is():
    """Each picture was made from what is there now, and so was the plot from its figures."""
    done = subprocess.run([ROOT / "scripts/pictures", "--check"], capture_output=True, text=True, timeout=60, check=False)
    require(done.returncode == 0, done.stdout + done.stderr)
    figures = ROOT / "docs/pictures/bench.json"
    measured = json.loads(figures.read_text(encoding="utf-8"))
    for scheme, path in plots.paths(figures).items():
        require(path.exists() and plots.mark_of(figures) in path.read_text(encoding="utf-8"), f"{path.name} is not of these figures: `bench/plots.py {figures.relative_to(ROOT)}` draws it")
        require(path.read_text(encoding="utf-8") == plots.svg(measured, scheme, plots.mark_of(figures)), f"{path.name} was edited by hand")
    require(re.fullmatch(r"\d{4}-\d\d-\d\d", measured["date"]) and measured["machine"], "the figures have no date or machine")
    shown = {name for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")) for name in re.findall(r"pictures/([\w.-]+)", document.read_text(encoding="utf-8"))}
    unused = {path.name for path in figures.parent.iterdir() if "light" in path.name} - shown
    require(not unused, f"no document shows {sorted(unused)}")
    return f"{len(list(figures.parent.iterdir()))} files"


def prose_reads_well():
    """Vale, with our words and rules, finds nothing in the documents; and it finds what is wrong in a text that has everything wrong."""
    need(program("vale", "vale"))
    vale = [part("vale") / "vale", "--config", PROSE / "vale.ini", "--no-global", "--output", "line"]
    documents = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")] + sorted(path for path in (ROOT / "docs").glob("*.md") if path.name not in ("cli.md", "SUMMARY.md"))
    done = subprocess.run([*vale, *documents], capture_output=True, text=True, timeout=300, check=False, cwd=ROOT)
    require(done.returncode == 0, f"{done.stdout[-4000:]}{done.stderr}")
    bad = folder("prose") / "bad.md"
    bad.write_text("# A head\n\nThe the recieved mesage is utilized in order to send.\nPlease simply click here.\n")
    found = subprocess.run([*vale, bad], capture_output=True, text=True, timeout=60, check=False).stdout
    for rule in ("Spelling", "Repeated", "Plain", "Easy"):
        require(f"Mailfleet.{rule}" in found, f"{rule} found nothing wrong in: {found}")
    return f"{len(documents)} documents"


def main():
    cases = Cases(__doc__)
    cases.parse()
    cases.add_all((every_link_leads_somewhere, the_search_finds_a_reason, versions_stand_beside_each_other), Shared(Book), needs=lambda: program("mdbook", "bin/mdbook"))
    cases.add_all((every_document_is_in_the_book, pictures_show_what_is, prose_reads_well))
    cases.end()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()

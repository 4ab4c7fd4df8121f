#!/usr/bin/env python3
"""Unsubscribing: the links in messages, the page behind them, and the public listener, against a running process on loopback.

The clients are Python's http.client, curl and bare sockets; Python's `email` and `html.parser` read what comes back. With --quick
fewer forged tokens are tried.
"""

import base64
import csv
import email
import email.policy
import http.client
import io
import json
import random
import shutil
import smtplib
import socket
import subprocess
import threading
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from parts import fleet as fleets
from parts import ledgerfile
from parts.process import Process, folder, free_port, listens, peak_memory_kib, wait_until
from parts.report import Cases, require
from parts.sinks import Sink

PUBLIC = "https://news.example.com"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BODY = "List-Unsubscribe=One-Click"
PEOPLE = [{"email": "ann@example.com", "name": "Ann"}, {"email": "bo.long.name@mail.example.org", "name": "Bö"}]
BOX = fleets.resource("SendingServer", "box", {"provider": {"outbox": {}}})
LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


class Mailing:
    """A folder with a campaign to two people through an outbox, and a process that serves the page."""

    def __init__(self, name: str, program: Path, *options: str, **spec):
        self.fleet = fleets.Fleet(folder(name), program)
        self.port = free_port()
        self.options = options or ("--public-url", PUBLIC, "--public-address", f"127.0.0.1:{self.port}", "--public-trusted-proxies", "127.0.0.0/8")
        content = {"text": "Leave: {{ unsubscribe_url }}\n", "html": '<a href="{{ unsubscribe_url }}">Leave</a>'}
        self.spec = {"content": content, "unsubscribe": {"oneClick": {"topic": "offers"}}, **spec}
        self.write()

    def write(self, server: dict = BOX, **spec):
        campaign = fleets.campaign("spring", "pro", {"inline": PEOPLE}, **{**self.spec, **spec})
        self.run = campaign["spec"].get("run", "first")
        self.fleet.write("all.yaml", server, fleets.plan("pro", "box"), campaign)

    def start(self) -> Process:
        """The process, once its page answers and its campaign is over."""
        process = self.fleet.start(*self.options, "--quiet", once=False)
        wait_until(lambda: not process.running() or listens(process.pid, self.port), 30, "the listener")
        require(process.running(), process.tail())
        # Not the status that the process before left.
        over = lambda status: (status.get("state"), status.get("run")) == ("Completed", self.run)  # noqa: E731
        wait_until(lambda: over(self.fleet.status("Campaign", "spring")), 30, f"the end of run {self.run}")
        return process

    def messages(self) -> dict:
        """The messages in the outbox, by recipient."""
        read = [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in self.fleet.state.glob("outbox/*/*/new/*")]
        return {message["To"].addresses[0].addr_spec: message for message in read}

    def clear(self):
        """Empties the outbox."""
        shutil.rmtree(self.fleet.state / "outbox", ignore_errors=True)

    def suppressed(self) -> list[tuple]:
        """Who is not mailed any more: address, topic, why, and who told it."""
        code, output = self.fleet.command("suppressions", "export", "--state", self.fleet.state)
        require(code == 0, output)
        return [(row["email"], row["topic"], row["reason"], row["source"]) for row in csv.DictReader(io.StringIO(output))]

    def links(self) -> dict[str, str]:
        """The link of each recipient, without what precedes the path."""
        return {who: link_of(message).removeprefix(PUBLIC) for who, message in self.messages().items()}

    def ask(self, method: str, path: str, body: str | bytes | None = None, client: str = "", **headers) -> tuple[int, dict, str]:
        """One request on a connection of its own, as an HTTP client without cookies makes it, following nothing."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            told = {"X-Forwarded-For": client} if client else {}
            connection.request(method, path, body, {"User-Agent": "Mozilla/5.0", **headers, **told})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()
        finally:
            connection.close()


def link_of(message) -> str:
    """The link of both header fields, which every body has too."""
    link = "".join(str(message["List-Unsubscribe"]).split()).strip("<>")
    require(str(message["List-Unsubscribe-Post"]) == BODY, f"{message['List-Unsubscribe-Post']}")
    for kind in ("plain", "html"):
        require(link in message.get_body((kind,)).get_content(), f"{link} is not in the {kind} of\n{message}")
    return link


def every_message_has_its_link(program) -> str:
    """Both fields of RFC 8058 and the bodies have a link of their own for each person and run, which hides the address; an earlier run's
    still works in another process."""
    mailing = Mailing("links", program)
    with mailing.start():
        first = mailing.links()
    mailing.clear()
    mailing.write(run="second")
    with mailing.start():
        second = mailing.links()
        links = [*first.values(), *second.values()]
        require(set(first) == set(second) == {person["email"] for person in PEOPLE} and len(set(links)) == 4, f"{first} {second}")
        for who, link in [*first.items(), *second.items()]:
            token = link.removeprefix("/u/v1/")
            require(set(token) <= set(LETTERS) and who.encode() not in base64.b32decode(token.upper() + "=" * (-len(token) % 8)), link)
            status, _, page = mailing.ask("GET", link)
            require(status == 200 and who[0] + "…@" + who.split("@")[1] in page, f"{who}: {status} {page}")
    mode = (mailing.fleet.state / "keys").stat().st_mode & 0o777
    require(mode == 0o600, f"the keys have the mode {mode:o}")
    ignored = (mailing.fleet.state / ".gitignore").read_text().splitlines()
    require("*" in ignored and not any("keys" in line for line in ignored if line.startswith("!")), f"{ignored}")
    return f"{max(map(len, links))} characters at most"


def nothing_is_sent_without_a_link(program) -> str:
    """Without --public-url the campaign is Stalled and says what to do, in the same process once the spec has a page of its own."""
    mailing = Mailing("nothing", program, "--quiet")
    code, output = mailing.fleet.run_once()
    require(code == 1 and "--public-url" in output, f"{code} {output}")
    ready, stalled = (mailing.fleet.condition("Campaign", "spring", kind) for kind in ("Ready", "Stalled"))
    require((ready["status"], ready["reason"]) == ("False", "PublicUrlMissing"), f"{ready}")
    require(stalled.get("status") == "True" and "unsubscribe.url to a page of your own" in stalled["message"], f"{stalled}")
    require(mailing.messages() == {}, "something was sent")
    mailing.write(unsubscribe={"oneClick": {}, "url": "https://x.example/u?{{ email|urlencode }}"})
    code, output = mailing.fleet.run_once()
    require(code == 0, f"{code} {output}")
    require(link_of(mailing.messages()["ann@example.com"]) == "https://x.example/u?ann%40example.com", f"{mailing.messages()}")
    for url, told in (("http://news.example.com", "https://"), ("https://news.example.com/mail", "path"), ("news.example.com", "https://")):
        code, output = mailing.fleet.run_once("--public-url", url)
        require(code == 2 and told in output, f"{url}: {code} {output}")
    return ""


def one_click_ends_the_subscription(program) -> str:
    """One click as Gmail makes it (RFC 8058, 3.2), by curl as a form of either kind, and by the page's own form: 200 without a redirect
    or a cookie, as often as it comes, durable when it is answered (kill -9); and counted for its run, once."""
    mailing = Mailing("click", program)
    with mailing.start() as process:
        ann, bo = (mailing.links()[person["email"]] for person in PEOPLE)
        for _ in range(2):
            status, headers, page = mailing.ask("POST", ann, BODY, **FORM)
            require(status == 200 and "You are unsubscribed" in page, f"{status} {page}")
            require(not {"location", "set-cookie"} & set(headers), f"{headers}")
        process.kill()
    require(mailing.suppressed() == [("ann@example.com", "offers", "Unsubscribed", "one-click")], f"{mailing.suppressed()}")
    with mailing.start():
        for word in ("--data", "--form"):
            words = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{num_redirects}", "--noproxy", "*", word, BODY, f"http://127.0.0.1:{mailing.port}{bo}"]
            done = subprocess.run(words, capture_output=True, text=True, timeout=30)
            require(done.stdout == "200 0", f"curl {word}: {done.stdout} {done.stderr}")
        form = Form.of(mailing.ask("GET", ann)[2])
        require(form == {"method": "post", "fields": [("List-Unsubscribe", "One-Click")]}, f"{form}")
        for body in ("", "List-Unsubscribe=No", "a" * 4_000):
            status, _, page = mailing.ask("POST", ann, body, **FORM)
            require(status in (400, 413) and "Nothing was changed" in page, f"{body[:20]}: {status} {page}")
        code, output = mailing.fleet.command("get", "runs", "--state", mailing.fleet.state, "-o", "json")
        require(code == 0 and json.loads(output)[0]["unsubscribed"] == len(PEOPLE), f"{code} {output}")
    return ""


def what_is_not_durable_is_not_confirmed(program) -> str:
    """While the ledger cannot be written the answer is 503 and when to try again, and nobody is unsubscribed; afterwards it is 200."""
    mailing = Mailing("locked", program)
    with mailing.start():
        link = mailing.links()["ann@example.com"]
        with ledgerfile.locked(mailing.fleet.state):
            began = time.monotonic()
            status, headers, page = mailing.ask("POST", link, BODY, **FORM)
            seconds = time.monotonic() - began
            require(status == 503 and int(headers["retry-after"]) > 0, f"{status} {headers} {page}")
            require("Please try again" in page and "unsubscribed" not in page, page)
            require(mailing.ask("GET", link)[0] == 200, "the page itself")
        require(mailing.ask("POST", link, BODY, **FORM)[0] == 200, "once the ledger is back")
    require(len(mailing.suppressed()) == 1, f"{mailing.suppressed()}")
    return f"refused after {seconds:.0f} s"


def the_next_run_leaves_the_person_out(program) -> str:
    """Who left is Suppressed in the next run of that topic, also by the link of an older run, and still gets what is sent under another."""
    mailing = Mailing("next", program)
    with mailing.start():
        require(mailing.ask("POST", mailing.links()["ann@example.com"], BODY, **FORM)[0] == 200, "the click")
    mailing.clear()
    mailing.write(run="second")
    code, output = mailing.fleet.run_once("--public-url", PUBLIC)
    require(code == 0 and set(mailing.messages()) == {PEOPLE[1]["email"]}, f"{code} {output} {mailing.messages()}")
    states = mailing.fleet.recipients("spring", "second")
    require(states == {PEOPLE[0]["email"]: "Suppressed", PEOPLE[1]["email"]: "Accepted"}, f"{states}")
    mailing.write(run="third", unsubscribe={"oneClick": {"topic": "news"}})
    code, output = mailing.fleet.run_once("--public-url", PUBLIC)
    require(code == 0 and set(mailing.fleet.recipients("spring", "third").values()) == {"Accepted"}, f"{code} {output}")
    return ""


def a_retry_leaves_the_person_out(program) -> str:
    """A message that was deferred is not sent once its recipient has left, by the link of an earlier message."""
    mailing = Mailing("retry", program)
    with mailing.start():
        link = mailing.links()["ann@example.com"]
    with Sink(program, mailing.fleet.folder, "sink", "--reply", "ann@example.com=451") as sink:
        mailing.write(fleets.smtp_server("box", sink.port), run="second", retry={"initialDelay": "3s"})
        process = mailing.fleet.start(*mailing.options, "--quiet", once=False)
        try:
            state = lambda: mailing.fleet.recipients_so_far("spring", "second").get("ann@example.com")  # noqa: E731
            wait_until(lambda: state() == "Deferred", 30, "the deferral")
            taken = sink.taken()["ann@example.com"]
            require(mailing.ask("POST", link, BODY, **FORM)[0] == 200, "the click")
            wait_until(lambda: state() == "Suppressed", 30, "the end of the message")
            mailing.fleet.wait_state("Campaign", "spring", "Completed", 30)
            require(sink.taken()["ann@example.com"] == taken, "it was tried again")
        finally:
            process.stop()
    return ""


class Form(HTMLParser):
    """The form of a page, and what the page loads or runs."""

    def __init__(self):
        super().__init__()
        self.form, self.fields, self.foreign, self.tags = {}, [], [], Counter()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags[tag] += 1
        if tag == "form":
            self.form = attributes
        elif tag == "input":
            self.fields.append((attributes["name"], attributes["value"]))
        self.foreign += [f"{tag} {name}" for name in attributes if name in ("src", "href", "srcset", "action") or name.startswith("on")]

    @classmethod
    def of(cls, page: str) -> dict:
        """What a browser sends back; fails when the page is more than a form and text."""
        form = cls()
        form.feed(page)
        require(not form.foreign and not form.tags["script"], f"{form.foreign} {form.tags}")
        require(all(form.tags[tag] == 1 for tag in ("html", "title", "main", "h1", "form", "button")) and 'lang="en"' in page, f"{form.tags}")
        return {**form.form, "fields": form.fields}


def a_look_changes_nothing(program) -> str:
    """GET and HEAD of a scanner, also one that sends the form along, show the same page; it says who, and not to whom it was passed on."""
    mailing = Mailing("look", program)
    with mailing.start():
        link = mailing.links()["ann@example.com"]
        status, headers, page = mailing.ask("GET", link)
        require(status == 200 and "a…@example.com" in page and "offers" in page and "ann@" not in page, page)
        require(link not in page and "http" not in page, page)
        wanted = {"referrer-policy": "no-referrer", "x-robots-tag": "noindex", "cache-control": "no-store", "x-content-type-options": "nosniff"}
        require(wanted.items() <= headers.items() and "default-src 'none'" in headers["content-security-policy"], f"{headers}")
        for agent in ("Barracuda", "Mimecast", "GoogleImageProxy", "curl/8"):
            for method in ("GET", "HEAD"):
                status, _, body = mailing.ask(method, link, **{"User-Agent": agent})
                require(status == 200 and body in (page, ""), f"{agent} {method}: {status}")
        status, _, body = mailing.ask("GET", link, BODY, **FORM)
        require(status == 200 and body == page, f"a GET with a body: {status}")
        for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
            require(mailing.ask(method, link)[0] == 405, method)
        require(mailing.ask("GET", link.upper().replace("/U/V1/", "/u/v1/"))[2] == page, "case matters")
        require(mailing.suppressed() == [], f"{mailing.suppressed()}")
    return ""


def forged(tokens: list[str], count: int) -> list[str]:
    """Tokens that were altered, cut off, mixed or made up, and are none of these."""
    chance, found = random.Random(8058), []
    while len(found) < count:
        token, another = chance.choice(tokens), chance.choice(tokens)
        at = chance.randrange(len(token))
        ways = (
            token[:at] + chance.choice(LETTERS) + token[at + 1 :],
            token[:at],
            token[:at] + another[at:],
            "".join(chance.choices(LETTERS, k=chance.randrange(1, 200))),
        )
        made = ways[len(found) % len(ways)]
        if made and made not in tokens:
            found.append(made)
    return found


def forged_links_lead_nowhere(program, count: int) -> str:
    """Letters altered, links cut off, parts of two links, another installation's link, and nonsense: the same 404 each time."""
    mailing, other = Mailing("forged", program), Mailing("other", program)
    code, output = other.fleet.run_once("--public-url", PUBLIC)
    require(code == 0, output)
    foreign = list(other.links().values())
    with mailing.start() as process:
        tokens = [link.removeprefix("/u/v1/") for link in mailing.links().values()]
        _, _, wanted = mailing.ask("POST", "/u/v1/a", BODY, **FORM)
        odd = [*foreign, "/", "/u", "/u/v1/", "/u/v2/" + tokens[0], f"/u/v1/{tokens[0]}/", "/u/v1/%00", "/u/v1/%ff", "/u/v1/..%2f..%2fkeys", "//x.example/"]
        for path in odd:
            status, headers, page = mailing.ask("POST", path, BODY, **FORM)
            require(status == 404 and page == wanted and "location" not in headers, f"{path}: {status} {page}")
        paths = [f"/u/v1/{token}" for token in forged(tokens, count)]
        answers = Counter()

        def try_some(part: int):
            for number in range(part, count, 4):
                client = f"10.{part}.{number % 200}.{number % 250}"
                status, _, page = mailing.ask("POST", paths[number], BODY, client, **FORM)
                answers[status, page == wanted] += 1

        threads = [threading.Thread(target=try_some, args=(part,)) for part in range(4)]
        began = time.monotonic()
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        seconds = time.monotonic() - began
        require(answers == {(404, True): count}, f"{answers}")
        require(process.running() and mailing.ask("GET", f"/u/v1/{tokens[0]}")[0] == 200, "the real link works no more")
        require(mailing.suppressed() == [], f"{mailing.suppressed()}")
    return f"{count} forged tokens in {seconds:.0f} s, and {len(odd)} other paths"


def those_who_are_slow_or_many_hinder_nobody(program) -> str:
    """600 connections that say nothing, or a letter a second, bodies that do not come, bodies without an end, and one client that asks
    as fast as it can; meanwhile another gets its page in time, and memory stays bounded."""
    mailing = Mailing("load", program)
    with mailing.start() as process:
        link, before = mailing.links()["ann@example.com"], peak_memory_kib(process.pid)
        ended, slow = threading.Event(), []
        heads = (b"", b"GET / HTTP/1.1\r\nX: ", f"POST {link} HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\nList".encode())

        def open_slow():
            while not ended.is_set():
                while len(slow) < 600:
                    line = socket.create_connection(("127.0.0.1", mailing.port), timeout=10)
                    line.sendall(heads[len(slow) % 3])
                    slow.append(line)
                for line in list(slow):
                    try:
                        line.sendall(b"a")
                    except OSError:
                        slow.remove(line)
                ended.wait(1)

        endless = Counter()

        def send_without_end():
            while not ended.is_set():
                line = socket.create_connection(("127.0.0.1", mailing.port), timeout=10)
                try:
                    line.sendall(f"POST {link} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
                    while True:
                        line.sendall(b"4000\r\n" + b"a" * 0x4000 + b"\r\n")
                        endless["bytes"] += 0x4000
                except OSError:
                    endless["ends"] += 1
                finally:
                    line.close()

        asked = Counter()

        def ask_without_pause():
            while not ended.is_set():
                asked[mailing.ask("GET", link, client="198.51.100.66")[0]] += 1

        threads = [threading.Thread(target=work) for work in (open_slow, send_without_end, ask_without_pause, ask_without_pause)]
        [thread.start() for thread in threads]
        times = []
        try:
            wait_until(lambda: len(slow) >= 500, 30, "the slow ones")
            end = time.monotonic() + 12
            while time.monotonic() < end:
                began = time.monotonic()
                status, _, page = mailing.ask("GET", link, client=f"203.0.113.{len(times) % 200}")
                times.append(time.monotonic() - began)
                require(status == 200 and "Unsubscribe?" in page, f"{status} {page}")
        finally:
            ended.set()
            [thread.join() for thread in threads]
            [line.close() for line in slow]
        grown = peak_memory_kib(process.pid) - before
        require(max(times) < 2, f"one had to wait {max(times):.1f} s")
        require(asked[429] > 0 and set(asked) <= {200, 429}, f"the quick one: {asked}")
        require(endless["ends"] > 0 and endless["bytes"] / endless["ends"] < 8 << 20, f"bodies without an end: {endless}")
        require(grown < 48 << 10, f"memory grew by {grown} KiB")
        times.sort()
    return f"{len(times)} pages, median {times[len(times) // 2] * 1000:.0f} ms, slowest {times[-1] * 1000:.0f} ms; {asked[429]} of {asked.total()} refused; {grown} KiB"


def keys_are_kept_and_rotate(program) -> str:
    """The keys are never replaced; what an older key made still holds, and what a removed one made does not; --keys reads another file."""
    mailing = Mailing("keys", program)
    path = mailing.fleet.state / "keys"
    with mailing.start():
        old = mailing.links()["ann@example.com"]
    made = path.read_text()
    for broken, told in ((made.replace("1 ", "one "), "the number is not"), ("", "there is no key"), (f"1 {'A' * 43}=", "all zeros")):
        path.write_text(broken)
        code, output = mailing.fleet.run_once(*mailing.options)
        require(code == 2 and told in output and "Restore the file from a backup" in output, f"{code} {output}")
        require(path.read_text() == broken, "the keys were replaced")
    new = f"2 {base64.b64encode(bytes(range(32))).decode()}\n"
    path.write_text(new + made)
    with mailing.start():
        require(mailing.ask("GET", old)[0] == 200, "what the older key made")
    path.write_text(new)
    with mailing.start():
        require(mailing.ask("GET", old)[0] == 404, "what a removed key made")
    own = mailing.fleet.folder / "own"
    own.write_text(made)
    mailing.options = (*mailing.options, "--keys", str(own))
    with mailing.start():
        require(mailing.ask("GET", old)[0] == 200, "a file of one's own")
    own.unlink()
    code, output = mailing.fleet.run_once(*mailing.options)
    require(code == 2 and f"The keys in {own} cannot be read" in output and path.read_text() == new, f"{code} {output}")
    return ""


def looking_unsubscribes_nobody(program) -> str:
    """`preview`, `run --dry-run` and, without the keys, `send` have links of the real form that lead nowhere; with the keys, `send` has
    the recipient's; `validate` tells of a template that prints a link that is not there."""
    mailing = Mailing("sample", program)
    with mailing.start():
        real = mailing.links()["ann@example.com"]

        def leads_nowhere(link: str, base: str):
            require(link.startswith(f"{base}/u/v1/") and len(link.removeprefix(base)) == len(real), link)
            require(mailing.ask("GET", link.removeprefix(base))[0] == 404, f"{link} is real")

        config, state = mailing.fleet.config, ("--state", mailing.fleet.state)
        _, shown = mailing.fleet.command("preview", "spring", config, "-o", "eml")
        leads_nowhere(link_of(email.message_from_string(shown, policy=email.policy.default)), "https://mailfleet.invalid")
        _, shown = mailing.fleet.command("preview", "spring", config, *state, "-o", "eml", "--public-url", PUBLIC)
        leads_nowhere(link_of(email.message_from_string(shown, policy=email.policy.default)), PUBLIC)
        mailing.clear()
        code, output = mailing.fleet.command("send", "spring", config, *state, "--to", "me@example.org")
        require(code == 0 and "is a sample" in output, f"{code} {output}")
        leads_nowhere(link_of(mailing.messages().pop("me@example.org")), "https://mailfleet.invalid")
        mailing.clear()
        code, output = mailing.fleet.command("send", "spring", config, *state, "--to", "me@example.org", "--public-url", PUBLIC)
        require(code == 0 and "following it unsubscribes that person" in output, f"{code} {output}")
        # It is of no run.
        status, _, page = mailing.ask("GET", link_of(mailing.messages()["me@example.org"]).removeprefix(PUBLIC))
        require(status == 200 and "a…@example.com" in page, f"not the recipient's link: {status} {page}")
        elsewhere = ("--state", str(mailing.fleet.folder / "elsewhere"))
        code, output = mailing.fleet.command("run", config, "--dry-run", *elsewhere)
        dry = [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in (mailing.fleet.folder / "elsewhere").rglob("*.eml")]
        require(code == 0 and len(dry) == 2 and not list((mailing.fleet.folder / "elsewhere").rglob("keys")), f"{code} {output}")
        [leads_nowhere(link_of(message), "https://mailfleet.invalid") for message in dry if message["To"].addresses[0].addr_spec == "ann@example.com"]
    mailing.write(unsubscribe={})
    code, output = mailing.fleet.command("validate", mailing.fleet.config)
    require(code == 2 and output.count("`unsubscribe_url` is the unsubscribe link") == 2, f"{code} {output}")
    return ""


def a_mail_unsubscribes_too(program) -> str:
    """Where mail to a return path is read, the header has a mailto: beside the link, and a mail to it unsubscribes; a forged one does not."""
    port = free_port()
    mailing = Mailing("mail", program)
    mailing.options = (*mailing.options, "--bounce-address", f"127.0.0.1:{port}")
    server = fleets.resource("SendingServer", "box", {"provider": {"outbox": {}}, "identity": {"returnPath": "b.example.com"}, "feedback": {"bounces": "Listener"}})
    mailing.write(server)
    with mailing.start():
        message = mailing.messages()["ann@example.com"]
        link, mailto = "".join(str(message["List-Unsubscribe"]).split()).strip("<>").split(">,<")
        require(link.startswith(f"{PUBLIC}/u/v1/") and str(message["List-Unsubscribe-Post"]) == BODY, f"{message['List-Unsubscribe']}")
        address, _, subject = mailto.removeprefix("mailto:").partition("?subject=")
        require(mailto.startswith("mailto:unsubscribe") and address.endswith("@b.example.com"), mailto)

        def mail(subject: str) -> None:
            with smtplib.SMTP("127.0.0.1", port, timeout=20) as line:
                text = f"From: Ann <ann@example.com>\r\nTo: {address}\r\nSubject: {subject}\r\n\r\nunsubscribe\r\n"
                line.sendmail("ann@example.com", [address], text)

        mail(subject[:-1] + ("a" if subject[-1] != "a" else "b"))
        require(mailing.suppressed() == [], f"by a forged token: {mailing.suppressed()}")
        mail(subject)
        require(mailing.suppressed() == [("ann@example.com", "offers", "Unsubscribed", "bounce listener")], f"{mailing.suppressed()}")
    mailing.write()
    mailing.clear()
    mailing.write(run="second")
    with mailing.start():
        message = mailing.messages()["bo.long.name@mail.example.org"]
        require("mailto" not in str(message["List-Unsubscribe"]), "nobody reads mail for this server")
    return ""


def main():
    cases = Cases(__doc__)
    cases.option("--quick", action="store_true", help="2,000 forged tokens instead of 100,000")
    options = cases.parse()
    program = fleets.binary()
    cases.add_all((every_message_has_its_link, nothing_is_sent_without_a_link), program)
    cases.add_all((one_click_ends_the_subscription,), program, needs=lambda: "" if shutil.which("curl") else "curl")
    cases.add_all((what_is_not_durable_is_not_confirmed, the_next_run_leaves_the_person_out, a_retry_leaves_the_person_out), program)
    cases.add_all((a_look_changes_nothing, keys_are_kept_and_rotate, looking_unsubscribes_nobody), program)
    cases.add_all((a_mail_unsubscribes_too,), program)
    cases.add("forged links lead nowhere", forged_links_lead_nowhere, program, 2_000 if options.quick else 100_000)
    cases.add_all((those_who_are_slow_or_many_hinder_nobody,), program)
    cases.end()


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The dashboard in a real browser: what it shows, live while a server dies, by keyboard and without JavaScript, large, and closed to strangers."""

import contextlib
import http.client
import json
import os
import re
import time
import urllib.parse
from pathlib import Path

from parts import browser as browsers
from parts import fleet as fleets
from parts.browser import Browser
from parts.place import Place
from parts.process import answers, free_port, wait_until
from parts.report import Cases, Shared, require

# A bound for a machine that does ten things at once.
SECONDS = 60
PAGE_MAX = 100_000
# To the first paint of a large fleet's page: in a release build; others are for finding mistakes.
PAINT_MS = 1000 if fleets.is_release(fleets.binary()) else 5000
WIDTHS = (360, 900, 1440)
RECIPIENTS = 4000


def asked(port: int, target: str, method: str = "GET", body: str | None = None, **headers: str) -> tuple[int, dict, str]:
    """Status, fields and body of an answer."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(line):
        line.request(method, target, body=body, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = line.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read().decode()


def text_of(html: str) -> str:
    """What of a page is text, roughly."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


@contextlib.contextmanager
def running(fleet, *options: str):
    """Mailfleet with its dashboard: the process, and the port."""
    port = free_port()
    with fleet.start(f"--admin-address=127.0.0.1:{port}", *options, once=False) as process:
        wait_until(lambda: answers(port) or not process.running(), SECONDS, "the admin endpoint")
        require(process.running(), f"it ended: {process.tail()}")
        wait_until(lambda: asked(port, "/readyz")[0] == 200, SECONDS, "a process that is ready")
        yield process, port


def fleet_of(place, name: str, sinks, *options: str):
    """Three servers, of which one is never there; a plan; a campaign that takes its time, one that is over, and one that some refuse."""
    fleet = place.fleet(name, *options)
    fleets.write_csv(fleet.config / "people.csv", RECIPIENTS)
    slow = {"rates": [{"messages": 20, "per": "1s"}, {"messages": 50000, "per": "24h"}]}
    probe = {"interval": "1s", "retryAfter": "500ms", "timeout": "2s"}
    servers = [
        fleets.smtp_server("relay-a", sinks[0].port, limits=slow, probe=probe, warmup={"startDate": "2026-01-01", "advance": "WhenUsed", "linear": {"firstDay": 5000, "dailyIncrease": 1000, "target": 20000}}),
        fleets.smtp_server("relay-b", sinks[1].port, limits=slow, probe=probe),
        fleets.smtp_server("absent", free_port(), probe=probe),
    ]
    small = {"inline": [{"email": fleets.address(number), "name": f"Person {number}"} for number in range(20)]}
    fleet.write("fleet.yaml", *servers, fleets.plan("pro", "relay-a", "relay-b", "absent"))
    fleet.write("campaigns.yaml", fleets.campaign("news", "pro", {"csv": {"path": "people.csv"}}), fleets.campaign("small", "pro", small))
    return fleet


def shows(browser, words: str, what: str, selector: str = "main"):
    """Waits until the page shows these words, without loading it again."""
    try:
        wait_until(lambda: words in browser.text(selector), SECONDS, what, every=0.2)
    except TimeoutError as fault:
        raise AssertionError(f"{fault}: {browser.text(selector)[:2000]}") from fault


def nothing_is_wrong(browser):
    """No complaint of the browser, and no request to anybody else."""
    require(not browser.complaints(), f"{browser.complaints()}")


def pages_as_people_see_them(place):
    """Every page of a fleet at three widths, light and dark: nothing wider than the screen, and nothing that axe-core finds."""
    pictures = Path(os.environ.get("MAILFLEET_SCREENSHOTS") or place.new("screenshots"))
    pictures.mkdir(parents=True, exist_ok=True)
    judged = 0
    with place.sink() as one, place.sink() as other, Browser() as browser:
        fleet = fleet_of(place, "pages", (one, other))
        with running(fleet) as (_, port):
            fleet.wait_state("Campaign", "small", "Completed", SECONDS)
            wait_until(lambda: "absent" in asked(port, "/audit?state=Ready")[2], SECONDS, "a history")
            targets = {
                "overview": "/",
                "servers": "/servers?sort=state",
                "server": "/servers/default/relay-a",
                "inactive": "/servers/default/absent",
                "campaigns": "/campaigns",
                "campaign": "/campaigns/default/news",
                "plans": "/plans",
                "plan": "/plans/default/pro",
                "audit": "/audit",
                "none": "/servers/default/none",
            }
            for scheme in ("light", "dark"):
                for width in WIDTHS:
                    browser.open(f"http://127.0.0.1:{port}/", colorScheme=scheme, viewport={"width": width, "height": 900})
                    for name, target in targets.items():
                        browser.go(f"http://127.0.0.1:{port}{target}")
                        wide = browser.run("return page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)")
                        require(wide <= 0, f"{target} is {wide} px wider than {width} px")
                        found = browser.violations()
                        require(not found, f"{target}, {width} px, {scheme}: {found}")
                        judged += 1
                        browser.run("await page.screenshot({path: args.path, fullPage: true})", path=str(pictures / f"{name}-{width}-{scheme}.png"))
                    browser.run("await page.context().close()")
            # That a page is not there is the one thing that the browser may complain about.
            others = [line for line in browser.complaints() if not ("404" in line and line.endswith("/servers/default/none)"))]
            require(not others, f"{others}")
    return f"{judged} pages judged, by Chromium {browser.version}"


def searched_filtered_and_back(place):
    """Search, filters and order are in the address; the back button leads back; all of it by the keyboard, and without JavaScript."""
    with place.sink() as one, place.sink() as other, Browser() as browser:
        fleet = fleet_of(place, "search", (one, other))
        with running(fleet) as (_, port):
            fleet.wait_state("SendingServer", "absent", "Inactive", SECONDS)
            wait_until(lambda: "Active" in asked(port, "/servers/default/relay-b")[2], SECONDS, "an Active server")
            for settings in ({}, {"javaScriptEnabled": False}):
                browser.open(f"http://127.0.0.1:{port}/servers", **settings)
                browser.run("await page.getByRole('searchbox').fill('relay'); await page.keyboard.press('Enter'); await page.waitForURL(/q=relay/)")
                names = browser.text("table")
                require("relay-a" in names and "relay-b" in names and "absent" not in names, names)
                browser.run("await page.getByRole('link', {name: 'Server', exact: true}).click(); await page.waitForURL(/sort=name/)")
                browser.run("await page.getByRole('link', {name: /^Server/}).last().click(); await page.waitForURL(/sort=-name/)")
                names = browser.text("table")
                require(names.index("relay-b") < names.index("relay-a"), f"the other way round: {names}")
                url = browser.run("return page.url()")
                require("q=relay" in url, url)
                browser.run("await page.getByRole('link', {name: /relay-a/}).click(); await page.waitForURL(/relay-a$/)")
                require("Conditions" in browser.text(), browser.text())
                browser.run("await page.goBack(); await page.waitForURL(args.url)", url=url)
                require("relay-b" in browser.text("table"), browser.text())
                browser.run("await page.getByRole('link', {name: 'Show all'}).click(); await page.waitForURL(/servers$/)")
                browser.run("await page.getByLabel('State').selectOption('Inactive'); await page.getByRole('button', {name: 'Show'}).click(); await page.waitForURL(/state=Inactive/)")
                names = browser.text("table")
                require("absent" in names and "relay-a" not in names, names)
            # By the keyboard alone: over the link that skips what is above, to the content.
            browser.open(f"http://127.0.0.1:{port}/")
            first = browser.run("await page.keyboard.press('Tab'); const text = await page.evaluate(() => document.activeElement.textContent); await page.keyboard.press('Enter'); return text")
            require("Skip" in first and browser.run("return page.evaluate(() => document.activeElement.id)") == "content", f"{first}")
            nothing_is_wrong(browser)
    return "with and without JavaScript"


def live_while_a_server_dies(place):
    """An open page shows that a server went away, why, and what is sent meanwhile; what is typed and opened on it stays; its history survives a restart."""
    with place.sink() as one, place.sink() as other, Browser() as browser:
        fleet = fleet_of(place, "dies", (one, other))
        with running(fleet) as (process, port):
            fleet.wait_state("SendingServer", "relay-b", "Active", SECONDS)
            browser.open(f"http://127.0.0.1:{port}/servers/default/relay-b")
            shows(browser, "Live", "a live page", "#live")
            browser.run("await page.evaluate(() => { window.same = true; document.querySelector('main details').open = true; document.querySelector('main a').focus(); })")
            shows(browser, "Active", "an Active server")
            other.kill()
            shows(browser, "Inactive", "that the server is gone")
            shows(browser, "ConnectionRefused", "why it is gone")
            stayed = browser.run("return page.evaluate(() => [window.same, document.querySelector('main details').open, document.activeElement.tagName])")
            require(stayed == [True, True, "A"], f"the page was loaded again, or what was opened was closed: {stayed}")
            rows = browser.text("table.history")
            require("False" in rows and "Ready" in rows, rows)
            # What is typed into a search is not taken away by news.
            browser.go(f"http://127.0.0.1:{port}/campaigns")
            shows(browser, "Live", "a live page", "#live")
            browser.run("await page.getByRole('searchbox').pressSequentially('ne')")
            before = browser.text("table")
            wait_until(lambda: browser.text("table") != before, SECONDS, "news", every=0.2)
            require(browser.run("return page.getByRole('searchbox').inputValue()") == "ne", "what was typed is gone")
            # A campaign's progress.
            browser.go(f"http://127.0.0.1:{port}/campaigns/default/news")
            accepted = lambda: int(re.search(r"([\d,]+) accepted", browser.text(".progress"))[1].replace(",", ""))  # noqa: E731
            first = accepted()
            wait_until(lambda: accepted() > first, SECONDS, "progress", every=0.2)
            nothing_is_wrong(browser)
            other.start()
            wait_until(lambda: fleet.status("SendingServer", "relay-b").get("state") == "Active", SECONDS, "a server that is back")
            wait_until(lambda: len(re.findall("<td>Ready</td>", asked(port, "/servers/default/relay-b")[2])) >= 3, SECONDS, "its history")
            process.kill()
        with running(fleet) as (_, port):
            page = text_of(asked(port, "/servers/default/relay-b")[2])
            require("ConnectionRefused" in page.split("History")[1], f"no history after a restart: {page}")
            fleet.write("campaigns.yaml", fleets.campaign("news", "pro", {"csv": {"path": "people.csv"}}, subject="Another subject", suspend=True))
            wait_until(lambda: "spec.subject" in asked(port, "/audit?state=Spec")[2], SECONDS, "what changed of a spec")
            audit = text_of(asked(port, "/audit?state=Spec")[2])
            require("Another subject" in audit and "spec.suspend" in audit, audit)
            wait_until(lambda: "Removed" in asked(port, "/audit?state=Object&q=small")[2], SECONDS, "what was removed")
    return "within its page"


def closed_to_strangers(place):
    """By a token in a form or a header, by a proxy's header, by names of this machine alone; without either, and elsewhere, closed."""
    with place.sink() as one, place.sink() as other, Browser() as browser:
        fleet = fleet_of(place, "access", (one, other))
        with running(fleet) as (_, port):
            require(asked(port, "/", Host="localhost")[0] == 200, "not for this machine")
            status, _, page = asked(port, "/", Host="attacker.example")
            require(status == 403 and "relay" not in page, page)
            status, fields, _ = asked(port, "/")
            policy = fields["content-security-policy"]
            require("default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy, policy)
        token = fleet.folder / "token"
        token.write_text("0123456789abcdef-token\n")
        with running(fleet, f"--admin-token-file={token}", "--admin-proxy-header=X-Forwarded-User") as (process, port):
            status, fields, _ = asked(port, "/servers?q=relay")
            require(status == 303 and fields["location"].startswith("/login"), f"{status} {fields}")
            require(asked(port, "/live?page=/")[0] == 403 and asked(port, "/metrics")[0] == 200, "news without the token, or no metrics")
            require(asked(port, "/", Authorization="Bearer 0123456789abcdef-token")[0] == 200, "not with the token")
            require(asked(port, "/", X_Forwarded_User="ann")[0] == 200, "not through the proxy")
            browser.open(f"http://127.0.0.1:{port}/servers?q=relay")
            found = browser.violations()
            require(not found, f"{found}")
            browser.run("await page.getByLabel('Token').fill('wrong-wrong-wrong-wrong'); await page.getByRole('button').click()")
            shows(browser, "This is not the token", "a refusal")
            browser.run("await page.getByLabel('Token').fill('0123456789abcdef-token'); await page.getByRole('button').click(); await page.waitForURL(/servers\\?q=relay/)")
            require("relay-a" in browser.text("table"), browser.text())
            shows(browser, "Live", "a live page", "#live")
            cookies = browser.run("return page.context().cookies()")
            require([(one["httpOnly"], one["sameSite"]) for one in cookies] == [(True, "Lax")] and "0123" not in json.dumps(cookies), f"{cookies}")
            browser.run("await page.getByRole('button', {name: 'Sign out'}).click(); await page.waitForURL(/login/)")
            require("0123456789abcdef" not in process.text(), "the token is in the log")
        token.write_text("short\n")
        code, output = fleet.command("run", fleet.config, "--state", fleet.state, "--admin-address=127.0.0.1:0", f"--admin-token-file={token}")
        require(code == 2 and "16" in output and "openssl rand" in output, f"exit {code}: {output}")
        open_port = free_port()
        with fleet.start(f"--admin-address=0.0.0.0:{open_port}", once=False):
            wait_until(lambda: answers(open_port), SECONDS, "the admin endpoint")
            status, _, page = asked(open_port, "/")
            require(status == 403 and "--admin-token-file" in page and "relay" not in page, page)
            require(asked(open_port, "/livez")[0] == 200, "no health check")
    return "five ways"


def who_failed_and_why(place):
    """Failures are counted by reason, recipients are masked unless they may be shown, and markup in what others write stays text."""
    hostile = "<script>window.hacked = 1</script><img src=x onerror=window.hacked=1>"
    with place.sink("--reply", "person*5@example.com=550") as sink, Browser() as browser:
        fleet = place.fleet("failed")
        people = [{"email": fleets.address(number), "name": "Ann"} for number in range(30)]
        fleet.write("fleet.yaml", fleets.smtp_server("relay", sink.port), fleets.plan("pro", "relay"))
        fleet.write("campaign.yaml", fleets.campaign("news", "pro", {"inline": people}, subject=f"About {hostile}"))
        for options, shown, hidden in ((), "p***@example.com", "person15@"), (("--dashboard-recipients",), "person15@example.com", "p***@"):
            with running(fleet, *options) as (_, port):
                target = "/campaigns/default/news"
                wait_until(lambda: "Rejected" in asked(port, target)[2], SECONDS, "failures")
                page = asked(port, target)[2]
                require(shown in page and hidden not in page, f"{shown} is not shown, or {hidden} is: {text_of(page)[:3000]}")
                reasons = text_of(page.split("Failures by reason")[1].split("</table>")[0])
                require(" 3 " in reasons and "550" in reasons, f"not counted together: {reasons}")
                require("<script>window" not in page and "&lt;script&gt;" in page, page[:3000])
                browser.open(f"http://127.0.0.1:{port}{target}")
                require(browser.run("return page.evaluate(() => window.hacked === undefined)"), "a script of a subject ran")
                nothing_is_wrong(browser)
                browser.run("await page.close()")
    return "3 failures"


def thousands_of_servers(place):
    """5,000 servers and 1,000 campaigns: each page below 100 KB, and painted within a second."""
    fleet = place.fleet("large")
    servers = [fleets.resource("SendingServer", f"server-{number:04}", {"provider": {"outbox": {}}}) for number in range(5000)]
    fleet.write("servers.yaml", *servers)
    fleet.write("plan.yaml", fleets.resource("Plan", "pro", {"servers": [{"name": f"server-{number:04}"} for number in range(1000)]}))
    audience = {"inline": [{"email": "ann@example.com", "name": "Ann"}]}
    fleet.write("campaigns.yaml", *(fleets.campaign(f"campaign-{number:04}", "pro", audience, suspend=True) for number in range(1000)))
    worst, slowest = 0, 0.0
    with Browser() as browser, running(fleet) as (_, port):
        wait_until(lambda: "5,000" in asked(port, "/")[2] and "1,000 campaigns" in asked(port, "/campaigns")[2], 4 * SECONDS, "all objects", every=0.5)
        targets = ["/", "/servers", "/servers?page=77&sort=type", "/servers?q=4321", "/servers/default/server-0001", "/campaigns?sort=state"]
        targets += ["/campaigns/default/campaign-0500", "/plans", "/plans/default/pro", "/audit"]
        browser.open(f"http://127.0.0.1:{port}/")
        for target in targets:
            size = len(asked(port, target)[2].encode())
            require(size < PAGE_MAX, f"{target} has {size} bytes")
            browser.go(f"http://127.0.0.1:{port}{target}")
            script = "return page.evaluate(() => new Promise((done) => { const look = () => { const [paint] = performance.getEntriesByName('first-contentful-paint'); paint ? done(paint.startTime) : setTimeout(look, 20); }; look(); }))"
            paint = browser.run(script)
            require(paint < PAINT_MS, f"{target} was painted after {paint:.0f} ms")
            worst, slowest = max(worst, size), max(slowest, paint)
        require("4321" in browser.run("return (await (await page.request.get(args.url)).text())", url=f"http://127.0.0.1:{port}/servers?q=4321"), "not found")
        nothing_is_wrong(browser)
    return f"{worst / 1000:.0f} KB at most, painted within {slowest:.0f} ms"


def many_open_pages(place):
    """500 pages are open and told news; more than the bound are refused in words, and health checks are answered all the same."""
    with place.sink() as one, place.sink() as other:
        fleet = fleet_of(place, "many", (one, other))
        with running(fleet) as (process, port), contextlib.ExitStack() as stack:
            lines = []
            for _ in range(500):
                line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                stack.callback(line.close)
                line.request("GET", "/live?" + urllib.parse.urlencode({"page": "/campaigns", "version": ""}))
                answer = line.getresponse()
                require(answer.status == 200, f"{answer.status} after {len(lines)} pages")
                lines.append(answer)
            begin = time.monotonic()
            require(asked(port, "/livez")[0] == 200 and asked(port, "/servers")[0] == 200, "nobody else is answered")
            took = time.monotonic() - begin
            # Each of them gets the page once, and later what changed.
            for answer in (lines[0], lines[250], lines[499]):
                news = [answer.readline() for _ in range(3)]
                while not news[-1].startswith(b"data: "):
                    news.append(answer.readline())
                require(b"campaigns" in news[-1], f"{news}")
            for _ in range(500):
                line = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                stack.callback(line.close)
                line.request("GET", "/live?page=/")
                lines.append(line.getresponse())
            status, _, words = asked(port, "/live?page=/")
            require(status == 503 and "1000 pages are live" in words, f"{status} {words}")
            require(asked(port, "/livez")[0] == 200 and process.running(), "it is not well")
    return f"others were answered within {took * 1000:.0f} ms"


def main():
    cases = Cases(__doc__)
    cases.parse()
    place = Shared(lambda: Place("dashboard"))
    in_browser = (pages_as_people_see_them, searched_filtered_and_back, live_while_a_server_dies, closed_to_strangers, who_failed_and_why, thousands_of_servers)
    cases.add_all(in_browser, place, needs=browsers.missing)
    cases.add_all((many_open_pages,), place)
    cases.end()


if __name__ == "__main__":
    main()

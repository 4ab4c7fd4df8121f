#!/usr/bin/env python3
"""MJML: what Mailfleet sends is what npm's mjml renders, element for element, or an error says what to do.

Every document is a campaign; all are sent into an outbox in one run, and Python's email package reads them.
"""

import email
import email.policy
import html
import itertools
import json
import os
import re
import subprocess
from pathlib import Path

from parts import fleet as fleets
from parts import prism
from parts.mails import Mails
from parts.page import Page
from parts.process import folder, wait_until
from parts.report import Cases, need, require

TEMPLATES = fleets.ROOT / "tests/mjml"
NAME = "Ann"

# As they are written in an attribute between double quotes: ten scripts, and what is special in HTML, URLs and CSS.
VALUES = [
    "plain", "two words", "I ❤️ you", "👩‍👩‍👧‍👦 family", "☎︎ text style", "☎️ emoji style", "🇨🇭🏴󠁧󠁢󠁥󠁮󠁧󠁿", "e\u0301 composed of two",
    "é of one", "नमस्ते दुनिया", "क्षत्रिय", "হ্যালো", "ನಮಸ್ಕಾರ", "வணக்கம்", "สวัสดีครับ", "ສະບາຍດີ", "你好，世界", "繁體中文", "こんにちは", "ｶﾀｶﾅ",
    "안녕하세요", "\u1112\u1161\u11ab", "مرحبا بالعالم", "‏עם סימן כיוון", "שלום", "Привет, мир", "Γειά σου", "გამარჯობა", "Բարեւ", "አማርኛ",
    "Grüße aus Zürich", "Þórr &amp; Loki", "naïve café", "ß ẞ ſ", "a\u200bb\u200dc", "a\u00a0b\u202fc", "soft\u00adhyphen", "\u202eright to left",
    "say &quot;hi&quot;", "it's", "a &amp; b", "a & b", "&copy; &eacute; &#8364;", "&unknown; &", "1 < 2", "3 > 2", "&lt;b&gt;", "</mj-text>",
    "tab\there", "two\nlines", " spaces ", "back\\slash \\n \\u{fe0f}", "100% {0} {{0}}".replace("{{0}}", "{ 0 }"), "#hash ?query=1&b=2",
    "https://x.example/ä?q=日本&r=ü#ß", "https://x.example/?a[]=1&b={c}|d", "mailto:a@x.example?subject=Grüße%20%C3%A4", "javascript:void(0)",
    "a;b:c;d", "url('x.png')", "𝒳 outside the plane 😀", "�",
]  # fmt: skip


def column(inner: str) -> str:
    return f"<mjml><mj-body><mj-section><mj-column>{inner}</mj-column></mj-section></mj-body></mjml>"


def with_value(value: str) -> str:
    """A document with a value wherever text is allowed."""
    apostrophes = value.replace("'", "&#39;")
    return column(
        f'<mj-image src="https://x.example/a.png?v={value}" href="https://x.example/{value}" alt="{value}" title="{value}" name="{value}" rel="{value}" />'
        f'<mj-button href="{value}" title="{value}" target="{value}" css-class="{value}" font-family="{value}">{html.escape(html.unescape(value))}</mj-button>'
        f'<mj-text><p title="{value}" style="color:red;\n font-family:\'{apostrophes.replace(chr(10), " ")}\'">x</p><img alt=\'{apostrophes}\' src="{value}"></mj-text>'
        f'<mj-table><tr><td data-v="{value}" width=50>x</td></tr></mj-table><mj-raw><tr title="{value}"><td><p>a<p>b</td></tr></mj-raw>'
        f'<mj-social><mj-social-element name="web" href="https://x.example/{value}" alt="{value}">x</mj-social-element></mj-social>'
        f'<mj-navbar base-url="https://x.example"><mj-navbar-link href="/{value}" rel="{value}">x</mj-navbar-link></mj-navbar>'
        f'<mj-carousel><mj-carousel-image src="https://x.example/{value}" alt="{value}" title="{value}" /></mj-carousel>'
        f'<mj-accordion icon-wrapped-alt="{value}"><mj-accordion-element><mj-accordion-title>x</mj-accordion-title><mj-accordion-text>y</mj-accordion-text></mj-accordion-element></mj-accordion>'
    )


def by_npm(script: str, given, parts: Path | None = None) -> list | dict:
    """What a script with npm's judges makes of JSON; `parts` is the folder of what documents include."""
    environment = {**os.environ, "NODE_PATH": str(prism.folder() / "node_modules"), **({"MJML_PARTS": str(parts)} if parts else {})}
    words = ["node", str(fleets.ROOT / "tests/judges" / script)]
    done = subprocess.run(words, input=json.dumps(given), capture_output=True, text=True, timeout=600, env=environment)
    require(done.returncode == 0, f"{script}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def sent(place, documents: list[str], parts: dict[str, str] | None = None) -> list[str]:
    """The HTML of each document as its recipient gets it, or the error where there is none."""
    fleet = fleets.Fleet(place, fleets.binary())
    server = fleets.resource("SendingServer", "box", {"provider": {"outbox": {}}})
    audience = {"inline": [{"email": "ann@example.com", "name": NAME}]}
    campaigns = []
    for name, text in (parts or {}).items():
        (fleet.config / "parts").mkdir(exist_ok=True)
        (fleet.config / "parts" / name).write_text(text, encoding="utf-8")
    for index, document in enumerate(documents):
        (fleet.config / f"{index}.mjml").write_text(document, encoding="utf-8")
        content = {"mjmlFrom": {"path": f"{index}.mjml"}, **({"templates": {"path": "parts"}} if parts else {})}
        campaigns.append(fleets.campaign(f"c{index}", "plan", audience, subject=f"document {index}", content=content))
    fleet.write("all.yaml", server, fleets.plan("plan", "box"), *campaigns)
    _, said = fleet.run_once(seconds=600)
    pages = [""] * len(documents)
    for path in (fleet.state / "outbox/default/box/new").iterdir():
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        pages[int(message["Subject"].split()[1])] = message.get_body(("html",)).get_content().replace("\r\n", "\n")
    for index, page in enumerate(pages):
        if not page:
            conditions = fleet.status("Campaign", f"c{index}").get("conditions", [])
            pages[index] = "; ".join(str(one.get("message")) for one in conditions) or said[-500:]
    return pages


def compare(documents: dict[str, str], lost: float = 0, parts: dict[str, str] | None = None) -> str:
    """Every document equals npm's; npm's own mjml fails for a share of `lost` at most. `parts` are what documents include."""
    need(prism.missing())
    place = folder("mjml-parts")
    for name, text in (parts or {}).items():
        (place / name).write_text(text, encoding="utf-8")
    theirs = by_npm("mjml.js", list(documents.values()), place if parts else None)
    # Columns without any width.
    good = [bool(page.get("html")) and not re.search(r"\b(NaN|Infinity)", page["html"]) for page in theirs]
    require(good.count(False) <= lost * len(documents), f"npm's mjml fails at {good.count(False)} of {len(documents)}")
    documents = {name: text for (name, text), is_good in zip(documents.items(), good) if is_good}
    theirs = [page for page, is_good in zip(theirs, good) if is_good]
    ours = sent(folder("mjml"), list(documents.values()), parts)
    refused = [page for page in ours if "leave no room" in page]
    require(len(refused) <= lost * len(documents), f"{len(refused)} of {len(documents)} are refused: {refused[:1]}")
    different = []
    for name, wanted, got in zip(documents, theirs, ours):
        if got in refused:
            continue
        # npm's mjml knows no templates.
        wanted = wanted["html"].replace("{{ name }}", NAME).replace('{% if name == "Ann" %}', "").replace("{% endif %}", "")
        pairs = itertools.zip_longest(Page(wanted).items, Page(got).items)
        if first := next(((one, other) for one, other in pairs if one != other), None):
            different.append(f"{name}: npm has {first[0]!r}, Mailfleet {first[1]!r}" if "<html" in got else f"{name}: {got}")
    require(not different, f"{len(different)} of {len(documents)}\n" + "\n".join(different[:5]))
    return f"{len(documents)} documents, {sum(len(Page(page).items) for page in ours)} tags and texts"


def templates() -> str:
    """Our own templates, which cover every element."""
    found = {path.stem: path.read_text(encoding="utf-8") for path in sorted(TEMPLATES.glob("*.mjml"))}
    require(len(found) >= 25, f"{len(found)} templates")
    return compare(found)


def values() -> str:
    """Values in many scripts, wherever text is allowed."""
    return compare({repr(value): with_value(value) for value in VALUES})


def by_chance(seed: int, many: int) -> str:
    """Random documents, with every attribute that npm's mjml allows."""
    need(prism.missing())
    mails = Mails(by_npm("mjml-elements.js", None), seed)
    return compare({f"seed {seed}, document {index}": mails.mail() for index in range(many)}, lost=0.05) + f", seed {seed}"


PARTS = {
    "header.mjml": '<mj-section background-color="#eee"><mj-column><mj-include path="logo.mjml" /><mj-text>Hello {{ name }}</mj-text></mj-column></mj-section>',
    "logo.mjml": '<mj-image src="https://x.example/logo.png" alt="Shop" />',
    "document.mjml": '<mjml><mj-head><mj-style>.own { color: green }</mj-style><mj-attributes><mj-text padding="3px" /></mj-attributes></mj-head>'
    "<mj-body><mj-section><mj-column><mj-text>of a document</mj-text></mj-column></mj-section></mj-body></mjml>",
    "attributes.mjml": '<mj-attributes><mj-all font-family="Georgia" /><mj-class name="big" font-size="30px" /></mj-attributes>',
    "columns.mjml": "<mj-column><mj-text>one</mj-text></mj-column>\n<mj-column><mj-text>two</mj-text></mj-column>",
    "page.html": '<p class="red">plain <b>HTML</b> for {{ name }}</p>',
    "sheet.css": ".red { color: red }",
    "inlined.css": ".red { background-color: yellow }",
}


def included() -> str:
    """What `<mj-include>` brings stands where npm's mjml puts it: MJML, whole documents, HTML, and style sheets."""
    body = "<mj-section><mj-column><mj-text css-class='red' mj-class='big'>x</mj-text></mj-column></mj-section>"
    return compare(
        {
            "mjml": f'<mjml><mj-body><mj-include path="header.mjml" />{body}</mj-body></mjml>',
            "a document": f'<mjml><mj-head><mj-title>T</mj-title></mj-head><mj-body><mj-include path="document.mjml" />{body}</mj-body></mjml>',
            "a document without a head before": f'<mjml><mj-body>{body}<mj-include path="document.mjml" /></mj-body></mjml>',
            "attributes": f'<mjml><mj-head><mj-include path="attributes.mjml" /></mj-head><mj-body>{body}</mj-body></mjml>',
            "columns": f'<mjml><mj-body><mj-section><mj-include path="columns.mjml" /></mj-section>{body}</mj-body></mjml>',
            "html": f'<mjml><mj-body>{body}<mj-include path="page.html" type="html" /></mj-body></mjml>',
            "a style sheet": f'<mjml><mj-head><mj-include path="sheet.css" type="css" /></mj-head><mj-body>{body}</mj-body></mjml>',
            "one that is inlined": f'<mjml><mj-head><mj-include path="inlined.css" type="css" css-inline="inline" /></mj-head><mj-body>{body}</mj-body></mjml>',
            "all of it, twice": f'<mjml><mj-body><mj-include path="header.mjml" /><mj-include path="header.mjml" />{body}<mj-include path="sheet.css" type="css" /></mj-body></mjml>',
        },
        parts=PARTS,
    )  # fmt: skip


def edited_while_it_is_sent() -> str:
    """A layout, parts and MJML that includes: a part that is edited changes what follows, one that vanishes or breaks holds up, and once it is fixed everybody has exactly one whole mail."""
    many, files = 100, {
        "layout.html": "<html><body>{% block body %}{% endblock %}{% include 'footer.html' %}</body></html>",
        "footer.html": "<p>version one for {{ name }}</p>",
        "footer.mjml": "<mj-section><mj-column><mj-text>{% include 'footer.html' %}</mj-text></mj-column></mj-section>",
    }  # fmt: skip
    fleet = fleets.Fleet(folder("parts-edited"), fleets.binary())
    (fleet.config / "parts").mkdir()

    def write(name: str, text: str):
        new = fleet.folder / "part.new"
        new.write_text(text, encoding="utf-8")
        new.replace(fleet.config / "parts" / name)

    for name, text in files.items():
        write(name, text)
    audience = {"inline": [{"email": f"p{number}@example.com", "name": f"Person {number}"} for number in range(many)]}
    html = "{% extends 'layout.html' %}{% block body %}<p>Dear {{ name }}</p>{% endblock %}"
    mjml = '<mjml><mj-body><mj-include path="footer.mjml" /></mj-body></mjml>'
    templates, maps = {"path": "parts"}, {"configMapRef": {"name": "parts"}}
    campaigns = [
        fleets.campaign("html", "plan", audience, content={"html": html, "templates": templates}),
        fleets.campaign("mjml", "plan", audience, content={"mjml": mjml, "templates": templates}),
        fleets.campaign("map", "plan", {"inline": audience["inline"][:1]}, content={"html": html, "templates": maps}),
    ]
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "parts"}, "data": files}

    def server(**spec):
        fleet.write("server.yaml", fleets.resource("SendingServer", "box", {"provider": {"outbox": {}}, **spec}))

    def pages() -> list[tuple[str, str]]:
        """Address and HTML of every mail."""
        mails = []
        for path in (fleet.state / "outbox/default/box/new").glob("*"):
            message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            mails.append((str(message["To"]), message.get_body(("html",)).get_content()))
        return mails

    def some(version: str):
        wait_until(lambda: any(f"version {version} for" in page for _, page in pages()), 120, f"a mail of version {version}", every=0.2)

    def told(*words: str):
        def says(name: str) -> bool:
            conditions = fleet.status("Campaign", name).get("conditions") or []
            return any(all(word in str(one.get("message")) for word in words) for one in conditions)

        wait_until(lambda: says("html") and says("mjml"), 120, f"both campaigns say {words}", every=0.2)

    # Slow enough for all that follows.
    server(limits={"rates": [{"messages": 2, "per": "1s"}]})
    fleet.write("all.yaml", fleets.plan("plan", "box"), config_map, *campaigns)
    with fleet.start(once=False) as process:
        some("one")
        write("footer.html", "<p>version two for {{ name }}</p>")
        some("two")
        (fleet.config / "parts/footer.html").unlink()
        told("footer.html", "does not exist in the folder `parts`")
        write("footer.html", "<p>\n{{ name | uper }}</p>")
        told('spec.content.templates["footer.html"]: line 2: unknown filter `uper`')
        process.stop()
    require(process.code == 0, f"exit {process.code}: {process.tail()}")
    code, said = fleet.command("validate", fleet.config)
    require(code == 2 and "parts/footer.html:2:" in said and "uper" in said, f"exit {code}: {said}")
    write("footer.html", "<p>version three for {{ name }}</p>")
    code, said = fleet.command("preview", "html", fleet.config, "-o", "html", "--recipient", "p7@example.com")
    require(code == 0 and "version three for Person 7" in said, f"exit {code}: {said}")
    server()
    code, said = fleet.run_once()
    require(code == 0, f"exit {code}: {said[-1000:]}")
    mails = pages()
    require(len(mails) == 2 * many + 1, f"{len(mails)} mails")
    by_version = {version: [page for _, page in mails if f"version {version} for Person" in page] for version in ("one", "two", "three")}
    require(sum(map(len, by_version.values())) == len(mails) and all(by_version.values()), f"{ {key: len(value) for key, value in by_version.items()} }")
    require(all(page.rstrip().endswith("</html>") for _, page in mails), "a mail that is not whole")
    for name in ("html", "mjml"):
        states = fleet.recipients(name)
        require(len(states) == many and set(states.values()) == {"Accepted"}, f"{name}: {states}")
    return ", ".join(f"{len(pages)} of version {version}" for version, pages in by_version.items())


def quotes() -> str:
    """A double quote in an attribute is kept, where npm's mjml ends the attribute."""
    cases = [
        ("<mj-image src='x' alt='say \"hi\"' />", "alt", 'say "hi"'),
        ("<mj-text font-family='\"Open Sans\", Arial'>x</mj-text>", "style", ("font-family", "'Open Sans', Arial")),
    ]
    for (_, attribute, wanted), page in zip(cases, sent(folder("mjml-quotes"), [column(inner) for inner, _, _ in cases])):
        found = [dict(item[2]).get(attribute, "") for item in Page(page).items if item[0] == "tag"]
        require(any(wanted == value or isinstance(value, list) and wanted in value for value in found), f"{wanted!r} is not in {found}")
    return f"{len(cases)} attributes"


def faults() -> str:
    """`validate` reports what cannot be sent, with its line and what to do."""
    cases = {
        "<mjml></mjml>": "there is no <mj-body>, so the mail would be empty",
        column("\n\n<mj-nothing />"): "line 3: MJML has no element `mj-nothing`",
        column("\n<p>x</p>"): "HTML belongs in <mj-text>",
        column('<mj-image src="x" width="{{ w }}" />'): "`width` of <mj-image> is used in calculations",
        column("<mj-text>x").replace("<mj-body>", '<mj-head>\n<mj-style inline="inline">a:hover{color:red}</mj-style></mj-head><mj-body>').replace("x</mj-column>", "x</mj-text></mj-column>"): "line 2: `a:hover` cannot be inlined",
        column("<mj-text>{# never"): "`{#` begins a comment",
        column("<mj-text>{{ name | nofilter }}</mj-text>"): "unknown filter",
    }  # fmt: skip
    place = folder("mjml-faults")
    fleet = fleets.Fleet(place, fleets.binary())
    audience = {"inline": [{"email": "ann@example.com", "name": NAME}]}
    server = fleets.resource("SendingServer", "box", {"provider": {"outbox": {}}})
    for index, (document, words) in enumerate(cases.items()):
        fleet.write("all.yaml", server, fleets.plan("plan", "box"), fleets.campaign("c", "plan", audience, content={"mjml": document}))
        code, said = fleet.command("validate", fleet.config)
        require(code == 2 and "spec.content.mjml" in said and words in said, f"{document}: exit {code}: {said}")
    return f"{len(cases)} faults"


def main():
    cases = Cases(__doc__)
    cases.option("--seed", type=int, default=1, help="which random documents are made (1)")
    cases.option("--documents", type=int, default=150, help="how many random documents (150)")
    options = cases.parse()
    cases.add("templates as npm's mjml renders them", templates)
    cases.add("attribute values in many scripts", values)
    cases.add("random documents", by_chance, options.seed, options.documents)
    cases.add("parts that are included", included)
    cases.add("layouts and parts that are edited while they are sent", edited_while_it_is_sent)
    cases.add("double quotes", quotes)
    cases.add("errors", faults)
    cases.end()


if __name__ == "__main__":
    main()

"""Random MJML documents: every element, with every attribute that npm's mjml allows."""

import random
import re

HEAD = ("mjml", "mj-attributes", "mj-head", "mj-title", "mj-preview", "mj-style", "mj-font", "mj-breakpoint", "mj-html-attributes", "mj-raw", "mj-body")  # fmt: skip
COUNTS = {"mj-body": (1, 4), "mj-section": (0, 4), "mj-wrapper": (0, 3), "mj-column": (0, 4), "mj-hero": (0, 3)}
URLS = ["https://x.example/a.png?a=1&b=2", "https://x.example/%20%E2", "#top", "https://пример.example/я"]
TEXTS = ["Hello <b>you</b>", "a < b & c", "<b>one</b><i>two</i>", "", "<i>z</i>", "<table><tr><td width=50>x</td></tr></table>", '<a href="#">go</a>']
BY_NAME = {
    "background-size": ["cover", "contain", "auto", "100px", "50% 20px"],
    "background-position": ["top", "left", "center right", "right top", "10% 20%", "bottom", "a b c"],
    "background-position-x": ["left", "10%", "center"],
    "background-position-y": ["top", "33%", "bottom"],
    "background-width": ["600px", "469px"],
    "background-height": ["400px", "469px"],
    "name": ["facebook", "x-noshare", "twitter", "web", "custom", "linkedin"],
    "mode": ["horizontal", "vertical", "fluid-height", "fixed-height"],
    "hamburger": ["hamburger"],
    "font-family": ["Lato, Arial", "Georgia", "Open Sans"],
    "align": ["left", "right", "center"],
    "gutter": ["10px", "3%", "15px"],
}
BORDERS = ["1px solid red", "none", "0", "3px dashed #abc", "solid 2px", "medium none"]
SELECTORS = ["td", ".c1", ".c1, .c2", "div > table", "table td", "td > div", ".k b", "a[href]", 'img[alt=""]', "div:not(.c1)", "*", "b", "body", 'a[href^="https"]']  # fmt: skip
RULES = ["color:red", "color: blue !important; padding:3px", "background-color:#eee;text-align:right", "width:40px", 'font-family:"Lato", Arial', "padding-left:1px;padding:2px", "display:block;display:flex", "background:url(x.png)"]  # fmt: skip


class Mails:
    """A source of documents; `elements` is what npm's mjml says of each element."""

    def __init__(self, elements: dict, seed: int):
        self.elements, self.chance = elements, random.Random(seed)

    def value(self, name: str, kind: str) -> str:
        pick = self.chance.choice
        if name in BY_NAME:
            return pick(BY_NAME[name])
        if name in ("href", "src", "base-url") or name.endswith(("-url", "-icon", "-src")):
            return pick(URLS)
        if "border" in name and not name.endswith(("radius", "color", "style", "width")):
            return pick(BORDERS)
        if "radius" in name:
            return pick(["3px", "50%", ""])
        if kind.startswith("enum"):
            return pick(re.search(r"\(([^)]*)\)", kind)[1].split(","))
        if kind.startswith("unit"):
            units = re.search(r"\(([^)]*)\)", kind)[1].split(",")
            many = self.chance.randint(1, 4) if "{" in kind else 1
            return " ".join(self.size(pick(units)) for _ in range(many))
        simple = {"color": ["#abc", "#a1b2c3", "red", "rgba(1,2,3,0.5)", "none"], "boolean": ["true", "false"], "integer": ["0", "3", "10"]}
        return pick(simple.get(kind, ["alpha", "one two", "x"]))

    def size(self, unit: str) -> str:
        return {"auto": "auto", "": "1.5"}.get(unit) or f"{self.chance.choice([0, 5, 10, 25, 33, 40, 12.5])}{unit}"

    def attributes(self, name: str, share: float = 0.35) -> str:
        allowed = self.elements[name]["attributes"]
        found = {key: self.value(key, kind) for key, kind in allowed.items() if key != "position" and self.chance.random() < share}
        if name == "mj-hero":
            found |= {key: self.value(key, "") for key in ("background-width", "background-height")}
        if name in ("mj-column", "mj-group") and "width" in found:
            found["width"] = self.chance.choice(["25%", "33.33%", "150px", "50%"])
        if name == "mj-navbar-link":
            found["href"] = "/x?a=1"
        if share > 0.3 and self.chance.random() < 0.3:
            found["css-class"] = self.chance.choice(["c1", "c1 c2"])
        if share > 0.3 and self.chance.random() < 0.3:
            found["mj-class"] = self.chance.choice(["k", "l", "k l", "none"])
        return "".join(f' {key}="{value}"' for key, value in found.items())

    def element(self, name: str) -> str:
        about = self.elements[name]
        if name == "mj-raw":
            return self.chance.choice(["<mj-raw><!-- raw --><hr></mj-raw>", "<!-- comment -->"])
        if about["passes"]:
            # A table ends the paragraph that a button without a link is.
            texts = TEXTS if name in ("mj-text", "mj-table") else TEXTS[:5]
            return f"<{name}{self.attributes(name)}>{self.chance.choice(texts)}</{name}>"
        if not about["children"]:
            return f"<{name}{self.attributes(name)} />"
        weights = [0.15 if child == "mj-raw" else 1 for child in about["children"]]
        count = self.chance.randint(*COUNTS.get(name, (1, 3)))
        inner = "".join("\n" + self.element(child) for child in self.chance.choices(about["children"], weights, k=count))
        return f"<{name}{self.attributes(name)}>{inner}\n</{name}>"

    def mail(self) -> str:
        """One document."""
        maybe = lambda text: text if self.chance.random() < 0.4 else ""  # noqa: E731
        picked = self.chance.sample([name for name in self.elements if name not in HEAD], 3)
        defaults = "".join(f"<{name}{self.attributes(name, 0.2)} />" for name in picked)
        css = " ".join(f"{self.chance.choice(SELECTORS)} {{ {self.chance.choice(RULES)} }}" for _ in range(3))
        head = (
            f"<mj-attributes>{defaults}"
            + maybe('<mj-all font-family="Lato" color="#123" />')
            + '<mj-class name="k" color="#fed" padding="2px 3px" css-class="k" />'
            '<mj-class name="l" css-class="l"><mj-text color="green" /><mj-button border-radius="9px" /></mj-class></mj-attributes>'
            + maybe("<mj-title>T &amp; x</mj-title>")
            + maybe("<mj-preview>P</mj-preview>")
            + maybe('<mj-breakpoint width="320px" />')
            + maybe('<mj-font name="Georgia" href="https://f.example/g?a=1&b=2" />')
            + maybe("<mj-style>.c1 > a{color:red}</mj-style><!-- in the head -->")
            + maybe(f'<mj-style inline="inline">{css}</mj-style>')
        )
        root = self.chance.choice(["", "", ' lang="he" dir="rtl"', ' owa="desktop"'])
        # An empty document is refused.
        body = self.element("mj-body").replace("</mj-body>", "<mj-raw><p>end</p></mj-raw></mj-body>")
        return f"<mjml{root}><mj-head>{head}</mj-head>{body}</mjml>"

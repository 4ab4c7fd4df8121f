"""What a mail client sees of an HTML page: tags with their attributes and declarations, and the text."""

import re
from html.parser import HTMLParser

CONDITIONAL = re.compile(r"\[if ([^\]]+)\]>(.*)<!\[endif\]$", re.S)


def declarations(style: str) -> list[tuple[str, str]]:
    """The effective declarations of a `style` attribute, in order."""
    pieces, depth, quote = [""], 0, ""
    for character in style:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "()":
            depth += 1 if character == "(" else -1
        elif character == ";" and not depth:
            pieces.append("")
            continue
        pieces[-1] += character
    pairs = [piece.partition(":") for piece in pieces if piece.strip()]
    cleaned = [(name.strip().lower(), " ".join(value.split()).replace('"', "'")) for name, _, value in pairs]
    return [(name, value) for name, value in cleaned if value]


class Page(HTMLParser):
    """The items of a page in order, including what is for Outlook only."""

    def __init__(self, html: str, ids: dict[str, str] | None = None):
        super().__init__(convert_charrefs=True)
        # npm's mjml collapses white space in what only Outlook reads.
        self.is_outlook = ids is not None
        self.items, self.raw, self.ids = [], False, {} if ids is None else ids
        self.feed(html)
        self.close()

    def same_ids(self, value: str | None) -> str:
        """Ids are generated or random: it only matters which are equal."""
        return re.sub(r"[0-9a-f]{16}", lambda found: self.ids.setdefault(found[0], f"id{len(self.ids)}"), value or "")

    def handle_starttag(self, tag, attrs):
        named = {name: self.same_ids(value) for name, value in attrs}
        if self.is_outlook:
            named = {name: re.sub(r"\s+", " ", value) for name, value in named.items()}
        named["style"] = declarations(named.get("style", ""))
        named["class"] = named.get("class", "").split()
        shown = sorted((name, value) for name, value in named.items() if value or name not in ("style", "class"))
        self.items.append(("tag", tag, shown))
        self.raw = tag in ("style", "script")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.raw = False

    def handle_endtag(self, tag):
        self.raw = False

    def handle_data(self, data):
        text = "".join(self.same_ids(data).split()) if self.raw else re.sub(r"[ \t\r\n]+", " ", data).strip(" ")
        if text and self.items and self.items[-1][0] == "text":
            self.items[-1] = ("text", self.items[-1][1] + " " + text)
        elif text:
            self.items.append(("text", text))

    def handle_comment(self, data):
        if found := CONDITIONAL.match(data):
            self.items += [("if", found[1]), *Page(found[2], self.ids).items, ("endif",)]
        else:
            self.items.append(("comment", " ".join(data.split())))

    def unknown_decl(self, data):
        self.items.append(("declaration", data))

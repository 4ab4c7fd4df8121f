"""Reads the YAML of status files: block mappings and lists, plain, quoted and block scalars, empty flow collections.

Python's library has no YAML. This is strict about what it knows: a file cut off in mid-write does not pass.
"""

import json
import re


class Broken(ValueError):
    """The text is not the YAML of a status file."""


KEY = re.compile(r'("(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'|[A-Za-z0-9_./$-]+):(?: +(.*)|)$')


def read(text: str):
    """The value of a text."""
    if not text.endswith("\n"):
        raise Broken("the last line has no end")
    lines = [line for line in text.split("\n")[:-1] if line.strip() not in ("---", "...") and not line.startswith(("#", "%"))]
    reader = Reader(lines)
    value = reader.block(0)
    reader.skip_empty()
    if reader.at < len(lines):
        raise Broken(f"line {reader.at + 1}: {lines[reader.at]!r} belongs to nothing")
    return value


def scalar(text: str):
    """The value of a scalar or an empty collection on one line."""
    text = text.strip()
    if text.startswith('"'):
        if len(text) < 2 or not text.endswith('"'):
            raise Broken(f"{text!r} is not closed")
        return json.loads(re.sub(r"\\x([0-9a-fA-F]{2})", r"\\u00\1", text).replace("\\'", "'"))
    if text.startswith("'"):
        if len(text) < 2 or not text.endswith("'"):
            raise Broken(f"{text!r} is not closed")
        return text[1:-1].replace("''", "'")
    known = {"": None, "~": None, "null": None, "true": True, "false": False, "{}": {}, "[]": []}
    if text in known:
        return known[text]
    if text[0] in "{[":
        return json.loads(text)
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    if re.fullmatch(r"-?\d+\.\d+", text):
        return float(text)
    return text


class Reader:
    """A position in the lines."""

    def __init__(self, lines):
        self.lines = lines
        self.at = 0

    def skip_empty(self):
        while self.at < len(self.lines) and not self.lines[self.at].strip():
            self.at += 1

    def indent(self) -> int:
        self.skip_empty()
        if self.at >= len(self.lines):
            return -1
        line = self.lines[self.at]
        return len(line) - len(line.lstrip(" "))

    def block(self, least: int):
        """A mapping, list or scalar whose lines are indented by `least` at least."""
        indent = self.indent()
        if indent < least:
            return None
        line = self.lines[self.at][indent:]
        if line == "-" or line.startswith("- "):
            return self.list(indent)
        if KEY.match(line):
            return self.mapping(indent)
        self.at += 1
        return scalar(line)

    def list(self, indent: int):
        items = []
        while self.indent() == indent and self.lines[self.at][indent:].startswith("-"):
            rest = self.lines[self.at][indent + 1 :]
            if not rest.strip():
                self.at += 1
                items.append(self.block(indent + 1))
                continue
            # What follows the dash is a block that begins on this line.
            if KEY.match(rest.lstrip(" ")):
                self.lines[self.at] = " " * (indent + 1) + rest
                items.append(self.block(indent + 1))
            else:
                self.at += 1
                items.append(self.value(rest.strip(), indent))
        return items

    def mapping(self, indent: int):
        entries = {}
        while self.indent() == indent:
            match = KEY.match(self.lines[self.at][indent:])
            if not match:
                break
            key, rest = scalar(match[1]), (match[2] or "").strip()
            if key in entries:
                raise Broken(f"line {self.at + 1}: {key} is there twice")
            self.at += 1
            if rest:
                entries[key] = self.value(rest, indent)
            else:
                # A list may stand at the indent of its key.
                is_list = self.indent() == indent and self.lines[self.at][indent:].startswith("-")
                entries[key] = self.list(indent) if is_list else self.block(indent + 1)
        return entries

    def value(self, text: str, indent: int):
        """What follows a key or a dash on its line, with the lines that belong to it."""
        if text[0] in "|>":
            return self.block_scalar(text, indent)
        return scalar(text)

    def block_scalar(self, head: str, indent: int) -> str:
        taken = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
                break
            taken.append(line)
            self.at += 1
        while taken and not taken[-1].strip():
            taken.pop()
        margin = min((len(line) - len(line.lstrip(" ")) for line in taken if line.strip()), default=0)
        body = [line[margin:] for line in taken]
        text = "\n".join(body) if head[0] == "|" else re.sub(r"\n\n", "\n", re.sub(r"(?<!\n)\n(?!\n)", " ", "\n".join(body)))
        return text if "-" in head else text + "\n"

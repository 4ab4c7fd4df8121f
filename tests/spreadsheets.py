#!/usr/bin/env python3
"""Spreadsheets as other programs write them: LibreOffice's tables in each charset and its workbook, openpyxl's and XlsxWriter's, a sheet of every row, and archives that unpack to gigabytes."""

import json
import shutil
import struct
import subprocess
import time
import zipfile

from parts import aws
from parts import fleet as fleets
from parts.cache import ROOT
from parts.place import Place
from parts.process import peak_memory_kib, wait_until
from parts.relayed import Relayed
from parts.report import Cases, Shared, require

FILES = ROOT / "tests" / "spreadsheets"
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}
CHARSETS = ("utf-8", "utf-8-bom", "windows-1252", "iso-8859-1", "utf-16le")
TEXT = "{{ name }}|{{ PLZ }}|{{ Since }}|{{ Points }}|{{ Twice }}|{{ Note }}|\n"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


class Sent(Relayed):
    """A fleet with one relay, whose campaign prints every field."""

    def write(self, audience: dict, **spec):
        """Writes the campaign."""
        super().write(audience, **{"subject": "News", "content": {"text": TEXT}, **spec})

    def shown(self) -> dict[str, str]:
        """The text of everybody's message, as a preview shows it."""
        code, text = self.fleet.command("preview", "spring", self.fleet.config, "--state", self.fleet.state, "--first", "1000", "--output", "text")
        require(code == 0, f"preview: exit {code}: {text[:600]}")
        messages = [message.split("\n\n", 1) for message in text.split(f"\n\n{'-' * 72}\n\n")]
        # A preview shows names as they are read, and folds no line.
        heads = ((next(line for line in head.splitlines() if line.startswith("To: ")), body) for head, body in messages)
        to = {head.removeprefix("To: ").rsplit("<", 1)[-1].rstrip(">"): body.strip() for head, body in heads}
        require(len(to) == len(messages), f"{len(messages)} messages to {len(to)} people")
        return to


def as_libreoffice_writes_it(place) -> str:
    """One spreadsheet as LibreOffice writes it: three separators in five charsets, and a workbook; the same people with the same fields, and the same bad row at the same place."""
    tables = {f"people.{charset}.{separator}.csv": (charset, divider) for charset in CHARSETS for separator, divider in SEPARATORS.items()}
    columns = {"email": "E-Mail", "name": "Name"}
    shown = {}
    for name in ("people.xlsx", *tables):
        sent = Sent(place, name)
        shutil.copy(FILES / name, sent.fleet.config)
        if name in tables:
            charset, divider = tables[name]
            source = {"csv": {"path": name, "columns": columns, "delimiter": divider, **({} if charset.startswith("utf-8") else {"charset": charset})}}
        else:
            source = {"xlsx": {"path": name, "columns": columns}}
        sent.write({**source, "whenRowIsBad": "Skip"})
        code, text = sent.fleet.command("validate", sent.fleet.config)
        where = 'people.xlsx: warning: Campaign default/spring: spec.audience.xlsx: sheet "Kunden", row 7: nobody is mailed' if name == "people.xlsx" else "nobody is mailed for this row"
        require(code == 0 and where in text, f"{name}: exit {code}: {text}")
        shown[name] = sent.shown()
    wanted = shown["people.xlsx"]
    for name, found in shown.items():
        other = {who: (found.get(who), text) for who, text in wanted.items() if found.get(who) != text}
        require(found == wanted, f"{name}: {len(found)} people, {dict(list(other.items())[:2])}")
    require(wanted["ann@example.com"].startswith("Ann Müller|01067|2026-03-01|12.5|25|Grüße; \"Café\", Köln|"), wanted["ann@example.com"])
    require(len(wanted) == 35, f"{len(wanted)} people")
    return f"{len(wanted)} people, the same from {len(shown)} files"


def as_libraries_write_it(place) -> str:
    """The same rows by openpyxl and by XlsxWriter, at once and as a stream, with a hidden sheet before and without: mailed as from a table."""
    rows = [
        ["email", "name", "PLZ", "Since", "Points", "Twice", "Note"],
        ["ann@example.com", "Änn & <Co>", {"padded": 1067}, {"date": "2026-03-01"}, 12.5, {"formula": "=E2*2", "value": 25}, "two\nlines"],
        ["bob@example.com", "Łucja 😀", {"padded": 20095}, {"date": "1999-12-31"}, 3, {"formula": "=E3*2", "value": 6}, None],
        [],
        ["cy@example.com", "_x000D_", {"padded": 7}, {"date": "2024-02-29"}, 491701234567, 0.1, True],
        ["dora@example.com", "01067", {"padded": 99999}, {"time": "2026-03-01T08:30:00"}, -1, 0, False],
    ]
    wanted = {
        "ann@example.com": "Änn & <Co>|01067|2026-03-01|12.5|25|two\nlines|",
        "bob@example.com": "Łucja 😀|20095|1999-12-31|3|6||",
        "cy@example.com": "_x000D_|00007|2024-02-29|491701234567|0.1|True|",
        "dora@example.com": "01067|99999|2026-03-01T08:30:00|-1|0|False|",
    }
    count = 0
    for writer in ("openpyxl", "xlsxwriter", "xlsxwriter-streaming"):
        for hidden in ("hidden", "alone"):
            sent = Sent(place, f"{writer}-{hidden}")
            command = [aws.python(), ROOT / "tests" / "judges" / "spreadsheets.py", writer, sent.fleet.config / "people.xlsx", hidden]
            subprocess.run(command, input=json.dumps(rows), text=True, check=True, timeout=300)
            sent.write({"xlsx": {"path": "people.xlsx"}})
            # openpyxl writes `_x000D_` as it is, which means a line end; XlsxWriter escapes it.
            means = {who: text.replace("_x000D_", "") if writer == "openpyxl" else text for who, text in wanted.items()}
            require(sent.shown() == means, f"{writer}, {hidden}: {sent.shown()}")
            count += 1
    code, text = sent.fleet.run_once()
    require(code == 0 and dict(sent.server.taken) == dict.fromkeys(wanted, 1), f"exit {code}: {text}")
    require(sent.fleet.status("Campaign", "spring")["recipients"]["total"] == 4, "the total")
    return f"{count} workbooks"


def relations(targets: dict[str, str]) -> str:
    """What a part of a workbook refers to."""
    return "<Relationships>" + "".join(f'<Relationship Id="{target}" Type="{RELATIONS}/{kind}" Target="{target}"/>' for kind, target in targets.items()) + "</Relationships>"


def workbook(path, rows, texts):
    """A workbook of one sheet; rows and shared texts are written as they come."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("_rels/.rels", relations({"officeDocument": "xl/workbook.xml"}))
        archive.writestr("xl/_rels/workbook.xml.rels", relations({"worksheet": "sheet.xml", "sharedStrings": "texts.xml"}))
        archive.writestr("xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><sheets><sheet name="Sheet1" sheetId="1" r:id="sheet.xml"/></sheets></workbook>')
        for name, begin, parts, end in (("xl/texts.xml", f'<sst xmlns="{MAIN}">', texts, "</sst>"), ("xl/sheet.xml", f'<worksheet xmlns="{MAIN}"><sheetData>', rows, "</sheetData></worksheet>")):
            with archive.open(name, "w", force_zip64=True) as out:
                out.write(begin.encode())
                for part in parts:
                    out.write(part.encode())
                out.write(end.encode())


def a_sheet_of_every_row(place) -> str:
    """All 1,048,576 rows of a sheet take no more memory than ten thousand: a rollout's first step, which passes over all of them; the total is counted ahead."""
    peaks = {}
    for count in (10_000, 1_048_575):
        sent = Sent(place, "rows")
        rows = ("".join(f'<row r="{number + 2}"><c r="A{number + 2}" t="s"><v>{number + 1}</v></c><c r="B{number + 2}"><v>{number}</v></c></row>' for number in range(begin, min(begin + 1000, count))) for begin in range(0, count, 1000))
        texts = ("".join(f"<si><t>{fleets.address(number)}</t></si>" for number in range(begin, min(begin + 1000, count))) for begin in range(0, count, 1000))
        header = ['<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="inlineStr"><is><t>number</t></is></c></row>']
        workbook(sent.fleet.config / "people.xlsx", (part for parts in (header, rows) for part in parts), (part for parts in (["<si><t>email</t></si>"], texts) for part in parts))
        rollout = {"steps": [{"percent": "0.1", "pause": {}}, {"percent": 50, "pause": {}}]}
        sent.write({"xlsx": {"path": "people.xlsx"}}, content={"text": "{{ number }}"}, rollout=rollout)
        process = sent.fleet.start("-q", once=False)
        begin = time.monotonic()
        wait_until(lambda sent=sent: sent.fleet.condition("Campaign", "spring", "AudienceRead").get("status"), 550, "the audience is read", every=0.2)
        seconds = time.monotonic() - begin
        peaks[count] = peak_memory_kib(process.pid) / 1024
        counts = sent.fleet.status("Campaign", "spring")["recipients"]
        process.kill()
        require(counts["total"] == count, f"{counts}")
        require(0 < len(sent.server.taken) < count / 100, f"{len(sent.server.taken)} were mailed in the first step")
    few, many = peaks.values()
    # The texts alone are 25 MiB, and what the sheet is unpacked to 100 MiB; where each text is takes 8 MiB, twice while it is counted ahead.
    require(many - few < 80, f"{few:.0f} MiB with 10,000 rows, {many:.0f} MiB with all")
    return f"{few:.0f} MiB with 10,000 rows, {many:.0f} MiB with 1,048,575, read in {seconds:.0f} s"


def archives_that_unpack_to_gigabytes(place) -> str:
    """A few megabytes that unpack to hundreds, or to gigabytes as their directory says, or to more than it says; millions of texts, and one without an end: refused in little memory, and the workbook that replaces them is mailed."""
    sent = Sent(place, "bomb")
    path = sent.fleet.config / "people.xlsx"
    header = '<row r="1"><c r="A1" t="inlineStr"><is><t>email</t></is></c></row>'
    process, before = sent.fleet.start("-q", once=False), 0.0
    many = ["<si/>" * 200_000] * 300
    endless = ["<si><t>", *["x" * 1_000_000] * 300]
    for name, texts, said, words in (
        ("said", many, 0x7FFF_FFFF, "unpacked, its part `xl/texts.xml` has more than 1024 MiB"),
        ("hidden", many, 1000, "a part is longer than the directory says"),
        ("many", many, 0, "its cells have more than 4194304 different texts"),
        ("endless", endless, 0, "a text or tag is longer than 1048576 bytes"),
    ):
        made = path.with_suffix(".new")
        workbook(made, [header], texts)
        data = bytearray(made.read_bytes())
        require(len(data) < 4_000_000, f"{len(data)} bytes")
        if said:
            # How long the part is once it is unpacked, in its entry of the directory.
            at = data.rfind(b"PK\x01\x02", 0, data.rfind(b"xl/texts.xml"))
            data[at + 24 : at + 28] = struct.pack("<I", said)
            made.write_bytes(data)
        made.replace(path)
        sent.write({"xlsx": {"path": "people.xlsx"}}, content={"text": f"{name}"})
        sent.says(words, 120)
        # What is refused by its directory is not unpacked: that is what the program holds without it.
        before = before or peak_memory_kib(process.pid) / 1024
    peak = peak_memory_kib(process.pid) / 1024
    # Where each of 4 million texts is takes 32 MiB, twice while it is counted ahead.
    require(peak - before < 80, f"{before:.0f} MiB before, {peak:.0f} MiB at most")
    require(not sent.server.taken, f"{dict(sent.server.taken)}")
    workbook(path.with_suffix(".new"), [header, '<row r="3"><c t="inlineStr"><is><t>ann@example.com</t></is></c></row>'], [])
    path.with_suffix(".new").replace(path)
    sent.fleet.wait_state("Campaign", "spring", "Completed", 60)
    process.kill()
    require(dict(sent.server.taken) == {"ann@example.com": 1}, f"{dict(sent.server.taken)}")
    return f"4 archives, {before:.0f} MiB before, {peak:.0f} MiB at most"


def edited_while_it_is_sent(place) -> str:
    """A workbook that is replaced while it is sent, with a row that is bad, and as a list of people who are left out: each row is named as the spreadsheet numbers it, and nobody is mailed twice."""
    def people(names):
        return ['<row r="2"><c r="A2" t="inlineStr"><is><t>email</t></is></c><c r="B2" t="inlineStr"><is><t>name</t></is></c></row>'] + [
            f'<row r="{number + 4}"><c t="inlineStr"><is><t>{who}</t></is></c><c t="inlineStr"><is><t>N</t></is></c></row>' for number, who in enumerate(names)
        ]

    wanted = [fleets.address(number) for number in range(1500)]
    sent = Sent(place, "edited")
    sent.base = (fleets.smtp_server("relay", sent.server.port, limits={"connections": 4, "rates": [{"messages": 300, "per": "1s"}]}), sent.base[1])
    path, gone = sent.fleet.config / "people.xlsx", sent.fleet.config / "gone.xlsx"
    workbook(path, people([*wanted[:700], "nobody", *wanted[700:]]), [])
    workbook(gone, people([wanted[3].upper(), "no one"]), [])
    audience = {"xlsx": {"path": "people.xlsx"}, "exclude": [{"xlsx": {"path": "gone.xlsx"}}]}
    sent.write(audience, content={"text": "{{ name }}"})
    process = sent.fleet.start(once=False)
    sent.says('spec.audience.exclude[0]: gone.xlsx: 1 row cannot be used, and maxBadRows is 0: sheet "Sheet1", row 5: ')
    require(not sent.server.taken, f"{dict(sent.server.taken)}")
    workbook(gone.with_suffix(".new"), people([wanted[3].upper()]), [])
    gone.with_suffix(".new").replace(gone)
    wait_until(lambda: len(sent.server.taken) > 100, 60, "it sends")
    ahead = sent.fleet.status("Campaign", "spring")
    require(ahead.get("expectedTotal") == 1500 and not ahead.get("expectedTotalIsEstimate"), f"{ahead.get('expectedTotal')}")
    workbook(path.with_suffix(".new"), people([*wanted[:700], "nobody", *wanted[700:], "late@example.com"]), [])
    path.with_suffix(".new").replace(path)
    sent.says('sheet "Sheet1", row 704: ', 120)
    workbook(path.with_suffix(".new"), people([*wanted, "late@example.com"]), [])
    path.with_suffix(".new").replace(path)
    sent.fleet.wait_state("Campaign", "spring", "Completed", 120)
    process.kill()
    left = {*wanted, "late@example.com"} - {wanted[3]}
    require(set(sent.server.taken) == left and max(sent.server.taken.values()) == 1, f"{len(sent.server.taken)} of {len(left)}")
    return f"{len(left)} once each"


def main():
    cases = Cases(__doc__)
    cases.parse()
    place = Shared(lambda: Place("spreadsheets"))
    cases.add_all((as_libreoffice_writes_it, a_sheet_of_every_row, archives_that_unpack_to_gigabytes, edited_while_it_is_sent), place)
    cases.add_all((as_libraries_write_it,), place, needs=aws.missing)
    cases.end()


if __name__ == "__main__":
    main()

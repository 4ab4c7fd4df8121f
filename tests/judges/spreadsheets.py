"""Writes a workbook as a program would: with openpyxl, or with XlsxWriter. Rows are JSON on standard input; run by the judges' Python.

A cell is a text, a number, true, null, {"date": "2026-03-01"}, {"time": "2026-03-01T08:30:00"}, {"padded": 1067}, or {"formula": "=1+1", "value": 2}.
"""

import datetime
import json
import sys

FORMATS = {"date": "yyyy-mm-dd", "time": "yyyy-mm-dd hh:mm:ss", "padded": "00000"}


def plain(cell):
    """The value of a cell, and the format of its number."""
    if not isinstance(cell, dict):
        return cell, None
    kind = next(iter(cell))
    value = {
        "date": lambda: datetime.date.fromisoformat(cell["date"]),
        "time": lambda: datetime.datetime.fromisoformat(cell["time"]),
        "padded": lambda: cell["padded"],
        "formula": lambda: cell["formula"],
    }[kind]()
    return value, FORMATS.get(kind)


def with_openpyxl(path: str, rows: list, hidden: bool):
    import openpyxl

    workbook = openpyxl.Workbook()
    if hidden:
        workbook.active.title, workbook.active.sheet_state = "Notes", "hidden"
        workbook.active.append(["not", "this"])
        sheet = workbook.create_sheet("People")
    else:
        sheet = workbook.active
        sheet.title = "People"
    for number, row in enumerate(rows, 1):
        for column, cell in enumerate(row, 1):
            # It computes nothing, and would leave a formula without a value.
            value, form = (cell["value"], None) if isinstance(cell, dict) and "formula" in cell else plain(cell)
            if value is not None:
                written = sheet.cell(number, column, value)
                if form:
                    written.number_format = form
    # A header over two columns, and cells that only have a look.
    sheet.merge_cells(start_row=1, start_column=len(rows[0]), end_row=1, end_column=len(rows[0]) + 1)
    for number in range(len(rows) + 1, len(rows) + 50):
        sheet.cell(number, 1).font = openpyxl.styles.Font(bold=True)
    workbook.save(path)


def with_xlsxwriter(path: str, rows: list, hidden: bool, **options):
    import xlsxwriter

    workbook = xlsxwriter.Workbook(path, options)
    forms = {form: workbook.add_format({"num_format": form}) for form in FORMATS.values()}
    if hidden:
        notes = workbook.add_worksheet("Notes")
        notes.write(0, 0, "not this")
    sheet = workbook.add_worksheet("People")
    if hidden:
        sheet.activate()
        sheet.set_first_sheet()
        notes.hide()
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            value, form = plain(cell)
            if isinstance(cell, dict) and "formula" in cell:
                sheet.write_formula(number, column, value, None, cell["value"])
            elif isinstance(value, (datetime.date, datetime.datetime)):
                sheet.write_datetime(number, column, value, forms[form])
            elif isinstance(value, str):
                sheet.write_string(number, column, value)
            else:
                sheet.write(number, column, value, *([forms[form]] if form else []))
    for number in range(len(rows), len(rows) + 50):
        sheet.write_blank(number, 0, None, forms["00000"])
    workbook.close()


def main():
    writer, path, hidden = sys.argv[1], sys.argv[2], sys.argv[3] == "hidden"
    rows = json.load(sys.stdin)
    if writer == "openpyxl":
        with_openpyxl(path, rows, hidden)
    else:
        with_xlsxwriter(path, rows, hidden, constant_memory=writer == "xlsxwriter-streaming")


if __name__ == "__main__":
    main()

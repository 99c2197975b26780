"""The table of docs/kubernetes-tests.md, as the tests have seen it. YINYANG_RECORD names the file to write it into."""

import os
import re
from pathlib import Path

BEGIN, END = "<!-- made by the tests: begin -->\n", "<!-- end -->\n"
HEAD = "| file | command | what was seen |\n| --- | --- | --- |\n"


class Record:
    """Rows of a table, in the order in which the tests ran first."""

    def __init__(self) -> None:
        self.rows: list[str] = []

    def add(self, file: str, command: str, seen: str) -> None:
        self.rows.append(f"| {file} | {command} | {seen} |\n")

    def write(self) -> None:
        """Between the marks of the document, put each row in the place of the one that the same test wrote before."""
        if not (name := os.environ.get("YINYANG_RECORD")):
            return
        document = Path(name)
        before, _, rest = document.read_text().partition(BEGIN)
        table, _, after = rest.partition(END)
        rows = {what_was_done(row): row for row in [*table.removeprefix(HEAD).splitlines(keepends=True), *self.rows]}
        document.write_text(before + BEGIN + HEAD + "".join(rows.values()) + END + after)


def what_was_done(row: str) -> str:
    """The row without its last column, and without how often it was done."""
    return re.sub(r", \d+ times", "", row.rpartition(" | ")[0])

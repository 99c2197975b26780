"""The table of docs/kubernetes-tests.md, as the tests have seen it. YINYANG_RECORD names the file to write it into."""

import os
from pathlib import Path

BEGIN, END = "<!-- made by the tests: begin -->\n", "<!-- end -->\n"


class Record:
    """Rows of a table, in the order in which the tests ran."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str]] = []

    def add(self, file: str, command: str, seen: str) -> None:
        self.rows.append((file, command, seen))

    def write(self) -> None:
        """Replace the table between the marks of the document."""
        if not (name := os.environ.get("YINYANG_RECORD")):
            return
        document = Path(name)
        before, _, rest = document.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        table = "| file | command | what was seen |\n| --- | --- | --- |\n"
        table += "".join(f"| {file} | {command} | {seen} |\n" for file, command, seen in self.rows)
        document.write_text(before + BEGIN + table + END + after)

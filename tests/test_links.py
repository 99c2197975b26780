"""Relative links in the documents lead to files and headings that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/**/*.md")]
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)\s]*)\)")


def anchor(heading: str) -> str:
    """As GitHub and GitLab make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors(document: Path) -> set[str]:
    return {anchor(heading) for heading in re.findall(r"^#+ (.*)$", document.read_text(), re.M)}


def broken(document: Path) -> Iterator[str]:
    for link in LINK.findall(document.read_text()):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            yield link


def test_each_decision_is_in_the_index() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    decisions = re.findall(r"^### (.*)$", text.partition("\n## Decisions\n")[2], re.M)
    linked = set(LINK.findall(text))
    assert [one for one in decisions if f"#{anchor(one)}" not in linked] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    assert list(broken(document)) == []

"""Claims that the pages make about the repository, and that only a reader would miss."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PARTS = ("runtime", "profiles", "train", "export")


def anchors(page: Path) -> set[str]:
    """Return what GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("part", PARTS)
def test_every_module_stands_once_on_the_map(part: str) -> None:
    folder = ROOT / part / "headgate" / part
    modules = {
        path.relative_to(folder).with_suffix("").as_posix()
        for path in folder.rglob("*.py")
        if path.name != "__init__.py"
    }
    page = (ROOT / "docs" / "modules.md").read_text()
    section = page.partition(f"\n## {part}:")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| ")]
    named = Counter(
        row[1].strip(" `") + name for row in rows for name in re.findall(r"`(\w+)`", row[3])
    )
    assert set(named) == modules
    assert [name for name, count in named.items() if count > 1] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        found = page.parent / name if name else page
        assert found.exists(), target
        assert not anchor or anchor in anchors(found), target


def test_every_entry_of_the_log_is_in_its_contents() -> None:
    page = (ROOT / "docs" / "log.md").read_text()
    contents, _, entries = page.partition("\n## Contents\n")[2].partition("\n## ")
    titles = re.findall(r"^## (.+)$", f"## {entries}", flags=re.MULTILINE)
    listed = re.findall(r"^\| \[(.+)\]\(#", contents, flags=re.MULTILINE)
    assert sorted(listed) == sorted(titles)

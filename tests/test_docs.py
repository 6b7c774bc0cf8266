import re
from pathlib import Path

import pytest

from mnet_deploy.measurement.rules import RULES, SLOWER_WITH_THREADS

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name if page.parent == ROOT else f"docs/{page.name}")
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in (ROOT / "docs").glob("*.md") if f"({page.name})" not in index] == ["README.md"]


def test_the_page_on_measuring_has_every_rule_with_its_verdict():
    page = (ROOT / "docs" / "bench.md").read_text(encoding="utf-8")
    stated = dict(re.findall(r"^\| `(\w+)` \| .* \| (SUSPECT|INVALID) \|$", page, re.MULTILINE))
    expected = {rule.name: str(rule.verdict) for rule in RULES} | {SLOWER_WITH_THREADS: "SUSPECT"}
    assert stated == expected

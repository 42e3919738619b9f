"""Documents that can be checked are."""

import re
from pathlib import Path

from catbird_mls.xrpc import lexicon

ROOT = Path(__file__).resolve().parents[2]


def test_every_setting_is_in_the_operators_page_and_every_line_there_is_read() -> None:
    source = (ROOT / "catbird_mls/settings.py").read_text()
    read = set(re.findall(r'_(?:text|number|switch)\(\s*"([A-Z_]+)"', source))
    page = (ROOT / "docs/operating.md").read_text()
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE))
    assert read == documented


def test_every_method_is_in_the_readme_with_a_file_that_exists() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| .* \| `(.+)` \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert {f"blue.catbird.mls.{name}": kind for name, kind, _ in rows} == {
        nsid: lexicon.kind(nsid) for nsid in lexicon.methods()
    }
    assert [path for _, _, path in rows if not (ROOT / path).is_file()] == []


def test_files_that_documents_name_exist() -> None:
    for page in [*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        for path in re.findall(
            r"`((?:tests|docs|conversations|keypackages|delivery|catbird_mls)/[\w/.]+)`", page.read_text()
        ):
            assert (ROOT / path).exists(), f"{page.name} names {path}"

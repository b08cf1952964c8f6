"""The docs build without a warning, and every link inside the repository leads somewhere."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from .page import DOCS

ROOT = DOCS.parent
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(?P<text>.+)$", re.MULTILINE)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_the_docs_build_without_a_warning(built: Path) -> None:
    assert {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")} <= {
        path.relative_to(built) for path in built.rglob("*.html")
    }


def test_the_reference_holds_what_it_promises(built: Path) -> None:
    text = (built / "api" / "python.html").read_text(encoding="utf-8")
    for name in ("reproduce.api.reproduce", "evaluate", "report", "load"):
        assert f'id="segbench.{name}"' in text


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    lost = []
    for link in _LINK.finditer(text):
        target, _, anchor = link["target"].partition("#")
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            lost.append(link["target"])
    assert not lost


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings as GitHub and MyST make them."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    slugs = (re.sub(r"[^\w\- ]", "", heading["text"].lower()).replace(" ", "-") for heading in _HEADING.finditer(text))
    return set(slugs)

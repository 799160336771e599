"""The site builds without a warning: no broken link, no page without a place, no name without words."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness
import harness.testing
from harness import missingness
from harness.datasets import readers

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a warning of the builder is a failure."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def test_every_page_of_the_repository_is_a_page_of_the_site(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert not [str(page) for page in pages if not (site / page).exists()]
    assert "chexpert_rules_f1_micro_13" in (site / "results/leaderboards/iu-phantom.html").read_text()


def test_no_page_leads_out_of_the_site_or_asks_another_machine(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="(https?://[^"]+)"', text)
        assert not [each for each in loaded if 'rel="canonical' not in each], page
        for target in re.findall(r'href="([^"#?:]+\.html)', text):
            assert (page.parent / target).resolve().exists() or target.startswith("/"), f"{page}: {target}"


def test_the_reference_has_every_public_name(site: Path) -> None:
    text = (site / "reference/python.html").read_text(encoding="utf-8")
    for module in (harness, harness.testing, missingness, readers):
        for name in module.__all__:
            assert f'.{name}"' in text, f"{module.__name__}.{name} is not on the page"
            assert inspect.getdoc(getattr(module, name)), f"{module.__name__}.{name} has no docstring"


def test_the_command_line_page_has_every_command(site: Path) -> None:
    text = (site / "reference/cli.html").read_text(encoding="utf-8")
    for command in ("run", "score", "compare", "audit", "leaderboard", "new-dataset", "bundle-check"):
        assert f'id="harness-{command}"' in text, command

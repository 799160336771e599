"""Hooks of the documentation site: pages from outside docs/, and links that lead there.

The committed tables, the papers' tables and two files of the root are pages of the site. The page of the
command line is what the program prints about itself.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
FOLDERS = {"leaderboards": "results/leaderboards", "reports": "results/papers"}
FILES = ("CHANGELOG.md", "CONTRIBUTING.md")
_LINK = re.compile(r"\[([^\]\n]*(?:\n[^\]\n]*)?)\]\((?!\w+:)([^)#\s]*)(#[^)\s]*)?\)")


def places() -> dict[str, str]:
    """Path in the repository -> path in the site, of all Markdown pages from outside docs/."""
    pages = {
        path.relative_to(ROOT).as_posix(): f"{target}/{path.name}"
        for folder, target in FOLDERS.items()
        for path in sorted((ROOT / folder).glob("*.md"))
        if (folder, path.name) != ("leaderboards", "README.md")
    }
    return pages | {name: name for name in FILES} | {"README.md": "index.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages from outside docs/ and the page of the command line."""
    for source, target in places().items():
        if source != "README.md":
            text = (ROOT / source).read_text(encoding="utf-8")
            files.append(File.generated(config, target, content=text))
    files.append(File.generated(config, "reference/cli.md", content=command_line()))
    return files


def command_line() -> str:
    """What every command says about itself, as Markdown."""
    command = [sys.executable, "-m", "typer", "harness.cli.app", "utils", "docs", "--name", "harness"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return printed.replace("# `harness`", "# Command line", 1).replace("&#x27;", "'")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links between files of the repository to pages; a file that is no page keeps its name."""
    site = places()
    sources = {target: source for source, target in site.items()}
    uri = page.file.src_uri
    if uri.startswith("notebooks/"):
        return markdown
    here = posixpath.dirname(uri)
    source = sources.get(uri) if uri != "index.md" else None
    folder = posixpath.dirname(source if source is not None else f"docs/{uri}")

    def lead(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        if not target:
            return link[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if path in site:
            place = site[path]
        elif path.startswith("docs/"):
            place = path.removeprefix("docs/")
        else:
            return text
        return f"[{text}]({posixpath.relpath(place, here or '.')}{anchor})"

    parts = re.split(r"(^```.*?^```)", markdown, flags=re.M | re.S)
    return "".join(part if part.startswith("```") else _LINK.sub(lead, part) for part in parts)

"""The HTML page in a real browser: what a reader does with it, and what a hostile store cannot do to it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.leaderboard.leaderboard import Leaderboard
from harness.leaderboard.render import html
from harness.store.store import Store
from tests.helpers.leaderboards import add, small_store
from tests.helpers.system import require

HOSTILE = '</script><img src=x onerror="document.title=1"><b>&amp; {{ 7*7 }} \u2028 </SCRIPT>'
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Visit:
    """A page in the browser, with everything that it said or asked for."""

    def __init__(self, browser: Any, file: Path, width: int = 1280, **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())

    def column(self, number: int) -> list[str]:
        """The first lines of a column's cells among the methods."""
        cells = self.page.locator(f"#grid tbody:not(.controls) tr > :nth-child({number})").all_inner_texts()
        return [re.split(r"[\n ]", cell.strip())[0] for cell in cells]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None) or require("chromium")
    with sync_api.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    path = folder / "leaderboard.html"
    path.write_text(html.render(Leaderboard.of(small_store(folder))), encoding="utf-8")
    return path


@pytest.fixture
def visit(browser: Any, file: Path) -> Iterator[Visit]:
    """The page; whatever a test does to it, it logs no error and asks for nothing but itself."""
    visit = Visit(browser, file)
    yield visit
    visit.page.close()
    assert visit.errors == []
    assert visit.requests == [file.as_uri()]


def test_sorting_by_a_column_and_back(visit: Visit) -> None:
    assert visit.column(2) == ["first", "second", "third", "cheat"]
    button = visit.page.get_by_role("button", name="cider")
    button.click()
    header = visit.page.locator("#grid th", has=button)
    assert header.get_attribute("aria-sort") == "descending"
    assert visit.column(2) == ["cheat", "first", "third", "second"]
    assert visit.column(1) == ["\N{EN DASH}", "1-2", "1-2", "3"]  # ranks follow the metric
    visit.page.keyboard.press("Enter")  # the focus stays on the header
    assert header.get_attribute("aria-sort") == "ascending"
    assert visit.column(2) == ["second", "third", "first", "cheat"]
    assert visit.page.locator("#status").inner_text().endswith("sorted by cider, ascending")


def test_ranks_marks_and_a_failed_audit_are_shown(visit: Visit) -> None:
    assert visit.column(1) == ["1-2", "1-2", "3", "\N{EN DASH}"]
    assert visit.page.locator("#grid strong").first.inner_text().startswith("0.500")
    assert "not ranked" in visit.page.locator("tr.unranked a").evaluate(
        "link => getComputedStyle(link, '::after').content"
    )
    assert visit.page.locator("tbody.controls").inner_text().startswith("Controls")


def test_filter_metrics_and_controls(visit: Visit) -> None:
    visit.page.get_by_label("Find methods").fill("IR")
    assert visit.column(2) == ["first", "third"]
    assert visit.page.locator("tbody.controls").count() == 0
    visit.page.get_by_label("Find methods").fill("")
    visit.page.locator("#bands").uncheck()
    assert visit.page.locator("tbody.controls").count() == 0
    visit.page.get_by_text("Metrics (2 of 2)").click()
    visit.page.locator("#metrics").get_by_label("bleu_4").uncheck()
    assert "bleu_4" not in visit.page.locator("#grid thead").inner_text()
    visit.page.locator("#costs").check()
    assert "3.1 G" in visit.page.locator("#grid tbody").first.inner_text()


def test_rate_and_table_pickers(visit: Visit) -> None:
    assert visit.column(3)[0] == "0.500"
    visit.page.get_by_label("Missing rate", exact=True).select_option("0.8")
    assert visit.column(3)[0] == "0.420"
    assert visit.page.get_by_role("heading", name="at missing rate 0.8").is_visible()
    visit.page.get_by_label("Table", exact=True).select_option(index=1)
    assert visit.column(2) == ["first", "third", "second"]
    assert "lower is better" in visit.page.locator("#grid thead").inner_text()


def test_curves_answer_to_pointer_and_keyboard(visit: Visit) -> None:
    visit.page.locator("#plot svg").hover(position={"x": 60, "y": 100})
    tip = visit.page.locator("#tip")
    assert "at missing rate 0" in tip.inner_text()
    assert "0.499 [" in tip.inner_text()
    visit.page.get_by_text("Numbers behind the curves").click()
    numbers = visit.page.locator("#curve-grid tbody tr").first.inner_text()
    assert numbers.split("\t")[-2:] == ["0.460", "84 %"]  # from 0.50 to 0.42 in a straight line
    visit.page.get_by_label("first, missing rate 0.4: bleu_4 0.460").focus()
    assert "first, missing rate 0.4" in tip.inner_text()
    visit.page.keyboard.press("Escape")
    assert tip.is_hidden()
    visit.page.locator("#legend").get_by_role("button", name="first").click()
    assert visit.page.get_by_label("first, missing rate 0.4").count() == 0
    visit.page.get_by_label("Metric", exact=True).select_option("cider")
    assert visit.page.get_by_label("third, missing rate 0: cider 0.190").count() == 1


def test_reliability_diagrams_and_cards(visit: Visit) -> None:
    visit.page.get_by_label("Table", exact=True).select_option(index=1)
    # Gaps of the stored bins: (|1 - 2| + |10 - 9| + |25 - 20|) / 60.
    assert visit.page.get_by_role("img", name="Reliability diagram of first: ECE 0.117").is_visible()
    visit.page.get_by_label("Modality state").select_option("context")
    visit.page.locator("#grid").get_by_role("link", name="first").click()
    visit.page.locator("#cards details[open]").get_by_text("Probes: does each named part act?").click()
    card = visit.page.locator("#cards details[open]").first.inner_text()
    assert "attention: entropy, nats 0.9 (dead 0, alive 1)" in card
    assert "harness reproduce toy/first/tiny-s0-context-mcar-n590" in card
    assert "Eq. 3: the mean" in card
    assert "harness run --methods first" in card
    assert "3.1 G" in card


def label(positives: int, f1: float) -> dict[str, Any]:
    scores: dict[str, Any] = {key: [0.5, 0.4, 0.6] for key in ("precision", "recall", "auroc", "auprc")}
    return {"positives": positives, **scores, "f1": [f1, f1 - 0.1, f1 + 0.1]}


def broken_down(store: Store, method: str, height: float, **more: Any) -> None:
    """A row with everything that stands behind its averages."""
    curves = {"full": [0.0, 0.1, 0.2, 0.3, height], "context": [0.1, 0.1, 0.2, 0.4, 0.5]}
    groups = {"F": [height, 0.1, 0.9], "M": [0.6, 0.5, 0.7]}
    subgroups = {
        "studies": {"F": 40, "M": 50, "unknown": 3},
        "patients": {"F": 40, "M": 50, "unknown": 3},
        "metrics": {"ece": {"groups": groups, "gap": [0.6 - height, 0.0, 0.4]}},
    }
    add(
        store,
        method,
        {"ece": height, "auroc_macro": 0.8, "aurc": 0.125},
        labels={"Edema": label(9, 0.7), "Fracture": label(30, 0.2), "Pneumonia": label(4, 0.9)},
        thresholds={"Edema": 0.25},
        subgroups={"sex": subgroups},
        risk_coverage=curves,
        **more,
    )


@pytest.fixture(scope="module")
def diagnosis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("page") / "store")
    broken_down(store, "first", 0.1)
    broken_down(store, "second", 0.3)
    broken_down(store, "template", 0.2, control=True)
    path = store.root.parent / "page.html"
    path.write_text(html.render(Leaderboard.of(store)), encoding="utf-8")
    return path


@pytest.fixture
def panels(browser: Any, diagnosis: Path) -> Iterator[Visit]:
    visit = Visit(browser, diagnosis)
    yield visit
    visit.page.close()
    assert visit.errors == []


def rows_of(visit: Visit, table: str) -> list[list[str]]:
    rows = visit.page.locator(f"#{table} tbody tr").all()
    return [[cell.split("\n")[0].strip() for cell in row.inner_text().split("\t")] for row in rows]


def test_labels_sort_by_any_column(panels: Visit) -> None:
    assert [row[:2] for row in rows_of(panels, "label-grid")] == [
        ["Fracture", "30"],
        ["Edema", "9"],
        ["Pneumonia", "4"],
    ]
    panels.page.locator("#label-grid").get_by_role("button", name="f1").click()
    assert [row[0] for row in rows_of(panels, "label-grid")] == ["Pneumonia", "Edema", "Fracture"]
    panels.page.keyboard.press("Enter")  # the focus stays on the header
    assert [row[0] for row in rows_of(panels, "label-grid")] == ["Fracture", "Edema", "Pneumonia"]
    assert "Edema 0.25" in panels.page.locator("#label-notes").inner_text()
    assert panels.page.locator("#label-method option").all_inner_texts() == ["first", "second", "template"]


def test_groups_of_studies_stand_with_their_gap(panels: Visit) -> None:
    assert panels.page.locator("#group-metric option").all_inner_texts() == ["ece"]
    header = panels.page.locator("#group-grid thead").inner_text()
    assert "F (n 40)" in header
    assert rows_of(panels, "group-grid") == [
        ["first", "0.100", "0.600", "0.500"],
        ["second", "0.300", "0.600", "0.300"],
        ["template", "0.200", "0.600", "0.400"],  # controls stand below the methods
    ]
    assert "unknown (3 patients)" in panels.page.locator("#group-notes").inner_text()


def test_risk_against_coverage(panels: Visit) -> None:
    assert "first 0.125" in panels.page.locator("#risk-legend").inner_text()
    assert panels.page.get_by_role("img", name="nothing missing: first 0.125").is_visible()
    panels.page.get_by_label("Modality state").select_option("context")
    # Trapezoids: (0.1 + 0.1 + 0.15 + 0.3 + 0.45) / 5.
    assert panels.page.get_by_role("img", name="context missing: first 0.220").is_visible()
    panels.page.get_by_text("Risks at some coverages").click()
    assert rows_of(panels, "risk-grid")[0] == ["first", "0.220", "0.100", "0.100", "0.200", "0.400", "0.500"]
    panels.page.locator("#risk-legend").get_by_role("button", name="first").click()
    assert panels.page.get_by_role("img", name="context missing: second").is_visible()


def test_drop_policies_of_one_method_count_its_judgements_once(browser: Any, tmp_path: Path) -> None:
    path, leaderboard = tmp_path / "page.html", Leaderboard.of(small_store(tmp_path))
    page = html.render(leaderboard)
    table = next(table for table in leaderboard.tables if "ece" in table.metrics)
    key = next(row for row in table.rows if row.method == "first").keys[0]
    once, twice = f'"keys":["{key}"]', f'"keys":["{key}","{key}"]'
    assert once in page
    page = page.replace(once, twice)
    path.write_text(page, encoding="utf-8")
    visit = Visit(browser, path)
    visit.page.get_by_label("Table", exact=True).select_option(index=1)
    assert visit.page.get_by_role("img", name="first: ECE 0.117 over 60 judgements").is_visible()
    visit.page.close()


def test_panels_without_content_are_hidden(visit: Visit) -> None:
    for name in ("labels", "groups", "risk"):
        assert visit.page.locator(f"#{name}").is_hidden()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_panels_fit(browser: Any, diagnosis: Path, width: int, scheme: str) -> None:
    visit = Visit(browser, diagnosis, width, color_scheme=scheme)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    visit.page.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light")])
def test_page_fits_and_contrasts(browser: Any, file: Path, width: int, scheme: str) -> None:
    visit = Visit(browser, file, width, color_scheme=scheme)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    lightness = visit.page.evaluate(
        "() => [getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        ".map(text => text.match(/[0-9.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0))"
    )
    assert (lightness[0] < lightness[1]) == (scheme == "light")
    assert abs(lightness[0] - lightness[1]) > 500
    visit.page.get_by_role("button", name="Theme").click()
    assert visit.page.locator("html").get_attribute("data-theme") == "light"
    visit.page.close()


def test_text_of_others_stays_text(browser: Any, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    add(store, HOSTILE, {"cider": 0.5}, detail=HOSTILE)
    page = html.render(Leaderboard.of(store), title=HOSTILE)
    assert page.count("</script>") == 2
    assert "<img" not in page
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    visit = Visit(browser, path)
    assert visit.page.locator("img").count() == 0
    assert visit.page.title().startswith("</script><img")
    assert "onerror" in visit.page.locator("#grid").inner_text()
    assert visit.errors == []
    assert visit.requests == [path.as_uri()]
    visit.page.close()


def test_an_empty_store_says_so(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(html.render(Leaderboard.of(Store(tmp_path / "store"))))
    visit = Visit(browser, path)
    assert "no results yet" in visit.page.locator("main").inner_text()
    assert visit.errors == []
    visit.page.close()


def test_page_is_small_and_names_no_other_address(file: Path) -> None:
    page = file.read_text()
    assert len(page) < 150_000
    assert re.findall(r'(?:src|href)="(?!data:,|#)[^"]*"', page) == []

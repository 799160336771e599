"""Tables from long results: order, bands, columns."""

from __future__ import annotations

import csv
import io
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core.config import RunSettings
from harness.core.errors import CorruptFileError, HarnessError
from harness.evaluation.run import run_serially
from harness.leaderboard import spec as specs
from harness.leaderboard.facts import run_command
from harness.leaderboard.leaderboard import Leaderboard, _digest
from harness.leaderboard.render import csv_parquet, formats, markdown
from harness.leaderboard.robustness import RobustnessReport
from harness.leaderboard.spec import Spec
from harness.leaderboard.tables import Table, tables
from harness.method.cost import sizes
from harness.store.results import Measurement
from harness.store.store import Store
from tests.helpers.leaderboards import add, small_store
from tests.helpers.toys import Learner, Quiet, ToyData

BASE = Measurement(
    dataset="toy",
    method="dia",
    preset="tiny",
    seed=0,
    drop="context",
    mechanism="mcar",
    rate=0.0,
    metric="cider",
    value=0.5,
    ci95=(0.4, 0.6),
    n=590,
    signature="cider|v:1",
)


def table_of(leaderboard: Leaderboard, group: str) -> Table:
    (table,) = (table for table in leaderboard.tables if table.group == group)
    return table


def test_methods_come_before_controls_each_by_value() -> None:
    rows = [
        replace(BASE, method="template", value=0.9, control=True),
        replace(BASE, method="dia", value=0.3),
        replace(BASE, method="other", value=0.4),
        replace(BASE, method="broken", value=None, ci95=None, status="failed", detail="no luck"),
        replace(BASE, method="dia+shuffled-image", value=0.1, control=True),
    ]
    (table,) = tables(rows)
    assert [row.method for row in table.rows] == ["other", "dia", "broken", "template", "dia+shuffled-image"]
    text = markdown.render([table])
    assert text.index("*controls*") > text.index("broken")
    assert "| broken | failed |" in text
    assert "broken failed: no luck" in text


def test_numbers_with_different_signatures_never_share_a_column() -> None:
    rows = [BASE, replace(BASE, method="other", signature="cider|tok:ptb|v:1")]
    first, second = tables(rows)
    assert [row.method for row in first.rows] == ["dia"]
    assert [row.method for row in second.rows] == ["other"]


def test_different_test_sets_and_policies_are_different_tables() -> None:
    assert len(tables([BASE, replace(BASE, n=10), replace(BASE, drop="frontal")])) == 3


def test_curve_is_of_the_first_curve_metric() -> None:
    rows = [replace(BASE, rate=rate, metric=metric) for rate in (0.0, 0.5) for metric in ("bleu_4", "cider")]
    (table,) = tables(rows)
    assert table.curve_metric == "bleu_4"
    assert table.rates == (0.5,)
    assert "bleu_4 @ 0.5" in markdown.render([table])


def test_failed_unavailable_and_not_applicable_look_different() -> None:
    rows = [
        replace(BASE, method=status, value=None, ci95=None, status=status)
        for status in ("failed", "unavailable", "n/a")
    ]
    rows.append(replace(BASE, method="n/a", metric="meteor"))
    text = markdown.render(tables(rows))
    assert "| failed | failed |  |" in text
    assert "| unavailable | unavailable |  |" in text
    assert "| n/a | n/a | 0.500 [0.400, 0.600] |" in text


def test_each_group_of_metrics_has_a_table_of_the_methods_that_do_it() -> None:
    rows = [
        replace(BASE, group="report text"),
        replace(BASE, metric="ece", value=0.2, group="diagnosis", method="good", higher_is_better=False),
        replace(BASE, metric="ece", value=0.3, group="diagnosis", method="bad", higher_is_better=False),
        replace(BASE, metric="ece", value=None, ci95=None, status="n/a", group="diagnosis"),
    ]
    text, diagnosis = tables(rows)
    assert [row.method for row in text.rows] == ["dia"]
    assert [row.method for row in diagnosis.rows] == ["good", "bad"]
    assert diagnosis.title.endswith(": diagnosis")


def test_metric_that_no_method_could_have_is_a_line_and_no_column() -> None:
    advice = {"value": None, "ci95": None, "status": "unavailable", "detail": "put the weights there"}
    rows = [BASE, replace(BASE, metric="bertscore_f1", **advice)]
    (table,) = tables(rows)
    assert table.metrics == ("cider",)
    assert "- bertscore_f1 unavailable: put the weights there" in markdown.render([table])


def test_a_metric_s_remark_stands_below_the_table() -> None:
    rows = [
        replace(BASE, detail="n 10; halves score 3"),
        replace(BASE, rate=0.2, detail="n 10; halves score 3"),
    ]
    assert markdown.render(tables(rows)).count("- cider: n 10; halves score 3\n") == 1


def test_diagnosis_over_missing_rates_in_the_form_of_papers() -> None:
    heights = {("f1_macro", 0.0): 0.4126, ("kappa", 0.0): -0.01, ("accuracy", 0.0): 0.5}
    heights |= {("f1_macro", 0.2): 0.3, ("kappa", 0.2): 0.2, ("accuracy", 0.2): 0.25}
    heights |= {("ece", 0.0): 0.0625, ("ece", 0.2): 0.125}
    rows = [
        replace(BASE, method="kedr", metric=metric, rate=rate, value=value, group="diagnosis")
        for (metric, rate), value in heights.items()
    ]
    rows += [
        replace(row, method="broken", value=None, ci95=None, status="failed") for row in rows if not row.rate
    ]
    text = markdown.render(tables(rows))
    assert "F1/Kappa/ACC in percent over missing rates" in text
    assert "| method | 0% | 20% |" in text
    assert "| kedr | 41.3/-1.0/50.0 | 30.0/20.0/25.0 |" in text
    assert "| broken | failed/failed/failed |" in text
    assert "ECE over missing rates" in text
    assert "| kedr | 0.062 [0.400, 0.600] | 0.125 [0.400, 0.600] |" in text


def test_csv_has_a_line_per_number() -> None:
    lines = csv_parquet.to_csv([BASE, replace(BASE, value=None, ci95=None)]).splitlines()
    assert lines[0].endswith("ci95_lo,ci95_hi")
    assert lines[1].endswith("0.4,0.6")
    assert lines[2].endswith(",,")


def test_methods_that_cannot_be_told_apart_share_a_rank_range(tmp_path: Path) -> None:
    text = table_of(Leaderboard.of(small_store(tmp_path)), "report text")
    assert {row.method: text.ranks(row) for row in text.rows} == {
        "first": (1, 2),
        "second": (1, 2),
        "third": (3, 3),
        "cheat": None,
        "template": None,
    }
    # Ranks are per metric: by CIDEr the third method is not behind.
    cider = {row.method: row.full["cider"].ranks for row in text.rows if row.ranked}
    assert cider == {"first": (1, 2), "third": (1, 2), "second": (3, 3)}
    lower = table_of(Leaderboard.of(small_store(tmp_path)), "diagnosis")
    assert [row.method for row in lower.rows] == ["first", "third", "second"]


def test_row_that_fails_the_audit_is_shown_marked_and_not_ranked(tmp_path: Path) -> None:
    leaderboard = Leaderboard.of(small_store(tmp_path))
    text = table_of(leaderboard, "report text")
    assert [row.method for row in text.rows] == ["first", "second", "third", "cheat", "template"]
    assert [row.audit for row in text.rows] == [
        "passed",
        "not audited: other code",
        "not audited",
        "failed",
        "not audited",
    ]
    assert "| \N{EN DASH} | cheat (audit failed) |" in markdown.render(leaderboard.tables)
    assert text.marks("bleu_4", 0.0) == {"first": 1, "second": 2}


def test_best_and_second_best_are_marked_among_ranked_methods(tmp_path: Path) -> None:
    written = markdown.render(Leaderboard.of(small_store(tmp_path)).tables)
    line = next(line for line in written.splitlines() if "| third |" in line)
    assert "*0.190* [" in line
    assert "| 1-2 | first | **0.500** [" in written


def test_seeds_are_one_row_with_their_mean_or_a_row_each(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for seed, height in enumerate((0.4, 0.5, 0.6)):
        add(store, "dia", {"cider": height}, seed=seed)
    add(store, "template", {"cider": 0.1}, control=True)
    (mean,) = Leaderboard.of(store).tables
    assert mean.seeds == 3
    number = mean.rows[0].full["cider"]
    assert number.value == pytest.approx(0.5)
    assert number.seed_sd == pytest.approx(0.1)
    assert number.ci95 is not None
    assert number.ci95[0] < 0.5 < number.ci95[1]
    assert len(mean.rows[0].keys) == 3
    (each,) = Leaderboard.of(store, [Spec(dataset=("toy",), seeds="each")]).tables
    assert [row.method for row in each.rows] == ["dia seed 2", "dia seed 1", "dia seed 0", "template seed 0"]


def test_a_seed_that_failed_leaves_no_mean(tmp_path: Path) -> None:
    good = [
        replace(BASE, seed=0, key="a"),
        replace(BASE, seed=1, key="b", value=None, ci95=None, status="failed"),
    ]
    (table,) = tables(good)
    assert table.rows[0].full["cider"].value is None
    assert table.rows[0].full["cider"].status == "failed"


def test_a_seed_that_was_not_scored_hides_no_number_of_the_others(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    add(store, "dia", {"cider": 0.4, "bleu_4": 0.2}, seed=0)
    add(store, "dia", {"bleu_4": 0.3}, seed=1)
    (table,) = Leaderboard.of(store).tables
    (row,) = table.rows
    alone, both = row.full["cider"], row.full["bleu_4"]
    assert (alone.value, alone.status, alone.seeds, alone.seed_sd) == (0.4, "ok", (0,), None)
    assert alone.ci95 is not None
    assert (both.value, both.seeds) == (pytest.approx(0.25), ())
    written = markdown.render([table])
    assert "Not scored of every training seed: dia (cider, cider @ 0.2" in written
    assert "failed" not in written


def test_results_on_other_test_sets_never_share_a_table() -> None:
    assert len(tables([replace(BASE, test_set="a"), replace(BASE, method="other", test_set="b")])) == 2


def test_spec_chooses_columns_rates_and_order(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("dataset: toy\nrates: [0.4]\ntask: report\nmetrics: [cider, meteor]\nsort: cider@0.4\n")
    leaderboard = Leaderboard.of(small_store(tmp_path), [specs.load(file)])
    (table,) = leaderboard.tables
    assert (table.metrics, table.others, table.absent) == (("cider",), ("bleu_4",), ("meteor",))
    assert table.rates == (0.4,)
    assert [row.method for row in table.rows][:3] == ["first", "third", "second"]
    assert "cider @ 0.4" in markdown.render(leaderboard.tables)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("dataset: toy\nmetrcs: [a]", "metrcs: extra inputs are not permitted (did you mean metrics?)"),
        ("dataset: toy\ngroups: {report text: {srt: a}}", "did you mean sort"),
        ("dataset: toy\nrates: [1.5]", "rates.0: a missing rate is a fraction"),
        ("dataset: toy\nsort: cider@x", "sort"),
        ("- a\n- b", "expected a mapping"),
        ("a: [", "not valid YAML"),
        ("task: report", "dataset: field required"),
    ],
)
def test_mistakes_in_a_spec_name_file_and_key(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(content)
    with pytest.raises(HarnessError, match=r"spec\.yaml") as caught:
        specs.load(file)
    assert says in str(caught.value)


def test_tables_from_the_json_are_those_from_the_store(tmp_path: Path) -> None:
    leaderboard = Leaderboard.of(small_store(tmp_path))
    file = tmp_path / "leaderboard.json"
    file.write_text(leaderboard.to_json())
    again = Leaderboard.from_json(file)
    assert again == leaderboard
    assert markdown.render(again.tables) == markdown.render(leaderboard.tables)
    spec = Spec(dataset=("toy",), metrics=("bleu_4",))
    assert (
        Leaderboard.from_json(file, [spec]).tables[0]
        == Leaderboard.of(small_store(tmp_path), [spec]).tables[0]
    )


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 99, "rows": []}', '{"schema": 1, "rows": [{}]}'])
def test_json_that_is_no_leaderboard_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "leaderboard.json"
    file.write_text(content)
    with pytest.raises(HarnessError, match=r"leaderboard\.json"):
        Leaderboard.from_json(file)


def test_json_has_no_number_that_json_lacks(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    add(store, "dia", {"cider": float("nan")})
    leaderboard = Leaderboard.of(store)
    json.loads(leaderboard.to_json(), parse_constant=lambda text: pytest.fail(text))
    assert "| undefined |" in markdown.render(leaderboard.tables)


def test_parquet_is_the_csv_with_types(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra")
    rows = Leaderboard.of(small_store(tmp_path)).rows
    file = tmp_path / "rows.parquet"
    file.write_bytes(csv_parquet.to_parquet(rows))
    table = pyarrow.read_table(file)
    assert table.column_names == csv_parquet.to_csv(rows).splitlines()[0].split(",")
    assert table["value"].to_pylist() == [row.value for row in rows]
    assert table["control"].to_pylist() == [row.control for row in rows]


def test_text_of_others_is_inert_in_every_format() -> None:
    hostile = (
        '=HYPERLINK("http://x") | <script>alert(1)</script> `code` [a](javascript:x) *b* $\\input{x}$\n# h'
    )
    rows = [
        replace(BASE, method=hostile, detail=hostile),
        replace(BASE, method="broken", value=None, ci95=None, status="failed", detail=hostile),
    ]
    (line,) = (
        line
        for line in markdown.render(tables(rows)).splitlines()
        if "HYPERLINK" in line and line[0] == "|" and "0.500" in line
    )
    assert r"\|" in line
    assert "<script>" not in line
    assert r"\[a\](javascript" in line
    cells = list(csv.reader(io.StringIO(csv_parquet.to_csv(rows))))
    assert cells[1][1] == "'" + hostile
    assert all(not cell.startswith("=") for line in cells for cell in line)


def test_rebuilding_everything_takes_under_five_seconds(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    heights = {f"metric_{i}": 0.3 for i in range(30)} | {"cider": 0.5, "ece": 0.1}
    for number in range(5):
        for seed in range(3):
            add(store, f"method{number}", heights, seed=seed, resamples=1000)
            add(store, f"method{number}+shuffled-image", heights, seed=seed, control=True, resamples=1000)
    started = time.process_time()  # a busy machine is not a slow rebuild
    leaderboard = Leaderboard.of(store)
    for kind in ("markdown", "json", "csv", "html"):
        assert formats.render(leaderboard, kind)
    assert time.process_time() - started < 5


def test_the_committed_table_is_that_of_the_committed_json() -> None:
    folder = Path(__file__).parents[2] / "leaderboards"
    for file in folder.glob("*.json"):
        written = formats.render(Leaderboard.from_json(file, specs.load_all()), "markdown").decode()
        assert written == file.with_suffix(".md").read_text(), f"{file.stem}.md is stale: run make tables"


def test_a_run_measures_what_a_row_costs(toy_world: Path) -> None:
    settings = RunSettings.of(
        methods=("learner",), dataset="toy", drop="any", metrics=("bleu",), store=toy_world / "store"
    )
    run_serially(settings, Quiet())
    first, second = Store(settings.config.store).stored()
    cost = first.manifest.cost
    assert cost.parameters == cost.trainable_parameters == 144 * 8 + 8 + 8 + 1
    assert cost.flops == 2 * (144 * 8 + 8)
    assert cost.training_seconds > 0
    assert cost.seconds_per_study > 0
    assert cost.peak_memory_gib > 0
    assert first.manifest.card["settings"]["rate"] == 0.01
    assert second.manifest.cost.parameters == cost.parameters
    (table,) = Leaderboard.of(Store(settings.config.store)).tables
    assert table.rows[0].cost.flops == cost.flops
    assert "1.17 k" in markdown.render([table])


def test_a_cost_that_cannot_be_counted_costs_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    csv_parquet = ToyData()
    learner = Learner.create(csv_parquet.info)
    learner.prepare(learner.artifacts([]))
    study = csv_parquet.studies("train")[0]
    assert sizes(learner, study)["flops"] == 2 * (144 * 8 + 8)

    def gone(self: Learner, inputs: object, targets: object) -> None:
        raise AttributeError("the text encoder is left behind")

    monkeypatch.setattr(Learner, "losses", gone)
    assert sizes(learner, study)["flops"] is None
    monkeypatch.setattr(Learner, "as_fitted", lambda self, inputs: self.generate(inputs))
    assert sizes(learner, study)["flops"] == 2 * (144 * 8 + 8)


def test_command_of_a_row_makes_it_again() -> None:
    config: dict[str, Any] = {"dataset": "iu-phantom", "missing": [0.2, 0.4]}
    rest = RunSettings.of(drop="any").flat()
    config |= {name: value for name, value in rest.items() if name not in ("missing", "store")}
    config["set"] = {"dia": {"lr": 0.1}, "vdgen": {"lr": 0.2}}
    assert run_command("dia:no-alignment", 2, config) == (
        "harness run --methods dia:no-alignment --missing 0.2,0.4 --drop any --seeds 2 --set dia.lr=0.1"
    )


def test_json_with_undefined_intervals_is_read_again(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    add(store, "first", {"bleu_4": float("nan"), "cider": 0.2})
    add(store, "second", {"bleu_4": 0.3, "cider": 0.1})
    path = tmp_path / "leaderboard.json"
    path.write_text(Leaderboard.of(store).to_json())
    again = Leaderboard.from_json(path)
    undefined = [row for row in again.rows if row.metric == "bleu_4" and row.method == "first"]
    assert len(undefined) == 5
    assert {(row.value, row.ci95) for row in undefined} == {(None, None)}


SECRET = "SECRET the heart is enlarged"


def test_unreadable_results_never_show_what_they_hold(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(f'{{"caf\u00e9": "{SECRET}"}}'.encode("latin-1"))
    with pytest.raises(CorruptFileError, match="not UTF-8 at byte") as latin:
        Leaderboard.from_json(path)
    path.write_text(f'{{"rows": "{SECRET}')
    with pytest.raises(CorruptFileError, match="in line 1") as cut:
        Leaderboard.from_json(path)
    path.write_text('{"schema": 1, "rows": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(CorruptFileError, match="nested too deep"):
        Leaderboard.from_json(path)
    assert "SECRET" not in str(latin.value) + str(cut.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("value", SECRET),
        ("method", [SECRET]),
        ("rate", "0.4"),
        ("n", 1.5),
        ("control", "no"),
        ("ci95", [SECRET, 1.0]),
    ],
)
def test_fields_of_another_type_are_refused_by_name(tmp_path: Path, field: str, value: Any) -> None:
    content = json.loads(Leaderboard.of(small_store(tmp_path)).to_json())
    content["rows"][0][field] = value
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content | {"sha256": _digest(content)}))
    with pytest.raises(CorruptFileError, match=f"{path}: .*{field}") as error:
        Leaderboard.from_json(path)
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize(("metric", "most"), [("bleu_4", 1.0), ("cider", 10.0), ("no_metric", float("inf"))])
def test_intervals_over_seeds_keep_to_the_bounds_of_their_metric(
    tmp_path: Path, metric: str, most: float
) -> None:
    store = Store(tmp_path)
    scale = most if most < float("inf") else 1.0
    for seed, height in enumerate((0.9, 0.98, 1.0)):
        add(store, "dia", {metric: height * scale}, seed=seed)
    board = Leaderboard.of(store)
    lines = RobustnessReport.of(store.stored()).lines
    ends = [number.ci95 for table in board.tables for row in table.rows for number in row.full.values()]
    ends += [point.estimate.ci95 for line in lines for point in line.points]
    highest = max(each[1] for each in ends if each is not None)
    assert highest == most if most < float("inf") else highest > scale

"""What a run shows while it works."""

from __future__ import annotations

import io

from rich.console import Console

from harness.cli.progress import ConsoleReporter
from harness.core.progress import SILENT
from harness.evaluation.timings import Timings


def reporter(width: int = 120) -> tuple[ConsoleReporter, io.StringIO]:
    stream = io.StringIO()
    return ConsoleReporter(Console(file=stream, width=width, force_terminal=True)), stream


def test_a_phase_that_reports_after_its_row_is_finished_changes_nothing() -> None:
    shown, stream = reporter()
    with shown:
        late = shown.phase("dia", "train")
        shown.phase("dia", "predict full")(0.5, "half")
        late(0.9, "epoch 9")
        shown.done("dia", "cider 0.5")
        late(1.0, "epoch 10")
    assert "dia: cider 0.5" in stream.getvalue()


def test_two_rows_of_one_label_do_not_end_each_others_bars() -> None:
    shown, _ = reporter()
    with shown:
        one, other = shown.phase("dia", "train"), shown.phase("dia", "train")
        one(0.1, "")
        shown.done("dia", "")
        other(0.2, "")
        shown.done("dia", "")


def test_rows_are_numbered_as_they_begin_and_times_have_names() -> None:
    shown, stream = reporter(200)
    with shown:
        shown.expect(["dia", "vdgen", "template"])
        shown.phase("images", "decode")
        shown.phase("vdgen", "train")(0.5, "epoch 1")
        shown.phase("dia", "train")
        shown.progress.refresh()
        shown.done("vdgen", "cider 0.4")
    text = stream.getvalue()
    assert "row 1 of 3: vdgen" in text
    assert "row 2 of 3: dia" in text
    assert "images" in text
    assert "row 0" not in text
    assert "elapsed 0:00" in text
    assert "left unknown" in text


def test_names_and_times_are_whole_on_eighty_characters() -> None:
    shown, stream = reporter(80)
    with shown:
        shown.expect([f"method {number}" for number in range(17)])
        shown.phase("method 0", "predict context")(0.5, "")
        shown.progress.refresh()
    text = stream.getvalue()
    for words in ("row 1 of 17: method 0", "predict context", "rows finished", "left 0:00"):
        assert words in text
    assert "…" not in text


def test_a_log_says_how_many_rows_are_finished_and_about_how_long_the_others_take() -> None:
    stream = io.StringIO()
    with ConsoleReporter(Console(file=stream, width=80)) as shown:
        shown.expect(["dia", "vdgen"])
        shown.phase("dia", "train")
        shown.started -= 90
        shown.done("dia", "cider 0.5")
        shown.failed("vdgen", "no")
    assert "row 1 of 2: dia: cider 0.5" in stream.getvalue()
    assert "1 of 2 rows finished, about 1:30 left" in stream.getvalue()
    assert "row 2 of 2: vdgen: FAILED: no" in stream.getvalue()


def test_a_row_that_begins_again_is_not_finished() -> None:
    shown, _ = reporter()
    with shown:
        shown.expect(["dia"])
        shown.done("dia", "trained")
        shown.phase("dia", "predict full")
        assert not shown.finished
        shown.done("dia", "cider 0.5")
        assert shown.finished == {"dia"}


def test_a_reporter_need_not_count_rows() -> None:
    Timings(SILENT).expect(["dia"])

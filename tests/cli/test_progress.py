"""What a run shows while it works."""

from __future__ import annotations

import io

from rich.console import Console

from harness.cli.progress import ConsoleReporter


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

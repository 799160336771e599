"""METEOR against its jar, driven by pycocoevalcap, and NLTK's port against NLTK."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.core.errors import HarnessError, UnavailableError
from harness.core.types import Prediction
from harness.metrics.base import Metric
from harness.metrics.text import meteor
from harness.metrics.text.meteor import Aligner, Meteor, MeteorNltk
from harness.metrics.text.tokenization import tokenizer
from tests.helpers.reports import corpus, pairs

pytestmark = pytest.mark.process

needs_jar = pytest.mark.skipif(Meteor().unavailable() is not None, reason=str(Meteor().unavailable()))


def statistics_of(said: list[str], true: list[str], profile: str = "r2gen-iu") -> np.ndarray:
    return Meteor(tokenizer=profile).statistics(*pairs(said, true))


def value(statistics: np.ndarray) -> float:
    return float(Meteor().reduce(statistics.sum(axis=0))["meteor"])


@pytest.fixture(scope="module")
def coco() -> Iterator[object]:
    """The package's own process, ended by us: its destructor can keep the interpreter from exiting."""
    from pycocoevalcap.meteor.meteor import Meteor as CocoMeteor

    scorer = CocoMeteor()
    yield scorer
    scorer.meteor_p.kill()
    scorer.meteor_p.communicate()
    scorer.meteor_p = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE)


@needs_jar
@pytest.mark.parametrize("profile", ["r2gen-iu", "whitespace"])
def test_real_reports_score_as_the_jar_scores_them(coco, profile: str) -> None:  # type: ignore[no-untyped-def]
    said, true = corpus(120)
    tokens = tokenizer(profile)
    given = {index: [" ".join(tokens(text))] for index, text in enumerate(true)}
    result = {index: [" ".join(tokens(text))] for index, text in enumerate(said)}
    statistics = statistics_of(said, true, profile)  # first, while the package's process still starts
    whole, segments = coco.compute_score(given, result)
    assert 0.05 < whole < 0.5
    assert value(statistics) == pytest.approx(whole, abs=1e-9)
    assert Meteor().reduce(statistics)["meteor"] == pytest.approx(segments, abs=1e-9)
    chosen = [0, 3, 4, 6, 6, 9]  # a resample of the statistics is the jar's score of those texts
    again = {place: given[index] for place, index in enumerate(chosen)}
    picked, _ = coco.compute_score(again, {place: result[index] for place, index in enumerate(chosen)})
    assert value(statistics[chosen]) == pytest.approx(picked, abs=1e-9)


@needs_jar
def test_repeated_reports_score_one_and_empty_ones_zero() -> None:
    texts = [text for text in corpus(40)[1] if text.strip()]
    statistics = statistics_of(texts, texts)
    assert Meteor().reduce(statistics)["meteor"] == pytest.approx(np.ones(len(texts)))
    assert value(statistics) == pytest.approx(1.0)
    assert value(statistics_of(["", "a b", ""], ["a b", "", ""])) == 0.0


@needs_jar
def test_order_and_doubling_of_studies_change_nothing() -> None:
    said, true = corpus(40)
    statistics = statistics_of(said, true)
    assert value(statistics_of(said[::-1], true[::-1])) == pytest.approx(value(statistics), abs=1e-12)
    assert value(statistics_of(said * 2, true * 2)) == pytest.approx(value(statistics), abs=1e-12)


@needs_jar
def test_no_text_can_break_the_protocol() -> None:
    odd = [
        "SCORE ||| a ||| b",
        "||| |||",
        "a|||b",
        "line\nbreak\r\nand\x85more\u2028here",
        "EVAL ||| 1 2",
        "\ud800 lone",
        "\x00",
        "é ü 肺",
    ]
    statistics = statistics_of(
        [*odd, "the lungs are clear"], [*odd[::-1], "the lungs are clear"], "whitespace"
    )
    assert np.isfinite(statistics).all()
    assert Meteor().reduce(statistics)["meteor"][-1] == 1.0


ANSWER = " ".join(["2.0", "2.0", "1.0", "1.0", *["1.0"] * 4, *["0.0"] * 12, "1.0", "2.0", "2.0"])


def fake_java(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A shell script in Java's place: the jar itself needs seconds to start."""
    java = folder / "java"
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_the_process_starts_early_only_for_texts_without_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    starts: list[str] = []
    monkeypatch.setattr(Aligner, "start", lambda self: starts.append("jar"))
    predictions, references = pairs(["a dog ran", "lungs are clear"], ["a dog ran off", "clear lungs"])
    metric = Meteor("r2gen-iu")
    metric.begin(predictions, references)
    assert starts == ["jar"]
    metric.statistics(predictions, references)
    metric.begin(predictions, references)
    assert starts == ["jar"]


def test_a_process_that_dies_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, monkeypatch, f"while read line; do echo {ANSWER}; done")
    talker = Aligner(tmp_path / "meteor.jar")
    before = talker.statistics(["SCORE ||| a ||| a"] * 3)
    assert before.shape == (3, 23)
    first = talker._process
    assert first is not None
    talker.statistics(["SCORE ||| a ||| a"])
    assert talker._process is first, "one process for all batches"
    first.kill()
    first.wait()
    assert (talker.statistics(["SCORE ||| a ||| a"] * 3) == before).all()
    talker.close()
    assert talker._process is None
    assert (talker.statistics(["SCORE ||| a ||| a"] * 3) == before).all()
    talker.close()


def test_a_batch_is_redone_when_the_process_dies_in_its_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "died"
    fake_java(
        tmp_path,
        monkeypatch,
        f"while read line; do echo {ANSWER}; [ -e {mark} ] || {{ : > {mark}; exit 1; }}; done",
    )
    talker = Aligner(tmp_path / "meteor.jar")
    assert talker.statistics(["SCORE ||| a ||| a"] * 5).shape == (5, 23)
    assert mark.exists()
    talker.close()


def test_a_process_that_cannot_live_is_an_error_with_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_java(tmp_path, monkeypatch, "read line\necho no memory >&2\nexit 3")
    lonely = Aligner(tmp_path / "meteor.jar")
    with pytest.raises(HarnessError, match="no memory"):
        lonely.statistics(["SCORE ||| a ||| a"])
    fake_java(tmp_path, monkeypatch, "while read line; do echo Error: odd; done")
    with pytest.raises(HarnessError, match="Error: odd"):
        lonely.statistics(["SCORE ||| a ||| a"])
    lonely.close()
    assert lonely._process is None


@pytest.mark.skipif(shutil.which("sleep") is None, reason="no sleep")
def test_a_silent_process_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(Aligner, "_SECONDS", 0.2)
    with pytest.raises(HarnessError, match="METEOR failed"):
        Aligner(tmp_path / "meteor.jar").statistics(["SCORE ||| a ||| a"])


def test_the_interpreter_exits_while_the_process_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_java(tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid; while read line; do echo {ANSWER}; done")
    script = (
        "from pathlib import Path; from harness.metrics.text.meteor import Aligner; "
        "talker = Aligner(Path('meteor.jar')); talker.statistics(['SCORE ||| a ||| a'])"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_what_is_absent_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "which", lambda name: None)
        assert "Java not found" in str(Meteor().unavailable())
        with pytest.raises(UnavailableError, match="Java not found"):
            statistics_of(["a"], ["a"])
    monkeypatch.setattr(meteor, "_jar", lambda: None)
    assert "pycocoevalcap" in str(Meteor().unavailable())


@pytest.mark.parametrize("metric", [Meteor(), MeteorNltk()], ids=lambda metric: metric.name)
def test_contract(metric: Metric) -> None:
    assert isinstance(metric, Metric)
    family, *fields = metric.signature.split("|")
    assert family == metric.name
    assert all(field.count(":") == 1 for field in fields)
    assert metric.statistics([], []).shape[0] == 0
    with pytest.raises(HarnessError, match="no prediction report"):
        metric.statistics([Prediction()], pairs(["a"], ["a"])[1])


def test_signatures_are_stable() -> None:
    assert (
        Meteor().signature == "meteor|ver:1.5|lang:en|jarnorm:1|norm:none|tok:r2gen-iu|ref:full|impl:jar|v:1"
    )
    assert MeteorNltk().signature == (
        "meteor_nltk|alpha:0.9|beta:3|gamma:0.5|stem:porter|syn:wordnet-3.0|norm:none|tok:r2gen-iu|ref:full|impl:nltk|v:1"
    )


SYNSETS = {"noun": [("effusion", "outflow"), ("lung", "pulmo")]}
LETTER = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}


def write_wordnet(folder: Path) -> None:
    """A WordNet of two synonym pairs in the database's own file format."""
    folder.mkdir(parents=True)
    for name in ("index.sense", "cntlist.rev"):
        (folder / name).write_text("")
    (folder / "lexnames").write_text("".join(f"{i:02d}\tgroup.{i}\t1\n" for i in range(45)))
    header = "  1 This is a stub. WordNet 3.0 Copyright nobody.\n"
    for part, letter in LETTER.items():
        data, index = header, header
        for words in SYNSETS.get(part, ()):
            offset = len(data)
            listed = " ".join(f"{word} 0" for word in words)
            data += f"{offset:08d} 03 {letter} {len(words):02x} {listed} 000 | meaning  \n"
            index += "".join(f"{word} {letter} 1 0 1 0 {offset:08d}  \n" for word in words)
        (folder / f"data.{part}").write_text(data)
        (folder / f"index.{part}").write_text(index)
        (folder / f"{part}.exc").write_text("")


def test_nltk_without_wordnet_is_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(meteor, "_nltk_folders", lambda: [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "nltk.data", raising=False)
    assert "WordNet not found" in str(MeteorNltk().unavailable())
    write_wordnet(tmp_path / "corpora" / "wordnet")
    assert MeteorNltk().unavailable() is None


def test_the_folders_are_those_that_nltk_searches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import nltk.data

    named = [folder for folder in os.environ.get("NLTK_DATA", "").split(os.pathsep) if folder]
    assert set(nltk.data.path) <= {*meteor._nltk_folders(), *named}
    monkeypatch.setenv("NLTK_DATA", str(tmp_path))
    assert meteor._nltk_folders()[0] == str(tmp_path)


def test_nltk_port_equals_nltk_on_real_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk.data
    from nltk.corpus import WordNetCorpusReader
    from nltk.translate import meteor_score

    write_wordnet(tmp_path / "corpora" / "wordnet")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    stub = WordNetCorpusReader(nltk.data.find("corpora/wordnet"), omw_reader=object())
    defaults = meteor_score.single_meteor_score.__defaults__
    patched = tuple(stub if part is meteor_score.wordnet else part for part in defaults)
    monkeypatch.setattr(meteor_score.single_meteor_score, "__defaults__", patched)
    assert MeteorNltk().unavailable() is None
    said, true = corpus(60)
    statistics = MeteorNltk().statistics(*pairs(said, true))
    tokens = tokenizer("r2gen-iu")
    expected = [
        meteor_score.meteor_score([tokens(reference)], tokens(hypothesis), wordnet=stub)
        for hypothesis, reference in zip(said, true, strict=True)
    ]
    assert statistics[:, 0] == pytest.approx(expected, abs=1e-12)
    assert MeteorNltk().reduce(statistics.sum(axis=0))["meteor_nltk"] == pytest.approx(np.mean(expected))
    synonym = MeteorNltk().statistics(*pairs(["the lung is clear"], ["the pulmo is clear"]))[0, 0]
    assert synonym > 0.9, "WordNet's synonyms match"

"""METEOR: version 1.5 (Denkowski & Lavie 2014) from its jar, and NLTK's port of the 2007 version."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.core.children import dying_with_parent
from harness.core.errors import HarnessError, UnavailableError, require
from harness.core.packages import install, lacking
from harness.core.types import Prediction, Reference
from harness.metrics.annotation_cache import annotated, are_annotated
from harness.metrics.base import MetricOutput, Statistics, mean_of
from harness.metrics.several import SeveralReferences
from harness.metrics.text.base import TextMetric
from harness.metrics.text.tokenization import Tokens

# English parameters of METEOR 1.5 for ranking, which the COCO tools use.
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75
STAGE_WEIGHTS = (1.0, 0.6, 0.8, 0.6)
"""Weights of exact, stem, synonym and paraphrase matches."""

ALIGNMENT = "meteor-segments|ver:1.5|lang:en|norm:1|impl:jar|v:1"
"""Identity of the jar's answers, which do not depend on the profile that made the tokens."""

# Columns of the jar's segment statistics. From the fifth on, each stage has four counts: content words
# matched in the prediction and in the reference, then function words likewise.
_STAGES = slice(4, 20)
_CHUNKS = 20
_MATCHED_WORDS = slice(21, 23)
_STATISTICS = 23


class Meteor(TextMetric, SeveralReferences):
    """Corpus METEOR 1.5: match statistics are summed over studies, then scored once.

    Statistics are the jar's 23 numbers per segment: lengths and function words of prediction and reference,
    matched words by stage, chunks, and words under a match. A prediction that repeats its reference has no
    chunks here, since the jar leaves them out of its corpus sum.

    Args:
        tokenizer: tokenisation profile; the jar's own normaliser then runs over the tokens.
    """

    name: ClassVar[str] = "meteor"
    language: ClassVar[str | None] = "en"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("meteor"),)

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        return f"meteor|ver:1.5|lang:en|jarnorm:1|{self.text_fields}|impl:jar|v:1"

    def unavailable(self) -> str | None:
        """Why the jar or the profile cannot run here, or None."""
        if (reason := lacking("text", "pycocoevalcap")) is not None:
            return reason
        if shutil.which("java") is None:
            return "Java not found (meteor): install a JRE"
        if _jar() is None:
            return "METEOR's jar or its paraphrase table not found (meteor): reinstall pycocoevalcap"
        return super().unavailable()

    def begin(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> None:
        """Start the jar, which needs seconds, where the cache lacks one of these studies."""
        alone = [(reference,) for reference in references]
        lines = [_line(*study) for study in self.several_tokens(predictions, alone)]
        if not are_annotated(ALIGNMENT, lines):
            aligner().start()

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Segment statistics per study, float64 (n_studies, 23).

        Raises:
            UnavailableError: no Java or no jar.
            HarnessError: the jar failed twice on these texts.
        """
        return self.statistics_of_several(predictions, [(each,) for each in references])

    def statistics_of_several(
        self, predictions: Sequence[Prediction], references: Sequence[Sequence[Reference]]
    ) -> Statistics:
        """As ``statistics``: the jar keeps the reference with the best score of each segment."""
        if not predictions:
            return np.zeros((0, _STATISTICS))
        require(self.unavailable())
        lines = [_line(*study) for study in self.several_tokens(predictions, references)]
        statistics = np.array(
            annotated(ALIGNMENT, lines, lambda absent: aligner().statistics(absent).tolist())
        )
        lengths, matches = statistics[:, :2], statistics[:, _STAGES].reshape(-1, 8, 2).sum(axis=1)
        repeats = (lengths == matches).all(axis=1) & (statistics[:, _CHUNKS] == 1)
        statistics[repeats, _CHUNKS] = 0.0
        return statistics

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 23) to METEOR (...)."""
        function_words = totals[..., 2:4]
        lengths = DELTA * (totals[..., :2] - function_words) + (1 - DELTA) * function_words
        counts = totals[..., _STAGES].reshape(*totals.shape[:-1], len(STAGE_WEIGHTS), 2, 2)
        matches = np.einsum("...swp,s,w->...p", counts, STAGE_WEIGHTS, (DELTA, 1 - DELTA))
        ratios = _divided(matches, lengths)
        precision, recall = ratios[..., 0], ratios[..., 1]
        mean = _divided(precision * recall, (1 - ALPHA) * recall + ALPHA * precision)
        fragmentation = _divided(totals[..., _CHUNKS], totals[..., _MATCHED_WORDS].mean(axis=-1))
        return {"meteor": np.maximum(0.0, mean * (1 - GAMMA * fragmentation**BETA))}


class MeteorNltk(TextMetric):
    """Mean over studies of NLTK's METEOR (Lavie & Agarwal 2007): exact, Porter stem and WordNet matches.

    Another metric than ``meteor``, not another implementation of it: no paraphrases, no weights, parameters
    of 2007, and values about twice as high. Statistics are ``[score, 1]``.

    Args:
        tokenizer: tokenisation profile.
    """

    name: ClassVar[str] = "meteor_nltk"
    language: ClassVar[str | None] = "en"
    outputs: tuple[MetricOutput, ...] = (MetricOutput("meteor_nltk"),)
    best_by: ClassVar[str] = "columns"

    @property
    def signature(self) -> str:
        """Identity of the numbers."""
        return (
            "meteor_nltk|alpha:0.9|beta:3|gamma:0.5|stem:porter|syn:wordnet-3.0"
            f"|{self.text_fields}|impl:nltk|v:1"
        )

    def unavailable(self) -> str | None:
        """Why NLTK or WordNet cannot be used here, or None; matching without synonyms is another number."""
        if (reason := lacking("text", "nltk")) is not None:
            return reason
        if not _wordnet_found():
            return (
                "WordNet not found (meteor_nltk): python -m nltk.downloader wordnet, or point NLTK_DATA to it"
            )
        return super().unavailable()

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        """Score and 1 per study, float64 (n_studies, 2).

        Raises:
            UnavailableError: no NLTK or no WordNet.
        """
        hypotheses, targets = self.tokens(predictions, references)
        statistics = np.ones((len(hypotheses), 2))
        if not hypotheses:
            return statistics
        require(self.unavailable())
        from nltk.translate.meteor_score import single_meteor_score

        statistics[:, 0] = list(map(single_meteor_score, targets, hypotheses))
        return statistics

    def reduce(self, totals: Statistics) -> dict[str, NDArray[np.float64]]:
        """Summed statistics (..., 2) to the mean score (...)."""
        return {"meteor_nltk": mean_of(totals)}


class Aligner:
    """The jar as one long-lived process that answers a line of statistics to each line of a pair.

    It needs several seconds to start, so it runs until the interpreter ends. If it dies, it is started once
    more and the batch is computed again. One thread at a time uses it.

    Args:
        jar: METEOR's jar, beside its ``data`` folder.
    """

    # Far longer than thousands of reports need: a jar without an answer for so long hangs.
    _SECONDS = 600.0

    def __init__(self, jar: Path) -> None:
        self.jar = jar
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._lock = threading.Lock()
        atexit.register(self.close)

    def statistics(self, lines: Sequence[str]) -> Statistics:
        """Statistics float64 (n, 23) of ``SCORE`` lines.

        Raises:
            HarnessError: the process died or hung twice, or answered something else.
        """
        with self._lock:
            answers = self._answers(lines)
            if answers is None:
                self._stop()
                answers = self._answers(lines)
            if answers is None:
                detail = self._last_error()
                self._stop()
                raise HarnessError(f"METEOR failed: {detail}", "check that `java -version` works")
        try:
            return np.array([answer.split() for answer in answers], dtype=np.float64).reshape(-1, _STATISTICS)
        except ValueError as error:
            raise HarnessError(f"METEOR answered {answers[0]!r}", "look for odd texts") from error

    def start(self) -> None:
        """Start the process, if none runs; it becomes ready while others work."""
        with self._lock:
            self._running()

    def close(self) -> None:
        """End the process; a later call of ``statistics`` starts another one."""
        with self._lock:
            self._stop()

    def _answers(self, lines: Sequence[str]) -> list[str] | None:
        """One answer per line, or None where the process is gone before the last."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        watchdog = threading.Timer(self._SECONDS, process.kill)
        watchdog.daemon = True
        watchdog.start()
        answers = []
        try:
            for line in lines:
                process.stdin.write(line.encode("utf-8", errors="replace") + b"\n")
                process.stdin.flush()
                answer = process.stdout.readline()
                if not answer.endswith(b"\n"):
                    return None
                answers.append(answer.decode("utf-8", errors="replace").strip())
        except OSError:
            return None
        finally:
            watchdog.cancel()
        return answers

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            command = ["java", "-Xmx2G", "-XX:+UseSerialGC", "-jar", str(self.jar)]
            command += ["-", "-", "-stdio", "-l", "en", "-norm"]
            # A pipe that no process reads would fill up and block the jar.
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                **dying_with_parent(),
            )
        return self._process

    def _last_error(self) -> str:
        if self._errors is None:
            return "no message"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()  # it holds nothing that closing its input first would save
            process.communicate()
        if self._errors is not None:
            self._errors.close()
            self._errors = None


@cache
def aligner() -> Aligner:
    """The process that all instances share.

    Raises:
        UnavailableError: no jar.
    """
    jar = _jar()
    if jar is None:
        raise UnavailableError("METEOR's jar not found", install("text"))
    return Aligner(jar)


def _jar() -> Path | None:
    """The jar that pycocoevalcap ships, if its paraphrase table is there too."""
    spec = find_spec("pycocoevalcap")
    for folder in (spec.submodule_search_locations if spec is not None else None) or ():
        jar = Path(folder, "meteor", "meteor-1.5.jar")
        if jar.is_file() and (jar.parent / "data" / "paraphrase-en.gz").is_file():
            return jar
    return None


def _line(hypothesis: Tokens, references: Sequence[Tokens]) -> str:
    """One request; the separator cannot occur in a text, and tokens hold no line ends."""
    texts = (" ".join(tokens).replace("|||", " ") for tokens in (*references, hypothesis))
    return " ||| ".join(("SCORE", *texts))


def _divided(value: NDArray[Any], by: NDArray[Any]) -> NDArray[np.float64]:
    """``value / by``, 0 where ``by`` is 0: a text without words, or no match at all."""
    return np.divide(value, by, out=np.zeros(np.shape(value)), where=by > 0)


def _wordnet_found() -> bool:
    """Whether NLTK would find WordNet, without importing NLTK, which takes seconds."""
    loaded = sys.modules.get("nltk.data")
    folders = loaded.path if loaded is not None else _nltk_folders()
    return any(
        Path(folder, "corpora", name).exists() for folder in folders for name in ("wordnet", "wordnet.zip")
    )


def _nltk_folders() -> list[str]:
    """The folders that NLTK searches."""
    named = [folder for folder in os.environ.get("NLTK_DATA", "").split(os.pathsep) if folder]
    places = [Path.home(), *(Path(sys.prefix, part) for part in ("", "share", "lib"))]
    places += [Path(root, part) for root in ("/usr", "/usr/local") for part in ("share", "lib")]
    return named + [str(place / "nltk_data") for place in places]

"""A store as runs leave it, without runs: numbers, paired bootstrap replicates, manifests, verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.slugs import slug
from harness.leaderboard.facts import RowFacts
from harness.statistics.bootstrap import interval
from harness.store import verdicts
from harness.store.manifest import Manifest
from harness.store.results import Measurement
from harness.store.store import Store
from harness.store.verdicts import Check, Verdict

RATES = (0.0, 0.2, 0.4, 0.6, 0.8)
GROUPS = {"cider": "report text", "bleu_4": "report text"}
GROUPS |= dict.fromkeys(("ece", "auroc_macro", "aurc"), "diagnosis")
N = 590


def manifest_values(method: str, seed: int, rates: Sequence[float], **more: Any) -> dict[str, Any]:
    """What a run writes beside a row, as JSON values."""
    card = {
        "name": method,
        "title": f"The paper of {method}",
        "paper": "https://arxiv.org/abs/2406.13126",
        "licence": "Apache-2.0",
        "tasks": ["report"],
        "reads": ["context", "frontal"],
        "learned": True,
        "presets": ["paper", "tiny"],
        "deviations": [{"where": "Eq. 3", "chosen": "the mean"}],
        "settings": {"lr": 1e-4},
    }
    cost = {"parameters": 1_234_567, "flops": 3_100_000_000, "training_seconds": 125.0}
    cost |= {"seconds_per_study": 0.021, "peak_memory_gib": 1.5, "device": "cpu"}
    return {
        "harness": "0.1.0",
        "protocol": 1,
        "config": {
            "methods": ["all"],
            "dataset": "toy",
            "missing": list(rates[1:]),
            "seeds": [seed],
            "set": {},
        },
        "seed": seed,
        "method": method,
        "card": card,
        "code": "abc",
        "cost": cost,
        "cell": f"cells/toy/{method}/tiny",
        "checkpoint": "def",
        "test_set": "8c21e0828f371446",
        "masks": "fe70595f8f554eff",
        "bootstrap": {"resamples": 200, "seed": 0, "unit": "patient"},
        "machine": {"device": "cpu", "cpus": 2, "threads": 1},
        "environment": {"python": "3.11.7", "system": "Linux x86_64", "packages": {"numpy": "2.0.0"}},
        "unix_time": 1_700_000_000,
        **more,
    }


def row_facts(method: str, **changes: Any) -> RowFacts:
    """What stands behind a row of a leaderboard, without a store."""
    written = manifest_values(method, 0, RATES)
    row = {"trained": method, "dataset": "toy", "preset": "tiny", "control": False, "reliability": {}}
    values = {**written, **row, "audit": {"state": "passed", "failed": []}, "command": "", **changes}
    return RowFacts.model_validate(values)


def add(
    store: Store,
    method: str,
    heights: Mapping[str, float],
    *,
    seed: int = 0,
    control: bool = False,
    rates: Sequence[float] = RATES,
    noise: float = 0.01,
    fall: float = 0.2,
    resamples: int = 200,
    detail: str = "",
    **facts: Any,
) -> str:
    """Store one row whose metrics start at ``heights`` and fall by ``fall`` of it at rate 1; its key."""
    shared = np.random.default_rng(0)
    own = np.random.default_rng([seed, *method.encode()])
    rows, samples = [], {}
    for metric, height in heights.items():
        common = shared.normal(0, 0.02, size=(len(rates), resamples))
        samples[metric] = np.array(
            [
                height * (1 - fall * rate) + common[i] + own.normal(0, noise, resamples)
                for i, rate in enumerate(rates)
            ]
        ).astype(np.float32)
        for i, rate in enumerate(rates):
            rows.append(
                Measurement(
                    dataset="toy",
                    method=method,
                    preset="-" if control else "tiny",
                    seed=seed,
                    drop="context",
                    mechanism="mcar",
                    rate=rate,
                    metric=metric,
                    value=height * (1 - fall * rate),
                    ci95=interval(samples[metric][i].astype(float)),
                    n=N,
                    signature=f"{metric}|v:1",
                    control=control,
                    group=GROUPS.get(metric, "report text"),
                    higher_is_better=metric not in ("ece", "aurc"),
                    detail=detail,
                )
            )
    key = f"toy/{slug(method)}/tiny-s{seed}-context-mcar-n{N}"
    bins = {"count": [10.0, 20.0, 30.0], "confidence": [1.0, 10.0, 25.0], "correct": [2.0, 9.0, 20.0]}
    reliability = {"full": bins, "context": bins} if "ece" in heights else {}
    manifest = Manifest.model_validate(manifest_values(method, seed, rates, **facts))
    store.write_result(key, rows, manifest, samples, reliability)
    return key


def judge(store: Store, method: str, passed: bool, code: str = "abc", checkpoint: str = "def") -> None:
    """Store an audit's verdict."""
    check = Check("mask-honest", passed, "study 17 changed")
    checkpoints = {f"cells/toy/{method}/tiny": checkpoint}
    verdicts.save(store.root, Verdict(method, "toy", "tiny", 8, code, (check,), checkpoints), {})


def small_store(folder: Path) -> Store:
    """Two methods that cannot be told apart, one that can, one that cheats, and a control."""
    store = Store(folder / "store")
    acts = {"part": "attention", "quantity": "entropy, nats", "value": 0.9, "dead": 0.0, "alive": 1.0}
    add(store, "first", {"bleu_4": 0.50, "cider": 0.20, "ece": 0.10}, signs={"probes": [acts]})
    add(store, "second", {"bleu_4": 0.499, "cider": 0.15, "ece": 0.30})
    add(store, "third", {"bleu_4": 0.30, "cider": 0.19, "ece": 0.20})
    add(store, "cheat", {"bleu_4": 0.90, "cider": 0.90})
    add(store, "template", {"bleu_4": 0.12, "cider": 0.16}, control=True)
    judge(store, "first", True)
    judge(store, "second", True, code="older")
    judge(store, "cheat", False)
    return store

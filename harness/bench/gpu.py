"""What only a GPU can show, within a time limit; on a CPU, a rehearsal with tiny networks."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.bench import methods
from harness.bench.rows import Row, measured
from harness.core.errors import HarnessError
from harness.store.store import Store

_SUITE = "gpu"
RATES = "0.2,0.4,0.6,0.8"
_STEP_SECONDS = 150.0
"""Limit of one process that measures a piece of work."""
_PROMPTS, _PROMPT_WORDS, _ANSWER = 16, 600, 128
"""Prompts of the language model that judges, their words, and the tokens of an answer."""
_JUDGE = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
}
_SMALL_JUDGE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 700,
}


@dataclass(frozen=True, slots=True)
class Setting:
    """Where the suite runs, and how far it goes.

    Attributes:
        chosen: names of learned methods.
        device: torch device; anything but a GPU makes all networks tiny.
        peers: folder with clones of official repositories, or None.
        store: store of the run.
        limit: studies per split of the run; None for all.
        ends: ``time.monotonic()`` after which nothing is begun, and a process that runs is stopped.
    """

    chosen: tuple[str, ...]
    device: str
    peers: Path | None
    store: Path
    limit: int | None
    ends: float

    @property
    def on_gpu(self) -> bool:
        """Whether this is no rehearsal."""
        return self.device.startswith("cuda")

    def preset(self, name: str) -> str:
        """The preset of that name, or ``tiny`` in a rehearsal."""
        return name if self.on_gpu else "tiny"

    def seconds(self, most: float = float("inf")) -> float:
        """Seconds that a process may take.

        Raises:
            HarnessError: the time is over.
        """
        left = min(most, self.ends - time.monotonic())
        if left <= 1:
            raise HarnessError("not begun: the time was over", "raise --minutes")
        return left


def works(setting: Setting) -> Iterator[tuple[str, Callable[[], list[Row]]]]:
    """Name and work of each step, the short ones first; the run takes what time is left."""
    for name in setting.chosen:
        yield f"{name}, number formats", partial(_formats, setting, name)
    yield "language model that judges", partial(_judge, setting)
    for name in setting.chosen:
        yield f"{name}, published size", partial(_published_size, setting, name)
    yield "run of all methods", partial(_run, setting)


def _formats(setting: Setting, name: str) -> list[Row]:
    """A training step in bf16-mixed beside the same step in float32."""
    preset = setting.preset("base")
    job = methods.Job(name, preset, "training step", setting.device)
    whole, mixed = (
        methods.timed(replace(job, bfloat16=bfloat16, seconds=setting.seconds(_STEP_SECONDS)))
        for bfloat16 in (False, True)
    )
    return [
        measured(
            _SUITE,
            f"{name} ({preset}), training step in bf16-mixed, batch {methods.BATCH}",
            mixed["seconds"],
            gib=mixed["gib"],
            peer=whole["seconds"],
            peer_gib=whole["gib"],
            of="float32",
        )
    ]


def _published_size(setting: Setting, name: str) -> list[Row]:
    preset, seconds = setting.preset("paper"), setting.seconds(_STEP_SECONDS)
    rows = methods.method_benchmark(name, preset, setting.peers, setting.device, seconds)
    return [replace(row, suite=_SUITE) for row in rows]


def _judge(setting: Setting) -> list[Row]:
    """Answers per minute of a language model of GREEN's size with random weights."""
    code = "import sys; from harness.bench.gpu import _answers; _answers(sys.argv[1])"
    command = [sys.executable, "-c", code, setting.device]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=setting.seconds(2 * _STEP_SECONDS)
        )
    except subprocess.TimeoutExpired as error:
        raise HarnessError(f"stopped after {error.timeout:.0f} s") from None
    costs = json.loads(done.stdout.splitlines()[-1])
    size = f"{costs['parameters'] / 1e9:.2g} billion parameters"
    name = f"judging reports, {size}, {_PROMPT_WORDS} words read, {_ANSWER} tokens written, batches of 8"
    note = "random weights, so that no answer ends early"
    return [measured(_SUITE, name, costs["rate"], unit="answers/min", gib=costs["gib"], note=note)]


def _answers(device: str) -> None:
    """Let a random language model judge in this process, and print rate, size and peak memory as JSON."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from harness.core.files import peak_gib
    from harness.metrics.judges.model import BATCH, Writer

    on_gpu = device.startswith("cuda")
    words = ["<s>", "</s>", "<unk>", *(f"word{number}" for number in range(_PROMPT_WORDS))]
    inner = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, padding_side="left", **tokens)
    sizes = _JUDGE if on_gpu else _SMALL_JUDGE
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if on_gpu else torch.float32)
    with torch.device(device):
        model = LlamaForCausalLM(LlamaConfig(**sizes)).eval()  # type: ignore[arg-type]
    model.generation_config.eos_token_id = sizes["vocab_size"] - 1  # hardly ever written
    with TemporaryDirectory() as folder:
        writer = Writer(Path(folder), lambda _, system, prompt: f"{system} {prompt}", _ANSWER)
        writer.tokenizer, writer.model = tokenizer, model
        texts = writer.texts("", [" ".join(words[3:])] * _PROMPTS)
        writer.answers(texts[:1])
        started = time.perf_counter()
        for start in range(0, len(texts), BATCH):
            writer.answers(texts[start : start + BATCH])
        seconds = time.perf_counter() - started
    gib = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else peak_gib()
    count = sum(parameter.numel() for parameter in model.parameters())
    print(json.dumps({"rate": 60 * len(texts) / seconds, "parameters": count, "gib": gib}))


def _run(setting: Setting) -> list[Row]:
    """Training, prediction and memory of a run of the ``base`` presets; those that it reached in time."""
    preset = setting.preset("base")
    command = [sys.executable, "-m", "harness.cli", "run", "--methods", ",".join(setting.chosen)]
    command += ["--preset", preset, "--missing", RATES, "--device", setting.device]
    command += ["--store", str(setting.store), *(["--limit", str(setting.limit)] if setting.limit else [])]
    note = ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=setting.seconds())
        if done.returncode:
            note = f"the run ended with exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        note = "the run was stopped when the time was over; started again, it goes on"
    rows = [row for each in _costs(setting.store, preset) for row in each]
    missing = sorted(set(setting.chosen) - {row.benchmark.partition(" ")[0] for row in rows})
    if missing or note:
        reason = "; ".join(filter(None, (note, f"no cost of {', '.join(missing)}" if missing else "")))
        rows.append(Row(_SUITE, f"run of all methods ({preset})", note=reason, state="failed"))
    return rows


def _costs(store: Path, preset: str) -> Iterator[list[Row]]:
    """Two rows for each method that the store has."""
    costs = {result.rows[0].method: result.manifest.cost for result in Store(store).stored() if result.rows}
    for name, cost in costs.items():
        if cost is not None and cost.training_seconds is not None and "+" not in name:
            size, gib = f"{name} ({preset})", cost.peak_memory_gib
            yield [
                measured(_SUITE, f"{size}, training on iu-phantom", cost.training_seconds, gib=gib),
                measured(_SUITE, f"{size}, prediction of a study", cost.seconds_per_study or 0.0),
            ]

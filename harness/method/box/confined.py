"""Methods whose code runs in a box: it is imported, trained and asked there, and nowhere else.

``stand_in`` gives a class that a run handles as any other method. Its card and its settings came out of a box
as data; what it is asked goes into a box as copies.
"""

from __future__ import annotations

import math
import os
import shutil
import stat
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
import torch
from pydantic import ConfigDict, PrivateAttr

from harness.core.errors import CorruptFileError, DamagedStateError, HarnessError, UnavailableError
from harness.core.opened import State
from harness.core.printed import OUTPUT
from harness.core.types import DatasetInfo, Inputs, Prediction, Study
from harness.method.box import codec
from harness.method.box.box import Box, BoxError, Last, Limits
from harness.method.box.rules import Own, named_in, rules_for
from harness.method.box.starters import boxes
from harness.method.config import MethodConfig
from harness.method.contract import FitRun, Method
from harness.method.fingerprint import files_of
from harness.method.pretrained import PretrainedPart

_TOGETHER = 256
"""Studies that go into a box at a time."""
_IMPORT = 180.0
"""Seconds in which a method has to be imported and described; its training may take any time."""
_REFUSED = {"PermissionError", "FileNotFoundError"}
_HINT = (
    "it runs in a box, which holds no data and no module of a data set: docs/audits.md says what a box may "
    "read and write"
)
_ERRORS: dict[str, type[HarnessError]] = {
    each.__name__: each for each in (CorruptFileError, DamagedStateError, UnavailableError)
}
"""Errors of a method that the harness handles."""


class BoxedConfig(MethodConfig):
    """Settings that came out of a box, as JSON values."""

    model_config = ConfigDict(extra="allow", frozen=True)

    _parts: tuple[PretrainedPart, ...] = PrivateAttr(default=())

    @classmethod
    def of(cls, values: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> BoxedConfig:
        """The settings, with the parts that start from pretrained weights."""
        config = cls(**values)
        config._parts = tuple(PretrainedPart(**part) for part in parts)
        return config

    @property
    def pretrained(self) -> tuple[PretrainedPart, ...]:
        """As the method's own settings have them."""
        return self._parts


@dataclass(frozen=True, slots=True)
class Routed:
    """``ExpertRouting`` of one block, as it came out of a box."""

    words: range
    shares: np.ndarray

    def utilisation(self) -> Any:
        """Shares (blocks, experts) of the words."""
        return self.shares


class ConfinedMethod(Method[BoxedConfig]):
    """A method in a box. Its subclasses are what ``stand_in`` returns.

    Attributes:
        target: ``module:Class`` of the method.
        hidden: files and folders that it may not read.
        cost: peak memory of the last ``fit``.
        opened: files that its boxes have opened, as the kernel says, with what they were then.
    """

    Config = BoxedConfig
    target: ClassVar[str]
    hidden: ClassVar[tuple[str, ...]]

    def __init__(self, config: BoxedConfig, info: DatasetInfo, settings: Mapping[str, Any]) -> None:
        super().__init__(config, info)
        self.settings = dict(settings)
        self.cost: dict[str, Any] = {}
        self._remark = ""
        self._device = "cpu"
        self._saved: Path | None = None
        self.opened: dict[str, State] = {}
        self._room: _Room | None = None

    @classmethod
    def create(
        cls,
        info: DatasetInfo,
        *,
        variant: str | None = None,
        preset: str = "tiny",
        overrides: Mapping[str, Any] | None = None,
    ) -> Self:
        """As ``Method.create``: the method checks its settings in a box.

        Raises:
            HarnessError: it refuses them.
        """
        own = dict(overrides or {})
        settings = {"variant": variant, "preset": preset, "overrides": own, "device": "cpu"}
        place, about = (cls.target, cls.hidden, named_in(own)), codec.info_out(info)
        asked: dict[str, Any] = {"target": cls.target, "info": about, "settings": settings}
        try:
            facts = _asked(_describing(*place).box, "configure", **asked)
        except BoxError:
            if _describing(*place).box.alive:
                raise
            _describing.cache_clear()  # the constructor ended the process
            facts = _asked(_describing(*place).box, "configure", **asked, build=False)
        method = cls(BoxedConfig.of(facts["config"], facts["pretrained"]), info, settings)
        method._remark = str(facts["remark"])
        return method

    @property
    def remark(self) -> str:
        """What the method said when it was built."""
        return self._remark

    def _begin(self, *, read: Sequence[Path] = (), write: Sequence[Path] = ()) -> Box:
        """A new box with the method, which nothing was asked."""
        self._end()
        output = write[0] / OUTPUT if write else None
        own = Own(self.target.partition(":")[0], tuple(map(str, files_of(type(self)).values())))
        settings = {**self.settings, "device": self._device}
        self._room = _Room(own, self.hidden, settings["overrides"], (tuple(read), tuple(write)), output)
        weakref.finalize(self, self._room.close)
        box = self._room.box
        _asked(box, "plug", target=self.target, info=codec.info_out(self.info), settings=settings)
        return box

    def note_opened(self) -> None:
        """Note what the present box has opened up to now."""
        if self._room is not None:
            own = str(self._room.folder.parent) + os.sep
            states = dict(self._room.box.opens.opened.states)
            self.opened |= {
                path: state
                for path, state in states.items()
                if path not in self.opened and not path.startswith(own)
            }

    def _end(self) -> None:
        if self._room is not None:
            self.note_opened()
            self._room.close()
            self._room = None

    def _ask(self, question: str, **content: Any) -> dict[str, Any]:
        if self._room is None:
            self._load()
        assert self._room is not None
        return _asked(self._room.box, question, **content)

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        """Copies of the studies go into a box, which may write into the folder of the training."""
        self._device = run.device
        folder = run.directory.resolve()
        box = self._begin(write=[folder])
        for split, studies in (("train", train), ("val", val)):
            for start in range(0, len(studies), _TOGETHER):
                some = codec.studies_out(studies[start : start + _TOGETHER])
                _asked(box, "take", split=split, studies=some)
        self.cost = _asked(box, "fit", run.progress, train=[], val=[], seed=run.seed, folder=str(folder))

    def sizes(self, study: Study) -> dict[str, int | None]:
        """Parameters and FLOPs, as ``harness.method.cost.sizes`` counts them in the box."""
        (example,) = codec.studies_out([study])
        counted = self._ask("sizes", study=example)["sizes"]
        names = ("parameters", "trainable_parameters", "flops")
        return {name: None if counted[name] is None else int(counted[name]) for name in names}

    def save(self, directory: Path) -> None:
        """The files that the method writes in its box are copied out of it."""
        assert self._room is not None
        written = self._room.folder / "checkpoint"
        self._ask("save", folder=str(written))
        _copy_out(written, directory)
        shutil.rmtree(written, ignore_errors=True)

    def load(self, directory: Path) -> None:
        """Become the method of a checkpoint; it is read when the method is moved to its device or asked."""
        self._saved = directory.resolve()
        self._end()

    def to(self, device: str) -> Self:
        """Begin a box on the device, with the checkpoint."""
        self._device = device
        if self._saved is not None and self._room is None:
            self._load()
        return self

    def _load(self) -> None:
        if self._saved is None:
            raise HarnessError(f"{self.card.name} is neither fitted nor loaded")
        _asked(self._begin(read=[self._saved]), "load", folder=str(self._saved))

    def predict(self, inputs: Inputs) -> list[Prediction]:
        """The box's predictions for a copy of the batch."""
        return codec.predictions_in(self._ask("predict", inputs=codec.inputs_out(inputs))["predictions"])

    def sample(self, inputs: Inputs, draws: int) -> list[list[str]]:
        """The box's drawn reports."""
        drawn = self._ask("sample", inputs=codec.inputs_out(inputs), draws=draws)["reports"]
        return [[str(text) for text in own] for own in drawn]

    def synthesize(self, inputs: Inputs, targets: Sequence[str]) -> list[Prediction]:
        """What the box generates."""
        answer = self._ask("synthesize", inputs=codec.inputs_out(inputs), targets=list(targets))
        return codec.predictions_in(answer["predictions"])

    def sample_with(self, *args: Any, **options: Any) -> None:
        """Passed on to the box."""
        self._ask("sample_with", options=options)

    def routing(self, inputs: Inputs) -> Sequence[Routed]:
        """As the box says."""
        routed = self._ask("routing", inputs=codec.inputs_out(inputs))["routing"]
        return [Routed(range(int(words)), np.asarray(shares)) for words, shares in routed]

    def confidences(self, inputs: Inputs) -> Mapping[str, Any]:
        """As the box says."""
        return dict(self._ask("confidences", inputs=codec.inputs_out(inputs))["values"])

    def latents(self, inputs: Inputs) -> Mapping[str, Any]:
        """As the box says."""
        return dict(self._ask("latents", inputs=codec.inputs_out(inputs))["values"])


@cache
def stand_in(target: str, hidden: tuple[str, ...]) -> type[ConfinedMethod]:
    """A class for ``module:Class``, which no code of this process imports.

    Args:
        target: of the method.
        hidden: files and folders that its boxes may not read.

    Raises:
        BoxError: its module cannot be imported, or has no such method.
    """
    facts = _asked(_describing(target, hidden, ()).box, "describe", target=target)
    module, _, name = target.partition(":")
    values = {
        "__module__": module,
        "__qualname__": name,
        "__doc__": f"Stands for ``{target}``, which runs in a box.",
        "card": codec.card_in(facts["card"]),
        "has_experts": bool(facts["has_experts"]),
        "has_branches": bool(facts["has_branches"]),
        "SAMPLERS": dict(facts["samplers"]),
        "target": target,
        "hidden": hidden,
    }
    return type(name.rpartition(".")[2], (ConfinedMethod,), values)


class _Room:
    """A box and its folder, which end together."""

    def __init__(
        self,
        own: Own,
        hidden: tuple[str, ...],
        overrides: Mapping[str, Any],
        places: tuple[tuple[Path, ...], tuple[Path, ...]] = ((), ()),
        output: Path | None = None,
        seconds: float = math.inf,
    ) -> None:
        """``places`` are folders that the box may read and may write; ``seconds`` may an answer take."""
        starter = boxes()
        self.folder = Path(mkdtemp(dir=starter.folder))
        read, write = places
        rules = rules_for(own, overrides, hidden, map(str, (self.folder, *write)), map(str, read))
        relative = any(not os.path.isabs(name) for name in rules.named)
        last = Last(Path.cwd() if relative else None, output)
        limits = Limits(seconds=seconds, memory_gib=math.inf, threads=torch.get_num_threads())
        self.box = Box.start(starter, rules, self.folder, limits, last)

    def close(self) -> None:
        """End the box with its processes, and remove its folder."""
        self.box.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def _describing(target: str, hidden: tuple[str, ...], named: tuple[str, ...]) -> _Room:
    """A box in which a method is imported, to be described; it never gets a study.

    Args:
        named: files and folders of its settings.
    """
    module = target.partition(":")[0]
    return _Room(Own(module), hidden, {name: name for name in named}, seconds=_IMPORT)


def _asked(
    box: Box, question: str, progress: Callable[[float, str], None] | None = None, **content: Any
) -> dict[str, Any]:
    """The answer of a box; errors that the harness handles are the same as without a box."""
    try:
        return box.ask(question, progress, **content)
    except BoxError as error:
        _raise(error)


def _raise(error: BoxError) -> NoReturn:
    if error.kind == torch.OutOfMemoryError.__name__:
        raise torch.OutOfMemoryError(error.message) from error
    if error.kind in _ERRORS:
        raise _ERRORS[error.kind](error.message) from error
    if error.kind in _REFUSED:
        raise BoxError(f"{error.message}: {_HINT}", error.kind) from error
    raise error


def _copy_out(source: Path, target: Path) -> None:
    """Copy the plain files below a folder that a box has written.

    Raises:
        BoxError: there is anything else, such as a link to a file that the box cannot read.
    """
    for folder, names, files in os.walk(source):
        place = target / Path(folder).relative_to(source)
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in (*names, *files):
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode):
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                with os.fdopen(handle, "rb") as stream, open(place / name, "wb") as copy:
                    os.fchmod(copy.fileno(), mode & 0o777)
                    shutil.copyfileobj(stream, copy)
            elif not stat.S_ISDIR(mode):
                raise BoxError(f"its checkpoint has {name}, which is neither a file nor a folder")

"""A process that forks runs which are killed, and what becomes of their stores."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.helpers.store_hash import contents
from tests.helpers.victim import Order

ROOT = Path(__file__).parents[2]


class Victims:
    """Forks runs of some methods; it has imported everything, so that a run of the toys takes two seconds.

    Attributes:
        undisturbed: store of a run that was not killed.
        events, seconds: file events of that run, and how long it took.
    """

    def __init__(
        self,
        folder: Path,
        methods: Sequence[str],
        settings: Mapping[str, Any] | None = None,
        modules: Sequence[str] = (),
    ) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HARNESS_CACHE": str(folder / "cache")}
        environment.pop("TOY_LOG", None)
        self.folder, self.methods, self.settings = folder, methods, settings
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.victim", *modules],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.undisturbed = self.folder / "undisturbed"
        code, self.events, self.seconds, error = self.run(self.undisturbed)
        assert code == 0, error

    def run(self, store: Path, moment: tuple[str, float] | None = None) -> tuple[int, int, float, str]:
        """Exit code or minus the signal, file events below the store, seconds, what ended the run."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        order = Order(str(store), self.methods, moment, self.settings, self.cache_of(store))
        print(json.dumps(vars(order)), file=self.process.stdin, flush=True)
        code, events, seconds, error = json.loads(self.process.stdout.readline())
        return code, events, seconds, error

    def cache_of(self, store: Path) -> str | None:
        """A cache beside the store, in which the phantoms are drawn already; the toys need none."""
        if self.settings is None:
            return None
        cache = store.with_name(f"{store.name}-cache")
        if not cache.exists():
            cache.mkdir(mode=0o700)
            (cache / "iu-phantom").symlink_to(Path(os.environ["HARNESS_CACHE"], "iu-phantom"))
        return str(cache)

    def moment(self, dice: random.Random) -> tuple[str, float]:
        """A moment of a run: a file event, which finds what lies between two steps, or a time."""
        if dice.random() < 0.5:
            return "event", dice.randint(1, self.events)
        return "second", dice.uniform(0.0, self.seconds)

    def killed_and_restarted(self, store: Path, seed: int) -> int:
        """Kill a run and its restarts at moments that follow from the seed, then let one finish.

        Returns:
            How many of them were killed; the others finished before their moment.
        """
        dice = random.Random(seed)
        moments = [self.moment(dice) for _ in range(dice.randint(1, 3))]
        codes = [self.run(store, moment)[0] for moment in moments]
        assert set(codes) <= {-signal.SIGKILL, 0}, moments
        code, _, _, error = self.run(store)
        assert code == 0, (moments, error)
        assert contents(store) == contents(self.undisturbed), moments
        return codes.count(-signal.SIGKILL)


@contextmanager
def victims_of(
    folder: Path,
    methods: Sequence[str],
    settings: Mapping[str, Any] | None = None,
    modules: Sequence[str] = (),
) -> Iterator[Victims]:
    """``Victims`` whose process ends with the block."""
    victims = Victims(folder, methods, settings, modules)
    try:
        yield victims
    finally:
        assert victims.process.stdin is not None
        victims.process.stdin.close()
        victims.process.wait(timeout=60)

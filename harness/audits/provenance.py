"""What a method is made of: its modules, the files beside them, what it opened, its checkpoints.

None of it may hold the answers: reports of test studies that training never showed, word by word.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import source_from_cache
from pathlib import Path

from harness.audits.breach import Breach
from harness.audits.contents import Contents
from harness.audits.differences import Answers
from harness.audits.replay import stored_runs
from harness.audits.subject import Case, Subject
from harness.core.errors import HarnessError
from harness.core.files import digest_of
from harness.method.fingerprint import files_of

_FEW = 3
"""Reports that stand in one file by more than chance."""
_CODE = {".py", ".pyc", ".pyd", ".so"}
_SYSTEM = ("/proc/", "/dev/", "/sys/", "/etc/", "/usr/", "/lib/", "/lib64/", "/bin/", "/sbin/")


def answer_free(subject: Subject, base: Answers) -> str:
    """No module, file or checkpoint of the method holds test reports that training never showed."""
    hidden = subject.case.unseen
    if not hidden.reports:
        return "no test report has words that training never showed"
    own, checkpoints = used_files(subject), 0
    for name, path in own.items():
        _search(subject.case, name, path)
    for path in _files_in(subject.checkpoint):
        _search(subject.case, f"the checkpoint's {path.name}", path)
    for run in stored_runs(subject):
        checkpoints += 1
        for path in _files_in(run.cell.checkpoint):
            _search(subject.case, f"{path.name} in the checkpoint of {run.place}", path)
    subject.sources.update({name: digest_of(path)[:16] for name, path in own.items()})
    subject.places.update({name: str(path) for name, path in own.items() if not _is_metadata(path)})
    return (
        f"{len(own)} files of code and data and {checkpoints + 1} checkpoints hold none of {hidden.reports} "
        f"test reports with words that training never showed"
    )


def _search(case: Case, name: str, path: Path) -> None:
    """Look for test reports in a file; methods of one audit that share a file have it searched once.

    Raises:
        Breach: the file holds some.
    """
    hidden, content = case.unseen, str(path)
    with suppress(OSError, HarnessError):  # a link, for one: it is searched, but not remembered by content
        content = digest_of(path) + path.suffix
    if content not in case.searched:
        contents = Contents.of(path)
        numbers = hidden.in_texts(contents.texts) | hidden.in_numbers(contents.numbers)
        case.searched[content] = len(numbers)
    count = case.searched[content]
    if count >= min(_FEW, hidden.reports):
        raise Breach(f"{name} holds {count} of {hidden.reports} test reports that training never showed")


def used_files(subject: Subject) -> Mapping[str, Path]:
    """Name -> path of all code and data that made a method's answers.

    They are what the fingerprint covers, and the files that its processes opened while it was audited, but
    not those of the dataset. Names hold no folder of this machine.
    """
    files = files_of(subject.entry.method_class)
    listed = {path.resolve() for path in files.values()}
    own = subject.folder.resolve()
    for text in sorted(set(subject.opened()) - subject.case.files.every):
        path = _source_of(Path(text))
        if text.startswith(_SYSTEM) or path in listed or path.is_relative_to(own) or not path.is_file():
            continue
        if not (path.is_relative_to(_HARNESS) or (path.suffix in _CODE and _is_installed(path))):
            listed.add(path)
            names = (f"opened/{path.name}", *(f"opened/{path.name} ({n})" for n in range(2, len(files) + 3)))
            files[next(name for name in names if name not in files)] = path
    return files


def _source_of(path: Path) -> Path:
    """The module of a compiled file; any other file is its own."""
    with suppress(ValueError, NotImplementedError):
        if path.suffix == ".pyc":
            return Path(source_from_cache(path)).resolve()
    return path.resolve()


_HARNESS = Path(__file__).resolve().parents[1]


def _is_installed(path: Path) -> bool:
    """Whether a file of code is Python's, an installed package's or the harness's."""
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = {Path(sysconfig.get_path(kind)).resolve() for kind in kinds} | {_HARNESS}
    return any(path.resolve().is_relative_to(each) for each in folders)


def _is_metadata(path: Path) -> bool:
    """Whether a file is what an installer wrote about a package: its version is in manifests."""
    return path.parent.suffix in (".dist-info", ".egg-info")


def _files_in(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())

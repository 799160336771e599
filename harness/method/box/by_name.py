"""Modules of a folder that cannot be listed, such as a project with data in it, asked for by name."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec, all_suffixes
from importlib.util import spec_from_file_location


class ByName:
    """Finds the modules of one folder, as Python's own finder does, without a list of the folder.

    Python's finder lists a folder again when anything in it has changed. Where it may not, every module of
    the folder is gone, or one of the same name is taken from a later folder of the path.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def find_spec(self, fullname: str, target: object = None) -> ModuleSpec | None:
        """Where a module of the folder lies; None where it is not there."""
        path = os.path.join(self.folder, fullname.rpartition(".")[2])
        is_folder = os.path.isdir(path)
        packages = [
            (os.path.join(path, f"__init__{suffix}"), [path]) for suffix in all_suffixes() if is_folder
        ]
        for file, inside in (*packages, *((path + suffix, None) for suffix in all_suffixes())):
            if os.path.isfile(file):
                return spec_from_file_location(fullname, file, submodule_search_locations=inside)
        if not is_folder:
            return None
        portion = ModuleSpec(fullname, None)  # of a package without ``__init__.py``
        portion.submodule_search_locations = [path]
        return portion


def find_by_name(folders: Iterable[str]) -> None:
    """From now on, modules of those folders that this process cannot list are asked for by name."""
    for folder in folders:
        try:
            os.scandir(folder).close()
        except PermissionError:
            sys.path_importer_cache[folder] = ByName(folder)
        except OSError:
            continue

"""Imported by the server that starts processes: imports the modules which ``PRELOAD`` names.

The server itself would end at a module that raises anything but ImportError, and every process with it. A
module that cannot be imported is skipped here. The process that needs it imports it again and names it.
"""

import os
from contextlib import suppress
from importlib import import_module

from harness.core.failures import no_silent_end
from harness.core.printed import printed_nowhere
from harness.distributed.processes import PRELOAD

for _name in os.environ.get(PRELOAD, "").split(","):
    with suppress(BaseException), no_silent_end(), printed_nowhere():
        import_module(_name)

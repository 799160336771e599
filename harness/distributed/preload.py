"""Imported by the server that starts processes: imports the modules which ``PRELOAD`` names.

The server itself would end at a module that raises anything but ImportError, and every process with it. A
module that cannot be imported is skipped here. The process that needs it imports it again and names it.
"""

import os
from contextlib import suppress

from harness.core.children import end_with_parent
from harness.core.failures import no_silent_end
from harness.core.printed import printed_nowhere
from harness.core.registry import imported
from harness.distributed.processes import ENDS, PRELOAD

_names = os.environ.get(PRELOAD, "").split(",")
if ENDS in _names:  # otherwise it would import on for seconds
    end_with_parent()
for _name in _names:
    with suppress(BaseException), no_silent_end(), printed_nowhere():
        imported(_name)

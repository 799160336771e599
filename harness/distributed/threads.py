"""Threads of linear algebra in a process beside others."""

from __future__ import annotations

import os


def use_threads(count: int) -> None:
    """Limit torch and NumPy's linear algebra to ``count`` threads in this process.

    Otherwise each of several processes would start one thread per processor, and they would slow each other.
    """
    import torch
    from threadpoolctl import threadpool_limits

    os.environ["OPENBLAS_NUM_THREADS"] = str(count)  # for SciPy's own OpenBLAS, which is loaded later
    threadpool_limits(count, user_api="blas")
    torch.set_num_threads(count)

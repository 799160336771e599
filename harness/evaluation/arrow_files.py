"""Tables of Parquet and Arrow, whole: pyarrow alone believes lengths and checksums that do not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow


def parquet_table(source: Any) -> pyarrow.Table:
    """The table of a Parquet file; columns may share a name.

    Args:
        source: a path, or a reader of pyarrow.

    Raises:
        OSError, pyarrow.ArrowException: it is damaged, or the checksum of a page does not fit.
    """
    from pyarrow import parquet

    return _valid(parquet.ParquetFile(source, page_checksum_verification=True).read())


def arrow_table(data: bytes) -> pyarrow.Table:
    """The table of an Arrow file or stream.

    Raises:
        OSError, pyarrow.ArrowException: it is damaged; an offset out of its text would end the process.
    """
    from pyarrow import BufferReader, ipc

    reader = ipc.open_file if data.startswith(b"ARROW1") else ipc.open_stream
    return _valid(reader(BufferReader(data)).read_all())


def _valid(table: pyarrow.Table) -> pyarrow.Table:
    table.validate(full=True)
    return table

"""Arrow IPC streams of untrusted origin, read within limits.

A stream of a few hundred bytes can claim gigabytes: by compressed buffers, by columns whose cells take no bytes, by
offsets that share the bytes of one long text. The encoder of `tables` writes none of these. Types and lengths are
checked before pyarrow allocates memory for them. A stream with other content is rejected.
"""

from __future__ import annotations

from struct import unpack_from
from typing import Any, Final

MAX_STREAM_BYTES: Final = 8 * 1024 * 1024
"""Limit of a stream in bytes. It is the limit of a value."""

MAX_COLUMNS: Final = 10_000
"""Limit of a frame's columns. pandas takes about half a millisecond for each."""

MAX_ROWS_BYTES: Final = 128 * 1024 * 1024
"""Limit of what the rows of a frame take in memory in bytes, beside the bytes of the stream."""

_MAX_TYPE_DEPTH: Final = 64

_CELL_BYTES: Final = 8
_STRUCT_BYTES: Final = 256
"""Memory of one cell: of a number or a reference, and of a dict. Empty cells take no bytes of the stream."""

_RECORD_BATCH: Final = 3
_DICTIONARY_BATCH: Final = 2
"""Values of `MessageHeader` in Arrow's Message.fbs."""


def read_table(stream: bytes) -> Any:
    """Return the table of an Arrow IPC stream.

    Raises:
        ValueError: the stream exceeds a limit, or has a compressed buffer or a type that is not supported.
        Exception: pyarrow rejects the stream.
    """
    import pyarrow

    if len(stream) > MAX_STREAM_BYTES:
        raise ValueError(f"an Arrow stream has more than {MAX_STREAM_BYTES} bytes")
    _reject_compression(stream)
    with pyarrow.ipc.open_stream(stream) as reader:
        if len(reader.schema) > MAX_COLUMNS:
            raise ValueError(f"a frame has more than {MAX_COLUMNS} columns")
        row_bytes = sum(_bytes_per_row(field.type, 0) for field in reader.schema)
        batches, rows = [], 0
        for batch in reader:
            rows += batch.num_rows
            if rows * max(row_bytes, _CELL_BYTES) > MAX_ROWS_BYTES:
                raise ValueError(f"a frame takes more than {MAX_ROWS_BYTES} bytes")
            batches.append(batch)
        table = pyarrow.Table.from_batches(batches, reader.schema)
    table.validate(full=True)  # without it, pyarrow follows offsets that are out of range
    return table


def _bytes_per_row(kind: Any, depth: int, *, is_item: bool = False) -> int:
    """Return the memory in bytes that a column of an Arrow type takes for each row, empty or not.

    Args:
        kind: the Arrow type.
        depth: levels above it.
        is_item: the type is one of items, whose number is not that of the rows. Each must take bytes of the stream.

    Raises:
        ValueError: neither rows nor stream limit the memory of such a column.
    """
    from pyarrow import types

    if depth > _MAX_TYPE_DEPTH:
        raise ValueError(f"an Arrow type is nested deeper than {_MAX_TYPE_DEPTH} levels")
    if hasattr(kind, "storage_type"):
        return _bytes_per_row(kind.storage_type, depth + 1, is_item=is_item)
    if types.is_dictionary(kind) and depth == 0:
        return _CELL_BYTES + _bytes_per_row(kind.value_type, depth + 1, is_item=True)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind):
        items = [kind.key_type, kind.item_type] if types.is_map(kind) else [kind.value_type]
        return _CELL_BYTES + sum(_bytes_per_row(item, depth + 1, is_item=True) for item in items)
    if types.is_struct(kind) and kind.num_fields:
        fields = (kind.field(at).type for at in range(kind.num_fields))
        return _STRUCT_BYTES + sum(_bytes_per_row(part, depth + 1, is_item=is_item) for part in fields)
    if _takes_bytes(kind) or (types.is_null(kind) and not is_item):
        return _CELL_BYTES
    raise ValueError(f"an Arrow column of type {str(kind)[:100]} is not supported")


def _takes_bytes(kind: Any) -> bool:
    """Return whether each value of an Arrow type takes at least a bit of the stream that is its own."""
    from pyarrow import types

    is_text = types.is_string(kind) or types.is_large_string(kind)
    is_binary = types.is_binary(kind) or types.is_large_binary(kind)
    has_width = types.is_fixed_size_binary(kind) and kind.byte_width > 0
    return bool(is_text or is_binary or has_width or types.is_decimal(kind) or types.is_primitive(kind))


def _reject_compression(stream: bytes) -> None:
    """Raise ValueError if a batch of the stream has compressed buffers, which may expand to any size.

    pyarrow decompresses a batch when it reads it, and has no option against it. The flag is in the metadata of each
    batch, a flatbuffer (see Message.fbs of Arrow).
    """
    import pyarrow

    reader = pyarrow.ipc.MessageReader.open_stream(stream)
    for message in reader:
        content = message.metadata.to_pybytes()
        root = unpack_from("<I", content)[0]
        header = _table(content, root, 2)
        kind_at = _field(content, root, 1)
        kind = content[kind_at] if kind_at else 0
        if kind == _DICTIONARY_BATCH and header:
            header = _table(content, header, 1)
        if kind in (_RECORD_BATCH, _DICTIONARY_BATCH) and header and _field(content, header, 3):
            raise ValueError("an Arrow stream has compressed buffers")


def _table(content: bytes, table: int, number: int) -> int:
    """Return the position of the table in field `number` of a flatbuffer table; 0 if it is missing."""
    at = _field(content, table, number)
    return at + int(unpack_from("<I", content, at)[0]) if at else 0


def _field(content: bytes, table: int, number: int) -> int:
    """Return the position of field `number` of a flatbuffer table; 0 if it is missing."""
    layout = table - int(unpack_from("<i", content, table)[0])
    if layout < 0 or 4 + 2 * number >= int(unpack_from("<H", content, layout)[0]):
        return 0
    offset = int(unpack_from("<H", content, layout + 4 + 2 * number)[0])
    return table + offset if offset else 0

"""Encoding of numpy scalars and arrays, and dispatch of pandas values to `tables`.

The module imports neither numpy nor pandas before the app does. An array is stored as dtype, shape and raw bytes.
This form is easier to validate than .npy, and JavaScript can read it. An object array is encoded item by item.
Nothing is pickled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
from math import prod
from typing import TYPE_CHECKING, Any

from streamlit_crdt.codec import tables
from streamlit_crdt.codec.scalars import Stored, expect_bytes, expect_int, expect_str, type_name
from streamlit_crdt.errors import ValueNotShareableError

if TYPE_CHECKING:
    import numpy

TAGS = frozenset({"numpy", "ndarray", "objects"}) | tables.TAGS

_NUMERIC_KINDS = "biufcmM"
"""Values of `dtype.kind` that are stored as raw bytes: bool, int, uint, float, complex, timedelta, datetime."""

_MAX_DTYPE_CHARS = 40
"""Limit of a stored dtype. `<M8[2147483647ns]` is the longest. numpy spends seconds on a long list of types."""

_MAX_DIMENSIONS = 32
"""Limit of numpy 1. A stored shape with more dimensions is rejected."""


def owns(value: object) -> bool:
    """Return whether numpy or pandas defines the type of `value`. Imports neither."""
    return type(value).__module__.partition(".")[0] in ("numpy", "pandas")


def pack(value: Any, encode: Callable[[Any], Stored], equal: tables.Equal) -> tuple[str, Stored]:
    """Return tag and payload of a value that `owns` accepts.

    Args:
        encode: encodes nested values, such as the items of an object array.
        equal: `equality.equal`.
    """
    import numpy

    if isinstance(value, numpy.generic):
        return "numpy", _pack_scalar(value)
    if type(value) is numpy.ndarray:
        return _pack_array(value, encode)
    if type(value).__module__.startswith("pandas"):
        return tables.pack(value, encode, equal)
    raise ValueNotShareableError(
        type_name(value), "only scalars and plain arrays of numpy have a stored form"
    )


def unpack(tag: str, stored: Stored, decode: Callable[[Stored], Any]) -> object:
    """Return the value of a payload. `tag` is in `TAGS`. A malformed payload may raise any exception."""
    if tag in tables.TAGS:
        return tables.unpack(tag, stored, decode)
    if tag == "numpy":
        return _unpack_scalar(stored)
    return _unpack_array(stored) if tag == "ndarray" else _unpack_objects(stored, decode)


def are_equal(left: Any, right: Any, items_equal: Callable[[Any, Any], bool]) -> bool:
    """Return whether two values of one type that `owns` accepts are equal in dtype, shape and content."""
    import numpy

    if isinstance(left, numpy.generic):
        return scalar_token(left) == scalar_token(right)
    if isinstance(left, numpy.ndarray):
        return arrays_equal(left, right, items_equal)
    return tables.are_equal(left, right, lambda a, b: arrays_equal(a, b, items_equal), items_equal)


def arrays_equal(left: Any, right: Any, items_equal: Callable[[Any, Any], bool]) -> bool:
    """Return whether two arrays have the same dtype, shape and items. nan equals nan; 0.0 differs from -0.0."""
    import numpy

    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.kind == "O":
        return _have_same_bits(left, right) or all(map(items_equal, left.flat, right.flat))
    if left.dtype.kind in _NUMERIC_KINDS and _have_same_bits(left, right):
        return True
    if left.dtype.kind in "fc":
        both_nan = numpy.isnan(left) & numpy.isnan(right)
        signs = numpy.signbit(left.real) == numpy.signbit(right.real)
        signs &= numpy.signbit(left.imag) == numpy.signbit(right.imag)
        return bool((both_nan | ((left == right) & signs)).all())
    return bool(left.tobytes() == right.tobytes())


def _have_same_bits(left: Any, right: Any) -> bool:
    """Return whether two arrays of one dtype and shape have the same bits: for objects, the same references."""
    import numpy

    size = left.dtype.itemsize
    if size not in (1, 2, 4, 8):
        return False
    return bool(numpy.array_equal(numpy.asarray(_Bits(left, size)), numpy.asarray(_Bits(right, size))))


class _Bits:
    """The memory of an array as unsigned integers. numpy itself refuses such a view of objects."""

    def __init__(self, source: Any, size: int) -> None:
        interface = source.__array_interface__
        self._source = source
        self.__array_interface__ = {
            **{name: interface[name] for name in ("data", "shape", "strides", "version")},
            "typestr": f"{'<' if sys.byteorder == 'little' else '>'}u{size}",
        }


def scalar_token(value: Any) -> Hashable:
    """Return a hashable token. The tokens of two numpy or pandas scalars are `==` only if the scalars are equal."""
    import numpy

    if isinstance(value, numpy.generic):
        is_nan = value.dtype.kind in "fc" and bool(numpy.isnan(value))
        return (str(value.dtype), "nan" if is_nan else value.tobytes())
    return tables.scalar_token(value)


def copy(value: Any) -> Any:
    """Return a copy of an array or frame. A scalar is immutable and is returned itself."""
    import numpy

    return value if isinstance(value, numpy.generic) or not hasattr(value, "copy") else value.copy()


def _pack_scalar(value: numpy.generic) -> Stored:
    kind = value.dtype.kind
    if kind == "U":
        return ["U", str.__str__(value)]  # str(value) drops trailing NULs
    if kind == "S":
        return ["S", bytes(value)]  # type: ignore[call-overload]
    if kind in _NUMERIC_KINDS:
        return [value.dtype.str, value.tobytes()]
    raise ValueNotShareableError(
        type_name(value), f"a numpy scalar of dtype {value.dtype} has no stored form"
    )


def _unpack_scalar(stored: Stored) -> object:
    import numpy

    dtype, payload = stored
    if dtype == "U":
        return numpy.str_(expect_str(payload))
    if dtype == "S":
        return numpy.bytes_(expect_bytes(payload))
    return _array(dtype, (), expect_bytes(payload))[()]


def _pack_array(value: numpy.ndarray[Any, Any], encode: Callable[[Any], Stored]) -> tuple[str, Stored]:
    kind = value.dtype.kind
    if kind == "O":
        return "objects", [list(value.shape), [encode(item) for item in value.flat]]
    if kind in _NUMERIC_KINDS + "US" and value.dtype.itemsize:
        return "ndarray", [value.dtype.str, list(value.shape), value.tobytes()]
    raise ValueNotShareableError(type_name(value), f"an array of dtype {value.dtype} has no stored form")


def _unpack_array(stored: Stored) -> object:
    dtype, shape, payload = stored
    return _array(dtype, _shape(shape), expect_bytes(payload))


def _array(dtype: Stored, shape: tuple[int, ...], payload: bytes) -> numpy.ndarray[Any, Any]:
    import numpy

    if len(expect_str(dtype)) > _MAX_DTYPE_CHARS:
        raise ValueError("an array's dtype is not that of one number or text")
    kind = numpy.dtype(dtype)
    if kind.kind not in _NUMERIC_KINDS + "US" or kind.hasobject or not kind.itemsize:
        raise ValueError(f"an array of dtype {kind} has no stored form")
    if prod(shape) * kind.itemsize != len(payload):
        raise ValueError("the bytes of an array do not match its shape")
    return numpy.ndarray(shape, kind, buffer=bytearray(payload)) if payload else numpy.empty(shape, kind)


def _unpack_objects(stored: Stored, decode: Callable[[Stored], Any]) -> object:
    import numpy

    shape = _shape(stored[0])
    items = [decode(item) for item in stored[1]]
    if prod(shape) != len(items):
        raise ValueError("the number of an array's items does not match its shape")
    flat = numpy.empty(len(items), dtype=object)
    for index, item in enumerate(items):
        flat[index] = item
    return flat.reshape(shape)


def _shape(stored: Stored) -> tuple[int, ...]:
    shape = tuple(map(expect_int, stored))
    if len(shape) > _MAX_DIMENSIONS or any(length < 0 for length in shape):
        raise ValueError("an array's shape has a negative length or too many dimensions")
    return shape

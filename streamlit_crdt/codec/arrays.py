"""numpy's scalars and arrays, and the way to pandas (`tables`), without importing either before an app does.

An array is its dtype, shape and raw bytes: simpler to check against hostile input than .npy, and JavaScript
can read it. Arrays of objects are stored item by item with the ordinary encoding. Nothing is ever pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import prod
from typing import TYPE_CHECKING, Any

from streamlit_crdt.codec import tables
from streamlit_crdt.codec.scalars import Stored, raw, text, type_name, whole
from streamlit_crdt.errors import ValueNotShareableError

if TYPE_CHECKING:
    import numpy

TAGS = frozenset({"numpy", "ndarray", "objects"}) | tables.TAGS
_NUMERIC_KINDS = "biufcmM"
_MAX_DIMENSIONS = 32


def owns(value: object) -> bool:
    """Return whether numpy or pandas defines the type of `value`, which does not import them."""
    return type(value).__module__.partition(".")[0] in ("numpy", "pandas")


def pack(value: Any, encode: Callable[[Any], Stored], equal: tables.Equal) -> tuple[str, Stored]:
    """Return tag and payload of a value that `owns` accepts. `encode` stores what is inside."""
    import numpy

    if isinstance(value, numpy.generic):
        return "numpy", _pack_scalar(value)
    if type(value) is numpy.ndarray:
        return _pack_array(value, encode)
    if type(value).__module__.startswith("pandas"):
        return tables.pack(value, encode, equal)
    raise ValueNotShareableError(
        type_name(value), "of numpy only scalars and plain arrays have a shared form"
    )


def unpack(tag: str, stored: Stored, decode: Callable[[Stored], Any]) -> object:
    """Return the value behind a tag in `TAGS`; may raise anything."""
    if tag in tables.TAGS:
        return tables.unpack(tag, stored, decode)
    if tag == "numpy":
        return _unpack_scalar(stored)
    return _unpack_array(stored) if tag == "ndarray" else _unpack_objects(stored, decode)


def same(left: Any, right: Any, same_item: Callable[[Any, Any], bool]) -> bool:
    """Return whether two values of one type that `owns` accepts are equal in dtype, shape and content."""
    import numpy

    if isinstance(left, numpy.generic):
        return scalar_token(left) == scalar_token(right)
    if isinstance(left, numpy.ndarray):
        return same_arrays(left, right, same_item)
    return tables.same(left, right, lambda a, b: same_arrays(a, b, same_item), same_item)


def same_arrays(left: Any, right: Any, same_item: Callable[[Any, Any], bool]) -> bool:
    """Return whether two arrays have the same dtype, shape and items; nan is nan, 0.0 is not -0.0."""
    import numpy

    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    if left.dtype.kind == "O":
        return all(same_item(a, b) for a, b in zip(left.flat, right.flat, strict=True))
    if left.dtype.kind in "fc":
        both_nan = numpy.isnan(left) & numpy.isnan(right)
        signs = numpy.signbit(left.real) == numpy.signbit(right.real)
        signs &= numpy.signbit(left.imag) == numpy.signbit(right.imag)
        return bool((both_nan | ((left == right) & signs)).all())
    return bool(left.tobytes() == right.tobytes())


def scalar_token(value: Any) -> Hashable:
    """Return a stand-in that is `==` for equal numpy or pandas scalars only."""
    import numpy

    if isinstance(value, numpy.generic):
        is_nan = value.dtype.kind in "fc" and bool(numpy.isnan(value))
        return (str(value.dtype), "nan" if is_nan else value.tobytes())
    return tables.scalar_token(value)


def detach(value: Any) -> Any:
    """Return a copy of an array or frame; scalars are immutable."""
    import numpy

    return value if isinstance(value, numpy.generic) or not hasattr(value, "copy") else value.copy()


def _pack_scalar(value: numpy.generic) -> Stored:
    kind = value.dtype.kind
    if kind == "U":
        return ["U", str.__str__(value)]  # str(value) would drop trailing NULs
    if kind == "S":
        return ["S", bytes(value)]  # type: ignore[call-overload]
    if kind in _NUMERIC_KINDS:
        return [value.dtype.str, value.tobytes()]
    raise ValueNotShareableError(type_name(value), "a numpy scalar of this dtype has no shared form")


def _unpack_scalar(stored: Stored) -> object:
    import numpy

    dtype, payload = stored
    if dtype == "U":
        return numpy.str_(text(payload))
    if dtype == "S":
        return numpy.bytes_(raw(payload))
    return _array(dtype, (), raw(payload))[()]


def _pack_array(value: numpy.ndarray[Any, Any], encode: Callable[[Any], Stored]) -> tuple[str, Stored]:
    kind = value.dtype.kind
    if kind == "O":
        return "objects", [list(value.shape), [encode(item) for item in value.flat]]
    if kind in _NUMERIC_KINDS + "US" and value.dtype.itemsize:
        return "ndarray", [value.dtype.str, list(value.shape), value.tobytes()]
    raise ValueNotShareableError(type_name(value), f"an array of dtype {value.dtype} has no shared form")


def _unpack_array(stored: Stored) -> object:
    dtype, shape, payload = stored
    return _array(dtype, _shape(shape), raw(payload))


def _array(dtype: Stored, shape: tuple[int, ...], payload: bytes) -> numpy.ndarray[Any, Any]:
    import numpy

    kind = numpy.dtype(text(dtype))
    if kind.kind not in _NUMERIC_KINDS + "US" or kind.hasobject:
        raise ValueError("this dtype is not one that is shared")
    if prod(shape) * kind.itemsize != len(payload):
        raise ValueError("an array's bytes do not fill its shape")
    return numpy.ndarray(shape, kind, buffer=bytearray(payload)) if payload else numpy.empty(shape, kind)


def _unpack_objects(stored: Stored, decode: Callable[[Stored], Any]) -> object:
    import numpy

    shape = _shape(stored[0])
    items = [decode(item) for item in stored[1]]
    if prod(shape) != len(items):
        raise ValueError("an array's items do not fill its shape")
    flat = numpy.empty(len(items), dtype=object)
    for index, item in enumerate(items):
        flat[index] = item
    return flat.reshape(shape)


def _shape(stored: Stored) -> tuple[int, ...]:
    shape = tuple(map(whole, stored))
    if len(shape) > _MAX_DIMENSIONS or any(length < 0 for length in shape):
        raise ValueError("this is not an array's shape")
    return shape

"""Positions of list items: strings whose bytewise order is the order of the items.

A position has an integer part and a fraction. The integer part is a letter, which gives its length, and digits of base
62. An appended item takes the next integer, so that appends stay short. A position between two others takes a fraction.
Each position of an edit ends with a salt. Two people who insert at one place at the same moment get different
positions, and their runs of items do not interleave.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BASE: Final = len(_DIGITS)
_VALUES: Final = {digit: value for value, digit in enumerate(_DIGITS)}
_FIRST: Final = "a0"

SALT_CHARS: Final = 3
"""Length of a salt in characters. Two salts agree once in 238 000 edits of one place."""


def run(lower: str | None, upper: str | None, count: int, salt: str) -> list[str]:
    """Return ascending positions between two positions. None is an end of the list.

    If the two positions are not in order, which another program may have written, the result follows `lower`.
    """
    stem = between(lower, upper) + salt
    if count == 1:
        return [stem]
    width = len(_number(count))
    return [stem + _number(number).rjust(width, _DIGITS[0]) for number in range(1, count + 1)]


def salt(text: str) -> str:
    """Return the salt that is derived from a text."""
    number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
    return _number(number)[-SALT_CHARS:]


def between(lower: str | None, upper: str | None) -> str:
    """Return a short position between two others. No extension of it exceeds `upper`."""
    try:
        if lower is None:
            return _FIRST if upper is None else _preceding(_integer(upper))
        if upper is None:
            return _following(_integer(lower))
        return _inside(lower, upper)
    except ValueError:
        return (lower or "") + _DIGITS[_BASE // 2]


def initial(index: int) -> str:
    """Return the position of an item in a list that is stored as a whole."""
    length, first = 1, 0
    while index - first >= _BASE**length:
        first += _BASE**length
        length += 1
    return chr(ord("a") + length - 1) + _number(index - first).rjust(length, _DIGITS[0])


def _inside(lower: str, upper: str) -> str:
    left, right = _integer(lower), _integer(upper)
    if left == right:
        return left + _fraction(lower[len(left) :], upper[len(right) :])
    if left > right:
        raise ValueError("positions are not in order")
    following = _following(left)
    return following if following < right else left + _fraction(lower[len(left) :], None)


def _integer(position: str) -> str:
    """Return the integer part. Raises ValueError if it is malformed."""
    head = position[:1]
    if "a" <= head <= "z":
        length = ord(head) - ord("a") + 2
    elif "A" <= head <= "Z":
        length = ord("Z") - ord(head) + 2
    else:
        raise ValueError("a position starts with a letter")
    if len(position) < length or any(digit not in _VALUES for digit in position):
        raise ValueError("a position is malformed")
    return position[:length]


def _following(integer: str) -> str:
    head, digits = integer[0], integer[1:]
    number = _value(digits) + 1
    if number < _BASE ** len(digits):
        return head + _number(number).rjust(len(digits), _DIGITS[0])
    if head == "z":
        raise ValueError("no integer is larger")
    if head == "Z":
        return _FIRST
    length = len(digits) + (1 if head >= "a" else -1)
    return chr(ord(head) + 1) + _DIGITS[0] * length


def _preceding(integer: str) -> str:
    head, digits = integer[0], integer[1:]
    number = _value(digits) - 1
    if number >= 0:
        return head + _number(number).rjust(len(digits), _DIGITS[0])
    if head == "A":
        raise ValueError("no integer is smaller")
    if head == "a":
        return "Z" + _DIGITS[-1]
    length = len(digits) + (1 if head < "a" else -1)
    return chr(ord(head) - 1) + _DIGITS[-1] * length


def _fraction(lower: str, upper: str | None) -> str:
    """Return digits between two fractions. They are no prefix of `upper`."""
    digits = list[str]()
    for index in range(len(lower) + len(upper or "") + 2):
        low = _VALUES[lower[index]] if index < len(lower) else 0
        if upper is not None and index >= len(upper):
            raise ValueError("positions are not in order")
        high = _BASE if upper is None else _VALUES[upper[index]]
        if high < low:
            raise ValueError("positions are not in order")
        if high - low > 1:
            return "".join(digits) + _DIGITS[(low + high) // 2]
        digits.append(_DIGITS[low])
        if high - low == 1:
            upper = None
    raise ValueError("positions are not in order")


def _value(digits: str) -> int:
    number = 0
    for digit in digits:
        number = number * _BASE + _VALUES[digit]
    return number


def _number(value: int) -> str:
    digits = ""
    while value:
        value, digit = divmod(value, _BASE)
        digits = _DIGITS[digit] + digits
    return digits or _DIGITS[0]

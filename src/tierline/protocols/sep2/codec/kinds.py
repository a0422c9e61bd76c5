"""Text to Python value and back, once per kind; bounds are checked both ways."""

import re
from collections.abc import Callable
from typing import Final, Never, assert_never

from tierline.protocols.sep2.codec.dialect import Dialect
from tierline.protocols.sep2.resources.rows import Bitmap, Boolean, HexText, Integer, Kind, Text

Decode = Callable[[str], object]

_HEX_DIGITS: Final = "0123456789abcdefABCDEF"
_UPPER_HEX_DIGITS: Final = "0123456789ABCDEF"
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}  # the four spellings of XML Schema
_LFDI_DIGITS: Final = 40
_SPECIAL: Final = re.compile('[&<>"\x00-\x1f\ud800-\udfff\ufffe\uffff]')
_ESCAPES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}


class Fault(Exception):
    """What is wrong with one text; the reader adds the path on the way up and makes a PeerError of it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str] = []


def shown(text: str) -> str:
    """Quote what a peer sent, cut to a length that fits a message."""
    return repr(text if len(text) <= 48 else f"{text[:45]}...")


def decoder_of(kind: Kind, dialect: Dialect) -> Decode:
    """Make the function that reads one kind.

    Raises: the function raises Fault.
    """
    match kind:
        case Integer():
            return _integer_decoder(kind)
        case Bitmap():
            return _bitmap_decoder(kind)
        case HexText():
            return _hex_text_decoder(kind, exact=dialect.exact_lfdi and kind.digits == _LFDI_DIGITS)
        case Boolean():
            return _decode_boolean
        case Text():
            return _text_decoder(kind)
        case _:
            assert_never(kind)


def _integer_decoder(kind: Integer) -> Decode:
    low, high, what = kind.low, kind.high, kind.what

    def decode(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise Fault(f"{shown(text)} is not {what}") from None
        if not text.isascii() or "_" in text:  # Python's int takes both, XML Schema neither
            raise Fault(f"{shown(text)} is not {what}")
        if low <= value <= high:
            return value
        raise Fault(f"{value} is out of range: {kind.name} takes {low} to {high}")

    return decode


def _hex_digits(text: str, kind: Bitmap | HexText) -> str:
    digits = text.strip()
    if not digits or digits.strip(_HEX_DIGITS):
        raise Fault(f"{shown(text)} is not hexadecimal")
    if len(digits) > kind.digits:
        raise Fault(f"{shown(text)} is too long: {kind.name} takes up to {kind.digits} hexadecimal digits")
    return digits


def _bitmap_decoder(kind: Bitmap) -> Decode:
    width = kind.digits

    def decode(text: str) -> int:
        if text and len(text) <= width and not text.strip(_HEX_DIGITS):  # the usual case, without a further call
            return int(text, 16)
        return int(_hex_digits(text, kind), 16)

    return decode


def _hex_text_decoder(kind: HexText, *, exact: bool) -> Decode:
    width = kind.digits

    def decode(text: str) -> str:
        digits = _hex_digits(text, kind)
        if exact and len(digits) != width:
            raise Fault(f"{shown(text)} is too short: exactly {width} hexadecimal digits are needed")
        return digits.upper().zfill(width)

    return decode


def _decode_boolean(text: str) -> bool:
    value = _BOOLEANS.get(text.strip())
    if value is None:
        raise Fault(f"{shown(text)} is neither true nor false")
    return value


def _text_decoder(kind: Text) -> Decode:
    longest = kind.max_length
    if longest is None:
        return str.strip  # anyURI: white space collapses

    def decode(text: str) -> str:
        if len(text) > longest:
            raise Fault(f"{shown(text)} is too long: {kind.name} takes up to {longest} characters")
        return text

    return decode


def source_of(kind: Kind) -> tuple[list[str], str]:
    """Give the lines that check a value `x` of one kind, and the text that writes it within an f-string.

    Bounds are checked on the way out too: an invalid value of our own is a bug, and must not reach a peer.
    """
    match kind:
        case Integer():
            return [_check(f"not {kind.low} <= x <= {kind.high}", kind)], "{x:d}"
        case Bitmap():
            return [_check(f"not 0 <= x <= {kind.high}", kind)], f"{{x:0{kind.digits}X}}"
        case HexText():
            return [_check(f"len(x) != {kind.digits} or x.strip({_UPPER_HEX_DIGITS!r})", kind)], "{x}"
        case Boolean():
            return [], "{'true' if x else 'false'}"
        case Text():
            length = [] if kind.max_length is None else [_check(f"len(x) > {kind.max_length}", kind)]
            return [*length, "if is_special(x): x = escape(x)"], "{x}"
        case _:
            assert_never(kind)


def _check(condition: str, kind: Kind) -> str:
    return f"if {condition}: invalid(x, {kind.name!r})"


def invalid(value: object, kind: str) -> Never:
    """Refuse to write a value.

    Raises: ValueError always.
    """
    raise ValueError(f"{value!r} is no valid {kind}")


def is_special(text: str) -> bool:
    """Tell whether a text holds characters that XML must see as references, or cannot hold at all."""
    return _SPECIAL.search(text) is not None


def escape(text: str) -> str:
    """Write the special characters of a text as references.

    Raises: ValueError for a character that XML 1.0 cannot hold.
    """
    return _SPECIAL.sub(_reference, text)


def _reference(match: re.Match[str]) -> str:
    reference = _ESCAPES.get(match[0])
    if reference is None:
        raise ValueError(f"XML cannot hold the character {match[0]!r}")
    return reference

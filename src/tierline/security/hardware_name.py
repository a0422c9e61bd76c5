"""The name of a piece of hardware as a device certificate carries it: HardwareModuleName of RFC 4108 section 5.

DER by hand, because two short fields do not earn an ASN.1 library. Anything but the canonical encoding is refused.
"""

from dataclasses import dataclass
from typing import Final

from tierline.model.errors import PeerError

HARDWARE_MODULE_NAME_OID: Final = "1.3.6.1.5.5.7.8.4"
"""id-on-hardwareModuleName, the otherName of the subject alternative name (IEEE 2030.5-2018 6.11.7)."""

_SEQUENCE: Final = 0x30
_OBJECT_IDENTIFIER: Final = 0x06
_OCTET_STRING: Final = 0x04


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareName:
    """What a device is and which one of its kind."""

    type_oid: str
    """The hardware type: an object identifier under the maker's private enterprise number."""

    serial: bytes
    """The serial number, unique within the type."""


def encode_hardware_name(name: HardwareName) -> bytes:
    """Write a HardwareModuleName in DER."""
    fields = _tagged(_OBJECT_IDENTIFIER, _oid_bytes(name.type_oid)) + _tagged(_OCTET_STRING, name.serial)
    return _tagged(_SEQUENCE, fields)


def decode_hardware_name(der: bytes) -> HardwareName:
    """Read a HardwareModuleName in DER.

    Raises: PeerError when it is not the canonical encoding of one.
    """
    fields, rest = _split(der, _SEQUENCE)
    type_bytes, after_type = _split(fields, _OBJECT_IDENTIFIER)
    serial, after_serial = _split(after_type, _OCTET_STRING)
    if rest or after_serial:
        raise PeerError("bytes after the end of hardwareModuleName", path="subjectAltName")
    return HardwareName(type_oid=_oid_text(type_bytes), serial=serial)


def _tagged(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    size = (length.bit_length() + 7) // 8
    return bytes((tag, 0x80 | size)) + length.to_bytes(size, "big") + content


def _split(der: bytes, tag: int) -> tuple[bytes, bytes]:
    """Take one element off the front: its content, and what follows it."""
    if len(der) < 2 or der[0] != tag:
        raise PeerError(
            f"expected tag {tag:#04x} in hardwareModuleName, got {der[:1].hex() or 'nothing'}", path="subjectAltName"
        )
    start, length = 2, der[1]
    if length & 0x80:
        start = 2 + (length & 0x7F)
        length = int.from_bytes(der[2:start], "big")
    content, rest = der[start : start + length], der[start + length :]
    if _tagged(tag, content) + rest != der:
        raise PeerError("hardwareModuleName is cut off or not in canonical DER", path="subjectAltName")
    return content, rest


def _oid_bytes(text: str) -> bytes:
    first, second, *others = (int(arc) for arc in text.split("."))
    return b"".join(_base128(arc) for arc in (first * 40 + second, *others))


def _base128(arc: int) -> bytes:
    digits = [arc & 0x7F]
    while arc := arc >> 7:
        digits.append(arc & 0x7F | 0x80)
    return bytes(reversed(digits))


def _oid_text(content: bytes) -> str:
    arcs, arc = [], 0
    for byte in content:
        arc = arc << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(arc)
            arc = 0
    if not arcs or content[-1] & 0x80:
        raise PeerError("the hardware type is not an object identifier", path="subjectAltName")
    first = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (first, arcs[0] - first * 40, *arcs[1:]))

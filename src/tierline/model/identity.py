"""Who is who: the registry's own key of a DER, and the identities that IEEE 2030.5 gives to certificates and objects.

`DerId` is the key of everything. LFDI, SFDI, PIN and certificate are attributes with validity times: a silent DER has
none, a renewed certificate changes them, and none of that re-keys a table, an href or an audit record.
"""

import base64
import hashlib
import re
from typing import NewType

from tierline.model.errors import PeerError

DerId = NewType("DerId", str)
"""64 random bits of our own, 13 characters of lower-case base32; the same for all parties."""

Lfdi = NewType("Lfdi", str)
"""Long form device identifier: 40 upper-case hex digits, the first 20 bytes of SHA-256 of the DER certificate."""

Sfdi = NewType("Sfdi", int)
"""Short form device identifier: 36 bits in decimal and a check digit; for display, never for authorisation."""

Mrid = NewType("Mrid", str)
"""128 bits as 32 upper-case hex digits, the private enterprise number in the low 32 bits."""

PartyId = NewType("PartyId", str)
"""A party (utility, aggregator, market, owner), as named in the configuration."""

ChannelId = NewType("ChannelId", str)
"""An authenticated source of controls as one node sees it."""

GroupId = NewType("GroupId", str)
"""A group of DERs: a part of the grid, or any other set."""

SFDI_MAX = 687194767359
"""The largest value of the type in the 2018 schema: 36 bits of ones and a 9; the check digit of the real largest is 7."""

_HEX = re.compile(r"[0-9A-Fa-f]+")


def der_id(random_bits: int) -> DerId:
    """Make the key of a DER from 64 random bits."""
    if not 0 <= random_bits < 1 << 64:
        raise ValueError(f"der_id needs 64 bits, got {random_bits}")
    return DerId(base64.b32encode(random_bits.to_bytes(8, "big")).decode().rstrip("=").lower())


def lfdi_of_certificate(certificate_der: bytes) -> Lfdi:
    """Compute the LFDI of a certificate in DER form (not of a PEM file's bytes).

    Source: IEEE 2030.5-2018 6.3.4.
    """
    return Lfdi(hashlib.sha256(certificate_der).hexdigest()[:40].upper())


def parse_lfdi(text: str, *, exact: bool = False) -> Lfdi:
    """Read an LFDI in any case, left-padded; with `exact` only the full 40 digits are taken.

    Raises: PeerError when it is not hexadecimal or has the wrong length.
    """
    digits = text.strip()
    if not _HEX.fullmatch(digits) or len(digits) > 40 or (exact and len(digits) != 40):
        raise PeerError(f"{text!r} is not an LFDI: {'exactly' if exact else 'up to'} 40 hexadecimal digits are needed")
    return Lfdi(digits.upper().zfill(40))


def sfdi_of(lfdi: Lfdi) -> Sfdi:
    """Compute the SFDI: the first 36 bits in decimal, then a digit that makes the sum of all digits 0 mod 10.

    Source: IEEE 2030.5-2018 6.3.3.
    """
    number = int(lfdi[:9], 16)
    check = -sum(int(digit) for digit in str(number)) % 10
    return Sfdi(number * 10 + check)


def mrid(random_bits: int, pen: int) -> Mrid:
    """Make an mRID from 96 random bits and the private enterprise number of its maker.

    Source: IEEE 2030.5-2018, mRIDType.
    """
    if not 0 <= random_bits < 1 << 96 or not 0 <= pen < 1 << 32:
        raise ValueError(f"mRID needs 96 random bits and a 32-bit PEN, got {random_bits} and {pen}")
    return Mrid(f"{random_bits:024X}{pen:08X}")


def parse_mrid(text: str) -> Mrid:
    """Read an mRID in any case, left-padded to 32 digits.

    Raises: PeerError when it is not hexadecimal or too long.
    """
    digits = text.strip()
    if not _HEX.fullmatch(digits) or len(digits) > 32:
        raise PeerError(f"{text!r} is not an mRID: up to 32 hexadecimal digits are needed")
    return Mrid(digits.upper().zfill(32))


def pin(random_bits: int) -> int:
    """Make a registration PIN that is valid under both check-digit rules in use.

    The first five digits sum to 0 or 5 mod 10, so that "all six digits sum to 0 mod 10" and "the last digit is the sum of
    the first five mod 10" agree.
    """
    lead = random_bits % 10_000
    fifth = -sum(int(digit) for digit in f"{lead:04d}") % 5
    five = lead * 10 + fifth
    return five * 10 + sum(int(digit) for digit in f"{five:05d}") % 10

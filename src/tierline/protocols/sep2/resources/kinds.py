"""The simple types of IEEE 2030.5-2018 as typed kinds: each says the Python type, the bounds and the unit.

Numbers stay as they are on the wire (integers, their power of ten beside them); scaling is the mapping's affair.
"""

from typing import Annotated

from tierline.model.identity import SFDI_MAX, Lfdi, Mrid, Sfdi
from tierline.protocols.sep2.resources.rows import Bitmap, Boolean, HexText, Integer, Text

Int8 = Annotated[int, Integer("Int8", -(2**7), 2**7 - 1)]
Int16 = Annotated[int, Integer("Int16", -(2**15), 2**15 - 1)]
Int32 = Annotated[int, Integer("Int32", -(2**31), 2**31 - 1)]
Int48 = Annotated[int, Integer("Int48", -(2**47), 2**47)]
"""The schema's bounds are symmetrical: plus and minus 140737488355328."""
UInt8 = Annotated[int, Integer("UInt8", 0, 2**8 - 1)]
UInt16 = Annotated[int, Integer("UInt16", 0, 2**16 - 1)]
UInt32 = Annotated[int, Integer("UInt32", 0, 2**32 - 1)]
UInt48 = Annotated[int, Integer("UInt48", 0, 2**48 - 1)]

Bool = Annotated[bool, Boolean()]
String6 = Annotated[str, Text("String6", 6)]
String16 = Annotated[str, Text("String16", 16)]
String20 = Annotated[str, Text("String20", 20)]
String32 = Annotated[str, Text("String32", 32)]
String192 = Annotated[str, Text("String192", 192)]
AnyUri = Annotated[str, Text("anyURI")]

Hex8 = Annotated[int, Bitmap("HexBinary8", 2)]
Hex16 = Annotated[int, Bitmap("HexBinary16", 4)]
Hex32 = Annotated[int, Bitmap("HexBinary32", 8)]
Hex64 = Annotated[int, Bitmap("HexBinary64", 16)]

MridHex = Annotated[Mrid, HexText("mRIDType", 32)]
LfdiHex = Annotated[Lfdi, HexText("HexBinary160", 40)]
SfdiNumber = Annotated[Sfdi, Integer("SFDIType", 0, SFDI_MAX)]
Pin = Annotated[int, Integer("PINType", 0, 999_999, "a PIN of six digits")]
"""Five digits and a check digit."""

EpochSeconds = Annotated[int, Integer("TimeType", -(2**63), 2**63 - 1, "a number of seconds")]
"""Seconds since 1970 in UTC."""
OffsetSeconds = Annotated[int, Integer("TimeOffsetType", -(2**31), 2**31 - 1, "a number of seconds")]
DurationSeconds = Annotated[int, Integer("UInt32", 0, 2**32 - 1, "a number of seconds")]
RandomizeSeconds = Annotated[int, Integer("OneHourRangeType", -(2**15), 2**15 - 1, "a number of seconds")]
"""Meant to be within an hour either way; the schema bounds only the width."""

PowerOfTen = Annotated[int, Integer("PowerOfTenMultiplierType", -(2**7), 2**7 - 1)]
PerCent = Annotated[int, Integer("PerCent", 0, 2**16 - 1)]
"""In 0.01 %; the schema bounds only the width."""
SignedPerCent = Annotated[int, Integer("SignedPerCent", -(2**15), 2**15 - 1)]
"""In 0.01 %."""
Subscribable = Annotated[int, Integer("SubscribableType", 0, 2**8 - 1)]
"""0 not, 1 without conditions, 2 with conditions, 3 both."""

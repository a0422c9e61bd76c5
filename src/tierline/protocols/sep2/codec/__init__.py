"""XML of IEEE 2030.5 to values and back, compiled once per type from the rows; no code knows a single function.

Two rules: nothing unsafe reaches the parser (document types, foreign encodings and oversized input are refused before
it), and nothing invalid leaves the renderer.
"""

from tierline.protocols.sep2.codec.dialect import CSIP, Dialect, Limits
from tierline.protocols.sep2.codec.reading import parse
from tierline.protocols.sep2.codec.writing import render, render_fragment, render_list

__all__ = ["CSIP", "Dialect", "Limits", "parse", "render", "render_fragment", "render_list"]

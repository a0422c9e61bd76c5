"""COMM rows, the DER client under test: discovery out of band, TLS, chains."""

import ssl

import pytest
from bench.chains import bad_mica, mica_below_mca, self_signed
from bench.documents import Assignment, Program, mrid
from bench.scripted_server import CCM_8

from tierline.security.pki import make_server

pytestmark = pytest.mark.csip


async def test_comm_002_der_goes_from_the_configured_address_by_links_alone(der):
    """Out-of-band discovery.

    Stimulus: the client knows host, port and the path /dcap; everything else lies at paths it has never seen.
    Required: its first request is GET /dcap, and it asks for no path that was not handed out to it.
    Clause: CSIP 2.1 5.1.2; IEEE 2030.5-2018 9.3 and 6.2 (no path is known in advance).
    """
    async with der.head_end() as server:
        server.devices[0].assignments = [Assignment(mrid("F1"), [Program(mrid("5E"), 10, [], {"opModMaxLimW": 8000})])]
        async with der.following():
            await der.walked(2)
            await der.until(lambda: der.device.holds and server.asked("PUT", "/ders$"))
    assert (server.requests[0].method, server.requests[0].path) == ("GET", "/dcap")
    assert {one.path for one in server.requests} - server.hrefs == {"/dcap"} - server.hrefs
    assert all("sep+xml" in one.headers["accept"] for one in server.requests if one.method == "GET")


async def test_comm_003_der_speaks_tls_1_2_with_ccm_8_and_shows_its_certificate(der):
    """Basic security.

    Stimulus: a server with TLS 1.2 and 0xC0AE alone, which asks for a certificate.
    Required: the client walks over exactly that, as the holder of its own LFDI.
    Clause: CSIP 2.1 P8, P9, P11, P14; IEEE 2030.5-2018 6.7.
    """
    async with der.head_end() as server, der.following():
        await der.walked()
    assert {one.cipher[:2] for one in server.requests} == {(CCM_8, "TLSv1.2")}
    assert {one.peer for one in server.requests} == {der.lfdi}


@pytest.mark.parametrize("what", ["TLS 1.3 only", "another suite"])
async def test_comm_003_der_speaks_to_no_server_that_offers_less(der, what):
    """Basic security, refused.

    Stimulus: a server that has TLS 1.3 only, and one that has TLS 1.2 with a suite CSIP does not name.
    Required: no request reaches it.
    Clause: CSIP 2.1 P8, P9.
    """
    context = der.context()
    if what == "another suite":
        context.set_ciphers("ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    else:
        context.maximum_version = context.minimum_version = ssl.TLSVersion.TLSv1_3
    async with der.head_end(context=context) as server, der.following():
        await der.until(lambda: server.attempts >= 2)
    assert server.requests == []


async def assert_accepted(der, credential):
    async with der.head_end(credential) as server, der.following():
        await der.walked()
    assert server.asked("GET", "/rg$")


async def assert_refused(der, credential):
    async with der.head_end(credential) as server, der.following():
        await der.until(lambda: server.attempts >= 2)
        await der.clock.sleep(10)
    assert server.requests == []


async def test_comm_004_a_der_accepts_a_server_whose_chain_has_two_certificates(der):
    """Chain of root and server. Required: the client walks. Clause: CSIP 2.1 P12, P15; IEEE 2030.5-2018 6.11."""
    await assert_accepted(der, make_server(der.spine.root, *der.named()))


async def test_comm_004_b_der_accepts_a_server_whose_chain_has_three_certificates(der):
    """Chain of root, MICA and server. Required: the client walks. Clause: CSIP 2.1 P12; IEEE 2030.5-2018 6.11."""
    await assert_accepted(der, make_server(der.spine.mica, *der.named()))


async def test_comm_004_c_der_accepts_a_server_whose_chain_has_four_certificates(der):
    """Chain of root, MCA, MICA and server. Required: the client walks. Clause: CSIP 2.1 P12; IEEE 2030.5-2018 6.11."""
    await assert_accepted(der, make_server(mica_below_mca(der.spine.root), *der.named()))


async def test_comm_004_d_der_refuses_a_mica_with_a_critical_extended_key_usage(der):
    """Stimulus: the MICA carries extKeyUsage, critical. Required: no request. Clause: IEEE 2030.5-2018 6.11.8."""
    await assert_refused(der, make_server(bad_mica(der.spine.root, "extKeyUsage", critical=True), *der.named()))


async def test_comm_004_e_der_refuses_a_mica_with_name_constraints(der):
    """Stimulus: the MICA carries nameConstraints, not critical. Required: no request. Clause: IEEE 2030.5-2018 6.11.8."""
    await assert_refused(der, make_server(bad_mica(der.spine.root, "nameConstraints", critical=False), *der.named()))


async def test_comm_004_f_der_refuses_a_mica_with_policy_mappings(der):
    """Stimulus: the MICA carries policyMappings, not critical. Required: no request. Clause: IEEE 2030.5-2018 6.11.8."""
    await assert_refused(der, make_server(bad_mica(der.spine.root, "policyMappings", critical=False), *der.named()))


async def test_comm_004_g_der_refuses_a_self_signed_server(der):
    """Stimulus: the server's certificate is its own issuer. Required: no request. Clause: CSIP 2.1 P12, P16."""
    await assert_refused(der, self_signed())

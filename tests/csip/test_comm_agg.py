"""COMM rows, the aggregator under test: it is a client at its head-end as a DER is."""

import pytest
from bench.chains import bad_mica, mica_below_mca, self_signed
from bench.documents import Assignment, Program, mrid
from bench.scripted_server import CCM_8

from tierline.security.pki import make_server

pytestmark = pytest.mark.csip


async def test_comm_002_agg_goes_from_the_configured_address_by_links_alone(agg):
    """Out-of-band discovery.

    Stimulus: host, port and /dcap are configured; everything else lies at paths the aggregator has never seen.
    Required: its first request is GET /dcap, and it asks for no path that was not handed out to it.
    Clause: CSIP 2.1 5.1.2; IEEE 2030.5-2018 9.3, 6.2.
    """
    async with agg.head_end() as server:
        for device in server.devices[1:]:
            device.assignments = [Assignment(mrid("F1"), [Program(mrid("5E"), 10, [], {"opModMaxLimW": 8000})])]
        async with agg.aggregating():
            await agg.until(lambda: server.asked("PUT", "/e/2/.*ders$") and server.asked("POST", "/sub$"))
    assert (server.requests[0].method, server.requests[0].path) == ("GET", "/dcap")
    assert {one.path for one in server.requests} - server.hrefs <= {"/dcap"}


async def test_comm_003_agg_speaks_tls_1_2_with_ccm_8_both_ways(agg):
    """Basic security.

    Stimulus: a head-end with TLS 1.2 and 0xC0AE alone, which asks for a certificate; then it calls the aggregator's listener.
    Required: the walk goes over exactly that, under the aggregator's LFDI; the listener takes the same suite and hears nobody
    without a certificate.
    Clause: CSIP 2.1 P8-P11, P14; IEEE 2030.5-2018 6.7.
    """
    async with agg.head_end() as server, agg.aggregating(leaves=False):
        await agg.until(lambda: "/e" in server.watched())
        assert await server.tell("/e") == [204]
        anonymous = agg.anonymous()
        server.caller = anonymous
        with pytest.raises((OSError, EOFError, IndexError)):
            await server.tell("/e")
    assert {one.cipher[:2] for one in server.requests} == {(CCM_8, "TLSv1.2")}
    assert {one.peer for one in server.requests} == {agg.lfdi}


async def assert_accepted(agg, credential):
    async with agg.head_end(credential) as server, agg.aggregating(leaves=False):
        assert server.asked("GET", "^/e/2/fsa")


async def assert_refused(agg, credential):
    async with agg.head_end(credential) as server, agg.aggregating(leaves=False, walked=False):
        await agg.until(lambda: server.attempts >= 2)
        await agg.clock.sleep(10)
    assert server.requests == []


async def test_comm_004_a_agg_accepts_a_server_whose_chain_has_two_certificates(agg):
    """Chain of root and server. Required: the aggregator walks. Clause: CSIP 2.1 P12, P15; IEEE 2030.5-2018 6.11."""
    await assert_accepted(agg, make_server(agg.spine.root, *agg.named()))


async def test_comm_004_b_agg_accepts_a_server_whose_chain_has_three_certificates(agg):
    """Chain of root, MICA and server. Required: the aggregator walks. Clause: CSIP 2.1 P12; IEEE 2030.5-2018 6.11."""
    await assert_accepted(agg, make_server(agg.spine.mica, *agg.named()))


async def test_comm_004_c_agg_accepts_a_server_whose_chain_has_four_certificates(agg):
    """Chain of root, MCA, MICA and server. Required: the aggregator walks. Clause: CSIP 2.1 P12; IEEE 2030.5-2018 6.11."""
    await assert_accepted(agg, make_server(mica_below_mca(agg.spine.root), *agg.named()))


async def test_comm_004_d_agg_refuses_a_mica_with_a_critical_extended_key_usage(agg):
    """Stimulus: the MICA carries extKeyUsage, critical. Required: no request. Clause: IEEE 2030.5-2018 6.11.8."""
    await assert_refused(agg, make_server(bad_mica(agg.spine.root, "extKeyUsage", critical=True), *agg.named()))


async def test_comm_004_e_agg_refuses_a_mica_with_name_constraints(agg):
    """Stimulus: the MICA carries nameConstraints, not critical. Required: no request. Clause: IEEE 2030.5-2018 6.11.8."""
    await assert_refused(agg, make_server(bad_mica(agg.spine.root, "nameConstraints", critical=False), *agg.named()))


async def test_comm_004_f_agg_refuses_a_mica_with_policy_mappings(agg):
    """Stimulus: the MICA carries policyMappings, not critical. Required: no request. Clause: IEEE 2030.5-2018 6.11.8."""
    await assert_refused(agg, make_server(bad_mica(agg.spine.root, "policyMappings", critical=False), *agg.named()))


async def test_comm_004_g_agg_refuses_a_self_signed_server(agg):
    """Stimulus: the server's certificate is its own issuer. Required: no request. Clause: CSIP 2.1 P12, P16."""
    await assert_refused(agg, self_signed())

"""COMM rows, our server under test."""

import ssl

import pytest
from bench.chains import bad_mica, mica_below_mca, self_signed
from bench.der import BORN, NAME, OPERATOR
from bench.scripted_client import context_of, find
from bench.scripted_server import CCM_8

from tierline.model.identity import lfdi_of_certificate
from tierline.operations.serving import registry
from tierline.security.pki import make_device

pytestmark = pytest.mark.csip


async def test_comm_002_server_leads_from_its_entry_to_everything_by_links(served):
    """Out-of-band discovery.

    Stimulus: a client that knows host, port and /dcap reads every link it finds, and every link in what it finds.
    Required: each leads to a valid resource that names itself; the function sets of CSIP table 7 are among them.
    Clause: CSIP 2.1 P2, P5, 5.1.2; IEEE 2030.5-2018 9.3.
    """
    await served.control({"max_lim_w_pct": 50}, after_s=600, duration_s=60)
    read = {}
    async with served.client() as client:
        waiting = ["/dcap"]
        while waiting:
            href = waiting.pop()
            if href in read:
                continue
            answer = await client.ask("GET", f"{href}?s=0&l=255")
            read[href] = answer.status
            if answer.status == 200:
                root = await client.get(f"{href}?s=0&l=255")
                waiting += [node.get("href") for node in root.iter() if node.get("href")]
    # what the device has not put yet is not there yet
    own = {href for href, status in read.items() if status == 404}
    assert {href.rpartition("/")[2] for href in own} <= {"di", "dercap", "derg", "ders", "dera"}
    assert set(read.values()) <= {200, 404}
    kinds = {"tm", "edev", "rg", "fsa", "derp", "derc", "der", "mup", "rsps"}
    assert kinds <= {part for href in read for part in href.split("/")}


async def test_comm_003_server_speaks_tls_1_2_with_ccm_8_to_who_shows_a_certificate(served):
    """Basic security.

    Stimulus: TLS 1.2 with 0xC0AE and a certificate; then without one, with another suite, and with TLS 1.3 alone.
    Required: the first is served, on secp256r1; the others never get an answer.
    Clause: CSIP 2.1 P8, P9, P11, P12; IEEE 2030.5-2018 6.7.
    """
    async with served.client() as client:
        assert (await client.ask("GET", "/dcap")).status == 200
        assert client.tls.cipher()[:2] == (CCM_8, "TLSv1.2")
    weak, new = served.context(ciphers="ECDHE-ECDSA-AES128-SHA"), served.context()
    new.maximum_version = new.minimum_version = ssl.TLSVersion.TLSv1_3
    for context in (context_of(), weak, new):
        assert not await is_answered(served, context)


async def is_answered(served, context):
    try:
        async with served.client(context) as client:
            return (await client.ask("GET", "/dcap")).status == 200
    except (OSError, EOFError):
        return False


async def is_let_in(served, credential):
    """Register the holder of a certificate, so that the certificate alone decides, and let it ask."""
    lfdi = lfdi_of_certificate(credential.certificate_der)
    await registry.register(OPERATOR, served.state, [registry.NewDevice(lfdi=lfdi)])
    return await is_answered(served, served.holder(credential))


async def test_comm_004_a_server_lets_in_a_chain_of_two(served):
    """Chain of root and device. Required: it is served. Clause: CSIP 2.1 P12, P15; IEEE 2030.5-2018 6.11."""
    assert await is_let_in(served, make_device(served.spine.root, NAME, BORN))


async def test_comm_004_b_server_lets_in_a_chain_of_three(served):
    """Chain of root, MICA and device. Required: it is served. Clause: CSIP 2.1 P12; IEEE 2030.5-2018 6.11."""
    assert await is_let_in(served, make_device(served.spine.mica, NAME, BORN))


async def test_comm_004_c_server_lets_in_a_chain_of_four(served):
    """Chain of root, MCA, MICA and device. Required: it is served. Clause: CSIP 2.1 P12; IEEE 2030.5-2018 6.11."""
    assert await is_let_in(served, make_device(mica_below_mca(served.spine.root), NAME, BORN))


async def test_comm_004_d_server_refuses_a_mica_with_a_critical_extended_key_usage(served):
    """Stimulus: the MICA carries extKeyUsage, critical. Required: no answer. Clause: IEEE 2030.5-2018 6.11.8."""
    assert not await is_let_in(
        served, make_device(bad_mica(served.spine.root, "extKeyUsage", critical=True), NAME, BORN)
    )


async def test_comm_004_e_server_refuses_a_mica_with_name_constraints(served):
    """Stimulus: the MICA carries nameConstraints, not critical. Required: no answer. Clause: IEEE 2030.5-2018 6.11.8."""
    assert not await is_let_in(
        served, make_device(bad_mica(served.spine.root, "nameConstraints", critical=False), NAME, BORN)
    )


async def test_comm_004_f_server_refuses_a_mica_with_policy_mappings(served):
    """Stimulus: the MICA carries policyMappings, not critical. Required: no answer. Clause: IEEE 2030.5-2018 6.11.8."""
    assert not await is_let_in(
        served, make_device(bad_mica(served.spine.root, "policyMappings", critical=False), NAME, BORN)
    )


async def test_comm_004_g_server_refuses_a_self_signed_device(served):
    """Stimulus: a certificate that is its own issuer. Required: no answer. Clause: CSIP 2.1 P12, P16."""
    assert not await is_let_in(served, self_signed())


async def test_comm_004_server_refuses_who_is_not_registered(served):
    """Stimulus: a good certificate whose LFDI nobody enrolled. Required: no resource. Clause: CSIP 2.1 P17-P19."""
    stranger = served.holder(make_device(served.spine.mica, NAME, BORN))
    assert not await is_answered(served, stranger)
    async with served.client() as client:
        assert find(await client.get("/dcap"), "EndDeviceListLink") is not None

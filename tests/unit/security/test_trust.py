from datetime import timedelta

import pytest

from tierline.model.errors import ConfigError
from tierline.security.pki import make_device, make_mica, make_serca
from tierline.security.trust import ChainTrust, MemoryVerdicts


@pytest.fixture
def verdicts():
    return MemoryVerdicts()


@pytest.fixture
def trust(pki, verdicts):
    return ChainTrust([pki.serca.certificate_der], generation=1, verdicts=verdicts)


def judge(trust, credential, now, *, resumed=False):
    return trust.judge(credential.certificate_der, None if resumed else credential.chain_der, now)


def test_a_good_chain_gives_its_holder_an_identity(pki, trust):
    verdict = judge(trust, pki.device, pki.now)
    assert verdict.ok
    assert verdict.lfdi == pki.device.lfdi


def test_a_resumed_session_without_a_verdict_is_refused(pki, trust):
    assert not judge(trust, pki.device, pki.now, resumed=True).ok


def test_a_resumed_session_with_a_verdict_is_accepted(pki, trust):
    judge(trust, pki.device, pki.now)
    assert judge(trust, pki.device, pki.now, resumed=True) == judge(trust, pki.device, pki.now)


def test_a_verdict_of_another_trust_generation_does_not_count(pki, trust, verdicts):
    judge(trust, pki.device, pki.now)
    newer = ChainTrust([pki.serca.certificate_der], generation=2, verdicts=verdicts)
    assert newer.generation == 2
    assert not judge(newer, pki.device, pki.now, resumed=True).ok


def test_a_refused_chain_stays_refused_on_resumption_and_says_why(pki, trust):
    mca_issued = make_device(pki.mca, pki.hardware, pki.born)
    first = judge(trust, mca_issued, pki.now)
    assert not first.ok
    assert first.lfdi is None
    assert "MICAs only" in first.reason
    assert judge(trust, mca_issued, pki.now, resumed=True) == first


def test_a_good_verdict_does_not_cover_another_chain_of_the_same_leaf(pki, trust):
    judge(trust, pki.device, pki.now)
    other = make_mica(pki.serca, "MICA", pki.born)
    forged = (pki.device.certificate_der, other.certificate_der, pki.serca.certificate_der)
    assert not trust.judge(pki.device.certificate_der, forged, pki.now).ok


def test_a_bad_chain_shown_once_does_not_lock_the_good_one_out(pki, trust):
    assert not trust.judge(pki.device.certificate_der, (), pki.now).ok
    assert judge(trust, pki.device, pki.now).ok


def test_a_stored_verdict_ends_with_the_validity_of_its_chain(pki, verdicts):
    root = make_serca("short SERCA", pki.born, demo=False, not_after=pki.now)
    trust = ChainTrust([root.certificate_der], generation=1, verdicts=verdicts)
    device = make_device(make_mica(root, "MICA", pki.born), pki.hardware, pki.born)
    assert judge(trust, device, pki.now).ok
    later = judge(trust, device, pki.now + timedelta(seconds=1), resumed=True)
    assert not later.ok
    assert "expired" in later.reason


def test_a_chain_that_begins_with_somebody_else_is_refused(pki, trust):
    assert not trust.judge(pki.aggregator.certificate_der, pki.device.chain_der, pki.now).ok


def test_the_demo_is_refused_outside_the_demo_even_below_a_trusted_root(pki, verdicts):
    demo_root = make_serca("demo", pki.born, demo=True)
    with pytest.raises(ConfigError, match="demo"):
        ChainTrust([demo_root.certificate_der], generation=1, verdicts=verdicts)


def test_the_demo_trusts_itself(pki, verdicts):
    root = make_serca("demo", pki.born, demo=True)
    trust = ChainTrust([root.certificate_der], generation=1, verdicts=verdicts, demo=True)
    assert judge(trust, make_device(make_mica(root, "MICA", pki.born), pki.hardware, pki.born), pki.now).ok


def test_trust_needs_an_anchor(verdicts):
    with pytest.raises(ConfigError, match="anchor"):
        ChainTrust([], generation=1, verdicts=verdicts)


def test_memory_is_bounded_and_forgets_the_oldest(pki):
    small = MemoryVerdicts(capacity=1)
    trust = ChainTrust([pki.serca.certificate_der], generation=1, verdicts=small)
    judge(trust, pki.device, pki.now)
    judge(trust, pki.aggregator, pki.now)
    assert not judge(trust, pki.device, pki.now, resumed=True).ok
    assert judge(trust, pki.aggregator, pki.now, resumed=True).ok

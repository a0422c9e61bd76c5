"""The judge of peers: who may be believed, remembered for the connections that show no chain.

A resumed TLS session shows the peer's certificate but no chain, so the verdict of the first full handshake is kept by
(leaf fingerprint, trust generation). Changing the anchors raises the generation and makes every older verdict void.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from tierline.model.errors import ConfigError, PeerError
from tierline.model.identity import lfdi_of_certificate
from tierline.ports import Verdict
from tierline.security.chain import check_chain
from tierline.security.pki import is_demo_chain


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVerdict:
    """What was found out about a leaf when its chain was last seen."""

    ok: bool
    reason: str
    chain_sha256: str
    """Of the chain that was judged: the same chain need not be judged twice."""

    depth: int
    valid_from: datetime
    valid_until: datetime


class VerdictStore(Protocol):
    """Where verdicts are kept: shared by all that accept connections with the same session tickets."""

    def verdict(self, leaf_sha256: str, generation: int) -> StoredVerdict | None:
        """Find the verdict on a leaf under one generation of anchors."""
        ...

    def keep(self, leaf_sha256: str, generation: int, verdict: StoredVerdict) -> None:
        """Keep a verdict."""
        ...


class MemoryVerdicts:
    """Verdicts of one process; the oldest goes when it is full, which costs that peer one full handshake."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._kept: OrderedDict[tuple[str, int], StoredVerdict] = OrderedDict()

    def verdict(self, leaf_sha256: str, generation: int) -> StoredVerdict | None:
        """Find the verdict on a leaf under one generation of anchors."""
        return self._kept.get((leaf_sha256, generation))

    def keep(self, leaf_sha256: str, generation: int, verdict: StoredVerdict) -> None:
        """Keep a verdict."""
        self._kept[leaf_sha256, generation] = verdict
        self._kept.move_to_end((leaf_sha256, generation))
        if len(self._kept) > self._capacity:
            self._kept.popitem(last=False)


class ChainTrust:
    """Trust in the chains below a set of anchors: the `PeerTrust` of a node."""

    def __init__(
        self, anchors_der: Sequence[bytes], *, generation: int, verdicts: VerdictStore, demo: bool = False
    ) -> None:
        """Trust these anchors; `demo` admits the certificates of the demo, which are refused otherwise.

        Raises: ConfigError when there is no anchor, or one of the demo outside the demo.
        """
        if not anchors_der:
            raise ConfigError("no trust anchor is configured: name at least one SERCA certificate")
        if not demo and is_demo_chain(anchors_der):
            raise ConfigError("a trust anchor was made for the demo and is refused outside it: use your own SERCA")
        self._anchors = frozenset(anchors_der)
        self._generation = generation
        self._verdicts = verdicts
        self._demo = demo

    @property
    def generation(self) -> int:
        """The generation of anchors; raised by whoever changes them."""
        return self._generation

    def judge(self, leaf_der: bytes, chain_der: Sequence[bytes] | None, now: datetime) -> Verdict:
        """Judge a peer; without a chain (a resumed session) only a stored positive verdict helps."""
        fingerprint = hashlib.sha256(leaf_der).hexdigest()
        stored = self._verdicts.verdict(fingerprint, self._generation)
        if chain_der is not None:
            digest = _chain_sha256(chain_der)
            if stored is None or not stored.ok or stored.chain_sha256 != digest:
                stored = self._judge_chain(leaf_der, chain_der, digest, now)
                self._verdicts.keep(fingerprint, self._generation, stored)
        if stored is None:
            return Verdict(ok=False, lfdi=None, reason="resumed session without a verdict of this trust generation")
        if stored.ok and not stored.valid_from <= now <= stored.valid_until:
            return Verdict(ok=False, lfdi=None, reason=f"a certificate of its chain expired at {stored.valid_until}")
        return Verdict(ok=stored.ok, lfdi=lfdi_of_certificate(leaf_der) if stored.ok else None, reason=stored.reason)

    def _judge_chain(self, leaf_der: bytes, chain_der: Sequence[bytes], digest: str, now: datetime) -> StoredVerdict:
        try:
            checked = check_chain(chain_der, self._anchors, now)
        except PeerError as error:
            return _refused(str(error), len(chain_der), digest, now)
        if chain_der[0] != leaf_der:
            return _refused("the chain does not begin with the peer's certificate", checked.depth, digest, now)
        if not self._demo and is_demo_chain(chain_der):
            return _refused("made for the demo, refused outside it", checked.depth, digest, now)
        return StoredVerdict(
            ok=True,
            reason="",
            chain_sha256=digest,
            depth=checked.depth,
            valid_from=checked.valid_from,
            valid_until=checked.valid_until,
        )


def _refused(reason: str, depth: int, digest: str, now: datetime) -> StoredVerdict:
    return StoredVerdict(ok=False, reason=reason, chain_sha256=digest, depth=depth, valid_from=now, valid_until=now)


def _chain_sha256(chain_der: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for certificate in chain_der:
        digest.update(hashlib.sha256(certificate).digest())
    return digest.hexdigest()

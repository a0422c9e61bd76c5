import runpy
from pathlib import Path

import pytest

from tierline.model.errors import ConfigError
from tierline.model.identity import ChannelId, Lfdi
from tierline.model.records import KnownRecord
from tierline.node.compose import Databases, compose, prepare
from tierline.node.config import parse_config
from tierline.protocols.sep2.transport import Peer

Spine = runpy.run_path(str(Path(__file__).parents[2] / "spine.py"))["Spine"]
SERVER = Lfdi("AA" * 20)
SERVING = """
[identity]
pen = 40732
[serve.sep2]
listen = ["127.0.0.1:0"]
"""
LISTENER = """
[listener]
listen = "127.0.0.1:9443"
uri = "https://192.0.2.20:9443"
"""


@pytest.fixture(scope="module")
def spine(tmp_path_factory):
    return Spine(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def start(spine, tmp_path):
    """Compose the node anew over its state, as after a restart."""
    opened = []

    async def make(more=LISTENER):
        text = spine.common("utility", 3, "utility") + f"[store]\npath = '{tmp_path}/t.db'\n" + SERVING + more
        opened.append(Databases())
        node = compose(parse_config(text, spine.folder / "utility.toml"), opened[-1])
        await prepare(node)
        return node

    yield make
    for databases in opened:
        databases.close()


async def test_a_node_with_a_listener_listens_where_it_is_told(start):
    node = await start()
    assert node.listening.listen == ("127.0.0.1", 9443)
    uri = node.listening.notices.register(ChannelId("utility"), SERVER, lambda _: None)
    assert uri.startswith("https://192.0.2.20:9443/ntfy/")


async def test_a_node_without_one_does_not(start):
    assert (await start("")).listening is None


async def test_the_paths_are_the_same_after_a_restart_although_the_seed_is_too(start, tmp_path):
    uris = []
    for _ in range(2):
        node = await start()
        uris.append(node.listening.notices.register(ChannelId("utility"), SERVER, lambda _: None))
    assert uris[0] == uris[1]
    (secret,) = [record for record in node.store.load(KnownRecord) if record.name == "listener/secret"]
    assert len(secret.value) == 64
    (tmp_path / "t.db").rename(tmp_path / "old.db")
    other = (await start()).listening.notices.register(ChannelId("utility"), SERVER, lambda _: None)
    assert other != uris[0]


async def test_only_the_servers_we_wait_for_are_let_in(start):
    listening = (await start()).listening
    listening.notices.register(ChannelId("utility"), SERVER, lambda _: None)
    authorise = listening.http._service.authorise
    assert authorise(Peer(lfdi=SERVER, fingerprint="", address=""))
    assert not authorise(Peer(lfdi=Lfdi("BB" * 20), fingerprint="", address=""))


async def test_a_uri_that_servers_cannot_use_is_refused(start):
    with pytest.raises(ConfigError, match=r"\[listener\] uri"):
        await start(LISTENER.replace("https://192", "http://192"))


def test_a_listener_needs_certificates():
    text = '[node]\nname = "g"\nlevel = 3\nparty = "p"\n[[south]]\nprotocol = "sunspec"\naddress = "127.0.0.1:1"\n'
    with pytest.raises(ConfigError, match=r"g\.toml:8: listener: \[tls\] is missing"):
        parse_config(text + LISTENER.strip(), Path("g.toml"))

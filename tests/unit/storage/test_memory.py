from tierline.model.records import KnownRecord
from tierline.storage.memory import MemoryStore


def test_closing_keeps_what_it_holds(samples):
    store = MemoryStore()
    store.apply(samples, ())
    store.close()
    assert len(store.load(KnownRecord)) == 1

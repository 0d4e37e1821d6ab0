"""Every method of the name server from a stock Pyro4 client: python pyro4_client.py HOST PORT SERIALIZER COMPRESSION"""

import sys

import Pyro4
import Pyro4.core
from Pyro4.errors import CommunicationError, NamingError, PyroError

from common import refused

HOST, PORT, SERIALIZER, COMPRESSION = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4] == "True"
Pyro4.config.SERIALIZER = SERIALIZER
Pyro4.config.COMPRESSION = COMPRESSION
OWN = f"PYRO:Pyro.NameServer@{HOST}:{PORT}"
CLASS = "class:Pyro4.naming.NameServer"
URI = Pyro4.core.URI

ns = Pyro4.locateNS(HOST, PORT)
assert ns._pyroMethods == {"count", "list", "lookup", "ping", "register", "remove", "set_metadata"}, ns._pyroMethods
assert ns.ping() is None
ns.remove(prefix="f.")
assert ns.count() == 1 and ns.list() == {"Pyro.NameServer": OWN}
uri, tags = ns.lookup("Pyro.NameServer", return_metadata=True)
assert (uri, tags) == (URI(OWN), [CLASS])

ns.register("f.one", "PYRO:obj@127.0.0.1:4444", metadata=["x", "y"])
ns.register("f.two", URI("PYRO:o@h:1"), safe=True)
assert ns.lookup("f.one") == URI("PYRO:obj@127.0.0.1:4444")
assert [URI("PYRO:obj@127.0.0.1:4444"), ["x", "y"]] == list(ns.lookup("f.one", return_metadata=True))
assert [list(pair) for pair in ns.list(prefix="f.", return_metadata=True).values()] == [
    ["PYRO:obj@127.0.0.1:4444", ["x", "y"]], ["PYRO:o@h:1", []]]
assert ns.list(regex="f.t") == {"f.two": "PYRO:o@h:1"}
assert set(ns.list(metadata_all=["x", "y"])) == {"f.one"} and ns.list(metadata_all=["x", "z"]) == {}
assert set(ns.list(metadata_any=["x", "z"])) == {"f.one"}
refused(lambda: ns.lookup("f.none"), NamingError, "unknown name: f.none")
refused(lambda: ns.register("f.one", "PYRO:x@h:1", safe=True), NamingError, "name already registered: f.one")
refused(lambda: ns.register("f.x", "PYROX:x@h:1"), PyroError, "invalid uri (protocol)")
refused(lambda: ns.list(prefix="f", regex=""), ValueError, "you can only filter on one thing at a time")
refused(lambda: ns.list(metadata_all="x"), TypeError,
        "metadata_all should not be a str, but another iterable (set, list, etc)")
refused(lambda: ns.list(regex="("), NamingError, "invalid regex: missing ), unterminated subpattern at position 0")
ns.set_metadata("f.two", ["t"])
assert ns.lookup("f.two", return_metadata=True)[1] == ["t"]

batch = Pyro4.batch(ns)
batch.count()
batch.lookup("f.none")
batch.count()
results = batch()
assert next(results) == 3
refused(lambda: next(results), NamingError, "unknown name: f.none")
batch = Pyro4.batch(ns)
batch.register("f.oneway", "PYRO:x@h:1")
assert batch(oneway=True) is None
assert ns.lookup("f.oneway") == URI("PYRO:x@h:1")

with Pyro4.Proxy(f"PYRO:Pyro.Daemon@{HOST}:{PORT}") as daemon:
    assert sorted(daemon.registered()) == ["Pyro.Daemon", "Pyro.NameServer"]
    assert "lookup" in daemon.get_metadata("Pyro.NameServer")["methods"]

Pyro4.config.METADATA = False
with Pyro4.locateNS(HOST, PORT) as bare:
    assert bare.count() == 4
    bare._pyroMethods = set()
    refused(lambda: bare.yplookup(["x"]), AttributeError, "'NameServer' object has no attribute 'yplookup'")
Pyro4.config.METADATA = True

for serializer, number in (("marshal", 3), ("pickle", 4)):
    Pyro4.config.SERIALIZER = serializer
    refused(lambda: Pyro4.Proxy(OWN)._pyroBind(), CommunicationError,
            f"connection to ('{HOST}', {PORT}) rejected: "
            f"serializer {number} is not supported here: use serpent, json or msgpack")
Pyro4.config.SERIALIZER = SERIALIZER

# An unknown name passes on to the next argument.
assert ns.remove("f.none", prefix="f.o") == 2 and ns.remove(regex="f.*") == 1 and ns.remove("f.none") == 0
assert ns.remove("Pyro.NameServer") == 0 and ns.count() == 1
ns._pyroSeq = 0xFFFE
for _ in range(4):
    assert ns.count() == 1
print("ok")

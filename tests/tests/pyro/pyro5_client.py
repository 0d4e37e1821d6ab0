"""Every method of the name server from a stock Pyro5 client: python pyro5_client.py HOST PORT SERIALIZER COMPRESSION"""

import sys

import Pyro5
import Pyro5.api
import Pyro5.client
import Pyro5.core
from Pyro5.errors import CommunicationError, DaemonError, NamingError, PyroError, SerializeError

from common import refused

HOST, PORT, SERIALIZER, COMPRESSION = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4] == "True"
Pyro5.config.SERIALIZER = SERIALIZER
Pyro5.config.COMPRESSION = COMPRESSION
OWN = f"PYRO:Pyro.NameServer@{HOST}:{PORT}"
CLASS = "class:Pyro5.nameserver.NameServer"
URI = Pyro5.core.URI
# JSON and msgpack have neither sets nor tuples.
sets, tuples = (lambda tags: set(tags), tuple) if SERIALIZER == "serpent" else (sorted, list)


def tagged(pair):
    uri, tags = pair
    return (uri, set(tags))


ns = Pyro5.api.locate_ns(HOST, PORT)
assert str(ns._pyroUri) == OWN
assert ns._pyroMethods == {
    "count", "list", "lookup", "ping", "register", "remove", "set_metadata", "yplookup"}, ns._pyroMethods
assert ns._pyroOneway == set() and ns._pyroAttrs == set()
assert ns.ping() is None
ns.remove(prefix="t.")
assert ns.count() == 1 and ns.list() == {"Pyro.NameServer": OWN}
assert tagged(ns.lookup("Pyro.NameServer", True)) == (URI(OWN), {CLASS})

# register and lookup
assert ns.register("t.one", "PYRO:obj@127.0.0.1:4444") is None
assert ns.lookup("t.one") == URI("PYRO:obj@127.0.0.1:4444")
assert ns.lookup(name="t.one", return_metadata=False) == URI("PYRO:obj@127.0.0.1:4444")
assert type(ns.lookup("t.one", return_metadata=True)) is tuples
assert tagged(ns.lookup("t.one", return_metadata=True)) == (URI("PYRO:obj@127.0.0.1:4444"), set())
ns.register(name="t.two", uri=URI("PYRO:Obj_é@[::1]:1"), safe=True, metadata=["b", "a", "a"])
assert ns.lookup("t.two") == URI("PYRO:Obj_é@[::1]:1")
assert tagged(ns.lookup("t.two", True)) == (URI("PYRO:Obj_é@[::1]:1"), {"a", "b"})
if SERIALIZER == "serpent":
    ns.register("t.two", "PYRO:Obj_é@[::1]:1", metadata={"a", "b"})
# Kept as written, also what points nowhere.
for text in ("pyro:o@h:0", "PYRO:o@./u:/tmp/sock", "PYRONAME:n", "PYRONAME:n@h:1", "PYROMETA:a,b@h"):
    ns.register("t.odd", text)
    assert ns.list(prefix="t.odd") == {"t.odd": text}, text
    # Pyro's own loses PYROMETA's set of tags here, too: JSON and msgpack make a list of it.
    if SERIALIZER == "serpent" or not text.startswith("PYROMETA"):
        assert ns.lookup("t.odd") == URI(text), text
ns.remove("t.odd")
strange = "My Object 'quoted' \"twice\" \\ \n\t é \u200b \U0001f600"
ns.register(strange, "PYRO:o@h:1", metadata=[strange])
assert tagged(ns.lookup(strange, True)) == (URI("PYRO:o@h:1"), {strange})
assert ns.list(prefix="My ") == {strange: "PYRO:o@h:1"}
assert ns.remove(strange) == 1

# refusals
refused(lambda: ns.lookup("t.none"), NamingError, "unknown name: t.none")
refused(lambda: ns.lookup(7), TypeError, "name must be a str")
refused(lambda: ns.register("t.one", "PYRO:x@h:1", safe=True), NamingError, "name already registered: t.one")
refused(lambda: ns.register("t.one", "PYRO:obj@127.0.0.1:4444", safe=True), NamingError,
        "name already registered: t.one")
refused(lambda: ns.register("t.x", 5555), TypeError, "only URIs or strings can be registered")
refused(lambda: ns.register(4444, "PYRO:x@h:1"), TypeError, "name must be a str")
refused(lambda: ns.register("t.x", "PYRO:x@h:1", metadata="tag"), TypeError,
        "metadata should not be a str, but another iterable (set, list, etc)")
refused(lambda: ns.register("t.x", "PYRO:x@h:1", metadata=7), TypeError, "'int' object is not iterable")
refused(lambda: ns.register("", "PYRO:x@h:1"), NamingError, "a name has 1 to 1024 bytes, not 0")
for uri, text in (
        ("nothing", "invalid uri"), ("PYRO:a b@h:1", "invalid uri"), ("PYRO:a", "invalid uri"),
        ("PYROX:a@b:1", "invalid uri (protocol)"), ("PYROLOC:a@b:1", "invalid uri (protocol)"),
        ("PYRO:a@./u:", "invalid uri (location)"), ("PYRO:a@./u:x:1", "invalid uri (location)"),
        ("PYRO:a@h", "invalid port in uri, port=None"), ("PYRO:a@h:x", "invalid port in uri, port=x"),
        ("PYRO:a@[[::1]]:1", "invalid ipv6 address: enclosed in too many brackets"),
        ("PYRO:a@[zz]:1", "invalid ipv6 address: the part between brackets must be a numeric ipv6 address")):
    refused(lambda: ns.register("t.x", uri), PyroError, text)
    try:
        URI(uri)
        raise AssertionError(uri)
    except PyroError as stock:
        assert str(stock) == text, (stock, text)
refused(lambda: ns.lookup(), TypeError, "lookup() missing 1 required positional argument: 'name'")
refused(lambda: ns.register(), TypeError, "register() missing 2 required positional arguments: 'name' and 'uri'")
refused(lambda: ns.lookup("a", True, 3), TypeError, "lookup() takes from 2 to 3 positional arguments but 4 were given")
refused(lambda: ns.count(1), TypeError, "count() takes 1 positional argument but 2 were given")
refused(lambda: ns.lookup("a", nome=1), TypeError, "lookup() got an unexpected keyword argument 'nome'")
refused(lambda: ns.lookup("a", name="a"), TypeError, "lookup() got multiple values for argument 'name'")
error = refused(lambda: ns.lookup("t.none"), NamingError, "unknown name: t.none")
assert "name server" in "".join(error._pyroTraceback)


class Thing:
    pass


refused(lambda: ns.register("t.x", Thing()), SerializeError, "unsupported serialized class: __main__.Thing")

# set_metadata
ns.set_metadata("t.one", ["x", "y"])
assert tagged(ns.lookup("t.one", True))[1] == {"x", "y"}
ns.register("t.one", "PYRO:obj@127.0.0.1:4444")
assert tagged(ns.lookup("t.one", True))[1] == set(), "registering again replaces"
ns.set_metadata(name="t.one", metadata=["x", "y"])
refused(lambda: ns.set_metadata("t.none", ["x"]), NamingError, "unknown name: t.none")
refused(lambda: ns.set_metadata("t.one", "x"), TypeError,
        "metadata should not be a str, but another iterable (set, list, etc)")
ns.register("Pyro.NameServer", "PYRO:thief@h:1")
ns.set_metadata("Pyro.NameServer", [])
assert tagged(ns.lookup("Pyro.NameServer", True)) == (URI(OWN), {CLASS})

# list
assert ns.list("t.") == {"t.one": "PYRO:obj@127.0.0.1:4444", "t.two": "PYRO:Obj_é@[::1]:1"}
assert ns.list(prefix="T.") == {} and ns.list(prefix="t%") == {}
assert ns.list(regex="t.t") == {"t.two": "PYRO:Obj_é@[::1]:1"}
assert ns.list(regex="two") == {} and len(ns.list(regex=r".*o$")) == 1
assert len(ns.list(regex=r"(?!t\.one)t\.")) == 1 and len(ns.list(regex=r"(?P<c>t)\.(?P=c)wo")) == 1
assert len(ns.list(regex=r"x)|(?:t".replace("x)|(?:", ""))) == 2
assert {name: tagged(pair) for name, pair in ns.list(return_metadata=True).items()} == {
    "Pyro.NameServer": (OWN, {CLASS}), "t.one": ("PYRO:obj@127.0.0.1:4444", {"x", "y"}),
    "t.two": ("PYRO:Obj_é@[::1]:1", {"a", "b"})}
assert list(ns.list()) == sorted(ns.list()), "in the order of names"
assert ns.list(prefix="", regex=None) == ns.list()
refused(lambda: ns.list(prefix="a", regex="b"), ValueError, "you can only filter on one thing at a time")
for regex, text in (("(", "missing ), unterminated subpattern at position 0"), ("*", "nothing to repeat at position 0"),
                    ("[a", "unterminated character set at position 0"), ("a(b", "missing ), unterminated subpattern at position 1")):
    refused(lambda: ns.list(regex=regex), NamingError, "invalid regex: " + text)
refused(lambda: ns.list(regex="a" * 257), NamingError, "invalid regex: it has 257 bytes, 256 are taken")
ns.register("t." + "a" * 200, "PYRO:x@h:1")
refused(lambda: ns.list(regex=r"(?:(t|.a*)*\1)*b"), NamingError, "invalid regex: too expensive")
ns.remove("t." + "a" * 200)

# yplookup
assert set(ns.yplookup(meta_all=["x"])) == {"t.one"} and set(ns.yplookup(meta_all=["x", "a"])) == set()
assert {name: tagged(pair) for name, pair in ns.yplookup(["x", "y"]).items()} == {
    "t.one": ("PYRO:obj@127.0.0.1:4444", {"x", "y"})}
assert ns.yplookup(meta_any=["x", "a"], return_metadata=False) == {
    "t.one": "PYRO:obj@127.0.0.1:4444", "t.two": "PYRO:Obj_é@[::1]:1"}
assert ns.yplookup(meta_any=[CLASS], return_metadata=False) == {"Pyro.NameServer": OWN}
assert ns.yplookup() == {} and ns.yplookup([], []) == {}
refused(lambda: ns.yplookup(["a"], ["b"]), ValueError, "you can't use meta_all or meta_any at the same time")
refused(lambda: ns.yplookup("a"), TypeError, "metadata_all should not be a str, but another iterable (set, list, etc)")
refused(lambda: ns.yplookup(meta_any="a"), TypeError,
        "metadata_any should not be a str, but another iterable (set, list, etc)")

# batch and oneway
batch = Pyro5.client.BatchProxy(ns)
batch.count()
batch.lookup("t.one")
batch.lookup("t.none")
batch.register("t.never", "PYRO:x@h:1")
results = batch()
assert next(results) == 3 and next(results) == URI("PYRO:obj@127.0.0.1:4444")
refused(lambda: next(results), NamingError, "unknown name: t.none")
refused(lambda: ns.lookup("t.never"), NamingError, "unknown name: t.never")
batch = Pyro5.client.BatchProxy(ns)
batch.register("t.first", "PYRO:x@h:1")
batch.register("t.first", "PYRO:x@h:2")
batch.register("Pyro.NameServer", "PYRO:x@h:3")
batch.register("t.second", "PYRO:x@h:4")
batch.register("t.first", "PYRO:x@h:5", safe=True)
batch.register("t.third", "PYRO:x@h:6")
results = batch()
assert [next(results) for _ in range(4)] == [None] * 4
refused(lambda: next(results), NamingError, "name already registered: t.first")
assert ns.lookup("t.first") == URI("PYRO:x@h:2")
assert ns.remove("t.first") == 1 and ns.remove("t.second") == 1
refused(lambda: ns.lookup("t.third"), NamingError, "unknown name: t.third")
batch = Pyro5.client.BatchProxy(ns)
batch.register("t.batched", "PYRO:x@h:1")
batch.undreamt()
refused(batch, AttributeError, "'NameServer' object has no attribute 'undreamt'")
assert ns.remove("t.batched") == 1
batch = Pyro5.client.BatchProxy(ns)
batch.register("t.oneway", "PYRO:x@h:1")
batch.lookup("t.none")
assert batch(oneway=True) is None
assert ns.lookup("t.oneway") == URI("PYRO:x@h:1")
ns._pyroOneway.add("remove")
assert ns.remove("t.oneway") is None
ns._pyroOneway.clear()
refused(lambda: ns.lookup("t.oneway"), NamingError, "unknown name: t.oneway")

# what there is not
ns._pyroMethods.update({"undreamt", "_private"})
ns._pyroAttrs.add("storage")
refused(lambda: ns.undreamt(), AttributeError, "'NameServer' object has no attribute 'undreamt'")
refused(lambda: ns._private(), AttributeError, "attempt to access private attribute '_private'")
refused(lambda: ns.storage, AttributeError, "attempt to access unexposed or unknown remote attribute 'storage'")

# the daemon
with Pyro5.client.Proxy(f"PYRO:Pyro.Daemon@{HOST}:{PORT}") as daemon:
    assert daemon.ping() is None
    assert sorted(daemon.registered()) == ["Pyro.Daemon", "Pyro.NameServer"]
    assert f"{OWN}, 3 names" in daemon.info(), daemon.info()
    assert set(daemon.get_metadata("Pyro.NameServer")["methods"]) >= {"yplookup", "lookup"}
    refused(lambda: daemon.get_metadata("x"), DaemonError, "unknown object")
    refused(lambda: daemon.get_next_stream_item("x"), PyroError, "item stream terminated")
    assert daemon.close_stream("x") is None
refused(lambda: Pyro5.client.Proxy(f"PYRO:undreamt@{HOST}:{PORT}")._pyroBind(), CommunicationError,
        f"connection to ('{HOST}', {PORT}) rejected: unknown object")

# what is not spoken here
Pyro5.config.SERIALIZER = "marshal"
refused(lambda: Pyro5.client.Proxy(OWN)._pyroBind(), CommunicationError,
        f"connection to ('{HOST}', {PORT}) rejected: "
        "serializer 2 is not supported here: use serpent, json or msgpack")
Pyro5.config.SERIALIZER = SERIALIZER

# remove
assert ns.remove("t.none") == 0 and ns.remove() == 0 and ns.remove(5) == 0
assert ns.remove("Pyro.NameServer") == 0 and ns.remove(prefix="Pyro") == 0 and ns.remove(regex="Pyro.*") == 0
assert ns.remove(regex="t.t") == 1 and ns.remove(name=None, prefix="t.") == 1
assert ns.count() == 1

# the sequence wraps
ns._pyroSeq = 0xFFFE
for _ in range(4):
    assert ns.count() == 1
print("ok")

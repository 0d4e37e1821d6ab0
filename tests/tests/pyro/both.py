"""A stock Pyro5 client beside a native system: python both.py HOST PORT REPLICA_ADDRESS"""

import sys

import Pyro5.api
from Pyro5.errors import NamingError

from common import refused

host, port, replica = sys.argv[1], int(sys.argv[2]), sys.argv[3]
ns = Pyro5.api.locate_ns(host, port)
names = ns.list(return_metadata=True)
assert {"Pyro.NameServer", "just.hungry", "replica.1"} <= set(names), names
uri, tags = names["replica.1"]
assert uri.startswith("PYRO:") and uri.endswith("@" + replica), (uri, replica)
assert "contract:replica" in tags, tags
assert ns.lookup("just.hungry").location in {u.rsplit("@")[1] for u, _ in names.values()}
assert "replica.1" in ns.yplookup(meta_all={"contract:replica"})

held = "name is held by a lease: replica.1"
refused(lambda: ns.register("replica.1", "PYRO:thief@127.0.0.1:1"), NamingError, held)
refused(lambda: ns.register("replica.1", "PYRO:thief@127.0.0.1:1", safe=True), NamingError,
        "name already registered: replica.1")
refused(lambda: ns.set_metadata("replica.1", {"stolen"}), NamingError, held)
refused(lambda: ns.remove("replica.1"), NamingError, held)
refused(lambda: ns.register("just.hungry", "PYRO:thief@127.0.0.1:1"), NamingError, "name is held by a lease: just.hungry")
assert ns.remove(prefix="replica.") == 0 and ns.remove(regex=".*") == 0
assert ns.list() == {name: uri for name, (uri, _) in names.items()}
ns.register("Python Object", "PYRO:obj@127.0.0.1:4444", metadata={"from": "python"})
print("ok")

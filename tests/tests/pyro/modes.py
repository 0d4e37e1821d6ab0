"""What --pyro read-only and off say: python modes.py HOST PORT read-only|off"""

import sys

import Pyro5.api
import Pyro5.client
from Pyro5.errors import CommunicationError, NamingError

from common import refused

host, port, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
if mode == "off":
    refused(lambda: Pyro5.client.Proxy(f"PYRO:Pyro.NameServer@{host}:{port}")._pyroBind(), CommunicationError,
            f"connection to ('{host}', {port}) rejected: this name server takes no Pyro clients (--pyro off)")
else:
    ns = Pyro5.api.locate_ns(host, port)
    assert ns.count() == 1
    for change in (lambda: ns.register("a", "PYRO:o@h:1"), lambda: ns.set_metadata("a", []), lambda: ns.remove("a")):
        refused(change, NamingError, "name server is read-only for Pyro clients")
print("ok")

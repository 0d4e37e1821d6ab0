"""Finds a name server by broadcast: python discovery.py BROADCAST_ADDRESS DISCOVERY_PORT URI"""

import sys

import Pyro4
import Pyro5
import Pyro5.api

broadcast, port, uri = sys.argv[1], int(sys.argv[2]), sys.argv[3]
# Nobody listens at that port of ours: the broadcast decides.
for config in (Pyro5.config, Pyro4.config):
    config.BROADCAST_ADDRS = [broadcast] if config is Pyro5.config else broadcast
    config.NS_BCPORT = port
    config.NS_PORT = 1
with Pyro5.api.locate_ns() as ns:
    assert str(ns._pyroUri) == uri, ns._pyroUri
    ns.ping()
with Pyro4.locateNS() as ns:
    assert str(ns._pyroUri) == uri, ns._pyroUri
    ns.ping()
print("ok")

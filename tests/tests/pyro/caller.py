"""Calls an object by a URI that a name server resolves, once per line of input: python caller.py 5|4 HOST PORT URI"""

import sys

which, host, port, uri = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
if which == "5":
    import Pyro5
    import Pyro5.api as Pyro
    config, lost = Pyro5.config, Pyro5.errors.CommunicationError
else:
    import Pyro4 as Pyro
    config, lost = Pyro.config, Pyro.errors.CommunicationError
config.NS_HOST, config.NS_PORT = host, port
proxy = Pyro.Proxy(uri)
print("ready")
for line in sys.stdin:
    try:
        print(proxy.greet(line.strip()))
    except lost:
        print("lost")

"""Pyro5's own name server, for comparison: python stock_ns.py; says its port when it serves."""

import Pyro5
import Pyro5.nameserver

# It takes no more connections than this; the default is 80.
Pyro5.config.THREADPOOL_SIZE = 200
uri, daemon, _ = Pyro5.nameserver.start_ns("127.0.0.1", 0, enableBroadcast=False)
print(uri.port)
daemon.requestLoop()

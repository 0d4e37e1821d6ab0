"""A stock Pyro object under a name: python server.py 5|4 HOST PORT NAME TAG WORD; says its URI when it serves."""

import sys

which, host, port, name, tag, word = sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:]
if which == "5":
    import Pyro5.api as Pyro
    locate = Pyro.locate_ns
else:
    import Pyro4 as Pyro
    locate = Pyro.locateNS


@Pyro.expose
class Greeter:
    def greet(self, who):
        return f"{word}, {who}"


with Pyro.Daemon("127.0.0.1") as daemon, locate(host, port) as ns:
    uri = daemon.register(Greeter)
    ns.register(name, uri, metadata={tag})
    print(uri)
    daemon.requestLoop()

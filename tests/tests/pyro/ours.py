"""A pytest plug-in under which Pyro5's own tests of its name server (tests/test_naming.py of its source distribution) ask
ours: `start_ns` starts it, `NameServer` is a connection to it. Left out are the tests of what is not asked over a wire: the
classes of daemon, storage and command line, and the clean-up that the tests of autoclean replace."""

import ipaddress
import os
import socket
import subprocess

import Pyro5.client
import Pyro5.core
import Pyro5.nameserver
import Pyro5.socketutil
import pytest

LEFT_OUT = {"testBCstart", "testAutoClean", "testNameserverWithStmt", "testStartNSfunc", "testNSmain", "testNSCmain", "testNAT",
            "testRemoveNameThreadSafe", "testBCLookup0000"}
CLASSES = {"TestNameServer", "TestOfflineNameServer"}
OWN = Pyro5.core.NAMESERVER_NAME


class Ours:
    """Our name server, as its tests hold Pyro's daemon; and the broadcast server beside it."""

    def __init__(self, store="memory"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            self.discovery = free.getsockname()[1]
        self.process = subprocess.Popen(
            [os.environ["NAMESERVER"], "-l", "127.0.0.1:0", "--store", store, "--warm-up", "0ms", "--advertise", "127.0.0.1",
             "--discovery", f"127.0.0.1:{self.discovery}", "--log", "error"], stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        self.port = int(ready.split("address=127.0.0.1:")[1].split()[0])
        self.uri = Pyro5.core.URI(f"PYRO:{OWN}@127.0.0.1:{self.port}")

    def requestLoop(self):
        self.process.wait()

    def shutdown(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    close = shutdown


class Broadcast:
    def __init__(self, ours):
        self.ours = ours

    def getPort(self):
        return self.ours.discovery

    def runInThread(self):
        return self

    def join(self):
        pass

    def close(self):
        pass


def start_ns(host=None, port=None, enableBroadcast=True, **_):
    ours = Ours()
    return ours.uri, ours, Broadcast(ours) if enableBroadcast else None


class NameServer:
    """Pyro's class, of which the tests make one each: here a connection to one server, emptied. Ours always lists itself, which
    an empty one of Pyro's does not; serpent sends the empty set as an empty tuple."""

    server = None

    def __init__(self, storageProvider=None):
        if NameServer.server is None:
            NameServer.server = Ours()
        self.storage = storageProvider
        self.listed = False
        self.remote = Pyro5.client.Proxy(NameServer.server.uri)
        self.remote.remove(regex="(?s).*")

    def __getattr__(self, name):
        return getattr(self.remote, name)

    def register(self, name, *args, **kwargs):
        self.listed = self.listed or name == OWN
        return self.remote.register(name, *args, **kwargs)

    def lookup(self, name, return_metadata=False):
        answer = self.remote.lookup(name, return_metadata)
        return (answer[0], set(answer[1])) if return_metadata else answer

    def list(self, prefix=None, regex=None, return_metadata=False):
        listed = self.remote.list(prefix, regex, return_metadata)
        if not self.listed:
            listed.pop(OWN, None)
        return {name: (it[0], set(it[1])) if return_metadata else it for name, it in listed.items()}

    def count(self):
        return self.remote.count() - (not self.listed)


Pyro5.nameserver.start_ns = start_ns
Pyro5.nameserver.NameServer = NameServer
Pyro5.socketutil.get_ip_address = lambda *args, **kwargs: ipaddress.ip_address("127.0.0.1")


def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if item.cls and item.cls.__name__ in CLASSES and item.name not in LEFT_OUT]


@pytest.fixture(scope="session", autouse=True)
def stopped():
    yield
    if NameServer.server:
        NameServer.server.shutdown()

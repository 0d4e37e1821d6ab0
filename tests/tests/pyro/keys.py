"""Shared keys of Pyro4: python keys.py HOST PORT KEY; the name server holds KEY."""

import sys

import Pyro4
from Pyro4.errors import NamingError, SecurityError

host, port, key = sys.argv[1], int(sys.argv[2]), sys.argv[3]
ns = Pyro4.locateNS(host, port, hmac_key=key)
ns.register("k.a", "PYRO:o@h:1")
assert str(ns.lookup("k.a")) == "PYRO:o@h:1"
batch = Pyro4.batch(ns)
batch.count()
assert list(batch()) == [2]
assert ns.remove("k.a") == 1
# What is wrong shows as soon as the first answer is read: it is signed too.
for wrong, text in (("other", "message hmac mismatch"), (None, "hmac key config not symmetric")):
    try:
        Pyro4.locateNS(host, port, hmac_key=wrong)
        raise AssertionError(wrong)
    except NamingError as error:
        cause = error.__cause__
        while cause.__cause__:
            cause = cause.__cause__
        assert text in str(cause), repr(cause)
print("ok")

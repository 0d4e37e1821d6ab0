"""Holds our reading of serpent against Python's: python oracle.py FILE, a line per case: given, ours written again, why not;
each in hexadecimal digits, missing ones empty."""

import ast
import sys
import warnings

warnings.simplefilter("ignore")
# What our reader leaves out, by what it says then.
LEFT_OUT = ("complex numbers", "named characters", "surrogates", "nested more than", "a whole number has", "at most 128 bits",
            "0-bytes", "malformed node", "more than one value")


def pythons(text):
    try:
        return True, ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False, None


counts = {"same": 0, "both refuse": 0, "left out": 0}
for line in open(sys.argv[1]):
    given, ours, why = (bytes.fromhex(part) for part in line.rstrip("\n").split(" "))
    try:
        text = given.decode("utf-8")
    except UnicodeDecodeError:
        assert why, given
        counts["both refuse"] += 1
        continue
    good, value = pythons(text)
    if not why:
        if "\r" in text and not good:
            continue
        assert good, ("only we read it", text, ours)
        again = ast.literal_eval(ours.decode("utf-8"))
        assert "\r" in text or repr(again) == repr(value), (text, value, again)
        counts["same"] += 1
    elif good:
        assert any(kind in why.decode() for kind in LEFT_OUT), ("only Python reads it", text, why)
        counts["left out"] += 1
    else:
        counts["both refuse"] += 1
print(counts)
assert counts["same"] > 500 and counts["both refuse"] > 500
print("ok")

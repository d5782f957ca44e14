#!/usr/bin/env python3
"""Writes src/text/chat_lowercase.inc: Python's simple lower-case mappings above ASCII, as runs.

The chat template sorts members by str.lower() of their keys, so the table comes from Python itself.
Usage: make_lowercase_table.py > src/text/chat_lowercase.inc
"""

import unicodedata


def main():
    pairs = []
    for code in range(0x80, 0x110000):
        lower = chr(code).lower()
        # U+0130 becomes two characters; the C++ side handles it.
        if not 0xD800 <= code < 0xE000 and len(lower) == 1 and ord(lower) != code:
            pairs.append((code, ord(lower) - code))
    print("// Made by tools/text/make_lowercase_table.py from Unicode %s; do not edit." % unicodedata.unidata_version)
    print("// {first, last, stride, what to add}: the characters first, first + stride, ... last.")
    i = 0
    while i < len(pairs):
        first, delta = pairs[i]
        length, stride = 1, 1
        for candidate in (1, 2):
            n = 1
            while i + n < len(pairs) and pairs[i + n] == (first + n * candidate, delta):
                n += 1
            if n > length:
                length, stride = n, candidate
        print("{0x%X, 0x%X, %d, %d}," % (first, pairs[i + length - 1][0], stride, delta))
        i += length


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Compiles Python programs without leaving anything behind. usage: python_syntax.py FILE..."""

import sys


def main():
    bad = False
    for path in sys.argv[1:]:
        try:
            with open(path, "rb") as text:
                compile(text.read(), path, "exec")
        except (SyntaxError, ValueError) as error:
            print("%s: %s" % (path, error))
            bad = True
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

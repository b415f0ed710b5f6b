#!/usr/bin/env python3
"""tidy: the rules of the house that a machine can keep (docs/design/0010-lint.md).

    tidy.py [--root DIRECTORY] [RULE...]     check; every rule if none is named
    tidy.py --write-index                    write docs/invariants.md

Prints `file:line: rule: what, why, and how to put it right` and ends with status 1 if there is anything to say.
"""
import argparse
import os
import sys

import files
import invariants
import layers
import orders
import sizes
import sleeps
import words
from tree import Counts, Table, load

HERE = os.path.dirname(os.path.abspath(__file__))


def _text_of(name):
    with open(os.path.join(HERE, "tables", name), encoding="utf-8") as file:
        return file.read()


def _table(name, rule):
    return Table(name, _text_of(name), rule)




RULES = {
    "layers": lambda tree: layers.check(tree, _table("layers.txt", layers.RULE)),
    "sizes": lambda tree: sizes.check(tree, Counts("sizes.txt", _text_of("sizes.txt"), sizes.RULE)),
    "orders": orders.check,
    "invariants": lambda tree: invariants.check(tree, _table("untested.txt", invariants.RULE)),
    "words": lambda tree: words.check(tree, _table("words.txt", words.RULE)),
    "files": lambda tree: files.check(tree, _table("bools.txt", files.RULE)),
    "sleeps": lambda tree: sleeps.check(tree, Counts("sleeps.txt", _text_of("sleeps.txt"), sleeps.RULE, reasons=True)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(HERE)))
    parser.add_argument("--write-index", action="store_true")
    parser.add_argument("rules", nargs="*", metavar="RULE", help=", ".join(RULES))
    arguments = parser.parse_args()
    for name in arguments.rules:
        if name not in RULES:
            parser.error(f"no rule {name}; there are: {', '.join(RULES)}")
    tree = load(arguments.root)
    if not any(True for _ in tree.sources("src")):
        parser.error(f"no sources below {arguments.root}")
    if arguments.write_index:
        with open(os.path.join(arguments.root, invariants.INDEX), "w", encoding="utf-8") as file:
            file.write(invariants.index(tree))
        return 0
    found = [f for name in arguments.rules or RULES for f in RULES[name](tree)]
    for finding in sorted(found):
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

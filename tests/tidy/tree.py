"""tree: the files that the lint reads, what a rule finds, and the tables of what it allows."""
import os
import re
from dataclasses import dataclass

from source import Source

KINDS = (".cpp", ".hpp", ".h")
CODE = ("include", "src")  # the product
ALL_CODE = ("include", "src", "tests", "examples", "bench")
DOCS = ("docs", "HACKING.md", "README.md", "CHANGELOG.md")


@dataclass(frozen=True, order=True)
class Finding:
    path: str
    line: int
    rule: str
    text: str  # what is wrong and why, and how to put it right

    def __str__(self):
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


class Tree:
    """Files by their path from the root. The tests make one of texts, load() makes one of a directory."""

    def __init__(self, texts):
        self.texts = dict(sorted(texts.items()))
        self._sources = {}

    def source(self, path):
        if path not in self._sources:
            self._sources[path] = Source(path, self.texts[path])
        return self._sources[path]

    def sources(self, *tops):
        """The C++ files below these directories."""
        for path in self.texts:
            if path.endswith(KINDS) and path.split("/", 1)[0] in tops:
                yield self.source(path)

    def pages(self):
        """(path, text) of each page that people read."""
        for path, text in self.texts.items():
            if path.endswith(".md") and any(path == d or path.startswith(d + "/") for d in DOCS):
                yield path, text


def load(root):
    texts = {}
    for top in ALL_CODE + DOCS:
        start = os.path.join(root, top)
        if os.path.isfile(start):
            paths = [start]
        else:
            paths = [os.path.join(d, f) for d, _, files in os.walk(start) for f in files]
        for path in paths:
            if path.endswith(KINDS + (".md",)):
                with open(path, encoding="utf-8") as file:
                    texts[os.path.relpath(path, root).replace(os.sep, "/")] = file.read()
    return Tree(texts)


class Table:
    """What a rule lets pass, one entry a line: `word word ...: the reason`; a line of "# ..." is a comment.

    An entry without a reason, and one that lets nothing pass any more, are findings themselves.
    """

    def __init__(self, name, text, rule):
        self.path = f"tests/tidy/tables/{name}"
        self.rule = rule
        self.entries = {}  # key, a tuple of words: (line, reason)
        self.used = set()
        self.bad = []
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip() or line == "#" or line.startswith("# "):
                continue
            match = re.match(r"(\S.*?): +(\S.*)$", line)
            if not match:
                self._complain(number, "an entry reads `key: the reason`; this one has no reason")
                continue
            key = tuple(match.group(1).split())
            if key in self.entries:
                self._complain(number, f"a second entry for {' '.join(key)}; keep one")
            self.entries[key] = (number, match.group(2))

    def _complain(self, line, text):
        self.bad.append(Finding(self.path, line, self.rule, text))

    def allows(self, *key):
        if key not in self.entries:
            return False
        self.used.add(key)
        return True

    def findings(self):
        """To be asked last: what is wrong with the table itself."""
        stale = [
            Finding(self.path, line, self.rule, f"nothing needs the entry {' '.join(key)} any more; delete it")
            for key, (line, _) in self.entries.items()
            if key not in self.used
        ]
        return self.bad + stale


class Counts:
    """A ratchet: numbers by key, which may only fall. Lines read `word ...  number`, and `: the reason` if asked for."""

    def __init__(self, name, text, rule, reasons=False):
        self.path = f"tests/tidy/tables/{name}"
        self.rule = rule
        self.numbers = {}  # key: (line, number)
        self.bad = []
        for number, line in enumerate(text.split("\n"), 1):
            if not line.strip() or line == "#" or line.startswith("# "):
                continue
            words, _, reason = line.partition(": ")
            words = words.split()
            if reasons and not reason.strip():
                text = "an entry reads `key number: the reason`; this one has none"
                self.bad.append(Finding(self.path, number, rule, text))
            if len(words) < 2 or not words[-1].isdigit():
                self.bad.append(Finding(self.path, number, rule, "an entry ends in its number"))
                continue
            self.numbers[tuple(words[:-1])] = (number, int(words[-1]))

    def number(self, *key):
        return self.numbers.get(key, (0, None))[1]

    def compare(self, actual):
        """`actual` has every key that needs an entry now. Entries that are too high, or needless."""
        found = list(self.bad)
        for key, (line, number) in self.numbers.items():
            now, name = actual.get(key, 0), " ".join(key)
            if now == 0:
                text = f"nothing needs the entry {name} any more; delete it"
            elif now < number:
                text = f"{name} is down to {now}: lower the number here from {number}, so that it stays"
            else:
                continue
            found.append(Finding(self.path, line, self.rule, text))
        return found

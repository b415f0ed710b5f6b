"""sleeps: tests never sleep in order to wait. Where sleeping is the subject, the file has its number of sleeps.

A sleep is a call of one of _CALLS that no object stands before (a Note's sleep_for waits for its wake). One of an hour
or more is none: it stands for "for ever", and something must end it.
"""
from source import closing
from tree import Finding

RULE = "sleeps"
_CALLS = {"sleep_for", "sleep_until", "usleep", "nanosleep", "clock_nanosleep", "sleep"}


def sleeps(source):
    """The line of each."""
    tokens = source.code()
    for i, t in enumerate(tokens[:-1]):
        if t.text not in _CALLS or tokens[i + 1].text != "(" or t.kind != "word":
            continue
        before = tokens[i - 1] if i else None
        if before is not None and (before.text in (".", "->") or (before.kind == "word" and before.text != "return")):
            continue  # somebody's own method, or the declaration of one
        inside = tokens[i + 2 : closing(tokens, i + 1)]
        for_ever = any(x.kind == "number" and x.text.endswith("h") for x in inside) or any(
            a.text == "hours" for a in inside
        )
        if not for_ever:
            yield t.line


def check(tree, counts):
    found, actual = [], {}
    for source in tree.sources("tests"):
        lines = list(sleeps(source))
        if not lines:
            continue
        actual[(source.path,)] = len(lines)
        allowed = counts.number(source.path) or 0
        if len(lines) > allowed:
            text = (
                f"{len(lines)} sleeps here, {allowed} allowed: wait for the event instead (a note, a channel, a count); "
                "if sleeping is the subject, raise the number in tests/tidy/tables/sleeps.txt and say why"
            )
            found.append(Finding(source.path, lines[-1], RULE, text))
    return found + counts.compare(actual)

"""layers: who may include whom (HACKING.md, "Layers")."""
import posixpath

from tree import Finding

RULE = "layers"

# Bottom up. A file may include its own layer and lower ones; two names of one rank are siblings, and neither
# includes the other.
RANKS = {
    "include/gort": 0,
    "src/base": 1,
    "src/os": 2,
    "src/sched, nouns": 3,
    "src/sched, verbs": 4,
    "src/fiber.cpp": 5,
    "src/signal": 5,
    "src/sync": 5,
    "src/net": 6,
    "src/observe": 6,
    "src/runtime.cpp": 7,
}
NOUNS = set(
    "g m p sched runq globq timerheap wait stack pools lock park_lock note context sanitizer chaos".split()
)
# A file's layer is that of its stem; what follows these goes with the stem before it.
PARTS = ("_internal", "_inline")


def layer(path):
    """The layer of a file, or None for what is none of the product's."""
    if path.startswith("include/gort/"):
        return "include/gort"
    if path in RANKS:
        return path
    parts = path.split("/")
    if parts[0] != "src" or len(parts) < 3:
        return None
    if parts[1] == "sched":
        stem = posixpath.splitext(parts[-1])[0]
        return "src/sched, nouns" if stem in NOUNS else "src/sched, verbs"
    name = f"src/{parts[1]}"
    return name if name in RANKS else None


def included_path(name):
    return f"include/{name}" if name.startswith("gort/") else f"src/{name}"


def complaint(path, name, quoted):
    """Why `path` may not include `name`, or None."""
    own = layer(path)
    if own == "include/gort":
        if quoted and not name.startswith("gort/"):
            return "a public header includes itself and the standard library only; this one is not installed"
        if not quoted and ("/" in name or name.endswith(".h")):
            return "a public header includes the standard library only, and no C or system header"
        return None
    if not quoted:
        return None
    other_path = included_path(name)
    other = layer(other_path)
    if other is None:
        return f"{name} belongs to no layer"
    if other_path.startswith("src/os/linux/") and own != "src/os":
        return "os/linux is known inside src/os only; the port is os/os.hpp"
    if RANKS[other] > RANKS[own]:
        return f"{own} stands below {other}; turn the dependency round, or move the code up"
    if RANKS[other] == RANKS[own] and other != own:
        return f"{own} and {other} are siblings and know nothing of each other"
    return None


def check(tree, table):
    found = []
    for source in tree.sources("include", "src"):
        if layer(source.path) is None:
            text = "this file belongs to no layer; move it, or give it one here and in HACKING.md"
            found.append(Finding(source.path, 1, RULE, text))
            continue
        for line, name, quoted in source.includes():
            why = complaint(source.path, name, quoted)
            if why and not table.allows(source.path, name):
                found.append(Finding(source.path, line, RULE, f"may not include {name}: {why}"))
    return found + table.findings()

"""orders: every access to an atomic names its memory orders, and a comment says why they are these.

What is an access: a call of a method that only atomics have (_ORDERS_OF); `clear`, `test` and the like of other types
are none. Every call must end in as many arguments that name an order as it takes orders: one, or two for a
compare_exchange. An order is `std::memory_order_...`, a parameter named `order`, or one named `..._order`.

What is used as an atomic without a method, by an operator or as a value, is found by its name: where a file, with the
headers that it includes, declares a name as Atomic<...> and as nothing else, it may not be assigned to, incremented,
compared, computed with or returned by that name alone.

What counts as its comment: one that names an order that the statement uses (relaxed, acquire, release, acq_rel,
seq_cst), or names no order but an invariant (R1). For a fence, it says fence or barrier, or names an invariant. A
comment that speaks of other orders only is about something else, or out of date. Where the order is a parameter, the
callers say why. It stands

- on a line of the access's own statement (from its first line to the semicolon or brace), or
- directly above the statement, or directly above the head of the block that the statement begins, or
- above a run of lines, without an empty line, in which every statement is an access (at most RUN_MAX of them) or a
  chaos_point(), which stands between the accesses of a protocol.
"""
import functools
import re

from layers import included_path
from source import Source, arguments
from tree import Finding

RULE = "orders"
RUN_MAX = 6
COMPARE = ("compare_exchange_weak", "compare_exchange_strong")
_ORDERS_OF = {
    "load": 1,
    "store": 1,
    "exchange": 1,
    "fetch_add": 1,
    "fetch_sub": 1,
    "fetch_and": 1,
    "fetch_or": 1,
    "fetch_xor": 1,
    "test_and_set": 1,
    **{name: 2 for name in COMPARE},
}
_FENCES = {"fence", "compiler_fence", "fence_light", "fence_heavy"}
_ORDER_WORD = re.compile(r"\b(relaxed|acquire|release|acq_rel|seq_cst|consume)\b")
_INVARIANT = re.compile(r"\b[A-Z]{1,2}\d\b")
_FENCE_WORD = re.compile(r"\b(?:fences?|barriers?|seq_cst)\b")


def _names_order(argument):
    return any(
        t.kind == "word" and (t.text.startswith("memory_order") or t.text == "order" or t.text.endswith("_order"))
        for t in argument
    )


def accesses(statement):
    """(index, method) of each access in a statement, (index, None) of each fence."""
    tokens = statement.tokens
    for i, t in enumerate(tokens[:-1]):
        if tokens[i + 1].text != "(" or t.kind != "word":
            continue
        before = tokens[i - 1].text if i else ""
        if t.text in _ORDERS_OF and before in (".", "->"):
            yield i, t.text
        elif t.text in _FENCES and before == "::" and tokens[i - 2].text in ("Mem", "os"):
            yield i, None


def _is_access(statement):
    return next(accesses(statement), None) is not None


def orders_in(statement):
    """The orders that a statement names, {"fence"} added if it has one."""
    found = {t.text.removeprefix("memory_order_") for t in statement.tokens if t.text.startswith("memory_order_")}
    if any(method is None for _, method in accesses(statement)):
        found.add("fence")
    return found


def _explains(comments, orders):
    text = " ".join(c.text for c in comments)
    named = set(_ORDER_WORD.findall(text))
    if {"acquire", "release"} <= named:
        named.add("acq_rel")
    if named & orders or ("fence" in orders and _FENCE_WORD.search(text)):
        return True
    return not named and _INVARIANT.search(text) is not None


def _whole_comment(source, line):
    """The comments of the block of comment lines that ends on this line; none if the line has code."""
    block = []
    while line > 0:
        here = [c for c in source.comments_on.get(line, []) if c.alone]
        if not here:
            break
        block += here
        line -= 1
    return block


class _Lines:
    """Which statements lie on which lines, for the walk upwards."""

    def __init__(self, source):
        self.source = source
        self.statements = list(source.statements())
        self.ending = {}  # line: the statements that end there
        for s in self.statements:
            self.ending.setdefault(s.last_line, []).append(s)

    def comments(self, first, last):
        return [c for line in range(first, last + 1) for c in self.source.comments_on.get(line, [])]

    def explained(self, statement):
        orders = orders_in(statement)
        if _explains(self.comments(statement.first_line, statement.last_line), orders):
            return True
        # Of `int f() { return x.load(...); }` the head is on the same line.
        before = [s for s in self.ending.get(statement.first_line, []) if s is not statement]
        line, run = min([statement.first_line] + [s.first_line for s in before]) - 1, 1
        while line > 0:
            comment = _whole_comment(self.source, line)
            if comment:
                return _explains(comment, orders)
            above = self.ending.get(line, [])
            if not above or run >= RUN_MAX:
                return False
            first = min(s.first_line for s in above)
            if all(s.tokens[0].text == "chaos_point" for s in above):
                line = first - 1
                continue
            if all(s.head for s in above) and run == 1:
                line, run = first - 1, RUN_MAX  # a comment may stand above the head of the block that this begins
                continue
            if not all(_is_access(s) for s in above) or self.comments(first, line):
                return False  # something else, or an access with a comment of its own
            line, run = first - 1, run + 1
        return False


def _check_calls(source, statement):
    for index, method in accesses(statement):
        if method is None:
            continue
        t = statement.tokens[index]
        named = 0
        for argument in reversed(arguments(statement.tokens, index + 1)):
            if not _names_order(argument):
                break
            named += 1
        if named < _ORDERS_OF[method]:
            want = "both of its orders" if method in COMPARE else "its order"
            text = f"{method}() does not name {want}; write std::memory_order_... (seq_cst is never meant by chance)"
            yield Finding(source.path, t.line, RULE, text)


def declared_atomics(source):
    """Names of variables and members that this file declares as atomics."""
    tokens = source.code()
    for i, t in enumerate(tokens[:-1]):
        if t.text not in ("Atomic", "atomic") or tokens[i + 1].text != "<":
            continue
        depth, k = 0, i + 1
        while k < len(tokens):
            depth += {"<": 1, ">": -1}.get(tokens[k].text, 0)
            if depth == 0:
                break
            k += 1
        if k + 2 < len(tokens) and tokens[k + 1].kind == "word" and tokens[k + 2].text in ("{", ";", "="):
            yield tokens[k + 1].text


def declared_otherwise(source):
    """Names that this file seems to declare as something else: their uses cannot be told apart."""
    tokens = source.code()
    for before, t, after in zip(tokens, tokens[1:], tokens[2:]):
        if t.kind != "word" or after.text not in ("{", ";", "=", ",", ")", ":", "("):
            continue
        if before.kind == "word" and before.text not in _NO_TYPE:
            yield t.text
        elif before.text in ("*", "&") and after.text != "(":
            yield t.text


_NO_TYPE = {"return", "co_return", "case", "else", "new", "delete", "goto", "using", "throw"}
_MODIFIES = {"++", "--", "+=", "-=", "|=", "&=", "^="}
_FOLLOWS_A_VALUE = {")", ";", "==", "!=", "<", ">", "<=", ">=", "&&", "||", "?", "+", "-", "*", "/", "%"}


def _used_without_method(tokens, i):
    """Whether the atomic whose name is tokens[i] is read or written by an operator or as a value."""
    if tokens[i - 1].text == "::" and tokens[i - 2].text[:1].isupper():
        return False  # an enumerator
    start = i  # of the whole of a.b->name
    while start >= 2 and tokens[start - 1].text in (".", "->"):
        start -= 2
    before, after = tokens[start - 1].text, tokens[i + 1].text
    if after in _MODIFIES or before in ("++", "--"):
        return True
    is_declared_here = tokens[i - 1].text == ">"
    if after == "=":
        return not is_declared_here
    return after in _FOLLOWS_A_VALUE and before != "&" and not is_declared_here


def _check_operators(source, names):
    tokens = source.code()
    for i in range(1, len(tokens) - 1):
        t = tokens[i]
        if t.kind == "word" and t.text in names and _used_without_method(tokens, i):
            text = f"{t.text} is an atomic and used without a method: name the order, by load() or store() and the like"
            yield Finding(source.path, t.line, RULE, text)


def _with_headers(tree, source):
    """The file and all headers of the tree that it includes, also by others."""
    seen, left = {}, [source]
    while left:
        s = left.pop()
        if s.path in seen:
            continue
        seen[s.path] = s
        for _, name, _ in s.includes():
            path = included_path(name)
            if path in tree.texts:
                left.append(tree.source(path))
    return seen.values()


def atomic_names(tree, source):
    """Names that can only mean an atomic in this file."""
    files = list(_with_headers(tree, source))
    names = {n for s in files for n in _facts(s)[0]}
    return names - {n for s in files for n in _facts(s)[1]}


@functools.lru_cache(maxsize=None)
def _facts_of(text):
    source = Source("", text)
    return frozenset(declared_atomics(source)), frozenset(declared_otherwise(source))


def _facts(source):
    return _facts_of(source.text)


def check(tree):
    found = []
    for source in tree.sources("src", "include"):
        lines = _Lines(source)
        for statement in lines.statements:
            found += _check_calls(source, statement)
            access = next(accesses(statement), None)
            if access is None or not orders_in(statement) or lines.explained(statement):
                continue
            index, method = access
            text = (
                f"{method or statement.tokens[index].text}() has no comment on its order: say what it pairs with and "
                "what it publishes or learns, or why relaxed is enough, on its line or directly above"
            )
            found.append(Finding(source.path, statement.tokens[index].line, RULE, text))
        found += _check_operators(source, atomic_names(tree, source))
    return found

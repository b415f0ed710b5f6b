"""words: which file may use which of the dangerous words, and why (tables/words.txt).

`std::atomic` means every name that bypasses Atomic<T> and Mem of base/mem.hpp, by which the models come in.
"""
import re

from tree import CODE, Finding

RULE = "words"
WHY = {
    "thread_local": "a fiber changes threads, and a compiler may keep the address: ask current.hpp",
    "volatile": "it orders nothing between threads; use Atomic<T>",
    "asm": "assembly is for the files whose job the processor is",
    "goto": "write a loop or a function",
    "reinterpret_cast": "it hides an aliasing or lifetime error; use a typed pointer, or static_cast from void*",
    "#if": "a different system is another file at link time, and conditions multiply what must be tested",
    "#define": "a macro knows no scope and no type; use a constant or a function",
    "std::atomic": "the models can not see it; use Atomic<T> and Mem of base/mem.hpp",
}
_SAME = {"__asm__": "asm", "__asm": "asm", "__thread": "thread_local", "__volatile__": "volatile"}
_ATOMIC = re.compile(r"^(atomic|atomic_ref|atomic_flag|atomic_thread_fence|atomic_signal_fence|atomic_\w+)$")
_DIRECTIVE = re.compile(r"#\s*(\w+)")


def used(source):
    """(line, word) of each use."""
    for t in source.directives():
        name = _DIRECTIVE.match(t.text)
        if name and name.group(1) in ("if", "ifdef", "ifndef", "elif"):
            yield t.line, "#if"
        elif name and name.group(1) == "define":
            yield t.line, "#define"
            for word in re.findall(r"\w+", t.text):  # what a macro will put elsewhere
                word = _SAME.get(word, word)
                if word in WHY:
                    yield t.line, word
    tokens = source.code()
    for i, t in enumerate(tokens):
        if t.kind != "word":
            continue
        word = _SAME.get(t.text, t.text)
        if word == "volatile" and i and _SAME.get(tokens[i - 1].text, tokens[i - 1].text) == "asm":
            continue  # asm volatile is one thing
        if word in WHY:
            yield t.line, word
        elif _ATOMIC.match(t.text) and i >= 2 and tokens[i - 1].text == "::" and tokens[i - 2].text == "std":
            yield t.line, "std::atomic"


def check(tree, table):
    found = []
    for source in tree.sources(*CODE):
        seen = set()
        for line, word in used(source):
            if word in seen:
                continue
            seen.add(word)
            if not table.allows(word, source.path):
                text = f"{word} is not for this file: {WHY[word]} (allowed: tests/tidy/tables/words.txt, with a reason)"
                found.append(Finding(source.path, line, RULE, text))
    for key in table.entries:
        if key[0] not in WHY:
            found.append(Finding(table.path, table.entries[key][0], RULE, f"there is no rule on {key[0]}"))
    return found + table.findings()

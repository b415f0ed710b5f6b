#!/usr/bin/env python3
"""blocks: the C++ of the guides as sources, so that whatever a guide shows compiles, and does what the guide says.

    blocks.py --include DIRECTORY --out DIRECTORY PAGE...

Writes the sources to DIRECTORY and prints a line for each (TAB between the words):

    program NAME output
                    a block with a main(): NAME.cpp, and what it has to print in NAME.txt; "-" if the page does not say that
    endless NAME    one that does not end by itself
    fragments NAME  all other blocks of a page: NAME.cpp

A NAME begins with that of its page; a second page of the same name has its directory before it.

A block of C++ is fenced by ```cpp and, if one likes, words behind it:

    scope           declarations. Without this word, and without a main(), a block is statements: the body of a function
    needs=a.hpp     it uses gort/a.hpp without naming it; several are separated by commas
    endless         a program that does not end by itself: it is compiled, not started
    wrong           shows what not to do: not compiled

A program's output stands right behind it, fenced by ```text output. What a page's fragments need and readers do not want
to see stands in a comment of HTML that begins with `cpp`: <!-- cpp needs=a.hpp ... -->.

Files are written only if they change, so that nothing is compiled again in vain.
"""
import argparse
import os
import re
import sys
from dataclasses import dataclass, field

_FENCE = re.compile(r"^(```+)(.*)$")
_MAIN = re.compile(r"^int main\(", re.MULTILINE)
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*<gort/([^>]+)>", re.MULTILINE)
_WORDS = ("scope", "endless", "wrong")
_STANDARD = (
    "algorithm array atomic cerrno chrono condition_variable cstdio exception fstream functional future map memory mutex "
    "optional semaphore set span stdexcept stop_token string string_view system_error thread utility vector "
    "fcntl.h sys/wait.h unistd.h"
).split()


class BadPage(Exception):
    """A page that can not be understood."""


@dataclass
class Block:
    page: str
    line: int  # of its first line of code
    words: list
    text: str
    output: str | None = None
    needs: list = field(default_factory=list)

    @property
    def kind(self):
        if "scope" in self.words or "prelude" in self.words:
            return "scope"
        return "program" if _MAIN.search(self.text) else "statements"


def _block(page, line, info, text):
    block = Block(page, line, [], text)
    for word in info.split():
        if word.startswith("needs="):
            block.needs += word.removeprefix("needs=").split(",")
        elif word in _WORDS or word == "prelude":
            block.words.append(word)
        else:
            raise BadPage(f"{page}:{line - 1}: a block of C++ knows no word {word!r}")
    block.needs += _INCLUDE.findall(text)
    return block


def blocks(page, text):
    """The blocks of C++ of a page, in order."""
    found, lines, i, last = [], text.split("\n"), 0, None
    while i < len(lines):
        fence = _FENCE.match(lines[i])
        comment = lines[i].startswith("<!-- cpp")
        if fence or comment:
            end = next((k for k in range(i + 1, len(lines)) if lines[k] == (fence.group(1) if fence else "-->")), None)
            if end is None:
                raise BadPage(f"{page}:{i + 1}: this block has no end")
            inside = "\n".join(lines[i + 1 : end]) + "\n"
            language, _, info = (fence.group(2) if fence else "cpp prelude " + lines[i][8:]).strip().partition(" ")
            if language == "cpp":
                last = _block(page, i + 2, info, inside)
                found.append(last)
            elif (language, info) == ("text", "output"):
                if last is None or last.kind != "program" or last.output is not None:
                    raise BadPage(f"{page}:{i + 1}: this output belongs to no program")
                last.output, last = inside, None
            else:
                last = None
            i = end
        elif lines[i].strip() and last is not None:
            last = None  # text in between: what follows is of something else
        i += 1
    return found


def check_needs(block, include):
    """That the headers of gort's that the block wants are there: else it would be passed over, for good if the name is wrong."""
    for name in block.needs:
        if not os.path.exists(os.path.join(include, "gort", name)):
            raise BadPage(f"{block.page}:{block.line}: there is no gort/{name}")


def program(block):
    return f'#line {block.line} "{block.page}"\n{block.text}'


def fragments(page, found):
    """One source of all blocks of a page that are no programs."""
    out = [f"// The fragments of {page}.\n", "#include <gort/gort.hpp>\n"]
    out += [f"#include <{name}>\n" for name in _STANDARD]
    out += [f"#include <gort/{n}>\n" for n in sorted({n for b in found for n in b.needs})]
    out.append("\nusing namespace std::chrono_literals;\n")
    for block in found:
        lines = [x for x in block.text.split("\n") if not re.match(r"\s*#\s*include|using namespace", x)]
        number = block.line + (block.text.count("\n") + 1 - len(lines))
        text = "\n".join(lines)
        at = f'#line {number} "{block.page}"\n'
        if block.kind == "scope" and "prelude" in block.words:
            out.append(f"{at}{text}")
        elif block.kind == "scope":
            out.append(f"namespace line_{block.line} {{\n{at}{text}}}\n")
        else:
            out.append(f"[[maybe_unused]] void line_{block.line}() {{\n{at}{text}}}\n")
    return "".join(out)


def _write(path, text):
    try:
        with open(path, encoding="utf-8") as file:
            if file.read() == text:
                return
    except FileNotFoundError:
        pass
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def names(pages):
    """What each is called in the names of its sources."""
    called = {}
    for page in pages:
        directory, name = os.path.split(os.path.splitext(os.path.abspath(page))[0])
        while name in called:
            directory, above = os.path.split(directory)
            name = f"{above}_{name}"
        called[name] = page
    return {page: name for name, page in called.items()}


def sources(page, text, include, stem):
    """(kind, name, source, output) of what becomes of a page."""
    together = []
    for block in blocks(page, text):
        name = f"{stem}.{block.line}"
        if "wrong" in block.words:
            continue
        check_needs(block, include)
        if block.kind == "program":
            yield ("endless" if "endless" in block.words else "program"), name, program(block), block.output
        else:
            together.append(block)
    if together:
        yield "fragments", stem, fragments(page, together), None


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--include", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("pages", nargs="+")
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    for page, stem in names(arguments.pages).items():
        with open(page, encoding="utf-8") as file:
            text = file.read()
        try:
            made = list(sources(page, text, arguments.include, stem))
        except BadPage as bad:
            print(bad, file=sys.stderr)
            return 1
        for kind, name, source, output in made:
            _write(os.path.join(arguments.out, name + ".cpp"), source)
            if output is not None:
                _write(os.path.join(arguments.out, name + ".txt"), output)
            print(f"{kind}\t{name}\t{'output' if output is not None else '-'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

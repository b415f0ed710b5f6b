#!/usr/bin/env python3
"""build: the reference and the guides as HTML, by Doxygen. `./dev docs` and the test docs.reference call it.

    build.py [--root DIRECTORY] OUTPUT

Fails if Doxygen says anything, such as that something public has no text, or if a header or a guide has no page.
Status 77 if there is no Doxygen.
"""
import argparse
import glob
import os
import shutil
import subprocess
import sys

import comments

HERE = os.path.dirname(os.path.abspath(__file__))
NO_DOXYGEN = 77  # what ctest is told to take for "skipped"


def page_of(name):
    """What Doxygen calls the page of a header: chan.hpp is chan_8hpp.html."""
    return name.replace("_", "__").replace(".", "_8") + ".html"


def without_text(root, name):
    """What of this header nothing is said of; Doxygen passes over enumerators and classes without members."""
    path = f"include/gort/{name}"
    with open(os.path.join(root, path), encoding="utf-8") as file:
        for line, word in comments.without_text(path, file.read()):
            yield f"{path}:{line}: {word} is not documented"


def complaints(root, output):
    """What is wrong, a line each; the pages are in `output`."""
    log = os.path.join(output, "warnings.log")
    with open(os.path.join(root, "docs/reference/Doxyfile"), encoding="utf-8") as file:
        settings = file.read() + f'\nOUTPUT_DIRECTORY = "{output}"\nWARN_LOGFILE = "{log}"\n'
    ran = subprocess.run(["doxygen", "-"], input=settings, cwd=root, text=True, capture_output=True, check=False)
    with open(log, encoding="utf-8") as file:
        found = [line.replace(root + os.sep, "").rstrip() for line in file if line.strip()]
    found = list(dict.fromkeys(found))  # some are said twice
    if not found and ran.returncode != 0:
        found = [f"doxygen ended with status {ran.returncode}: {ran.stderr.strip()}"]
    headers = sorted(os.path.basename(p) for p in glob.glob(os.path.join(root, "include/gort/*.hpp")))
    if not headers:
        found.append("include/gort: there are no headers")
    for name in headers:
        said = {f.split(": ")[0] for f in found}
        found += [f for f in without_text(root, name) if f.split(": ")[0] not in said]
        if not os.path.exists(os.path.join(output, page_of(name))):
            found.append(f"include/gort/{name}: it has no page; does it open with a comment?")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--root", default=os.path.dirname(os.path.dirname(HERE)))
    parser.add_argument("output")
    arguments = parser.parse_args()
    if shutil.which("doxygen") is None:
        print("doxygen is not installed: the reference is neither built nor checked")
        return NO_DOXYGEN
    output = os.path.abspath(arguments.output)
    shutil.rmtree(output, ignore_errors=True)  # no page of what is no more
    os.makedirs(output)
    found = complaints(os.path.abspath(arguments.root), output)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

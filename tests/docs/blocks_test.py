"""Tests of blocks.py: what of a page becomes a program, a fragment, or neither."""
import os
import subprocess
import sys
import tempfile
import unittest

import blocks
from blocks import BadPage

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAM = "```cpp\n#include <gort/a.hpp>\nint main() {}\n```\n"


class BlocksTest(unittest.TestCase):
    def setUp(self):
        self.include = tempfile.TemporaryDirectory()
        self.addCleanup(self.include.cleanup)
        os.makedirs(os.path.join(self.include.name, "gort"))
        self.there("a.hpp")

    def there(self, name):
        with open(os.path.join(self.include.name, "gort", name), "w", encoding="utf-8"):
            pass

    def made(self, text):
        return list(blocks.sources("docs/p.md", text, self.include.name, "p"))

    def test_a_program_and_its_output(self):
        self.assertEqual(self.made("# P\n" + PROGRAM + "\n```text output\nhello\n```\n"),
                         [("program", "p.3", '#line 3 "docs/p.md"\n#include <gort/a.hpp>\nint main() {}\n', "hello\n")])

    def test_output_behind_other_text_belongs_to_nobody(self):
        with self.assertRaisesRegex(BadPage, "docs/p.md:7: this output belongs to no program"):
            self.made(PROGRAM + "\nAnd\n```text output\nhello\n```\n")
        with self.assertRaisesRegex(BadPage, "belongs to no program"):
            self.made("```cpp\nf();\n```\n```text output\nhello\n```\n")

    def test_a_header_that_is_not_there(self):
        with self.assertRaisesRegex(BadPage, "docs/p.md:2: there is no gort/b.hpp"):
            self.made("```cpp\n#include <gort/b.hpp>\nint main() {}\n```\n")
        with self.assertRaisesRegex(BadPage, "docs/p.md:2: there is no gort/c.hpp"):
            self.made("```cpp needs=a.hpp,c.hpp\nf();\n```\n")
        self.there("c.hpp")
        self.assertEqual(self.made("```cpp needs=c.hpp,a.hpp\nf();\n```\n")[0][0], "fragments")

    def test_names_of_pages(self):
        self.assertEqual(blocks.names(["/a/x.md", "/a/b/x.md", "/a/b/y.md", "/c/b/x.md"]),
                         {"/a/x.md": "x", "/a/b/x.md": "b_x", "/a/b/y.md": "y", "/c/b/x.md": "c_b_x"})

    def test_fragments_are_one_source(self):
        ((kind, name, source, _),) = self.made("<!-- cpp\nint x;\n-->\n```cpp\nf(x);\n```\n```cpp scope\nvoid g() {}\n```\n")
        self.assertEqual((kind, name), ("fragments", "p"))
        self.assertTrue(source.endswith(
            'literals;\n#line 2 "docs/p.md"\nint x;\n'
            '[[maybe_unused]] void line_5() {\n#line 5 "docs/p.md"\nf(x);\n}\n'
            'namespace line_8 {\n#line 8 "docs/p.md"\nvoid g() {}\n}\n'), source)

    def test_a_fragments_includes_go_to_the_top(self):
        ((_, _, source, _),) = self.made("```cpp\n#include <gort/a.hpp>\nf();\n```\n")
        self.assertIn("#include <gort/a.hpp>\n", source.split("void line_2")[0])
        self.assertIn('#line 3 "docs/p.md"\nf();\n', source)

    def test_words(self):
        self.assertEqual(self.made("```cpp endless\nint main() {}\n```\n")[0][0], "endless")
        self.assertEqual(self.made("```cpp wrong\nint main() {}\n```\n"), [])
        self.assertEqual(self.made("```go\nfunc main() {}\n```\n```\nint main() {}\n```\n"), [])
        with self.assertRaisesRegex(BadPage, "docs/p.md:1: .*knows no word 'endles'"):
            self.made("```cpp endles\nint main() {}\n```\n")

    def test_a_block_without_an_end(self):
        with self.assertRaisesRegex(BadPage, "docs/p.md:2: this block has no end"):
            self.made("\n```cpp\nint main() {}\n")

    def test_the_program_writes_what_has_changed_only(self):
        with tempfile.TemporaryDirectory() as out:
            page = os.path.join(out, "p.md")
            with open(page, "w", encoding="utf-8") as file:
                file.write(PROGRAM + "```text output\nhello\n```\n```cpp\nf();\n```\n")
            command = [sys.executable, "-B", os.path.join(HERE, "blocks.py"), "--include", self.include.name, "--out", out, page]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            self.assertEqual(said, "program\tp.2\toutput\nfragments\tp\t-\n")
            source = os.path.join(out, "p.2.cpp")
            os.utime(source, (1, 1))
            subprocess.run(command, capture_output=True, check=True)
            self.assertEqual(os.stat(source).st_mtime, 1)
            with open(os.path.join(out, "p.2.txt"), encoding="utf-8") as file:
                self.assertEqual(file.read(), "hello\n")


if __name__ == "__main__":
    unittest.main()

"""Tests of the reference: what Doxygen is given for a header and a page, and that whatever has no text is found."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
REFERENCE = os.path.join(ROOT, "docs", "reference")
sys.path.insert(0, REFERENCE)

import build  # noqa: E402: behind the path to it
import comments  # noqa: E402
import pages  # noqa: E402

OPENING = "// some: a header.\n#pragma once\n"


def filtered(body, opening=OPENING):
    """What becomes of a header's lines behind its opening comment."""
    return comments.documented("some.hpp", opening + body).split("\n")[opening.count("\n") :]


class CommentsTest(unittest.TestCase):
    def expect(self, body, *lines, opening=OPENING):
        self.assertEqual(filtered(body, opening), list(lines))

    def test_every_line_stays_where_it_is(self):
        for name in sorted(os.listdir(os.path.join(ROOT, "include", "gort"))):
            if not name.endswith(".hpp"):
                continue
            with open(os.path.join(ROOT, "include", "gort", name), encoding="utf-8") as file:
                text = file.read()
            out = comments.documented(name, text)
            self.assertEqual(out.count("\n"), text.count("\n"), name)
            text = re.sub(r"^template <.*>\nstruct std::.*;$", "\n", text, flags=re.MULTILINE)  # not shown
            for before, after in zip(text.split("\n"), out.split("\n")):
                code = before.split("//")[0].strip()
                if code and not code.startswith("#pragma"):
                    self.assertIn(code, after, name)

    def test_the_opening_comment_is_the_page(self):
        out = comments.documented("a.hpp", "// a: one.\n//\n//     f(x < y);\n//\n// Two.\n#pragma once\nint a;\n")
        self.assertEqual(
            out,
            "/// @file\n/// a: one.\n/// @code{.cpp}\n/// f(x < y);\n/// @endcode\n/// Two.\nint a;\n",
        )

    def test_comments_above_and_behind(self):
        self.expect("// What.\nint a;\nint b;  // that\n", "/// What.", "int a;", "int b;  ///< that", "")
        self.expect("enum class e {\n  one,  // first\n  two   // last\n};\n",
                    "enum class e {", "  one,  ///< first", "  two   ///< last", "};", "")

    def test_code_in_a_function_is_left_alone(self):
        body = "// F.\nvoid f() {\n  // Why.\n  int a;  // this\n  struct s {\n    int b;  // that\n  };\n}\n"
        self.assertEqual(filtered(body)[1:], body.split("\n")[1:])
        in_list = "class c {\n public:\n  // C.\n  c() : a_{1}, b_(2) {\n    // Why.\n    f();\n  }\n};\n"
        self.assertEqual(filtered(in_list)[4:], in_list.split("\n")[4:])

    def test_what_is_detail_or_private_is_left_alone(self):
        for body in (
            "namespace gort {\nnamespace detail {\n// What.\nint a;\n}\n}\n",
            "namespace gort::net::detail {\n// What.\nint a;  // this\n}\n",
            "class c {\n  // What.\n  int a;  // this\n  struct s {\n    // What.\n    int b;\n  };\n};\n",
        ):
            self.assertEqual(filtered(body), body.split("\n"))

    def test_what_follows_it_is_seen_again(self):
        self.expect("class c {\n  // A.\n  int a;\n\n public:\n  // B.\n  int b;\n};\n// D.\nint d;\n",
                    "class c {", "  // A.", "  int a;", "", " public:", "/// B.", "  int b;", "};", "/// D.", "int d;", "")

    def test_commands_tags_and_emphasis_are_none(self):
        self.expect("// chan<T>& of @x, *p and *q, try_ and _a; `a<b>& *c`. 100%\nint a;\n",
                    r"/// chan&lt;T&gt;&amp; of \@x, <span>*</span>p and <span>*</span>q, try_ and <span>_</span>a; "
                    r"`a<b>& *c`. 100\%", "int a;", "")

    def test_words_for_clang_tidy_are_no_text(self):
        self.expect("// What.\n// NOLINTNEXTLINE(a-b): it is so\nint a;\n",
                    "/// What.", "// NOLINTNEXTLINE(a-b): it is so", "int a;", "")

    def test_items(self):
        self.expect("// A:\n//\n//   one     first\n//           and more\n//   f(x, y) second\nint a;\n",
                    "/// A:", "///", "/// - **one**: first", "///   and more",
                    "/// - <code>f(x, y)</code>: second", "int a;", "")

    def test_an_overload_has_the_text_of_the_one_before(self):
        self.expect("// F.\nvoid f(int);\nvoid f(char);\nvoid g();\n",
                    "/// F.", "void f(int);", "/** F. */ void f(char);", "void g();", "")
        self.expect("// F.\nvoid f(int);\n\nvoid f(char);\n",
                    "/// F.", "void f(int);", "", "void f(char);", "")
        self.expect("// All of these throw.\nvoid f();\ntemplate <class T>\nvoid g();\n\nvoid h();\n",
                    "/// All of these throw.", "void f();", "/** All of these throw. */ template <class T>",
                    "void g();", "", "void h();", "")

    def test_members_as_elsewhere(self):
        self.expect("// The contract of std::a.\nclass b {\n public:\n  b();\n  // C.\n  void c() const;\n  void d();\n};\n",
                    "/// The contract of std::a.", "class b {", " public:", "  /** As std::a::b(). */ b();", "/// C.",
                    "  void c() const;", "  /** As std::a::d(). */ void d();", "};", "")

    def test_specialisations(self):
        self.expect("// The contract of std::a.\ntemplate <class T>\nclass b {};\ntemplate <>\nclass b<int> {\n public:\n  void c();\n};\n"
                    "template <class T>\nstruct std::d<b<T>> {\n  int e;\n};\nint f;  // F\n",
                    "/// The contract of std::a.", "template <class T>", "class b {};",
                    "/** The contract of std::a. */ template <>", "class b<int> {", " public:",
                    "  /** As std::a::c(). */ void c();", "};", "", "", "", "", "int f;  ///< F", "")
        self.assertEqual(list(comments.without_text("a.hpp", OPENING + "template <>\nstruct std::d<b> {\n  int e;\n};\n")), [])

    def test_special_members(self):
        self.expect(
            "// A.\nstruct a {\n  a(const a&) = delete;\n  a(a&& x) noexcept : b(x.b) {}\n  a& operator=(a x);\n  ~a();\n  a(int);\n};\n",
            "/// A.", "struct a {", "  /** Cannot be copied. */ a(const a&) = delete;",
            "  /** Moves. */ a(a&& x) noexcept : b(x.b) {}", "  /** Copies. */ a& operator=(a x);", "  /** Ends it. */ ~a();",
            "  a(int);", "};", "")

    def test_items_of_the_opening_are_texts(self):
        opening = "// some: a header.\n//\n//   f(x)   does it\n//          well\n#pragma once\n"
        self.expect("template <class T>\nvoid f(T x);\nvoid g();\n",
                    "/** does it well */ template <class T>", "void f(T x);", "void g();", "", opening=opening)

    def test_a_namespace_of_its_own(self):
        self.expect("namespace gort {\n}\nnamespace gort::x {\n}\n",
                    "namespace gort {", "}", "/** some: a header. */ namespace gort::x {", "}", "")

    def test_declarations_with_brackets(self):
        source = comments.Source("a.hpp", "template <class T, class U = v<w<T>>>\nrequires(!x<T, a>) auto f(T t) -> u<T>;\n"
                                 "[[nodiscard]] friend bool operator==(const a& x, const a& y) noexcept { return {}; }\n"
                                 "std::function<void(int)> b{[] { c(); }};\nusing d = int (*)(char);\n")
        self.assertEqual([(d.name, d.kind) for d in comments.declarations(source)],
                         [("f", "function"), ("operator==", "function"), ("b", "value"), ("d", "value")])


class PagesTest(unittest.TestCase):
    def test_headings_and_links_to_them(self):
        text = "# A\n## The `x_y`, and more\n[u](#the-x_y-and-more) [v](b.md#c-d) [w](b.md)"
        self.assertEqual(pages.page("docs/guide/a.md", text),
                         "# A {#a}\n## The `x_y`, and more {#a-the-x_y-and-more}\n"
                         "[u](#a-the-x_y-and-more) [v](#b-c-d) [w](b.md)")

    def test_links_to_other_files(self):
        text = "[a](b.md) [`x.md`](../design/x.md) [why](../design/x.md) [out](https://example.org/)"
        self.assertEqual(pages.page("docs/guide/a.md", text),
                         "[a](b.md) `docs/design/x.md` why (`docs/design/x.md`) [out](https://example.org/)")

    def test_blocks_of_code(self):
        text = "```cpp needs=a.hpp\n[a](../b.md)\n```\n```text output\n```\n```\nx\n```"
        self.assertEqual(pages.page("docs/guide/a.md", text),
                         "```{.cpp}\n[a](../b.md)\n```\n```{.text}\n```\n```\nx\n```")


@unittest.skipUnless(shutil.which("doxygen"), "doxygen is not installed")
class BuildTest(unittest.TestCase):
    def build(self, header):
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "include", "gort"))
            os.makedirs(os.path.join(root, "docs", "guide"))
            shutil.copytree(REFERENCE, os.path.join(root, "docs", "reference"))
            os.makedirs(os.path.join(root, "tests"))
            os.symlink(os.path.join(ROOT, "tests", "tidy"), os.path.join(root, "tests", "tidy"))
            with open(os.path.join(root, "docs", "guide", "README.md"), "w", encoding="utf-8") as file:
                file.write("# Main\n")
            with open(os.path.join(root, "include", "gort", "some_thing.hpp"), "w", encoding="utf-8") as file:
                file.write(header)
            command = [sys.executable, "-B", os.path.join(REFERENCE, "build.py"), "--root", root, os.path.join(root, "out")]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            return ran.returncode, ran.stdout + ran.stderr

    def test_what_has_a_text_passes(self):
        self.assertEqual(self.build(OPENING + "namespace gort {\n// What.\nvoid f();\n}  // namespace gort\n"), (0, ""))

    def test_what_has_no_text_is_found(self):
        for body, line in (
            ("void f();", 4),
            ("class c {};", 4),
            ("template <class T>\nclass c {\n public:\n  // A.\n  int a() const;\n};", 5),
            ("// C.\nclass c {\n public:\n  int a() const;\n};", 7),
            ("// C.\nstruct c {\n  int a = 0;\n};", 6),
            ("// E.\nenum class e {\n  one,\n  two,  // the other\n};", 6),
            ("using a = int;", 4),
        ):
            status, said = self.build(OPENING + "namespace gort {\n" + body + "\n}  // namespace gort\n")
            self.assertEqual(status, 1, body)
            self.assertRegex(said, rf"^include/gort/some_thing.hpp:{line}: .*is not documented", body)

    def test_a_header_without_an_opening_comment_has_no_page(self):
        status, said = self.build("#pragma once\nnamespace gort {\n// What.\nvoid f();\n}\n")
        self.assertEqual(status, 1)
        self.assertIn("include/gort/some_thing.hpp: it has no page", said)


if __name__ == "__main__":
    unittest.main()

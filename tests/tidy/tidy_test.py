"""Tests of the lint: what each rule must find, and what it must leave alone. A rule that can not fail is none."""
import os
import subprocess
import sys
import tempfile
import unittest

import files
import invariants
import layers
import orders
import sizes
import sleeps
import tidy
import words
from source import Source
from tree import Counts, Table, Tree

HERE = os.path.dirname(os.path.abspath(__file__))


def table(text="", rule="rule"):
    return Table("some.txt", text, rule)


def counts(text="", reasons=False):
    return Counts("some.txt", text, "rule", reasons)


def function(name, lines):
    """A function of so many lines."""
    return f"void {name}() {{\n" + "  work();\n" * (lines - 2) + "}\n"


class RuleTest(unittest.TestCase):
    def expect(self, found, *where):
        """`where`: path:line of each finding, in any order."""
        self.assertEqual(sorted(f"{f.path}:{f.line}" for f in found), sorted(where), "\n".join(map(str, found)))


class SourceTest(unittest.TestCase):
    def test_strings_and_comments_are_no_code(self):
        s = Source("a.cpp", 'int a = 1\'000; // goto "x"\nauto t = "// no comment";\nauto r = R"x(goto /* )x"; /* b */\n')
        self.assertEqual([c.text for c in s.comments], ['// goto "x"', "/* b */"])
        self.assertNotIn("goto", [t.text for t in s.code()])
        self.assertEqual([t.text for t in s.code() if t.kind == "number"], ["1'000"])

    def test_a_directive_is_one_token_and_ends_at_its_comment(self):
        s = Source("a.cpp", "#define A(x) \\\n  (x)\n#if B  // why\nint c;\n#endif\n")
        self.assertEqual([t.line for t in s.directives()], [1, 3, 5])
        self.assertEqual(s.comments[0].line, 3)
        self.assertEqual([t.text for t in s.code()], ["int", "c", ";"])

    def test_statements_know_their_lines(self):
        s = Source("a.cpp", "void f() {\n  for (int i = 0; i < 2;\n       ++i) {\n    g(i,\n      2);\n  }\n}\n")
        self.assertEqual([(x.first_line, x.last_line, x.head) for x in s.statements()],
                         [(1, 1, True), (2, 3, True), (4, 5, False)])

    def test_comments_alone_on_their_line(self):
        s = Source("a.cpp", "// one\nint a;  // two\n")
        self.assertEqual([c.alone for c in s.comments], [True, False])


class TableTest(RuleTest):
    def test_entries_need_a_reason_and_a_use(self):
        t = table("# words\n\na b: because\nc d: because\ne f\n")
        self.assertTrue(t.allows("a", "b"))
        self.assertFalse(t.allows("x", "y"))
        self.expect(t.findings(), "tests/tidy/tables/some.txt:4", "tests/tidy/tables/some.txt:5")

    def test_two_entries_for_one_thing(self):
        t = table("a b: because\na b: again\n")
        t.allows("a", "b")
        self.expect(t.findings(), "tests/tidy/tables/some.txt:2")

    def test_counts_fall_only(self):
        c = counts("a 3\nb f 4\ngone 5\nbad\n")
        self.assertEqual(c.number("b", "f"), 4)
        self.assertIsNone(c.number("x"))
        found = c.compare({("a",): 3, ("b", "f"): 2})
        self.expect(found, *(f"tests/tidy/tables/some.txt:{n}" for n in (2, 3, 4)))
        self.assertIn("lower the number", "".join(f.text for f in found))

    def test_counts_may_want_reasons(self):
        self.expect(counts("a 3\n", True).compare({("a",): 3}), "tests/tidy/tables/some.txt:1")
        self.expect(counts("a 3: because\n", True).compare({("a",): 3}))


class LayersTest(RuleTest):
    def check(self, path, include, exceptions=""):
        tree = Tree({path: f"// a file\n#include {include}\n"})
        return layers.check(tree, table(exceptions))

    def test_upwards(self):
        for path, name in (
            ("src/base/check.cpp", "os/os.hpp"),
            ("src/os/linux/futex.cpp", "sched/lock.hpp"),
            ("src/sched/p.hpp", "sched/loop.hpp"),  # a noun and a verb
            ("src/sched/park.cpp", "sync/parking_lot.hpp"),
            ("src/sync/chan.cpp", "net/fd.hpp"),
            ("include/gort/chan.hpp", "base/check.hpp"),
        ):
            self.expect(self.check(path, f'"{name}"'), f"{path}:2")

    def test_siblings(self):
        self.expect(self.check("src/sync/chan.cpp", '"signal/handler.hpp"'), "src/sync/chan.cpp:2")
        self.expect(self.check("src/net/fd.cpp", '"observe/dump.hpp"'), "src/net/fd.cpp:2")

    def test_the_port_has_one_door(self):
        self.expect(self.check("src/sched/stack.cpp", '"os/linux/syscall.hpp"'), "src/sched/stack.cpp:2")

    def test_public_headers_know_std_only(self):
        self.expect(self.check("include/gort/net.hpp", "<sys/socket.h>"), "include/gort/net.hpp:2")
        self.expect(self.check("include/gort/net.hpp", "<fmt/format.h>"), "include/gort/net.hpp:2")

    def test_files_without_a_layer(self):
        self.expect(self.check("src/extra/a.cpp", "<atomic>"), "src/extra/a.cpp:1")
        self.expect(self.check("src/sync/chan.cpp", '"extra/a.hpp"'), "src/sync/chan.cpp:2")

    def test_downwards(self):
        for path, include in (
            ("src/runtime.cpp", '"net/fd.hpp"'),
            ("src/net/fd.cpp", '"sched/netpoll.hpp"'),
            ("src/sched/park.cpp", '"sched/g.hpp"'),
            ("src/sched/netpoll.cpp", '"sched/netpoll_internal.hpp"'),
            ("src/os/linux/futex.cpp", '"os/linux/syscall.hpp"'),
            ("src/base/check.cpp", "<unistd.h>"),
            ("include/gort/net.hpp", "<cstddef>"),
            ("include/gort/net.hpp", '"gort/export.hpp"'),
        ):
            self.expect(self.check(path, include))

    def test_exceptions_are_named_and_needed(self):
        entry = "src/sched/p.hpp sched/loop.hpp: because\n"
        self.expect(self.check("src/sched/p.hpp", '"sched/loop.hpp"', entry))
        self.expect(self.check("src/sched/p.hpp", '"sched/g.hpp"', entry), "tests/tidy/tables/some.txt:1")


class SizesTest(RuleTest):
    def check(self, text, allowed=""):
        return sizes.check(Tree({"src/a.cpp": text}), counts(allowed))

    def test_functions(self):
        self.expect(self.check(function("f", 70)))
        self.expect(self.check("int x;\n" + function("f", 71)), "src/a.cpp:2")

    def test_functions_in_all_their_forms(self):
        for head in (
            "namespace a::b {\n",
            "struct A {\n A() noexcept : b_{1}, c_(2) {}\n",
            "template <class T>\nclass A : public B<T> {\n public:\n",
            'class GORT_CAPABILITY("lock") A {\n',
        ):
            self.assertEqual([f.text.split()[0] for f in self.check(head + function("f", 90) + "}\n")], ["f"], head)
        long = "  work();\n" * 80
        for head, name in (
            ("A::A(int b)\n    : b_(b), c_{b} {\n", "A::A"),
            ("auto f(int) -> bool {\n", "f"),
            ("bool operator==(const A& a, const A& b) noexcept {\n", "operator=="),
            ("TEST_P(Some, Case) {\n", "TEST_P(Some,Case)"),
            ('extern "C" void g(void) {\n', "g"),
            ("GORT_API(1) int k() GORT_REQUIRES(lock) {\n", "k"),
            ("__attribute__((noinline)) void h() {\n", "h"),
        ):
            found = self.check(head + long + "}\n")
            self.assertEqual(len(found), 1, head)
            self.assertIn(name + " has", found[0].text)

    def test_what_is_no_function(self):
        self.expect(self.check("int table[] = {\n" + "  1,\n" * 80 + "};\n"))
        self.expect(self.check("struct A {\n" + "  int a;\n" * 80 + "};\n"))
        self.expect(self.check("const auto f = [](int a) {\n" + "  a();\n" * 80 + "};\n"))

    def test_files(self):
        self.expect(self.check("int a;\n" * 600))
        self.expect(self.check("int a;\n" * 601), "src/a.cpp:1")

    def test_the_ratchet(self):
        self.expect(self.check(function("f", 80), "src/a.cpp f 80\n"))
        self.expect(self.check(function("f", 81), "src/a.cpp f 80\n"), "src/a.cpp:1")
        self.expect(self.check(function("f", 79), "src/a.cpp f 80\n"), "tests/tidy/tables/some.txt:1")
        self.expect(self.check(function("f", 9), "src/a.cpp f 80\n"), "tests/tidy/tables/some.txt:1")
        self.expect(self.check("int a;\n" * 602, "src/a.cpp 601\n"), "src/a.cpp:1")


class OrdersTest(RuleTest):
    def lines(self, text, path="src/a.cpp"):
        return [f.line for f in orders.check(Tree({path: text}))]

    def test_an_order_must_be_named(self):
        for call in ("x.load()", "p->x.store(1)", "x.fetch_add(1)", "x.exchange(g())"):
            self.assertEqual(self.lines(f"void f() {{\n  {call};  // seq_cst: R1\n}}\n"), [2], call)

    def test_a_compare_exchange_names_both(self):
        for one in ("weak", "strong"):
            call = f"x.compare_exchange_{one}(a, f(b), std::memory_order_acq_rel"
            self.assertEqual(self.lines(f"void f() {{\n  {call});  // acq_rel: R1\n}}\n"), [2])
            self.assertEqual(self.lines(f"void f() {{\n  {call},\n  std::memory_order_relaxed);  // acq_rel: R1\n}}\n"), [])

    def test_an_order_that_is_a_parameter(self):
        self.assertEqual(self.lines("T load(std::memory_order order) {\n  return word().load(order);\n}\n"), [])

    def test_other_types_methods(self):
        self.assertEqual(self.lines("void f() {\n  load(x);\n  v.clear();\n  note.wake();\n}\n"), [])

    def test_a_comment_must_be_there(self):
        self.assertEqual(self.lines("void f() {\n  x.load(std::memory_order_relaxed);\n}\n"), [2])
        self.assertEqual(self.lines("void f() {\n  Mem::fence(std::memory_order_seq_cst);\n}\n"), [2])
        self.assertEqual(self.lines("void f() {\n  os::fence_heavy();\n}\n"), [2])
        self.assertEqual(self.lines("// relaxed: far away\n\nint f() {\n  g();\n  return x.load(std::memory_order_relaxed);\n}\n"), [5])

    def test_a_comment_must_speak_of_the_order(self):
        self.assertEqual(self.lines("void f() {\n  x.load(std::memory_order_relaxed);  // the number of fibers\n}\n"), [2])
        self.assertEqual(self.lines("void f() {\n  x.load(std::memory_order_seq_cst);  // relaxed: a hint\n}\n"), [2])
        self.assertEqual(self.lines("void f() {\n  os::fence_light();  // look again\n}\n"), [2])

    def test_comments_that_do(self):
        load = "x.load(std::memory_order_acquire);"
        for text in (
            f"void f() {{\n  {load}  // acquire: pairs with g()\n}}\n",
            f"void f() {{\n  {load}  // S1\n}}\n",
            f"void f() {{\n  // acquire: pairs with g(),\n  // and so on.\n  {load}\n}}\n",
            "// acquire: pairs with g().\nint f() {\n  return x.load(std::memory_order_acquire);\n}\n",
            "struct A {\n public:\n  // acquire: R1\n  int f() const { return x.load(std::memory_order_acquire); }\n};\n",
            "void f() {\n  if (x.load(std::memory_order_acquire) &&  // acquire: R1\n      y) {\n  }\n}\n",
            "void f() {\n  // acquire, release: R1\n  x.fetch_add(1, std::memory_order_acq_rel);\n}\n",
            "void f() {\n  os::fence_light();  // the other side's fence\n}\n",
        ):
            self.assertEqual(self.lines(text), [], text)

    def test_a_comment_above_a_run(self):
        run = "void f() {\n  // relaxed: statistics.\n" + "  a.store(1, std::memory_order_relaxed);\n" * 3
        self.assertEqual(self.lines(run + "}\n"), [])
        self.assertEqual(self.lines(run + "\n  a.store(1, std::memory_order_relaxed);\n}\n"), [7])  # an empty line
        self.assertEqual(self.lines(run + "  g();\n  a.store(1, std::memory_order_relaxed);\n}\n"), [7])
        self.assertEqual(self.lines(run + "  chaos_point(P::a);\n  a.store(1, std::memory_order_relaxed);\n}\n"), [])
        long = "void f() {\n  // relaxed: statistics.\n" + "  a.store(1, std::memory_order_relaxed);\n" * 7
        self.assertEqual(self.lines(long + "}\n"), [9])

    def test_a_comment_on_the_line_above_is_that_lines(self):
        a = "  a.store(1, std::memory_order_relaxed);"
        self.assertEqual(self.lines(f"void f() {{\n{a}  // relaxed: R1\n{a}\n}}\n"), [3])

    def test_operators_on_atomics(self):
        head = "struct A {\n  Atomic<int> count_{0};\n"
        for use in ("++count_;", "count_++;", "count_ += 2;", "count_ = 3;", "g(count_);", "if (count_ == 0) g();", "return count_;"):
            self.assertEqual(self.lines(f"{head}  void f() {{ {use} }}\n}};\n"), [3], use)
        for use in ("g(Mode::count_);", "g(&count_);", "Atomic<int>& c = x->count_of(1);", "count_.wait(1);"):
            self.assertEqual(self.lines(f"{head}  void f() {{ {use} }}\n}};\n"), [], use)

    def test_operators_on_atomics_of_headers(self):
        texts = {
            "src/sched/p.hpp": "struct P {\n  Atomic<int> count{0};\n};\n",
            "src/sched/b.hpp": '#include "sched/p.hpp"\n',
            "src/sched/a.cpp": '#include "sched/b.hpp"\nint f(P* p) {\n  return p->count;\n}\n',
        }
        self.expect(orders.check(Tree(texts)), "src/sched/a.cpp:3")
        texts["src/sched/b.hpp"] = "int b;\n"
        self.expect(orders.check(Tree(texts)))

    def test_a_name_that_means_two_things_is_left_alone(self):
        self.assertEqual(self.lines("struct A {\n  Atomic<int> n{0};\n};\nvoid f(int n) {\n  ++n;\n}\n"), [])


class InvariantsTest(RuleTest):
    GOOD = {
        "src/sched/a.hpp": "// a.\n//\n//   R1  The first thing. And why\n//       it holds.\nint a;  // R1\n",
        "tests/unit/a_test.cpp": "// R1: proven.\nint b;\n",
    }

    def check(self, changes=None, untested=""):
        texts = {**self.GOOD, **(changes or {})}
        tree = Tree(texts)
        texts.setdefault(invariants.INDEX, invariants.index(tree))
        return invariants.check(Tree(texts), table(untested))

    def test_good(self):
        self.expect(self.check())

    def test_defined_twice(self):
        found = self.check({"src/sync/b.hpp": "// b.\n//\n//   R1  Another thing.\n"})
        self.expect(found, "src/sync/b.hpp:3")

    def test_a_model_that_is_not_there(self):
        source = {"src/sync/b.cpp": "// b.\nint c;  // modelled in BModel\n"}
        self.expect(self.check(source), "src/sync/b.cpp:2")
        self.expect(self.check({**source, "tests/model/b_test.cpp": "// b\nTEST(BModel, Mutants) {}\n"}))

    def test_cited_but_not_defined(self):
        self.expect(self.check({"src/sync/b.hpp": "// b: as R2 says.\n"}), "src/sync/b.hpp:1")
        self.expect(self.check({"src/sync/b.cpp": '// b.\nint c = f("R3: broken");\n'}), "src/sync/b.cpp:2")
        self.expect(self.check({"tests/unit/b_test.cpp": "// R1 to R3\n"}), "tests/unit/b_test.cpp:1", "tests/unit/b_test.cpp:1")
        self.expect(self.check({"docs/design/0001-a.md": "R1\nholds by R2.\n"}), "docs/design/0001-a.md:2")

    def test_what_is_no_citation(self):
        self.expect(self.check({"src/sync/b.hpp": "// b: compiled with -O2, MM, R12, aR1.\ntemplate <class T1> int c;\n"}))
        self.expect(self.check({"docs/design/0001-a.md": "`G1` is code.\n"}))

    def test_nobody_cites_it(self):
        self.expect(self.check({"src/sched/a.hpp": "// a.\n//\n//   R1  The first thing.\n"}), "src/sched/a.hpp:3")

    def test_no_test_names_it(self):
        without = {"tests/unit/a_test.cpp": "// a.\n"}
        self.expect(self.check(without), "src/sched/a.hpp:3")
        a_range = {"tests/unit/a_test.cpp": "// a: (R1 to R1)\n"}
        self.expect(self.check(a_range), "src/sched/a.hpp:3")
        self.expect(self.check(without, "R1: it can only be seen on other hardware\n"))
        self.expect(self.check(None, "R1: stale\n"), "tests/tidy/tables/some.txt:1")

    def test_a_test_may_name_it_in_many_ways(self):
        for text in ("TEST(A, R1) {}", "TEST(A, R1_holds) {}", 'int a = f("R1: broken");'):
            self.expect(self.check({"tests/unit/a_test.cpp": f"// a.\n{text}\n"}))

    def test_the_index(self):
        self.expect(self.check({invariants.INDEX: "# Invariants\n"}), f"{invariants.INDEX}:1")
        self.assertIn("| R1 | The first thing. | [src/sched/a.hpp](../src/sched/a.hpp) |", invariants.index(Tree(self.GOOD)))


class WordsTest(RuleTest):
    def check(self, text, allowed="", path="src/a.cpp"):
        return words.check(Tree({path: text}), table(allowed))

    def test_each_word(self):
        for text, word in (
            ("thread_local int a;", "thread_local"),
            ("__thread int a;", "thread_local"),
            ("volatile int a;", "volatile"),
            ('void f() { asm volatile("nop"); }', "asm"),
            ('void f() { __asm__("nop"); }', "asm"),
            ("void f() { goto end; }", "goto"),
            ("auto* p = reinterpret_cast<A*>(b);", "reinterpret_cast"),
            ("#if A\n#endif", "#if"),
            ("#ifdef A\n#endif", "#if"),
            ("#define A 1", "#define"),
            ("std::atomic<int> a;", "std::atomic"),
            ("void f() { std::atomic_thread_fence(o); }", "std::atomic"),
            ("int a = std::atomic_ref<int>(b).load(order);", "std::atomic"),
        ):
            self.expect(self.check(text), "src/a.cpp:1")
            self.expect(self.check(text, f"{word} src/a.cpp: because\n"))

    def test_once_a_file(self):
        self.expect(self.check("volatile int a;\nvolatile int b;\n"), "src/a.cpp:1")

    def test_a_macro_hides_nothing(self):
        self.expect(self.check("#define A(x) reinterpret_cast<B*>(x)\n", "#define src/a.cpp: because\n"), "src/a.cpp:1")

    def test_what_is_none(self):
        self.expect(self.check('// goto, volatile, std::atomic\nconst char* a = "goto";\nAtomic<int> b;\n#include <atomic>\n#pragma once\n'))
        self.expect(self.check("volatile int a;\n", path="tests/unit/a_test.cpp"))

    def test_entries_that_are_needless_or_unknown(self):
        self.expect(self.check("int a;\n", "goto src/a.cpp: because\n"), "tests/tidy/tables/some.txt:1")
        found = self.check("int a;\n", "gotto src/a.cpp: because\n")
        self.assertEqual(len(found), 2)


class FilesTest(RuleTest):
    def check(self, texts, bools=""):
        return files.check(Tree(texts), table(bools))

    def test_the_opening_comment(self):
        self.expect(self.check({"src/a.cpp": "int a;\n"}), "src/a.cpp:1")
        self.expect(self.check({"src/a.cpp": "\n// a: late\nint a;\n"}), "src/a.cpp:1")
        self.expect(self.check({"src/a.cpp": "// a\nint a;\n"}), "src/a.cpp:1")
        self.expect(self.check({"src/a.cpp": "// a: what it is.\nint a;\n"}))
        self.expect(self.check({"src/a.cpp": '#include "a.hpp"\n', "src/a.hpp": "// a: for both.\n#pragma once\n"}))

    def test_headers(self):
        self.expect(self.check({"src/a.hpp": "// a: what it is.\nint a;\n"}), "src/a.hpp:1")
        head = "// a: what it is.\n#pragma once\n"
        self.expect(self.check({"src/a.hpp": head + "using namespace std;\n"}), "src/a.hpp:3")
        self.expect(self.check({"src/a.hpp": head + "using std::move;\n"}))
        self.expect(self.check({"src/a.cpp": "// a: what it is.\nusing namespace std::chrono_literals;\n"}))

    def test_nothing_is_left_for_later(self):
        for word in ("TODO", "FIXME", "XXX"):
            self.expect(self.check({"src/a.cpp": f"// a: what it is.\nint a;  // {word}: later\n"}), "src/a.cpp:2")
            self.expect(self.check({"docs/a.md": f"# A\n\n{word}: later\n"}), "docs/a.md:3")
        self.expect(self.check({"src/a.cpp": '// a: what it is.\nint a = f("aXXXXXX");\n'}))

    def test_clang_tidy_is_silenced_with_a_reason(self):
        for comment in (
            "NOLINT",
            "NOLINT: it is what is tested",
            "NOLINT(bugprone-use-after-move)",
            "NOLINT(bugprone-use-after-move): tested",
            "NOLINT(*): it is what is tested",
            "NOLINTBEGIN(bugprone-use-after-move): it is what is tested",
        ):
            self.expect(self.check({"src/a.cpp": f"// a: what it is.\nint a;  // {comment}\n"}), "src/a.cpp:2")
        for comment in (
            "NOLINT(bugprone-use-after-move): it is what is tested",
            "NOLINTNEXTLINE(clang-analyzer-core.NullDereference, misc-a): m is not null here",
        ):
            self.expect(self.check({"src/a.cpp": f"// a: what it is.\nint a;  // {comment}\n"}))

    def test_bool_parameters(self):
        head = "// a: what it is.\n"
        for text in (
            "void f(bool on);",
            "void f(int a, const bool on = true) {}",
            "void f(bool);",
            "using F = std::function<void(bool)>;",
            "void (*f)(void* a, bool with);",
            "auto f = [](bool on) { return 1; };",
        ):
            self.expect(self.check({"src/a.cpp": head + text + "\n"}), "src/a.cpp:2")
        for text in (
            "bool f(int a, bool* out, bool& b);",
            "template <class T, bool kFast> void f(T t);",
            "void f() { if (bool a = g(); a) h(); for (bool b = false; !b;) b = g(); }",
            "void f() { g(static_cast<bool>(x)); }",
            "struct A { bool a; };",
        ):
            self.expect(self.check({"src/a.cpp": head + text + "\n"}))

    def test_bools_that_others_demand(self):
        text = "// a: what it is.\nvoid f(bool on);\n"
        self.expect(self.check({"src/a.cpp": text}, "src/a.cpp f: because\n"))
        self.expect(self.check({"src/a.cpp": "// a: what it is.\n"}, "src/a.cpp f: because\n"), "tests/tidy/tables/some.txt:1")
        self.expect(self.check({"tests/unit/a_test.cpp": text}))


class SleepsTest(RuleTest):
    def check(self, text, allowed="", path="tests/unit/a_test.cpp"):
        return sleeps.check(Tree({path: text}), counts(allowed, reasons=True))

    def test_sleeps(self):
        for call in ("sleep_for(1ms)", "std::this_thread::sleep_for(d)", "gort::sleep_until(t)", "usleep(20)", "::nanosleep(&t, 0)", "sleep(1)"):
            self.expect(self.check(f"void f() {{\n  {call};\n}}\n"), "tests/unit/a_test.cpp:2")

    def test_what_is_none(self):
        for call in ("sleep_for(1h)", "sleep_for(std::chrono::hours::max())", "note.sleep_for(1)", "n->sleep()", "int sleep(int)", "futexsleep(&w, 0, 1)"):
            self.expect(self.check(f"void f() {{\n  {call};\n}}\n"))
        self.expect(self.check("void f() { sleep_for(1ms); }\n", path="examples/a.cpp"))

    def test_the_number_is_kept(self):
        two = "void f() {\n  sleep_for(1ms);\n  sleep_for(1ms);\n}\n"
        self.expect(self.check(two, "tests/unit/a_test.cpp 2: because\n"))
        self.expect(self.check(two, "tests/unit/a_test.cpp 1: because\n"), "tests/unit/a_test.cpp:3")
        self.expect(self.check(two, "tests/unit/a_test.cpp 3: because\n"), "tests/tidy/tables/some.txt:1")
        self.expect(self.check(two, "tests/unit/a_test.cpp 2\n"), "tests/tidy/tables/some.txt:1")


class ProgramTest(unittest.TestCase):
    """The program itself, on a tree of its own with the tables of this one."""

    def run_on(self, texts, *arguments):
        with tempfile.TemporaryDirectory() as root:
            for path, text in texts.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                    file.write(text)
            command = [sys.executable, os.path.join(HERE, "tidy.py"), "--root", root, *arguments]
            return subprocess.run(command, capture_output=True, text=True)

    def test_it_says_where_and_what_and_fails(self):
        done = self.run_on({"src/sync/chan.cpp": "// chan: channels.\nvoid f() { x.load(); }\n"}, "orders")
        self.assertEqual(done.returncode, 1)
        self.assertIn("src/sync/chan.cpp:2: orders: load() does not name its order", done.stdout)

    def test_each_rule_runs_alone(self):
        for rule in tidy.RULES:
            done = self.run_on({"src/sync/chan.cpp": "// chan: channels.\nint a;\n"}, rule)
            self.assertEqual(done.stderr, "", rule)

    def test_ctest_has_a_case_for_each(self):
        with open(os.path.join(HERE, "..", "CMakeLists.txt"), encoding="utf-8") as file:
            self.assertIn(f"foreach(rule {' '.join(tidy.RULES)})", file.read())

    def test_nothing_to_read_is_an_error(self):
        self.assertEqual(self.run_on({"docs/a.md": "# A\n"}).returncode, 2)
        self.assertEqual(self.run_on({"src/a.cpp": "// a: what it is.\n"}, "no_such_rule").returncode, 2)


if __name__ == "__main__":
    unittest.main()

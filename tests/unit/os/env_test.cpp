// env: the GORT_* settings, and above all what is not accepted.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/checked.hpp"
#include "os/os.hpp"
#include "os/settings.hpp"

namespace gort::os {
namespace {

struct Parsed {
  Settings settings;
  std::vector<std::string> complaints;
};

Parsed parse(std::map<std::string, std::string> environment) {
  Parsed out;
  out.settings = parse_settings(environment, out.complaints);
  return out;
}

// The one complaint about NAME=value, or "" if there was none.
std::string complaint(const std::string& name, const std::string& value) {
  const Parsed p = parse({{name, value}});
  EXPECT_LE(p.complaints.size(), 1u);
  return p.complaints.empty() ? "" : p.complaints[0];
}

// Chaos is for checked builds, and another one says so.
TEST(Settings, ChaosTakesASeed) {
  for (const char* seed : {"0", "7", "18446744073709551615", "random"}) {
    const Parsed p = parse({{"GORT_DEBUG", "deadlock=off,chaos=" + std::string(seed)}});
    EXPECT_EQ(p.settings.debug.at("deadlock"), "off");
    if (kChecked) {
      EXPECT_TRUE(p.complaints.empty());
      EXPECT_EQ(p.settings.debug.at("chaos"), seed);
    } else {
      ASSERT_EQ(p.complaints.size(), 1u);
      EXPECT_NE(p.complaints[0].find("has no chaos mode"), std::string::npos) << p.complaints[0];
      EXPECT_FALSE(p.settings.debug.contains("chaos"));
    }
  }
}

TEST(Settings, NothingSetIsAllDefaults) {
  const Parsed p = parse({{"PATH", "/bin"}, {"GORTEX", "1"}, {"gort_procs", "3"}, {"GORT", "x"}});
  EXPECT_TRUE(p.complaints.empty());
  EXPECT_EQ(p.settings.procs, 0);
  EXPECT_EQ(p.settings.stack_size, 0u);
  EXPECT_EQ(p.settings.max_threads, 0);
  EXPECT_EQ(p.settings.threads, "");
  EXPECT_TRUE(p.settings.debug.empty());
}

TEST(Settings, AllGood) {
  const Parsed p = parse({{"GORT_PROCS", "4"},
                          {"GORT_STACK", "64k"},
                          {"GORT_MAX_THREADS", "500"},
                          {"GORT_THREADS", "pthread"},
                          {"GORT_DEBUG", "schedtrace=1000,deadlock=strict"}});
  EXPECT_TRUE(p.complaints.empty());
  EXPECT_EQ(p.settings.procs, 4);
  EXPECT_EQ(p.settings.stack_size, 65536u);
  EXPECT_EQ(p.settings.max_threads, 500);
  EXPECT_EQ(p.settings.threads, "pthread");
  EXPECT_EQ(p.settings.debug.at("schedtrace"), "1000");
  EXPECT_EQ(p.settings.debug.at("deadlock"), "strict");
}

TEST(Settings, TheTextOfAComplaint) {
  EXPECT_EQ(complaint("GORT_PROCS", "abc"),
            "GORT_PROCS=abc ignored: expected an integer from 1 to 1024");
  EXPECT_EQ(complaint("GORT_STACK", "1"),
            "GORT_STACK=1 ignored: expected a size from 16k to 1g, for example 256k, 1m or 65536");
  EXPECT_EQ(complaint("GORT_THREADS", "posix"),
            "GORT_THREADS=posix ignored: expected clone or pthread");
  EXPECT_EQ(complaint("GORT_PORCS", "4"),
            "GORT_PORCS=4 ignored: unknown; known are GORT_PROCS, GORT_STACK, GORT_MAX_THREADS, "
            "GORT_THREADS and GORT_DEBUG");
  EXPECT_EQ(
      complaint("GORT_DEBUG", "foo=1"),
      "GORT_DEBUG=foo=1 ignored: known are schedtrace=<milliseconds>, deadlock=on|off|strict, "
      "asyncpreempt=0|1, updateprocs=0|1, slice=<microseconds>us, ticks=timer|event|watchman and "
      "chaos=<seed>|random");
}

TEST(Settings, Slices) {
  std::vector<std::string> complaints;
  for (const char* good : {"100us", "1000us", "60000000us", "86400000000us"}) {
    const Settings s =
        parse_settings({{"GORT_DEBUG", std::string("asyncpreempt=1,slice=") + good}}, complaints);
    EXPECT_EQ(s.debug.at("slice") + "us", good);
    EXPECT_EQ(s.debug.at("asyncpreempt"), "1");
  }
  EXPECT_TRUE(complaints.empty());
  for (const char* bad : {"", "us", "100", "99us", "86400000001us", "-1us", "1ms", "100usus",
                          "18446744073709551616us"}) {
    complaints.clear();
    const Settings s = parse_settings({{"GORT_DEBUG", std::string("slice=") + bad}}, complaints);
    EXPECT_EQ(s.debug.count("slice"), 0U) << bad;
    EXPECT_EQ(complaints.size(), 1U) << bad;
  }
}

TEST(Settings, MalformedIntegers) {
  for (const char* name : {"GORT_PROCS", "GORT_MAX_THREADS"}) {
    for (const char* bad : {"",
                            " ",
                            "0",
                            "-1",
                            "+1",
                            "-0",
                            " 4",
                            "4 ",
                            "4\n",
                            "\t4",
                            "4.0",
                            "4,",
                            "1e3",
                            "0x4",
                            "four",
                            "1000001",
                            "4294967297",
                            "18446744073709551616",
                            "18446744073709551617",
                            "99999999999999999999999999",
                            "٤",
                            "４",
                            "4\xff",
                            "-",
                            "4k"}) {
      const Parsed p = parse({{name, bad}});
      EXPECT_EQ(p.complaints.size(), 1u) << name << "='" << bad << "'";
      EXPECT_EQ(p.settings.procs, 0) << bad;
      EXPECT_EQ(p.settings.max_threads, 0) << bad;
    }
  }
}

TEST(Settings, IntegerLimits) {
  EXPECT_EQ(parse({{"GORT_PROCS", "1"}}).settings.procs, 1);
  EXPECT_EQ(parse({{"GORT_PROCS", "1024"}}).settings.procs, 1024);
  EXPECT_EQ(parse({{"GORT_PROCS", "007"}}).settings.procs, 7);
  EXPECT_NE(complaint("GORT_PROCS", "1025"), "");
  EXPECT_EQ(parse({{"GORT_MAX_THREADS", "1000000"}}).settings.max_threads, 1'000'000);
}

TEST(Settings, MalformedStacks) {
  for (const char* bad : {"",
                          "k",
                          "m",
                          "kk",
                          "16kk",
                          "-16k",
                          "16 k",
                          " 16k",
                          "16k ",
                          "16K B",
                          "1.5m",
                          "16kb",
                          "0",
                          "0k",
                          "16383",
                          "15k",
                          "1025m",
                          "2g",
                          "1073741825",
                          "18014398509481984k",
                          "18446744073709551616",
                          "17179869184g",
                          "1t",
                          "é",
                          "256Ｋ"}) {
    const Parsed p = parse({{"GORT_STACK", bad}});
    EXPECT_EQ(p.complaints.size(), 1u) << "'" << bad << "'";
    EXPECT_EQ(p.settings.stack_size, 0u) << bad;
  }
}

TEST(Settings, StackSizes) {
  const auto stack = [](const char* text) {
    return parse({{"GORT_STACK", text}}).settings.stack_size;
  };
  EXPECT_EQ(stack("16384"), kMinStackBytes);
  EXPECT_EQ(stack("16k"), kMinStackBytes);
  EXPECT_EQ(stack("16K"), kMinStackBytes);
  EXPECT_EQ(stack("1m"), 1u << 20);
  EXPECT_EQ(stack("1M"), 1u << 20);
  EXPECT_EQ(stack("1g"), kMaxStackBytes);
  EXPECT_EQ(stack("1024m"), kMaxStackBytes);
  EXPECT_EQ(stack("1048576k"), kMaxStackBytes);
  EXPECT_EQ(stack("100000"), 100000u);
}

TEST(Settings, MalformedThreads) {
  for (const char* bad : {"", "Clone", "clone ", "clone,pthread", "std"}) {
    EXPECT_NE(complaint("GORT_THREADS", bad), "") << bad;
  }
}

TEST(Settings, DebugEntriesStandOnTheirOwn) {
  const Parsed p = parse({{"GORT_DEBUG", "schedtrace=5,nonsense,deadlock=off,schedtrace=x"}});
  EXPECT_EQ(p.complaints.size(), 2u);
  EXPECT_EQ(p.settings.debug.at("schedtrace"), "5");
  EXPECT_EQ(p.settings.debug.at("deadlock"), "off");
}

TEST(Settings, LastDebugEntryWins) {
  const Parsed p = parse({{"GORT_DEBUG", "deadlock=off,deadlock=on,schedtrace=007"}});
  EXPECT_TRUE(p.complaints.empty());
  EXPECT_EQ(p.settings.debug.at("deadlock"), "on");
  EXPECT_EQ(p.settings.debug.at("schedtrace"), "7");
}

TEST(Settings, MalformedDebug) {
  for (const char* bad : {"",
                          "chaos",
                          "chaos=",
                          "chaos=-1",
                          "chaos=1x",
                          "chaos=18446744073709551616",
                          "schedtrace",
                          "schedtrace=",
                          "schedtrace=-1",
                          "schedtrace= 1",
                          "schedtrace=1 ",
                          "schedtrace=86400001",
                          "schedtrace=99999999999999999999",
                          "deadlock",
                          "deadlock=",
                          "deadlock=yes",
                          "deadlock=on=off",
                          "=",
                          "=1",
                          "é=1",
                          "SCHEDTRACE=1"}) {
    const Parsed p = parse({{"GORT_DEBUG", bad}});
    EXPECT_EQ(p.complaints.size(), 1u) << "'" << bad << "'";
    EXPECT_TRUE(p.settings.debug.empty()) << bad;
  }
  EXPECT_EQ(parse({{"GORT_DEBUG", ","}}).complaints.size(), 2u);
}

TEST(Settings, ComplaintsAreSafeToPrint) {
  EXPECT_EQ(complaint("GORT_PROCS", "1\n\x1b[31m\x7f"),
            "GORT_PROCS=1\\x0a\\x1b[31m\\x7f ignored: expected an integer from 1 to 1024");
  // U+009B begins a control sequence, and the digit is one of another alphabet.
  EXPECT_EQ(complaint("GORT_PROCS", "\xc2\x9b\xef\xbc\x94"),
            "GORT_PROCS=\\xc2\\x9b\\xef\\xbc\\x94 ignored: expected an integer from 1 to 1024");
  const std::string longest = complaint("GORT_PROCS", std::string(100'000, '9'));
  EXPECT_LT(longest.size(), 200u);
  EXPECT_NE(longest.find("..."), std::string::npos);
  EXPECT_NE(complaint("GORT_" + std::string(1000, 'X'), "1"), "");
}

// SE1.
TEST(Settings, EachComplaintIsReportedOnce) {
  ASSERT_EQ(::setenv("GORT_PROCS", "many", 1), 0);
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(read_settings().procs, 0);
  EXPECT_EQ(read_settings().procs, 0);
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "gort: GORT_PROCS=many ignored: expected an integer from 1 to 1024\n");
  ASSERT_EQ(::setenv("GORT_PROCS", "3", 1), 0);
  EXPECT_EQ(read_settings().procs, 3);
  ASSERT_EQ(::unsetenv("GORT_PROCS"), 0);
  EXPECT_EQ(read_settings().procs, 0);
}

// SE3.
TEST(Settings, NoneInAProgramWithMoreRights) {
  const std::map<std::string, std::string> environment{{"GORT_PROCS", "3"}, {"PATH", "/bin"}};
  std::vector<std::string> complaints;
  EXPECT_EQ(trusted(environment, Rights::of_the_caller, complaints), environment);
  EXPECT_TRUE(complaints.empty());
  EXPECT_TRUE(trusted(environment, Rights::more, complaints).empty());
  ASSERT_EQ(complaints.size(), 1U);
  EXPECT_NE(complaints[0].find("GORT_*"), std::string::npos);
  EXPECT_TRUE(trusted({{"PATH", "/bin"}}, Rights::more, complaints).empty());
  EXPECT_EQ(complaints.size(), 1U) << "there was nothing to ignore";
}

TEST(Settings, TheFirstAnswerStays) {
  const Settings& first = settings();
  ASSERT_EQ(::setenv("GORT_PROCS", "7", 1), 0);
  EXPECT_EQ(&settings(), &first);
  ASSERT_EQ(::unsetenv("GORT_PROCS"), 0);
}

TEST(Goenvs, IsTheEnvironment) {
  const auto& env = goenvs();
  ASSERT_NE(std::getenv("PATH"), nullptr);
  EXPECT_EQ(env.at("PATH"), std::getenv("PATH"));
  EXPECT_EQ(&goenvs(), &env);
}

}  // namespace
}  // namespace gort::os

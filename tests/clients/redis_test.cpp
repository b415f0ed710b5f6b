// hiredis, the synchronous client, against a redis-server of our own.
#include <gtest/gtest.h>
#include <hiredis/hiredis.h>

#include <csignal>
#include <memory>
#include <stdexcept>
#include <string>

#include "crew.hpp"
#include "server.hpp"

namespace clients {
namespace {

struct Free {
  void operator()(redisContext* c) const { redisFree(c); }
  void operator()(redisReply* r) const { freeReplyObject(r); }
};
using Context = std::shared_ptr<redisContext>;
using Reply = std::unique_ptr<redisReply, Free>;

class Redis : public testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(server_.await("ready to accept connections")); }
  void TearDown() override { server_.stop(SIGTERM); }

  [[nodiscard]] Context connected() const {
    const Context context(redisConnectUnix(socket_.c_str()), Free());
    if (context == nullptr) throw std::runtime_error("redisConnectUnix: no memory");
    if (context->err != 0)
      throw std::runtime_error(std::string("redisConnectUnix: ") + context->errstr);
    return context;
  }

 private:
  const Account account_ = Account::for_servers();
  const Directory directory_{account_};
  const std::string socket_ = directory_ / "redis.sock";
  // hz: how often the server looks whose time has passed; 10 by itself.
  Program server_{
      {GORT_REDIS_SERVER, "--port", "0", "--unixsocket", socket_, "--unixsocketperm", "777",
       "--save", "", "--appendonly", "no", "--hz", "500", "--dir", directory_.path()},
      account_,
      SIGKILL};
};

template <class... Args>
Reply ask(const Context& context, const char* format, Args... args) {
  return Reply(static_cast<redisReply*>(redisCommand(context.get(), format, args...)));
}

std::string wrong(const Context& context, const Reply& reply, const std::string& what) {
  if (reply == nullptr) return what + ": " + context->errstr;
  const std::string text = reply->str != nullptr ? reply->str : std::to_string(reply->integer);
  return what + ": a reply of type " + std::to_string(reply->type) + ": " + text;
}

// Short commands: each client counts in a key of its own, and reads back what it has written.
TEST_F(Redis, CountsAndValues) {
  expect_fibers_to_do_as_threads("INCR, SET, GET", 300, [this](int client) -> Session {
    const Context context = connected();
    if (ask(context, "DEL count:%d", client) == nullptr) throw std::runtime_error(context->errstr);
    return [context, client](int turn) -> std::string {
      const Reply count = ask(context, "INCR count:%d", client);
      if (count == nullptr || count->type != REDIS_REPLY_INTEGER || count->integer != turn + 1) {
        return wrong(context, count, "INCR " + std::to_string(turn));
      }
      const std::string value(static_cast<size_t>(1 + turn % 1000),
                              static_cast<char>('a' + client % 26));
      const Reply set = ask(context, "SET value:%d %b", client, value.data(), value.size());
      if (set == nullptr || set->type != REDIS_REPLY_STATUS) return wrong(context, set, "SET");
      const Reply got = ask(context, "GET value:%d", client);
      if (got == nullptr || got->type != REDIS_REPLY_STRING ||
          std::string(got->str, got->len) != value) {
        return wrong(context, got, "GET");
      }
      return {};
    };
  });
}

// Commands that take five milliseconds in which the server does nothing for this client.
TEST_F(Redis, WaitsInTheServer) {
  expect_fibers_to_do_as_threads("BLPOP for 5 ms", 100, [this](int client) -> Session {
    return [context = connected(), client](int) -> std::string {
      const Reply none = ask(context, "BLPOP nothing:%d 0.005", client);
      return none != nullptr && none->type == REDIS_REPLY_NIL ? "" : wrong(context, none, "BLPOP");
    };
  });
}

}  // namespace
}  // namespace clients

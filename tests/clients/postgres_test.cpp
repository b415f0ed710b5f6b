// libpq, synchronously, against a PostgreSQL of our own.
#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <csignal>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "crew.hpp"
#include "server.hpp"

namespace clients {
namespace {

struct Free {
  void operator()(PGconn* c) const { PQfinish(c); }
  void operator()(PGresult* r) const { PQclear(r); }
};
using Connection = std::shared_ptr<PGconn>;
using Answer = std::unique_ptr<PGresult, Free>;

class Postgres : public testing::Test {
 protected:
  void SetUp() override {
    {
      Program initdb({GORT_INITDB, "-D", data_, "-A", "trust", "-U", "gort", "--no-locale", "-E",
                      "UTF8", "--no-sync"},
                     account_, SIGKILL);
      ASSERT_EQ(initdb.wait(), 0) << initdb.output();
    }
    // SIGQUIT: at once, for the server and all its processes.
    server_ = std::make_unique<Program>(
        std::vector<std::string>{GORT_POSTGRES, "-D", data_, "-k", directory_.path(), "-c",
                                 "listen_addresses=", "-c", "max_connections=100", "-c",
                                 "fsync=off"},
        account_, SIGQUIT);
    ASSERT_TRUE(server_->await("ready to accept connections"));
  }
  void TearDown() override {
    if (server_ != nullptr) server_->stop(SIGINT);  // a fast shutdown
  }

  [[nodiscard]] Connection connected() const {
    const std::string where = "host=" + directory_.path() + " user=gort dbname=postgres";
    Connection connection(PQconnectdb(where.c_str()), Free());
    if (PQstatus(connection.get()) != CONNECTION_OK)
      throw std::runtime_error(PQerrorMessage(connection.get()));
    return connection;
  }

 private:
  const Account account_ = Account::for_servers();
  const Directory directory_{account_};
  const std::string data_ = directory_ / "data";
  std::unique_ptr<Program> server_;
};

// Nothing if the query has this one value.
std::string ask(const Connection& connection, const std::string& query,
                const std::string& expected) {
  const Answer answer(PQexec(connection.get(), query.c_str()));
  if (PQresultStatus(answer.get()) != PGRES_TUPLES_OK)
    return query + ": " + PQerrorMessage(connection.get());
  const std::string got = PQgetvalue(answer.get(), 0, 0);
  return got == expected ? "" : query + ": " + got;
}

TEST_F(Postgres, ShortQueries) {
  expect_fibers_to_do_as_threads("SELECT a + b", 300, [this](int client) -> Session {
    return [connection = connected(), client](int turn) {
      const std::string sum = std::to_string(client) + " + " + std::to_string(turn);
      return ask(connection, "SELECT " + sum, std::to_string(client + turn));
    };
  });
}

TEST_F(Postgres, WaitsInTheServer) {
  expect_fibers_to_do_as_threads("pg_sleep(0.005)", 100, [this](int client) -> Session {
    return [connection = connected(), client](int) {
      const std::string number = std::to_string(client);
      return ask(connection, "SELECT " + number + " FROM pg_sleep(0.005)", number);
    };
  });
}

}  // namespace
}  // namespace clients

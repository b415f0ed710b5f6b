// Orders that are weaker than they are written.
#include <algorithm>
#include <string_view>

#include "checker/run.hpp"

namespace model {

std::memory_order Checker::order_at(Where where, Op op, std::memory_order written) {
  const Call call{where.path, where.line, op, written};
  const auto known = orders_.find(call);
  if (known != orders_.end()) return known->second;
  const std::memory_order order = order_of_new(where, op, written);
  orders_.emplace(call, order);
  return order;
}

std::memory_order Checker::order_of_new(Where where, Op op, std::memory_order written) {
  const std::string_view path = where.path;
  Site site;
  site.file = path.substr(path.rfind('/') + 1);
  site.path = path;
  site.line = where.line;
  site.op = op;
  site.order = written;
  if (options_.mutant != nullptr && options_.mutant->site == site) return options_.mutant->weaker;
  sites_.insert(std::move(site));
  return written;
}

namespace {

std::vector<std::memory_order> one_step_weaker(const Site& site) {
  using enum std::memory_order;
  if (site.op == Op::recheck) return {relaxed};
  const bool reads_and_writes = site.op == Op::modify || site.op == Op::fence;
  switch (site.order) {
    case seq_cst:
      if (site.op == Op::heavy_fence) return {acq_rel};
      if (reads_and_writes) return {acq_rel};
      return {site.op == Op::load ? acquire : release};
    case acq_rel:
      return {acquire, release};
    case acquire:
    case release:
    case consume:
      return {relaxed};
    case relaxed:
      break;
  }
  return {};
}

}  // namespace

std::string text_of(const Site& site) {
  if (site.op == Op::recheck) return site.file + ":" + std::to_string(site.line) + " recheck";
  return site.file + ":" + std::to_string(site.line) + " " + name_of(site.op) + " " +
         name_of(site.order);
}

std::vector<Survivor> surviving_mutants(const std::function<bool(const Site&)>& wanted,
                                        const std::vector<Program>& programs) {
  std::set<Site> sites;
  for (const Program& program : programs) {
    const Result plain = explore(program.options, program.run);
    if (plain.failed) return {{Site(), "fails as it is: " + plain.what + "\n" + plain.trace}};
    sites.insert(plain.sites.begin(), plain.sites.end());
  }
  std::vector<Survivor> survivors;
  for (const Site& site : sites) {
    if (!wanted(site)) continue;
    for (const std::memory_order weaker : one_step_weaker(site)) {
      const Mutant mutant{site, weaker};
      const bool killed =
          std::any_of(programs.begin(), programs.end(), [&](const Program& program) {
            Options mutated = program.options;
            mutated.mutant = &mutant;
            return explore(mutated, program.run).failed;
          });
      if (!killed) {
        const std::string done =
            site.op == Op::recheck ? " dropped" : std::string(" -> ") + name_of(weaker);
        survivors.push_back({site, text_of(site) + done + " survives"});
      }
    }
  }
  return survivors;
}

}  // namespace model

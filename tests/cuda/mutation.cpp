// SPDX-License-Identifier: MIT
// A first run notes at which launch each mutant is met first (CHAINRULE_MUTATION_RECORD: a file for "mutant launch"). In the second the process forks
// before that launch (CHAINRULE_MUTATION_PLAN: the same lines), and the child goes on with the mutant on until it says what is wrong or comes to its end.
// So no test runs again from its begin: all mutants together take little more than those that survive.
#include "mutation.h"

#include <signal.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>

namespace mutation {

namespace {

constexpr int ahead = 16;     // launches: more than wait in a stream at any time in these tests
constexpr int patience = 20;  // seconds of the processor from one launch to the next; then the child is said to hang
int active = -1, launch = 0;
std::set<int> met;

FILE* open_setting(const char* name, const char* mode) {
  const char* path = std::getenv(name);
  return path ? std::fopen(path, mode) : nullptr;
}
FILE* const record = open_setting("CHAINRULE_MUTATION_RECORD", "w");
const std::multimap<int, int> plan = [] {
  std::multimap<int, int> all;
  if (FILE* f = open_setting("CHAINRULE_MUTATION_PLAN", "r")) {
    for (int mutant, at; std::fscanf(f, "%d %d", &mutant, &at) == 2;) all.emplace(at > ahead ? at - ahead : 1, mutant);
    std::fclose(f);
  }
  return all;
}();

// What the child says first of a fault, "exit status N" or "hangs"; empty: it ended well
std::string verdict(pid_t child, int from) {
  std::string said;
  char part[4096];
  for (;;) {
    const ssize_t n = read(from, part, sizeof part);
    if (n > 0) said.append(part, static_cast<std::size_t>(n));
    for (const char* word : {"cuda emulation: ", "FAIL "})
      if (const std::size_t at = said.find(word), line_end = said.find('\n', at); at != std::string::npos && line_end != std::string::npos) {
        kill(child, SIGKILL);
        waitpid(child, nullptr, 0);
        return said.substr(at, line_end - at);
      }
    if (n > 0) continue;
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGVTALRM ? "hangs" : status ? "exit status " + std::to_string(status) : "";
  }
}

void wait_no_longer() {
  const itimerval end{{0, 0}, {patience, 0}};
  setitimer(ITIMER_VIRTUAL, &end, nullptr);
}

// True in the child
bool try_out(int mutant) {
  std::fflush(nullptr);
  int ends[2];
  if (pipe(ends)) std::abort();
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], 1), dup2(ends[1], 2);
    close(ends[0]), close(ends[1]);
    std::setvbuf(stdout, nullptr, _IONBF, 0);
    active = mutant;
    wait_no_longer();
    return true;
  }
  close(ends[1]);
  std::printf("mutant %d: %s\n", mutant, verdict(child, ends[0]).c_str());
  std::fflush(stdout);
  close(ends[0]);
  return false;
}

}  // namespace

bool on(int mutant) {
  if (record && met.insert(mutant).second) std::fprintf(record, "%d %d\n", mutant, launch), std::fflush(record);
  return mutant == active;
}

void at_launch() {
  ++launch;
  if (active >= 0) return wait_no_longer();
  for (auto [at, end] = plan.equal_range(launch); at != end; ++at)
    if (try_out(at->second)) return;
}

}  // namespace mutation

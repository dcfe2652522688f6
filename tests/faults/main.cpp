// Fail-the-nth: runs test cases of the suite again and again, each time in a process of its own in
// which one thing that the library asks for fails, once: an allocation, a system call, an entry of
// the ring, a buffer. The case may fail, but the process has to end in good order: no crash, no
// abort, no hang, no leak, nothing for a sanitizer to say. After the fault time passes quickly
// (waits.h), so that a case which waits in vain soon gives up.
//
//   ringlet_fail_nth [--kind NAME]... [--every] [--seconds N] [--jobs N] [--case TEXT]
//                    [doctest's options]
//
// --every has each request of each case fail. Without it one is left out when one that came about
// in the same way has failed already: an allocation with the library's functions on the way the
// same up to the sixth, in whatever case; any other request when besides that the case is among
// the same 16 neighbours and the request has the same number in it, where all from the fourth on
// are one. --seconds ends the run then, whatever it is at, and says what was left out; the cases
// come in a scattered order, so a short run has seen something of everything. --jobs: how many
// processes at a time. RINGLET_DRIVER chooses the driver.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <new>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "tests/faults/call_sites.h"
#include "tests/faults/injector.h"
#include "tests/support/make_driver.h"

// A leak ends the process like everything else that a sanitizer finds.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
    return "exitcode=99:detect_stack_use_after_return=1:allocator_may_return_null=1";
}
extern "C" const char* __ubsan_default_options();
extern "C" const char* __ubsan_default_options() { return "print_stacktrace=1"; }

namespace {

using namespace ringlet::faults;

constexpr int neighbours = 16;
constexpr std::uint64_t numbers_told_apart = 4;
constexpr unsigned process_seconds_max = 90;  // a case gives up by itself after 60
constexpr int first_output_fd = 200;  // below it the descriptors are as a case expects them

plan* shared = nullptr;  // this process's

// Arms the injector for the time of the case.
class arming : public doctest::IReporter {
public:
    explicit arming(const doctest::ContextOptions&) {}
    void test_case_start(const doctest::TestCaseData& each) override {
        std::snprintf(shared->test_case, sizeof shared->test_case, "%s", each.m_name);
        arm(*shared);
    }
    void test_case_reenter(const doctest::TestCaseData&) override {}
    void test_case_end(const doctest::CurrentTestCaseStats&) override { disarm(); }
    void report_query(const doctest::QueryData& all) override {
        shared->cases = all.run_stats->numTestCasesPassingFilters;
    }
    void test_run_start() override {}
    void test_run_end(const doctest::TestRunStats&) override {}
    void test_case_exception(const doctest::TestCaseException&) override {}
    void subcase_start(const doctest::SubcaseSignature&) override {}
    void subcase_end() override {}
    void log_assert(const doctest::AssertData&) override {}
    void log_message(const doctest::MessageData&) override {}
    void test_case_skipped(const doctest::TestCaseData&) override {}
};
REGISTER_LISTENER("arming", 0, arming);

struct options {
    std::set<kind> what;
    bool every = false;
    int seconds = 0;
    std::size_t jobs = 2;
    std::string only_case;
    std::vector<const char*> doctest;
};

struct ending {
    bool good = false;
    bool passed = false;
    std::string how;   // a signal, an exit code
    std::string said;  // on stdout and stderr
};

std::string read_all(int fd) {
    std::string text;
    char block[4096];
    ::lseek(fd, 0, SEEK_SET);
    for (ssize_t got = 0; (got = ::read(fd, block, sizeof block)) > 0;) {
        text.append(block, static_cast<std::size_t>(got));
    }
    return text;
}

// Case number `index`, counted from 1; 0: counts them.
[[noreturn]] void run_here(int index, int output, const options& asked) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::dup2(output, STDOUT_FILENO);
    ::dup2(output, STDERR_FILENO);
    ::alarm(process_seconds_max);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    blame_terminations();
    int failed = 0;
    {
        std::vector<const char*> words = asked.doctest;
        if (index == 0) {
            words.push_back("--count");
        }
        doctest::Context context(static_cast<int>(words.size()), words.data());
        context.setOption("first", index);
        context.setOption("last", index);
        context.setOption("no-intro", true);
        failed = context.run();
    }
    std::exit(failed == 0 ? case_passed : case_failed);
}

// One process to be: the case runs whole, to learn what it asks for, or up to its end with the
// request `number` failing.
struct attempt {
    int index;
    kind what;
    std::uint64_t number;  // 0: only learns
    int tries;
};

// Where a process runs: its part of the shared memory, and what it says.
struct slot {
    plan* its = nullptr;
    attempt doing{};
    pid_t process = 0;  // 0: none
    int output = -1;
};

void start(slot& in, const attempt& what, const options& asked) {
    plan& its = *in.its;
    its.what = what.what;
    its.fail_at = what.number;
    its.struck = false;
    for (auto& count : its.counts) {
        count = 0;
    }
    its.test_case[0] = '\0';
    in.doing = what;
    const int output = ::memfd_create("output", MFD_CLOEXEC);
    in.output = ::fcntl(output, F_DUPFD_CLOEXEC, first_output_fd);
    ::close(output);
    std::fflush(stdout);
    in.process = ::fork();
    if (in.process == 0) {
        shared = in.its;
        run_here(what.index, in.output, asked);
    }
    if (in.process < 0 || in.output < 0) {
        std::perror("fail_nth: a process for a case");
        std::exit(2);
    }
}

// After the process has ended.
ending collect(slot& in, int status) {
    ending result;
    result.said = read_all(in.output);
    ::close(in.output);
    in.process = 0;
    if (WIFSIGNALED(status)) {
        const int signal = WTERMSIG(status);
        result.how = signal == SIGALRM ? "hangs" : std::string("dies of ") + ::strsignal(signal);
    } else {
        const int code = WEXITSTATUS(status);
        result.good = code == case_passed || code == case_failed || code == breached_by_test;
        result.passed = code == case_passed;
        result.how = "ends with exit code " + std::to_string(code);
    }
    return result;
}

// What tells one trouble from another: the end, what was said last, and where the fault struck.
std::string trouble(const ending& result) {
    constexpr std::string_view marks[] = {"ringlet: ", "SUMMARY: ", "runtime error: ",
                                          "terminate called"};
    std::string found = result.how;
    for (const std::string_view mark : marks) {
        const std::size_t at = result.said.find(mark);
        if (at != std::string::npos) {
            found += ", " + result.said.substr(at, result.said.find('\n', at) - at);
        }
    }
    std::size_t line = result.said.find(" fails in\n");
    for (int lines = 0; lines < 3 && line != std::string::npos; ++lines) {
        line = result.said.find('\n', line) + 1;
        found += "\n" + result.said.substr(line, result.said.find('\n', line) - line);
    }
    return found;
}

class runner {
public:
    explicit runner(const options& asked) : asked_(asked), slots_(asked.jobs) {
        for (slot& each : slots_) {
            void* const memory = ::mmap(nullptr, sizeof(plan), PROT_READ | PROT_WRITE,
                                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
            if (memory == MAP_FAILED) {
                std::perror("fail_nth: mmap");
                std::exit(2);
            }
            each.its = new (memory) plan;
        }
    }

    int run() {
        const int cases = count_cases();
        for (int index = 1; index <= cases; ++index) {
            to_learn_.push_back(index);
        }
        std::sort(to_learn_.begin(), to_learn_.end(),
                  [](int a, int b) { return scattered(a) < scattered(b); });
        while (true) {
            const bool all_started = fill_slots();
            if (all_started || is_late()) {
                break;
            }
            wait_for_one();
        }
        if (is_late()) {
            stop();
        }
        report();
        return failed_ == 0 && passed_ > 0 ? 0 : 1;
    }

private:
    static std::uint64_t scattered(int index) {
        return static_cast<std::uint64_t>(index) * 0x9e3779b97f4a7c15U;
    }

    bool is_late() const {
        const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - started_;
        return asked_.seconds != 0 && spent.count() > asked_.seconds;
    }

    int count_cases() {
        slot& first = slots_.front();
        start(first, {0, kind::memory, 0, 0}, asked_);
        int status = 0;
        ::waitpid(first.process, &status, 0);
        if (!collect(first, status).passed) {
            std::fputs("fail_nth: the cases could not be counted\n", stderr);
            std::exit(2);
        }
        return static_cast<int>(first.its->cases);
    }

    // True when nothing is left to be done, not even by one that runs.
    bool fill_slots() {
        bool all_free = true;
        for (slot& each : slots_) {
            if (each.process == 0 && !to_fail_.empty()) {
                start(each, to_fail_.back(), asked_);
                to_fail_.pop_back();
            } else if (each.process == 0 && !to_learn_.empty()) {
                start(each, {to_learn_.back(), kind::memory, 0, 0}, asked_);
                to_learn_.pop_back();
            }
            all_free = all_free && each.process == 0;
        }
        return all_free;
    }

    void wait_for_one() {
        int status = 0;
        pid_t ended = 0;
        while (!is_late() && (ended = ::waitpid(-1, &status, WNOHANG)) == 0) {
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        for (slot& each : slots_) {
            if (ended > 0 && each.process == ended) {
                const ending result = collect(each, status);
                each.doing.number == 0 ? learn(each, result) : judge(each, result);
            }
        }
    }

    // The time is up.
    void stop() {
        std::size_t left = to_fail_.size();
        for (slot& each : slots_) {
            if (each.process != 0) {
                ::kill(each.process, SIGKILL);
                ::waitpid(each.process, nullptr, 0);
                each.doing.number == 0 ? to_learn_.push_back(0) : static_cast<void>(++left);
            }
        }
        std::printf("the time is up: %zu requests were not tried, %zu cases not looked at\n", left,
                    to_learn_.size());
    }

    void learn(slot& in, const ending& result) {
        constexpr int tries_max = 3;  // a machine that is busy may break a case's own deadline
        const std::string name = in.its->test_case;
        if (name.find(asked_.only_case) == name.npos) {
            return;
        }
        if (!result.passed && ++in.doing.tries < tries_max) {
            to_fail_.push_back(in.doing);
            return;
        }
        ++cases_;
        if (!result.passed) {
            troubles_[name + " does not pass before anything fails: " + trouble(result)]
                .push_back(result.said);
            ++failed_;
            return;
        }
        for (const kind what : asked_.what) {
            choose(in, what);
        }
    }

    void choose(const slot& in, kind what) {
        const auto at = static_cast<std::size_t>(what);
        const std::uint64_t total = in.its->counts[at];
        requests_ += total;
        for (std::uint64_t number = 1; number <= std::min(total, plan::places_max + 0UL);
             ++number) {
            // A stack tells where memory is asked for. What the loop does in its own time has
            // none that would: of that some fail among each few neighbouring cases.
            std::uint64_t place = in.its->places[at][number - 1] + at;
            if (what != kind::memory) {
                place = place * 31 +
                        static_cast<std::uint64_t>(in.doing.index / neighbours) * 1009 +
                        std::min<std::uint64_t>(number, numbers_told_apart);
            }
            if (asked_.every || places_.insert(place).second) {
                to_fail_.push_back({in.doing.index, what, number, 0});
            }
        }
    }

    void judge(const slot& in, const ending& result) {
        if (result.good) {
            ++passed_;
            return;
        }
        ++failed_;
        std::string title = std::string(in.its->test_case) + ", " +
                            kind_names[static_cast<std::size_t>(in.doing.what)] + " " +
                            std::to_string(in.doing.number) + "\n" + result.said;
        troubles_[trouble(result)].push_back(std::move(title));
    }

    void report() const {
        constexpr std::size_t shown_max = 1, bytes_max = 3000;
        std::printf("%zu requests failed, of %zu in %d test cases\n", passed_ + failed_, requests_,
                    cases_);
        for (const auto& [what, texts] : troubles_) {
            std::printf("\n%zu times: %s\n", texts.size(), what.c_str());
            for (std::size_t i = 0; i < std::min(texts.size(), shown_max); ++i) {
                std::printf("  in %.*s\n", static_cast<int>(bytes_max), texts[i].c_str());
            }
        }
        std::printf("%zu passed, %zu failed\n", passed_, failed_);
    }

    const options& asked_;
    const std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
    std::vector<slot> slots_;
    std::vector<int> to_learn_;     // cases, the next one last
    std::vector<attempt> to_fail_;  // the same
    std::set<std::uint64_t> places_;
    std::map<std::string, std::vector<std::string>> troubles_;
    std::size_t requests_ = 0;
    std::size_t passed_ = 0;
    std::size_t failed_ = 0;
    int cases_ = 0;
};

options parse(int count, char** arguments) {
    options asked;
    asked.doctest.push_back(arguments[0]);
    for (int i = 1; i < count; ++i) {
        const std::string_view word = arguments[i];
        const char* const value = i + 1 < count ? arguments[i + 1] : "";
        if (word == "--every") {
            asked.every = true;
        } else if (word == "--seconds") {
            asked.seconds = std::atoi(value);
            ++i;
        } else if (word == "--jobs") {
            asked.jobs = static_cast<std::size_t>(std::clamp(std::atoi(value), 1, 64));
            ++i;
        } else if (word == "--case") {
            asked.only_case = value;
            ++i;
        } else if (word == "--kind") {
            const auto found = std::find(kind_names.begin(), kind_names.end(),
                                         std::string_view(value));
            if (found == kind_names.end()) {
                std::fputs("fail_nth: --kind is memory, call, entry or buffer\n", stderr);
                std::exit(2);
            }
            asked.what.insert(static_cast<kind>(found - kind_names.begin()));
            ++i;
        } else {
            asked.doctest.push_back(arguments[i]);
        }
    }
    if (asked.what.empty()) {
        asked.what = {kind::memory, kind::call, kind::entry, kind::buffer};
    }
    return asked;
}

}  // namespace

int main(int count, char** arguments) {
    if (ringlet::test::made_driver(count, arguments)) {
        return 0;
    }
    const options asked = parse(count, arguments);
    load_symbols();
    return runner(asked).run();
}

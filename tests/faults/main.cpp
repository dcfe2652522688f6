// Fail-the-nth: runs test cases of the suite again and again, each time in a process of its own in
// which one thing that the library asks for fails, once: an allocation, a system call, an entry of
// the ring, a buffer. The case may fail, but the process has to end in good order: no crash, no
// abort, no hang, no leak, nothing for a sanitizer to say.
//
//   ringlet_fail_nth [--kind NAME]... [--every] [--seconds N] [--case TEXT] [doctest's options]
//
// Of the requests of a case that come about in the same way only one fails, unless --every is
// given. --seconds ends the run early and says so. RINGLET_DRIVER chooses the driver.
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

constexpr unsigned process_seconds_max = 60;

plan* shared = nullptr;

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
    void report_query(const doctest::QueryData&) override {}
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
        doctest::Context context(static_cast<int>(asked.doctest.size()), asked.doctest.data());
        context.setOption("first", index);
        context.setOption("last", index);
        context.setOption("no-intro", true);
        failed = context.run();
    }
    std::exit(failed == 0 ? case_passed : case_failed);
}

// Runs the case at `index` with the plan as it is.
ending run_case(int index, const options& asked) {
    const int output = ::memfd_create("output", MFD_CLOEXEC);
    std::fflush(stdout);
    const pid_t child = ::fork();
    if (child == 0) {
        run_here(index, output, asked);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    ending result;
    result.said = read_all(output);
    ::close(output);
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

struct attempt {
    int index;
    kind what;
    std::uint64_t number;
};

void prepare(kind what, std::uint64_t number) {
    shared->what = what;
    shared->fail_at = number;
    shared->struck = false;
    for (auto& count : shared->counts) {
        count = 0;
    }
    shared->test_case[0] = '\0';
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
    explicit runner(const options& asked) : asked_(asked) {}

    int run() {
        for (int index = 1; count(index); ++index) {
        }
        std::printf("%zu requests to fail, of %zu in %d test cases\n", attempts_.size(), requests_,
                    cases_);
        // Spread over the suite, so that a run cut short has seen something of everything.
        std::sort(attempts_.begin(), attempts_.end(), [](const attempt& a, const attempt& b) {
            return scattered(a) < scattered(b);
        });
        for (const attempt& each : attempts_) {
            if (asked_.seconds != 0 && seconds() > asked_.seconds) {
                std::printf("the time is up: %zu were not tried\n", attempts_.size() - tried_);
                break;
            }
            fail(each);
        }
        report();
        return failed_ == 0 && passed_ > 0 ? 0 : 1;
    }

private:
    static std::uint64_t scattered(const attempt& each) {
        return (static_cast<std::uint64_t>(each.index) * 1'000'003 + each.number * 8 +
                static_cast<std::uint64_t>(each.what)) *
               0x9e3779b97f4a7c15U;
    }

    double seconds() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
    }

    // Learns what the case asks for. False when there is no such case.
    bool count(int index) {
        prepare(kind::memory, 0);
        const ending result = run_case(index, asked_);
        const std::string name = shared->test_case;
        if (name.empty()) {
            return false;
        }
        if (name.find(asked_.only_case) == name.npos) {
            return true;
        }
        ++cases_;
        if (!result.passed) {
            troubles_[name + " does not pass before anything fails: " + trouble(result)]
                .push_back(result.said);
            ++failed_;
            return true;
        }
        for (const kind what : asked_.what) {
            choose(index, what);
        }
        return true;
    }

    void choose(int index, kind what) {
        const auto at = static_cast<std::size_t>(what);
        const std::uint64_t total = shared->counts[at];
        requests_ += total;
        for (std::uint64_t number = 1; number <= std::min(total, plan::places_max + 0UL);
             ++number) {
            // A stack tells where memory is asked for; what completes later has none that would.
            std::uint64_t place = shared->places[at][number - 1] + at;
            if (what != kind::memory) {
                place = place * 31 + static_cast<std::uint64_t>(index) * 1009 +
                        std::min<std::uint64_t>(number, 8);
            }
            if (asked_.every || places_.insert(place).second) {
                attempts_.push_back({index, what, number});
            }
        }
    }

    void fail(const attempt& each) {
        prepare(each.what, each.number);
        const ending result = run_case(each.index, asked_);
        ++tried_;
        if (result.good) {
            ++passed_;
            return;
        }
        ++failed_;
        std::string title = std::string(shared->test_case) + ", " +
                            kind_names[static_cast<std::size_t>(each.what)] + " " +
                            std::to_string(each.number) + "\n" + result.said;
        troubles_[trouble(result)].push_back(std::move(title));
    }

    void report() const {
        constexpr std::size_t shown_max = 1, bytes_max = 3000;
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
    std::vector<attempt> attempts_;
    std::set<std::uint64_t> places_;
    std::map<std::string, std::vector<std::string>> troubles_;
    std::size_t requests_ = 0;
    std::size_t tried_ = 0;
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
    void* const memory = ::mmap(nullptr, sizeof(plan), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        std::perror("fail_nth: mmap");
        return 2;
    }
    shared = new (memory) plan;
    return runner(asked).run();
}

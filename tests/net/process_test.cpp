#include "net/process.h"

#include <sys/wait.h>

#include <csignal>
#include <thread>

#include "coro/dump.h"
#include "coro/gather.h"
#include "tests/net/stories.h"

using namespace ringlet;
using namespace ringlet::test;
using namespace std::chrono_literals;

namespace {

process_options shell(std::string script) {
    process_options options;
    options.arguments = {"sh", "-c", std::move(script)};
    return options;
}

process_options sleeper() {
    process_options options;
    options.arguments = {"sleep", "1000"};
    return options;
}

task<process_result> run_shell(loop& owner, std::string script, run_process_options how = {}) {
    return run_process(owner, shell(std::move(script)), std::move(how));
}

// No child of ours is left, dead or alive.
void check_no_child() {
    errno = 0;
    CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);
    CHECK(errno == ECHILD);
}

bool lives(pid_t id) { return ::kill(id, 0) == 0; }

task<std::string> wait_until_gone(pid_t id) {
    for (int tries = 0; tries < 2000; ++tries) {
        if (!lives(id)) {
            co_return "gone";
        }
        std::this_thread::sleep_for(5ms);  // also where the loop's time is not real
        co_await yield_now();
    }
    co_return "lives";
}

template <class Story>
void tell_twice(Story story) {
    tell(story, 2);  // children take real time, with any seed
    check_no_child();
}

}  // namespace

TEST_CASE("a program's exit code, output and errors are collected") {
    tell_twice([](loop& owner) -> task<void> {
        run_process_options how;
        how.input = "some input";
        const process_result got =
            co_await run_shell(owner, "cat; echo ' seen' >&2; exit 3", std::move(how));
        CHECK(got.output == "some input");
        CHECK(got.errors == " seen\n");
        CHECK(got.status.exit_code == 3);
        CHECK(got.status.ended_by == 0);
        CHECK_FALSE(got.status.ok());
        CHECK(got.status.text() == "exit code 3");
        CHECK(got.status.memory_bytes_max > 100'000);
    });
}

TEST_CASE("a signal that ended a program is told by name") {
    tell_twice([](loop& owner) -> task<void> {
        const process_result got = co_await run_shell(owner, "kill -SEGV $$");
        CHECK(got.status.ended_by == SIGSEGV);
        CHECK(got.status.exit_code == -1);
        CHECK(got.status.text().find("ended by SIGSEGV") == 0);
    });
}

TEST_CASE("much goes through all three pipes at once") {
    tell_twice([](loop& owner) -> task<void> {
        run_process_options how;
        how.input = std::string(3'000'000, 'x');
        const process_result got = co_await run_shell(owner, "tee /dev/stderr", std::move(how));
        CHECK(got.status.ok());
        CHECK(got.output == std::string(3'000'000, 'x'));
        CHECK(got.errors == got.output);
    });
}

TEST_CASE("a program need not read its input") {
    tell_twice([](loop& owner) -> task<void> {
        run_process_options how;
        how.input = std::string(1'000'000, 'x');
        const process_result got = co_await run_shell(owner, "exec true", std::move(how));
        CHECK(got.status.ok());
    });
}

TEST_CASE("errors can go where the output goes, or nowhere") {
    tell_twice([](loop& owner) -> task<void> {
        process_options merged = shell("echo out; echo err >&2");
        merged.errors = child_stream::output();
        const process_result both = co_await run_process(owner, merged);
        CHECK(both.output == "out\nerr\n");
        CHECK(both.errors.empty());
        process_options quiet = shell("echo out; echo err >&2");
        quiet.errors = child_stream::null();
        const process_result one = co_await run_process(owner, quiet);
        CHECK(one.output == "out\n");
        CHECK(one.errors.empty());
    });
}

TEST_CASE("environment, variables and directory are as asked for") {
    tell_twice([](loop& owner) -> task<void> {
        process_options what = shell("echo $ONE-$TWO-$HOME; pwd");
        what.environment = {"PATH=/usr/bin:/bin", "ONE=1", "TWO=old"};
        what.set_variables = {"TWO=2"};
        what.directory = "/usr";
        const process_result got = co_await run_process(owner, what);
        CHECK(got.output == "1-2-\n/usr\n");
        ::setenv("RINGLET_TEST_VARIABLE", "ours", 1);
        process_options inherits = shell("echo $RINGLET_TEST_VARIABLE");
        const process_result kept = co_await run_process(owner, inherits);
        CHECK(kept.output == "ours\n");
        inherits.set_variables = {"RINGLET_TEST_VARIABLE=other"};
        const process_result replaced = co_await run_process(owner, inherits);
        CHECK(replaced.output == "other\n");
        ::unsetenv("RINGLET_TEST_VARIABLE");
    });
}

TEST_CASE("what cannot be started is an error that names it") {
    tell_twice([](loop& owner) -> task<void> {
        process_options what;
        what.arguments = {"no-such-program-at-all"};
        std::string said;
        try {
            (void)co_await run_process(owner, what);
        } catch (const error& failure) {
            said = failure.what();
            CHECK(failure.code() == std::errc::no_such_file_or_directory);
        }
        CHECK(said.find("no such program: no-such-program-at-all") == 0);
        what.arguments.clear();
        const std::error_code nothing = co_await failure_of(run_process(owner, what));
        CHECK(nothing == std::errc::invalid_argument);
        what = shell("true");
        what.keep = {1};
        const std::error_code standard = co_await failure_of(run_process(owner, what));
        CHECK(standard == std::errc::invalid_argument);
        what.keep = {12345};
        const std::error_code closed = co_await failure_of(run_process(owner, what));
        CHECK(closed == std::errc::bad_file_descriptor);
    });
}

TEST_CASE("too much output and too long a time kill the program and are errors") {
    tell_twice([](loop& owner) -> task<void> {
        run_process_options small;
        small.output_bytes_max = 1000;
        const std::error_code much =
            co_await failure_of(run_shell(owner, "exec yes", std::move(small)));
        CHECK(much == errc::limit_exceeded);
        run_process_options quick;
        quick.timeout = 50ms;
        const std::error_code late =
            co_await failure_of(run_shell(owner, "exec sleep 1000", std::move(quick)));
        CHECK(late == errc::timed_out);
    });
}

TEST_CASE("cancelling a run kills the program") {
    tell_twice([](loop& owner) -> task<void> {
        const std::error_code code = co_await failure_of(
            with_timeout_task(50ms, run_shell(owner, "exec sleep 1000")));
        CHECK(code == errc::timed_out);
    });
}

TEST_CASE("a process talks through its pipes, and its end can be waited for by many") {
    tell_twice([](loop& owner) -> task<void> {
        process_options what = shell("read line; echo \"got $line\"; read rest; exit 4");
        what.input = child_stream::pipe();
        what.output = child_stream::pipe();
        process child(owner, what);
        CHECK(child);
        CHECK(lives(child.id()));
        CHECK_FALSE(child.ended());
        CHECK_FALSE(child.errors);
        co_await child.input.write("hello\n");
        char text[64];
        const std::size_t bytes =
            co_await child.output.read_some(std::as_writable_bytes(std::span(text)));
        CHECK(std::string(text, bytes) == "got hello\n");
        const auto end = [](process& of) -> task<process_status> { co_return co_await of.wait(); };
        child.input.close();
        const auto all = co_await gather(end(child), end(child), end(child));
        CHECK(std::get<0>(all).exit_code == 4);
        CHECK(std::get<2>(all).exit_code == 4);
        CHECK(child.ended());
        const process_status again = co_await child.wait();
        CHECK(again.exit_code == 4);
        CHECK_FALSE(child.send_signal(SIGTERM));
    });
}

TEST_CASE("a wait that is cancelled leaves the process alone") {
    tell_twice([](loop& owner) -> task<void> {
        process child(owner, sleeper());
        const auto end = [](process& of) -> task<process_status> { co_return co_await of.wait(); };
        const std::error_code code =
            co_await failure_of(with_timeout_task(20ms, end(child)));
        CHECK(code == errc::timed_out);
        CHECK_FALSE(child.ended());
        CHECK(child.send_signal(SIGHUP));
        const process_status how = co_await child.wait();
        CHECK(how.ended_by == SIGHUP);
    });
}

TEST_CASE("a process that is dropped is killed and collected by the loop") {
    tell_twice([](loop& owner) -> task<void> {
        pid_t id = 0;
        {
            const process child(owner, sleeper());
            id = child.id();
            CHECK(lives(id));
        }
        const std::string how = co_await wait_until_gone(id);
        CHECK(how == "gone");
    });
}

TEST_CASE("a group is killed with its leader") {
    tell_twice([](loop& owner) -> task<void> {
        process_options what = shell("sleep 1000 & echo $!; wait");
        what.output = child_stream::pipe();
        what.group = process_group::own;
        pid_t grandchild = 0;
        {
            process child(owner, what);
            CHECK(::getpgid(child.id()) == child.id());
            char text[32] = {};
            (void)co_await child.output.read_some(std::as_writable_bytes(std::span(text)));
            grandchild = std::atoi(text);
            CHECK(grandchild > 0);
            CHECK(lives(grandchild));
        }
        const std::string how = co_await wait_until_gone(grandchild);
        CHECK(how == "gone");
    });
}

TEST_CASE("a session of its own is led by the child") {
    tell_twice([](loop& owner) -> task<void> {
        process_options what = sleeper();
        what.group = process_group::session;
        process child(owner, what);
        CHECK(::getsid(child.id()) == child.id());
        CHECK(child.signal_group(SIGINT));
        const process_status how = co_await child.wait();
        CHECK(how.ended_by == SIGINT);
    });
}

TEST_CASE("terminate asks first and kills after the grace") {
    tell_twice([](loop& owner) -> task<void> {
        process polite(owner, sleeper());
        const process_status asked = co_await polite.terminate(10s);
        CHECK(asked.ended_by == SIGTERM);

        process_options what = shell("trap '' TERM; echo ready; while :; do sleep 1; done");
        what.output = child_stream::pipe();
        what.group = process_group::own;
        process deaf(owner, what);
        char text[32];
        (void)co_await deaf.output.read_some(std::as_writable_bytes(std::span(text)));
        const process_status killed = co_await deaf.terminate(50ms);
        CHECK(killed.ended_by == SIGKILL);
        const process_status again = co_await deaf.terminate(1s);
        CHECK(again.ended_by == SIGKILL);
    });
}

TEST_CASE("given descriptors reach the child, others do not") {
    tell_twice([](loop& owner) -> task<void> {
        int ends[2];
        CHECK(::pipe(ends) == 0);
        process_options what = shell("echo kept >&" + std::to_string(ends[1]) +
                                     "; ls /proc/self/fd | wc -l; cat");
        what.input = child_stream::descriptor(ends[0]);
        what.keep = {ends[1]};
        what.group = process_group::own;  // `cat` never ends by itself, see below
        what.output = child_stream::pipe();
        process child(owner, what);
        ::close(ends[0]);
        ::close(ends[1]);
        // `cat` reads what was kept, and never sees an end: its own shell holds the other end.
        char text[32] = {};
        std::size_t got = 0;
        while (got < 7) {
            const std::size_t more = co_await child.output.read_some(
                std::as_writable_bytes(std::span(text)).subspan(got));
            CHECK(more > 0);
            got += more;
        }
        CHECK(std::string(text, got) == "5\nkept\n");
    });
}

TEST_CASE("a child that somebody else collects is an error for who waits, and no hang") {
    tell_twice([](loop& owner) -> task<void> {
        process child(owner, shell("exit 5"));
        CHECK(::waitpid(child.id(), nullptr, 0) == child.id());
        const auto end = [](process& of) -> task<process_status> { co_return co_await of.wait(); };
        const std::error_code code = co_await failure_of(end(child));
        CHECK(code == std::errc::no_child_process);
        CHECK_FALSE(child.send_signal(SIGTERM));
    });
}

TEST_CASE("many processes at once are all collected") {
    tell_twice([](loop& owner) -> task<void> {
        int ended = 0;
        const auto one = [](loop& on, int number, int& count) -> task<void> {
            const process_result got =
                co_await run_shell(on, "exit " + std::to_string(number % 200));
            CHECK(got.status.exit_code == number % 200);
            ++count;
        };
        scope all(owner);
        for (int number = 0; number < 40; ++number) {
            all.spawn(one(owner, number, ended));
        }
        co_await all.join();
        CHECK(ended == 40);
    });
}

TEST_CASE("a dump says which process is waited for") {
    tell_twice([](loop& owner) -> task<void> {
        process child(owner, sleeper());
        const auto end = [](process& of) -> task<void> { (void)co_await of.wait(); };
        scope waits(owner);
        waits.spawn(end(child));
        const std::string text = dump_tasks(owner);
        CHECK(text.find("for process (" + std::to_string(child.id()) + ", sleep), descriptor ") !=
              std::string::npos);
        waits.cancel();
        co_await waits.join();
    });
}

TEST_CASE("a loop's end waits for the processes that were dropped before it") {
    const int before = open_descriptors();
    {
        loop owner(options_with_seed(seed()));
        for (int i = 0; i < 5; ++i) {
            const process child(owner, sleeper());
        }
    }
    check_no_child();
    CHECK(open_descriptors() == before);
}

TEST_CASE("a handle may be moved, and an empty one does nothing") {
    loop owner(options_with_seed(seed()));
    process empty;
    CHECK_FALSE(empty);
    process first(owner, sleeper());
    const pid_t id = first.id();
    process second(std::move(first));
    CHECK_FALSE(first);
    CHECK(second.id() == id);
    empty = std::move(second);
    CHECK(empty.id() == id);
    empty.drop();
    empty.drop();
    CHECK(run_until(owner, [&] { return !lives(id); }, no_limit));
}

TEST_CASE("mistakes with processes end the program with a sentence") {
    CHECK(last_words([] {
              loop owner;
              process_options brief = shell("exit");  // would outlive us, and hold our stderr
              brief.errors = child_stream::null();
              process child(owner, brief);
              child.signal_group(SIGTERM);
          }).find("no group of its own") != std::string::npos);
}

// What the coroutine suites share: a value whose lives are counted, tasks that take a while, waits
// that fail, and a real operation that stays in flight until it is cancelled.
#pragma once

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/loop.h"
#include "coro/event.h"
#include "coro/run.h"
#include "coro/suspension.h"
#include "coro/task.h"
#include "tests/support/probe.h"

namespace ringlet::test {

// Counts how many of it live. Each test starts and ends with none (see no_leaks).
class counted {
public:
    explicit counted(int number = 0) noexcept : number_(number) { ++live; }
    counted(const counted& other) noexcept : number_(other.number_) { ++live; }
    counted(counted&& other) noexcept : number_(std::exchange(other.number_, -1)) { ++live; }
    counted& operator=(const counted&) = default;
    counted& operator=(counted&& other) noexcept {
        number_ = std::exchange(other.number_, -1);
        return *this;
    }
    ~counted() { --live; }

    int number() const noexcept { return number_; }  // -1 when moved from

    inline static int live = 0;

private:
    int number_;
};

// Checks at its end that every counted value, so every frame that held one, is gone.
struct no_leaks {
    no_leaks() { CHECK(counted::live == 0); }
    ~no_leaks() { CHECK(counted::live == 0); }
};

// The story in a loop of its own, to its end.
template <class T>
T play(task<T> story) {
    loop on;
    return run(on, std::move(story));
}

// Ends after so many passes through the ready queue (0: at once).
inline task<counted> after(int passes, int number) {
    const counted held(number);
    for (int i = 0; i < passes; ++i) {
        co_await yield_now();
    }
    co_return counted(number);
}

inline task<void> wait_passes(int passes) {
    const counted held;
    for (int i = 0; i < passes; ++i) {
        co_await yield_now();
    }
}

inline task<counted> fail_after(int passes, std::string why) {
    const counted held;
    for (int i = 0; i < passes; ++i) {
        co_await yield_now();
    }
    throw std::runtime_error(why);
}

inline task<void> fail_void_after(int passes, std::string why) {
    const counted failed = co_await fail_after(passes, why);
}

// Two connected sockets on which nothing is ever sent.
class silence {
public:
    explicit silence(loop& on) : sockets_(on) {}
    int fd() const noexcept { return sockets_.first; }
    int other() const noexcept { return sockets_.second; }

private:
    socket_pair sockets_;
};

// A receive that stays in flight until it is cancelled. `*ended` says that the kernel gave the
// operation and its memory back.
inline task<counted> receive_forever(int fd, bool* ended) {
    const counted held;
    std::array<char, 16> memory;
    operation_wait receiving(*loop::current());
    receiving.prepare_receive_into(fd, memory.data(), memory.size());
    const int result = co_await receiving;
    *ended = !receiving.active();
    if (result < 0) {
        throw_code(system_code(result), "receive_forever");
    }
    co_return counted(result);
}

inline task<void> receive_nothing(int fd, bool* ended) {
    const counted received = co_await receive_forever(fd, ended);
}

// A job that a test starts, cancels and looks at by hand.
template <class T>
class hand_job final : public job {
public:
    hand_job(ringlet::loop& on, task<T> root) noexcept : job(on), root_(std::move(root)) {}

    hand_job& start() noexcept {
        root_.start_as_root(*this);
        return *this;
    }
    bool finished() const noexcept { return finished_; }
    // Turns the loop until the job has ended.
    outcome<T> finish() {
        CHECK(run_until(this->loop(), [this] { return finished_; }));
        return root_.take_result();
    }

private:
    void root_finished() noexcept override {
        finished_ = true;
        this->loop().skip_sleep();
    }
    task<T> root_;
    bool finished_ = false;
};

// How an outcome ended, as a word: "value", "cancelled", or what its exception says.
template <class T>
std::string ending(outcome<T> ended) {
    if (ended.has_value()) {
        return "value";
    }
    try {
        static_cast<void>(ended.get());
    } catch (const cancelled&) {
        return "cancelled";
    } catch (const std::exception& failure) {
        return failure.what();
    }
    return "empty";
}

// What a task ends with in a job of its own, without taking the test down.
template <class T>
std::string ending_of(task<T> story) {
    try {
        loop on;
        static_cast<void>(run(on, std::move(story)));
        return "value";
    } catch (const cancelled&) {
        return "cancelled";
    } catch (const std::exception& failure) {
        return failure.what();
    }
}

// What a child process says on stderr before it aborts; empty when it does not abort. The child
// makes its own loop: one made before belongs to this process.
template <class Deed>
std::string last_words(Deed deed) {
    int ends[2];
    if (::pipe(ends) != 0) {
        return "no pipe";
    }
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(ends[1], 2);
        std::signal(SIGABRT, SIG_DFL);  // doctest's handler would report a crash of the suite
        deed();
        ::_exit(0);
    }
    ::close(ends[1]);
    std::string words;
    char some[512];
    for (ssize_t got = 0; (got = ::read(ends[0], some, sizeof some)) > 0;) {
        words.append(some, static_cast<std::size_t>(got));
    }
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT ? words : "";
}

inline task<std::string> text_after(int passes, std::string text) {
    for (int i = 0; i < passes; ++i) {
        co_await yield_now();
    }
    co_return text;
}

inline task<int> wait_for(event& of, std::string& log, int number) {
    const counted held;
    try {
        co_await of.wait();
    } catch (const cancelled&) {
        log += std::to_string(number) + " cancelled ";
        throw;
    }
    co_return number;
}

inline task<int> fail_int_after(int passes, std::string why) {
    const counted failed = co_await fail_after(passes, why);
    co_return failed.number();
}

inline bool contains(const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
}

}  // namespace ringlet::test

#include "net/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <memory>
#include <tuple>

#include "coro/gather.h"
#include "coro/timeout.h"
#include "net/spawn.h"

extern char** environ;

namespace ringlet {
namespace {

constexpr nanoseconds retry_pause = std::chrono::milliseconds(50);
constexpr int killed_end_ms_max = 5000;  // how long a loop's end waits for what it killed

nanoseconds duration_of(const timeval& time) noexcept {
    return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
}

// A descriptor of this process that the loop does not know.
class plain_descriptor {
public:
    explicit plain_descriptor(int fd) noexcept : fd_(fd) {}
    plain_descriptor(plain_descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    plain_descriptor& operator=(plain_descriptor&&) = delete;
    ~plain_descriptor() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    int get() const noexcept { return fd_; }

private:
    int fd_;
};

std::vector<std::string> environment_of(const process_options& options) {
    std::vector<std::string> all;
    if (options.environment) {
        all = *options.environment;
    } else {
        for (char** each = environ; each != nullptr && *each != nullptr; ++each) {
            if (std::strchr(*each, '=') != nullptr && **each != '=') {
                all.emplace_back(*each);
            }
        }
    }
    for (const std::string& wanted : options.set_variables) {
        const std::string name = wanted.substr(0, wanted.find('=') + 1);
        std::erase_if(all, [&](const std::string& each) {
            return !name.empty() && each.starts_with(name);
        });
        all.push_back(wanted);
    }
    return all;
}

}  // namespace

// Makes what process_options ask for into a spawn_request, with the pipes.
class spawner {
public:
    spawner(loop& owner, const process_options& options) : loop_(owner) {
        request_.arguments = options.arguments;
        request_.environment = environment_of(options);
        request_.directory = options.directory;
        request_.new_group = options.group == process_group::own;
        request_.new_session = options.group == process_group::session;
        connect(options.input, STDIN_FILENO);
        connect(options.output, STDOUT_FILENO);
        connect(options.errors, STDERR_FILENO);
        for (const int fd : options.keep) {
            if (fd < 3) {
                throw error(std::make_error_code(std::errc::invalid_argument),
                            "descriptor " + std::to_string(fd) +
                                " is a standard stream: it is not kept but given");
            }
            request_.descriptors.push_back({fd, fd});
        }
    }

    detail::spawned start() const { return detail::spawn(request_); }

    pipe_writer input;
    pipe_reader output;
    pipe_reader errors;

private:
    void connect(const child_stream& stream, int target) {
        switch (stream.kind_) {
            case child_stream::kind::inherit: return;
            case child_stream::kind::descriptor: give(stream.fd_, target); return;
            case child_stream::kind::output: give(output_, target); break;
            case child_stream::kind::null: {
                const bool reads = target == STDIN_FILENO;
                const int fd = ::open("/dev/null", (reads ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
                if (fd < 0) {
                    throw error(system_code(errno), "open /dev/null");
                }
                give(own_.emplace_back(fd).get(), target);
                break;
            }
            case child_stream::kind::pipe: {
                pipe_pair made = make_pipe(loop_);
                if (target == STDIN_FILENO) {
                    input = std::move(made.writer);
                    give(own_.emplace_back(made.reader.release()).get(), target);
                } else {
                    (target == STDOUT_FILENO ? output : errors) = std::move(made.reader);
                    give(own_.emplace_back(made.writer.release()).get(), target);
                }
            }
        }
    }
    void give(int fd, int target) {
        if (target == STDOUT_FILENO) {
            output_ = fd;
        }
        request_.descriptors.push_back({fd, target});
    }

    loop& loop_;
    detail::spawn_request request_;
    std::vector<plain_descriptor> own_;  // the child's ends
    int output_ = STDOUT_FILENO;
};

// Polls the pidfd, from the spawn to the child's end; then it collects it. Outlives its process
// where that was dropped before.
class process::core final : public operation, private timer {
public:
    core(loop& owner, const process_options& options)
        : operation(&core::complete),
          timer(&core::retry),
          loop_(owner),
          name_(options.arguments.empty() ? std::string() : options.arguments.front()),
          has_group_(options.group != process_group::inherit) {}

    void begin(const detail::spawned& child) noexcept {
        child_ = child;
        arm();
    }
    void drop() noexcept {
        RINGLET_REQUIRE(waits_.empty(), "a process was dropped while a coroutine waits for it");
        dropped_ = true;
        if (ended_) {
            delete this;
        } else {
            (void)(has_group_ ? send_to_group(SIGKILL) : send(SIGKILL));
        }
    }
    bool send(int number) noexcept {
        return !ended_ &&
               ::syscall(SYS_pidfd_send_signal, child_.pidfd, number, nullptr, 0U) == 0;
    }
    // Its number cannot belong to others before it has been collected.
    bool send_to_group(int number) noexcept {
        RINGLET_REQUIRE(has_group_, "a process has no group of its own to send a signal to");
        return !ended_ && ::kill(-child_.id, number) == 0;
    }

    pid_t id() const noexcept { return child_.id; }
    int descriptor() const noexcept { return child_.pidfd; }
    const std::string& name() const noexcept { return name_; }
    bool has_group() const noexcept { return has_group_; }
    bool ended() const noexcept { return ended_; }
    const process_status& status() const {
        if (lost_) {
            throw error(system_code(ECHILD), "process " + std::to_string(child_.id) + " (" +
                                                 name_ + ") was collected by somebody else");
        }
        return status_;
    }

    detail::wait_list<end_wait> waits_;

private:
    void arm() noexcept {
        prepare_poll(child_.pidfd, POLLIN, false);
        loop_.start(*this);
    }
    static void retry(timer& item) noexcept { static_cast<core&>(item).arm(); }

    static void complete(operation& op, const completion& what) noexcept {
        auto& self = static_cast<core&>(op);
        if (what.result == -ECANCELED) {  // that is the loop's end
            RINGLET_REQUIRE(self.dropped_, "a loop was destroyed before a process of it");
            pollfd end = {self.child_.pidfd, POLLIN, 0};
            ::poll(&end, 1, killed_end_ms_max);
            self.collect();
            self.end();
        } else if (self.collect()) {
            self.end();
        } else {
            // Without the memory to poll, say; the child ends all the same.
            self.loop_.start_timer(self, self.loop_.now() + retry_pause.count());
        }
    }

    // Whether there is nothing more to wait for.
    bool collect() noexcept {
        siginfo_t how = {};
        rusage used = {};
        long failed = 0;
        do {
            failed = ::syscall(SYS_waitid, P_PIDFD, child_.pidfd, &how, WEXITED | WNOHANG, &used);
        } while (failed != 0 && errno == EINTR);
        if (failed != 0) {
            lost_ = true;
            return true;
        }
        if (how.si_pid == 0) {
            return false;
        }
        if (how.si_code == CLD_EXITED) {
            status_.exit_code = how.si_status;
        } else {
            status_.ended_by = how.si_status;
            status_.core_dumped = how.si_code == CLD_DUMPED;
        }
        status_.user_time = duration_of(used.ru_utime);
        status_.system_time = duration_of(used.ru_stime);
        status_.memory_bytes_max = static_cast<std::size_t>(used.ru_maxrss) * 1024;
        return true;
    }
    void end() noexcept {
        ended_ = true;
        ::close(std::exchange(child_.pidfd, -1));
        while (end_wait* const oldest = waits_.pop()) {
            oldest->wake_up();
        }
        if (dropped_) {
            delete this;
        }
    }

    loop& loop_;
    detail::spawned child_{-1, -1};
    const std::string name_;
    const bool has_group_;
    bool dropped_ = false;
    bool ended_ = false;
    bool lost_ = false;
    process_status status_;
};

std::string process_status::text() const {
    if (ended_by == 0) {
        return "exit code " + std::to_string(exit_code);
    }
    const char* const name = ::sigabbrev_np(ended_by);
    return "ended by " + (name != nullptr ? "SIG" + std::string(name)
                                          : "signal " + std::to_string(ended_by)) +
           (core_dumped ? ", with a core dump" : "");
}

process::process(loop& owner, const process_options& options) {
    spawner made(owner, options);
    auto fresh = std::make_unique<core>(owner, options);
    fresh->begin(made.start());
    core_ = fresh.release();
    input = std::move(made.input);
    output = std::move(made.output);
    errors = std::move(made.errors);
}

process::process(process&& other) noexcept
    : input(std::move(other.input)),
      output(std::move(other.output)),
      errors(std::move(other.errors)),
      core_(std::exchange(other.core_, nullptr)) {}

process& process::operator=(process&& other) noexcept {
    std::swap(core_, other.core_);
    std::swap(input, other.input);
    std::swap(output, other.output);
    std::swap(errors, other.errors);
    return *this;
}

void process::drop() noexcept {
    if (core* const dropped = std::exchange(core_, nullptr)) {
        dropped->drop();
    }
    input.close();
    output.close();
    errors.close();
}

pid_t process::id() const noexcept { return core_->id(); }
bool process::ended() const noexcept { return core_->ended(); }
process::end_wait process::wait() noexcept { return end_wait(*core_); }
bool process::send_signal(int number) noexcept { return core_->send(number); }
bool process::signal_group(int number) noexcept { return core_->send_to_group(number); }

bool process::end_wait::await_ready() const noexcept { return core_.ended(); }
void process::end_wait::enlist() noexcept { core_.waits_.push(*this); }
void process::end_wait::delist() noexcept { core_.waits_.remove(*this); }

void process::end_wait::describe_wait(wait_description& into) const {
    into.kind = "process";
    into.detail = std::to_string(core_.id()) + ", " + core_.name();
    into.descriptor = core_.descriptor();
}

process_status process::end_wait::await_resume() const {
    check_cancelled();
    return core_.status();
}

namespace {

task<process_status> end_of(process& child) { co_return co_await child.wait(); }

// A program need not read all it is given.
task<void> feed(pipe_writer& into, const std::string& text) {
    try {
        co_await into.write(text);
    } catch (const error& failure) {
        if (failure.code() != std::errc::broken_pipe) {
            throw;
        }
    }
    into.close();
}

task<std::string> read_up_to(pipe_reader& from, std::size_t bytes_max) {
    if (!from) {
        co_return std::string();
    }
    co_return co_await from.read_all(bytes_max);
}

task<process_result> collect(process& child, const run_process_options& how) {
    auto all = co_await gather(
        end_of(child), read_up_to(child.output, how.output_bytes_max),
        read_up_to(child.errors, how.output_bytes_max), feed(child.input, how.input));
    co_return process_result{std::get<0>(all), std::move(std::get<1>(all)),
                             std::move(std::get<2>(all))};
}

}  // namespace

task<process_status> process::terminate(nanoseconds grace) {
    (void)(core_->has_group() ? signal_group(SIGTERM) : send_signal(SIGTERM));
    try {
        co_return co_await with_timeout(grace, end_of(*this));
    } catch (const ringlet::error& failure) {
        if (failure.code() != errc::timed_out) {
            throw;
        }
    }
    (void)(core_->has_group() ? signal_group(SIGKILL) : send_signal(SIGKILL));
    co_return co_await wait();
}

task<process_result> run_process(loop& owner, process_options what, run_process_options how) {
    what.input = child_stream::pipe();
    what.output = child_stream::pipe();
    if (what.errors.is_inherited()) {
        what.errors = child_stream::pipe();
    }
    process child(owner, what);
    try {
        if (how.timeout == wait_forever) {
            co_return co_await collect(child, how);
        }
        co_return co_await with_timeout(how.timeout, collect(child, how));
    } catch (const error& failure) {
        const std::string& name = what.arguments.front();
        if (failure.code() == errc::timed_out) {
            throw error(errc::timed_out, name + " was killed");
        }
        if (failure.code() == errc::limit_exceeded) {
            throw error(errc::limit_exceeded, "the output of " + name + ", which was killed");
        }
        throw;
    }
}

}  // namespace ringlet

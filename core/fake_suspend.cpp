// How the fake driver leaves a thread: with surprises.
#include "core/fake.h"

namespace ringlet::detail {
namespace {

constexpr unsigned suspension_turns_max = 3;

}  // namespace

void fake_driver::require_thread() noexcept {
    const std::thread::id here = std::this_thread::get_id();
    thread_ = thread_ == std::thread::id() ? here : thread_;
    RINGLET_REQUIRE(thread_ == here, "a loop was run in a thread other than its own");
}

void fake_driver::suspend() noexcept {
    const std::uint64_t wakeups = wakeups_;
    require_thread();
    suspended_ = true;
    thread_ = {};
    for (auto turns = random_.below(suspension_turns_max + 1); turns > 0; --turns) {
        begin_turn();
        step();
        if (!real_.empty()) {
            poll_real(nanoseconds::zero());
        }
    }
    if (wakeups_ != wakeups) {
        wake();  // for the next wait
    }
}

std::error_code fake_driver::resume() noexcept {
    for (waiters& at : waiters_) {
        for (const operation_queue* queue : {&at.readers, &at.writers, &at.polls}) {
            for (operation* op = queue->front(); op != nullptr; op = driver_access::next(*op)) {
                driver_access::result(*op) = turn_ + static_cast<std::int32_t>(some_turns());
            }
        }
    }
    suspended_ = false;
    return {};
}

}  // namespace ringlet::detail

#include "coro/scope.h"

#include "core/result.h"
#include "coro/frame_pool.h"

namespace ringlet {

class scope::child final : public job, public detail::pooled {
public:
    child(scope& in, task<void> root, spawn_site at) noexcept
        : job(in.loop_, in.children_.members, at), scope_(in), root_(std::move(root)) {
        ++in.size_;
    }
    ~child() { --scope_.size_; }

    // May destroy this.
    void start() noexcept { root_.start_as_root(*this); }
    std::exception_ptr failure() noexcept { return root_.take_result().exception(); }
    const job* parent() const noexcept override {
        return scope_.joiner_ != nullptr ? scope_.joiner_->job_ : nullptr;
    }

private:
    void root_finished() noexcept override { scope_.child_finished(*this); }

    scope& scope_;
    task<void> root_;
};

scope::~scope() {
    RINGLET_REQUIRE(size_ == 0, "a scope was destroyed while its children live: join it first");
    if (failure_) {
        detail::report_lost("a scope was destroyed unjoined, and a child had failed", failure_);
    }
}

void scope::spawn(task<void> root, spawn_site at) {
    RINGLET_REQUIRE(root, "an empty task was spawned");
    if (cancelled_) {
        cut_short_ = true;
        return;
    }
    (new child(*this, std::move(root), at))->start();
}

void scope::cancel() noexcept {
    cancelled_ = true;
    // No child can end, and none can be spawned, inside a cancel: it only asks.
    live_link& members = children_.members;
    for (live_link* each = members.next(); each != &members; each = each->next()) {
        job::of(*each).cancel();
    }
}

void scope::child_finished(child& ended) noexcept {
    const std::exception_ptr failure = ended.failure();
    const bool asked = ended.is_cancelled();
    delete &ended;
    if (failure) {
        if (asked && detail::is_cancellation(failure)) {
            cut_short_ = true;
        } else if (!failure_) {
            failure_ = failure;
            cancel();
        }
    }
    if (size_ == 0 && joiner_ != nullptr) {
        std::exchange(joiner_, nullptr)->resume();
    }
}

void scope::join_wait::describe(wait_description& into) const {
    into.kind = "join";
    into.detail = std::to_string(scope_.size_) + (scope_.size_ == 1 ? " child" : " children");
}

void scope::join_wait::resume() noexcept {
    if (job_ != nullptr) {
        job_->set_waiting(nullptr);
    }
    handle_.resume();
}

void scope::join_wait::await_resume() {
    const bool cut_short = std::exchange(scope_.cut_short_, false);
    scope_.cancelled_ = false;
    if (scope_.failure_) {
        std::rethrow_exception(std::exchange(scope_.failure_, nullptr));
    }
    if (cancelled_ && cut_short) {
        throw cancelled();
    }
}

}  // namespace ringlet

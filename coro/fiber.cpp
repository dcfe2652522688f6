#include "coro/fiber.h"

#include <cxxabi.h>

#include <boost/context/detail/fcontext.hpp>

// The sanitizers keep books on stacks, and have to be told which one runs. Called only in builds
// that have them.
extern "C" {
void __sanitizer_start_switch_fiber(void** fake_stack, const void* lowest, std::size_t bytes);
void __sanitizer_finish_switch_fiber(void* fake_stack, const void** lowest, std::size_t* bytes);
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void* fiber);
void __tsan_switch_to_fiber(void* fiber, unsigned flags);
}

namespace ringlet::detail {
namespace {

namespace context = boost::context::detail;

constinit thread_local fiber* running_fiber = nullptr;

// As the C++ ABI lays it out, in both runtimes.
struct exception_globals {
    void* caught;
    unsigned uncaught;
};

exception_globals& this_thread_exceptions() noexcept {
    return *reinterpret_cast<exception_globals*>(abi::__cxa_get_globals());
}

task<void> drive(fiber& driven) {
    while (driven.resume()) {
        co_await driven;
    }
}

}  // namespace

// The three ways over: each tells the sanitizers before and after.
struct fiber::switching {
    // The first thing that runs on the new stack.
    static void enter(context::transfer_t from) noexcept {
        fiber& self = *static_cast<fiber*>(from.data);
        arrived_inside(self, nullptr, from.fctx);
        self.run_(self.argument_);
        self.ended_ = true;
        leave(self, nullptr);
        context::jump_fcontext(self.resumer_, nullptr);
    }

    static void pause(fiber& self) noexcept {
        void* fake_stack = nullptr;
        leave(self, &fake_stack);
        const context::transfer_t back = context::jump_fcontext(self.resumer_, nullptr);
        arrived_inside(self, fake_stack, back.fctx);
    }

    static void run(fiber& self) noexcept {
        void* fake_stack = nullptr;
        if constexpr (address_sanitizer) {
            __sanitizer_start_switch_fiber(&fake_stack, self.stack_.lowest, self.stack_.bytes);
        }
        if constexpr (thread_sanitizer) {
            self.sanitizer_resumer_ = __tsan_get_current_fiber();
            __tsan_switch_to_fiber(self.sanitizer_fiber_, 0);
        }
        self.context_ = context::jump_fcontext(self.context_, &self).fctx;
        if constexpr (address_sanitizer) {
            __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
        }
    }

private:
    static void arrived_inside(fiber& self, void* fake_stack, void* resumer) noexcept {
        self.resumer_ = resumer;
        if constexpr (address_sanitizer) {
            __sanitizer_finish_switch_fiber(fake_stack, &self.resumer_stack_,
                                            &self.resumer_stack_bytes_);
        }
    }
    // `fake_stack` is null at the end, and what is kept for this stack is freed.
    static void leave(fiber& self, void** fake_stack) noexcept {
        if constexpr (address_sanitizer) {
            __sanitizer_start_switch_fiber(fake_stack, self.resumer_stack_,
                                           self.resumer_stack_bytes_);
        }
        if constexpr (thread_sanitizer) {
            __tsan_switch_to_fiber(self.sanitizer_resumer_, 0);
        }
    }
};

fiber::fiber(ringlet::loop& where, child_owner& owner, std::size_t stack_bytes, body run,
             void* argument, const spawn_site& at)
    : job(where, at),
      owner_(owner),
      driver_(drive(*this)),
      stack_(fiber_stacks::take(stack_bytes)),
      context_(context::make_fcontext(stack_.top(), stack_.bytes, &switching::enter)),
      run_(run),
      argument_(argument) {
    if constexpr (thread_sanitizer) {
        sanitizer_fiber_ = __tsan_create_fiber(0);
    }
}

fiber::~fiber() {
    RINGLET_REQUIRE(ended_ || !started_,
                    "a fiber was destroyed before its end: cancel it and wait for that");
    if constexpr (thread_sanitizer) {
        __tsan_destroy_fiber(sanitizer_fiber_);
    }
    fiber_stacks::give_back(stack_);
}

fiber* fiber::running() noexcept { return running_fiber; }

bool fiber::resume() noexcept {
    started_ = true;
    fiber* const outer = std::exchange(running_fiber, this);
    exception_globals& exceptions = this_thread_exceptions();
    const exception_globals of_outer =
        std::exchange(exceptions, {caught_exceptions_, uncaught_exceptions_});
    switching::run(*this);
    caught_exceptions_ = exceptions.caught;
    uncaught_exceptions_ = exceptions.uncaught;
    exceptions = of_outer;
    running_fiber = outer;
    return !ended_;
}

bool fiber::await_suspend(fiber_driver driver) noexcept {
    try {
        return wait_->begin(driver);
    } catch (...) {
        wait_failure_ = std::current_exception();
        return false;
    }
}

void fiber::wait(fiber_wait& what) {
    wait_ = &what;
    switching::pause(*this);
    if (wait_failure_) {
        std::rethrow_exception(std::exchange(wait_failure_, nullptr));
    }
}

}  // namespace ringlet::detail

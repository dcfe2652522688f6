// Unix signals as events of a loop, so that a program can stop in good order. While a signal_watch
// lives, its signals are blocked in the thread that made it and told to its callback instead, in
// the dispatch step of a turn. A signal that comes again before it was told is told once.
//
// No handler is ever installed, so those of an embedding program stay and work again when the watch
// has gone: destruction gives the mask back as it was; a signal that came and was not told is
// dropped. SIGCHLD is left to the program: Ringlet has no use for it (docs/processes.md).
//
// Loop thread only; must die before its loop. Several watches may live as long as their signals
// differ. Helper threads never take signals. Other threads started before the first watch do not
// block its signals and may be hit by them: make watches early.
#pragma once

#include <csignal>
#include <initializer_list>

#include "core/loop.h"

namespace ringlet {

class signal_watch {
public:
    // May destroy the watch.
    using callback = void (*)(void* context, int number) noexcept;

    // Throws `error` naming the signal that cannot be watched, or the cause.
    signal_watch(loop& owner, std::initializer_list<int> numbers, callback told, void* context);
    signal_watch(const signal_watch&) = delete;
    signal_watch& operator=(const signal_watch&) = delete;
    ~signal_watch();

private:
    class core;
    core* core_;
    sigset_t watched_;
    sigset_t unblock_;  // of these, the ones that were not blocked before
};

}  // namespace ringlet

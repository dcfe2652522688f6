// One watched descriptor: its reader and its writer, each a handle that is put into the ready ring
// whenever the descriptor is ready, level-triggered as asyncio has it: after the callback has run
// the poll is asked for again.
//
// A reader removed in its own callback, and perhaps added again by the end of the turn (tornado
// does that for every wait), costs nothing: its poll has ended. One that is removed while it waits
// has its poll called off at once, by a system call, since an armed poll holds its open file. A
// file closed without having been removed is told apart by its inode when it is added anew.
#pragma once

#include <sys/types.h>

#include "core/operation.h"
#include "core/work.h"
#include "python/native/loop_object.h"

namespace ringlet::python {

class watcher {
public:
    enum side : int { reading, writing };

    watcher(loop_object* loop, int fd) noexcept;
    ~watcher();

    // Takes the handle over and returns true; on a bad descriptor false with OSError set.
    bool add(side which, PyObject* handle) noexcept;
    // Whether there was one.
    bool remove(side which) noexcept;
    PyObject* handle(side which) const noexcept { return sides_[which].handle; }
    // For the end of the loop: no handle, nothing queued; polls end by themselves.
    void forget() noexcept;

private:
    struct poll : operation {
        explicit poll(watcher& w, side s) noexcept;
        watcher* owner;  // null: nobody waits any more, it deletes itself
        side which;
    };
    struct end_of_turn : work {
        explicit end_of_turn(watcher& w) noexcept;
        watcher& owner;
    };
    struct half {
        PyObject* handle = nullptr;
        poll* armed = nullptr;  // a poll of the present file, idle or active
    };

    void detach(half& from) noexcept;
    bool arm(side which) noexcept;
    bool same_file() noexcept;
    void ready(side which, int result) noexcept;
    void settle() noexcept;
    void settle_later() noexcept;

    loop_object* const loop_;
    const int fd_;
    dev_t device_ = 0;
    ino_t inode_ = 0;
    half sides_[2];
    end_of_turn end_of_turn_;
};

}  // namespace ringlet::python

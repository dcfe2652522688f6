#include "coro/run.h"

namespace ringlet {
namespace {

thread_local detached* all_detached = nullptr;

}  // namespace

detached::detached(ringlet::loop& owner) noexcept
    : owner_(owner), next_(all_detached), link_(&all_detached) {
    if (next_ != nullptr) {
        next_->link_ = &next_;
    }
    all_detached = this;
}

detached::~detached() {
    *link_ = next_;
    if (next_ != nullptr) {
        next_->link_ = link_;
    }
    owner_.skip_sleep();  // finish_detached may have waited for it
}

void finish_detached(loop& owner) {
    for (;;) {
        bool any = false;
        for (detached* each = all_detached; each != nullptr; each = each->next_) {
            if (&each->owner_ == &owner) {
                any = true;
                each->hurry();
            }
        }
        if (!any) {
            return;
        }
        owner.run_once();
    }
}

}  // namespace ringlet

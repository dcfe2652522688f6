// A place in a circular list of what lives at the moment: joining at the end and leaving are a few
// stores and no branch, and a link in no list leaves harmlessly. Not thread-safe: a list belongs to
// one loop. The head is a link as well; what it is the head of must leave, or be let go of with
// `clear`, before the head dies.
#pragma once

namespace ringlet {

class live_link {
public:
    live_link() noexcept : next_(this), previous_(this) {}
    // Joins the list of `head`, as its last.
    explicit live_link(live_link& head) noexcept : next_(&head), previous_(head.previous_) {
        previous_->next_ = this;
        head.previous_ = this;
    }
    live_link(const live_link&) = delete;
    live_link& operator=(const live_link&) = delete;
    ~live_link() {
        next_->previous_ = previous_;
        previous_->next_ = next_;
    }

    live_link* next() const noexcept { return next_; }
    // As a head: takes every link out.
    void clear() noexcept {
        for (live_link* each = next_; each != this;) {
            live_link* const after = each->next_;
            each->next_ = each->previous_ = each;
            each = after;
        }
        next_ = previous_ = this;
    }

private:
    live_link* next_;
    live_link* previous_;
};

// A list that stands in a list of lists.
struct live_group : live_link {
    explicit live_group(live_link& groups) noexcept : live_link(groups) {}
    live_link members;
};

}  // namespace ringlet

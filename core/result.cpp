#include "core/result.h"

#include <cstdio>
#include <cstdlib>

namespace ringlet {
namespace {

class ringlet_category final : public std::error_category {
public:
    const char* name() const noexcept override { return "ringlet"; }

    std::string message(int code) const override {
        switch (static_cast<errc>(code)) {
            case errc::timed_out: return "the deadline passed";
            case errc::end_of_stream: return "the peer closed the connection early";
            case errc::closed: return "already closed";
            case errc::limit_exceeded: return "a limit was exceeded";
            case errc::resolve_failed: return "the host name has no address";
            case errc::bad_address: return "not an address";
            case errc::forked:
                return "this loop was made in the parent process: make a new one after fork()";
            case errc::broken_promise: return "the promise was dropped without a value";
            case errc::refused_by_policy: return "refused by this program's own rules";
        }
        return "unknown ringlet error " + std::to_string(code);
    }

    std::error_condition default_error_condition(int code) const noexcept override {
        return static_cast<errc>(code) == errc::timed_out
                   ? std::error_condition(std::errc::timed_out)
                   : std::error_condition(code, *this);
    }
};

}  // namespace

const std::error_category& category() noexcept {
    static const ringlet_category instance;
    return instance;
}

std::exception_ptr failure_with(std::error_code code) noexcept {
    try {
        return std::make_exception_ptr(error(code));
    } catch (...) {
        return std::current_exception();
    }
}

void throw_code(std::error_code code, const char* context) {
    if (is_cancelled(code)) {
        throw cancelled();
    }
    if (context != nullptr) {
        throw error(code, context);
    }
    throw error(code);
}

void detail::die(const char* sentence, const char* file, int line) noexcept {
    std::fprintf(stderr, "ringlet: %s (%s:%d)\n", sentence, file, line);
    std::abort();
}

}  // namespace ringlet

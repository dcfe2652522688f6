#include "coro/outcome.h"

#include <cstdio>

#include "core/result.h"

namespace ringlet::detail {

bool is_cancellation(const std::exception_ptr& failure) noexcept {
    try {
        std::rethrow_exception(failure);
    } catch (const cancelled&) {
        return true;
    } catch (...) {
        return false;
    }
}

void report_lost(const char* what, const std::exception_ptr& failure) noexcept {
    try {
        std::rethrow_exception(failure);
    } catch (const cancelled&) {
        // Whoever asked for the cancel knows.
    } catch (const std::exception& reason) {
        std::fprintf(stderr, "ringlet: %s: %s\n", what, reason.what());
    } catch (...) {
        std::fprintf(stderr, "ringlet: %s: an exception of unknown type\n", what);
    }
}

}  // namespace ringlet::detail

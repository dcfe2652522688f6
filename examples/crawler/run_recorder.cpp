#include "examples/crawler/report.h"

#include <algorithm>
#include <utility>

namespace ringlet::crawler {
namespace {

// Whatever nonsense comes in.
double sane(double seconds) { return seconds > 0 ? std::min(seconds, 1e9) : 0; }

double duration(const sample& one) { return sane(one.end_s - one.start_s); }

// Whole microseconds with their seven highest bits.
std::int64_t rounded(double seconds) {
    auto value = static_cast<std::int64_t>(seconds * 1e6);
    int low_bits = 0;
    while (value >> low_bits >= 128) {
        ++low_bits;
    }
    return value >> low_bits << low_bits;
}

bool slower(const sample& a, const sample& b) { return duration(a) > duration(b); }

}  // namespace

std::string cause_of(const sample& s) {
    if (!s.error.empty()) {
        return s.error;
    }
    return s.status >= 400 ? "HTTP status " + std::to_string(s.status) : std::string();
}

run_totals::slice& run_recorder::slice_at(double seconds) {
    std::vector<run_totals::slice>& all = totals.slices;
    while (seconds / totals.slice_s >= static_cast<double>(report_slices_max)) {
        totals.slice_s *= 2;
        for (std::size_t i = 0; i < all.size(); ++i) {
            const run_totals::slice moved = std::exchange(all[i], {});
            run_totals::slice& to = all[i / 2];
            to.started += moved.started;
            to.ended += moved.ended;
            to.bytes += moved.bytes;
        }
        all.resize((all.size() + 1) / 2);
    }
    const auto at = static_cast<std::size_t>(seconds / totals.slice_s);
    if (at >= all.size()) {
        all.resize(at + 1);
    }
    return all[at];
}

void run_recorder::add(sample one) {
    const double seconds = duration(one);
    totals.busy_s += seconds;
    ++slice_at(sane(one.start_s)).started;
    run_totals::slice& end = slice_at(sane(one.end_s));
    ++end.ended;
    end.bytes += one.bytes;
    if (one.status > 0) {
        ++totals.latencies[rounded(seconds)];
    }
    if (std::string text = cause_of(one); !text.empty()) {
        if (totals.causes.size() >= report_causes_max && !totals.causes.contains(text)) {
            text = "other causes";
        }
        run_totals::cause& known = totals.causes[text];
        if (known.count++ == 0) {
            known.example = one.url;
        }
    }
    std::vector<sample>& slow = totals.slowest;
    if (slow.size() < report_rows_max || slower(one, slow.front())) {
        if (slow.size() == report_rows_max) {
            std::pop_heap(slow.begin(), slow.end(), slower);
            slow.pop_back();
        }
        slow.push_back(one);
        std::push_heap(slow.begin(), slow.end(), slower);
    }
    if (totals.count++ % totals.every != 0) {
        return;
    }
    samples.push_back(std::move(one));
    if (samples.size() > report_samples_max) {
        totals.every *= 2;
        for (std::size_t i = 0; 2 * i < samples.size(); ++i) {
            if (i > 0) {
                samples[i] = std::move(samples[2 * i]);
            }
        }
        samples.resize((samples.size() + 1) / 2);
    }
}

}  // namespace ringlet::crawler

#include "examples/crawler/report.h"

#include "examples/crawler/report_page.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <numeric>
#include <ostream>
#include <string_view>

namespace ringlet::crawler {
namespace {

using std::string_view;

template <class Number>
std::string text_of(Number number) {
    char digits[64];
    const auto result = std::to_chars(digits, digits + sizeof digits, number);
    return {digits, result.ptr};
}

std::string text_of(double number, int decimals) {
    char digits[64];
    const auto result =
        std::to_chars(digits, digits + sizeof digits, number, std::chars_format::fixed, decimals);
    return {digits, result.ptr};
}

// For text and for attribute values between any quotes.
std::string html(string_view text) {
    std::string safe;
    safe.reserve(text.size());
    for (const char c : text) {
        if (c == '&') safe += "&amp;";
        else if (c == '<') safe += "&lt;";
        else if (c == '>') safe += "&gt;";
        else if (c == '"') safe += "&quot;";
        else if (c == '\'') safe += "&#39;";
        else if (c == '\0') safe += "\xef\xbf\xbd";
        else safe += c;
    }
    return safe;
}

// A JSON string that is also safe inside a script element: no '<' or '&', and only ASCII bytes that
// are not control characters. Bytes above stay; the browser replaces those that are not UTF-8.
void append_json(std::string& to, string_view text) {
    constexpr string_view digits = "0123456789abcdef";
    to += '"';
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' ||
            c == '&') {
            ((to += "\\u00") += digits[byte >> 4]) += digits[byte & 15];
        } else {
            to += c;
        }
    }
    to += '"';
}

// Seconds as whole microseconds, whatever nonsense comes in.
std::int64_t microseconds(double seconds) {
    constexpr double most_s = 1e9;
    if (!(seconds > 0)) return 0;
    return std::llround(std::min(seconds, most_s) * 1e6);
}

std::int64_t instant(double seconds) { return seconds >= 0 ? microseconds(seconds) : -1; }

double duration_s(const sample& s) {
    const double seconds = s.end_s - s.start_s;
    return seconds > 0 ? seconds : 0;
}

std::vector<const sample*> in_start_order(const std::vector<sample>& samples) {
    std::vector<const sample*> ordered;
    ordered.reserve(samples.size());
    for (const sample& s : samples) ordered.push_back(&s);
    std::stable_sort(ordered.begin(), ordered.end(), [](const sample* a, const sample* b) {
        return microseconds(a->start_s) < microseconds(b->start_s);
    });
    return ordered;
}

// One JSON array with what `value` gives for each sample.
template <class Value>
void append_column(std::string& to, string_view name, const std::vector<const sample*>& samples,
                   Value value) {
    append_json(to += ',', name);
    to += ":[";
    for (const sample* s : samples) (to += text_of(value(*s))) += ',';
    if (to.back() == ',') to.pop_back();
    to += ']';
}

// Columns take a third of the room of one object per sample, and times are whole microseconds.
void append_run(std::string& to, string_view name, const std::vector<sample>& unordered) {
    const std::vector<const sample*> samples = in_start_order(unordered);
    append_json(to += "{\"name\":", name);
    to += ",\"urls\":[";
    for (const sample* s : samples) {
        if (s != samples.front()) to += ',';
        append_json(to, s->url);
    }
    to += ']';
    append_column(to, "start", samples, [](const sample& s) { return microseconds(s.start_s); });
    append_column(to, "end", samples,
                  [](const sample& s) { return microseconds(std::max(s.start_s, s.end_s)); });
    append_column(to, "status", samples, [](const sample& s) { return s.status; });
    append_column(to, "bytes", samples, [](const sample& s) { return s.bytes; });
    struct {
        string_view name;
        double sample::*at;
    } const instants[] = {{"queued", &sample::queued_s},
                          {"resolved", &sample::resolved_s},
                          {"connected", &sample::connected_s},
                          {"firstByte", &sample::first_byte_s}};
    for (const auto& phase : instants) {
        const auto known = [&](const sample* s) { return s->*phase.at >= 0; };
        if (std::any_of(samples.begin(), samples.end(), known))
            append_column(to, phase.name, samples,
                          [&](const sample& s) { return instant(s.*phase.at); });
    }
    std::map<string_view, int> causes;
    append_column(to, "error", samples, [&](const sample& s) {
        if (s.error.empty()) return -1;
        return causes.try_emplace(s.error, static_cast<int>(causes.size())).first->second;
    });
    std::vector<string_view> by_number(causes.size());
    for (const auto& [cause, number] : causes) by_number[static_cast<std::size_t>(number)] = cause;
    to += ",\"causes\":[";
    for (const string_view cause : by_number) {
        if (to.back() != '[') to += ',';
        append_json(to, cause);
    }
    to += "]}";
}

// What the charts need that show more than the sample.
void append_totals(std::string& to, const run_totals& totals) {
    to.pop_back();
    to += ",\"totals\":{\"count\":" + text_of(totals.count) +
          ",\"busy\":" + text_of(microseconds(totals.busy_s)) +
          ",\"slice\":" + text_of(microseconds(totals.slice_s));
    const auto column = [&](string_view name, auto run_totals::slice::*at) {
        append_json(to += ',', name);
        to += ":[";
        for (const run_totals::slice& each : totals.slices) {
            if (to.back() != '[') to += ',';
            to += text_of(each.*at);
        }
        to += ']';
    };
    column("started", &run_totals::slice::started);
    column("ended", &run_totals::slice::ended);
    column("bytes", &run_totals::slice::bytes);
    to += ",\"latencies\":[";
    for (const auto& [value, count] : totals.latencies) {
        if (to.back() != '[') to += ',';
        to += '[' + text_of(value) + ',' + text_of(count) + ']';
    }
    to += "]}}";
}

void append_sweep(std::string& to, const sweep_series& series) {
    append_json(to += "{\"name\":", series.name);
    to += ",\"points\":[";
    for (const sweep_point& point : series.points) {
        if (to.back() != '[') to += ',';
        to += '[' + text_of(microseconds(point.concurrency)) + "e-6," +
              text_of(microseconds(point.total_s)) + "e-6," + text_of(microseconds(point.ideal_s)) +
              "e-6]";
    }
    to += "]}";
}

void write_head(std::ostream& out, const std::string& title, const name_values& options,
                const name_values& summary) {
    // The policy makes the browser itself refuse anything that is not in this file.
    out << "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
           "style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n"
           "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
           "<meta name=\"color-scheme\" content=\"light dark\">\n"
           "<link rel=\"icon\" href=\"data:,\">\n<title>"
        << html(title) << "</title>\n<style>" << detail::report_style
        << "</style>\n</head>\n<body>\n<main>\n<h1>" << html(title) << "</h1>\n";
    if (!summary.empty()) {
        out << "<dl class=\"tiles\">\n";
        for (const auto& [name, value] : summary)
            out << "<div><dt>" << html(name) << "</dt><dd>" << html(value) << "</dd></div>\n";
        out << "</dl>\n";
    }
    if (!options.empty()) {
        out << "<details class=\"options\"><summary>Options</summary><dl>\n";
        for (const auto& [name, value] : options)
            out << "<div><dt>" << html(name) << "</dt><dd>" << html(value) << "</dd></div>\n";
        out << "</dl></details>\n";
    }
    out << "<noscript><p>The charts are drawn by a script inside this file; it is switched off."
           "</p></noscript>\n";
}

void write_chart(std::ostream& out, string_view chart, std::size_t run, string_view heading,
                 string_view note) {
    out << "<section class=\"card\"><h2>" << heading << "</h2><p class=\"note\">" << note
        << "</p><div class=\"chart\" data-chart=\"" << chart << "\" data-run=\"" << run
        << "\"></div></section>\n";
}

void write_tail(std::ostream& out, const std::string& json) {
    out << "</main>\n<div id=\"tip\" hidden></div>\n<svg id=\"namespace\" hidden></svg>\n"
           "<script type=\"application/json\" id=\"data\">"
        << json << "</script>\n<script>" << detail::report_script
        << "</script>\n</body>\n</html>\n";
}

void write_slowest(std::ostream& out, const std::vector<sample>& samples) {
    std::vector<const sample*> slowest = in_start_order(samples);
    const std::size_t rows = std::min(slowest.size(), report_rows_max);
    std::partial_sort(
        slowest.begin(), slowest.begin() + static_cast<std::ptrdiff_t>(rows), slowest.end(),
        [](const sample* a, const sample* b) { return duration_s(*a) > duration_s(*b); });
    out << "<section class=\"card\"><h2>Slowest pages</h2><div class=\"scroll\"><table "
           "id=\"slowest\"><thead><tr><th>page<th class=\"number\">time, ms<th class=\"number\">"
           "started at, s<th class=\"number\">bytes<th>status</tr></thead><tbody>\n";
    for (std::size_t i = 0; i < rows; ++i) {
        const sample& s = *slowest[i];
        out << "<tr><td class=\"url\">" << html(s.url) << "<td class=\"number\">"
            << text_of(duration_s(s) * 1e3, 1) << "<td class=\"number\">"
            << text_of(static_cast<double>(microseconds(s.start_s)) / 1e6, 3)
            << "<td class=\"number\">" << s.bytes << "<td>"
            << (s.error.empty() ? text_of(s.status) : html(s.error)) << "</tr>\n";
    }
    out << "</tbody></table></div></section>\n";
}

void write_errors(std::ostream& out, const run_totals& totals) {
    using cause = std::pair<std::string, run_totals::cause>;
    std::vector<cause> causes(totals.causes.begin(), totals.causes.end());
    std::stable_sort(causes.begin(), causes.end(), [](const cause& a, const cause& b) {
        return a.second.count > b.second.count;
    });
    out << "<section class=\"card\"><h2>Errors by cause</h2>";
    if (causes.empty()) {
        out << "<p class=\"note\">No request failed.</p></section>\n";
        return;
    }
    out << "<div class=\"scroll\"><table id=\"errors\"><thead><tr><th>cause<th class=\"number\">"
           "requests<th class=\"number\">share<th>for example</tr></thead><tbody>\n";
    std::size_t left_out = 0;
    for (std::size_t i = 0; i < causes.size(); ++i) {
        if (i >= report_rows_max) {
            left_out += causes[i].second.count;
            continue;
        }
        const auto& [text, found] = causes[i];
        const double share = static_cast<double>(found.count) / static_cast<double>(totals.count);
        out << "<tr><td>" << html(text) << "<td class=\"number\">" << found.count
            << "<td class=\"number\">" << text_of(share * 100, 1) << " %<td class=\"url\">"
            << html(found.example) << "</tr>\n";
    }
    if (left_out > 0)
        out << "<tr><td>" << causes.size() - report_rows_max
            << " further causes<td class=\"number\">" << left_out << "<td><td></tr>\n";
    out << "</tbody></table></div></section>\n";
}

}  // namespace

void write_report(std::ostream& out, const run_report& report) {
    const bool sampled = report.totals.every > 1;
    run_recorder all;
    if (!sampled)
        for (const sample& s : report.samples) all.add(s);
    const run_totals& totals = sampled ? report.totals : all.totals;
    const std::string sample_note = sampled
                                        ? " A sample: one of every " + text_of(totals.every) +
                                              " requests, of " + text_of(totals.count) + " in all."
                                        : "";
    write_head(out, report.title, report.options, report.summary);
    write_chart(
        out, "timeline", 0, "Requests over time",
        "One bar per request, in the order they started. Hover over a bar for its figures." +
            sample_note);
    out << "<div class=\"grid\">\n";
    write_chart(out, "concurrency", 0, "Concurrency", "Requests in flight.");
    write_chart(out, "latency", 0, "Latency", "From start to last byte, of requests answered.");
    write_chart(out, "throughput", 0, "Throughput", "Requests finished per second.");
    write_chart(out, "transfer", 0, "Transfer", "Bytes received per second.");
    out << "</div>\n";
    const auto timed = [](const sample& s) { return s.first_byte_s >= 0; };
    if (std::any_of(report.samples.begin(), report.samples.end(), timed))
        write_chart(out, "phases", 0, "Where the time went",
                    "Mean time of a request in each phase." + sample_note);
    write_slowest(out, totals.slowest);
    write_errors(out, totals);
    std::string json = "{\"sweep\":[],\"runs\":[";
    append_run(json, report.title, report.samples);
    if (sampled) append_totals(json, totals);
    write_tail(out, json += "]}");
}

void write_experiment_report(std::ostream& out, const experiment_report& report) {
    write_head(out, report.title, report.options, report.summary);
    std::string json = "{\"sweep\":[";
    for (const sweep_series& series : report.sweep) {
        if (json.back() != '[') json += ',';
        append_sweep(json, series);
    }
    if (!report.sweep.empty())
        write_chart(out, "sweep", 0, "Total time against concurrency",
                    "Solid: measured. Dashed: ideal, the waiting alone, shared evenly.");
    json += "],\"runs\":[";
    for (std::size_t i = 0; i < report.runs.size(); ++i) {
        const named_run& run = report.runs[i];
        write_chart(out, "timeline", i, html(run.name), html(run.note));
        write_chart(out, "concurrency", i, html(run.name) + ": concurrency", "Requests in flight.");
        if (json.back() != '[') json += ',';
        append_run(json, run.name, run.samples);
    }
    write_tail(out, json += "]}");
}

}  // namespace ringlet::crawler

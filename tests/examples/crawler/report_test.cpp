#include "examples/crawler/report.h"

#include <doctest/doctest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <string_view>

namespace {

using namespace ringlet::crawler;

// What a browser draws out of these pages is checked by report_test.py.

std::string between(const std::string& text, std::string_view start, std::string_view end) {
    const std::size_t from = text.find(start);
    REQUIRE(from != text.npos);
    const std::size_t to = text.find(end, from + start.size());
    REQUIRE(to != text.npos);
    return text.substr(from + start.size(), to - from - start.size());
}

nlohmann::json embedded(const std::string& page) {
    return nlohmann::json::parse(
        between(page, "<script type=\"application/json\" id=\"data\">", "</script>"));
}

std::string page_of(const run_report& report) {
    std::ostringstream out;
    write_report(out, report);
    return out.str();
}

std::size_t count(std::string_view text, std::string_view part) {
    std::size_t found = 0;
    for (std::size_t at = 0; (at = text.find(part, at)) != text.npos; at += part.size()) ++found;
    return found;
}

sample request(std::string url, double start_s, double end_s, int status, std::string error = {}) {
    sample s;
    s.url = std::move(url);
    s.start_s = start_s;
    s.end_s = end_s;
    s.status = status;
    s.error = std::move(error);
    return s;
}

TEST_CASE("the samples are embedded in start order, in whole microseconds") {
    run_report report;
    report.samples = {request("http://h/2", 0.5, 1.25, 200), request("http://h/1", 0, 0.1, 404),
                      request("http://h/3", 0.5, 0.6, 0, "reset")};
    report.samples[0].bytes = 12345678901;
    report.samples[0].first_byte_s = 1;
    const nlohmann::json data = embedded(page_of(report));
    REQUIRE(data["runs"].size() == 1);
    const nlohmann::json& run = data["runs"][0];
    CHECK(run["urls"] == nlohmann::json({"http://h/1", "http://h/2", "http://h/3"}));
    CHECK(run["start"] == nlohmann::json({0, 500000, 500000}));
    CHECK(run["end"] == nlohmann::json({100000, 1250000, 600000}));
    CHECK(run["status"] == nlohmann::json({404, 200, 0}));
    CHECK(run["bytes"] == nlohmann::json({0, 12345678901, 0}));
    CHECK(run["error"] == nlohmann::json({-1, -1, 0}));
    CHECK(run["causes"] == nlohmann::json::array({"reset"}));
    CHECK(run["firstByte"] == nlohmann::json({-1, 1000000, -1}));
    CHECK_FALSE(run.contains("connected"));
}

TEST_CASE("no text of the run's can leave its place") {
    const std::string evil = "</script><script>alert(1)</script>'\"&<!--\xe2\x80\xa8\\\n\x01";
    run_report report;
    report.title = report.samples.emplace_back().url = evil;
    report.options = report.summary = {{evil, evil}};
    report.samples.push_back(request(evil, 1, 2, 0, evil));
    const std::string page = page_of(report);
    CHECK(page.find("alert(1)</script>") == page.npos);
    CHECK(count(page, "<script") == 2);
    CHECK(count(page, "</script>") == 2);
    CHECK(page.find("'\"") == page.npos);
    const nlohmann::json run = embedded(page)["runs"][0];
    CHECK(run["name"] == evil);
    CHECK(run["urls"] == nlohmann::json({evil, evil}));
    CHECK(run["causes"] == nlohmann::json::array({evil}));

    std::ostringstream out;
    write_experiment_report(out, {.title = evil,
                                  .options = report.options,
                                  .summary = report.summary,
                                  .sweep = {{evil, {{1, 2, 3}}}},
                                  .runs = {{evil, evil, report.samples}}});
    CHECK(count(out.str(), "<script") == 2);
    CHECK(embedded(out.str())["sweep"][0]["name"] == evil);
}

TEST_CASE("instants that make no sense are drawn as something that does") {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const double infinite = std::numeric_limits<double>::infinity();
    run_report report;
    report.samples = {request("a", nan, nan, 200), request("b", -5, infinite, 200),
                      request("c", 2, 1, 200)};
    const nlohmann::json run = embedded(page_of(report))["runs"][0];
    CHECK(run["start"] == nlohmann::json({0, 0, 2000000}));
    CHECK(run["end"] == nlohmann::json({0, 1000000000000000, 2000000}));
}

TEST_CASE("the slowest pages come first and the table has an end") {
    run_report report;
    for (std::size_t i = 0; i < report_rows_max + 5; ++i)
        report.samples.push_back(
            request("page-" + std::to_string(i) + ".", 0, double(i) / 10, 200));
    const std::string table = between(page_of(report), "id=\"slowest\"", "</table>");
    CHECK(count(table, "<td class=\"url\">") == report_rows_max);
    CHECK(table.find("page-24.") < table.find("page-23."));
    CHECK(table.find("page-4.") == table.npos);
    CHECK(table.find("2400.0") != table.npos);
}

TEST_CASE("errors are counted by cause, with the answers that are errors") {
    run_report report;
    report.samples = {request("a", 0, 1, 404), request("b", 0, 1, 200),
                      request("c", 0, 1, 0, "reset"), request("d", 0, 1, 404),
                      request("e", 0, 1, 200, "body was cut short")};
    const std::string table = between(page_of(report), "id=\"errors\"", "</table>");
    CHECK(table.find("HTTP status 404<td class=\"number\">2<td class=\"number\">40.0 %") !=
          table.npos);
    CHECK(table.find("reset<td class=\"number\">1<") != table.npos);
    CHECK(table.find("body was cut short<td class=\"number\">1<") != table.npos);
    CHECK(table.find("HTTP status 200") == table.npos);

    for (int i = 0; i < 40; ++i) report.samples.push_back(request("f", 0, 1, 0, std::to_string(i)));
    const std::string longer = between(page_of(report), "id=\"errors\"", "</table>");
    CHECK(longer.find("23 further causes<td class=\"number\">23") != longer.npos);

    report.samples = {request("b", 0, 1, 200)};
    CHECK(page_of(report).find("No request failed.") != std::string::npos);
}

TEST_CASE("of a long run a sample is kept, and everything counts") {
    run_recorder all;
    const std::size_t count = 3 * report_samples_max;
    for (std::size_t i = 0; i < count; ++i) {
        const double start = double(i) / 100;
        sample one = request("page-" + std::to_string(i) + ".", start,
                             start + (i == 777 ? 50 : 0.125), i % 3 == 0 ? 404 : 200);
        one.bytes = i;
        all.add(std::move(one));
    }
    CHECK(all.samples.size() <= report_samples_max);
    CHECK(all.samples.size() >= report_samples_max / 2);
    CHECK(all.samples[1].url == "page-4.");
    CHECK(all.totals.slices.size() <= report_slices_max);
    run_report report;
    report.samples = all.samples;
    report.totals = all.totals;
    const std::string page = page_of(report);
    CHECK(page.find("A sample: one of every 4 requests, of 60000 in all.") != page.npos);
    CHECK(between(page, "id=\"slowest\"", "</tr>\n</tbody>").find("page-777.") != page.npos);
    CHECK(between(page, "id=\"errors\"", "</table>")
              .find("HTTP status 404<td class=\"number\">20000<td class=\"number\">33.3 %") !=
          page.npos);
    const nlohmann::json totals = embedded(page)["runs"][0]["totals"];
    std::size_t started = 0, ended = 0, bytes = 0;
    for (const auto& each : totals["started"]) started += each.get<std::size_t>();
    for (const auto& each : totals["ended"]) ended += each.get<std::size_t>();
    for (const auto& each : totals["bytes"]) bytes += each.get<std::size_t>();
    CHECK(started == count);
    CHECK(ended == count);
    CHECK(bytes == count * (count - 1) / 2);
    REQUIRE(totals["latencies"].size() >= 2);
    for (const auto& [value, times] : all.totals.latencies)
        CHECK((value == 50 * 1'000'000 >> 19 << 19 || (value > 122'000 && value <= 125'000)));
}

TEST_CASE("a run without requests still makes a page") {
    const std::string page =
        page_of({.title = "nothing", .options = {}, .summary = {}, .samples = {}, .totals = {}});
    CHECK(embedded(page)["runs"][0]["urls"].empty());
    std::ostringstream out;
    write_experiment_report(out, {});
    CHECK(embedded(out.str()) == nlohmann::json::parse(R"({"sweep":[],"runs":[]})"));
}

TEST_CASE("an experiment holds its runs and its sweep") {
    std::ostringstream out;
    write_experiment_report(
        out, {.title = "x",
              .options = {},
              .summary = {},
              .sweep = {{"100 ms", {{1, 50.5, 50}, {100, 0.51, 0.5}}}},
              .runs = {{"serial", "A sample.", {request("a", 0, 1, 200)}}, {"100", "", {}}}});
    const nlohmann::json data = embedded(out.str());
    CHECK(data["runs"].size() == 2);
    CHECK(data["runs"][0]["name"] == "serial");
    REQUIRE(data["sweep"][0]["points"].size() == 2);
    CHECK(data["sweep"][0]["points"][0][1].get<double>() == doctest::Approx(50.5));
    CHECK(data["sweep"][0]["points"][1][0].get<double>() == doctest::Approx(100));
    CHECK(count(out.str(), "data-chart=\"timeline\"") == 2);
    CHECK(count(out.str(), "data-chart=\"sweep\"") == 1);
}

}  // namespace

// The fixed parts of a report: its style sheet and the script that draws its charts. Only
// report.cpp includes this. The script reads the JSON in the element "data" and fills every element
// of the class "chart" with the chart its data-chart names; it loads nothing and holds no text of
// the run's.
#pragma once

#include <string_view>

namespace ringlet::crawler::detail {

extern const std::string_view report_style;
extern const std::string_view report_script;

}  // namespace ringlet::crawler::detail

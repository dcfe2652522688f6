#include "examples/crawler/report_page.h"

namespace ringlet::crawler::detail {

const std::string_view report_style = R"css(
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #ffffff; --text: #1b2330; --soft: #5b6675; --line: #dfe3e9;
  --grid: #e9ecf1; --accent: #2f6fdb; --accent-soft: #2f6fdb2e; --mark: #b3401f;
  --ok: #2f7ed8; --redirect: #8468d0; --client: #e09a1a; --server: #d8433b; --failed: #7d1f55;
  --series-0: #2f6fdb; --series-1: #d9622b; --series-2: #1d9a78; --series-3: #8a5cc9;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12161d; --card: #1a2029; --text: #e4e9f0; --soft: #98a4b5; --line: #2c3542;
    --grid: #262e3a; --accent: #6ea4ff; --accent-soft: #6ea4ff33; --mark: #ff9a73;
    --ok: #5b9df2; --redirect: #a78bf0; --client: #f0b347; --server: #ff6f66; --failed: #f06fb2;
    --series-0: #6ea4ff; --series-1: #ff9558; --series-2: #4fcfa8; --series-3: #b794f4;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 18px; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0; overflow-wrap: anywhere; }
dl, dd { margin: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 12px; }
.tiles div, .card, .options {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
}
.tiles div { padding: 10px 14px; min-width: 0; }
.tiles dt { color: var(--soft); font-size: 13px; }
.tiles dd { font-size: 21px; font-weight: 600; line-height: 1.3; overflow-wrap: anywhere; }
.options { margin-top: 14px; padding: 8px 14px; font-size: 14px; }
.options summary { cursor: pointer; color: var(--soft); }
.options dl { columns: 320px; column-gap: 32px; margin-top: 6px; }
.options div { display: flex; gap: 12px; break-inside: avoid; padding: 2px 0; }
.options dt { color: var(--soft); flex: 0 0 9.5em; }
.options dd { min-width: 0; overflow-wrap: anywhere; }
.card { padding: 16px 18px; margin-top: 14px; min-width: 0; }
.grid { display: grid; grid-template-columns: 1fr 1fr; gap: 14px; margin-top: 14px; }
.grid .card { margin: 0; }
.note { color: var(--soft); font-size: 13px; margin: 2px 0 10px; }
.chart { position: relative; min-height: 60px; }
.chart svg { display: block; }
.chart canvas { position: absolute; pointer-events: none; }
svg text { font-size: 12px; fill: var(--soft); }
svg text.strong { fill: var(--text); }
.gridline { stroke: var(--grid); shape-rendering: crispEdges; }
.axis { stroke: var(--line); shape-rendering: crispEdges; }
.cursor { fill: var(--text); opacity: .1; pointer-events: none; }
.percentile { stroke: var(--mark); stroke-dasharray: 4 3; }
svg text.percentile-name {
  fill: var(--mark); font-weight: 600; stroke: var(--card); stroke-width: 4px; paint-order: stroke;
}
.area { fill: var(--accent-soft); } .line { fill: none; stroke: var(--accent); stroke-width: 1.5; }
.column { fill: var(--accent); }
.ok { fill: var(--ok); background: var(--ok); }
.redirect { fill: var(--redirect); background: var(--redirect); }
.client { fill: var(--client); background: var(--client); }
.server { fill: var(--server); background: var(--server); }
.failed { fill: var(--failed); background: var(--failed); }
.legend { display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: 13px; margin-bottom: 6px; }
.legend span { white-space: nowrap; }
.legend i {
  display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px;
}
.stack { display: flex; height: 26px; border-radius: 5px; overflow: hidden; gap: 1px; }
.stack i { min-width: 1px; }
.scroll { overflow-x: auto; margin-top: 8px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 500; white-space: nowrap; }
th, td { padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tbody tr:last-child td { border-bottom: 0; }
.number { text-align: right; white-space: nowrap; }
td.url { overflow-wrap: anywhere; min-width: 15em; }
#tip {
  position: fixed; z-index: 2; pointer-events: none; max-width: min(460px, calc(100vw - 16px));
  background: var(--card); color: var(--text); border: 1px solid var(--line); border-radius: 8px;
  box-shadow: 0 4px 18px #0004; padding: 7px 11px; font-size: 13px; overflow-wrap: anywhere;
}
#tip b { display: block; } #tip div { color: var(--soft); }
#script-error { color: var(--server); font-weight: 600; }
@media (max-width: 760px) {
  main { padding: 18px 10px 32px; } h1 { font-size: 21px; }
  .grid { grid-template-columns: minmax(0, 1fr); }
  .card { padding: 12px; } .tiles { grid-template-columns: 1fr 1fr; gap: 8px; }
  table { font-size: 13px; } th, td { padding-right: 9px; } td.url { min-width: 9em; }
  .tiles dd { font-size: 18px; } .options div { flex-wrap: wrap; gap: 0 12px; }
}
)css";

}  // namespace ringlet::crawler::detail

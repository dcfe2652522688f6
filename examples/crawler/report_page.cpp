#include "examples/crawler/report_page.h"

namespace ringlet::crawler::detail {

const std::string_view report_script = R"js(
'use strict';
addEventListener('error', event => {
  const line = document.createElement('p');
  line.id = 'script-error';
  line.textContent = 'The charts could not be drawn: ' + event.message;
  document.querySelector('main').prepend(line);
});

const data = JSON.parse(document.getElementById('data').textContent);
const svgNamespace = document.getElementById('namespace').namespaceURI;
const elementsMax = 2000;
const classes = ['ok', 'redirect', 'client', 'server', 'failed'];
const classNames = ['2xx', '3xx', '4xx', '5xx', 'failed'];

function add(parent, name, attributes = {}, text = '') {
  const inSvg = name === 'svg' || parent.namespaceURI === svgNamespace;
  const made = inSvg ? document.createElementNS(svgNamespace, name) : document.createElement(name);
  for (const key in attributes) made.setAttribute(key, attributes[key]);
  if (text !== '') made.textContent = text;
  parent.append(made);
  return made;
}

// Figures and their units.
const short = value => String(+value.toPrecision(3));
const whole = value => value.toLocaleString('en-US');
const round2 = value => Math.round(value * 100) / 100;

function timeUnit(seconds) {
  if (seconds < 2e-3) return {name: 'µs', per: 1e6};
  if (seconds < 1.5) return {name: 'ms', per: 1e3};
  if (seconds < 300) return {name: 's', per: 1};
  return {name: 'min', per: 1 / 60};
}

function byteUnit(bytes) {
  if (bytes < 2e3) return {name: 'B', per: 1};
  if (bytes < 2e6) return {name: 'kB', per: 1e-3};
  if (bytes < 2e9) return {name: 'MB', per: 1e-6};
  return {name: 'GB', per: 1e-9};
}

const inUnit = (value, unit) => short(value * unit.per) + ' ' + unit.name;
const time = seconds => inUnit(seconds, timeUnit(seconds));

// Scales: `at` gives pixels, `ticks` the values worth a line.
function linear(min, max, from, to, count) {
  const raw = (max - min) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= raw * 0.999);
  const ticks = [];
  const first = Math.ceil(min / step - 1e-9), last = Math.floor(max / step + 1e-9);
  for (let i = first; i <= last; ++i) ticks.push(i * step);
  return {at: value => from + (value - min) / (max - min) * (to - from), ticks};
}

function logarithmic(min, max, from, to, count) {
  const low = Math.log10(min), span = Math.log10(max) - low;
  const ticks = [];
  const factors = span * 2 <= count ? [1, 2, 5] : [1];
  for (let power = Math.floor(low); power <= low + span; ++power)
    for (const factor of factors) {
      const value = factor * 10 ** power;
      if (value >= min * 0.999 && value <= max * 1.001) ticks.push(value);
    }
  return {at: value => from + (Math.log10(value) - low) / span * (to - from), ticks};
}

// The empty chart: axes, lines and their names. x and y: {min, max, per, name, log, whole, down}.
function frame(box, height, x, y, top = 26) {
  box.replaceChildren();
  const width = Math.max(200, box.clientWidth);
  const svg = add(box, 'svg', {width, height, role: 'img'});
  const plot = {box, svg, width, left: 48, right: width - 12, top, bottom: height - 40};
  const scale = (axis, from, to, room) => {
    const per = axis.per || 1;
    let count = Math.max(2, Math.floor(Math.abs(to - from) / room));
    if (axis.whole) count = Math.min(count, Math.max(1, axis.max));
    const made = (axis.log ? logarithmic : linear)(axis.min * per, axis.max * per, from, to, count);
    return {at: value => made.at(value * per), ticks: made.ticks.map(tick => tick / per), per};
  };
  plot.x = scale(x, plot.left, plot.right, 64);
  plot.y = y.down ? scale(y, plot.top, plot.bottom, 44) : scale(y, plot.bottom, plot.top, 44);
  const label = value => value >= 1e4 ? short(value / 1e3) + 'k' : String(+value.toPrecision(6));
  for (const tick of plot.y.ticks) {
    const at = plot.y.at(tick);
    add(svg, 'line', {class: 'gridline', x1: plot.left, x2: plot.right, y1: at, y2: at});
    add(svg, 'text', {x: plot.left - 7, y: at + 4, 'text-anchor': 'end'}, label(tick * plot.y.per));
  }
  for (const tick of plot.x.ticks) {
    const at = plot.x.at(tick);
    add(svg, 'line', {class: 'gridline', x1: at, x2: at, y1: plot.top, y2: plot.bottom});
    const anchor = at > plot.right - 14 ? 'end' : at < plot.left + 10 ? 'start' : 'middle';
    add(svg, 'text', {x: at, y: plot.bottom + 16, 'text-anchor': anchor}, label(tick * plot.x.per));
  }
  const {left, right, bottom} = plot;
  add(svg, 'line', {class: 'axis', x1: left, x2: right, y1: bottom, y2: bottom});
  add(svg, 'text', {x: (left + right) / 2, y: height - 5, 'text-anchor': 'middle'}, x.name);
  add(svg, 'text', {x: 0, y: 12}, y.name);
  return plot;
}

// Above the chart. The function it gives adds an entry and returns the square to be coloured.
function makeLegend(box) {
  const legend = document.createElement('div');
  legend.className = 'legend';
  box.prepend(legend);
  return text => {
    const entry = add(legend, 'span'), square = add(entry, 'i');
    entry.append(text);
    return square;
  };
}

function sentence(box, text) {
  box.replaceChildren();
  add(box, 'p', {class: 'note'}, text);
}

// The tooltip: text only, whatever a URL holds.
const tip = document.getElementById('tip');
function showTip(event, head, lines) {
  tip.replaceChildren();
  add(tip, 'b', {}, head.length > 300 ? head.slice(0, 300) + '…' : head);
  for (const line of lines) add(tip, 'div', {}, line);
  tip.hidden = false;
  const {clientX, clientY} = event, {offsetWidth, offsetHeight} = tip;
  const fitsRight = clientX + 14 + offsetWidth <= innerWidth;
  const fitsBelow = clientY + 16 + offsetHeight <= innerHeight;
  const left = fitsRight ? clientX + 14 : clientX - offsetWidth - 10;
  const top = fitsBelow ? clientY + 16 : clientY - offsetHeight - 10;
  tip.style.left = Math.max(8, Math.min(left, innerWidth - offsetWidth - 8)) + 'px';
  tip.style.top = Math.max(4, top) + 'px';
}

// Calls show(event, x, y) inside the plot, with the pixels. What it returns, {x, y, width, height},
// is marked; if that is null, nothing is.
function onHover(plot, show) {
  const mark = add(plot.svg, 'rect', {class: 'cursor', visibility: 'hidden'});
  const leave = () => {
    mark.setAttribute('visibility', 'hidden');
    tip.hidden = true;
  };
  const move = event => {
    const origin = plot.svg.getBoundingClientRect();
    const x = event.clientX - origin.left, y = event.clientY - origin.top;
    const inside = x >= plot.left && x <= plot.right && y >= plot.top && y <= plot.bottom;
    const marked = inside && show(event, x, y);
    if (!marked) return leave();
    for (const key in marked) mark.setAttribute(key, marked[key]);
    mark.setAttribute('visibility', 'visible');
  };
  plot.svg.addEventListener('pointermove', move);
  plot.svg.addEventListener('pointerdown', move);
  plot.svg.addEventListener('pointerleave', leave);
}

function timeAxis(run) {
  const unit = timeUnit(run.seconds);
  return {min: 0, max: run.seconds, per: unit.per, name: `time since the start, ${unit.name}`};
}

// A run's columns, in seconds, with what several charts need.
function prepare(run) {
  for (const key of ['start', 'end', 'queued', 'resolved', 'connected', 'firstByte'])
    if (run[key]) run[key] = Float64Array.from(run[key], value => value < 0 ? -1 : value / 1e6);
  run.count = run.urls.length;
  run.seconds = run.end.reduce((most, value) => Math.max(most, value), 1e-6);
  run.class = run.status.map((status, i) => {
    if (run.error[i] >= 0 || status < 200 || status > 599) return 4;
    return Math.floor(status / 100) - 2;
  });
  run.classCounts = classes.map((_, number) => run.class.filter(c => c === number).length);
  run.ends = Float64Array.from(run.end).sort();
  if (run.totals) {
    run.totals.slice /= 1e6;
    run.seconds = Math.max(run.seconds, (run.totals.ended.length - 1) * run.totals.slice);
  }
}
data.runs.forEach(prepare);

function describe(event, run, i) {
  const lines = [];
  const took = run.end[i] - run.start[i];
  lines.push((run.status[i] > 0 ? 'status ' + run.status[i] : 'no answer') + ' · ' + time(took) +
             ' · ' + inUnit(run.bytes[i], byteUnit(run.bytes[i])));
  if (run.error[i] >= 0) lines.push(run.causes[run.error[i]]);
  const phases = phaseTimes(run, i).filter(phase => phase.seconds > 0);
  if (phases.length > 1) lines.push(phases.map(p => p.name + ' ' + time(p.seconds)).join(', '));
  lines.push('request ' + whole(i + 1) + ', started at ' + time(run.start[i]));
  showTip(event, run.urls[i], lines);
}

// The phases of request i whose beginning and end are known, in their order.
function phaseTimes(run, i) {
  const phases = [];
  let before = run.start[i];
  const known = (column, name) => {
    if (!run[column] || run[column][i] < before) return;
    phases.push({name, seconds: run[column][i] - before});
    before = run[column][i];
  };
  if (run.queued && run.queued[i] >= 0)
    phases.push({name: 'queue', seconds: Math.max(0, run.start[i] - run.queued[i])});
  known('resolved', 'name look-up');
  known('connected', 'connect');
  known('firstByte', 'wait');
  phases.push({name: 'receive', seconds: run.end[i] - before});
  return phases;
}

function paintBars(plot, run, bar) {
  const ratio = window.devicePixelRatio || 1;
  const canvas = add(plot.box, 'canvas');
  const width = plot.right - plot.left, height = plot.bottom - plot.top;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const top = plot.svg.getBoundingClientRect().top - plot.box.getBoundingClientRect().top;
  canvas.style.cssText =
      `left:${plot.left}px;top:${top + plot.top}px;width:${width}px;height:${height}px`;
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  const style = getComputedStyle(document.documentElement);
  const colours = classes.map(name => style.getPropertyValue('--' + name));
  let least = Infinity, most = -Infinity;
  for (let i = 0; i < run.count; ++i) {
    const b = bar(i);
    context.fillStyle = colours[run.class[i]];
    context.fillRect(b.x - plot.left, b.y - plot.top, b.width, b.height);
    least = Math.min(least, b.x);
    most = Math.max(most, b.x + b.width);
  }
  Object.assign(canvas.dataset, {count: run.count, least: round2(least), most: round2(most)});
}

function drawBars(plot, run, bar, rowHeight) {
  classes.forEach((name, number) => {
    for (let i = 0; i < run.count; ++i) {
      if (run.class[i] !== number) continue;
      const b = bar(i);
      add(plot.svg, 'rect', {class: 'bar ' + name, 'data-i': i, 'data-url': run.urls[i],
                             x: round2(b.x), y: round2(b.y), width: round2(b.width),
                             height: round2(b.height), rx: b.height > 6 ? 2 : 0});
      if (rowHeight < 16) continue;
      const path = run.urls[i].replace(/^\w+:\/\/[^\/]*/, '') || run.urls[i];
      const after = plot.right - b.x - b.width > b.x - plot.left;
      const room = Math.floor((after ? plot.right - b.x - b.width : b.x - plot.left) / 7) - 1;
      if (room < 4) continue;
      add(plot.svg, 'text', {x: after ? b.x + b.width + 6 : b.x - 6, y: b.y + b.height / 2 + 4,
                             'text-anchor': after ? 'start' : 'end'},
          path.length > room ? path.slice(0, room - 1) + '…' : path);
    }
  });
}

function timeline(box, run) {
  if (run.count === 0) return sentence(box, 'There was no request.');
  const most = box.clientWidth < 600 ? 400 : 540;
  const rows = run.count <= 22 ? run.count * 20 : Math.min(most, Math.max(440, run.count));
  const name = 'request, in start order';
  const plot = frame(box, rows + 66, timeAxis(run),
                     {min: 0, max: run.count, down: true, whole: true, name});
  plot.svg.setAttribute('aria-label', `${run.count} requests in ${time(run.seconds)}`);
  const rowHeight = rows / run.count;
  const height = rowHeight > 4 ? rowHeight * 0.74 : Math.max(1, rowHeight);
  const bar = i => {
    const x = Math.min(plot.x.at(run.start[i]), plot.right - 1);
    return {x, y: Math.min(plot.top + (i + 0.5) * rowHeight - height / 2, plot.bottom - height),
            width: Math.max(1, plot.x.at(run.end[i]) - x), height};
  };
  Object.assign(plot.svg.dataset, {left: plot.left, right: plot.right, seconds: run.seconds});
  const legend = makeLegend(box);
  classes.forEach((name, number) => {
    const count = run.classCounts[number];
    if (count > 0) legend(`${classNames[number]}: ${whole(count)}`).className = name;
  });
  if (run.count <= elementsMax) drawBars(plot, run, bar, rowHeight);
  else paintBars(plot, run, bar);
  onHover(plot, (event, x, y) => {
    const row = Math.min(run.count - 1, Math.max(0, Math.floor((y - plot.top) / rowHeight)));
    const i = nearestBar(run, bar, row, x, Math.ceil(3 / rowHeight));
    describe(event, run, i);
    const b = bar(i), tall = Math.max(rowHeight, 3);
    const middle = b.y + b.height / 2;
    return {x: plot.left, width: plot.right - plot.left, y: middle - tall / 2, height: tall};
  });
}

// The bar at x nearest to the row, or the row itself if none is within reach: bars may be thinner
// than any pointer.
function nearestBar(run, bar, row, x, reach) {
  for (let off = 0; off <= reach; ++off)
    for (const i of [row - off, row + off]) {
      if (i < 0 || i >= run.count) continue;
      const b = bar(i);
      if (x >= b.x - 2 && x <= b.x + b.width + 2) return i;
    }
  return row;
}

// How many requests were in flight at a time: those started less those ended.
function upTo(sorted, value) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function concurrency(box, run) {
  if (run.count === 0) return sentence(box, 'There was no request.');
  const steps = [], totals = run.totals;
  let peak = 0, now = 0;
  // Of a sample the totals tell how many were in flight at the end of each slice of time.
  if (totals) totals.started.forEach((started, i) => {
    now += started - totals.ended[i];
    steps.push([Math.min(run.seconds, (i + 1) * totals.slice), now]);
    peak = Math.max(peak, now);
  });
  else for (let s = 0, e = 0; e < run.count;) {
    const start = s < run.count && run.start[s] < run.ends[e];
    now += start ? 1 : -1;
    steps.push([start ? run.start[s++] : run.ends[e++], Math.max(0, now)]);
    peak = Math.max(peak, now);
  }
  const most = Math.max(1, peak) * 1.05;
  const plot = frame(box, 250, timeAxis(run),
                     {min: 0, max: most, name: 'requests in flight', whole: true});
  const busy = totals ? totals.busy / 1e6
                      : run.end.reduce((sum, end, i) => sum + end - run.start[i], 0);
  plot.svg.dataset.peak = peak;
  add(plot.svg, 'text', {class: 'strong', x: plot.right, y: 12, 'text-anchor': 'end'},
      `peak ${whole(peak)}, mean ${short(busy / run.seconds)}`);
  // Per half pixel the most and the last: as exact as can be seen, however many steps there are.
  const columns = new Map();
  for (const [at, value] of steps) {
    const x = Math.round(plot.x.at(at) * 2) / 2, column = columns.get(x);
    columns.set(x, {most: Math.max(value, column ? column.most : 0), last: value});
  }
  let path = `M${plot.left} ${plot.bottom}`, level = plot.bottom;
  for (const [x, column] of columns) {
    path += `L${x} ${round2(level)}L${x} ${round2(plot.y.at(column.most))}`;
    level = plot.y.at(column.last);
    path += `L${x} ${round2(level)}`;
  }
  add(plot.svg, 'path', {class: 'area', d: path + `L${plot.right} ${plot.bottom}Z`});
  add(plot.svg, 'path', {class: 'line', d: path});
  onHover(plot, (event, x) => {
    const at = (x - plot.left) / (plot.right - plot.left) * run.seconds;
    const inFlight = totals ? (steps[Math.floor(at / totals.slice) - 1] || [0, 0])[1]
                            : upTo(run.start, at) - upTo(run.ends, at);
    showTip(event, whole(inFlight) + ' in flight', ['at ' + time(at)]);
    return {x: x - 0.5, width: 1, y: plot.top, height: plot.bottom - plot.top};
  });
}

// Columns over the time axis: what each request counts for is spread by the instant it ended.
function rate(box, run, column, unitOf, name, words) {
  const slices = run.totals && run.totals[column];
  const bins = Math.floor(Math.max(4, Math.min(60, run.count / 4, box.clientWidth / 7)));
  const span = run.seconds / bins;
  const sums = new Float64Array(bins);
  const count = (end, value) => { sums[Math.min(bins - 1, Math.floor(end / span))] += value; };
  if (slices) slices.forEach((value, i) => count((i + 0.5) * run.totals.slice, value));
  else run.end.forEach((end, i) => count(end, column === 'bytes' ? run.bytes[i] : 1));
  const total = sums.reduce((sum, value) => sum + value, 0);
  if (total === 0) return sentence(box, 'There is nothing to show.');
  const most = Math.max(...sums) / span, unit = unitOf(most);
  const plot = frame(box, 250, timeAxis(run),
                     {min: 0, max: most * 1.05, per: unit.per, name: name(unit)});
  add(plot.svg, 'text', {class: 'strong', x: plot.right, y: 12, 'text-anchor': 'end'},
      'mean ' + words(total / run.seconds));
  plot.svg.dataset.total = total;
  const width = (plot.right - plot.left) / bins;
  sums.forEach((sum, i) => {
    const y = plot.y.at(sum / span);
    add(plot.svg, 'rect', {class: 'column', x: round2(plot.left + i * width + 0.5), y: round2(y),
                           width: round2(width - 1), height: round2(plot.bottom - y)});
  });
  onHover(plot, (event, x) => {
    const i = Math.min(bins - 1, Math.floor((x - plot.left) / width));
    showTip(event, words(sums[i] / span), [`from ${time(i * span)} to ${time((i + 1) * span)}`]);
    return {x: plot.left + i * width, width, y: plot.top, height: plot.bottom - plot.top};
  });
}

function latency(box, run) {
  const taken = [];
  if (run.totals)
    for (const [value, count] of run.totals.latencies)
      for (let n = 0; n < count; ++n) taken.push(value / 1e6);
  else run.end.forEach((end, i) => { if (run.status[i] > 0) taken.push(end - run.start[i]); });
  if (taken.length === 0) return sentence(box, 'No request was answered.');
  taken.sort((a, b) => a - b);
  let least = Math.max(taken[0], 1e-6), most = Math.max(taken[taken.length - 1], 1e-6);
  const log = most / least > 30;
  const margin = log ? 0 : Math.max((most - least) * 0.04, most * 0.02);
  least = log ? least * 0.95 : Math.max(0, least - margin);
  most = log ? most * 1.05 : most + margin;
  const bins = Math.max(8, Math.min(48, Math.floor(box.clientWidth / 9)));
  const counts = new Array(bins).fill(0);
  const share = value => log ? Math.log(value / least) / Math.log(most / least)
                             : (value - least) / (most - least);
  const edge = i => log ? least * (most / least) ** (i / bins) : least + (most - least) * i / bins;
  for (const value of taken)
    ++counts[Math.min(bins - 1, Math.floor(share(Math.max(value, 1e-6)) * bins))];
  const unit = timeUnit(most);
  const plot = frame(box, 250,
                     {min: least, max: most, per: unit.per, log,
                      name: `latency, ${unit.name}` + (log ? ' (logarithmic)' : '')},
                     {min: 0, max: Math.max(...counts) * 1.05, name: 'requests', whole: true}, 62);
  const width = (plot.right - plot.left) / bins;
  counts.forEach((count, i) => {
    const y = plot.y.at(count);
    add(plot.svg, 'rect', {class: 'column', 'data-count': count, y: round2(y),
                           x: round2(plot.left + i * width + 0.5),
                           width: round2(width - 1), height: round2(plot.bottom - y)});
  });
  [0.5, 0.9, 0.99].forEach((part, row) => {
    const value = taken[Math.min(taken.length - 1, Math.ceil(part * taken.length) - 1)];
    const x = plot.x.at(Math.max(value, least)), y = 26 + row * 14, left = x > plot.right - 84;
    add(plot.svg, 'line', {class: 'percentile', x1: x, x2: x, y1: y - 9, y2: plot.bottom});
    const anchor = left ? 'end' : 'start';
    add(plot.svg, 'text', {class: 'percentile-name', x: left ? x - 5 : x + 5, y,
                           'text-anchor': anchor}, `p${part * 100}  ${time(value)}`);
  });
  onHover(plot, (event, x) => {
    const i = Math.min(bins - 1, Math.floor((x - plot.left) / width));
    showTip(event, `${whole(counts[i])} of ${whole(taken.length)} requests`,
            [`${time(edge(i))} to ${time(edge(i + 1))}`]);
    return {x: plot.left + i * width, width, y: plot.top, height: plot.bottom - plot.top};
  });
}

function phases(box, run) {
  const sums = new Map();
  let counted = 0;
  for (let i = 0; i < run.count; ++i) {
    if (!(run.firstByte[i] >= 0)) continue;
    ++counted;
    for (const phase of phaseTimes(run, i))
      sums.set(phase.name, (sums.get(phase.name) || 0) + phase.seconds);
  }
  box.replaceChildren();
  const colours = {queue: '--soft', 'name look-up': '--series-3', connect: '--series-2',
                   wait: '--series-0', receive: '--series-1'};
  const stack = add(box, 'div', {class: 'stack'}), legend = makeLegend(box);
  for (const name in colours) {
    if (!sums.has(name)) continue;
    const piece = add(stack, 'i', {'data-phase': name});
    const square = legend(`${name}: ${time(sums.get(name) / counted)}`);
    square.style.background = piece.style.background = `var(${colours[name]})`;
    piece.style.flexGrow = sums.get(name);
  }
}

function sweep(box) {
  const all = data.sweep.flatMap(series => series.points).filter(p => p[0] > 0 && p[1] > 0);
  if (all.length === 0) return sentence(box, 'There is no measurement.');
  const times = all.flatMap(point => [point[1], point[2]]).filter(value => value > 0);
  const unit = timeUnit(Math.max(...times));
  const plot = frame(box, 420,
                     {min: Math.min(...all.map(p => p[0])),
                      max: Math.max(...all.map(p => p[0]), all[0][0] * 1.01), log: true,
                      name: 'requests at a time (logarithmic)'},
                     {min: Math.min(...times) * 0.8, max: Math.max(...times) * 1.25, log: true,
                      per: unit.per, name: `total time, ${unit.name} (logarithmic)`});
  const legend = makeLegend(box), dots = [];
  data.sweep.forEach((series, number) => {
    const colour = `var(--series-${number % 4})`;
    [1, 2].forEach(column => {
      const points = series.points.filter(p => p[0] > 0 && p[column] > 0);
      if (points.length === 0) return;
      const place = p => [plot.x.at(p[0]), plot.y.at(p[column])];
      const corners = points.map(p => place(p).map(round2).join(' '));
      const line = add(plot.svg, 'path', {class: 'line', d: 'M' + corners.join('L')});
      line.style.stroke = colour;
      if (column === 2) {
        line.style.strokeDasharray = '5 4';
        return;
      }
      line.style.strokeWidth = 2;
      for (const p of points) {
        const x = plot.x.at(p[0]), y = plot.y.at(p[1]);
        add(plot.svg, 'circle', {class: 'point', 'data-concurrency': p[0], 'data-total': p[1],
                                 cx: round2(x), cy: round2(y), r: 4}).style.fill = colour;
        dots.push({x, y, p, name: series.name});
      }
    });
    legend(series.name).style.background = colour;
  });
  onHover(plot, (event, x, y) => {
    const distance = dot => Math.hypot(dot.x - x, dot.y - y);
    const near = dots.reduce((best, dot) => distance(dot) < distance(best) ? dot : best);
    if (distance(near) > 60) return null;
    showTip(event, near.name, [`${short(near.p[0])} at a time: ${time(near.p[1])}`,
                               `ideal: ${time(near.p[2])}`]);
    return {x: near.x - 8, y: near.y - 8, width: 16, height: 16, rx: 8};
  });
}

const charts = {
  timeline, concurrency, latency, phases, sweep,
  throughput: (box, run) => rate(box, run, 'ended', () => ({name: '', per: 1}),
                                 () => 'requests per second',
                                 value => `${short(value)} per second`),
  transfer: (box, run) => rate(box, run, 'bytes', byteUnit,
                               unit => `${unit.name} per second`,
                               value => `${inUnit(value, byteUnit(value))} per second`),
};

const widths = new Map();
function draw(box) {
  widths.set(box, box.clientWidth);
  charts[box.dataset.chart](box, data.runs[box.dataset.run]);
}
const boxes = [...document.querySelectorAll('.chart')];
boxes.forEach(draw);
new ResizeObserver(() => boxes.forEach(box => {
  if (widths.get(box) !== box.clientWidth) draw(box);
})).observe(document.querySelector('main'));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => boxes.forEach(draw));
)js";

}  // namespace ringlet::crawler::detail

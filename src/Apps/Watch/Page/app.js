'use strict';

// Polls /api/state once a second, makes rates of the totals, keeps two minutes of them and draws.
const keep = 120, colours = 8, period = 1000;
const history = {};   // chart -> name -> values
let before = null, polls = 0;

const byId = id => document.getElementById(id);

function svg(tag, attributes, text) {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function scale(value) {
  for (const unit of ['', 'k', 'M', 'G', 'T']) {
    if (Math.abs(value) < 1000) return (value < 10 && unit ? value.toFixed(2) : value < 100 ? value.toFixed(1)
      : value.toFixed(0)).replace(/\.0+$/, '') + unit;
    value /= 1000;
  }
  return value.toFixed(0) + 'P';
}

function record(chart, values) {
  const all = history[chart] ??= {};
  for (const name of Object.keys(values)) all[name] ??= [];
  for (const [name, list] of Object.entries(all)) {
    list.push(values[name] ?? null);
    if (list.length > keep) list.shift();
  }
}

function niceTop(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map(step => step * power).find(step => step >= value);
}

function draw(chart, fixedTop) {
  const area = byId(chart), legend = byId(chart + '-legend'), all = history[chart] ?? {};
  const width = 400, height = 150, left = 38, bottom = 12;
  const values = Object.values(all).flat().filter(value => value !== null);
  const top = fixedTop ?? niceTop(Math.max(0, ...values));
  area.setAttribute('viewBox', `0 0 ${width} ${height}`);
  area.setAttribute('preserveAspectRatio', 'none');
  area.replaceChildren();
  legend.replaceChildren();
  for (const part of [0, .5, 1]) {
    const y = 6 + (height - bottom - 6) * (1 - part);
    area.append(svg('line', { class: 'grid', x1: left, x2: width, y1: y, y2: y }),
      svg('text', { class: 'axis', x: left - 4, y: y + 3, 'text-anchor': 'end' }, scale(top * part)));
  }
  Object.entries(all).forEach(([name, list], index) => {
    const colour = 'c' + index % colours;
    const points = list.map((value, i) => value === null ? null
      : `${(left + (width - left) * (i + keep - list.length) / (keep - 1)).toFixed(1)},`
      + `${(6 + (height - bottom - 6) * (1 - Math.min(value, top) / top)).toFixed(1)}`).filter(point => point);
    area.append(svg('polyline', { class: 'curve ' + colour, points: points.join(' ') }));
    const entry = document.createElement('span'), dot = document.createElement('span'), last = list.at(-1);
    const figure = document.createElement('b');
    dot.className = 'dot ' + colour;
    figure.textContent = last === null ? '-' : scale(last);
    entry.append(dot, name + ' ', figure);
    legend.append(entry);
  });
  if (Object.keys(all).length === 0) legend.textContent = 'not measured';
}

function topology(state, rates) {
  const area = byId('topology'), ports = state.ports, row = 58, gap = 14;
  const lcores = state.lcores.filter(lcore => lcore.role !== 'Foreign');
  const rows = Math.max(ports.length, lcores.length), height = rows * (row + gap) + 6;
  const y = (index, count) => 4 + (index + .5) * (height - 8) / count;
  area.setAttribute('viewBox', `0 0 900 ${height}`);
  area.replaceChildren();
  const inX = 10, outX = 690, midX = 365, boxWidth = 200, lcoreWidth = 170;
  const place = name => y(ports.findIndex(port => port.name === name), ports.length);
  for (const stream of state.streams) {
    const at = y(lcores.findIndex(lcore => lcore.id === stream.lcore), lcores.length);
    if (stream.from) area.append(wire(inX + boxWidth, place(stream.from), midX, at));
    if (stream.to) area.append(wire(midX + lcoreWidth, at, outX, place(stream.to)));
  }
  ports.forEach((port, index) => {
    for (const [x, rate, queues, word] of [[inX, rates[port.name]?.rx, port.rxQueues.length, 'receive'],
      [outX, rates[port.name]?.tx, port.txQueues.length, 'transmit']]) {
      const at = y(index, ports.length);
      area.append(svg('rect', { class: port.up ? 'box' : 'box down', x, y: at - row / 2, width: boxWidth, height: row, rx: 5 }),
        svg('text', { class: 'name', x: x + 8, y: at - 10 }, port.name),
        svg('text', { class: 'note', x: x + 8, y: at + 5 }, `${queues} ${word} queue${queues === 1 ? '' : 's'}, link ${port.up ? 'up' : 'down'}`),
        svg('text', { class: 'note', x: x + 8, y: at + 20 }, rate === undefined ? '' : scale(rate) + ' packets/s'));
    }
  });
  lcores.forEach((lcore, index) => {
    const at = y(index, lcores.length), load = rates.lcores[lcore.id] ?? 0;
    area.append(svg('rect', { class: 'lcore', x: midX, y: at - row / 2, width: lcoreWidth, height: row, rx: 5 }),
      svg('rect', { class: 'bar', x: midX, y: at - row / 2, width: lcoreWidth * load / 100, height: row, rx: 5 }),
      svg('text', { class: 'name', x: midX + 8, y: at - 6 }, `lcore ${lcore.id}`),
      svg('text', { class: 'note', x: midX + 8, y: at + 12 }, `CPU ${lcore.cpus}, ${lcore.role}, ${load.toFixed(0)} % busy`));
  });
}

function wire(x1, y1, x2, y2) {
  const half = (x1 + x2) / 2;
  return svg('path', { class: 'wire', d: `M${x1} ${y1} C${half} ${y1} ${half} ${y2} ${x2} ${y2}` });
}

function table(state, seconds) {
  const body = byId('queues').tBodies[0];
  body.replaceChildren();
  for (const port of state.ports) {
    const old = before.ports.find(other => other.name === port.name);
    for (const kind of ['rx', 'tx'])
      port[kind + 'Queues'].forEach((queue, index) => {
        const was = old?.[kind + 'Queues'][index] ?? queue, row = body.insertRow();
        for (const text of [port.name, port.link, `${kind} ${index}`, scale((queue.packets - was.packets) / seconds),
          scale((queue.bytes - was.bytes) * 8 / seconds), queue.packets.toLocaleString('en')])
          row.insertCell().textContent = text;
      });
  }
}

function show(state) {
  byId('title').textContent = `${state.app}  ${state.mode}`;
  document.title = `${state.app} - Dataplane`;
  if (before && before.pid === state.pid && state.seconds > before.seconds) {
    const seconds = state.seconds - before.seconds, rates = { lcores: {} }, rx = {}, tx = {}, load = {}, drop = {}, level = {};
    for (const port of state.ports) {
      const old = before.ports.find(other => other.name === port.name);
      if (!old) continue;
      rx[port.name] = (port.rxPackets - old.rxPackets) / seconds;
      tx[port.name] = (port.txPackets - old.txPackets) / seconds;
      rates[port.name] = { rx: rx[port.name], tx: tx[port.name] };
    }
    for (const lcore of state.lcores) {
      const old = before.lcores.find(other => other.id === lcore.id);
      const busy = lcore.busy - (old?.busy ?? 0), all = busy + lcore.idle - (old?.idle ?? 0);
      if (all > 0) load['lcore ' + lcore.id] = rates.lcores[lcore.id] = 100 * busy / all;
    }
    for (const [reason, count] of Object.entries(state.drops)) drop[reason] = (count - (before.drops[reason] ?? 0)) / seconds;
    for (const one of [...state.pools, ...state.rings]) level[one.name] = 100 * one.used / one.size;
    record('rx', rx); record('tx', tx); record('load', load); record('drop', drop); record('level', level);
    if (state.latency?.samples) record('latency', { mean: state.latency.mean, p50: state.latency.p50, p99: state.latency.p99 });
    draw('rx'); draw('tx'); draw('load', 100); draw('drop'); draw('level', 100); draw('latency');
    topology(state, rates);
    table(state, seconds);
    document.body.dataset.polls = ++polls;
  }
  byId('status').className = '';
  byId('status').textContent = `process ${state.pid}, Dataplane ${state.version}, collections paused it `
    + `${state.gcPauseMs.toFixed(1)} ms so far`;
  before = state;
}

async function poll() {
  try {
    const answer = await fetch('/api/state', { cache: 'no-store' });
    if (!answer.ok) throw new Error(answer.statusText || answer.status);
    show(await answer.json());
  } catch (error) {
    byId('status').className = 'stale';
    byId('status').textContent = `no figures: ${error.message}`;
  }
  setTimeout(poll, period);
}

poll();

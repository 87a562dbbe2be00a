// SPDX-License-Identifier: MIT
// Opens traces or profiles in speedscope, by the button for it, and compares what its tables say
// with what was written.
//
//   node speedscope.mjs trace PATH_OF_trace_program
//   node speedscope.mjs profile PATH_OF_profile_program
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Browser, find } from './browser.mjs';
import { packageDirectory, same, wrong } from './common.mjs';

const [what, program] = process.argv.slice(2);
const index = `file://${packageDirectory('speedscope')}/dist/release/index.html`;
const browser = await Browser.start();

async function open(path) {
  const page = await browser.open(index);
  await page.choose(find('input[type=file]'), path);
  await page.until('document.body.innerText.includes("Export")');
  return page;
}

// The rows of the table that a key brings, as cells of text.
async function table(page, key, heading) {
  await page.press(key, key.toUpperCase().charCodeAt(0));
  const rows = await page.until(`document.body.innerText.includes(${JSON.stringify(heading)}) &&
    [...document.querySelectorAll("tr")].map(row => [...row.cells].map(cell => cell.innerText.trim()))`);
  return rows.slice(1);
}

// A track, from the list of them.
async function choose(page, title) {
  await page.click(find(`tr[title*="${title}"]`));
  await page.until(`!document.body.innerText.includes("Total Weight") &&
    document.body.innerText.includes("${title}")`);
}

const symbols = page => table(page, '3', 'Symbol Name');

// "36.21ms" or "93.75 KB (16%)" in microseconds or bytes.
const units = { µs: 1, ms: 1e3, s: 1e6, B: 1, KB: 1024, MB: 1024 ** 2, '': 1 };
function number(text) {
  const [, digits, unit] = text.match(/^([\d,.]+)\s*(µs|ms|s|B|KB|MB|)\b/) ?? [];
  return Number(digits?.replaceAll(',', '')) * units[unit];
}

// --- traces --------------------------------------------------------------------------------------

// How much of the time something was on, by the name that speedscope gives the track.
function tracks(events) {
  const names = new Map(), result = new Map();
  for (const event of events.filter(event => event.name === 'thread_name'))
    names.set(event.tid, event.args.name);
  for (const [tid, name] of names) {
    const spans = events.filter(event => event.ph === 'X' && event.tid === tid)
      .sort((a, b) => a.ts - b.ts);
    let time = 0, end = 0;
    for (const { ts, dur } of spans) {
      time += Math.max(0, ts + dur - Math.max(ts, end));
      end = Math.max(end, ts + dur);
    }
    if (spans.length)
      result.set(`tarn world 1 (pid ${events[0].pid}), ${name} (tid ${tid})`, time);
  }
  return result;
}

const sum = (events, name, tid) => events.filter(event => event.name === name && event.tid === tid)
  .reduce((total, event) => total + event.dur, 0);

// Compares the times of all tracks, then those of the phases.  (Pauses differ in their arguments,
// and so in what speedscope calls them.)
async function compareTrace(name, path) {
  const events = JSON.parse(readFileSync(path, 'utf8')), expected = tracks(events);
  const page = await open(path);
  const shown = new Map((await table(page, 't', 'Total Weight'))
    .map(row => [row[1], number(row[2])]));
  same(`${name}: tracks`, shown.size, expected.size);
  for (const [track, time] of expected) // three digits or more of it are shown
    same(`${name}: ${track}, us`, shown.get(track), time, time * 0.005);

  await choose(page, ', collector (tid');
  const tid = events.find(event => event.name === 'gc').tid;
  const total = new Map((await symbols(page)).map(row => [row[2], number(row[0])]));
  for (const span of ['stop', 'prepare', 'roots', 'mark', 'weak', 'census', 'rest']) {
    const time = sum(events, span, tid);
    same(`${name}: ${span}, us`, total.get(span), time, time * 0.005 + 0.1);
  }
  return shown;
}

async function compareTraces() {
  const whole = browser.file('whole'), killed = browser.file('killed');
  execFileSync(program, [whole], { stdio: 'ignore' });
  const seen = await compareTrace('whole', whole);
  for (const name of ['collector', 'stops', 'worker "a"', 'worker "b"', 'worker "c"'])
    same(name, [...seen.keys()].filter(track => track.includes(`, ${name} (tid`)).length, 1);
  same('killed', spawnSync(program, [killed, 'kill'], { stdio: 'ignore' }).signal, 'SIGKILL');
  await compareTrace('killed', killed);
  return `${seen.size} tracks`;
}

// --- profiles ------------------------------------------------------------------------------------

async function compareProfiles() {
  const paths = ['p.pb', 'p.folded'].map(name => browser.file(name));
  execFileSync(program, paths);
  for (const path of paths) {
    const rows = await symbols(await open(path));
    const total = Object.fromEntries(rows.map(row => [row[2], number(row[0])]));
    const expected = { 'make_pairs': 96000, 'cons': 96000, 'make_strings': 512000,
      'string-append': 512000, 'main-loop': 608000, 'main': 608000 };
    if (path.endsWith('folded'))
      Object.assign(expected, { '[pair]': 96000, '[raw]': 512000 });
    for (const [name, bytes] of Object.entries(expected))
      same(`${name} in ${path}`, total[name], bytes);
  }
  return 'folded stacks and pprof';
}

const done = await (what === 'trace' ? compareTraces() : compareProfiles());
await browser.end(wrong ? 1 : 0, `speedscope shows ${done} with ${wrong} differences`);

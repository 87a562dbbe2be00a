// SPDX-License-Identifier: MIT
// Opens traces in the Performance panel of Chromium's own DevTools, by the button for it, and
// compares the tracks and spans that it shows with what is in the file, and with what the program
// that wrote it counted: the whole of one, what a killed process left, and one that is broken on
// purpose.
//
//   node trace_devtools.mjs PATH_OF_trace_program
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { Browser, find, openDevTools, panelModule } from './browser.mjs';
import { same, wrong } from './common.mjs';

const browser = await Browser.start();
const program = process.argv[2];
const paths = Object.fromEntries(['whole', 'killed', 'broken'].map(name =>
  [name, browser.file(`${name}.json`)]));
const told = JSON.parse(execFileSync(program, [paths.whole], { encoding: 'utf8' }));
spawnSync(program, [paths.killed, 'kill'], { stdio: 'ignore' });

const page = await openDevTools(browser, 'timeline');
const chart = `${panelModule('timeline')}.TimelinePanel.TimelinePanel.instance().getFlameChart()`;

const read = path => JSON.parse(readFileSync(path, 'utf8'));

const add = (spans, name, duration) => {
  const sum = spans[name] ??= { count: 0, duration: 0 };
  sum.count++;
  sum.duration += duration;
};

// Per track, by the name that DevTools gives it, and per name: how many spans, and their time in ms.
function written(events) {
  const names = new Map(events.filter(event => event.name === 'thread_name')
    .map(event => [event.tid, `${event.args.name} (${event.tid})`]));
  const tracks = {};
  for (const event of events.filter(event => event.ph === 'X'))
    add(tracks[names.get(event.tid)] ??= {}, event.name, event.dur / 1000);
  return tracks;
}

async function shown(path, process) {
  await page.choose(find('input[type=file]'), path);
  const [first, spans] = await page.until(`await (async () => {
    const provider = ${chart}.getMainDataProvider();
    const data = provider.timelineData();
    const tracks = data.groups.filter(group => group.style.nestingLevel === 1);
    const group = level => tracks.findLast(track => track.startLevel <= level);
    if (data.groups[0].name !== ${JSON.stringify(process)}) return null;
    return [data.groups[0].name, [...data.entryLevels].map((level, i) =>
      [group(level).name, provider.entryTitle(i), data.entryTotalTimes[i]])];
  })()`);
  const tracks = {};
  for (const [track, name, duration] of spans)
    add(tracks[track] ??= {}, name, duration);
  return { process: first, tracks };
}

// --- what must be -------------------------------------------------------------------------------

const processOf = events => `tarn world 1 (${events[0].pid})`;

async function compare(name) {
  const events = read(paths[name]);
  const expected = written(events);
  const { tracks } = await shown(paths[name], processOf(events));
  same(`${name}: tracks`, Object.keys(tracks).length, Object.keys(expected).length);
  for (const [track, spans] of Object.entries(expected))
    for (const [span, { count, duration }] of Object.entries(spans)) {
      const where = `${name}: ${span} of ${track}`;
      same(where, tracks[track]?.[span]?.count, count);
      same(`${where}, ms`, tracks[track]?.[span]?.duration, duration, 0.001 * count);
    }
  return Object.values(tracks);
}

const whole = await compare('whole');
const pauses = whole.find(track => track.gc);
same('pauses', pauses.gc.count, told.collections);
same('their phases', pauses.rest.count, told.collections);
same('the pauses, ms', pauses.gc.duration, told.pause_ns / 1e6, 0.001);
for (const letter of 'abc')
  same(`worker ${letter}`, (await page.evaluate(`(async () => ${chart}.getMainDataProvider()
    .timelineData().groups.map(group => group.name))()`))
    .filter(name => name.startsWith(`worker "${letter}" (`)).length, 1);
await compare('killed');

// Would this notice? DevTools leaves out what reaches beyond the span around it.
const broken = read(paths.whole).map(event => ({ ...event, pid: 1 }));
const phase = broken.find(event => event.name === 'rest');
phase.dur += 1;
writeFileSync(paths.broken, JSON.stringify(broken));
const { tracks } = await shown(paths.broken, processOf(broken));
same('phases of the broken one', Object.values(tracks).find(track => track.gc).rest.count,
  told.collections - 1);

await browser.end(wrong ? 1 : 0, `${await browser.version()}: ${wrong} differences in ` +
  `${told.collections} pauses on ${whole.length} tracks`);

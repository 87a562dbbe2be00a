// SPDX-License-Identifier: MIT
// The pictures of doc/pictures: what viewers show of the snapshot, trace and profile that
// pictures_program writes.
//
//   node pictures.mjs PATH_OF_pictures_program DIRECTORY
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Browser, find, openDevTools, panelModule, sleep } from './browser.mjs';
import { packageDirectory } from './common.mjs';

const [program, directory] = process.argv.slice(2);
const browser = await Browser.start('1000,607'); // 87 of the height are the browser's
const file = name => browser.file(name);
execFileSync(program, [file('server.heapsnapshot'), file('trace.json'), file('server.folded')]);

async function save(page, name, height) {
  await sleep(1500); // what moves has come to rest
  writeFileSync(join(directory, name), await page.picture(height));
  console.log(name);
}

// --- the leak, in the Memory panel -------------------------------------------------------------

async function drawSnapshot() {
  const page = await openDevTools(browser, 'heap-profiler');
  const panel = `${panelModule('profiler')}.HeapProfilerPanel.HeapProfilerPanel.instance()`;
  const profile = `${panel}.findProfileTypeByExtension("x.heapsnapshot").getProfiles()[0]`;
  await page.choose(find('input[type=file]'), file('server.heapsnapshot'));
  await page.until(`${profile}.snapshotProxy.staticData.nodeCount`);
  await page.evaluate(`(async () => { ${panel}.showProfile(${profile}); })()`);
  const type = `${panel}.visibleView.dataGrid.rootNode().children.find(node => node.name === "request")`;
  await page.until(type.replace(/^/, '!!'));
  await page.evaluate(`(async () => (${type}).expand())()`);
  await page.until(`!void (${type}).children[2].select()`);
  await page.until(`${panel}.visibleView.retainmentDataGrid.rootNode().children.length > 0`);
  await save(page, 'snapshot.png');
}

// --- pauses, in the Performance panel ------------------------------------------------------------

// The pause that is shown: the one that waited longest for worker 1, as the texts say.
function choosePause(events) {
  const waits = new Map(events.filter(event => event.name === 'to safepoint')
    .map(event => [event.ts, event.dur]));
  return events.filter(event => event.name === 'gc' && event.args.last_thread === 'worker 1')
    .reduce((best, pause) => waits.get(pause.ts) > waits.get(best.ts) ? pause : best);
}

async function drawTrace() {
  const page = await openDevTools(browser, 'timeline');
  const panel = `${panelModule('timeline')}.TimelinePanel.TimelinePanel.instance()`;
  const bounds = '(await import("devtools://devtools/bundled/services/trace_bounds/trace_bounds.js"))' +
    '.TraceBounds.BoundsManager.instance()';
  await page.choose(find('input[type=file]'), file('trace.json'));
  await page.until(`${panel}.getFlameChart().getMainDataProvider().timelineData().groups[0].name.startsWith("tarn")`);
  await sleep(1500);
  for (const title of ['Close', 'Hide sidebar']) // what tells of keys; and of annotations
    await page.evaluate(`${find(`button[title="${title}"]`)}.click()`);
  const { ts, dur } = choosePause(JSON.parse(readFileSync(file('trace.json'), 'utf8')));
  const min = ts - dur / 2, max = ts + 1.5 * dur;
  await page.evaluate(`(async () => {
    const panel = ${panel}, chart = panel.getFlameChart().getMainFlameChart();
    panel.getFlameChart().detailsSplitWidget.hideSidebar();
    ${bounds}.setTimelineVisibleWindow({ min: ${min}, max: ${max}, range: ${max - min} });
    chart.timelineData().groups.forEach((group, i) => {
      if (!group.expanded && !group.name.startsWith("listener")) chart.toggleGroupExpand(i);
    });
  })()`);
  await save(page, 'trace.png', 412);
}

// --- who allocates, in speedscope ----------------------------------------------------------------

async function drawProfile() {
  const page = await browser.open(`file://${packageDirectory('speedscope')}/dist/release/index.html`);
  await page.choose(find('input[type=file]'), file('server.folded'));
  await page.until('document.body.innerText.includes("Export")');
  await page.press('2', 50); // left heavy: a flame graph
  await save(page, 'profile.png', 304);
}

await drawSnapshot();
await drawTrace();
await drawProfile();
await browser.end(0, `pictures by ${await browser.version()}`);

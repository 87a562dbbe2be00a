// SPDX-License-Identifier: MIT
// Opens two heap snapshots in Chromium's own DevTools, by the button for it, and compares what they
// show with what the program that wrote them counted.
//
//   node snapshot_devtools.mjs PATH_OF_snapshot_make
import { execFileSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { Browser, find, openDevTools, panelModule } from './browser.mjs';
import { wrong } from './common.mjs';
import { compareChanges, compareSnapshot } from './snapshot_check.mjs';

const browser = await Browser.start();
const paths = ['first', 'second'].map(name => browser.file(`${name}.heapsnapshot`));
const told = execFileSync(process.argv[2], paths, { encoding: 'utf8' }).trim().split('\n')
  .map(line => JSON.parse(line));

const page = await openDevTools(browser, 'heap-profiler');
const panel = `${panelModule('profiler')}.HeapProfilerPanel.HeapProfilerPanel.instance()`;
const snapshot = number =>
  `${panel}.findProfileTypeByExtension("x.heapsnapshot").getProfiles()[${number}].snapshotProxy`;

async function load(number) {
  await page.choose(find('input[type=file]'), paths[number]);
  await page.until(`${snapshot(number)}?.staticData?.nodeCount`);
}

// Per class: how many, their bytes, and the most that one of them retains.
const classes = number => page.evaluate(`(async () => {
  const all = await ${snapshot(number)}.aggregatesWithFilter({});
  return Object.values(all).map(of => [of.name, of.count, of.self, of.maxRet]);
})()`);

const difference = () => page.evaluate(`(async () => {
  const [base, now] = [${snapshot(0)}, ${snapshot(1)}];
  const definitions = await now.interfaceDefinitions();
  const diff = await now.calculateSnapshotDiff(base.uid, await base.aggregatesForDiff(definitions));
  return Object.values(diff).map(of => [of.name, of.addedCount, of.removedCount]);
})()`);

for (const number of [0, 1]) {
  await load(number);
  const { nodeCount, totalSize } =
    await page.evaluate(`(async () => (${snapshot(number)}).staticData)()`);
  compareSnapshot(told[number], nodeCount, totalSize, await classes(number));
}
compareChanges(await difference());
const bytes = paths.map(path => statSync(path).size).join(' and ');
await browser.end(wrong ? 1 : 0, `${await browser.version()}: ${wrong} differences in snapshots of ` +
  `${bytes} bytes, ${told[0].nodes} and ${told[1].nodes} nodes`);

// SPDX-License-Identifier: MIT
// Reads two heap snapshots with npm's heap-snapshot-toolkit, which is an older DevTools without a
// browser, and compares what it says with what the program that wrote them counted.
//
//   node snapshot_toolkit.mjs PATH_OF_snapshot_make
import { execFileSync } from 'node:child_process';
import { createReadStream, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { packageDirectory, wrong } from './common.mjs';
import { compareChanges, compareSnapshot } from './snapshot_check.mjs';

const toolkit = await import(join(packageDirectory('heap-snapshot-toolkit'), 'index.js'));
const directory = mkdtempSync(join(tmpdir(), 'tarn-viewers-'));
try {
  const paths = ['first', 'second'].map(name => join(directory, `${name}.heapsnapshot`));
  const told = execFileSync(process.argv[2], paths, { encoding: 'utf8' }).trim().split('\n')
    .map(line => JSON.parse(line));
  const read = [];
  for (const path of paths)
    read.push(await toolkit.parse(createReadStream(path, 'utf-8')));
  read.forEach((snapshot, i) => compareSnapshot(told[i], snapshot.nodeCount, snapshot.totalSize,
    Object.values(snapshot.aggregatesWithFilter({})).map(of => [of.name, of.count, of.self, of.maxRet])));
  compareChanges(Object.values(await toolkit.diff(...read))
    .map(of => [of.name, of.addedCount, of.removedCount]));
  console.log(`${wrong} differences in snapshots of ${told.map(of => of.nodes).join(' and ')} nodes`);
} finally {
  rmSync(directory, { recursive: true });
}
process.exit(wrong ? 1 : 0);

// SPDX-License-Identifier: MIT
// What a viewer must say of the two snapshots that snapshot_make writes.
import { same } from './common.mjs';

// `told`: what the program counted; `classes`: of [name, count, bytes, the most that one retains].
export function compareSnapshot(told, nodes, bytes, classes) {
  same('nodes', nodes, told.nodes);
  same('bytes', bytes, told.bytes);
  const seen = new Map(classes.map(([name, ...rest]) => [name, rest]));
  for (const [name, [count, size]] of Object.entries(told.types)) {
    same(`${name}: count`, seen.get(name)?.[0], count);
    same(`${name}: bytes`, seen.get(name)?.[1], size);
  }
  // The cache alone keeps its thousand; the key keeps the value.
  same('cache: retained', seen.get('cache')?.[2], 1001 * 32);
  same('key: retained', seen.get('key')?.[2], 2 * 32);
}

// `changes`: of [name, how many are new, how many are gone].
export function compareChanges(changes) {
  const text = changes.map(change => change.join(' ')).sort().join(', ');
  same('comparison', text, 'added 500 0, taken 0 100');
}

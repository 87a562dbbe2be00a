// SPDX-License-Identifier: MIT
// usage: node profile_format.mjs PROFILE_PROGRAM
// The program's profile as npm's pprof-format reads it, and its folded stacks beside that.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { packageDirectory } from './common.mjs';

const format = createRequire(import.meta.url)(packageDirectory('pprof-format'));

function check(condition, what) {
  if (!condition) {
    console.log('not so: ' + what);
    process.exit(1);
  }
}

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tarn-'));
let profile, folded;
try {
  const files = ['p.pb', 'p.folded'].map(name => path.join(directory, name));
  execFileSync(process.argv[2], files);
  profile = format.Profile.decode(fs.readFileSync(files[0]));
  folded = fs.readFileSync(files[1], 'utf8');
} finally {
  fs.rmSync(directory, {recursive: true});
}

const text = number => profile.stringTable.strings[Number(number)];
const byId = list => new Map(list.map(item => [BigInt(item.id), item]));
const locations = byId(profile.location), functions = byId(profile.function);
const types = profile.sampleType.map(type => text(type.type) + '/' + text(type.unit));
check(types.join() === 'alloc_objects/count,alloc_space/bytes,inuse_objects/count,inuse_space/bytes',
      types.join());

const lines = new Map();
const sums = {};
for (const sample of profile.sample) {
  const calls = sample.locationId.map(id => {
    const call = functions.get(BigInt(locations.get(BigInt(id)).line[0].functionId));
    return text(call.name);
  });
  const label = sample.label.find(one => text(one.key) === 'type');
  const line = calls.reverse().join(';') + ';[' + text(label.str) + ']';
  lines.set(line, (lines.get(line) || 0) + Number(sample.value[1]));
  const sum = sums[text(label.str)] = sums[text(label.str)] || [0, 0, 0, 0];
  sample.value.forEach((value, i) => sum[i] += Number(value));
}
check(sums.pair.join() === '3000,96000,1000,32000', 'pairs: ' + sums.pair);
check(sums.raw.join() === '500,512000,0,0', 'raw: ' + sums.raw);

// The two formats tell the same.
const others = new Map();
for (const line of folded.trimEnd().split('\n')) {
  const at = line.lastIndexOf(' ');
  others.set(line.slice(0, at), (others.get(line.slice(0, at)) || 0) + Number(line.slice(at + 1)));
}
check(others.size === lines.size, others.size + ' lines and ' + lines.size);
for (const [line, value] of lines)
  check(others.get(line) === value, line + ' is ' + value);
check([...lines.keys()].some(line => line.endsWith('make_pairs;main-loop;cons;[pair]')), 'the stack');
console.log(profile.sample.length + ' samples, ' + lines.size + ' lines');

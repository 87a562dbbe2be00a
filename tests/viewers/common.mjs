// SPDX-License-Identifier: MIT
// What the scripts of this directory share: packages of npm, tests that cannot be made, and the
// count of what is not as it should be.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

// Ends the test: it is skipped, or fails where everything was to be there.
export function skip(missing) {
  console.log(`skipped: there is no ${missing}; ./run viewers --install has it installed`);
  process.exit(process.env.VIEWERS_MUST ? 1 : 77);
}

// The directory of a package of npm: in build/viewers, or where NODE_PATH leads.
export function packageDirectory(name) {
  const places = [join(root, 'build/viewers/node_modules'),
    ...(process.env.NODE_PATH ?? '').split(':').filter(place => place)];
  const place = places.find(place => existsSync(join(place, name, 'package.json')));
  return place ? join(place, name) : skip(`npm package ${name} in build/viewers or on NODE_PATH`);
}

export let wrong = 0;

export function same(what, is, should, slack = 0) {
  if (is === should || Math.abs(is - should) <= slack)
    return;
  wrong++;
  console.log(`${what}: ${is}, should be ${should}`);
}

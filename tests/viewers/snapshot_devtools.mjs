// SPDX-License-Identifier: MIT
// Opens two heap snapshots in Chromium's own DevTools, by the button for it, and compares what they
// show with what the program that wrote them counted.
//
//   node snapshot_devtools.mjs PATH_OF_snapshot_make
//
// Ends with 77 where there is no Chromium.  It is driven through a pipe by the DevTools protocol, so
// nothing but Node.js is needed.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const limit = 180000; // ms for all of it
const candidates = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome'];
const chromium = candidates.find(path => path && existsSync(path));
if (!chromium) {
  console.log('skipped: no Chromium (Debian: chromium)');
  process.exit(77);
}

const directory = mkdtempSync(join(tmpdir(), 'tarn-viewers-'));
const paths = ['first', 'second'].map(name => join(directory, `${name}.heapsnapshot`));
const told = execFileSync(process.argv[2], paths, { encoding: 'utf8' }).trim().split('\n')
  .map(line => JSON.parse(line));

// --- the browser -------------------------------------------------------------------------------

const browser = spawn(chromium, ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic',
  '--no-first-run', '--disable-background-networking', '--disable-component-update',
  '--disable-sync', '--remote-debugging-pipe', `--user-data-dir=${join(directory, 'profile')}`,
  'about:blank'], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

// The browser's other processes end a little later, and write until then.
async function remove() {
  for (let i = 0; i < 100 && existsSync(directory); i++) {
    try {
      rmSync(directory, { recursive: true, force: true });
    } catch {
      await sleep(100);
    }
  }
}

let ending = false;
async function end(code, text) {
  if (ending)
    return;
  ending = true;
  console.log(text);
  const gone = new Promise(resolve => browser.on('exit', resolve));
  call('Browser.close').catch(() => {});
  await Promise.race([gone, sleep(5000)]);
  browser.kill('SIGKILL');
  await remove();
  process.exit(code);
}
setTimeout(() => end(1, `no answer within ${limit / 1000} s`), limit);
for (const part of [browser, browser.stdio[3], browser.stdio[4]])
  part.on('error', error => end(1, `${chromium}: ${error}`));
browser.on('exit', code => end(1, `${chromium} ended with ${code}`));

let last = 0, input = '';
const waiting = new Map();
browser.stdio[4].on('data', data => {
  input += data;
  for (let at; (at = input.indexOf('\0')) >= 0; input = input.slice(at + 1)) {
    const message = JSON.parse(input.slice(0, at));
    waiting.get(message.id)?.(message);
    waiting.delete(message.id);
  }
});

function call(method, params, sessionId) {
  return new Promise((resolve, reject) => {
    waiting.set(++last, message => message.error
      ? reject(new Error(`${method}: ${message.error.message}`)) : resolve(message.result));
    browser.stdio[3].write(`${JSON.stringify({ id: last, method, params, sessionId })}\0`);
  });
}

// --- its DevTools --------------------------------------------------------------------------------

let session;

async function evaluate(code, byValue = true) {
  const answer = await call('Runtime.evaluate', { expression: code, awaitPromise: true,
    returnByValue: byValue }, session);
  if (answer.exceptionDetails)
    throw new Error(answer.exceptionDetails.exception?.description ?? 'exception');
  return byValue ? answer.result.value : answer.result.objectId;
}

async function until(code) {
  for (;;) {
    const value = await evaluate(`(async () => { try { return ${code}; } catch { return null; } })()`);
    if (value)
      return value;
    await sleep(100);
  }
}

const panel = '(await import("devtools://devtools/bundled/panels/profiler/profiler.js"))' +
  '.HeapProfilerPanel.HeapProfilerPanel.instance()';
const snapshot = number =>
  `${panel}.findProfileTypeByExtension("x.heapsnapshot").getProfiles()[${number}].snapshotProxy`;
const file = `(() => {
  const search = node => {
    for (const child of [...node.childNodes, ...(node.shadowRoot?.childNodes ?? [])]) {
      const found = child.matches?.('input[type=file]') ? child : search(child);
      if (found) return found;
    }
    return null;
  };
  return search(document);
})()`;

async function open() {
  const target = await call('Target.createTarget',
    { url: 'devtools://devtools/bundled/devtools_app.html?panel=heap-profiler' });
  session = (await call('Target.attachToTarget',
    { targetId: target.targetId, flatten: true })).sessionId;
  await until(`${file} !== null`);
}

async function load(number) {
  await call('DOM.setFileInputFiles',
    { files: [paths[number]], objectId: await evaluate(file, false) }, session);
  await until(`${snapshot(number)}?.staticData?.nodeCount`);
}

// Per class: how many, their bytes, and the most that one of them retains.
const classes = number => evaluate(`(async () => {
  const all = await ${snapshot(number)}.aggregatesWithFilter({});
  return Object.values(all).map(of => [of.name, of.count, of.self, of.maxRet]);
})()`);

const difference = () => evaluate(`(async () => {
  const [base, now] = [${snapshot(0)}, ${snapshot(1)}];
  const definitions = await now.interfaceDefinitions();
  const diff = await now.calculateSnapshotDiff(base.uid, await base.aggregatesForDiff(definitions));
  return Object.values(diff).map(of => [of.name, of.addedCount, of.removedCount]);
})()`);

// --- what must be -------------------------------------------------------------------------------

let wrong = 0;
function same(what, is, should) {
  if (is !== should) {
    wrong++;
    console.log(`${what}: ${is}, should be ${should}`);
  }
}

async function compare(number) {
  const expected = told[number];
  const data = await evaluate(`(async () => (${snapshot(number)}).staticData)()`);
  same('nodes', data.nodeCount, expected.nodes);
  same('bytes', data.totalSize, expected.bytes);
  const seen = new Map((await classes(number)).map(([name, ...rest]) => [name, rest]));
  for (const [name, [count, bytes]] of Object.entries(expected.types)) {
    same(`${name}: count`, seen.get(name)?.[0], count);
    same(`${name}: bytes`, seen.get(name)?.[1], bytes);
  }
  // The cache alone keeps its thousand; the key keeps the value.
  same('cache: retained', seen.get('cache')?.[2], 1001 * 32);
  same('key: retained', seen.get('key')?.[2], 2 * 32);
}

try {
  await open();
  const version = await call('Browser.getVersion');
  for (const number of [0, 1]) {
    await load(number);
    await compare(number);
  }
  const changed = (await difference()).map(change => change.join(' ')).sort().join(', ');
  same('comparison', changed, 'added 500 0, taken 0 100');
  const bytes = paths.map(path => statSync(path).size).join(' and ');
  end(wrong ? 1 : 0, `${version.product}: ${wrong} differences in snapshots of ${bytes} bytes, ` +
    `${told[0].nodes} and ${told[1].nodes} nodes`);
} catch (error) {
  end(1, String(error.stack));
}

#!/bin/sh
# SPDX-License-Identifier: MIT
# Node: buffers, JSON, compression in its thread pool, worker threads that come and go.
. "$(dirname "$0")/common.sh"

need node nodejs
cat >"$work/program.js" <<'JS'
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const zlib = require('zlib'), crypto = require('crypto');
function work(seed) {
  let state = seed, kept = [];
  for (let i = 0; i < 60000; i++) {
    state = (state * 1103515245 + 12345) % 2147483648;
    kept[state % 500] = Buffer.alloc(state % 9000, i & 255);
  }
  const hash = crypto.createHash('sha256');
  kept.forEach(b => b && hash.update(b));
  return hash.digest('hex');
}
if (!isMainThread) {
  parentPort.postMessage(work(workerData));
} else {
  (async () => {
    console.log(work(1));
    for (let round = 0; round < 5; round++)
      for (const line of await Promise.all([2, 3, 4, 5].map(seed => new Promise((done, bad) => {
        const worker = new Worker(__filename, { workerData: seed });
        worker.on('message', done); worker.on('error', bad);
      }))))
        console.log(line);
    const text = JSON.stringify(Array.from({ length: 200000 }, (_, i) => ({ i, name: 'n' + i })));
    console.log(JSON.parse(text).length, text.length);
    const packed = await Promise.all(Array.from({ length: 20 }, () => new Promise((done, bad) =>
      zlib.gzip(text, (e, r) => e ? bad(e) : zlib.gunzip(r, (f, t) => f ? bad(f) : done(t.length))))));
    console.log(packed.join(' '));
  })();
}
JS
compare node "$work/program.js"
was_there node

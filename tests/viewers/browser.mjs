// SPDX-License-Identifier: MIT
// A Chromium without a screen, for tests and pictures.  It is driven through a pipe by the DevTools
// protocol, so nothing but Node.js is needed.
//
//   const browser = await Browser.start();
//   const page = await browser.open('about:blank');
//   await page.until('document.readyState === "complete"');
//   await browser.end(0, 'it did');        // says so, cleans up, and ends the process
//
// Whatever goes wrong ends the process with 1 and cleans up as well.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { skip } from './common.mjs';

const LIMIT = 180000; // ms for all that a process does
const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--use-gl=angle',
  '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--remote-debugging-pipe'];

export const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

export class Browser {
  #process;
  #last = 0;
  #input = '';
  #waiting = new Map();
  #ending = false;

  static async start(window = '1280,800') {
    const candidates = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser',
      '/usr/bin/google-chrome'];
    const path = candidates.find(candidate => candidate && existsSync(candidate));
    if (!path)
      skip('Chromium');
    return new Browser(path, window);
  }

  constructor(path, window) {
    this.directory = mkdtempSync(join(tmpdir(), 'tarn-viewers-'));
    this.#process = spawn(path, [...FLAGS, `--window-size=${window}`,
      `--user-data-dir=${join(this.directory, 'profile')}`, 'about:blank'],
    { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    for (const part of [this.#process, this.#process.stdio[3], this.#process.stdio[4]])
      part.on('error', error => this.end(1, `${path}: ${error}`));
    this.#process.on('exit', code => this.end(1, `${path} ended with ${code}`));
    this.#process.stdio[4].on('data', data => this.#take(data));
    setTimeout(() => this.end(1, `no answer within ${LIMIT / 1000} s`), LIMIT);
    process.on('uncaughtException', error => this.end(1, String(error.stack)));
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
      process.on(signal, () => this.end(1, signal));
  }

  // A path for a file that goes with the browser.
  file(name) {
    return join(this.directory, name);
  }

  async version() {
    return (await this.call('Browser.getVersion')).product;
  }

  async open(url) {
    const { targetId } = await this.call('Target.createTarget', { url });
    const { sessionId } = await this.call('Target.attachToTarget', { targetId, flatten: true });
    return new Page(this, sessionId);
  }

  #take(data) {
    this.#input += data;
    for (let at; (at = this.#input.indexOf('\0')) >= 0; this.#input = this.#input.slice(at + 1)) {
      const message = JSON.parse(this.#input.slice(0, at));
      this.#waiting.get(message.id)?.(message);
      this.#waiting.delete(message.id);
    }
  }

  call(method, params, sessionId) {
    return new Promise((resolve, reject) => {
      this.#waiting.set(++this.#last, message => message.error
        ? reject(new Error(`${method}: ${message.error.message}`)) : resolve(message.result));
      this.#process.stdio[3].write(
        `${JSON.stringify({ id: this.#last, method, params, sessionId })}\0`);
    });
  }

  // The browser's other processes end a little later, and write until then.
  async #remove() {
    for (let i = 0; i < 100 && existsSync(this.directory); i++) {
      try {
        rmSync(this.directory, { recursive: true, force: true });
      } catch {
        await sleep(100);
      }
    }
  }

  async end(code, text) {
    if (this.#ending)
      return;
    this.#ending = true;
    console.log(text);
    const gone = new Promise(resolve => this.#process.on('exit', resolve));
    this.call('Browser.close').catch(() => {});
    await Promise.race([gone, sleep(5000)]);
    this.#process.kill('SIGKILL');
    await this.#remove();
    process.exit(code);
  }
}

export class Page {
  constructor(browser, session) {
    this.browser = browser;
    this.session = session;
  }

  call(method, params) {
    return this.browser.call(method, params, this.session);
  }

  async evaluate(code, byValue = true) {
    const answer = await this.call('Runtime.evaluate', { expression: code, awaitPromise: true,
      returnByValue: byValue });
    if (answer.exceptionDetails)
      throw new Error(`${code}: ${answer.exceptionDetails.exception?.description ?? 'exception'}`);
    return byValue ? answer.result.value : answer.result.objectId;
  }

  // Waits until the expression has a value that is not false; what it throws counts as none.
  async until(code) {
    for (;;) {
      const value =
        await this.evaluate(`(async () => { try { return ${code}; } catch { return null; } })()`);
      if (value)
        return value;
      await sleep(100);
    }
  }

  // As if a person had chosen the file; `input` is an expression for the element.
  async choose(input, path) {
    await this.until(`(${input}) !== null`);
    await this.call('DOM.setFileInputFiles',
      { files: [path], objectId: await this.evaluate(input, false) });
  }

  async press(key, code, modifiers = 0) {
    for (const type of ['keyDown', 'keyUp'])
      await this.call('Input.dispatchKeyEvent',
        { type, key, windowsVirtualKeyCode: code, modifiers, text: type === 'keyDown' ? key : undefined });
  }

  async click(element) { // an expression for it
    const { x, y } = await this.evaluate(`(() => {
      const { x, y, width, height } = (${element}).getBoundingClientRect();
      return { x: x + width / 2, y: y + height / 2 };
    })()`);
    for (const type of ['mousePressed', 'mouseReleased'])
      await this.call('Input.dispatchMouseEvent', { type, x, y, button: 'left', clickCount: 1 });
  }

  async picture(height) { // a PNG of the page, or of its upper part
    const width = await this.evaluate('innerWidth');
    const clip = { x: 0, y: 0, width, height: height ?? await this.evaluate('innerHeight'), scale: 1 };
    const { data } = await this.call('Page.captureScreenshot', { format: 'png', clip });
    return Buffer.from(data, 'base64');
  }
}

// --- DevTools ------------------------------------------------------------------------------------

// An expression for the first element that matches, in whatever shadow it stands.
export const find = selector => `(() => {
  const search = node => {
    for (const child of [...node.childNodes, ...(node.shadowRoot?.childNodes ?? [])]) {
      const found = child.matches?.(${JSON.stringify(selector)}) ? child : search(child);
      if (found) return found;
    }
    return null;
  };
  return search(document);
})()`;

// The name of a panel's module, in an expression.
export const panelModule = name =>
  `(await import("devtools://devtools/bundled/panels/${name}/${name}.js"))`;

export const openDevTools = (browser, panel) =>
  browser.open(`devtools://devtools/bundled/devtools_app.html?panel=${panel}`);

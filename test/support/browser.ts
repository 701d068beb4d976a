import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { ensureBrowser } from '../../scripts/find-browser.mjs';
import { type ServerOptions, type StaticServer, serveStatic } from './static-server.ts';
import { buildTestPage } from './test-page.ts';

/** Nothing that calls home. */
const flags = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** WebGPU on SwiftShader, so that it is the same on every machine. */
const gpuFlags = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan'];
const noGpuFlags = ['--disable-gpu', '--disable-software-rasterizer'];

export interface BrowserOptions {
  /** False: a browser without WebGPU. @default true */
  readonly gpu?: boolean;
  /** A private window: nothing outlives it. @default false */
  readonly isPrivate?: boolean;
  /** More Chromium flags. */
  readonly args?: readonly string[];
}

/** A Chromium with a profile of its own in a temporary folder, removed with it. */
export interface TestBrowser extends AsyncDisposable {
  /** Replaced by `restart()`. */
  readonly context: BrowserContext;
  newPage(): Promise<Page>;
  /** Ends the browser and starts it again with the same profile: what was on disk is still there. */
  restart(): Promise<void>;
}

export async function launchBrowser(options: BrowserOptions = {}): Promise<TestBrowser> {
  const profile = await mkdtemp(join(tmpdir(), 'nearfar-browser-'));
  const args = [...flags, ...((options.gpu ?? true) ? gpuFlags : noGpuFlags), ...(options.args ?? [])];
  const launch = { executablePath: ensureBrowser(), headless: true, args };
  const start = async () =>
    options.isPrivate ? (await chromium.launch(launch)).newContext() : chromium.launchPersistentContext(profile, launch);
  let context = await start();
  return {
    get context() {
      return context;
    },
    newPage: () => context.newPage(),
    async restart() {
      await context.close();
      context = await start();
    },
    async [Symbol.asyncDispose]() {
      const owner = options.isPrivate ? context.browser() : undefined;
      await context.close();
      await owner?.close();
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

export interface TestPageOptions extends ServerOptions {
  /**
   * Module of the page, relative to the repository's root; it imports the built package by its own name.
   * @default 'test/support/page/main.ts', which puts `nearfar` on `window`
   */
  readonly entry?: string;
}

export interface TestPage extends AsyncDisposable {
  readonly page: Page;
  /** The server behind the page, with the log of its requests. */
  readonly server: StaticServer;
  /** Address of the page, with a slash at its end. */
  readonly url: string;
  /** What the page wrote to its console, and the errors nobody caught. */
  readonly logs: readonly string[];
  /** Opens the address again, as a user pressing reload. */
  reload(): Promise<void>;
}

/**
 * Opens a page of its own origin in the browser and waits until its module ran. What the module puts on `window` is
 * called by `page.evaluate`.
 */
export async function openTestPage(browser: TestBrowser, options: TestPageOptions = {}): Promise<TestPage> {
  const folder = await buildTestPage(options.entry);
  const server = await serveStatic(folder, options);
  const page = await browser.newPage();
  const logs: string[] = [];
  page.on('console', (message) => logs.push(`${message.type()}: ${message.text()}`));
  page.on('pageerror', (error) => logs.push(`uncaught: ${error.stack ?? error.message}`));
  const url = `${server.origin}/`;
  const ready = () =>
    page
      .waitForFunction(() => document.documentElement.dataset['ready'] === 'true', undefined, { timeout: 30_000 })
      .catch((cause) => {
        throw new Error(`the test page did not start:\n${logs.join('\n')}`, { cause });
      });
  await page.goto(url);
  await ready();
  return {
    page,
    server,
    url,
    logs,
    async reload() {
      await page.reload();
      await ready();
    },
    async [Symbol.asyncDispose]() {
      await page.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

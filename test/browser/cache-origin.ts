import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { expect } from 'vitest';
import { digestOf, encodeManifest, encodeVersions, type LockFile, type Manifest, type Pin, parseManifest } from '../../src/core/index.ts';
import { openTestPage, type TestBrowser, type TestPage } from '../support/browser.ts';
import { createFaultyRepository, type FaultyRepository } from '../support/fault-server.ts';

// everyday10 in a repository of its own, and what a page of its origin does with it by the public client.

const published = fileURLToPath(new URL('../../models/everyday10/1', import.meta.url));
export const name = 'everyday10';
export const weightsPath = `${name}/1/tfjs/weights.bin`;

export interface Repository extends AsyncDisposable {
  readonly folder: string;
  readonly manifest: Manifest;
  readonly weightsBytes: number;
  readonly largestChunk: number;
  lockTo(version: string): LockFile;
  /** Publishes the model once more with other class names: every other file keeps its chunks. The label `stable` moves to it. */
  publishWithLabels(version: string, labels: string): Promise<void>;
}

export async function createRepository(): Promise<Repository> {
  const folder = await mkdtemp(join(tmpdir(), 'nearfar-repository-'));
  const bytes = new Uint8Array(await readFile(join(published, 'manifest.json')));
  const manifest = parseManifest(bytes);
  const pins: Record<string, Pin> = { 1: { version: '1', digest: await digestOf(bytes) } };
  const writeVersions = (stable: string) =>
    writeFile(
      join(folder, name, 'versions.json'),
      encodeVersions({ schemaVersion: 1, name, versions: Object.values(pins).map((pin) => ({ ...pin })), labels: { stable } }),
    );
  await cp(published, join(folder, name, '1'), { recursive: true });
  await writeVersions('1');
  return {
    folder,
    manifest,
    weightsBytes: manifest.files['tfjs/weights.bin']?.bytes ?? 0,
    largestChunk: Math.max(...Object.values(manifest.files).flatMap(({ chunks }) => chunks.map(([length]) => length))),
    lockTo(version) {
      const pin = pins[version];
      if (!pin) throw new Error(`version ${version} is not published`);
      return { lockfileVersion: 1, models: { [name]: { ...pin } } };
    },
    async publishWithLabels(version, labels) {
      const to = join(folder, name, version);
      await cp(published, to, { recursive: true });
      const content = new TextEncoder().encode(labels);
      const digest = await digestOf(content);
      const file = { bytes: content.byteLength, digest, chunks: [[content.byteLength, digest]] as [number, string][] };
      const changed = encodeManifest({ ...manifest, version, files: { ...manifest.files, 'labels.txt': file } });
      await writeFile(join(to, 'labels.txt'), content);
      await writeFile(join(to, 'manifest.json'), changed);
      pins[version] = { version, digest: await digestOf(changed) };
      await writeVersions(version);
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

export interface Origin extends TestPage {
  readonly origin: string;
  /** What the server of the models answers, and how. */
  readonly served: FaultyRepository;
  /** Another tab of the same origin. */
  openTab(): Promise<Page & AsyncDisposable>;
}

/** A page of a new origin, which also serves the models. */
export async function openOrigin(browser: TestBrowser, { folder }: Repository): Promise<Origin> {
  const served = createFaultyRepository(folder, '/models/');
  const first = await openTestPage(browser, { mounts: { '/models/': served.handler } });
  return {
    ...first,
    origin: first.server.origin,
    served,
    async openTab() {
      const page = await browser.newPage();
      await page.goto(first.url);
      await page.waitForFunction(() => document.documentElement.dataset['ready'] === 'true');
      return Object.assign(page, { [Symbol.asyncDispose]: () => page.close() });
    },
  };
}

export interface Visit {
  readonly version: string;
  readonly cache: string;
  readonly label: string;
  /** Fractions that the monitor was told. */
  readonly progress: readonly number[];
  /** Types of what else it was told, in order, with their codes or actions. */
  readonly events: readonly string[];
}

export interface VisitOptions {
  readonly lock?: LockFile;
  readonly backends?: readonly ('tfjs-wasm' | 'onnx-wasm')[];
  readonly cacheBudgetBytes?: number;
}

/** Opens the model on the device and answers once; the client stays open under the name `client`, until the next visit or `leave`. */
export function visit(page: Page, options: VisitOptions = {}): Promise<Visit> {
  return page.evaluate(async ({ lock, backends = ['tfjs-wasm'] as const, cacheBudgetBytes }) => {
    await window.client?.close();
    const progress: number[] = [];
    const events: string[] = [];
    window.progress = progress;
    const client = window.nearfar.createClient({ models: '/models', lock, backends, cacheBudgetBytes });
    window.client = client;
    client.addEventListener('retry', ({ detail }) => events.push(`retry ${detail.code}`));
    client.addEventListener('integrity', ({ detail }) => events.push(`integrity ${detail.action}`));
    client.addEventListener('eviction', ({ detail }) => events.push(`eviction ${detail.version}`));
    client.addEventListener('quota', ({ detail }) => events.push(`quota ${detail.action}`));
    const model = await client.open('everyday10', {
      mode: 'only-on-device',
      monitor: (monitor) => monitor.addEventListener('downloadprogress', ({ loaded }) => progress.push(loaded)),
    });
    const { predictions, run } = await model.classify(new ImageData(new Uint8ClampedArray(32 * 32 * 4).fill(200), 32, 32));
    return { version: run.version, cache: run.cache ?? 'none', label: predictions[0]?.label ?? '', progress, events };
  }, options);
}

/** Closes the client of the last visit. */
export const leave = (page: Page) => page.evaluate(() => window.client?.close());

export const untilProgress = (page: Page, fraction: number) =>
  expect.poll(() => page.evaluate(() => Math.max(0, ...(window.progress ?? []))), { timeout: 20_000 }).toBeGreaterThanOrEqual(fraction);

/** The weights stop after this part of them, until they are let go on. */
export function holdWeightsAt({ served }: Origin, { weightsBytes }: Repository, fraction: number): { goOn: () => void } {
  let goOn: () => void = () => undefined;
  const cutWhen = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const cutAfterBytes = Math.floor(weightsBytes * fraction);
  served.fail((path, index) => (path === weightsPath && index === 0 ? { cutAfterBytes, cutWhen } : undefined));
  return { goOn: () => goOn() };
}

type Cache = ReturnType<typeof import('nearfar').createClient>['cache'];

/** One call of `client.cache`, by a client of its own. */
export function callCache<K extends Exclude<keyof Cache, 'prefetch'>>(
  page: Page,
  method: K,
  ...args: Parameters<Cache[K]>
): Promise<Awaited<ReturnType<Cache[K]>>> {
  return page.evaluate(
    async ([each, values]) => {
      const client = window.nearfar.createClient({ models: '/models' });
      try {
        // The arguments are those of the method: the signature above says so.
        const call = client.cache[each] as (...given: readonly unknown[]) => Promise<unknown>;
        return await call(...values);
      } finally {
        await client.close();
      }
    },
    [method, args] as const,
  ) as Promise<Awaited<ReturnType<Cache[K]>>>;
}

export interface PrefetchOptions extends VisitOptions {
  readonly version?: string;
  readonly pin?: boolean;
}

/** Prefetches the model by a client of its own, and says what came of it. */
export function prefetch(page: Page, { lock, backends, cacheBudgetBytes, ...options }: PrefetchOptions = {}) {
  return page.evaluate(
    async ([client, wanted]) => {
      const events: string[] = [];
      const own = window.nearfar.createClient({ models: '/models', ...client });
      own.addEventListener('eviction', ({ detail }) => events.push(`eviction ${detail.version}`));
      own.addEventListener('quota', ({ detail }) => events.push(`quota ${detail.action}`));
      const progress: number[] = [];
      try {
        const value = await own.cache.prefetch('everyday10', {
          ...wanted,
          monitor: (monitor) => monitor.addEventListener('downloadprogress', ({ loaded }) => progress.push(loaded)),
        });
        return { value, events, progress };
      } catch (error) {
        if (!(error instanceof window.nearfar.NearfarError)) throw error;
        const { code, message, details } = error;
        return { error: { code, message, details }, events, progress };
      } finally {
        await own.close();
      }
    },
    [{ lock, backends: backends ?? ['tfjs-wasm' as const], cacheBudgetBytes }, options] as const,
  );
}

declare global {
  interface Window {
    client?: ReturnType<typeof window.nearfar.createClient>;
    progress?: readonly number[];
  }
}

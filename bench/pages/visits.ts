import { createClient, type Lock } from 'nearfar';

// Parts of what an application does, called by the benches that opened this page.

interface Options {
  readonly name: string;
  readonly lock?: Lock;
  readonly version?: string;
}

/** @returns milliseconds until everything that the device needs is in its cache, verified. */
async function download({ name, lock, version }: Options): Promise<number> {
  const client = createClient({ models: '/models', backends: ['tfjs-wasm', 'onnx-wasm'], ...(lock && { lock }) });
  try {
    const startedAt = performance.now();
    await client.cache.prefetch(name, { version });
    return performance.now() - startedAt;
  } finally {
    await client.close();
  }
}

/** @returns milliseconds of plain fetches of these files, all at once. */
async function fetchPlainly(urls: readonly string[]): Promise<number> {
  const startedAt = performance.now();
  await Promise.all(urls.map(async (url) => (await fetch(url, { cache: 'no-store' })).arrayBuffer()));
  return performance.now() - startedAt;
}

/** Opens a model, classifies, closes it, again and again. @returns the page's and its workers' bytes after the first tenth and at the end. */
async function openAndClose({ name, lock }: Options, times: number): Promise<{ early: number; late: number }> {
  const client = createClient({ models: '/models', backends: ['tfjs-wasm'], ...(lock && { lock }) });
  const cycle = async () => {
    const model = await client.open(name, { mode: 'only-on-device' });
    await model.classify(new ImageData(64, 64));
    await model.close();
  };
  let early = 0;
  for (let time = 1; time <= times; time++) {
    await cycle();
    if (time === times / 10) early = await measureMemory();
  }
  const late = await measureMemory();
  await client.close();
  return { early, late };
}

async function measureMemory(): Promise<number> {
  const { bytes } = await (
    performance as unknown as { measureUserAgentSpecificMemory(): Promise<{ bytes: number }> }
  ).measureUserAgentSpecificMemory();
  return bytes;
}

const visits = { download, fetchPlainly, openAndClose };

declare global {
  interface Window {
    visits: typeof visits;
  }
}

window.visits = visits;
document.documentElement.dataset['ready'] = 'true';

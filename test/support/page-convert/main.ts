import {
  blobFolder,
  type EmittedModel,
  findModel,
  type ModelFile,
  type ModelFolder,
  optimize,
  readModelGraph,
  shareInputs,
  writeTfjsGraph,
} from 'nearfar/formats';
import type { Manifest, TensorMap } from '../../../dist/core/index.js';
import { openBrowserPlatform } from '../../../dist/engines/browser/index.js';
import { openEngine } from '../../../dist/engines/index.js';

export interface PageConversion {
  /** SHA-256 in hexadecimal by the name of the file. */
  readonly digests: Readonly<Record<string, string>>;
  /** By the names of the signature. */
  readonly outputs: Readonly<Record<string, readonly number[]>>;
}

/** How a page gets at the files: whole, as Blobs, or what is needed of each, by ranges. */
const folders: Readonly<Record<'blobs' | 'ranges', (paths: readonly string[]) => Promise<ModelFolder>>> = {
  blobs: async (paths) => blobFolder(await Promise.all(paths.map(async (path) => [path, await (await get(path)).blob()] as const))),
  ranges: async (paths) => new Map(await Promise.all(paths.map(async (path) => [path, await openRanges(path)] as const))),
};

async function get(path: string, range?: string): Promise<Response> {
  const response = await fetch(`/model/${path}`, range === undefined ? {} : { headers: { range } });
  if (!response.ok) throw new Error(`HTTP ${response.status} for ${path}`);
  return response;
}

async function openRanges(path: string): Promise<ModelFile> {
  const response = await fetch(`/model/${path}`, { method: 'HEAD' });
  return {
    byteLength: Number(response.headers.get('content-length')),
    read: async (start, end) => {
      if (start === end) return new Uint8Array();
      const part = await get(path, `bytes=${start}-${end - 1}`);
      if (part.status !== 206) throw new Error(`the server sent the whole of ${path}`);
      return new Uint8Array(await part.arrayBuffer());
    },
  };
}

/** Converts the SavedModel at /model/ to a GraphModel, and runs that with the input at /input.f32. */
async function convertHere(
  access: 'blobs' | 'ranges',
  paths: readonly string[],
  input: { readonly name: string; readonly shape: readonly number[] },
): Promise<PageConversion> {
  const folder = await folders[access](paths);
  const graph = await optimize(shareInputs(await readModelGraph(folder, await findModel(folder))));
  const model = await writeTfjsGraph(graph, { precision: 'float32' });
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const [name, file] of model.files) {
    const parts: Uint8Array<ArrayBuffer>[] = [];
    for await (const part of file.read()) parts.push(part);
    files.set(name, new Uint8Array(await new Blob(parts).arrayBuffer()));
  }
  const digests = await Promise.all([...files].map(async ([name, bytes]) => [name, await digest(bytes)] as const));
  const data = new Float32Array(await (await fetch('/input.f32')).arrayBuffer());
  const outputs = await run(model, files, { [input.name]: { dtype: 'float32', shape: input.shape, data } });
  return { digests: Object.fromEntries(digests), outputs };
}

async function run(model: EmittedModel, files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>, inputs: TensorMap) {
  const signature = 'serving_default';
  const { inputs: ownInputs, outputs: ownOutputs } = model.bindings[signature]!;
  const manifest: Manifest = {
    schemaVersion: 1,
    name: 'converted',
    version: '1',
    signatures: {
      [signature]: {
        method: 'predict',
        inputs: Object.fromEntries(Object.entries(inputs).map(([name, { shape }]) => [name, { dtype: 'float32', shape: [...shape] }])),
        outputs: Object.fromEntries(Object.keys(ownOutputs).map((name) => [name, { dtype: 'float32', shape: [-1, -1] }])),
      },
    },
    variants: [
      {
        id: 'tfjs-float32',
        format: 'tfjs-graph',
        precision: 'float32',
        entry: model.entry,
        files: [...files.keys()],
        requires: [],
        tolerance: { absolute: 0, relative: 0 },
        bindings: { [signature]: { inputs: { ...ownInputs }, outputs: { ...ownOutputs } } },
      },
    ],
    files: {},
    golden: [],
  };
  const engine = await openEngine('tfjs-wasm', openBrowserPlatform({ allowSoftwareAdapter: false }));
  const loaded = await engine.load({ manifest, variant: manifest.variants[0]!, readFile: async (path) => files.get(path)! });
  const answer = await loaded.run({ signature, inputs });
  await loaded[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
  return Object.fromEntries(Object.entries(answer).map(([name, { data }]) => [name, Array.from(data as Float32Array)]));
}

async function digest(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

declare global {
  interface Window {
    convertHere: typeof convertHere;
  }
}

window.convertHere = convertHere;
document.documentElement.dataset['ready'] = 'true';

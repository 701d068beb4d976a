import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { digestOf, encodeManifest, encodeVersions, type LockFile, type Manifest, type Pin, type Versions } from '../../src/core/index.ts';

export interface SmallVersion {
  readonly version: string;
  readonly files: Readonly<Record<string, Uint8Array<ArrayBuffer>>>;
  /** Length of each chunk, in bytes. */
  readonly chunkBytes: number;
}

export interface SmallRepository extends AsyncDisposable {
  readonly folder: string;
  readonly name: string;
  /** By version. */
  readonly pins: Readonly<Record<string, Pin>>;
  readonly manifests: Readonly<Record<string, Manifest>>;
  lockTo(version: string): LockFile;
}

/** Bytes without a pattern, the same for the same seed. */
export function noise(length: number, seed: number): Uint8Array<ArrayBuffer> {
  let state = seed >>> 0 || 1;
  return Uint8Array.from({ length }, () => {
    // xorshift32 (Marsaglia 2003)
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state & 0xff;
  });
}

/** A repository in a temporary folder whose files are no real model: for what delivers models, not for what runs them. */
export async function createSmallRepository(
  versions: readonly SmallVersion[],
  { name = 'small', describe = (manifest) => manifest }: { name?: string; describe?: (manifest: Manifest) => Manifest } = {},
): Promise<SmallRepository> {
  const folder = await mkdtemp(join(tmpdir(), 'nearfar-repository-'));
  const pins: Record<string, Pin> = {};
  const manifests: Record<string, Manifest> = {};
  for (const { version, files, chunkBytes } of versions) {
    const manifest = describe(await describeFiles(name, version, files, chunkBytes));
    const bytes = encodeManifest(manifest);
    pins[version] = { version, digest: await digestOf(bytes) };
    manifests[version] = manifest;
    await write(join(folder, name, version, 'manifest.json'), bytes);
    for (const [path, content] of Object.entries(files)) await write(join(folder, name, version, path), content);
  }
  const list: Versions = { schemaVersion: 1, name, versions: Object.values(pins).map((pin) => ({ ...pin })), labels: {} };
  await write(join(folder, name, 'versions.json'), encodeVersions(list));
  return {
    folder,
    name,
    pins,
    manifests,
    lockTo: (version) => ({ lockfileVersion: 1, models: { [name]: { version, digest: pins[version]?.digest ?? '' } } }),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

async function write(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
}

async function describeFiles(name: string, version: string, files: SmallVersion['files'], chunkBytes: number): Promise<Manifest> {
  const described = await Promise.all(
    Object.entries(files).map(async ([path, bytes]) => {
      const chunks: [number, string][] = [];
      for (let start = 0; start < bytes.byteLength; start += chunkBytes) {
        const chunk = bytes.subarray(start, start + chunkBytes);
        chunks.push([chunk.byteLength, await digestOf(chunk)]);
      }
      return [path, { bytes: bytes.byteLength, digest: await digestOf(bytes), chunks }] as const;
    }),
  );
  const paths = Object.keys(files);
  return {
    schemaVersion: 1,
    name,
    version,
    signatures: { serving_default: { method: 'predict', inputs: {}, outputs: {} } },
    variants: [
      {
        id: 'none',
        format: 'onnx',
        precision: 'float32',
        entry: paths[0] ?? '',
        files: paths,
        requires: [],
        tolerance: { absolute: 0, relative: 0 },
      },
    ],
    files: Object.fromEntries(described),
    golden: [],
  };
}

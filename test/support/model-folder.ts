import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describeFile, digestOf, encodeManifest, encodeVersions, type Manifest, type Versions } from '../../src/core/index.ts';

/** A folder of the test's own, removed when it leaves its scope. */
export async function openTempFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'nearfar-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** A version with a manifest and one file, which no engine could load: for tests of what happens before an engine is asked. */
export interface MadeVersion {
  readonly manifest: Manifest;
  readonly digest: string;
  readonly files: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
}

/** @param content Of the one file; another content makes another digest. */
export async function makeVersion(name: string, version: string, content = `weights of ${version}`): Promise<MadeVersion> {
  const bytes = new TextEncoder().encode(content);
  const manifest: Manifest = {
    schemaVersion: 1,
    name,
    version,
    signatures: {},
    variants: [
      {
        id: 'onnx-float32',
        format: 'onnx',
        precision: 'float32',
        entry: 'onnx/model.onnx',
        files: ['onnx/model.onnx'],
        requires: [],
        tolerance: { absolute: 0, relative: 0 },
      },
    ],
    files: { 'onnx/model.onnx': await describeFile(bytes) },
    golden: [],
  };
  const manifestBytes = encodeManifest(manifest);
  return {
    manifest,
    digest: await digestOf(manifestBytes),
    files: new Map([
      ['manifest.json', manifestBytes],
      ['onnx/model.onnx', bytes],
    ]),
  };
}

/** Writes a version, or only some of its files, into its directory. */
export async function writeVersion(directory: string, { files }: MadeVersion, only: readonly string[] = [...files.keys()]): Promise<void> {
  for (const path of only) {
    const file = join(directory, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, files.get(path) ?? '');
  }
}

export async function writeVersionsFile(
  modelFolder: string,
  name: string,
  versions: readonly { version: string; digest: string }[],
  labels: Versions['labels'] = {},
): Promise<void> {
  const content: Versions = { schemaVersion: 1, name, versions: versions.map(({ version, digest }) => ({ version, digest })), labels };
  await writeFile(join(modelFolder, 'versions.json'), encodeVersions(content));
}

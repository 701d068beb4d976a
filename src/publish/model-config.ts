import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { NearfarError } from '../core/index.ts';

/** One `config { … }` of a ModelServerConfig. */
export interface ModelConfig {
  readonly name: string;
  /** Absolute path of the folder that holds the versions. */
  readonly basePath: string;
  readonly platform: 'tensorflow' | 'onnx';
}

/**
 * The models of a directory: each folder with at least one folder whose name is a number. One whose versions hold ONNX files and nothing of
 * TensorFlow is of the platform `onnx`, all others are `tensorflow`.
 * @throws {NearfarError} `not-found` when the directory cannot be read or holds no model.
 */
export async function scanModels(directory: string): Promise<ModelConfig[]> {
  const models: ModelConfig[] = [];
  for (const name of await listFolders(directory)) {
    const basePath = resolve(directory, name);
    const versions = (await listFolders(basePath)).filter((version) => /^[0-9]+$/.test(version));
    if (versions.length === 0) continue;
    const platforms = await Promise.all(versions.map((version) => platformOf(join(basePath, version))));
    models.push({ name, basePath, platform: platforms.every((platform) => platform === 'onnx') ? 'onnx' : 'tensorflow' });
  }
  if (models.length > 0) return models;
  throw new NearfarError('not-found', `${directory} holds no folder with version folders (numbers)`, { details: { directory } });
}

/** A model_config_list in protobuf's text form, as `--model_config_file` of TensorFlow Serving takes it. */
export function writeModelConfigList(models: readonly ModelConfig[]): string {
  const configs = models.map(({ name, basePath, platform }) =>
    ['  config {', `    name: ${quote(name)}`, `    base_path: ${quote(basePath)}`, `    model_platform: "${platform}"`, '  }'].join('\n'),
  );
  return `model_config_list {\n${configs.join('\n')}\n}\n`;
}

async function platformOf(version: string): Promise<ModelConfig['platform']> {
  const names = (await readdir(version, { recursive: true })).map((name) => name.replaceAll('\\', '/'));
  const isTensorFlow = names.some((name) => /(^|\/)(saved_model\.pb(txt)?|model\.json)$/.test(name));
  return !isTensorFlow && names.some((name) => name.endsWith('.onnx')) ? 'onnx' : 'tensorflow';
}

async function listFolders(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch((cause) => {
    throw new NearfarError('not-found', `cannot read ${directory}: ${cause instanceof Error ? cause.message : cause}`, {
      cause,
      details: { directory },
    });
  });
  return entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map(({ name }) => name)
    .sort();
}

/** A string of the text format: bytes outside of printable ASCII as octal escapes, which every parser reads alike. */
function quote(text: string): string {
  const bytes = new TextEncoder().encode(text);
  const escaped = Array.from(bytes, (byte) => {
    if (byte === 0x22 || byte === 0x5c) return `\\${String.fromCharCode(byte)}`;
    return byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\${byte.toString(8).padStart(3, '0')}`;
  });
  return `"${escaped.join('')}"`;
}

import { createHash } from 'node:crypto';
import { type DType, parseManifest, type TaskName, type TaskSource } from '../../src/core/index.ts';

type Tensors = Record<string, [DType, number[]]>;

/** A version with one task, its signature and the files that the task reads. */
export function taskSource(
  task: TaskName,
  spec: { input: object; output: object },
  { inputs, outputs = {}, files = {} }: { inputs: Tensors; outputs?: Tensors; files?: Record<string, string | Uint8Array> },
): TaskSource {
  const bytes = new Map(Object.entries(files).map(([path, content]) => [path, new Uint8Array(Buffer.from(content as string))]));
  const infos = (tensors: Tensors) => Object.fromEntries(Object.entries(tensors).map(([name, [dtype, shape]]) => [name, { dtype, shape }]));
  const fileOf = (content: Uint8Array) => {
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    return { bytes: content.length, digest, chunks: [[content.length, digest]] };
  };
  const model = new Uint8Array(1);
  const json = {
    schemaVersion: 1,
    name: 'tiny',
    version: '1',
    signatures: { serving_default: { method: 'predict', inputs: infos(inputs), outputs: infos(outputs) } },
    tasks: { [task]: { signature: 'serving_default', ...spec } },
    variants: [
      {
        id: 'onnx-float32',
        format: 'onnx',
        precision: 'float32',
        entry: 'model.onnx',
        files: ['model.onnx'],
        requires: [],
        tolerance: { absolute: 1e-4, relative: 1e-3 },
      },
    ],
    files: Object.fromEntries([['model.onnx', fileOf(model)], ...[...bytes].map(([path, content]) => [path, fileOf(content)])]),
    golden: [],
  };
  return {
    manifest: parseManifest(new TextEncoder().encode(JSON.stringify(json))),
    readFile: async (path) => bytes.get(path)!,
  };
}

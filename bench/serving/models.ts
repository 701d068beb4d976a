import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { publish } from '../../src/publish/index.ts';
import { initializer, node, onnxModel, valueInfo } from '../../test/support/onnx-writer.ts';
import { sharedData } from '../../test/support/shared-data.ts';
import type { ServedModel } from './workloads.ts';

/** The models that every server of the bench has, as ONNX files and as versions that nearfar published. */
export interface ServedModels extends AsyncDisposable {
  /** A repository of nearfar; each model has version 1. */
  readonly repository: string;
  /** Where the files lie for others. */
  readonly files: Readonly<Record<string, string>>;
  /** y = x / 2 + 2, as TensorFlow Serving's half_plus_two. */
  readonly tiny: ServedModel;
  /** MobileNetV2 of one picture, 602 KB of float32; undefined where the shared data is absent. */
  readonly image: ServedModel | undefined;
}

export async function publishServedModels(): Promise<ServedModels> {
  const folder = await mkdtemp(join(tmpdir(), 'nearfar-bench-serving-'));
  const repository = join(folder, 'models');
  const tinyFile = join(folder, 'half_plus_two.onnx');
  await writeFile(tinyFile, halfPlusTwo());
  const imageFile = sharedData('onnx/mobilenetv2-dq-fp32/model.onnx');
  await publish([tinyFile], { name: 'half_plus_two', repository });
  if (imageFile !== undefined) await publish([imageFile], { name: 'mobilenet', repository });
  return {
    repository,
    files: { half_plus_two: tinyFile, ...(imageFile !== undefined && { mobilenet: imageFile }) },
    tiny: { model: 'half_plus_two', input: 'x', output: 'y', shape: [3], values: [1, 2, 5] },
    image: imageFile === undefined ? undefined : { model: 'mobilenet', input: 'input', output: 'output', shape: [1, 3, 224, 224] },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

function halfPlusTwo(): Uint8Array<ArrayBuffer> {
  const float = (value: number) => new Uint8Array(Float32Array.of(value).buffer);
  return onnxModel([
    [1, node('Mul', ['x', 'half'], ['scaled'])],
    [1, node('Add', ['scaled', 'two'], ['y'])],
    [5, initializer('half', 1, [], float(0.5))],
    [5, initializer('two', 1, [], float(2))],
    [11, valueInfo('x', 1, ['n'])],
    [12, valueInfo('y', 1, ['n'])],
  ]);
}

import { type GraphModel, loadGraphModelSync } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import {
  type AnyTensor,
  assertBound,
  assertShapeFits,
  type BackendId,
  checkRequest,
  fromOwnOutputs,
  inSignatureLayout,
  type LoadedVariant,
  NearfarError,
  ownOutputNames,
  type RunRequest,
  resolveBindings,
  type SignatureBindings,
  type TensorMap,
  toOwnInputs,
  type VariantSource,
} from '../../core/index.ts';
import type { DeviceLoss } from '../loss.ts';
import type { EnginePlatform } from '../platform.ts';
import type { TfjsBackend } from './backends.ts';
import { translateTfjsError } from './errors.ts';
import { needsAsyncExecutor, unsupportedOps } from './graph-ops.ts';
import { type GraphModelFiles, readGraphModel } from './model-files.ts';
import { fromTfjs, type ReadValues, toTfjs } from './tensors.ts';

/** What a variant needs of the engine that loads it. */
export interface GraphVariantHost {
  readonly id: BackendId;
  readonly backend: TfjsBackend;
  readonly loss: DeviceLoss;
  readonly nextTask: EnginePlatform['nextTask'];
  readonly signal?: AbortSignal | undefined;
}

/** A loaded variant with what it holds. */
export interface GraphVariant extends LoadedVariant {
  /** Bytes of the weights' tensors. */
  readonly bytes: number;
}

/**
 * Loads a GraphModel onto the engine's backend.
 * @throws {NearfarError} `unsupported` that lists every operator without a kernel, `out-of-memory`, `device-lost`.
 */
export async function loadGraphVariant(source: VariantSource, host: GraphVariantHost): Promise<GraphVariant> {
  const files = await readGraphModel(source);
  host.signal?.throwIfAborted();
  assertSupported(source, files, host);
  const model = await host.backend.use(() => {
    host.signal?.throwIfAborted();
    host.loss.assertAlive();
    try {
      return loadKept(files);
    } catch (error) {
      throw translateTfjsError(error, host.id);
    }
  });
  // The weights live in tensors now; the model would keep the file's bytes beside them.
  delete files.artifacts.weightData;
  return createGraphVariant(source, files, model, host);
}

function assertSupported({ manifest, variant }: VariantSource, files: GraphModelFiles, { id, backend }: GraphVariantHost): void {
  const { nodes } = files;
  const nodeNames = new Set(nodes.map(({ name }) => name));
  assertBound(manifest, variant, {
    hasInput: (tensor) => nodeNames.has(nodeName(files.inputNode(tensor))),
    hasOutput: (tensor) => nodeNames.has(nodeName(files.outputNode(tensor))),
  });
  const problems = unsupportedOps(nodes, backend.hasKernel);
  if (problems.length === 0) return;
  throw new NearfarError('unsupported', `variant ${variant.id} cannot run on ${id}: ${problems.join('; ')}`, {
    details: { variant: variant.id, backend: id, problems },
  });
}

/** Makes the model and keeps its weights; when that throws, no tensor stays behind. */
function loadKept({ artifacts }: GraphModelFiles): GraphModel<tf.io.IOHandlerSync> {
  let model: GraphModel<tf.io.IOHandlerSync> | undefined;
  tf.tidy(() => {
    model = loadGraphModelSync(artifacts);
    for (const weight of Object.values(model.weights).flat()) tf.keep(weight);
  });
  if (model === undefined) throw new NearfarError('internal', 'tf.tidy did not run its function');
  return model;
}

function createGraphVariant(
  { manifest, variant }: VariantSource,
  files: GraphModelFiles,
  model: GraphModel<tf.io.IOHandlerSync>,
  { id, backend, loss, nextTask }: GraphVariantHost,
): GraphVariant {
  const isAsync = needsAsyncExecutor(files.nodes);
  const declaredShapes = new Map(model.inputs.map(({ name, shape }) => [nodeName(name), shape]));
  const running = new Set<Promise<unknown>>();
  let closing: Promise<void> | undefined;

  const assertShapes = (bindings: SignatureBindings, inputs: TensorMap) => {
    for (const binding of bindings.inputs) {
      const declared = declaredShapes.get(nodeName(files.inputNode(binding.tensor)));
      assertShapeFits(binding.name, inSignatureLayout(binding, declared), inputs[binding.name]!.shape);
    }
  };

  const execute = async (inputs: Record<string, tf.Tensor>, outputs: string[]): Promise<tf.Tensor[]> => {
    if (!isAsync) return [model.execute(inputs, outputs)].flat();
    // The asynchronous executor leaves its intermediate tensors behind when it throws: a scope takes them along.
    tf.engine().startScope();
    let results: tf.Tensor[] = [];
    try {
      results = [await model.executeAsync(inputs, outputs)].flat();
    } finally {
      tf.engine().endScope(results);
    }
    return results;
  };

  /** Runs under the realm's lock; resolves once the outputs are on their way back, with the promise of their values. */
  const start = async (own: TensorMap, outputs: readonly string[]): Promise<{ read: Promise<Output[]> }> => {
    const inputs: Record<string, tf.Tensor> = {};
    const results: tf.Tensor[] = [];
    const endErrors = watchGpuErrors(backend.gpuDevice);
    try {
      for (const [name, tensor] of Object.entries(own)) inputs[files.inputNode(name)] = toTfjs(name, tensor);
      results.push(...(await execute(inputs, outputs.map(files.outputNode))));
      return { read: readAll(results, endErrors) };
    } catch (error) {
      await endErrors().catch(() => undefined); // the first error is the one to tell
      tf.dispose(results);
      throw error;
    } finally {
      tf.dispose(inputs);
    }
  };

  const runChecked = async (request: RunRequest, signal: AbortSignal | undefined): Promise<TensorMap> => {
    const { signature, outputs } = checkRequest(manifest, request);
    const bindings = resolveBindings(manifest, variant, request.signature, request.layouts);
    assertShapes(bindings, request.inputs);
    const own = toOwnInputs(bindings, request.inputs);
    const names = ownOutputNames(bindings, outputs);
    try {
      const started = backend.use(() => {
        signal?.throwIfAborted();
        loss.assertAlive();
        return start(own, names);
      });
      const values = await loss.guard(started.then(({ read }) => read));
      const declared = bindings.outputs.filter(({ name }) => outputs.includes(name));
      const typed = names.map((tensor, index): [string, AnyTensor] => {
        const { name } = declared.find((binding) => binding.tensor === tensor)!;
        const { shape, data } = values[index]!;
        return [tensor, fromTfjs(name, signature.outputs[name]!.dtype, shape, data)];
      });
      return fromOwnOutputs(bindings, Object.fromEntries(typed), outputs);
    } catch (error) {
      if (signal?.aborted && error === signal.reason) throw error;
      // A lost device fails the call in hand first and says that it is lost a moment later.
      await nextTask();
      loss.assertAlive();
      throw translateTfjsError(error, id);
    }
  };

  return {
    bytes: weightBytes(model),
    async run(request, { signal } = {}) {
      signal?.throwIfAborted();
      if (closing) throw new NearfarError('failed-precondition', `variant ${variant.id} of ${manifest.name} is closed`);
      loss.assertAlive();
      const run = runChecked(request, signal);
      running.add(run);
      try {
        return await run;
      } finally {
        running.delete(run);
      }
    },
    [Symbol.asyncDispose]() {
      closing ??= (async () => {
        await Promise.allSettled(running);
        await backend.use(() => model.dispose());
      })();
      return closing;
    },
  };
}

function weightBytes({ weights }: GraphModel<tf.io.IOHandlerSync>): number {
  return Object.values(weights)
    .flat()
    .reduce((sum, { size, dtype }) => sum + size * (dtype === 'string' ? 0 : tf.util.bytesPerElement(dtype)), 0);
}

function nodeName(tensor: string): string {
  return tensor.split(':')[0]!;
}

interface Output {
  readonly shape: readonly number[];
  readonly data: ReadValues;
}

/** Reads the tensors back and disposes them on every path. */
async function readAll(results: readonly tf.Tensor[], endErrors: () => Promise<void>): Promise<Output[]> {
  try {
    const reads = results.map(async (tensor) => ({ shape: tensor.shape, data: await readValues(tensor) }));
    const [outputs] = await Promise.all([Promise.all(reads), endErrors()]);
    return outputs;
  } finally {
    tf.dispose([...results]);
  }
}

async function readValues(tensor: tf.Tensor): Promise<ReadValues> {
  if (tensor.dtype !== 'string') return tensor.data<Exclude<tf.DataType, 'string' | 'complex64'>>();
  const bytes = await tensor.bytes();
  return Array.isArray(bytes) ? bytes : [bytes];
}

/**
 * WebGPU tells errors of validation and memory to error scopes, not to the calls that cause them, and TensorFlow.js opens
 * none: without this a buffer that could not be allocated would read as zeros.
 * @returns A function that ends the watch; its promise rejects with the first error.
 */
function watchGpuErrors(device: GPUDevice | undefined): () => Promise<void> {
  if (device === undefined) return async () => undefined;
  device.pushErrorScope('validation');
  device.pushErrorScope('out-of-memory');
  return async () => {
    const [memory, validation] = await Promise.all([device.popErrorScope(), device.popErrorScope()]);
    if (memory) throw new NearfarError('out-of-memory', `the GPU has not enough memory: ${memory.message}`);
    if (validation) throw new NearfarError('internal', `the GPU refused a command: ${validation.message}`);
  };
}

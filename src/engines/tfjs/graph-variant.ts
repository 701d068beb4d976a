import * as tf from '@tensorflow/tfjs-core';
import {
  type AnyTensor,
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
import { assertRuns } from './check-signatures.ts';
import { translateTfjsError } from './errors.ts';
import { nodeName, shapeOf } from './graph.ts';
import { type LaidOutModel, layOut } from './layout.ts';
import { type GraphModelFiles, readGraphModel } from './model-files.ts';
import { cutName, type RunPlan } from './split.ts';
import { fromTfjs, type ReadValues, toTfjs } from './tensors.ts';

/** What a variant needs of the engine that loads it. */
export interface GraphVariantHost {
  readonly id: BackendId;
  readonly backend: TfjsBackend;
  readonly loss: DeviceLoss;
  readonly nextTask: EnginePlatform['nextTask'];
  readonly signal?: AbortSignal | undefined;
  /** The CPU backend for the part of a model that must run there; the variant closes it. */
  readonly openHost: () => Promise<TfjsBackend>;
}

/** A loaded variant with what it holds. */
export interface GraphVariant extends LoadedVariant {
  /** Bytes of the weights' tensors. */
  readonly bytes: number;
  /** The CPU backend where a part of the model runs there beside the engine's own. */
  readonly hostBackend: TfjsBackend | undefined;
}

/**
 * Loads a GraphModel onto the engine's backend. A signature that cannot run here fails when it is run, not the others.
 * @throws {NearfarError} `unsupported` that lists what keeps every signature from running, `out-of-memory`, `device-lost`.
 */
export async function loadGraphVariant(source: VariantSource, host: GraphVariantHost): Promise<GraphVariant> {
  const files = await readGraphModel(source);
  host.signal?.throwIfAborted();
  let model: LaidOutModel;
  try {
    model = await layOut(source, files, host);
  } catch (error) {
    if (host.signal?.aborted && error === host.signal.reason) throw error;
    throw translateTfjsError(error, host.id);
  }
  // The weights live in tensors now; the model would keep the file's bytes beside them.
  files.artifacts.weightData.length = 0;
  return createGraphVariant(source, files, model, host);
}

function createGraphVariant(
  source: VariantSource,
  files: GraphModelFiles,
  model: LaidOutModel,
  { id, backend, loss, nextTask }: GraphVariantHost,
): GraphVariant {
  const { manifest, variant } = source;
  const signatures = new Map(model.signatures.map((signature) => [signature.name, signature]));
  const plans = new Map<string, RunPlan>();
  const running = new Set<Promise<unknown>>();
  let closing: Promise<void> | undefined;

  const assertShapes = (bindings: SignatureBindings, inputs: TensorMap) => {
    for (const binding of bindings.inputs) {
      const declared = shapeOf(model.graph.nodes.get(nodeName(files.inputNode(binding.tensor))));
      assertShapeFits(binding.name, inSignatureLayout(binding, declared), inputs[binding.name]!.shape);
    }
  };

  const planOf = (signature: string, outputs: readonly string[]): RunPlan => {
    const key = JSON.stringify([signature, ...outputs]);
    const plan = plans.get(key) ?? model.plan(signatures.get(signature)!, outputs);
    plans.set(key, plan);
    return plan;
  };

  /** The tensors of the host's part, read back; they are on the CPU, so nothing waits. */
  const runHost = async (own: TensorMap, plan: RunPlan): Promise<ReadonlyMap<string, HostTensor>> => {
    const { host, hostBackend = backend } = model;
    if (plan.hostTensors.length === 0 || host === undefined) return new Map();
    await hostBackend.select();
    const inputs = feed(own, files, plan.hostInputs);
    let results: tf.Tensor[] = [];
    try {
      results = plan.isHostAsync ? await host.executeAsync(inputs, plan.hostTensors) : host.execute(inputs, plan.hostTensors);
      return new Map(results.map((tensor, index) => [plan.hostTensors[index]!, readHost(tensor)]));
    } finally {
      tf.dispose(inputs);
      tf.dispose(results);
      await backend.select();
    }
  };

  /** Runs under the realm's lock; resolves once the outputs are on their way back, with the promise of their values. */
  const start = async (own: TensorMap, plan: RunPlan): Promise<{ read: Promise<ReadonlyMap<string, Output>> }> => {
    const inputs: Record<string, tf.Tensor> = {};
    const results: tf.Tensor[] = [];
    const endErrors = watchGpuErrors(backend.gpuDevice);
    try {
      const fromHost = await runHost(own, plan);
      const { device } = model;
      if (device !== undefined && plan.deviceTensors.length > 0) {
        Object.assign(inputs, feed(own, files, plan.deviceInputs));
        for (const tensor of plan.crossing) inputs[cutName(tensor)] = toDevice(fromHost.get(tensor)!);
        const wanted = [...plan.deviceTensors];
        results.push(...(plan.isDeviceAsync ? await device.executeAsync(inputs, wanted) : device.execute(inputs, wanted)));
      }
      return { read: readAll(plan.deviceTensors, results, endErrors).then((values) => new Map<string, Output>([...fromHost, ...values])) };
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
    assertRuns(source, id, signatures.get(request.signature)!, model.signatures);
    const bindings = resolveBindings(manifest, variant, request.signature, request.layouts);
    assertShapes(bindings, request.inputs);
    const own = toOwnInputs(bindings, request.inputs);
    const names = ownOutputNames(bindings, outputs);
    const plan = planOf(request.signature, names.map(files.outputNode));
    try {
      const started = backend.use(() => {
        signal?.throwIfAborted();
        loss.assertAlive();
        return start(own, plan);
      });
      const values = await loss.guard(started.then(({ read }) => read));
      const declared = bindings.outputs.filter(({ name }) => outputs.includes(name));
      const typed = names.map((tensor): [string, AnyTensor] => {
        const { name } = declared.find((binding) => binding.tensor === tensor)!;
        const { shape, data } = values.get(files.outputNode(tensor))!;
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
    bytes: model.bytes,
    hostBackend: model.hostBackend,
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
        await model.close();
      })();
      return closing;
    },
  };
}

/** The caller's tensors for the nodes that a part reads. */
function feed(own: TensorMap, files: GraphModelFiles, nodes: readonly string[]): Record<string, tf.Tensor> {
  const inputs: Record<string, tf.Tensor> = {};
  try {
    for (const [name, tensor] of Object.entries(own)) {
      const node = files.inputNode(name);
      if (nodes.includes(nodeName(node))) inputs[nodeName(node)] = toTfjs(name, tensor);
    }
    return inputs;
  } catch (error) {
    tf.dispose(inputs);
    throw error;
  }
}

/** A tensor of the host, read back. */
interface HostTensor extends Output {
  readonly dtype: tf.DataType;
}

function readHost({ shape, dtype, dataId }: tf.Tensor): HostTensor {
  const data = tf.engine().readSync(dataId) as tf.TypedArray | Uint8Array[];
  // The CPU backend gives the very array it computes with, which may be a weight.
  return { shape, dtype, data: Array.isArray(data) ? data : (data.slice() as Float32Array) };
}

function toDevice({ shape, dtype, data }: HostTensor): tf.Tensor {
  return tf.tensor(data as tf.TypedArray, [...shape], dtype);
}

interface Output {
  readonly shape: readonly number[];
  readonly data: ReadValues;
}

/** Reads the tensors back and disposes them on every path. */
async function readAll(
  names: readonly string[],
  results: readonly tf.Tensor[],
  endErrors: () => Promise<void>,
): Promise<[string, Output][]> {
  try {
    const reads = results.map(async (tensor, index): Promise<[string, Output]> => {
      return [names[index]!, { shape: tensor.shape, data: await readValues(tensor) }];
    });
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
    if (!validation) return;
    const { message } = validation;
    throw new NearfarError(/exceeds the max buffer/.test(message) ? 'out-of-memory' : 'internal', `the GPU refused a command: ${message}`);
  };
}

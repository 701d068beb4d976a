import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-common';
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
  type TensorBinding,
  type TensorMap,
  toOwnInputs,
  type VariantSource,
} from '../../core/index.ts';
import type { DeviceLoss } from '../loss.ts';
import type { EnginePlatform, OrtModule, OrtSession } from '../platform.ts';
import type { Serial } from '../serial.ts';
import { translateOrtError } from './errors.ts';
import { type SessionSetup, sessionOptions } from './session-options.ts';
import { fromOrt, toOrt } from './tensors.ts';

/** What a variant needs of the engine that loads it. */
export interface SessionVariantHost {
  readonly id: BackendId;
  readonly ort: OrtModule;
  readonly setup: SessionSetup;
  readonly serial: Serial;
  readonly loss: DeviceLoss;
  readonly openSessionNow?: EnginePlatform['openSessionNow'];
  readonly signal?: AbortSignal | undefined;
}

/** A loaded variant with what it holds. */
export interface SessionVariant extends LoadedVariant {
  /** Bytes of the model's files; ONNX Runtime does not tell what a session holds. */
  readonly bytes: number;
  /** Tensors of runs under way. */
  readonly liveTensors: () => number;
}

/**
 * Loads an ONNX model into a session of its own.
 * @throws {NearfarError} `unsupported` (an operator, the format, or nodes that only the CPU could run), `out-of-memory`, `device-lost`.
 */
export async function loadSessionVariant(source: VariantSource, host: SessionVariantHost): Promise<SessionVariant> {
  const { manifest, variant, readFile } = source;
  if (variant.format !== 'onnx') {
    throw new NearfarError('unsupported', `ONNX Runtime runs onnx, variant ${variant.id} is ${variant.format}`, {
      details: { variant: variant.id, format: variant.format },
    });
  }
  const model = await readFile(variant.entry);
  const externalData = await readExternalData(source);
  host.signal?.throwIfAborted();
  const session = await createSession(host, model, externalData);
  try {
    assertBound(manifest, variant, {
      hasInput: (tensor) => session.inputNames.includes(tensor),
      hasOutput: (tensor) => session.outputNames.includes(tensor),
    });
    host.signal?.throwIfAborted();
  } catch (error) {
    await host.serial(() => session.release());
    throw error;
  }
  const bytes = externalData.reduce((sum, { data }) => sum + data.byteLength, model.byteLength);
  return createSessionVariant(source, session, bytes, host);
}

interface ExternalFile {
  readonly path: string;
  readonly data: Uint8Array;
}

/** Files beside the model that hold weights too large for one protobuf message; their paths are relative to the model. */
async function readExternalData({ variant, readFile }: VariantSource): Promise<ExternalFile[]> {
  const folder = variant.entry.slice(0, variant.entry.lastIndexOf('/') + 1);
  const files: ExternalFile[] = [];
  for (const file of variant.files) {
    if (file === variant.entry) continue;
    files.push({ path: file.startsWith(folder) ? file.slice(folder.length) : file, data: await readFile(file) });
  }
  return files;
}

async function createSession(
  { id, ort, setup, serial, loss, openSessionNow, signal }: SessionVariantHost,
  model: Uint8Array,
  externalData: readonly ExternalFile[],
): Promise<OrtSession> {
  try {
    return await serial((): OrtSession | Promise<OrtSession> => {
      signal?.throwIfAborted();
      loss.assertAlive();
      const options = { ...sessionOptions(setup, true), ...(externalData.length > 0 && { externalData }) };
      return openSessionNow ? openSessionNow(model, options) : ort.InferenceSession.create(model, options);
    });
  } catch (error) {
    if (signal?.aborted && error === signal.reason) throw error;
    throw translateOrtError(error, id, 'load the model');
  }
}

function createSessionVariant(
  { manifest, variant }: VariantSource,
  session: OrtSession,
  bytes: number,
  { id, ort, serial, loss }: SessionVariantHost,
): SessionVariant {
  const running = new Set<Promise<unknown>>();
  const declaredShapes = new Map(
    session.inputMetadata.map((input) => [input.name, input.isTensor ? anySizes(input.shape ?? []) : undefined]),
  );
  let liveTensors = 0;
  // Of the last input that changed its layout: new memory for each run has V8 collect all garbage every few runs.
  let spare: ArrayBuffer | undefined;
  let closing: Promise<void> | undefined;

  const runSession = async (own: TensorMap, outputs: readonly string[]): Promise<InferenceSession.OnnxValueMapType> => {
    const feeds = Object.fromEntries(Object.entries(own).map(([name, tensor]) => [name, toOrt(ort, name, tensor)]));
    const count = Object.keys(feeds).length + outputs.length;
    liveTensors += count;
    try {
      return await session.run(feeds, outputs);
    } finally {
      liveTensors -= count;
    }
  };

  const takeSpare = (byteLength: number): ArrayBuffer => {
    const buffer = spare?.byteLength === byteLength ? spare : new ArrayBuffer(byteLength);
    spare = undefined;
    return buffer;
  };
  const keepSpare = (own: TensorMap, inputs: TensorMap): void => {
    const changed = Object.values(own).find((tensor) => !Object.values(inputs).includes(tensor));
    if (changed && changed.dtype !== 'string' && changed.data.buffer instanceof ArrayBuffer) spare = changed.data.buffer;
  };

  const runChecked = async (request: RunRequest, signal: AbortSignal | undefined): Promise<TensorMap> => {
    const { signature, outputs } = checkRequest(manifest, request);
    const bindings = resolveBindings(manifest, variant, request.signature, request.layouts);
    for (const binding of bindings.inputs) {
      assertShapeFits(binding.name, inSignatureLayout(binding, declaredShapes.get(binding.tensor)), request.inputs[binding.name]!.shape);
    }
    const own = toOwnInputs(bindings, request.inputs, takeSpare);
    const names = ownOutputNames(bindings, outputs);
    const results = await loss.guard(
      serial(() => {
        signal?.throwIfAborted();
        loss.assertAlive();
        return runSession(own, names);
      }),
    );
    keepSpare(own, request.inputs);
    const typed = names.map((tensor): [string, AnyTensor] => {
      const { name } = bindings.outputs.find((binding) => binding.tensor === tensor && outputs.includes(binding.name))!;
      return [tensor, fromOrt(name, signature.outputs[name]!.dtype, results[tensor]!)];
    });
    return fromOwnOutputs(bindings, Object.fromEntries(typed), outputs);
  };

  const plans = new Map<string, DirectPlan | undefined>();
  const planOf = (signature: string): DirectPlan | undefined => {
    if (!plans.has(signature)) plans.set(signature, directPlan(resolveBindings(manifest, variant, signature), declaredShapes));
    return plans.get(signature);
  };
  const runNow = (request: RunRequest): TensorMap | undefined => {
    if (closing || request.layouts) return undefined;
    try {
      const { signature, outputs } = checkRequest(manifest, request);
      const plan = planOf(request.signature);
      if (!plan) return undefined;
      const feeds: Record<string, OrtTensor> = {};
      for (const { name, tensor, declaredShape } of plan.inputs) {
        const input = request.inputs[name]!; // checkRequest has seen it
        assertShapeFits(name, declaredShape, input.shape);
        feeds[tensor] = toOrt(ort, name, input);
      }
      const wanted = plan.outputs.filter(({ name }) => outputs.includes(name));
      const results = session.runNow!(
        feeds,
        wanted.map(({ tensor }) => tensor),
      );
      const given: Record<string, AnyTensor> = {};
      for (const { name, tensor } of wanted) given[name] = fromOrt(name, signature.outputs[name]!.dtype, results[tensor]!);
      return given;
    } catch (error) {
      throw translateOrtError(error, id, 'run the model');
    }
  };

  return {
    bytes,
    runNow: session.runNow && runNow,
    liveTensors: () => liveTensors,
    async run(request, { signal } = {}) {
      signal?.throwIfAborted();
      if (closing) throw new NearfarError('failed-precondition', `variant ${variant.id} of ${manifest.name} is closed`);
      loss.assertAlive();
      const run = runChecked(request, signal);
      running.add(run);
      try {
        return await run;
      } catch (error) {
        if (signal?.aborted && error === signal.reason) throw error;
        throw translateOrtError(error, id, 'run the model');
      } finally {
        running.delete(run);
      }
    },
    [Symbol.asyncDispose]() {
      closing ??= (async () => {
        await Promise.allSettled(running);
        await serial(() => session.release());
      })();
      return closing;
    },
  };
}

/** How a signature meets a session where nothing but names is changed. */
interface DirectPlan {
  readonly inputs: readonly { readonly name: string; readonly tensor: string; readonly declaredShape: readonly number[] | undefined }[];
  readonly outputs: readonly { readonly name: string; readonly tensor: string }[];
}

/** @returns Undefined where a layout changes, an activation is applied, or outputs share a tensor. */
function directPlan(
  { inputs, outputs }: SignatureBindings,
  declaredShapes: ReadonlyMap<string, readonly number[] | undefined>,
): DirectPlan | undefined {
  const isDirect = ({ layout, ownLayout, activation }: TensorBinding) => layout === ownLayout && activation === 'none';
  const isShared = new Set(outputs.map(({ tensor }) => tensor)).size < outputs.length;
  if (isShared || ![...inputs, ...outputs].every(isDirect)) return undefined;
  return { inputs: inputs.map(({ name, tensor }) => ({ name, tensor, declaredShape: declaredShapes.get(tensor) })), outputs };
}

// A symbolic dimension ("batch_size") takes any size.
function anySizes(shape: readonly (number | string)[]): readonly number[] {
  // A size that the model leaves open without a name reads as 2^32 - 1 or -1.
  return shape.map((size) => (typeof size === 'number' && size >= 0 && size < 2 ** 31 ? size : -1));
}

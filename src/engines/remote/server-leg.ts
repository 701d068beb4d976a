import * as v from 'valibot';
import {
  type ClassifyAnswer,
  type ClassifyCall,
  decodeInferResponse,
  encodeInferRequest,
  inferenceHeaderLengthName,
  NearfarError,
  type NearfarErrorCode,
  type PredictAnswer,
  type PredictCall,
  type RgbImage,
  type ServerAnswer,
  type ServerTarget,
} from '../../core/index.ts';
import { askServers, type RemoteOptions, type ServerReply } from './ask-server.ts';
import { parseServerTiming } from './server-timing.ts';

export interface Deadline {
  /** Bounds the work on the server; the caller's signal bounds the whole call. */
  readonly deadlineMs?: number | undefined;
}

/**
 * Runs a signature on a server by the binary form of the Open Inference Protocol.
 * @throws {NearfarError} as {@link askServers}, and `internal` for an answer that cannot be read.
 */
export async function predictOnServer(
  target: ServerTarget,
  call: PredictCall & Deadline,
  options: RemoteOptions,
): Promise<ServerAnswer<PredictAnswer>> {
  const { body, headerLength } = encodeInferRequest(call);
  const headers = {
    'content-type': 'application/octet-stream',
    ...(headerLength !== undefined && { [inferenceHeaderLengthName]: String(headerLength) }),
  };
  const path = `${modelPath('v2', target)}/infer`;
  const reply = await askServers(
    target.servers,
    target.pin,
    { path, headers, body, deadlineMs: call.deadlineMs, policy: target.policy },
    options,
  );
  return describe(target, reply, { outputs: readOutputs(reply, call), timing: timingOf(reply) });
}

/** Classifies cropped pixels on a server: uint8 on the wire, a quarter of the tensor. */
export async function classifyOnServer(
  target: ServerTarget,
  call: ClassifyCall<RgbImage> & Deadline,
  options: RemoteOptions,
): Promise<ServerAnswer<ClassifyAnswer>> {
  const { width, height, data } = call.image;
  const headers = {
    'content-type': 'application/octet-stream',
    'nearfar-image-shape': `${height},${width},3`,
  };
  const path = `${modelPath('nearfar/v1', target)}/tasks/image-classification?topK=${call.topK}`;
  const reply = await askServers(
    target.servers,
    target.pin,
    { path, headers, body: data, deadlineMs: call.deadlineMs, policy: target.policy },
    options,
  );
  return describe(target, reply, { predictions: readPredictions(reply), timing: timingOf(reply) });
}

/** A server may have the version in a moment; after anything else waiting does not help. */
const notReadyYet: ReadonlySet<NearfarErrorCode> = new Set(['not-found', 'unavailable', 'overloaded']);

/**
 * Whether a server has exactly this version ready; false while it may come to have it.
 * @throws {NearfarError} `network` when no server can be reached; `version-mismatch` when one has another digest under this
 * number; `unauthenticated`, `permission-denied`, `internal` and whatever else a server says; rejects with `signal.reason`
 * when aborted.
 */
export async function isReadyOnServer(target: ServerTarget, options: RemoteOptions): Promise<boolean> {
  try {
    await askServers(target.servers, target.pin, { path: `${modelPath('v2', target)}/ready` }, options);
    return true;
  } catch (error) {
    if (options.signal?.aborted || !(error instanceof NearfarError)) throw error;
    if (notReadyYet.has(error.code)) return false;
    throw error;
  }
}

export function modelPath(api: string, { name, pin }: ServerTarget): string {
  return `${api}/models/${encodeURIComponent(name)}/versions/${pin.version}`;
}

export function timingOf({ headers }: ServerReply): PredictAnswer['timing'] {
  return parseServerTiming(headers.get('server-timing'));
}

export function describe<Answer>({ pin }: ServerTarget, { headers, retries }: ServerReply, answer: Answer): ServerAnswer<Answer> {
  const of = (name: string) => headers.get(name) ?? 'unknown';
  return { answer, pin, backend: of('nearfar-backend'), variant: of('nearfar-variant'), ...(retries.length > 0 && { retries }) };
}

function readOutputs({ body, headers }: ServerReply, { outputs: wanted = [] }: PredictCall): PredictAnswer['outputs'] {
  const length = headers.get(inferenceHeaderLengthName);
  const outputs = readable(() => decodeInferResponse(body, length === null ? undefined : Number(length)).outputs);
  const missing = wanted.filter((name) => !Object.hasOwn(outputs, name));
  if (missing.length === 0) return outputs;
  throw new NearfarError('internal', `the server left out the outputs ${missing.join(', ')}`, { details: { missing } });
}

export const classesSchema: v.GenericSchema<unknown, { label: string; index: number; score: number }[]> = v.array(
  v.object({ label: v.string(), index: v.number(), score: v.number() }),
);
const classifySchema = v.object({ predictions: classesSchema });

function readPredictions({ body }: ServerReply): ClassifyAnswer['predictions'] {
  return readable(() => v.parse(classifySchema, JSON.parse(new TextDecoder().decode(body))).predictions);
}

/** What a server sends and we cannot read is the server's mistake, not the caller's argument. */
export function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new NearfarError('internal', `the server's answer cannot be read: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

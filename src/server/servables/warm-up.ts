import { readFile } from 'node:fs/promises';
import {
  createTensor,
  decodeWarmupRecord,
  type GrpcStatusName,
  grpcStatusName,
  type LoadedVariant,
  type Manifest,
  NearfarError,
  type RunRequest,
  readTfRecords,
  serializeError,
  signatureOf,
  type WarmupRequest,
} from '../../core/index.ts';

/** What warming up takes and what it took. */
export interface WarmupCall {
  /** The file of recorded requests; one that is not there is no error. */
  readonly path: string;
  /** How often each of them runs. */
  readonly iterations: number;
}

export interface WarmupStats {
  readonly records: number;
  readonly durationMs: number;
}

/** What was done until a warm-up failed. */
export interface FailedWarmup extends WarmupStats {
  readonly status: GrpcStatusName;
}

/** As in TensorFlow Serving. */
const mostRecords = 1000;

/** The runs that each record of a warm-up file asks for. */
export type WarmupRecords = readonly (readonly WarmupRequest[])[];

/**
 * Reads the recorded requests of a version: PredictionLogs of Predict, Classify, Regress and MultiInference. None when the file is not there.
 * @throws {NearfarError} `integrity-mismatch` for a damaged file; `invalid-argument` for a damaged record, or too many; `unsupported`
 * for logs of other calls.
 */
export async function readWarmupRecords(path: string): Promise<WarmupRecords> {
  const startedAt = performance.now();
  try {
    return await readRecords(path);
  } catch (error) {
    throw failedWarmup(error, { records: 0, durationMs: performance.now() - startedAt });
  }
}

async function readRecords(path: string): Promise<WarmupRecords> {
  const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return new Uint8Array();
    throw error;
  });
  const records = splitRecords(path, bytes);
  if (records.length > mostRecords) {
    throw new NearfarError('invalid-argument', `Number of warmup records exceeds the maximum (${mostRecords}) at ${path}`, {
      details: { path, records: records.length, most: mostRecords },
    });
  }
  return records.map((record, index) => {
    try {
      return decodeWarmupRecord(record);
    } catch (error) {
      throw ofRecord(path, index, error);
    }
  });
}

function splitRecords(path: string, bytes: Uint8Array): Uint8Array[] {
  try {
    return readTfRecords(bytes);
  } catch (cause) {
    // Cut off and changed files are one kind of trouble here: DATA_LOSS, as for TensorFlow's reader of records.
    throw new NearfarError('integrity-mismatch', `${path} is no TFRecord file: ${serializeError(cause).message}`, {
      cause,
      details: { path },
    });
  }
}

/**
 * Runs every recorded request.
 * @returns Undefined when there are none.
 * @throws {NearfarError} what the first run that fails throws, with its record; rejects with `signal.reason` when aborted.
 */
export async function warmUp(
  loaded: LoadedVariant,
  manifest: Manifest,
  { records, path, iterations }: WarmupCall & { readonly records: WarmupRecords },
  signal: AbortSignal,
): Promise<WarmupStats | undefined> {
  if (records.length === 0) return undefined;
  const startedAt = performance.now();
  for (const [index, requests] of records.entries()) {
    try {
      for (const request of requests) {
        const run = toRunRequest(manifest, request);
        for (let iteration = 0; iteration < iterations; iteration++) {
          signal.throwIfAborted();
          await loaded.run(run, { signal });
        }
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw failedWarmup(ofRecord(path, index, error), { records: index + 1, durationMs: performance.now() - startedAt });
    }
  }
  return { records: records.length, durationMs: performance.now() - startedAt };
}

function ofRecord(path: string, record: number, cause: unknown): NearfarError {
  const { code, message, details } = serializeError(cause);
  return new NearfarError(code, `warm-up record ${record} of ${path} fails: ${message}`, { cause, details: { ...details, path, record } });
}

/** The error with what metrics want to know of the warm-up, which crosses the threads with it. */
function failedWarmup(cause: unknown, stats: WarmupStats): NearfarError {
  const { code, message, details } = serializeError(cause);
  const warmup: FailedWarmup = { status: grpcStatusName(code), ...stats };
  return new NearfarError(code, message, { cause, details: { ...details, warmup } });
}

/** The warm-up that failed, where an error is because of one. */
export function failedWarmupOf({ details }: Pick<NearfarError, 'details'>): FailedWarmup | undefined {
  const { warmup } = details;
  const isFailed = (found: unknown): found is FailedWarmup => typeof found === 'object' && found !== null && 'status' in found;
  return isFailed(warmup) ? warmup : undefined;
}

function toRunRequest(manifest: Manifest, request: WarmupRequest): RunRequest {
  const { signature } = request;
  if (request.kind === 'tensors') return { signature, inputs: request.tensors, outputs: request.outputs };
  const inputs = Object.keys(signatureOf(manifest, signature).inputs);
  const [input] = inputs;
  if (input === undefined || inputs.length > 1) {
    throw new NearfarError('invalid-argument', `Expected one input Tensor in signature ${signature}, it has ${inputs.length}`);
  }
  return { signature, inputs: { [input]: createTensor('string', [request.examples.length], [...request.examples]) } };
}

import { grpcStatusName, type LegTiming, NearfarError, type RunRequest, serializeError, type TensorMap } from '../../core/index.ts';
import type { ServableHandle, ServableSpec } from '../servables/index.ts';
import type { TransportContext } from './context.ts';

/** One request for a prediction, from either transport. */
export interface Call {
  readonly spec: ServableSpec;
  /** Name of the API in metrics: `Predict`, `predict`, `infer`, … */
  readonly api: string;
  readonly entrypoint: 'REST' | 'GRPC';
  readonly signal: AbortSignal;
  /** Called once the version is known, so that errors about it can name it too. */
  readonly onVersion: (version: AnsweringVersion) => void;
}

/** What every answer says about the version behind it. */
export type AnsweringVersion = Pick<ServableHandle, 'name' | 'version' | 'digest' | 'backend' | 'variant'>;

/** What is to be run; what else is asked of the same version in the same call runs beside it. */
export interface Runs {
  readonly run: RunRequest;
  readonly beside?: readonly RunRequest[];
}

/** The two ends of a prediction; between them the servable runs. */
export interface Codec<Decoded extends Runs, Answer> {
  decode(handle: ServableHandle, signal: AbortSignal): Decoded | Promise<Decoded>;
  encode(outputs: TensorMap, decoded: Decoded, handle: ServableHandle, beside: readonly TensorMap[]): Answer;
}

/**
 * decode → predict → encode, counted and timed.
 * @throws {NearfarError} what the codec or the servable throws; the reason of the signal as soon as it aborts. The version
 * stays lent until its run has really ended.
 */
export async function answerCall<Decoded extends Runs, Answer>(
  context: TransportContext,
  call: Call,
  codec: Codec<Decoded, Answer>,
): Promise<{ readonly answer: Answer; readonly timing: LegTiming }> {
  const startedAt = performance.now();
  const progress: { handle?: ServableHandle; signature?: string; queueMs: number; inferMs: number } = { queueMs: 0, inferMs: 0 };
  const record = (status: string) => {
    const { handle, signature, queueMs, inferMs } = progress;
    context.metrics.recordRequest({
      model: call.spec.name,
      api: call.api,
      entrypoint: call.entrypoint,
      status,
      durationMs: performance.now() - startedAt,
      servable:
        handle && signature !== undefined ? { version: handle.version, signature, backend: handle.backend, queueMs, inferMs } : undefined,
    });
  };
  const predict = async () => {
    using handle = context.servables.lend(call.spec);
    progress.handle = handle;
    call.onVersion(handle);
    const decodeAt = performance.now();
    const decoded = await codec.decode(handle, call.signal);
    progress.signature = decoded.run.signature;
    const runAt = performance.now();
    const [{ outputs, timing }, ...beside] = await runAll(handle, decoded, call.signal);
    Object.assign(progress, timing);
    const encodeAt = performance.now();
    const answer = codec.encode(
      outputs,
      decoded,
      handle,
      beside.map((ran) => ran.outputs),
    );
    return { answer, timing: { ...timing, preprocessMs: runAt - decodeAt, postprocessMs: performance.now() - encodeAt } };
  };

  try {
    call.signal.throwIfAborted();
    const answered = await untilAborted(predict(), call.signal);
    record('OK');
    return answered;
  } catch (error) {
    record(grpcStatusName(serializeError(error).code));
    throw error;
  }
}

type Ran = Awaited<ReturnType<ServableHandle['run']>>;

/** Waits for all runs, also when one fails: the version is lent until the last has ended. */
async function runAll(handle: ServableHandle, { run, beside = [] }: Runs, signal: AbortSignal): Promise<[Ran, ...Ran[]]> {
  const [first, ...others] = await Promise.allSettled([run, ...beside].map((request) => handle.run(request, { signal })));
  return [ranOf(first), ...others.map(ranOf)];
}

function ranOf(settled: PromiseSettledResult<Ran> | undefined): Ran {
  if (settled?.status === 'fulfilled') return settled.value;
  throw settled?.reason;
}

/** The work's result, or the signal's reason at once; the work itself goes on and what it still throws is dropped. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

/** A signal for one request, with its timer. */
export interface CallSignal extends Disposable {
  readonly signal: AbortSignal;
  /** The client has gone. */
  cancel(): void;
}

/** @param deadlineMs From now; undefined for none. */
export function openCallSignal(deadlineMs: number | undefined): CallSignal {
  const controller = new AbortController();
  const expire = () =>
    controller.abort(new NearfarError('deadline-exceeded', `no answer within ${deadlineMs} ms`, { details: { deadlineMs } }));
  const timer = deadlineMs === undefined ? undefined : setTimeout(expire, Math.min(Math.max(deadlineMs, 0), longestTimerMs));
  return {
    signal: controller.signal,
    cancel: () => controller.abort(new NearfarError('cancelled', 'the client has gone')),
    [Symbol.dispose]: () => clearTimeout(timer),
  };
}

/** A longer timer would fire at once. */
const longestTimerMs = 2 ** 31 - 1;

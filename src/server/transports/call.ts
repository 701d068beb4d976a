import {
  type ExampleMethod,
  grpcStatusName,
  NearfarError,
  type NearfarErrorCode,
  type RunRequest,
  serializeError,
  type TensorMap,
} from '../../core/index.ts';
import type { Timing } from '../request-record.ts';
import type { ServableHandle, ServableSpec } from '../servables/index.ts';
import type { TransportContext } from './context.ts';
import { batchRows } from './inference.ts';

/** One request for a prediction, from either transport. */
export interface Call {
  readonly spec: ServableSpec;
  /** Name of the API in metrics: `Predict`, `predict`, `infer`, … */
  readonly api: string;
  readonly entrypoint: 'REST' | 'GRPC';
  /** Who asks, as `clientOfAddress` names it. */
  readonly client: string;
  readonly signal: AbortSignal;
  /** Lets the signal abort after so many milliseconds from now, unless it does so earlier. */
  readonly limit: (deadlineMs: number) => void;
  /** Called once the version is known, so that errors about it can name it too. */
  readonly onVersion: (version: AnsweringVersion) => void;
  /** A header or metadata value of the request, for traces. */
  readonly header?: ((name: string) => string | undefined) | undefined;
}

/** What every answer says about the version behind it. */
export type AnsweringVersion = Pick<ServableHandle, 'name' | 'version' | 'digest' | 'backend' | 'variant'>;

/** What a prediction runs, and how many tf.Examples it came as. */
export interface DecodedCall {
  readonly run: RunRequest;
  /** What else is asked of the same version in the same call: it runs beside it. */
  readonly beside?: readonly RunRequest[] | undefined;
  /** What MultiInference asks of each run. */
  readonly tasks?: readonly { readonly method: ExampleMethod }[] | undefined;
  readonly examples?: number | undefined;
  /** How long the request itself allows from its decoding on, in milliseconds. */
  readonly deadlineMs?: number | undefined;
}

/** The two ends of a prediction; between them the servable runs. */
export interface Codec<Decoded extends DecodedCall, Answer> {
  decode(handle: ServableHandle, signal: AbortSignal): Decoded | Promise<Decoded>;
  encode(outputs: TensorMap, decoded: Decoded, handle: ServableHandle, beside: readonly TensorMap[]): Answer;
}

/**
 * admit → decode → predict → encode, counted and timed.
 * @throws {NearfarError} what admission, the codec or the servable throws; the reason of the signal as soon as it aborts. The version
 * stays lent until its run has really ended.
 */
export async function answerCall<Decoded extends DecodedCall, Answer>(
  context: TransportContext,
  call: Call,
  codec: Codec<Decoded, Answer>,
): Promise<{ readonly answer: Answer; readonly timing: Timing }> {
  const startedAt = performance.now();
  const progress: { handle?: ServableHandle; decoded?: Decoded } = {};
  const record = (status: string, rest: { errorCode?: NearfarErrorCode; timing?: Timing }) => {
    const { handle, decoded } = progress;
    context.observer.recordRequest({
      kind: 'prediction',
      model: call.spec.name,
      api: call.api,
      entrypoint: call.entrypoint,
      status,
      errorCode: rest.errorCode,
      startedAt,
      durationMs: performance.now() - startedAt,
      servable: handle && {
        version: handle.version,
        digest: handle.digest,
        backend: handle.backend,
        variant: handle.variant,
        signature: decoded?.run.signature,
        examples: decoded?.examples,
        rows: decoded && batchRows(handle.manifest, decoded.run),
        timing: rest.timing,
        cache: rest.timing?.cache,
      },
      header: call.header,
    });
  };
  const predict = async () => {
    using _ = context.admission.enter(call.client);
    using handle = await lend(context, call);
    progress.handle = handle;
    call.onVersion(handle);
    const decodeAt = performance.now();
    const decoded = await codec.decode(handle, call.signal);
    if (decoded.deadlineMs !== undefined) call.limit(decoded.deadlineMs);
    progress.decoded = decoded;
    const sampled = context.requestLog?.sample(handle);
    sampled?.take({ api: call.api, ...decoded }); // the run takes the inputs away
    const runAt = performance.now();
    const [{ outputs, timing }, ...beside] = await runAll(handle, decoded, call.signal);
    const encodeAt = performance.now();
    const answer = codec.encode(
      outputs,
      decoded,
      handle,
      beside.map((ran) => ran.outputs),
    );
    const postprocessMs = performance.now() - encodeAt;
    sampled?.answer([outputs, ...beside.map((ran) => ran.outputs)]);
    return { answer, timing: { ...timing, preprocessMs: runAt - decodeAt, postprocessMs } };
  };

  try {
    call.signal.throwIfAborted();
    const answered = await untilAborted(predict(), call.signal);
    record('OK', { timing: answered.timing });
    return answered;
  } catch (error) {
    const errorCode = serializeError(error).code;
    record(grpcStatusName(errorCode), { errorCode });
    throw error;
  }
}

/** Asks about a model, or changes one: counted and timed as predictions are. */
export async function observeControl<T>(
  { observer }: Pick<TransportContext, 'observer'>,
  call: { readonly model: string } & Pick<Call, 'api' | 'entrypoint' | 'header'>,
  work: () => T | Promise<T>,
): Promise<T> {
  const startedAt = performance.now();
  const record = (status: string, errorCode?: NearfarErrorCode) =>
    observer.recordRequest({ kind: 'control', ...call, status, errorCode, startedAt, durationMs: performance.now() - startedAt });
  try {
    const answer = await work();
    record('OK');
    return answer;
  } catch (error) {
    const errorCode = serializeError(error).code;
    record(grpcStatusName(errorCode), errorCode);
    throw error;
  }
}

/** Waits for a model whose first version is on its way. */
async function lend({ servables, arrivals }: TransportContext, { spec, signal }: Call): Promise<ServableHandle> {
  for (;;) {
    try {
      return servables.lend(spec);
    } catch (error) {
      const arrival = error instanceof NearfarError && error.code === 'not-found' ? arrivals?.of(spec.name, signal) : undefined;
      if (!arrival) throw error;
      await arrival;
    }
  }
}

type Ran = Awaited<ReturnType<ServableHandle['run']>>;

/** Waits for all runs, also when one fails: the version is lent until the last has ended. */
async function runAll(handle: ServableHandle, { run, beside = [] }: DecodedCall, signal: AbortSignal): Promise<[Ran, ...Ran[]]> {
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
  /** Aborts after so many milliseconds from now, unless it does so earlier. */
  limit(deadlineMs: number): void;
  /** The client has gone. */
  cancel(): void;
}

/** @param deadlineMs From now; undefined for none. */
export function openCallSignal(deadlineMs: number | undefined): CallSignal {
  const controller = new AbortController();
  const timers: NodeJS.Timeout[] = [];
  const limit = (limitMs: number) => {
    const expire = () =>
      controller.abort(new NearfarError('deadline-exceeded', `no answer within ${limitMs} ms`, { details: { deadlineMs: limitMs } }));
    timers.push(setTimeout(expire, Math.min(Math.max(limitMs, 0), longestTimerMs)));
  };
  if (deadlineMs !== undefined) limit(deadlineMs);
  return {
    signal: controller.signal,
    limit,
    cancel: () => controller.abort(new NearfarError('cancelled', 'the client has gone')),
    [Symbol.dispose]: () => {
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

/** A longer timer would fire at once. */
const longestTimerMs = 2 ** 31 - 1;

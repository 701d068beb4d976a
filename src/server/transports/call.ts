import {
  type ExampleMethod,
  grpcStatusName,
  NearfarError,
  type NearfarErrorCode,
  type RunRequest,
  serializeError,
  type TensorMap,
} from '../../core/index.ts';
import type { RequestRecord, Timing } from '../request-record.ts';
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
  readonly ending: CallSignal;
  /** Called once the version is known, so that errors about it can name it too. */
  readonly onVersion: (version: AnsweringVersion) => void;
  /** A header or metadata value of the request, for traces. */
  readonly header?: ((name: string) => string | undefined) | undefined;
  /** Over HTTP, for traces. */
  readonly route?: RequestRecord['route'];
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
  decode(handle: ServableHandle, ending: { readonly signal: AbortSignal }): Decoded | Promise<Decoded>;
  encode(outputs: TensorMap, decoded: Decoded, handle: ServableHandle, beside: readonly TensorMap[]): Answer | Promise<Answer>;
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
  const progress: Progress<Decoded> = {};
  try {
    call.ending.throwIfEnded();
    const answered = await call.ending.until(predict(context, call, codec, progress));
    record(context, call, progress, { startedAt, status: 'OK', timing: answered.timing });
    return answered;
  } catch (error) {
    const errorCode = serializeError(error).code;
    record(context, call, progress, { startedAt, status: grpcStatusName(errorCode), errorCode });
    throw error;
  }
}

/** What is known of a call so far. */
interface Progress<Decoded> {
  handle?: ServableHandle;
  decoded?: Decoded;
}

async function predict<Decoded extends DecodedCall, Answer>(
  context: TransportContext,
  call: Call,
  codec: Codec<Decoded, Answer>,
  progress: Progress<Decoded>,
): Promise<{ readonly answer: Answer; readonly timing: Timing }> {
  using _ = context.admission.enter(call.client);
  using handle = tryLend(context, call) ?? (await lendLater(context, call));
  progress.handle = handle;
  call.onVersion(handle);
  const decodeAt = performance.now();
  const decoding = codec.decode(handle, call.ending);
  const decoded = decoding instanceof Promise ? await decoding : decoding;
  if (decoded.deadlineMs !== undefined) call.ending.limit(decoded.deadlineMs);
  progress.decoded = decoded;
  const sampled = context.requestLog?.sample(handle);
  sampled?.take({ api: call.api, ...decoded }); // the run takes the inputs away
  const runAt = performance.now();
  const { outputs, timing, beside } = await runAll(handle, decoded, call.ending);
  const encodeAt = performance.now();
  const answer = await codec.encode(outputs, decoded, handle, beside);
  const postprocessMs = performance.now() - encodeAt;
  sampled?.answer([outputs, ...beside]);
  return { answer, timing: { ...timing, preprocessMs: runAt - decodeAt, postprocessMs } };
}

function record(
  { observer }: TransportContext,
  { spec, api, entrypoint, header, route }: Call,
  { handle, decoded }: Progress<DecodedCall>,
  end: Pick<RequestRecord, 'startedAt' | 'status' | 'errorCode'> & { readonly timing?: Timing },
): void {
  const { startedAt, status, errorCode, timing } = end;
  observer.recordRequest({
    kind: 'prediction',
    model: spec.name,
    api,
    entrypoint,
    status,
    errorCode,
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
      timing,
      cache: timing?.cache,
    },
    header,
    route,
  });
}

/** Asks about a model, or changes one: counted and timed as predictions are. */
export async function observeControl<T>(
  { observer }: Pick<TransportContext, 'observer'>,
  call: { readonly model: string } & Pick<Call, 'api' | 'entrypoint' | 'header' | 'route'>,
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

/** @returns undefined where a version may be on its way. */
function tryLend({ servables, arrivals }: TransportContext, { spec }: Call): ServableHandle | undefined {
  try {
    return servables.lend(spec);
  } catch (error) {
    if (arrivals && error instanceof NearfarError && error.code === 'not-found') return undefined;
    throw error;
  }
}

/** Waits for a model whose first version is on its way. */
async function lendLater({ servables, arrivals }: TransportContext, { spec, ending }: Call): Promise<ServableHandle> {
  for (;;) {
    try {
      return servables.lend(spec);
    } catch (error) {
      const arrival = error instanceof NearfarError && error.code === 'not-found' ? arrivals?.of(spec.name, ending.signal) : undefined;
      if (!arrival) throw error;
      await arrival;
    }
  }
}

type Ran = Awaited<ReturnType<ServableHandle['run']>>;

/**
 * Waits for all runs, also when one fails: the version is lent until the last has ended. TensorFlow Serving runs its session once over the
 * outputs of all tasks; an engine here runs one signature at a time.
 */
async function runAll(
  handle: ServableHandle,
  { run, beside }: DecodedCall,
  ending: CallSignal,
): Promise<Ran & { readonly beside: readonly TensorMap[] }> {
  if (!beside) return { ...(await handle.run(run, ending)), beside: [] };
  const [first, ...others] = await Promise.allSettled([run, ...beside].map((request) => handle.run(request, ending)));
  return { ...ranOf(first), beside: others.map((other) => ranOf(other).outputs) };
}

function ranOf(settled: PromiseSettledResult<Ran> | undefined): Ran {
  if (settled?.status === 'fulfilled') return settled.value;
  throw settled?.reason;
}

/** When one request has to end: its deadline, or its client's going away. An AbortSignal costs 3 µs: few calls ever ask for it. */
export class CallSignal implements Disposable {
  readonly #timers: NodeJS.Timeout[] = [];
  #controller: AbortController | undefined;
  #reason: NearfarError | undefined;
  #onEnd: ((reason: NearfarError) => void) | undefined;

  /** @param deadlineMs From now; undefined for none. */
  constructor(deadlineMs?: number) {
    if (deadlineMs !== undefined) this.limit(deadlineMs);
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#reason) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  throwIfEnded(): void {
    if (this.#reason) throw this.#reason;
  }

  /** Ends after so many milliseconds from now, unless it does so earlier. */
  limit(deadlineMs: number): void {
    const expire = () => this.#end(new NearfarError('deadline-exceeded', `no answer within ${deadlineMs} ms`, { details: { deadlineMs } }));
    this.#timers.push(setTimeout(expire, Math.min(Math.max(deadlineMs, 0), longestTimerMs)));
  }

  /** The client has gone. */
  cancel(): void {
    this.#end(new NearfarError('cancelled', 'the client has gone'));
  }

  /** The work's result, or the reason to end at once; the work itself goes on and what it still throws is dropped. */
  until<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#onEnd = reject;
      if (this.#reason) reject(this.#reason);
      work.then(resolve, reject);
    });
  }

  #end(reason: NearfarError): void {
    if (this.#reason) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    this.#onEnd?.(reason);
  }

  [Symbol.dispose](): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }
}

/** A longer timer would fire at once. */
const longestTimerMs = 2 ** 31 - 1;

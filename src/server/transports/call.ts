import { type ExampleMethod, grpcStatusName, NearfarError, type RunRequest, serializeError, type TensorMap } from '../../core/index.ts';
import type { ClientLimits } from '../admission.ts';
import { predictionIdName } from '../quality/index.ts';
import type { RequestRecord, Timing } from '../request-record.ts';
import type { JoinedRun, ServableFallback, ServableHandle, ServableSpec } from '../servables/index.ts';
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
  /** What it may have, where that is not what all have. */
  readonly limits?: ClientLimits | undefined;
  readonly ending: CallSignal;
  /** Called once the version is known, so that errors about it can name it too. */
  readonly onVersion: (version: AnsweringVersion) => void;
  /** A header or metadata value of the request, for traces. */
  readonly header?: ((name: string) => string | undefined) | undefined;
  /** Over HTTP, for traces. */
  readonly route?: RequestRecord['route'];
}

/** What every answer says about the version behind it. */
export type AnsweringVersion = Pick<ServableHandle, 'name' | 'version' | 'digest' | 'backend' | 'variant' | 'fallback'>;

/** Says in a header, in ASCII, that the version that a label names could not answer. */
export function describeFallback({ code, label, version }: ServableFallback): string {
  return `${code}; label=${encodeURIComponent(label)}; version=${version}`;
}

/** What a prediction runs, and how many tf.Examples it came as. */
export interface DecodedCall {
  readonly run: RunRequest;
  /** What else is asked of the same version in the same call: it runs beside it. */
  readonly beside?: readonly RunRequest[] | undefined;
  /** Does all of them at once. */
  readonly joined?: JoinedRun | undefined;
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

/** An answer, and where its time went. */
export interface Answered<Answer> {
  readonly answer: Answer;
  readonly timing: Timing;
  /** By which feedback finds it, where the client asked for one. */
  readonly predictionId?: string | undefined;
}

/**
 * admit → decode → predict → encode, counted and timed. What needs to wait for nothing, as a tiny model does that runs on this thread, is
 * answered before this returns: promises, timers and listeners cost more than such a run.
 * @throws {NearfarError} what admission, the codec or the servable throws; the reason of the signal as soon as it aborts. The version
 * stays lent until its run has really ended.
 */
export function answerCall<Decoded extends DecodedCall, Answer>(
  context: TransportContext,
  call: Call,
  codec: Codec<Decoded, Answer>,
): Answered<Answer> | Promise<Answered<Answer>> {
  const startedAt = performance.now();
  const progress: Progress<Decoded> = { handle: undefined, decoded: undefined };
  const succeed = (answered: Answered<Answer>) => {
    record(context, call, progress, { startedAt, status: 'OK', timing: answered.timing });
    return answered;
  };
  const fail = (error: unknown) => {
    const { code: errorCode, message: errorMessage } = serializeError(error);
    record(context, call, progress, { startedAt, status: grpcStatusName(errorCode), errorCode, errorMessage });
    return error;
  };
  let answered: Answered<Answer> | Promise<Answered<Answer>>;
  try {
    call.ending.throwIfEnded();
    answered = predict(context, call, codec, progress);
  } catch (error) {
    throw fail(error);
  }
  if (!(answered instanceof Promise)) return succeed(answered);
  return call.ending.until(answered).then(succeed, (error: unknown) => {
    throw fail(error);
  });
}

/** What is known of a call so far. */
interface Progress<Decoded> {
  handle: ServableHandle | undefined;
  decoded: Decoded | undefined;
}

/** Goes on with a value, at once where it does not have to be waited for. */
function after<T, U>(value: T | Promise<T>, next: (value: T) => U | Promise<U>): U | Promise<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** Of a deadline: a call that is later than that is for its timer to end. */
const leastLeftMs = 1;

function predict<Decoded extends DecodedCall, Answer>(
  context: TransportContext,
  call: Call,
  codec: Codec<Decoded, Answer>,
  progress: Progress<Decoded>,
): Answered<Answer> | Promise<Answered<Answer>> {
  const place = context.admission.enter(call.client, call.limits);
  const release = () => {
    progress.handle?.[Symbol.dispose]();
    place[Symbol.dispose]();
  };
  let answered: Answered<Answer> | Promise<Answered<Answer>>;
  try {
    answered = after(tryLend(context, call) ?? lendLater(context, call), (handle) => {
      progress.handle = handle;
      return answerWith(handle, context, call, codec, progress);
    });
  } catch (error) {
    release();
    throw error;
  }
  if (answered instanceof Promise) return answered.finally(release);
  release();
  return answered;
}

/** decode → run → encode, with a version that is lent. */
function answerWith<Decoded extends DecodedCall, Answer>(
  handle: ServableHandle,
  context: TransportContext,
  call: Call,
  codec: Codec<Decoded, Answer>,
  progress: Progress<Decoded>,
): Answered<Answer> | Promise<Answered<Answer>> {
  call.onVersion(handle);
  const decodeAt = performance.now();
  return after(codec.decode(handle, call.ending), (decoded) => {
    if (decoded.deadlineMs !== undefined) call.ending.limit(decoded.deadlineMs);
    progress.decoded = decoded;
    const sampled = context.requestLog?.sample(handle);
    sampled?.take({ api: call.api, ...decoded }); // the run takes the inputs away
    const runAt = performance.now();
    const mayRunNow = !call.ending.endsBefore(runAt + leastLeftMs);
    return after((mayRunNow ? runNow(handle, decoded) : undefined) ?? runAll(handle, decoded, call.ending), (ran) => {
      const predictionId = context.quality && noteAnswers(context.quality, handle, call, decoded, ran);
      const encodeAt = performance.now();
      return after(codec.encode(ran.outputs, decoded, handle, ran.beside), (answer) => {
        const postprocessMs = performance.now() - encodeAt;
        sampled?.answer([ran.outputs, ...ran.beside]);
        return { answer, timing: { ...ran.timing, preprocessMs: runAt - decodeAt, postprocessMs }, predictionId };
      });
    });
  });
}

/** @returns The id that the client asked for. What was run beside is looked at, and has none. */
function noteAnswers(
  quality: NonNullable<TransportContext['quality']>,
  handle: ServableHandle,
  { header }: Call,
  { run, beside = [] }: DecodedCall,
  ran: RanAll,
): string | undefined {
  const id = quality.note(handle, run.signature, ran.outputs, () => header?.(predictionIdName) !== undefined);
  for (const [index, { signature }] of beside.entries()) quality.note(handle, signature, ran.beside[index] ?? {}, () => false);
  return id;
}

/** How a call ended. */
interface EndOfCall extends Pick<RequestRecord, 'startedAt' | 'status' | 'errorCode' | 'errorMessage'> {
  readonly timing?: Timing | undefined;
}

function record(
  { observer }: TransportContext,
  { spec, api, entrypoint, header, route }: Call,
  { handle, decoded }: Progress<DecodedCall>,
  { startedAt, status, errorCode, errorMessage, timing }: EndOfCall,
): void {
  observer.recordRequest({
    kind: 'prediction',
    model: spec.name,
    api,
    entrypoint,
    status,
    errorCode,
    errorMessage,
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
  const record = (status: string, errorCode?: RequestRecord['errorCode']) =>
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

type RanAll = Ran & { readonly beside: readonly TensorMap[] };

const nothingBeside: readonly TensorMap[] = [];

/** @returns undefined where the run has to be waited for. */
function runNow(handle: ServableHandle, { run, beside }: DecodedCall): RanAll | undefined {
  const ran = beside ? undefined : handle.runNow?.(run);
  return ran && { outputs: ran.outputs, timing: ran.timing, beside: nothingBeside };
}

/** Waits for all runs, also when one fails: the version is lent until the last has ended. */
async function runAll(handle: ServableHandle, { run, beside, joined }: DecodedCall, ending: CallSignal): Promise<RanAll> {
  if (!beside) return { ...(await handle.run(run, ending)), beside: nothingBeside };
  const ran = joined && (await runJoined(handle, joined, ending));
  if (ran) return ran;
  const [first, ...others] = await Promise.allSettled([run, ...beside].map((request) => handle.run(request, ending)));
  return { ...ranOf(first), beside: others.map((other) => ranOf(other).outputs) };
}

/** @returns undefined where the engine cannot compute what one of the signatures has, which need not be one that is asked for. */
async function runJoined(handle: ServableHandle, { request, split }: JoinedRun, ending: CallSignal): Promise<RanAll | undefined> {
  try {
    const { outputs, timing } = await handle.run(request, ending);
    const [first = {}, ...beside] = split(outputs);
    return { outputs: first, timing, beside };
  } catch (error) {
    if (error instanceof NearfarError && error.code === 'unsupported') return undefined;
    throw error;
  }
}

function ranOf(settled: PromiseSettledResult<Ran> | undefined): Ran {
  if (settled?.status === 'fulfilled') return settled.value;
  throw settled?.reason;
}

/**
 * When one request has to end: its deadline, or its client's going away. An AbortSignal and a timer cost microseconds: calls that wait for
 * nothing have neither.
 */
export class CallSignal implements Disposable {
  /** On the clock of `performance.now()`; undefined for none. */
  #endsAt: number | undefined;
  #deadlineMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #controller: AbortController | undefined;
  #reason: NearfarError | undefined;
  #onEnd: ((reason: NearfarError) => void) | undefined;
  #isAwaited = false;

  /** @param deadlineMs From now; undefined for none. */
  constructor(deadlineMs?: number) {
    if (deadlineMs !== undefined) this.limit(deadlineMs);
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.#reason) this.#controller.abort(this.#reason);
      this.#await();
    }
    return this.#controller.signal;
  }

  throwIfEnded(): void {
    if (this.#reason) throw this.#reason;
  }

  /** @param at On the clock of `performance.now()`. */
  endsBefore(at: number): boolean {
    return this.#endsAt !== undefined && this.#endsAt < at;
  }

  /** Ends after so many milliseconds from now, unless it does so earlier. */
  limit(deadlineMs: number): void {
    const endsAt = performance.now() + Math.max(deadlineMs, 0);
    if (this.#endsAt !== undefined && this.#endsAt <= endsAt) return;
    this.#endsAt = endsAt;
    this.#deadlineMs = deadlineMs;
    if (this.#isAwaited) this.#startTimer(endsAt);
  }

  /** The client has gone. */
  cancel(): void {
    this.#end(new NearfarError('cancelled', 'the client has gone'));
  }

  /** The deadline has passed. */
  expire(): void {
    const deadlineMs = this.#deadlineMs;
    this.#end(new NearfarError('deadline-exceeded', `no answer within ${deadlineMs} ms`, { details: { deadlineMs } }));
  }

  /** The work's result, or the reason to end at once; the work itself goes on and what it still throws is dropped. */
  until<T>(work: Promise<T>): Promise<T> {
    this.#await();
    return new Promise((resolve, reject) => {
      this.#onEnd = reject;
      if (this.#reason) reject(this.#reason);
      work.then(resolve, reject);
    });
  }

  #await(): void {
    if (this.#isAwaited) return;
    this.#isAwaited = true;
    if (this.#endsAt !== undefined) this.#startTimer(this.#endsAt);
  }

  #startTimer(endsAt: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.expire(), Math.min(Math.max(endsAt - performance.now(), 0), longestTimerMs));
  }

  #end(reason: NearfarError): void {
    if (this.#reason) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    this.#onEnd?.(reason);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

/** A longer timer would fire at once. */
const longestTimerMs = 2 ** 31 - 1;

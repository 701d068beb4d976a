import {
  type AnyTensor,
  assertRows,
  batchKey,
  compareOutputs,
  isBatchable,
  joinRows,
  type LoadedVariant,
  NearfarError,
  type NearfarErrorCode,
  type RunRequest,
  sharedRows,
  sliceRows,
  type TensorMap,
  type Variant,
} from '../../core/index.ts';
import { QueuedCall, type RunModel, type Waiting } from './run-queue.ts';

// Loaded when a call has to wait for another one for the first time.

/** What is known of a signature of a loaded model. */
interface Verdict {
  /** `unknown`: the next burst runs its calls alone and then together, and compares. */
  state: 'unknown' | 'together' | 'alone';
  /** When it is looked at again: the machine may have been busy. */
  until: number;
  /** Comparisons in which running together did not pay. */
  losses: number;
  /** Most calls of one run, and what each of them takes there. */
  limit: number;
  msPerCall: number;
}

/** A call that was run alone, for comparison. */
interface Alone {
  readonly request: RunRequest;
  readonly outputs: TensorMap;
  readonly inferMs: number;
}

/** Calls of one run at most, and of one comparison. */
const maxCalls = 32;
const maxCompared = 8;

/** A run holds the thread, and every cancellation up. */
const maxRunMs = 250;

/** Memory for the inputs of one run; what the model makes of them grows with it. */
const maxBytes = 2 ** 22;

/** A call must take at most this part of its time alone; what less saves is noise. */
const worthwhile = 0.9;

/** The first run of a size may compile and allocate, so that one comparison which does not pay says little. */
const maxLosses = 3;

/** As on the server. */
const verdictMs = 5 * 60_000;

/** What rounding of float32 in another order makes at most: a variant's own tolerance may be so wide that it hides rows that meet. */
const rounding = { absolute: 1e-5, relative: 1e-4 };

/** Running the calls one by one would give the same. */
const deviceIsGone: ReadonlySet<NearfarErrorCode> = new Set(['device-lost', 'unavailable']);

/** By signature. */
const verdicts = new WeakMap<LoadedVariant, Map<string, Verdict>>();

function verdictOn({ model, signature }: QueuedCall['call']): Verdict {
  const known = verdicts.get(model.loaded) ?? new Map<string, Verdict>();
  verdicts.set(model.loaded, known);
  const verdict = known.get(signature);
  if (verdict && performance.now() < verdict.until) return verdict;
  const unknown: Verdict = { state: 'unknown', until: Number.POSITIVE_INFINITY, losses: 0, limit: maxCompared, msPerCall: 0 };
  known.set(signature, unknown);
  return unknown;
}

function runAlone(verdict: Verdict, until: number): void {
  verdict.state = 'alone';
  verdict.until = until;
}

/**
 * The calls to be run next: the first that waits and those behind it that differ from it in their rows only. Calls of other models let
 * them pass; a call of the same model does not, so that its calls are answered in their order.
 */
export function choose(waiting: readonly Waiting[]): readonly QueuedCall[] {
  const [first] = waiting;
  if (!(first instanceof QueuedCall) || !isBatchable(first.call.model.manifest, first.call)) return [];
  const verdict = verdictOn(first.call);
  if (verdict.state === 'alone') return [];
  const { loaded } = first.call.model;
  const calls: QueuedCall[] = [];
  let key: string | undefined;
  let bytes = 0;
  for (const entry of waiting) {
    if (!(entry instanceof QueuedCall) || entry.call.model.loaded !== loaded) continue;
    const request = requestOf(entry);
    if (!request || sharedRows(request.inputs) !== 1) break;
    key ??= batchKey(request);
    bytes += bytesOf(request.inputs);
    if (batchKey(request) !== key || bytes > maxBytes || calls.length === verdict.limit) break;
    calls.push(entry);
  }
  // Few sizes: a GPU compiles its programs for each anew.
  return calls.slice(0, powerOfTwo(calls.length));
}

/** Undefined where it cannot be made: run alone, the call tells why. */
function requestOf(call: QueuedCall): RunRequest | undefined {
  try {
    return call.request();
  } catch {
    return undefined;
  }
}

function bytesOf(tensors: TensorMap): number {
  return Object.values(tensors).reduce((sum, { dtype, data }) => sum + (dtype === 'string' ? 0 : data.byteLength), 0);
}

/** Runs calls that {@link choose} chose. */
export function run(calls: readonly QueuedCall[], nextTask: () => Promise<void>): Promise<void> {
  const live = calls.filter(({ call, reject }) => {
    if (call.signal.aborted) reject(call.signal.reason);
    return !call.signal.aborted;
  });
  const [first] = live;
  if (!first) return Promise.resolve();
  if (live.length === 1) return first.runAlone();
  const verdict = verdictOn(first.call);
  return verdict.state === 'together' ? runTogether(live, verdict, nextTask) : runAndCompare(live, verdict, nextTask);
}

async function runOneByOne(calls: readonly QueuedCall[], nextTask: () => Promise<void>, onRun?: (alone: Alone) => void): Promise<void> {
  for (const [index, call] of calls.entries()) {
    if (index > 0) await nextTask();
    await call.runAlone((outputs, inferMs) => onRun?.({ request: call.request(), outputs: copyOf(outputs), inferMs }));
  }
}

async function runTogether(calls: readonly QueuedCall[], verdict: Verdict, nextTask: () => Promise<void>): Promise<void> {
  const requests = calls.map((call) => call.request());
  const startedAt = performance.now();
  try {
    const outputs = await runJoined(calls[0]!.call.model, requests); // run() takes no empty list
    const inferMs = performance.now() - startedAt;
    learn(verdict, calls.length, inferMs);
    for (const [row, call] of calls.entries()) call.answer(rowOf(outputs, row), { startedAt, inferMs, batchSize: calls.length });
  } catch (error) {
    if (error instanceof NearfarError && deviceIsGone.has(error.code)) {
      for (const { reject } of calls) reject(error);
      return;
    }
    // One bad call must not fail the others, and only alone it shows which one it is.
    runAlone(verdict, performance.now() + verdictMs);
    await runOneByOne(calls, nextTask);
  }
}

/** Twice as many calls are run together once the limit was reached and a call took no longer than among fewer. */
function learn(verdict: Verdict, calls: number, inferMs: number): void {
  const msPerCall = inferMs / calls;
  if (calls < verdict.limit || msPerCall > verdict.msPerCall) return;
  verdict.msPerCall = msPerCall;
  if (verdict.limit < maxCalls && 2 * inferMs <= maxRunMs) verdict.limit *= 2;
}

/**
 * Answers the calls from runs alone, and then runs them together once more. From there on they are run together where each row came out
 * as it was alone, although its neighbours were others, and took less time.
 */
async function runAndCompare(calls: readonly QueuedCall[], verdict: Verdict, nextTask: () => Promise<void>): Promise<void> {
  const alone: Alone[] = [];
  await runOneByOne(calls, nextTask, (each) => alone.push(each));
  if (alone.length < 2) return;
  const aloneMs = usualMs(alone);
  if (2 * aloneMs > maxRunMs) return runAlone(verdict, performance.now() + verdictMs);
  const compared = alone.slice(0, powerOfTwo(Math.min(alone.length, maxRunMs / aloneMs)));
  const requests = [...compared.slice(0, -1), ...compared.slice(-1).map(strangerTo)].map(({ request }) => request);
  // Equal rows come out alike even where each is made of all.
  if (compared.length < 2 || areAlike(requests)) return;
  await nextTask();
  const { model } = calls[0]!.call; // run() takes no empty list
  const startedAt = performance.now();
  try {
    const outputs = await runJoined(model, requests);
    const msPerCall = (performance.now() - startedAt) / compared.length;
    if (!areIndependent(compared.slice(0, -1), outputs, model.variant)) return runAlone(verdict, Number.POSITIVE_INFINITY);
    if (msPerCall <= worthwhile * aloneMs) {
      Object.assign(verdict, { state: 'together', until: performance.now() + verdictMs, limit: compared.length, msPerCall });
      return;
    }
    verdict.losses++;
    if (verdict.losses < maxLosses) return;
  } catch {
    // Too large for the device, or not taken by the model: the calls are answered already.
  }
  runAlone(verdict, performance.now() + verdictMs);
}

/** On average, without the slowest. */
function usualMs(alone: readonly Alone[]): number {
  const times = alone.map(({ inferMs }) => inferMs);
  const sum = times.reduce((total, ms) => total + ms, 0);
  return (sum - Math.max(...times)) / (times.length - 1);
}

function powerOfTwo(atMost: number): number {
  return 2 ** Math.floor(Math.log2(Math.max(1, atMost)));
}

/** The same call with numbers that no input like it has, where its dtypes have others: a row that its neighbours depend on shows. */
function strangerTo(alone: Alone): Alone {
  const inputs = Object.fromEntries(Object.entries(alone.request.inputs).map(([name, tensor]) => [name, strangeTensor(tensor)]));
  return { ...alone, request: { ...alone.request, inputs } };
}

function strangeTensor(tensor: AnyTensor): AnyTensor {
  if (tensor.dtype === 'float32') return { ...tensor, data: tensor.data.map((value) => -1 - value) };
  if (tensor.dtype === 'uint8') return { ...tensor, data: tensor.data.map((value) => 255 - value) };
  // Tokens and the like may have no other that is one.
  return tensor;
}

function areAlike([first, ...others]: readonly RunRequest[]): boolean {
  return others.every(({ inputs }) => first && compareOutputs(first.inputs, inputs, { absolute: 0, relative: 0 }).isWithin);
}

function areIndependent(alone: readonly Alone[], outputs: TensorMap, { tolerance }: Variant): boolean {
  const narrow = {
    absolute: Math.min(tolerance.absolute, rounding.absolute),
    relative: Math.min(tolerance.relative, rounding.relative),
  };
  return alone.every((each, row) => compareOutputs(each.outputs, rowOf(outputs, row), narrow).isWithin);
}

/** @throws {NearfarError} What the run throws; `failed-precondition` for outputs without a row for each call. */
async function runJoined({ loaded }: RunModel, requests: readonly RunRequest[]): Promise<TensorMap> {
  const parts = requests.map(({ inputs }) => ({ tensors: inputs, from: 0, to: 1 }));
  const inputs = joinRows(parts, { rows: parts.length, allocate: (bytes) => new Uint8Array(bytes) });
  // No signal: the others go on when one of the calls is aborted.
  const outputs = await loaded.run({ ...requests[0]!, inputs }); // there are some
  assertRows(outputs, parts.length);
  return outputs;
}

/** A row in memory of its own: who called may move it elsewhere. */
function rowOf(outputs: TensorMap, row: number): TensorMap {
  return copyOf(Object.fromEntries(Object.entries(outputs).map(([name, tensor]) => [name, sliceRows(tensor, row, row + 1)])));
}

function copyOf(tensors: TensorMap): TensorMap {
  const copies = Object.entries(tensors).map(([name, tensor]) => [name, { ...tensor, data: tensor.data.slice() } as AnyTensor] as const);
  return Object.fromEntries(copies);
}

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import * as v from 'valibot';
import { type BackendId, isBatchable, type Manifest, NearfarError, parseManifest, warmupPath } from '../../core/index.ts';
import { connectRepository } from '../../publish/index.ts';
import { askServer } from '../ask-server.ts';
import { createRandom, shuffle } from '../random.ts';
import { type Halved, halve, roundsOf } from './halving.ts';
import { HttpConnections } from './http-connections.ts';
import { closedLoop } from './load.ts';
import { cannot, type Goal, type Measured, measureGoal, type Subject } from './measure.ts';
import type { TunedModel } from './model.ts';
import { createRequests, encodeRequests, type Requests, readRecorded } from './requests.ts';
import { batchingParameters, type Candidate, describeSettings, engineFlags, type Settings, settingsOf } from './settings.ts';
import { type ServerUnderTest, startServerUnderTest } from './start-server.ts';

export interface TuneOptions {
  readonly model: TunedModel;
  /** @default `serving_default`, else the first one */
  readonly signature?: string | undefined;
  readonly goal: Goal['kind'];
  readonly p99TargetMs: number;
  /** Calls a second at which latencies are measured. @default half of what the defaults can do */
  readonly perSecond?: number | undefined;
  readonly rows?: number | undefined;
  /** File of recorded requests. @default that of the version */
  readonly requests?: string | undefined;
  /** @default the CPU backends, and those of the GPU where the server chooses one by itself */
  readonly backends?: readonly BackendId[] | undefined;
  readonly budgetMs: number;
  readonly seed: number;
  readonly signal: AbortSignal;
  readonly onProgress: (elapsedMs: number, what: string) => void;
}

/** One candidate and what was found of it when it was measured longest. */
export interface Tried extends Omit<Measured, 'score'> {
  /** Undefined: the defaults. */
  readonly settings: Settings | undefined;
  readonly rounds: number;
}

export interface Confirmation {
  /** Calls a second that keep to the target, or the 99th percentile in milliseconds; null where the goal was missed. */
  readonly pairs: readonly { readonly best: number | null; readonly defaults: number | null }[];
  /** How many times as good as the defaults, the median of the pairs; undefined where one of them missed the goal. */
  readonly ratio: number | undefined;
}

export interface TuneReport {
  readonly model: string;
  readonly version: string;
  readonly digest: string;
  readonly signature: string;
  readonly goal: Goal;
  readonly inputs: { readonly origin: Requests['origin']; readonly rows: number };
  readonly cores: number;
  readonly seed: number;
  readonly elapsedMs: number;
  /** Of all candidates so many are tried, those that the seed chooses. */
  readonly combinations: number;
  /** Best first. */
  readonly tried: readonly Tried[];
  /** Undefined where the defaults are best. */
  readonly best: Settings | undefined;
  readonly isMet: boolean;
  readonly confirmation: Confirmation | undefined;
  readonly isStopped: boolean;
  /** What to use: undefined is the defaults, also where the best is not better by more than measurements differ. */
  readonly recommended: Settings | undefined;
}

/** Of the whole time, for the winner against the defaults at the end. */
const confirmationPart = 0.25;
const pairs = 2;
/** A candidate that is measured for less tells nothing. */
const leastMs = 600;
/** Measurements of one and the same server differ by so much. */
const noise = 1.03;

/** Finds the settings of `nearfar serve` that answer a model best on this machine, by the load on real servers that it starts. */
export async function tune(options: TuneOptions): Promise<TuneReport> {
  const folder = await mkdtemp(join(tmpdir(), 'nearfar-tune-'));
  try {
    return await search(options, folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What is the same for every candidate. */
interface Scene {
  readonly options: TuneOptions;
  readonly folder: string;
  readonly manifest: Manifest;
  readonly digest: string;
  readonly signature: string;
  readonly requests: Requests;
  readonly encoded: readonly Uint8Array[];
  readonly goal: Goal;
  /** What the server chooses by itself. */
  readonly chosen: BackendId;
  readonly startMs: number;
}

async function search(options: TuneOptions, folder: string): Promise<TuneReport> {
  const { budgetMs, seed, signal, onProgress } = options;
  const startedAt = performance.now();
  const elapsed = () => performance.now() - startedAt;
  onProgress(0, 'looking at the model');
  const scene = await lookAt(options, folder);
  const { manifest, signature, goal, requests, digest } = scene;
  const cores = availableParallelism();
  const all = settingsOf({
    manifest,
    backends: options.backends ?? backendsOf(scene.chosen),
    cores,
    isBatchable: isBatchable(manifest, { signature }),
    p99TargetMs: goal.p99TargetMs,
  });
  const searchMs = Math.max(0, budgetMs * (1 - confirmationPart) - elapsed());
  const chosen = shuffle(all, createRandom(seed)).slice(0, affordable(all.length + 1, searchMs, scene.startMs) - 1);
  const candidates: Candidate[] = [undefined, ...chosen].map((settings, id) => ({ id, settings }));
  let done = 0;
  const halved = await halve<Candidate, Measured>({
    candidates,
    budgetMs: searchMs,
    signal,
    measure: async (candidate, slotMs, previous) => {
      onProgress(elapsed(), `${++done}: ${describeSettings(candidate.settings)}`);
      return await tryCandidate(scene, candidate.settings, slotMs, previous);
    },
  });
  if (!halved.best) throw signal.reason ?? new NearfarError('internal', 'nothing was measured');
  const { candidate: best, measured } = halved.best;
  const confirmation =
    best.settings && measured.isMet
      ? await confirm(scene, best.settings, {
          halved,
          budgetMs: Math.max(budgetMs * confirmationPart, budgetMs - elapsed()),
          onProgress: (what) => onProgress(elapsed(), what),
        })
      : undefined;
  const isBetter = measured.isMet && confirmation !== undefined && isWorthIt(confirmation);
  return {
    model: options.model.name,
    version: options.model.version,
    digest,
    signature,
    goal,
    inputs: { origin: requests.origin, rows: requests.rows },
    cores,
    seed,
    elapsedMs: elapsed(),
    combinations: all.length + 1,
    tried: triedOf(halved),
    best: best.settings,
    isMet: measured.isMet,
    confirmation,
    isStopped: signal.aborted,
    // Stopped before it was confirmed, the best so far is what there is.
    recommended: isBetter || (signal.aborted && confirmation === undefined && measured.isMet) ? best.settings : undefined,
  };
}

/** Starts the server as it is, to see what it makes of the model. */
async function lookAt(options: TuneOptions, folder: string): Promise<Scene> {
  const { model, signal } = options;
  const startedAt = performance.now();
  await using server = await startServerUnderTest(model, [], signal);
  const startMs = performance.now() - startedAt;
  const repository = connectRepository(`${server.address}/models`);
  const { name, version } = model;
  const manifest = parseManifest(await repository.read(name, version, 'manifest.json'));
  const signature =
    options.signature ?? ('serving_default' in manifest.signatures ? 'serving_default' : (Object.keys(manifest.signatures)[0] ?? ''));
  const recordedPath = options.requests ?? join(model.basePath, version, warmupPath);
  const requests = await createRequests(manifest, {
    signature,
    rows: options.rows,
    recorded: await readRecorded(recordedPath, options.requests !== undefined),
    readFile: (path) => repository.read(name, version, ...path.split('/')),
  });
  const encoded = encodeRequests(requests, model, signature);
  const { backend, digest } = await askAbout(server, options);
  using connections = new HttpConnections(server.address);
  const call = cycle(connections, encoded);
  await call();
  const perSecond =
    options.perSecond ??
    (options.goal === 'latency' ? (await closedLoop(call, { inFlight: 8, durationMs: leastMs, signal })).perSecond / 2 : 0);
  const goal: Goal = { kind: options.goal, p99TargetMs: options.p99TargetMs, perSecond: Math.max(1, Math.round(perSecond)) };
  return { options, folder, manifest, digest, signature, requests, encoded, goal, chosen: backend, startMs };
}

const versionSchema = v.object({
  digest: v.string(),
  backend: v.custom<BackendId>((backend) => typeof backend === 'string'),
  variant: v.string(),
});

/** On which backend the model runs, and in which variant. */
function askAbout({ address }: ServerUnderTest, { model, signal }: TuneOptions) {
  const path = `models/${encodeURIComponent(model.name)}/versions/${model.version}`;
  return askServer({ url: address, path, answer: versionSchema, signal });
}

function backendsOf(chosen: BackendId): readonly BackendId[] {
  return chosen.endsWith('-webgpu') ? ['tfjs-webgpu', 'onnx-webgpu', 'onnx-cpu', 'tfjs-wasm'] : ['onnx-cpu', 'tfjs-wasm'];
}

/** How many candidates can be started and measured in the first round. */
export function affordable(combinations: number, budgetMs: number, startMs: number): number {
  let count = combinations;
  while (count > 2 && budgetMs / roundsOf(count) / count < startMs + leastMs) count--;
  return count;
}

/** Measures one candidate on a server of its own. One that cannot be started, or breaks, is no reason to end the search. */
async function tryCandidate(scene: Scene, settings: Settings | undefined, slotMs: number, previous?: Measured): Promise<Measured> {
  const { signal } = scene.options;
  const startedAt = performance.now();
  try {
    await using subject = await openSubject(scene, settings);
    const budgetMs = Math.max(leastMs, slotMs - (performance.now() - startedAt));
    return { ...(await measureGoal(subject, scene.goal, { budgetMs, previous })), backend: subject.backend, variant: subject.variant };
  } catch (error) {
    signal.throwIfAborted();
    return cannot(error);
  }
}

/** A server with these settings, ready to be asked. */
async function openSubject({ options, folder, encoded, requests }: Scene, settings: Settings | undefined) {
  const { model, signal, seed } = options;
  const flags = settings ? engineFlags(settings) : [];
  if (settings?.batching) {
    const file = join(folder, 'batching.pbtxt');
    await writeFile(file, batchingParameters(settings, settings.batching));
    flags.push('--enable_batching', `--batching_parameters_file=${file}`);
  }
  const server = await startServerUnderTest(model, flags, signal);
  const connections = new HttpConnections(server.address);
  const close = async () => {
    connections[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
  };
  try {
    const { backend, variant } = await askAbout(server, options);
    if (settings && (backend !== settings.backend || variant !== settings.variant)) {
      throw new NearfarError('unsupported', `the server runs ${variant} on ${backend} instead`);
    }
    const rows = ((settings?.batching?.maxBatchSize ?? 1) * (settings?.engineWorkers ?? 1) * 2) / Math.max(1, requests.rows);
    const inFlight = Math.min(256, Math.max(8, Math.ceil(rows)));
    // The same arrivals for every candidate.
    return {
      call: cycle(connections, encoded),
      inFlight,
      random: createRandom(seed),
      signal,
      backend,
      variant,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function cycle(connections: HttpConnections, encoded: readonly Uint8Array[]): () => Promise<void> {
  let next = 0;
  return () => connections.send(encoded[next++ % encoded.length]!); // there is at least one
}

interface ConfirmOptions {
  readonly halved: Halved<Candidate, Measured>;
  readonly budgetMs: number;
  readonly onProgress: (what: string) => void;
}

/** Measures the best and the defaults in turn, so that a machine that is busy for a while is so for both. */
async function confirm(scene: Scene, best: Settings, { halved, budgetMs, onProgress }: ConfirmOptions): Promise<Confirmation | undefined> {
  const { goal, options } = scene;
  const found: { best: number | null; defaults: number | null }[] = [];
  const scoreOf = ({ isMet, score }: Measured) => (isMet ? Math.abs(score) : null);
  const previous = (settings: Settings | undefined) =>
    halved.rounds.flat().findLast(({ candidate }) => candidate.settings === settings)?.measured;
  const startedAt = performance.now();
  try {
    onProgress('the best and the defaults once more');
    await using subject = await openSubject(scene, best);
    await using reference = await openSubject(scene, undefined);
    const slotMs = Math.max(leastMs, (budgetMs - (performance.now() - startedAt)) / pairs / 2);
    const measure = async (which: Subject, settings: Settings | undefined) =>
      scoreOf(await measureGoal(which, goal, { budgetMs: slotMs, previous: previous(settings) }));
    for (let pair = 0; pair < pairs; pair++) {
      found.push({ best: await measure(subject, best), defaults: await measure(reference, undefined) });
    }
  } catch (error) {
    if (!options.signal.aborted) throw error;
    return undefined;
  }
  const ratios = found.flatMap((pair) => {
    if (pair.best === null || pair.defaults === null) return [];
    return [goal.kind === 'throughput' ? pair.best / pair.defaults : pair.defaults / pair.best];
  });
  const sorted = ratios.sort((a, b) => a - b);
  const ratio = ratios.length < pairs ? undefined : ((sorted[0] ?? 0) + (sorted[1] ?? 0)) / 2;
  return { pairs: found, ratio };
}

/** Where the defaults miss the goal every time, and the best meets it, there is no ratio and no question. */
function isWorthIt({ pairs: found, ratio }: Confirmation): boolean {
  if (ratio !== undefined) return ratio > noise;
  return found.every(({ best }) => best !== null) && found.every(({ defaults }) => defaults === null);
}

/** Each candidate once, by its last measurement; those that came further first, then the better. */
function triedOf({ rounds }: Halved<Candidate, Measured>): Tried[] {
  const last = new Map<Candidate, { measured: Measured; rounds: number }>();
  for (const [round, found] of rounds.entries()) {
    for (const { candidate, measured } of found) last.set(candidate, { measured, rounds: round + 1 });
  }
  return [...last]
    .sort(([, a], [, b]) => b.rounds - a.rounds || b.measured.score - a.measured.score)
    .map(
      ([
        { settings },
        {
          measured: { score: _, ...measured },
          rounds: count,
        },
      ]) => ({ settings, rounds: count, ...measured }),
    );
}

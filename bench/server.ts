import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type Bar, type Bench, type BenchContext, compare, measurePairs, median, type Pair } from './measure.ts';
import { type BenchProcess, startProcess } from './process.ts';
import { publishServedModels, type ServedModels } from './serving/models.ts';
import { type PeerName, peersFolder, startPeer } from './serving/peers.ts';
import { isGrpc, type Load, type Question, type ServedModel, type WireForm, type Workload } from './serving/workloads.ts';

/** The client process that asks every server. */
type Driver = BenchProcess<Question, Load>;

/** A server of the bench: where it listens, and what it used of the processors so far. */
interface Server {
  readonly name: string;
  readonly rest: string;
  readonly grpc: string;
}

interface Used {
  readonly cpuMs: number;
  readonly loopDelayMs: number;
}

interface Own extends Server {
  readonly process: BenchProcess<{ readonly restart?: boolean }, Used>;
}

interface Scene {
  readonly models: ServedModels;
  readonly driver: Driver;
  readonly nearfar: Own;
  readonly bare: Own;
  readonly context: BenchContext;
}

const inFlight = 8;
const durationMs = 1_000;
const backend = 'onnx-cpu';

/**
 * Throughput and latency of `nearfar serve` with a tiny model and an image model: against what Node itself does (node:http and grpc-js
 * answering the same without a model), against the engine's thread alone, and against other servers where they are installed. One
 * driver process asks all of them, in turn.
 */
export const benchServer: Bench = async (context) => {
  await using models = await publishServedModels();
  const options = { modelsRoot: models.repository, backends: [backend], engineThreads: engineThreads() };
  await using driver = await startProcess<Question, Load>('client.mjs', {});
  await using nearfar = await startOwn('nearfar serve', 'server.mjs', options);
  await using bare = await startOwn('Node alone', 'bare.mjs', {});
  const scene = { models, driver, nearfar, bare, context };
  for (const [name, run] of Object.entries(cases)) if (context.wants(name)) await run(scene);
};

const cases: Readonly<Record<string, (scene: Scene) => Promise<void>>> = {
  json: decodeJson,
  tiny: againstNode,
  image: againstEngine,
  loop: loopDelay,
  rate: fixedRate,
  concurrency: concurrencies,
  settings: otherSettings,
  peers: againstPeers,
};

export const serverCases: readonly string[] = Object.keys(cases);

function engineThreads(): number {
  return Math.max(1, availableParallelism() - 1);
}

async function startOwn(name: string, module: string, data: object): Promise<Own & AsyncDisposable> {
  const process = await startProcess<{ restart?: boolean }, Used, { rest: string; grpc: string }>(module, data);
  return { name, ...process.ready, process, [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() };
}

function workloadOf(model: ServedModel, protocol: WireForm): Workload {
  return { ...model, protocol };
}

function ask({ driver }: Scene, server: Server, workload: Workload, how: Partial<Question> = { inFlight }): Promise<Load> {
  return driver.ask({ address: isGrpc(workload) ? server.grpc : server.rest, workload, durationMs, ...how });
}

/** Requests a second of two servers, in turn; the answers must be the same. */
async function compareThroughput(
  scene: Scene,
  workload: Workload,
  reference: Server,
  bar: number | undefined,
  options: { readonly what?: string; readonly isAnswer?: boolean } = {},
): Promise<void> {
  const last: { subject?: Load; reference?: Load } = {};
  const subject = async () => {
    last.subject = await ask(scene, scene.nearfar, workload);
    return last.subject.perSecond;
  };
  const other = async () => {
    last.reference = await ask(scene, reference, workload);
    return last.reference.perSecond;
  };
  await measurePairs(2, subject, other);
  const pairs = await measurePairs(scene.context.pairs ?? 5, subject, other);
  if (options.isAnswer !== false && last.subject && last.reference) assertAlike(last.subject.sample, last.reference.sample, reference.name);
  scene.context.report(
    compare(
      {
        bench: 'server',
        case: `${workload.model} ${workload.protocol}, ${inFlight} in flight`,
        unit: '/s',
        subject: scene.nearfar.name,
        reference: reference.name,
        details: `${timesOf(last.subject)} against ${timesOf(last.reference)}`,
      },
      pairs,
      bar === undefined ? undefined : atLeast(bar),
    ),
  );
}

function timesOf(load: Load | undefined): string {
  return load
    ? `p50/p95/p99 ${[load.p50, load.p95, load.p99].map((ms) => ms.toFixed(ms < 10 ? 2 : 0)).join('/')} ms${load.failed > 0 ? `, ${load.failed} refused` : ''}`
    : '';
}

function assertAlike(ours: readonly number[], theirs: readonly number[], name: string): void {
  const differs =
    ours.length === 0 || ours.some((value, index) => Math.abs(value - (theirs[index] ?? Number.NaN)) > 1e-3 * Math.abs(value) + 1e-4);
  if (differs) throw new Error(`nearfar answers ${ours}, ${name} ${theirs}`);
}

/** Ratios of throughput. */
function atLeast(least: number): (pairs: readonly Pair[]) => Bar {
  return (pairs) => ({ text: `≥ ${least}`, isMet: ratioOf(pairs) >= least });
}

/** Ratios of times: nearfar must take so much less. */
function timesAsFast(least: number): (pairs: readonly Pair[]) => Bar {
  return (pairs) => ({ text: `≥ ${least} × as fast`, isMet: ratioOf(pairs) <= 1 / least });
}

function ratioOf(pairs: readonly Pair[]): number {
  return median(pairs.map(({ subject, reference }) => subject / reference));
}

/** A JSON body to a tensor, against JSON.parse and flattening, and against a binary tensor. */
async function decodeJson({ context }: Scene): Promise<void> {
  await using process = await startProcess<{ decoder: string; times: number }, { ms: number }>('json.mjs', {});
  const time = (decoder: string, times: number) => async () => (await process.ask({ decoder, times })).ms;
  const report = async (numbers: string, subject: string, reference: string, times: number, bar?: (pairs: readonly Pair[]) => Bar) => {
    await measurePairs(3, time(`${numbers} ${subject}`, times), time(`${numbers} ${reference}`, times));
    const pairs = await measurePairs(context.pairs ?? 15, time(`${numbers} ${subject}`, times), time(`${numbers} ${reference}`, times));
    const names: Readonly<Record<string, string>> = {
      json: 'nearfar',
      binary: 'binary tensor',
      'by hand': 'JSON.parse and flatten',
      parse: 'JSON.parse alone',
    };
    const about = {
      bench: 'server',
      case: `decode 224×224×3, ${numbers}`,
      unit: 'ms',
      subject: names[subject] ?? '',
      reference: names[reference] ?? '',
    } as const;
    context.report(compare(about, pairs, bar));
  };
  for (const numbers of ['digits4', 'float32', 'uint8']) {
    await report(numbers, 'json', 'by hand', 4, numbers === 'uint8' ? undefined : timesAsFast(3));
    await report(numbers, 'json', 'parse', 4);
  }
  await report('float32', 'binary', 'json', 20, timesAsFast(10));
}

/** The tiny model, against Node without a model. */
async function againstNode(scene: Scene): Promise<void> {
  const { tiny } = scene.models;
  await compareThroughput(scene, workloadOf(tiny, 'tfs-json'), scene.bare, 0.5);
  await compareThroughput(scene, workloadOf(tiny, 'v2-json'), scene.bare, 0.5);
  await compareThroughput(scene, workloadOf(tiny, 'predict'), scene.bare, 0.7);
  await compareThroughput(scene, workloadOf(tiny, 'infer'), scene.bare, 0.7);
}

/** The image model, against the server's engine thread alone in its process, asked directly with the same tensors and threads. */
async function againstEngine(scene: Scene): Promise<void> {
  const { image, repository } = scene.models;
  if (!image) return;
  const directory = join(repository, image.model, '1');
  await using engine = await startProcess<Partial<Question>, Load>('engine.mjs', {
    directory,
    threads: engineThreads(),
    backend,
    signature: 'serving_default',
    ...image,
  });
  const alone = async () => (await engine.ask({ inFlight, durationMs: 2 * durationMs })).perSecond;
  for (const protocol of ['v2-binary', 'predict', 'infer'] as const) {
    const workload = workloadOf(image, protocol);
    const served = async () => (await ask(scene, scene.nearfar, workload, { inFlight, durationMs: 2 * durationMs })).perSecond;
    await measurePairs(1, served, alone);
    const pairs = await measurePairs(scene.context.pairs ?? 5, served, alone);
    const about = { bench: 'server', case: `${image.model} ${protocol}, ${inFlight} in flight`, unit: '/s' } as const;
    scene.context.report(compare({ ...about, subject: scene.nearfar.name, reference: 'engine thread alone' }, pairs, atLeast(0.85)));
  }
}

/** How long the event loop was held up while the server answered as much as it can. */
async function loopDelay(scene: Scene): Promise<void> {
  const { tiny, image } = scene.models;
  const workloads = [
    workloadOf(tiny, 'tfs-json'),
    workloadOf(tiny, 'infer'),
    ...(image ? [workloadOf(image, 'v2-binary'), workloadOf(image, 'tfs-json')] : []),
  ];
  for (const workload of workloads) {
    const delayOf = (server: Own) => async () => {
      await ask(scene, server, workload, { inFlight, durationMs: 300 });
      await server.process.ask({ restart: true });
      await ask(scene, server, workload, { inFlight, durationMs: 2 * durationMs });
      return (await server.process.ask({})).loopDelayMs;
    };
    // Node alone has no tensors to take.
    const reference = workload.model === tiny.model ? scene.bare : scene.nearfar;
    const pairs = await measurePairs(scene.context.pairs ?? 3, delayOf(scene.nearfar), delayOf(reference));
    const about = { bench: 'server', case: `event-loop delay p99, ${workload.model} ${workload.protocol}`, unit: 'ms' } as const;
    const bar = (found: readonly Pair[]): Bar => ({ text: '< 10 ms', isMet: median(found.map(({ subject }) => subject)) < 10 });
    scene.context.report(
      compare({ ...about, subject: scene.nearfar.name, reference: reference === scene.bare ? reference.name : 'once more' }, pairs, bar),
    );
  }
}

/** Times of a call where calls come at a rate of their own, whatever becomes of those before. */
async function fixedRate(scene: Scene): Promise<void> {
  const { tiny, image } = scene.models;
  const rates = [
    { workload: workloadOf(tiny, 'tfs-json'), perSecond: 1000 },
    { workload: workloadOf(tiny, 'predict'), perSecond: 500 },
    { workload: workloadOf(tiny, 'infer'), perSecond: 500 },
    ...(image ? (['v2-binary', 'infer'] as const).map((protocol) => ({ workload: workloadOf(image, protocol), perSecond: 50 })) : []),
  ];
  for (const { workload, perSecond } of rates) {
    const last: Load[] = [];
    const p99Of = (server: Server) => async () => {
      const load = await ask(scene, server, workload, { perSecond, durationMs: 2 * durationMs });
      if (server === scene.nearfar) last.push(load);
      return load.p99;
    };
    const reference = workload.model === tiny.model ? scene.bare : scene.nearfar;
    const pairs = await measurePairs(scene.context.pairs ?? 3, p99Of(scene.nearfar), p99Of(reference));
    const about = { bench: 'server', case: `p99, ${workload.model} ${workload.protocol} at ${perSecond}/s`, unit: 'ms' } as const;
    const sides = { subject: scene.nearfar.name, reference: reference === scene.bare ? reference.name : 'once more' };
    scene.context.report(compare({ ...about, ...sides, details: timesOf(last.at(-1)) }, pairs));
  }
}

/** One call at a time, and 64 at once. */
async function concurrencies(scene: Scene): Promise<void> {
  const { tiny, image } = scene.models;
  for (const workload of [workloadOf(tiny, 'tfs-json'), workloadOf(tiny, 'infer'), ...(image ? [workloadOf(image, 'v2-binary')] : [])]) {
    for (const calls of [1, 64]) {
      const last: Load[] = [];
      const perSecondOf = (count: number) => async () => {
        const load = await ask(scene, scene.nearfar, workload, { inFlight: count, durationMs });
        if (count === calls) last.push(load);
        return load.perSecond;
      };
      const pairs = await measurePairs(scene.context.pairs ?? 3, perSecondOf(calls), perSecondOf(inFlight));
      const about = { bench: 'server', case: `${workload.model} ${workload.protocol}, ${calls} in flight`, unit: '/s' } as const;
      const sides = { subject: scene.nearfar.name, reference: `${inFlight} in flight` };
      scene.context.report(compare({ ...about, ...sides, details: timesOf(last.at(-1)) }, pairs));
    }
  }
}

/** The server once more with another setting each, against the one with its defaults. */
async function otherSettings(scene: Scene): Promise<void> {
  const { tiny, image, repository } = scene.models;
  const settings = {
    '2 engine workers': { engineWorkers: 2 },
    'batching that tunes itself': { batching: { kind: 'auto', p99TargetMs: 50 } },
    'no runs on the event loop': { inlineRunsBelowMs: 0 },
  };
  for (const [name, setting] of Object.entries(settings)) {
    const options = { modelsRoot: repository, backends: [backend], engineThreads: engineThreads(), ...setting };
    await using changed = await startOwn(name, 'server.mjs', options);
    const isImage = setting !== settings['no runs on the event loop'] && image;
    const workload = isImage ? workloadOf(image, 'v2-binary') : workloadOf(tiny, 'tfs-json');
    await compareThroughput({ ...scene, nearfar: changed }, workload, { ...scene.nearfar, name: 'the defaults' }, undefined);
  }
}

/** The bars: three times MLServer, and Triton itself. */
const peers: readonly { readonly name: PeerName; readonly bar?: number }[] = [
  { name: 'Triton', bar: 1 },
  { name: 'MLServer', bar: 3 },
  { name: 'pytriton' },
  { name: 'LitServe' },
];

async function againstPeers(scene: Scene): Promise<void> {
  const folder = peersFolder();
  if (folder === undefined) return;
  const { tiny, image } = scene.models;
  for (const { name, bar } of peers) {
    // pytriton joins rows along a first dimension, which the tiny model does not have.
    if (name === 'pytriton' && !image) continue;
    await using peer = await startPeer(name, folder, scene.models);
    const workloads: Workload[] = [
      ...(['tfs-json', 'v2-json', 'infer'] as const).map((form) => workloadOf(tiny, form)),
      ...(image ? (['v2-binary', 'infer'] as const).map((form) => workloadOf(image, form)) : []),
    ];
    for (const workload of workloads) {
      if (!peer.forms.includes(workload.protocol)) continue;
      if (name === 'pytriton' && workload.model === tiny.model) continue;
      await compareThroughput(scene, workload, peer, bar);
    }
  }
}

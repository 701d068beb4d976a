import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { type Bar, type Bench, compare, measurePairs, median, type Pair } from './measure.ts';
import { allModels, type BenchModel } from './models.ts';
import { startProcess } from './process.ts';

interface Load {
  readonly protocol?: 'rest' | 'grpc';
  readonly inFlight: number;
  readonly durationMs: number;
}

interface Throughput {
  readonly perSecond: number;
}

const inFlight = 8;
const durationMs = 2_000;
const backend = 'onnx-cpu';

/**
 * Predictions per second with 8 in flight, each of one whole float32 tensor: a client process asks a server process, by
 * the binary form of the Open Inference Protocol over HTTP with kept connections, and by gRPC; against the server's engine
 * thread alone in its process, asked directly with the same tensors, the same session options and the same threads.
 */
export const benchServer: Bench = async ({ pairs = 5, report }) => {
  const [model] = await allModels();
  if (!model) return;
  const { repository } = model;
  const call = callOf(model);
  const threads = Math.max(1, availableParallelism() - 1);
  const options = { modelsRoot: repository, backends: [backend], engineThreads: threads };
  await using server = await startProcess<object, object, { rest: string; grpc: string }>('server.mjs', options);
  await using client = await startProcess<Load, Throughput>('client.mjs', { ...server.ready, ...call });
  const directory = join(repository, model.manifest.name, model.pin.version);
  await using engine = await startProcess<Load, Throughput>('engine.mjs', { directory, threads, backend, ...call });
  const alone = async () => (await engine.ask({ inFlight, durationMs })).perSecond;
  for (const protocol of ['rest', 'grpc'] as const) {
    const served = async () => (await client.ask({ protocol, inFlight, durationMs })).perSecond;
    await measurePairs(1, served, alone);
    const about = { bench: 'server', case: `${call.name} ${backend} ${protocol}, ${inFlight} in flight`, unit: '/s' } as const;
    const measured = await measurePairs(pairs, served, alone);
    report(
      compare({ ...about, subject: 'nearfar serve', reference: 'engine thread alone' }, measured, protocol === 'rest' ? barOf : undefined),
    );
  }
};

/** The call of the task, as the processes take it. */
export function callOf({ manifest }: BenchModel) {
  const task = manifest.tasks?.['image-classification'];
  if (!task) throw new Error(`${manifest.name} classifies no images`);
  const { signature, input, output } = task;
  const shape = (manifest.signatures[signature]?.inputs[input.name]?.shape ?? []).map((size) => (size === -1 ? 1 : size));
  return { name: manifest.name, signature, input: input.name, output: output.name, shape };
}

function barOf(pairs: readonly Pair[]): Bar {
  return { text: '≥ 0.85', isMet: median(pairs.map(({ subject, reference }) => subject / reference)) >= 0.85 };
}

import type { BackendId, Manifest } from '../../core/index.ts';

/** What is tried. Undefined: the server's defaults. */
export interface Settings {
  readonly backend: BackendId;
  readonly variant: string;
  readonly engineWorkers: number;
  readonly engineThreads: number;
  /** Undefined: requests are not batched. */
  readonly batching: BatchSettings | undefined;
}

interface BatchSettings {
  readonly maxBatchSize: number;
  readonly timeoutMicros: number;
}

export interface Candidate {
  readonly id: number;
  readonly settings: Settings | undefined;
}

export interface SearchSpace {
  readonly manifest: Manifest;
  /** Backends to try; those the version has no variant for are passed over. */
  readonly backends: readonly BackendId[];
  readonly cores: number;
  /** Whether requests of the signature can be batched. */
  readonly isBatchable: boolean;
  /** Waits that are half of the latency that is aimed at, or more, are not tried. */
  readonly p99TargetMs: number;
}

const batchSizes = [2, 4, 8, 16, 32, 64, 128];
const timeoutsMicros = [0, 500, 2_000, 8_000];

/** Every combination that this machine and this version can have. */
export function settingsOf({ manifest, backends, cores, isBatchable, p99TargetMs }: SearchSpace): Settings[] {
  const timeouts = timeoutsMicros.filter((micros) => micros / 1000 < p99TargetMs / 2);
  const batchings = isBatchable
    ? batchSizes.flatMap((maxBatchSize) => timeouts.map((timeoutMicros) => ({ maxBatchSize, timeoutMicros })))
    : [];
  return backends.flatMap((backend) =>
    manifest.variants
      .filter(({ format, requires }) => runsOn(backend, format) && (requires.length === 0 || backend.endsWith('-webgpu')))
      .flatMap(({ id: variant }) =>
        enginesOf(backend, cores).flatMap((engines) =>
          [undefined, ...batchings].map((batching) => ({ backend, variant, ...engines, batching })),
        ),
      ),
  );
}

export function runsOn(backend: BackendId, format: string): boolean {
  return backend.startsWith(format === 'onnx' ? 'onnx-' : 'tfjs-');
}

/** Workers and threads that share the cores, in powers of two; a GPU is not divided by threads. */
function enginesOf(backend: BackendId, cores: number): Pick<Settings, 'engineWorkers' | 'engineThreads'>[] {
  const powers = [1, 2, 4, 8, 16, 32, 64].filter((count) => count <= cores);
  if (!backend.endsWith('-cpu') && !backend.endsWith('-wasm')) {
    return powers.filter((count) => count <= 4).map((engineWorkers) => ({ engineWorkers, engineThreads: 1 }));
  }
  const threads = [...new Set([...powers, Math.max(1, cores - 1), cores])];
  return powers.flatMap((engineWorkers) =>
    threads.filter((engineThreads) => engineWorkers * engineThreads <= cores).map((engineThreads) => ({ engineWorkers, engineThreads })),
  );
}

/** The flags of `nearfar serve` for settings, without those of batching. */
export function engineFlags({ backend, variant, engineWorkers, engineThreads }: Settings): string[] {
  return [
    `--backend=${backend}`,
    `--variant=${variant}`,
    `--engine_workers=${engineWorkers}`,
    `--max_engine_workers=${Math.max(8, engineWorkers)}`,
    `--tensorflow_intra_op_parallelism=${engineThreads}`,
  ];
}

/** As many requests as a server takes at all may wait for a batch. */
const mostWaiting = 512;

/** BatchingParameters in text form; GPUs, which compile for each shape anew, get batches of powers of two. */
export function batchingParameters({ backend, engineWorkers }: Settings, { maxBatchSize, timeoutMicros }: BatchSettings): string {
  const sizes = Array.from({ length: Math.log2(maxBatchSize) + 1 }, (_, power) => 2 ** power);
  return [
    `max_batch_size { value: ${maxBatchSize} }`,
    `batch_timeout_micros { value: ${timeoutMicros} }`,
    `max_enqueued_batches { value: ${Math.ceil(mostWaiting / maxBatchSize)} }`,
    // One more than can run, so that the next one is on its way.
    `num_batch_threads { value: ${engineWorkers + 1} }`,
    ...(backend.endsWith('-webgpu') ? [`allowed_batch_sizes: [${sizes.join(', ')}]`] : []),
    '',
  ].join('\n');
}

export function describeSettings(settings: Settings | undefined): string {
  if (!settings) return 'the defaults';
  const { backend, variant, engineWorkers, engineThreads, batching } = settings;
  const batches = batching ? `batches of ${batching.maxBatchSize}, ${batching.timeoutMicros} µs` : 'no batches';
  return `${variant} on ${backend}, ${engineWorkers} × ${engineThreads} threads, ${batches}`;
}

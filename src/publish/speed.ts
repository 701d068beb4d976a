import {
  type BackendId,
  decodeSafetensors,
  type Engine,
  type LoadedVariant,
  NearfarError,
  type TensorMap,
  type Variant,
} from '../core/index.ts';
import type { BuiltVersion } from './build.ts';
import { readBuilt } from './measure.ts';
import { checkBackends, type OpenEngine } from './run.ts';

/** How fast a variant runs on one backend of this machine, in one thread. */
export interface VariantSpeed {
  readonly variant: string;
  readonly backend: BackendId;
  /** What it is held against: the first variant on its first backend. */
  readonly reference: { readonly variant: string; readonly backend: BackendId };
  /** Median of its times for the first golden example. */
  readonly medianMs: number;
  /** Median of the paired ratios of its time to the reference's: below 1 it is faster. */
  readonly ratio: number;
  readonly rounds: number;
}

/** No variant and backend takes longer than this, but for the run that is under way then. */
const BUDGET_MS = 1000;
const MAX_ROUNDS = 11;

export interface SpeedOptions {
  readonly openEngine: OpenEngine;
  readonly signal?: AbortSignal | undefined;
  /** Called before each variant and backend. */
  readonly onProgress?: ((what: string, done: number, total: number) => void) | undefined;
}

/**
 * Times every variant on every backend of this machine's processor that runs it, in turns with the first variant, so that what else the
 * machine does meets both. Where a variant does not run, it has no time.
 */
export async function measureSpeeds(built: BuiltVersion, { openEngine, signal, onProgress }: SpeedOptions): Promise<VariantSpeed[]> {
  const manifest = built.manifest('1');
  const [golden] = manifest.golden;
  if (!golden) return [];
  const example: Example = { signature: golden.signature, inputs: decodeSafetensors(await readBuilt(built, golden.inputs)) };
  // TensorFlow.js on the CPU is the reference of answers, nobody's choice for speed.
  const places = manifest.variants.flatMap((variant) =>
    checkBackends[variant.format]
      .filter((backend) => backend !== 'tfjs-cpu')
      .map((backend) => ({ variant, backend: backend as BackendId })),
  );
  await using engines = new EngineSet(openEngine, signal);
  const load = async ({ variant, backend }: { variant: Variant; backend: BackendId }): Promise<LoadedVariant | undefined> => {
    try {
      const engine = await engines.open(backend);
      return await engine.load({ manifest, variant, readFile: (path) => readBuilt(built, path) }, { signal });
    } catch (error) {
      if (!(error instanceof NearfarError) || signal?.aborted) throw error;
      return undefined;
    }
  };
  const speeds: VariantSpeed[] = [];
  let first: { readonly variant: string; readonly backend: BackendId; readonly loaded: LoadedVariant } | undefined;
  try {
    for (const [index, place] of places.entries()) {
      onProgress?.(`${place.variant.id} on ${place.backend}`, index, places.length);
      const loaded = await load(place);
      if (!loaded) continue;
      const [variant, { backend }] = [place.variant.id, place];
      first ??= { variant, backend, loaded };
      try {
        const reference = { variant: first.variant, backend: first.backend };
        speeds.push({ variant, backend, reference, ...(await timePairs(loaded, first.loaded, example, signal)) });
      } finally {
        if (loaded !== first.loaded) await loaded[Symbol.asyncDispose]();
      }
    }
  } finally {
    await first?.loaded[Symbol.asyncDispose]();
  }
  return speeds;
}

/** One engine of each backend, opened when it is first needed. */
class EngineSet implements AsyncDisposable {
  readonly #engines: Map<BackendId, Engine> = new Map<BackendId, Engine>();
  readonly #openEngine: OpenEngine;
  readonly #signal: AbortSignal | undefined;

  constructor(openEngine: OpenEngine, signal: AbortSignal | undefined) {
    this.#openEngine = openEngine;
    this.#signal = signal;
  }

  async open(backend: BackendId): Promise<Engine> {
    const engine = this.#engines.get(backend) ?? (await this.#openEngine(backend, { signal: this.#signal }));
    this.#engines.set(backend, engine);
    return engine;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const engine of this.#engines.values()) await engine[Symbol.asyncDispose]();
  }
}

interface Example {
  readonly signature: string;
  readonly inputs: TensorMap;
}

async function timePairs(
  own: LoadedVariant,
  reference: LoadedVariant,
  example: Example,
  signal: AbortSignal | undefined,
): Promise<Pick<VariantSpeed, 'medianMs' | 'ratio' | 'rounds'>> {
  const time = async (loaded: LoadedVariant) => {
    const began = performance.now();
    await loaded.run(example, { signal });
    return performance.now() - began;
  };
  const began = performance.now();
  const times: number[] = [];
  const ratios: number[] = [];
  // The first runs prepare kernels and memory.
  await time(own);
  if (own !== reference) await time(reference);
  while (ratios.length < MAX_ROUNDS && (ratios.length === 0 || performance.now() - began < BUDGET_MS)) {
    signal?.throwIfAborted();
    const ms = await time(own);
    times.push(ms);
    ratios.push(own === reference ? 1 : ms / (await time(reference)));
  }
  return { medianMs: median(times), ratio: median(ratios), rounds: ratios.length };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}

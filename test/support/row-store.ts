import { createTensor, elementCount, type Manifest, NearfarError, type RunRequest, type TensorMap } from '../../src/core/index.ts';
import type { Logger } from '../../src/server/log.ts';
import { createLog } from '../../src/server/log.ts';
import type { ServableHandle, ServableStore } from '../../src/server/servables/index.ts';

type Compute = (request: RunRequest) => TensorMap | Promise<TensorMap>;

/** A store of one model whose runs are a function: for what stands in front of the engine. */
export interface RowStore extends ServableStore {
  /** Rows of each run that reached the engine. */
  readonly runs: number[];
  /** Handles that are lent. */
  readonly lent: number;
  /** Signals of the runs. */
  readonly signals: (AbortSignal | undefined)[];
}

const rows = (...inner: number[]) => ({ dtype: 'float32' as const, shape: [-1, ...inner] });

/** `serving_default` has a batch dimension everywhere, `constant` has an output without one. */
const manifest: Manifest = {
  schemaVersion: 1,
  name: 'm',
  version: '1',
  signatures: {
    serving_default: { method: 'predict', inputs: { x: rows(2) }, outputs: { y: rows(2) } },
    sum: { method: 'predict', inputs: { a: rows(), b: rows() }, outputs: { y: rows() } },
    words: { method: 'predict', inputs: { x: { dtype: 'string', shape: [-1, -1] } }, outputs: { y: { dtype: 'string', shape: [-1, -1] } } },
    constant: { method: 'predict', inputs: { x: rows(2) }, outputs: { y: { dtype: 'float32', shape: [3] }, z: rows(2) } },
  },
  variants: [],
  files: {},
  golden: [],
};

/** @param compute What a run gives; by default `y` is `x` plus one. */
export function createRowStore(
  compute: Compute = plusOne,
  options: { backend?: ServableHandle['backend']; inferMs?: (rows: number) => number } = {},
): RowStore {
  const { backend = 'onnx-cpu', inferMs = () => 1 } = options;
  const runs: number[] = [];
  const signals: (AbortSignal | undefined)[] = [];
  let lent = 0;
  const lend = (): ServableHandle => {
    lent++;
    let isReturned = false;
    return {
      name: 'm',
      version: '1',
      digest: 'sha256:0',
      manifest,
      labels: [],
      backend,
      variant: 'v',
      platform: 'onnx',
      parallelism: 1,
      run: async (request, { signal }) => {
        if (isReturned) throw new NearfarError('failed-precondition', 'the handle was given back already');
        const count = Object.values(request.inputs)[0]?.shape[0] ?? 0;
        runs.push(count);
        signals.push(signal);
        return { outputs: await compute(request), timing: { queueMs: 0, inferMs: inferMs(count) } };
      },
      [Symbol.dispose]: () => {
        if (isReturned) return;
        isReturned = true;
        lent--;
      },
    };
  };
  return {
    runs,
    signals,
    get lent() {
      return lent;
    },
    lend,
    status: () => [{ version: '1', digest: 'sha256:0', state: 'AVAILABLE', errorCode: 0, errorMessage: '' }],
    labels: () => ({}),
    traffic: () => undefined,
    names: () => ['m'],
    isReady: () => true,
    watch: () => ({ [Symbol.dispose]: () => {} }),
  };
}

export function plusOne({ inputs }: RunRequest): TensorMap {
  const x = inputs['x'];
  if (x?.dtype !== 'float32') throw new NearfarError('invalid-argument', 'no x');
  return {
    y: createTensor(
      'float32',
      x.shape,
      x.data.map((value) => value + 1),
    ),
  };
}

/** A float32 tensor that counts from a number. */
export function counting(from: number, ...shape: number[]) {
  return createTensor(
    'float32',
    shape,
    Float32Array.from({ length: elementCount(shape) }, (_, index) => from + index),
  );
}

export const silent: Logger = createLog('silent');

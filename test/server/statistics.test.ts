import { describe, expect, test } from 'vitest';
import type { RequestRecord, Timing } from '../../src/server/request-record.ts';
import { InferenceStatistics } from '../../src/server/statistics.ts';

const timing: Timing = { queueMs: 1, preprocessMs: 2, inferMs: 4, postprocessMs: 3 };

function record(of: { rows?: number; timing?: Timing | undefined; signature?: string | undefined; status?: string }): RequestRecord {
  const { rows = 1, status = 'OK' } = of;
  const signature = 'signature' in of ? of.signature : 'serving_default';
  return {
    kind: 'prediction',
    model: 'm',
    api: 'infer',
    entrypoint: 'REST',
    status,
    startedAt: 0,
    durationMs: 12,
    servable: {
      version: '1',
      digest: 'd',
      backend: 'onnx-cpu',
      variant: 'v',
      signature,
      rows,
      timing: 'timing' in of ? of.timing : timing,
    },
  };
}

function counted(...records: readonly RequestRecord[]) {
  const statistics = new InferenceStatistics(() => 5000);
  for (const one of records) statistics.recordRequest(one);
  return statistics.of('m', '1');
}

describe('statistics of a version', () => {
  test('are zero before its first request', () => {
    expect(new InferenceStatistics().of('m', '1')).toMatchObject({
      lastInferenceAt: 0,
      executionCount: 0,
      success: { count: 0, ms: 0 },
      batches: [],
    });
  });

  test('count rows, runs and where the time went', () => {
    expect(counted(record({ rows: 3 }), record({ rows: 3 }), record({}))).toMatchObject({
      lastInferenceAt: 5000,
      inferenceCount: 7,
      executionCount: 3,
      success: { count: 3, ms: 36 },
      fail: { count: 0, ms: 0 },
      queue: { count: 3, ms: 3 },
      computeInput: { count: 3, ms: 6 },
      computeInfer: { count: 3, ms: 12 },
      computeOutput: { count: 3, ms: 9 },
      batches: [
        { size: 1, computeInfer: { count: 1, ms: 4 } },
        { size: 3, computeInfer: { count: 2, ms: 8 } },
      ],
    });
  });

  test('count one run for the requests that shared it', () => {
    const shared = { ...timing, batchSize: 10 };

    const statistics = counted(...[3, 3, 4].map((rows) => record({ rows, timing: shared })));

    expect(statistics).toMatchObject({ inferenceCount: 10, executionCount: 1, computeInfer: { count: 3, ms: 12 } });
    expect(statistics.batches).toMatchObject([{ size: 10, computeInfer: { count: 1 } }]);
    expect(statistics.batches[0]?.computeInfer.ms).toBeCloseTo(4, 9);
  });

  test('count what the cache answered apart', () => {
    const known = { ...timing, queueMs: 0, inferMs: 0 };
    const records = (['hit', 'joined', 'miss'] as const).map((cache) =>
      record({ timing: { ...(cache === 'miss' ? timing : known), cache } }),
    );

    expect(counted(...records)).toMatchObject({
      inferenceCount: 1,
      executionCount: 1,
      success: { count: 3 },
      cacheHit: { count: 2, ms: 14 },
      cacheMiss: { count: 1, ms: 2 },
    });
  });

  test('count a failed run, and not what could not be read or is no prediction', () => {
    const failed = record({ status: 'INTERNAL', timing: undefined });
    const unread = record({ status: 'INVALID_ARGUMENT', timing: undefined, signature: undefined });

    expect(counted(failed, unread, { ...record({}), kind: 'control' })).toMatchObject({
      executionCount: 0,
      success: { count: 0 },
      fail: { count: 1, ms: 12 },
    });
  });

  test('are kept for the last 64 versions', () => {
    const statistics = new InferenceStatistics();
    for (let version = 1; version <= 65; version++) {
      const one = record({});
      statistics.recordRequest({ ...one, servable: { ...one.servable!, version: String(version) } });
    }

    expect([statistics.of('m', '1').executionCount, statistics.of('m', '2').executionCount]).toEqual([0, 1]);
  });
});

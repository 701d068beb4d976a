import { expect, test } from 'vitest';
import { Arrivals } from '../../src/server/arrivals.ts';

/** Models that are on their way until the test says otherwise. */
function openArrivals(models: readonly string[], mostWaiting = 10) {
  const onItsWay = new Set(models);
  const checks = new Set<() => void>();
  const arrivals = new Arrivals({
    isOnItsWay: (model) => onItsWay.has(model),
    waitUntil: (holds, signal) =>
      new Promise((resolve, reject) => {
        const check = () => holds() && resolve();
        checks.add(check);
        signal?.addEventListener('abort', () => reject(signal.reason));
        check();
      }),
    mostWaiting,
  });
  const arrive = (model: string) => {
    onItsWay.delete(model);
    for (const check of checks) check();
  };
  return { arrivals, arrive };
}

const never = new AbortController().signal;

test('a request waits for the first version of its model, and is told when to look again', async () => {
  const { arrivals, arrive } = openArrivals(['a']);

  const arrival = arrivals.of('a', never);
  arrive('a');

  await expect(arrival).resolves.toBeUndefined();
});

test('while the server starts a model that is not there is unavailable, after that it is not found at once', async () => {
  const { arrivals, arrive } = openArrivals(['a', 'b']);
  const started = arrivals.start(['a', 'b']);
  arrive('a');

  expect(() => arrivals.of('missing', never)).toThrow('the server is starting');
  arrive('b');
  await started;

  expect(arrivals.of('missing', never)).toBeUndefined();
});

test('no more requests wait than may', () => {
  const { arrivals } = openArrivals(['a'], 1);
  void arrivals.of('a', never);

  expect(() => arrivals.of('a', never)).toThrow(expect.objectContaining({ code: 'unavailable' }));
});

test('a request that nobody waits for any more leaves its place', async () => {
  const { arrivals } = openArrivals(['a'], 1);
  const gone = new AbortController();
  const first = arrivals.of('a', gone.signal);

  gone.abort(new Error('gone'));

  await expect(first).rejects.toThrow('gone');
  expect(arrivals.of('a', never)).toBeInstanceOf(Promise);
});

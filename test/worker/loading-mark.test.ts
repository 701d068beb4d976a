import { expect, test } from 'vitest';
import { openLoadingMark } from '../../src/worker/device/loading-mark.ts';
import { createMemoryStore } from '../../src/worker/store/index.ts';
import { openTabs } from '../../src/worker/tabs/index.ts';

const key = { digest: `sha256:${'a'.repeat(64)}`, variant: 'tfjs', backend: 'tfjs-webgpu', device: 'a GPU' } as const;
const hour = 3_600_000;

/** One visit after the other on the same disk; `crash` ends one as the browser would: what it held is given back, what it wrote stays. */
function setUp() {
  let now = 1_000_000;
  const store = createMemoryStore();
  const turns: Disposable[] = [];
  const tabs = {
    ...openTabs(undefined),
    tryTurn: async () => {
      const turn = { [Symbol.dispose]: () => undefined };
      turns.push(turn);
      return turn;
    },
  };
  const clock = { now: () => now, delay: async () => undefined, random: () => 0 };
  const visit = (about: typeof key | (Omit<typeof key, 'digest'> & { digest: string }) = key, leftAt?: number) =>
    openLoadingMark({ store, tabs, clock }, about, { leftAt });
  return {
    visit,
    store,
    clock,
    now: () => now,
    advance: (ms: number) => {
      now += ms;
    },
    crash: async () => (await visit()).write(),
  };
}

test('a loading that ended leaves no mark', async () => {
  const { visit } = setUp();
  const mark = await visit();
  await mark.write();
  await mark.remove(true);

  await expect(visit()).resolves.toBeDefined();
});

test('a loading that failed is no crash', async () => {
  const { visit } = setUp();
  const mark = await visit();
  await mark.write();
  await mark.remove(false);

  await expect(visit()).resolves.toBeDefined();
});

test('after a crash the backend is left alone for an hour, a day, then a week, for this version alone', async () => {
  const { visit, crash, advance } = setUp();
  const refused = () =>
    visit().then(
      () => false,
      (error) => error.code === 'device-crashed',
    );
  const found: boolean[] = [];
  for (const pause of [hour, 24 * hour, 168 * hour, 168 * hour]) {
    await crash();
    advance(1);
    found.push(await refused());
    advance(pause - 2);
    found.push(await refused());
    await expect(visit({ ...key, digest: `sha256:${'b'.repeat(64)}` })).resolves.toBeDefined();
    advance(1);
    found.push(await refused());
  }

  expect(found).toEqual([true, true, false, true, true, false, true, true, false, true, true, false]);
});

test('an answer after the pause forgets the crashes before it', async () => {
  const { visit, crash, advance } = setUp();
  await crash();
  advance(hour);
  const mark = await visit();
  await mark.write();
  await mark.remove(true);
  await crash();
  advance(hour);

  await expect(visit()).resolves.toBeDefined();
});

test('a page that was left on purpose while it loaded did not crash', async () => {
  const { visit, crash, advance, now } = setUp();
  await crash();
  advance(5);

  await expect(visit(key, now())).resolves.toBeDefined();
});

test('without locks, or where another worker is loading, nothing is marked and nothing is refused', async () => {
  const { store, clock, crash } = setUp();
  await crash();
  const mark = await openLoadingMark({ store, clock, tabs: openTabs(undefined) }, key, {});
  await mark.write();
  await mark.remove(true);

  expect((await store.readVerdict({ ...key, device: `loading on ${key.device}` }))?.loading?.startedAt).toBe(1_000_000);
});

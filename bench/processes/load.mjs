/**
 * Keeps a number of calls in flight for a while.
 * @param {() => Promise<void>} call
 * @param {{ inFlight: number, durationMs: number }} options
 * @returns {Promise<{ perSecond: number }>} Counted to the end of the last call that was begun in time.
 */
export async function load(call, { inFlight, durationMs }) {
  const startedAt = performance.now();
  let calls = 0;
  const keepCalling = async () => {
    while (performance.now() - startedAt < durationMs) {
      await call();
      calls++;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, keepCalling));
  return { perSecond: (calls * 1000) / (performance.now() - startedAt) };
}

/** Pixel-like values, the same for every side. @param {number} length */
export function inputValues(length) {
  return Float32Array.from({ length }, (_, index) => ((index * 2_654_435_761) % 256) / 128 - 1);
}

/** @param {(question: any) => Promise<object>} answer @param {object} ready */
export function answerParent(answer, ready = {}) {
  process.on('message', async (question) => process.send?.(await answer(question)));
  // A parent that dies must leave nobody behind.
  process.on('disconnect', () => process.exit());
  process.send?.(ready);
}

import { Presets, SingleBar } from 'cli-progress';

/** A progress bar on a terminal, nothing elsewhere. */
export interface Progress extends Disposable {
  update(value: number, total: number, what: string): void;
}

/** @param isQuiet True where standard output is for a machine. The bar itself goes to standard error. */
export function openProgress(isQuiet: boolean): Progress {
  if (isQuiet || !process.stderr.isTTY) return { update: () => undefined, [Symbol.dispose]: () => undefined };
  const bar = new SingleBar(
    { format: '{bar} {percentage}% {what}', hideCursor: true, clearOnComplete: true, stream: process.stderr },
    Presets.shades_grey,
  );
  let isStarted = false;
  return {
    update: (value, total, what) => {
      if (!isStarted) bar.start(total, 0, { what });
      isStarted = true;
      bar.setTotal(total);
      bar.update(value, { what });
    },
    [Symbol.dispose]: () => bar.stop(),
  };
}

import { type BackendId, NearfarError } from '../core/index.ts';

/** Tells when a device is gone, and why: the promise `lost` of a GPUDevice, or one like it. */
export type DeviceLossNotice = Promise<{ readonly reason: string; readonly message: string }>;

/** The life of what an engine computes on, as its calls need it. */
export interface DeviceLoss {
  /** Resolves with the reason when the device is lost, but not by an ordinary close. */
  readonly lost: Promise<string>;
  /** @throws {NearfarError} `device-lost` from then on. */
  assertAlive(): void;
  /** The same promise, rejecting with `device-lost` as soon as the device is lost. */
  guard<T>(work: Promise<T>): Promise<T>;
  /** From here on the device may go without a word. */
  end(): void;
}

/** How long an error waits for the notice of a loss that may have caused it. */
const lossNoticeMs = 20;

/** @param notice None for an engine that computes on nothing that can be lost. */
export function watchDeviceLoss(backend: BackendId, notice: DeviceLossNotice | undefined): DeviceLoss {
  let error: NearfarError | undefined;
  let hasEnded = false;
  // Handlers of runs under way: `lost` itself lives as long as the device and would collect one for every run ever made.
  const rejections = new Set<(error: NearfarError) => void>();
  const lost = new Promise<string>((resolve) => {
    void notice?.then(({ reason, message }) => {
      if (hasEnded) return;
      const why = message || reason;
      error = new NearfarError('device-lost', `the device of ${backend} is lost: ${why}`, { details: { backend, reason: why } });
      for (const reject of rejections) reject(error);
      resolve(why);
    });
  });
  return {
    lost,
    assertAlive() {
      if (error) throw error;
    },
    guard: (work) =>
      new Promise((resolve, reject) => {
        rejections.add(reject);
        const settle = (end: () => void) => {
          rejections.delete(reject);
          end();
        };
        const fail = (cause: unknown) => settle(() => reject(error ?? cause));
        // What a lost device takes down fails a moment before the browser says why.
        work.then(
          (value) => settle(() => resolve(value)),
          (cause: unknown) => (notice && !error ? setTimeout(() => fail(cause), lossNoticeMs) : fail(cause)),
        );
      }),
    end() {
      hasEnded = true;
    },
  };
}

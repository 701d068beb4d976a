import type { Reason } from './placement.ts';

/** What a browser tells of its connection and its battery; what it does not tell is absent. */
export interface Surroundings {
  /** The user asked to save data (`navigator.connection.saveData`). */
  readonly saveData?: boolean | undefined;
  /** `slow-2g`, `2g`, `3g` or `4g`, as the connection is measured. */
  readonly effectiveType?: string | undefined;
  /** `cellular`, `wifi`, `ethernet`, … */
  readonly type?: string | undefined;
  readonly battery?: { readonly level: number; readonly charging: boolean } | undefined;
}

/** Below this share a battery that is not being charged is spared. */
const lowBattery = 0.2;

/** Why a download that nobody asked for by name should wait while a server can answer; undefined where it need not. */
export function deferralOf({ saveData, effectiveType, type, battery }: Surroundings): Reason | undefined {
  const wait = (message: string): Reason => ({ code: 'download-deferred', message: `the model is not downloaded: ${message}` });
  if (saveData) return wait('the user asked to save data');
  if (type === 'cellular' || type === 'bluetooth' || type === 'wimax') return wait(`the connection (${type}) may be metered`);
  if (effectiveType !== undefined && /2g|3g/.test(effectiveType)) return wait(`the connection is slow (${effectiveType})`);
  if (battery && !battery.charging && battery.level < lowBattery) {
    return wait(`the battery is at ${Math.round(battery.level * 100)} % and is not being charged`);
  }
  return undefined;
}

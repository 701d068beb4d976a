import type { Surroundings } from '../core/index.ts';

/** Not in the DOM's types: Chromium alone has them. */
interface NavigatorExtras {
  readonly connection?: Surroundings;
  getBattery?(): Promise<NonNullable<Surroundings['battery']>>;
}

/** What the browser says of its connection and battery at this moment. */
export async function readSurroundings(): Promise<Surroundings> {
  const extras: NavigatorExtras & Partial<Navigator> = globalThis.navigator ?? {};
  // Refused in frames without the permission.
  const battery = await extras.getBattery?.().catch(() => undefined);
  const { saveData, effectiveType, type } = extras.connection ?? {};
  return { saveData, effectiveType, type, battery: battery && { level: battery.level, charging: battery.charging } };
}

import { deferralOf, type Reason, type Surroundings } from '../core/index.ts';

/** Not in the DOM's types: Chromium alone has them. */
interface NavigatorExtras {
  readonly connection?: Surroundings;
  getBattery?(): Promise<NonNullable<Surroundings['battery']>>;
}

/** Why a download must wait at this moment, as the browser tells of its connection and battery. */
export async function findDeferral(): Promise<Reason | undefined> {
  const extras: NavigatorExtras & Partial<Navigator> = globalThis.navigator ?? {};
  // Refused in frames without the permission.
  const battery = await extras.getBattery?.().catch(() => undefined);
  const { saveData, effectiveType, type } = extras.connection ?? {};
  return deferralOf({ saveData, effectiveType, type, battery });
}

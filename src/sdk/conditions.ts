import type { OpenConditions } from '../core/index.ts';

const leftKey = 'nearfar left';

export async function readConditions(hasServer: boolean, isDeferrable: boolean): Promise<OpenConditions> {
  const reader = hasServer && isDeferrable ? await import('./surroundings.ts').catch(() => undefined) : undefined;
  let leftAt = 0;
  try {
    leftAt = Number(localStorage[leftKey]);
  } catch {
    // Not for this page.
  }
  return { hasServer, deferral: await reader?.findDeferral(), leftAt };
}

/**
 * Writes down that pages and their workers end on purpose: an opening that they leave unfinished is no crash. In localStorage, the only
 * storage that is written at once.
 */
export function markLeft(): void {
  try {
    localStorage[leftKey] = Date.now();
  } catch {
    // No storage, no memory of crashes that could be mistaken.
  }
}

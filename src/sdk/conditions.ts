import type { OpenConditions } from '../core/index.ts';

const leftKey = 'nearfar left';

export async function readConditions(hasServer: boolean, isDeferrable: boolean): Promise<OpenConditions> {
  const reader = hasServer && isDeferrable ? await import('./surroundings.ts').catch(() => undefined) : undefined;
  return { hasServer, deferral: await reader?.findDeferral(), leftAt: readLeft() };
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

function readLeft(): number | undefined {
  try {
    return Number(localStorage[leftKey]) || undefined;
  } catch {
    return undefined;
  }
}

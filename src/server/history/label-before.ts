import * as v from 'valibot';
import type { History } from './entry.ts';

const labelled = v.object({ version_labels: v.record(v.string(), v.string()) });

/** The version that a label had before it was pointed at its current one; undefined where the history knows of none. */
export function labelBefore(
  history: Pick<History, 'list'>,
  model: string,
  { label, current }: { readonly label: string; readonly current: string | undefined },
): string | undefined {
  let before: number | undefined;
  for (;;) {
    const entries = history.list({ model, before });
    for (const { from, outcome } of entries) {
      const version = v.is(labelled, from) && Object.hasOwn(from.version_labels, label) ? from.version_labels[label] : undefined;
      if (outcome === 'done' && version !== undefined && version !== current) return version;
    }
    before = entries.at(-1)?.id;
    if (before === undefined) return undefined;
  }
}

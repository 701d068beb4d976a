import * as v from 'valibot';
import type { History } from './entry.ts';

const labels = v.record(v.string(), v.string());
/** Labels of versions.json, and those of a model's configuration. */
const labelled = v.union([
  v.object({ labels }),
  v.pipe(
    v.object({ version_labels: labels }),
    v.transform((from) => ({ labels: from.version_labels })),
  ),
]);

/** The version that a label had before it was pointed at its current one; undefined where the history knows of none. */
export async function labelBefore(
  history: Pick<History, 'list'>,
  { model, folder }: { readonly model: string; readonly folder: string },
  { label, current }: { readonly label: string; readonly current: string | undefined },
): Promise<string | undefined> {
  let before: number | undefined;
  for (;;) {
    const entries = await history.list({ model, folder, before });
    for (const { from, outcome } of entries) {
      const known = v.safeParse(labelled, from);
      const version = known.success && Object.hasOwn(known.output.labels, label) ? known.output.labels[label] : undefined;
      if (outcome === 'done' && version !== undefined && version !== current) return version;
    }
    before = entries.at(-1)?.id;
    if (before === undefined) return undefined;
  }
}

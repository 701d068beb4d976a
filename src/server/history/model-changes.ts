import { isDeepStrictEqual } from 'node:util';
import type { Actor, Change } from './entry.ts';

/** What a model's configuration says, by the names of its settings. */
export type Settings = Readonly<Record<string, unknown>>;

/**
 * What a change did to the configured models: one entry for each that is not as it was, with the settings that differ.
 * @param before What each model's configuration said, by its name.
 */
export function modelChanges(before: ReadonlyMap<string, Settings>, after: ReadonlyMap<string, Settings>, by: Actor): readonly Change[] {
  const changes: Change[] = [];
  for (const model of new Set([...before.keys(), ...after.keys()])) {
    const from = before.get(model);
    const to = after.get(model);
    const differing = [...new Set([...Object.keys(from ?? {}), ...Object.keys(to ?? {})])].filter(
      (setting) => !isDeepStrictEqual(from?.[setting], to?.[setting]),
    );
    if (differing.length === 0) continue;
    const only = (settings: Settings | undefined) =>
      settings && Object.fromEntries(differing.flatMap((setting) => (setting in settings ? [[setting, settings[setting]]] : [])));
    const action = from === undefined ? 'add' : to === undefined ? 'remove' : 'change';
    changes.push({
      ...by,
      action,
      model,
      folder: folderOf(after.get(model) ?? before.get(model)),
      from: only(from),
      to: only(to),
      outcome: 'done',
    });
  }
  return changes;
}

function folderOf(settings: Settings | undefined): string | undefined {
  const folder = settings?.['base_path'];
  return typeof folder === 'string' ? folder : undefined;
}

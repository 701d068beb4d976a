import type { NearfarError } from '../../core/index.ts';
import { isUnderWay, type ModelSnapshot } from '../repository/index.ts';
import type { History } from './entry.ts';

const server = { who: 'server', way: 'server' } as const;

/**
 * Writes down versions that cannot be loaded as they are found (an import that fails, a signature or a digest that is wrong), and folders
 * that cannot be read: once for each reason.
 */
export function recordingPending(history: Pick<History, 'record'>, folderOf: (model: string) => string | undefined) {
  /** Reasons by version; the folder's own under the empty one. */
  const told = new Map<string, Map<string, string>>();
  const note = (model: string, reasons: ReadonlyMap<string, NearfarError>) => {
    const before = told.get(model) ?? new Map<string, string>();
    const now = new Map<string, string>();
    for (const [version, { message, code }] of reasons) {
      // Behind it stands how often it was tried.
      const reason = message.replace(/ \(attempt \d+, the next one [^()]*\)$/, '');
      now.set(version, reason);
      if (before.get(version) === reason) continue;
      const of = { model, folder: folderOf(model), ...(version !== '' && { version }) };
      void history.record({ ...server, action: 'load', ...of, to: { code }, outcome: 'failed', message: reason });
    }
    if (now.size > 0) told.set(model, now);
    else told.delete(model);
  };
  return {
    note: ({ name, pending }: ModelSnapshot): void => {
      const before = told.get(name);
      // While it is tried again what went wrong is still known.
      const failures = [...pending].filter(([, error]) => !isUnderWay(error));
      if (failures.length > 0 || before) note(name, new Map(failures));
    },
    noteFailure: (name: string, error: NearfarError): void => note(name, new Map([['', error]])),
    forget: (name: string): void => void told.delete(name),
  };
}

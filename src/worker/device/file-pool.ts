import { type CacheOutcome, NearfarError, type OpenRequest } from '../../core/index.ts';
import { type LoaderContext, loadFiles, type ResolvedVersion } from '../loader/index.ts';

/** The verified files of one opening, so that the next backend does not load again what it shares with the last. */
export interface FilePool {
  /** Loads those that are not here; a load under way is waited for first. */
  load(paths: readonly string[], signal: AbortSignal): Promise<void>;
  readFile(path: string): Promise<Uint8Array<ArrayBuffer>>;
  outcome(): CacheOutcome;
}

export function createFilePool(
  loader: Omit<LoaderContext, 'signal'>,
  version: ResolvedVersion,
  { repositories, cacheBudgetBytes }: Pick<OpenRequest, 'repositories' | 'cacheBudgetBytes'>,
): FilePool {
  const contents = new Map<string, Uint8Array<ArrayBuffer>>();
  const outcomes = new Set<CacheOutcome>();
  let underWay: Promise<void> = Promise.resolve();
  const loadMissing = async (paths: readonly string[], signal: AbortSignal) => {
    signal.throwIfAborted();
    const files = paths.filter((path) => !contents.has(path));
    if (files.length === 0) return;
    const loaded = await loadFiles({ ...loader, signal }, { version, files, repositories, cacheBudgetBytes });
    for (const path of files) contents.set(path, await loaded.readFile(path));
    outcomes.add(loaded.cache);
  };
  return {
    load(paths, signal) {
      const load = underWay.then(() => loadMissing(paths, signal));
      underWay = load.catch(() => undefined);
      return load;
    },
    async readFile(path) {
      const content = contents.get(path);
      if (content) return content;
      const { name, version: number } = version.manifest;
      throw new NearfarError('not-found', `${path} is no file of the opened variant of ${name} version ${number}`, { details: { path } });
    },
    outcome() {
      const [only = 'hit', ...others] = outcomes;
      return others.length === 0 ? only : 'partial';
    },
  };
}

import { isDeepStrictEqual } from 'node:util';
import { NearfarError, type Versions } from '../core/index.ts';
import { changeVersionsFile } from '../publish/index.ts';
import type { Actor, Change, ChangeAction, History } from './history/index.ts';
import { isRemote, type ModelSnapshot, type Repository } from './repository/index.ts';

export interface PublishedModelsOptions {
  readonly repository: Pick<Repository, 'source' | 'snapshot' | 'lookAfresh'>;
  readonly history: Pick<History, 'record'>;
}

/** How a versions.json is changed. */
export interface VersionsEdit {
  readonly by: Actor;
  /** What is asked for, for the history of a change that fails. */
  readonly to: object;
  /** @default 'change' */
  readonly action?: ChangeAction | undefined;
  /** What is worth knowing of it. */
  readonly message?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Gives back what it got where nothing is to be changed. */
  readonly edit: (versions: Versions) => Versions;
}

/** What of versions.json is told in the history, beside which versions there are. */
const settings = ['labels', 'traffic', 'shadow', 'rollout'] as const;

/**
 * The models that have a versions.json, which both legs follow: what is changed in it here, and what others change, is in the history.
 */
export class PublishedModels {
  readonly #options: PublishedModelsOptions;
  /** What each versions.json said last, as far as the history knows it. */
  readonly #known = new Map<string, Versions>();
  /** Models whose file is being changed here: what a look finds meanwhile is ours, or older. */
  readonly #changing = new Map<string, number>();
  /** Errors of changes that are in the history as failed. */
  readonly told = new WeakSet<Error>();

  constructor(options: PublishedModelsOptions) {
    this.#options = options;
  }

  /** @returns undefined where there is no versions.json. */
  versions(name: string): Versions | undefined {
    return this.#options.repository.snapshot(name)?.published;
  }

  /**
   * Changes a model's versions.json; browsers follow it from their next opening, this server before it resolves.
   * @throws {NearfarError} `not-found`; `failed-precondition` for a model without one; `unavailable` when a publisher holds it; what `edit` throws.
   */
  async change(name: string, { by, to, action = 'change', message, signal, edit }: VersionsEdit): Promise<Versions> {
    const { repository, history } = this.#options;
    const folder = repository.source(name)?.basePath;
    if (folder === undefined) throw new NearfarError('not-found', `Could not find any versions of model ${name}`, { details: { name } });
    if (isRemote(folder)) {
      throw new NearfarError(
        'failed-precondition',
        `model ${name} is read from ${folder}: its versions.json is changed where it is published`,
        {
          details: { name, folder },
        },
      );
    }
    if (/^[a-z][a-z0-9+.-]+:\/\//i.test(folder)) {
      throw new NearfarError('unsupported', `versions.json of ${name} lies in ${folder}: it is changed where it was published`, {
        details: { name, location: folder },
      });
    }
    const entry = { ...by, action, model: name, folder, message };
    this.#changing.set(name, (this.#changing.get(name) ?? 0) + 1);
    let looking: Promise<void> | undefined;
    try {
      let before: Versions | undefined;
      const changed = await changeVersionsFile(
        folder,
        (versions) => {
          before = versions;
          return edit(versions);
        },
        { signal },
      );
      const difference = before && differenceOf(before, changed);
      this.#known.set(name, changed);
      looking = repository.lookAfresh(name);
      await Promise.all([
        changed !== before && (difference || message !== undefined)
          ? history.record({ ...entry, ...difference, outcome: 'done' })
          : undefined,
        unlessAborted(looking, signal),
      ]);
      return changed;
    } catch (error) {
      if (!looking && error instanceof Error) this.told.add(error);
      if (!looking) await history.record({ ...entry, to, outcome: 'failed', message: messageOf(error) });
      throw error;
    } finally {
      // The look that may have run before has read what was there then.
      void (looking ?? Promise.resolve()).then(() => this.#changed(name));
    }
  }

  /** Takes over what a look at a model found: what others changed in its versions.json is written down. */
  apply({ name, published }: ModelSnapshot): void {
    if (this.#changing.has(name)) return;
    const before = this.#known.get(name);
    if (published) this.#known.set(name, published);
    else this.#known.delete(name);
    const difference = before && published && differenceOf(before, published);
    const folder = this.#options.repository.source(name)?.basePath;
    if (!difference) return;
    void this.#options.history.record({
      who: `${folder}/versions.json`,
      way: 'versions.json',
      action: 'change',
      model: name,
      folder,
      ...difference,
      outcome: 'done',
    });
  }

  forget(name: string): void {
    this.#known.delete(name);
  }

  #changed(name: string): void {
    const left = (this.#changing.get(name) ?? 1) - 1;
    if (left > 0) this.#changing.set(name, left);
    else this.#changing.delete(name);
  }
}

/** The settings that are not the same, as they were and as they are; undefined where all are. */
function differenceOf(before: Versions, after: Versions): Pick<Change, 'from' | 'to'> | undefined {
  const told = (versions: Versions): Readonly<Record<string, unknown>> => ({
    ...Object.fromEntries(settings.map((setting) => [setting, versions[setting] ?? {}])),
    versions: versions.versions.map(({ version }) => version),
  });
  const [was, is] = [told(before), told(after)];
  const differing = Object.keys(is).filter((setting) => !isDeepStrictEqual(was[setting], is[setting]));
  if (differing.length === 0) return undefined;
  const only = (all: typeof was) => Object.fromEntries(differing.map((setting) => [setting, all[setting]]));
  return { from: only(was), to: only(is) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A folder on a dead drive holds up nobody who has gone. */
async function unlessAborted(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (!signal) return work;
  signal.throwIfAborted();
  let abort = () => {};
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
  });
  await Promise.race([work, aborted]).finally(() => signal.removeEventListener('abort', abort));
}

import { randomUUID } from 'node:crypto';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fromJson, type JsonValue } from '@bufbuild/protobuf';
import { type ModelConfig, ModelConfigSchema, NearfarError } from '../core/index.ts';
import type { Logger } from './log.ts';
import type { LoadRequest, ModelControl } from './model-control.ts';
import type { ModelSource, VersionPolicy } from './repository/index.ts';
import type { ChangeOptions, ServedModels } from './served-models.ts';

export interface OnDemandModelsOptions {
  readonly models: Pick<ServedModels, 'source' | 'load' | 'unload' | 'remove'>;
  /** Where files are kept that models are loaded from in place of their own. */
  readonly folder: string;
  readonly log: Logger;
}

/** What a model was before a request changed it. */
interface Changed {
  /** As it is configured, or was found; undefined for a model that is there because of its files alone. */
  readonly source: ModelSource | undefined;
  /** The folder of the files it is loaded from. */
  readonly files: string | undefined;
  /** The policy that the request left. */
  readonly policy: VersionPolicy | undefined;
}

const nothing: VersionPolicy = { kind: 'specific', versions: [] };

/** Models loaded, unloaded and replaced by request, as Triton's model repository extension has it. */
export class OnDemandModels implements ModelControl, AsyncDisposable {
  readonly #options: OnDemandModelsOptions;
  readonly #changed = new Map<string, Changed>();
  /** Changes of one model come one after the other. */
  readonly #last = new Map<string, Promise<unknown>>();

  constructor(options: OnDemandModelsOptions) {
    this.#options = options;
  }

  load(name: string, request: LoadRequest, { signal, by }: ChangeOptions = {}): Promise<void> {
    return this.#inTurn(name, async () => {
      signal?.throwIfAborted();
      const { models } = this.#options;
      const source = await this.#sourceOf(name);
      const policy = request.config && policyOf(this.#parseConfig(name, request.config));
      if (request.files.size === 0) {
        if (!source) throw notPolled(name);
        await models.load({ ...source, ...(policy && { policy }) }, { signal, by });
        await this.#replace(name, policy && { source, files: undefined, policy });
        return;
      }
      if (request.config === undefined) {
        throw new NearfarError('invalid-argument', `failed to load '${name}': files are given, and 'config' is not`, { details: { name } });
      }
      const current = models.source(name);
      const files = await this.#write(name, request.files);
      try {
        await models.load({ name, platform: source?.platform, options: source?.options, policy, basePath: files }, { signal, by });
      } catch (error) {
        // The old files are served on, as they were all the time.
        if (!current) await models.remove(name, { by });
        else if (JSON.stringify(current.policy) === JSON.stringify(nothing)) await models.unload(current, { by });
        else await models.load(current, { by }).catch(() => {});
        await rm(files, { recursive: true, force: true });
        throw error;
      }
      await this.#replace(name, { source, files, policy });
    });
  }

  unload(name: string, { by }: Pick<ChangeOptions, 'by'> = {}): Promise<void> {
    return this.#inTurn(name, async () => {
      const { models } = this.#options;
      const source = await this.#sourceOf(name);
      if (!models.source(name)) throw new NearfarError('not-found', `failed to unload '${name}', no such model`, { details: { name } });
      if (source) await models.unload(source, { by });
      else await models.remove(name, { by });
      await this.#replace(name, source && { source, files: undefined, policy: nothing });
    });
  }

  /** What is configured for a model, whatever requests have made of it; undefined where only they have made it. */
  async #sourceOf(name: string): Promise<ModelSource | undefined> {
    const changed = this.#changed.get(name);
    const current = this.#options.models.source(name);
    if (!changed) return current;
    const isAsLeft =
      current?.basePath === (changed.files ?? changed.source?.basePath) &&
      JSON.stringify(current?.policy) === JSON.stringify(changed.policy);
    if (isAsLeft) return changed.source;
    // Configured anew by other means meanwhile: what it was before is past.
    await this.#replace(name, undefined);
    return current;
  }

  #parseConfig(name: string, config: NonNullable<LoadRequest['config']>): ModelConfig {
    let parsed: ModelConfig;
    try {
      parsed = fromJson(ModelConfigSchema, config as JsonValue); // it was read from JSON
    } catch (cause) {
      throw new NearfarError('unsupported', `failed to load '${name}': ${cause instanceof Error ? cause.message : cause}`, { cause });
    }
    if (parsed.name !== '' && parsed.name !== name) {
      throw new NearfarError('invalid-argument', `failed to load '${name}': its config is of '${parsed.name}'`);
    }
    const unused = Object.keys(config).filter((field) => !['name', 'version_policy', 'versionPolicy'].includes(field));
    if (unused.length > 0)
      this.#options.log.warn({ model: name, unused }, 'of a config that a model is loaded with only version_policy counts');
    return parsed;
  }

  /** Notes what a model is changed to, and removes the files that it is served from no more. */
  async #replace(name: string, changed: Changed | undefined): Promise<void> {
    const files = this.#changed.get(name)?.files;
    if (changed) this.#changed.set(name, changed);
    else this.#changed.delete(name);
    if (files !== undefined) await rm(files, { recursive: true, force: true });
  }

  /** Removes the files that requests brought. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#changed.keys()].map((name) => this.#replace(name, undefined)));
  }

  async #write(name: string, files: LoadRequest['files']): Promise<string> {
    for (const path of files.keys()) assertVersionPath(name, path);
    const folder = join(this.#options.folder, randomUUID());
    for (const [path, bytes] of files) {
      const file = join(folder, path);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, bytes);
    }
    return folder;
  }

  #inTurn(name: string, change: () => Promise<void>): Promise<void> {
    const turn = (this.#last.get(name) ?? Promise.resolve()).then(change);
    const settled = turn
      .catch(() => {})
      .finally(() => {
        if (this.#last.get(name) === settled) this.#last.delete(name);
      });
    this.#last.set(name, settled);
    return turn;
  }
}

/** Triton's words, which its clients look for. */
function notPolled(name: string): NearfarError {
  return new NearfarError('not-found', `failed to load '${name}', failed to poll from model repository`, { details: { name } });
}

/** A version directory and a path in it: nothing may be written elsewhere. */
function assertVersionPath(name: string, path: string): void {
  const [version = '', ...parts] = path.split('/');
  const isName = (part: string) => part !== '' && part !== '.' && part !== '..' && !part.includes('\\') && !part.includes('\0');
  if (/^[1-9]\d*$/.test(version) && parts.length > 0 && parts.every(isName)) return;
  throw new NearfarError('invalid-argument', `failed to load '${name}': the parameter 'file:${path}' expects file:<version>/<name>`, {
    details: { name, path },
  });
}

function policyOf(config: ModelConfig | undefined): VersionPolicy | undefined {
  const policy = config?.versionPolicy?.policyChoice;
  switch (policy?.case) {
    case 'latest':
      return { kind: 'latest', count: policy.value.numVersions || 1 };
    case 'all':
      return { kind: 'all' };
    case 'specific':
      return { kind: 'specific', versions: policy.value.versions.map(String) };
    default:
      return undefined;
  }
}

import { NearfarError } from '../core/index.ts';
import type { LoadRequest, ModelControl } from './model-control.ts';
import type { ModelSource } from './repository/index.ts';
import type { ChangeOptions, ModelAdmin } from './served-models.ts';

/** Loads and unloads whole models: one that is unloaded keeps its name and its folder, and a policy of no version. */
export class UnloadedModels implements ModelControl {
  readonly #admin: ModelAdmin;
  /** What was configured for a model before it was unloaded. */
  readonly #before = new Map<string, ModelSource>();

  constructor(admin: ModelAdmin) {
    this.#admin = admin;
  }

  async load(name: string, { config, files }: LoadRequest, options: ChangeOptions = {}): Promise<void> {
    if (files.size > 0 || config !== undefined) {
      throw new NearfarError('unsupported', 'models are loaded as their folders have them; PUT /nearfar/v1/models/{name} configures them', {
        details: { name },
      });
    }
    const source = this.#sourceOf(name);
    const before = this.#before.get(name);
    // Configured anew meanwhile, it is no longer the one that was unloaded.
    const isUnloaded = before !== undefined && isEmpty(source) && source.basePath === before.basePath;
    this.#before.delete(name);
    await this.#admin.put(isUnloaded ? before : { ...source, policy: isEmpty(source) ? undefined : source.policy }, options);
    await this.#admin.settle(name, options);
  }

  async unload(name: string): Promise<void> {
    const source = this.#sourceOf(name);
    if (isEmpty(source)) return;
    this.#before.set(name, source);
    await this.#admin.put({ ...source, policy: { kind: 'specific', versions: [] } });
  }

  #sourceOf(name: string): ModelSource {
    const source = this.#admin.source(name);
    if (source) return source;
    throw new NearfarError('not-found', `failed to find model '${name}' in the repository`, { details: { name } });
  }
}

function isEmpty({ policy }: ModelSource): boolean {
  return policy?.kind === 'specific' && policy.versions.length === 0;
}

import { NearfarError, type WorkerEvent } from '../../core/index.ts';
import type { LoadedModel } from './open-model.ts';

/** A loaded model in use: it is not unloaded before this is disposed. */
export interface ModelLoan extends Disposable {
  readonly model: LoadedModel;
}

/** Opens a model again on the same backend; what happens meanwhile is told. */
export type LoadAgain = (tell: (event: WorkerEvent) => void) => Promise<LoadedModel>;

/** A version on one backend, shared by its handles: loaded, or unloaded to make room until it is called again. */
export class Resident {
  /** Hear of the loss of the model's device, and that it was unloaded. */
  readonly listeners: Set<(event: WorkerEvent) => void> = new Set();
  readonly #load: LoadAgain;
  #model: LoadedModel | undefined;
  #stopListening: () => void = () => undefined;
  #loading: Promise<LoadedModel> | undefined;
  #unloading: Promise<void> = Promise.resolve();
  #users = 0;
  #isClosed = false;
  /** Grows with each use of any resident. */
  lastUse = 0;

  constructor(load: LoadAgain) {
    this.#load = load;
  }

  /** The model, while it is loaded. */
  get model(): LoadedModel | undefined {
    return this.#model;
  }

  get isIdle(): boolean {
    return this.#users === 0;
  }

  /** Takes a model that was loaded, unless there is one. */
  take(model: LoadedModel): void {
    if (this.#model) return;
    this.#model = model;
    const { backend } = model;
    this.#stopListening = model.lease.onLost((message) => this.tell({ type: 'device-lost', backend, message }));
  }

  tell(event: WorkerEvent): void {
    for (const listener of this.listeners) listener(event);
  }

  /**
   * Lends the model, loaded again where it has to be; calls that wait for that get it in the order they came.
   * @throws {NearfarError} what opening it throws; `failed-precondition` once it is closed.
   */
  async lend(): Promise<ModelLoan> {
    this.#users += 1;
    let isReturned = false;
    const giveBack = () => {
      if (!isReturned) this.#users -= 1;
      isReturned = true;
    };
    try {
      const model = this.#model ?? (await this.#reload());
      return { model, [Symbol.dispose]: giveBack };
    } catch (error) {
      giveBack();
      throw error;
    }
  }

  /** Gives the model's memory back; the next call loads it again. */
  unload(): Promise<void> {
    const model = this.#model;
    this.#model = undefined;
    this.#stopListening();
    if (model) this.#unloading = disposeModel(model);
    return this.#unloading;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#loading?.catch(() => undefined);
    await this.unload();
  }

  #reload(): Promise<LoadedModel> {
    if (this.#isClosed) throw new NearfarError('failed-precondition', 'the model is closed');
    this.#loading ??= this.#reloadOnce().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #reloadOnce(): Promise<LoadedModel> {
    await this.#unloading;
    const model = await this.#load((event) => this.tell(event));
    this.take(model);
    return model;
  }
}

/** What a lost device held is gone already, so that giving it back may fail. */
async function disposeModel(model: LoadedModel): Promise<void> {
  try {
    await model[Symbol.asyncDispose]();
  } catch (error) {
    if (!model.lease.isLost()) throw error;
  }
}

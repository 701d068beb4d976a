import { type BackendId, type Client, createClient, type EventDetails, type Mode, type Model } from 'nearfar';
import { startWorker } from './trusted-urls.ts';

/** What the visitor chose. */
export interface Choice {
  readonly name: string;
  readonly version: string;
  readonly mode: Mode;
  /** `auto` for the default order. */
  readonly backend: BackendId | 'auto';
  readonly allowSoftwareAdapter: boolean;
}

/** What the page wants to hear while a model is opened and used. */
export interface Listeners {
  readonly onEvent: <K extends keyof EventDetails>(type: K, detail: EventDetails[K]) => void;
  readonly onDownload: (loadedBytes: number, totalBytes: number) => void;
}

const shownEvents = ['phase', 'fallback', 'retry', 'switch', 'integrity', 'device-lost', 'eviction', 'quota'] as const;

/** The page's one client and one open model; opening another choice closes the one before. */
export class Session {
  #client: Client | undefined;
  #model: Promise<Model> | undefined;
  #opening = new AbortController();
  #isSoftwareAllowed = false;
  #isServerCut = false;
  readonly #listeners: Listeners;

  constructor(listeners: Listeners) {
    this.#listeners = listeners;
  }

  get client(): Client {
    this.#client ??= createClient({ models: '/models', server: '/', allowSoftwareAdapter: this.#isSoftwareAllowed, worker: startWorker });
    return this.#client;
  }

  /** The open model; rejects when opening it failed. */
  get model(): Promise<Model> {
    return this.#model ?? Promise.reject(new DOMException('no model is open', 'InvalidStateError'));
  }

  /** Cuts the server for the open model and for every one opened later, or connects it again. */
  async cutServer(isCut: boolean): Promise<void> {
    this.#isServerCut = isCut;
    (await this.model).faults.cutServer(isCut);
  }

  /** Ends an opening that is still under way: that one rejects with an AbortError. */
  open(choice: Choice): Promise<Model> {
    const previous = this.#model;
    this.#opening.abort();
    this.#opening = new AbortController();
    this.#model = this.#reopen(previous, choice, this.#opening.signal);
    return this.#model;
  }

  /** Opens a second model beside the shown one, such as the other leg of a comparison. */
  async openBeside(choice: Choice): Promise<Model> {
    return this.#broken(await this.client.open(choice.name, openOptions(choice)));
  }

  #broken(model: Model): Model {
    model.faults.cutServer(this.#isServerCut);
    return model;
  }

  async #reopen(previous: Promise<Model> | undefined, choice: Choice, signal: AbortSignal): Promise<Model> {
    await previous?.then((model) => model.close()).catch(() => undefined);
    if (choice.allowSoftwareAdapter !== this.#isSoftwareAllowed) {
      await this.#client?.close();
      this.#client = undefined;
      this.#isSoftwareAllowed = choice.allowSoftwareAdapter;
    }
    signal.throwIfAborted();
    const model = await this.client.open(choice.name, {
      ...openOptions(choice),
      signal,
      monitor: (monitor) => {
        monitor.addEventListener('downloadprogress', ({ loadedBytes, totalBytes }) => this.#listeners.onDownload(loadedBytes, totalBytes));
        for (const type of shownEvents) monitor.addEventListener(type, ({ detail }) => this.#listeners.onEvent(type, detail));
      },
    });
    return this.#broken(model);
  }
}

function openOptions({ version, mode, backend }: Choice) {
  return { version, mode, ...(backend === 'auto' ? {} : { backends: [backend] }) };
}

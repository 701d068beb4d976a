import { readFile } from 'node:fs/promises';
import type { Logger } from './log.ts';
import { readModelConfigFile } from './model-config.ts';
import type { ModelAdmin } from './served-models.ts';

export interface ModelConfigFileOptions {
  readonly file: string;
  /** Pause between two looks, in milliseconds; 0 looks only when asked to. */
  readonly pollIntervalMs: number;
  readonly admin: Pick<ModelAdmin, 'replaceAll'>;
  readonly log: Logger;
}

/** The model config file, taken over again when its text changes. A file that is wrong changes nothing. */
export class ModelConfigFile implements Disposable {
  readonly #options: ModelConfigFileOptions;
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  /** The text that was taken over, or refused, last. */
  #text: string | undefined;
  #trouble = '';

  constructor(options: ModelConfigFileOptions) {
    this.#options = options;
  }

  /** Remembers what the server has started with and looks again from here on. */
  async open(): Promise<void> {
    this.#text = await this.#read();
    this.#schedule();
  }

  /** Takes the file over, changed or not: it supersedes what was changed by calls. What goes wrong is logged. */
  async reload(): Promise<void> {
    const { file, admin, log } = this.#options;
    this.#text = await this.#read();
    try {
      await admin.replaceAll(readModelConfigFile(file), {
        signal: this.#closing.signal,
        by: { who: file, way: 'config-file' },
      });
      this.#trouble = '';
      log.info({ file }, 'the model config file was taken over');
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#report(error);
    }
  }

  #schedule(): void {
    const { pollIntervalMs } = this.#options;
    if (pollIntervalMs <= 0 || this.#closing.signal.aborted) return;
    this.#timer = setTimeout(() => {
      void this.#look().finally(() => this.#schedule());
    }, pollIntervalMs);
  }

  async #look(): Promise<void> {
    const text = await this.#read();
    // Not awaited: a model that takes long to load must not hold up what the file says next.
    if (text !== undefined && text !== this.#text) void this.reload();
  }

  async #read(): Promise<string | undefined> {
    try {
      return await readFile(this.#options.file, 'utf8');
    } catch (error) {
      this.#report(error);
      return undefined;
    }
  }

  #report(error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    if (reason !== this.#trouble) this.#options.log.error({ file: this.#options.file }, `the model config file: ${reason}`);
    this.#trouble = reason;
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
    clearTimeout(this.#timer);
  }
}

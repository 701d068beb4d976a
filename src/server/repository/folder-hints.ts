import { type FSWatcher, watch } from 'node:fs';

/** A copy makes many changes: this long after the first of them, in milliseconds. */
const delayMs = 50;

/**
 * Says soon that something changed in a folder, where the file system tells. Nothing depends on it: network drives and some containers
 * never tell, and a folder may have been moved away under the watch, so whoever asks still looks by itself now and then.
 */
export class FolderHints implements Disposable {
  readonly #watches = new Map<string, { readonly watcher: FSWatcher; timer: NodeJS.Timeout | undefined }>();

  /** Asks for one call of `onChange` after changes in the folder, but not below it; asked again for the same folder it changes nothing. */
  watch(folder: string, onChange: () => void): void {
    if (this.#watches.has(folder)) return;
    try {
      const watcher = watch(folder, { persistent: false }, () => {
        const watched = this.#watches.get(folder);
        if (!watched || watched.timer) return;
        watched.timer = setTimeout(() => {
          watched.timer = undefined;
          onChange();
        }, delayMs).unref();
      });
      watcher.on('error', () => this.forget(folder));
      this.#watches.set(folder, { watcher, timer: undefined });
    } catch {
      // No such folder, or no watch left to have: looks go on without.
    }
  }

  forget(folder: string): void {
    const watched = this.#watches.get(folder);
    this.#watches.delete(folder);
    clearTimeout(watched?.timer);
    watched?.watcher.close();
  }

  [Symbol.dispose](): void {
    for (const folder of this.#watches.keys()) this.forget(folder);
  }
}

import { useEffect, useRef, useState } from 'react';
import type { Client, Model, OpenOptions, Phase } from '../sdk/index.ts';

/** How far the opening on this device has come. */
export interface ModelProgress {
  readonly phase: Phase | undefined;
  /** Share of the bytes that are here, 0 to 1. */
  readonly loaded: number;
  readonly loadedBytes: number;
  readonly totalBytes: number;
}

export interface UseModelResult {
  /** Undefined until a leg can answer, and after an error. */
  readonly model: Model | undefined;
  /** Goes on after `model` is there while the device still opens behind the server. */
  readonly progress: ModelProgress;
  readonly error: unknown;
}

/** What `open` takes, but for the signal: the hook ends the opening by itself. */
export type UseModelOptions = Omit<OpenOptions, 'signal'>;

const noProgress: ModelProgress = { phase: undefined, loaded: 0, loadedBytes: 0, totalBytes: 0 };
const nothing: UseModelResult = { model: undefined, progress: noProgress, error: undefined };

/**
 * Opens a model for as long as the component is mounted, and another one when client, name, mode, version, label or
 * backends change. Mounted twice (StrictMode) it closes what the first mount opened.
 * @param client From `createClient`, made outside of the component or kept in state; undefined opens nothing.
 */
export function useModel(client: Client | undefined, name: string, options: UseModelOptions = {}): UseModelResult {
  const [state, setState] = useState<UseModelResult & { readonly key: unknown }>({ ...nothing, key: undefined });
  const { mode, version, label, backends } = options;
  // An inline function or list is a new one at each render and still means the same.
  const monitor = useRef(options.monitor);
  useEffect(() => {
    monitor.current = options.monitor;
  });
  const order = backends?.join();

  // biome-ignore lint/correctness/useExhaustiveDependencies: `order` stands for the contents of `backends`
  useEffect(() => {
    const key = {};
    setState({ ...nothing, key });
    if (!client) return;
    const update = (change: Partial<UseModelResult>) => setState((now) => (now.key === key ? { ...now, ...change } : now));
    const progress = (change: Partial<ModelProgress>) =>
      setState((now) => (now.key === key ? { ...now, progress: { ...now.progress, ...change } } : now));
    const unmount = new AbortController();
    const opening = client.open(name, {
      mode,
      version,
      label,
      backends,
      signal: unmount.signal,
      monitor(target) {
        target.addEventListener('downloadprogress', ({ loaded, loadedBytes, totalBytes }) => progress({ loaded, loadedBytes, totalBytes }));
        target.addEventListener('phase', ({ detail }) => progress({ phase: detail.phase }));
        monitor.current?.(target);
      },
    });
    opening.then(
      (model) => update({ model }),
      (error: unknown) => {
        if (!unmount.signal.aborted) update({ error });
      },
    );
    return () => {
      setState((now) => (now.key === key ? { ...nothing, key: undefined } : now));
      unmount.abort();
      opening.then(
        (model) => model.close(),
        () => {},
      );
    };
  }, [client, name, mode, version, label, order]);

  const { model, progress, error } = state;
  return { model, progress, error };
}

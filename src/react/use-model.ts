import { useEffect, useMemo, useRef, useState } from 'react';
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

  // What is opened, by identity: the state of another one is not handed out, not even until the effect has run.
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new key for each of these
  const key = useMemo(() => ({}), [client, name, mode, version, label, order]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: `key` stands for all that is opened
  useEffect(() => {
    setState({ ...nothing, key });
    if (!client) return;
    const unmount = new AbortController();
    const change = (next: (now: UseModelResult) => Partial<UseModelResult>) => {
      if (!unmount.signal.aborted) setState((now) => ({ ...now, ...next(now) }));
    };
    const progress = (next: Partial<ModelProgress>) => change((now) => ({ progress: { ...now.progress, ...next } }));
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
      (model) => change(() => ({ model })),
      (error: unknown) => change(() => ({ error })),
    );
    return () => {
      setState({ ...nothing, key: undefined });
      unmount.abort();
      opening.then(
        (model) => model.close(),
        () => {},
      );
    };
  }, [key]);

  const { model, progress, error } = state.key === key ? state : nothing;
  return { model, progress, error };
}

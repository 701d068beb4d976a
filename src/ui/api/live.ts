import { type ReadonlySignal, signal } from '@preact/signals';
import type { NearfarError } from '../../core/index.ts';
import { askJson, toNearfarError } from './ask.ts';
import type { ModelSummary } from './shapes.ts';

/** Whether what the page shows is what the server says now. */
export type Connection =
  | { readonly state: 'connecting' }
  | { readonly state: 'live' }
  | { readonly state: 'lost'; readonly since: Date; readonly error: NearfarError };

/** What the server tells by itself. */
export interface Live extends Disposable {
  /** Undefined until the server has said it. */
  readonly models: ReadonlySignal<readonly ModelSummary[] | undefined>;
  readonly connection: ReadonlySignal<Connection>;
}

const pollMs = 2_000;

/** Follows the server until it is disposed. */
export function followServer(): Live {
  const models = signal<readonly ModelSummary[] | undefined>(undefined);
  const connection = signal<Connection>({ state: 'connecting' });
  const ending = new AbortController();
  const lose = (cause: unknown) => {
    const { value } = connection;
    connection.value = { state: 'lost', since: value.state === 'lost' ? value.since : new Date(), error: toNearfarError(cause) };
  };
  const look = async () => {
    try {
      const { models: found } = await askJson<{ models: ModelSummary[] }>('/nearfar/v1/models', { signal: ending.signal });
      models.value = found;
      connection.value = { state: 'live' };
    } catch (error) {
      if (!ending.signal.aborted) lose(error);
    }
  };
  void look();
  const timer = setInterval(() => void look(), pollMs);
  return {
    models,
    connection,
    [Symbol.dispose]() {
      clearInterval(timer);
      ending.abort();
    },
  };
}

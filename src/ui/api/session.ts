import { type ReadonlySignal, signal } from '@preact/signals';
import { askJson, sendToken } from './ask.ts';
import type { Session } from './shapes.ts';

const path = '/nearfar/v1/session';

/** Who is logged in. */
export interface Login {
  /** Undefined until the server has said it. */
  readonly session: ReadonlySignal<Session | undefined>;
  /** Whether the server asked for a login, and nobody is logged in. */
  readonly isNeeded: () => boolean;
  /** Asks again who it is. */
  read(): Promise<void>;
  /** @throws {NearfarError} `unauthenticated`. */
  signIn(key: string): Promise<void>;
  signOut(): Promise<void>;
}

export function openLogin(): Login {
  const session = signal<Session | undefined>(undefined);
  const read = async () => {
    const found = await askJson<Session>(path);
    sendToken(found.csrf);
    session.value = found;
  };
  return {
    session,
    isNeeded: () => session.value?.authentication === true && session.value.name === undefined,
    read,
    async signIn(key) {
      await askJson(path, { json: { key } });
      // All that was refused is asked for again.
      location.reload();
    },
    async signOut() {
      await askJson(path, { method: 'DELETE' });
      location.reload();
    },
  };
}

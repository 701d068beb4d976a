import { NearfarError, type Pin, type ServerTarget } from '../core/index.ts';
import type { EventHub } from './events.ts';

// A module of its own, loaded when a server has another version.

export function reportOtherVersion({ message, details }: NearfarError, want: Pin, hub: EventHub): void {
  hub.emit('version', { ...otherPin(details['got'], want), reason: message });
}

/** The error for an answer that came from another version than the pinned one. */
export function otherAnswer({ name, pin: want }: ServerTarget, got: Pin): NearfarError {
  const reason = `the server answered with version ${got.version} (${got.digest}); the answer was dropped`;
  return new NearfarError('version-mismatch', `${name} is pinned to version ${want.version} (${want.digest}), ${reason}`, {
    details: { name, want, got },
  });
}

/** What a server has instead, as far as it says: its own refusal names a digest alone, other answers version and digest, or nothing. */
function otherPin(got: unknown, want: Pin): Pin {
  if (typeof got === 'string') return { version: want.version, digest: got };
  const { version, digest }: { version?: unknown; digest?: unknown } = typeof got === 'object' && got !== null ? got : {};
  return { version: String(version ?? 'unknown'), digest: String(digest ?? 'unknown') };
}

import type { VersionSummary } from '../api/index.ts';

const words = {
  UNKNOWN: ['unknown', 'idle'],
  START: ['waiting', 'busy'],
  LOADING: ['loading', 'busy'],
  AVAILABLE: ['available', 'good'],
  UNLOADING: ['unloading', 'busy'],
  END: ['not loaded', 'idle'],
} as const;

/** The state of a version as a word and a colour. */
export function State({ version: { state, error } }: { readonly version: Pick<VersionSummary, 'state' | 'error'> }) {
  // One that is tried again and again is said to fail, however it stands just now.
  const [word, kind] = error !== undefined && state !== 'AVAILABLE' ? (['failed', 'bad'] as const) : words[state];
  return (
    <span class="state" data-kind={kind}>
      {word}
    </span>
  );
}

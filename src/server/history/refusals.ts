import type { Actor, Change, History } from './entry.ts';

/** Entries of refused calls in a minute; strangers could fill the disk with them. */
const mostPerMinute = 20;

/** Writes down calls that were not taken: who they are from, what they asked for, why not. */
export interface Refusals {
  record(refusal: Actor & { readonly call: string; readonly model?: string | undefined; readonly message: string }): void;
}

/** Of a flood the first ones of each minute are written; the next entry says how many were not. */
export function recordingRefusals(history: Pick<History, 'record'>, now: () => number = Date.now): Refusals {
  let minute = 0;
  let written = 0;
  let passedOver = 0;
  return {
    record: ({ who, way, call, model = '', message }) => {
      const current = Math.floor(now() / 60_000);
      if (current !== minute) [minute, written] = [current, 0];
      if (written >= mostPerMinute) {
        passedOver++;
        return;
      }
      written++;
      const more = passedOver > 0 ? { passedOver } : {};
      passedOver = 0;
      const change: Change = {
        who,
        way,
        action: 'refuse',
        model,
        to: { call: clipped(call), ...more },
        outcome: 'failed',
        message: clipped(message),
      };
      void history.record(change);
    },
  };
}

/** Paths and messages repeat what strangers wrote. */
function clipped(text: string): string {
  return text.length > 500 ? `${text.slice(0, 500)}…` : text;
}

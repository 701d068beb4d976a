import type { ChangeWay, History } from '../history/index.ts';

/** Refused calls that are written down at once, and after how long one more, in milliseconds. */
const burst = 50;
const refillMs = 60_000;

const longestText = 200;

export interface RefusedCall {
  readonly who: string;
  readonly way: ChangeWay;
  readonly model: string;
  /** What was asked, and why it was refused. */
  readonly message: string;
}

/** Writes refused changes into the history, where a flood of them cannot fill the disk: what is left out is counted in the next entry. */
export class Audit {
  readonly #history: Pick<History, 'record'>;
  readonly #now: () => number;
  #left = burst;
  #filledAt: number;
  #omitted = 0;

  constructor(history: Pick<History, 'record'>, now: () => number = () => performance.now()) {
    this.#history = history;
    this.#now = now;
    this.#filledAt = now();
  }

  refused({ who, way, model, message }: RefusedCall): void {
    const now = this.#now();
    this.#left = Math.min(burst, this.#left + (now - this.#filledAt) / refillMs);
    this.#filledAt = now;
    if (this.#left < 1) {
      this.#omitted++;
      return;
    }
    this.#left--;
    const omitted = this.#omitted > 0 ? ` (and ${this.#omitted} refused before it)` : '';
    this.#omitted = 0;
    this.#history.record({
      who: who.slice(0, longestText),
      way,
      action: 'refuse',
      model: model.slice(0, longestText),
      outcome: 'failed',
      message: message.slice(0, longestText) + omitted,
    });
  }
}

import type { SerializedError } from '../core/index.ts';

// What a CallThread and its worker say to each other.

export type ToCallWorker<Request> =
  | { readonly type: 'call'; readonly callId: number; readonly request: Request }
  /** Nobody waits for this one any more. */
  | { readonly type: 'cancel'; readonly callId: number };

export type FromCallWorker<Answer> =
  | { readonly type: 'answer'; readonly callId: number; readonly answer: Answer }
  | { readonly type: 'failure'; readonly callId: number; readonly error: SerializedError };

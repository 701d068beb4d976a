import type { ImageInput, RgbImage, SerializedError } from '../../core/index.ts';

// What the server's main thread and the image worker say to each other.

export type ToImageWorker =
  | { readonly type: 'prepare'; readonly callId: number; readonly bytes: Uint8Array; readonly input: ImageInput }
  /** Nobody waits for this one any more. */
  | { readonly type: 'cancel'; readonly callId: number };

export type FromImageWorker =
  | { readonly type: 'image'; readonly callId: number; readonly image: RgbImage }
  | { readonly type: 'failure'; readonly callId: number; readonly error: SerializedError };

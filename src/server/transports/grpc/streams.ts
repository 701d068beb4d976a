import { status } from '@grpc/grpc-js';

interface Stream {
  on(event: 'cancelled' | 'error' | 'finish', listener: () => void): unknown;
  emit(event: 'error', error: object): unknown;
}

/** Streams that last until their client, or the server, ends them: a graceful close would wait for them for ever. */
export class OpenStreams {
  readonly #streams = new Map<Stream, () => void>();

  /**
   * @param onEnd Called once, when the stream has ended either way.
   * @param close Ends the stream for the server; at once where it is not given.
   */
  add(stream: Stream, onEnd: () => void, close: () => void = () => endStream(stream)): void {
    this.#streams.set(stream, close);
    for (const event of ['cancelled', 'error', 'finish'] as const) {
      stream.on(event, () => {
        if (this.#streams.delete(stream)) onEnd();
      });
    }
  }

  endAll(): void {
    for (const close of [...this.#streams.values()]) close();
  }
}

export function endStream(stream: Stream): void {
  stream.emit('error', { code: status.UNAVAILABLE, details: 'the server is shutting down' });
}

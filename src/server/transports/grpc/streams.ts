import { status } from '@grpc/grpc-js';

interface Stream {
  on(event: 'cancelled' | 'error' | 'finish', listener: () => void): unknown;
  emit(event: 'error', error: object): unknown;
}

/** Streams that last until their client, or the server, ends them: a graceful close would wait for them for ever. */
export class OpenStreams {
  readonly #streams = new Set<Stream>();

  /** @param onEnd Called once, when the stream has ended either way. */
  add(stream: Stream, onEnd: () => void): void {
    this.#streams.add(stream);
    for (const event of ['cancelled', 'error', 'finish'] as const) {
      stream.on(event, () => {
        if (this.#streams.delete(stream)) onEnd();
      });
    }
  }

  endAll(): void {
    for (const stream of [...this.#streams]) stream.emit('error', { code: status.UNAVAILABLE, details: 'the server is shutting down' });
  }
}

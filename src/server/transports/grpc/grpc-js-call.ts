import { Metadata, type Server, type ServerUnaryCall } from '@grpc/grpc-js';
import { clientOfAddress } from '../../admission.ts';
import { CallSignal } from '../call.ts';
import { identityOf } from './guard.ts';
import { type AnswerUnary, toBuffer, type UnaryAnswer, type UnaryCall } from './unary.ts';

/** Has grpc-js read the calls of one method and send the answers. */
export function registerUnary(server: Server, path: string, answer: AnswerUnary): void {
  server.register<Buffer, Uint8Array>(
    path,
    (call: ServerUnaryCall<Buffer, Uint8Array>, callback: (error: object | null, message?: Uint8Array, trailer?: Metadata) => void) => {
      // Aborts by the client's deadline or its cancelling, whichever comes first.
      const ending = new CallSignal(deadlineMsOf(call));
      const trailer = new Metadata();
      let isAnswered = false;
      const send = (answered: UnaryAnswer) => {
        isAnswered = true;
        ending[Symbol.dispose]();
        if ('message' in answered) callback(null, answered.message, trailer);
        else callback({ ...answered, metadata: trailer });
      };
      const answering = answer(call.request, factsOf(call, ending, trailer));
      if (!(answering instanceof Promise)) return send(answering);
      // Every call is told to be cancelled when it ends; an error for each, with its stack, cost 5 % of a small model's time.
      call.on('cancelled', () => {
        if (!isAnswered) ending.cancel();
      });
      void answering.then(send);
    },
    toBuffer,
    (bytes) => bytes,
    'unary',
  );
}

/** What a handler knows of a call; one request of a stream has a signal and a trailer of its own. */
export function factsOf(
  call: { readonly metadata: Metadata; getPeer(): string },
  ending: CallSignal,
  trailer: Metadata = new Metadata(),
): UnaryCall {
  const header = (name: string) => call.metadata.get(name)[0]?.toString();
  const peer = call.getPeer();
  const identity = identityOf(call.metadata);
  return {
    get signal() {
      return ending.signal;
    },
    peer,
    ending,
    wantedDigest: header('nearfar-model-digest'),
    client: identity?.name ?? clientOfPeer(peer),
    identity,
    trailer,
    header,
  };
}

let lastPeer = { peer: '', client: '' };

/** The peer is an address with its port: one connection mostly sends many requests. */
export function clientOfPeer(peer: string): string {
  if (lastPeer.peer !== peer) lastPeer = { peer, client: clientOfAddress(peer.replace(/:\d+$/, '')) };
  return lastPeer.client;
}

/** Milliseconds until the client's deadline; undefined where it has none. */
export function deadlineMsOf(call: { getDeadline(): Date | number }): number | undefined {
  const deadlineMs = Number(call.getDeadline()) - Date.now();
  return Number.isFinite(deadlineMs) ? deadlineMs : undefined;
}

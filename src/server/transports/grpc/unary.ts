import { type DescMessage, type DescMethodUnary, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { Metadata, type Server, type ServerUnaryCall } from '@grpc/grpc-js';
import { assertListsFit, NearfarError } from '../../../core/index.ts';
import { clientOfAddress } from '../../admission.ts';
import { releaseBuffer } from '../../release-buffer.ts';
import type { Timing } from '../../request-record.ts';
import type { ServableSpec } from '../../servables/index.ts';
import { type Answered as AnsweredCall, type AnsweringVersion, answerCall, CallSignal, type Codec, type DecodedCall } from '../call.ts';
import type { GrpcContext, TransportLog } from '../context.ts';
import { toServiceError } from './errors.ts';

const leastReleasedBytes = 64 * 2 ** 10;

/** What a handler knows of its call beside the message. */
export interface UnaryCall {
  readonly signal: AbortSignal;
  /** Address of the client. */
  readonly peer: string;
  readonly ending: CallSignal;
  /** The digest the client is pinned to, by the metadata key `nearfar-model-digest`. */
  readonly wantedDigest: string | undefined;
  /** Who asks, as `clientOfAddress` names it. */
  readonly client: string;
  /** Sent behind the answer, or the error. */
  readonly trailer: Metadata;
  /** A value of the client's metadata. */
  readonly header: (name: string) => string | undefined;
}

/** How a message of requests is read. */
export interface MessageReading<M> {
  /** Reads the usual form faster; undefined where it is another. */
  readonly read?: (bytes: Uint8Array) => M | undefined;
  /** Moves what may be large out of the message, whose memory is then released. */
  readonly takeOver?: (message: M) => void;
}

/** How the errors of one method differ from those of the others. */
export interface MethodErrors {
  /** The gRPC status of an error that has another one here than elsewhere. */
  readonly statusOf?: (error: NearfarError) => number | undefined;
}

/** Registers one method; it answers with a message or its bytes, and what the handler throws becomes a gRPC status. */
export function addUnary<I extends DescMessage, O extends DescMessage>(
  server: Server,
  method: DescMethodUnary<I, O>,
  log: TransportLog,
  handle: (message: MessageShape<I>, call: UnaryCall) => Answered<O> | Promise<Answered<O>>,
  { statusOf, ...reading }: MessageReading<MessageShape<I>> & MethodErrors = {},
): void {
  server.register<MessageShape<I>, Answered<O>>(
    `/${method.parent.typeName}/${method.name}`,
    (
      call: ServerUnaryCall<MessageShape<I>, Answered<O>>,
      callback: (error: object | null, value?: Answered<O>, trailer?: Metadata) => void,
    ) => {
      // Aborts by the client's deadline or its cancelling, whichever comes first.
      const ending = new CallSignal(deadlineMsOf(call));
      const facts = factsOf(call, ending);
      const succeed = (answer: Answered<O>) => callback(null, answer, facts.trailer);
      const fail = (error: unknown) => {
        const answered = toServiceError(error, facts.trailer, log);
        const code = (error instanceof NearfarError && statusOf?.(error)) || answered.code;
        callback({ ...answered, code });
      };
      let answering: Answered<O> | Promise<Answered<O>>;
      try {
        answering = handle(call.request, facts);
      } catch (error) {
        return fail(error);
      }
      if (!(answering instanceof Promise)) return succeed(answering);
      let isAnswered = false;
      // Every call is told to be cancelled when it ends; an error for each, with its stack, cost 5 % of a small model's time.
      call.on('cancelled', () => {
        if (!isAnswered) ending.cancel();
      });
      const settle = () => {
        isAnswered = true;
        ending[Symbol.dispose]();
      };
      answering.then(
        (answer) => {
          settle();
          succeed(answer);
        },
        (error: unknown) => {
          settle();
          fail(error);
        },
      );
    },
    (answer) => (answer instanceof Uint8Array ? toBuffer(answer) : writeMessage(method.output, answer)),
    (bytes) => readMessage(method.input, bytes, reading),
    'unary',
  );
}

type Answered<O extends DescMessage> = MessageShape<O> | Uint8Array;

/** In shorter messages no list is long enough to be a danger. */
const leastCountedBytes = 2 ** 22;

export function readMessage<M extends DescMessage>(
  schema: M,
  bytes: Buffer,
  { read, takeOver }: MessageReading<MessageShape<M>> = {},
): MessageShape<M> {
  if (bytes.length > leastCountedBytes) assertListsFit(schema, bytes);
  const message = read?.(bytes) ?? fromBinary(schema, bytes);
  if (takeOver && bytes.length >= leastReleasedBytes && bytes.byteOffset + bytes.length === bytes.buffer.byteLength) {
    takeOver(message);
    releaseBuffer(bytes.buffer);
  }
  return message;
}

/** What a handler knows of a call; one request of a stream has a signal and a trailer of its own. */
export function factsOf(call: { readonly metadata: Metadata; getPeer(): string }, ending: CallSignal): UnaryCall {
  const header = (name: string) => call.metadata.get(name)[0]?.toString();
  const peer = call.getPeer();
  return {
    get signal() {
      return ending.signal;
    },
    peer,
    ending,
    wantedDigest: header('nearfar-model-digest'),
    client: clientOfPeer(peer),
    trailer: new Metadata(),
    header,
  };
}

let lastPeer = { peer: '', client: '' };

/** The peer is an address with its port: one connection mostly sends many requests. */
function clientOfPeer(peer: string): string {
  if (lastPeer.peer !== peer) lastPeer = { peer, client: clientOfAddress(peer.replace(/:\d+$/, '')) };
  return lastPeer.client;
}

/** Milliseconds until the client's deadline; undefined where it has none. */
export function deadlineMsOf(call: { getDeadline(): Date | number }): number | undefined {
  const deadlineMs = Number(call.getDeadline()) - Date.now();
  return Number.isFinite(deadlineMs) ? deadlineMs : undefined;
}

export function writeMessage<M extends DescMessage>(schema: M, message: MessageShape<M>): Buffer {
  return toBuffer(toBinary(schema, message));
}

function toBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** Answers one prediction over gRPC; at once where nothing is to be waited for. */
export function answerGrpc<Decoded extends DecodedCall, Answer>(
  context: GrpcContext,
  { ending, wantedDigest, client, trailer, header }: UnaryCall,
  { spec, api }: { readonly spec: ServableSpec; readonly api: string },
  codec: Codec<Decoded, Answer>,
): Answer | Promise<Answer> {
  const { name, version, label } = spec;
  const answering = answerCall(
    context,
    {
      spec: { name, version, label, digest: wantedDigest },
      api,
      entrypoint: 'GRPC',
      client,
      ending,
      onVersion: (answeringVersion) => setVersionTrailer(trailer, answeringVersion),
      header,
    },
    codec,
  );
  const finish = ({ answer, timing }: AnsweredCall<Answer>): Answer => {
    if (timing.cache) trailer.set('nearfar-cache', timing.cache);
    setBatchTrailer(trailer, timing);
    return answer;
  };
  return answering instanceof Promise ? answering.then(finish) : finish(answering);
}

/** What a batched answer tells over HTTP by its headers. */
function setBatchTrailer(trailer: Metadata, { batchSize, queueMs, inferMs }: Timing): void {
  if (batchSize === undefined) return;
  trailer.set('nearfar-batch-size', String(batchSize));
  trailer.set('server-timing', `queue;dur=${queueMs.toFixed(3)}, infer;dur=${inferMs.toFixed(3)}`);
}

/** Names the version behind an answer, by the keys of the HTTP headers. */
export function setVersionTrailer(trailer: Metadata, { version, digest, backend, variant }: AnsweringVersion): void {
  trailer.set('nearfar-model-version', version);
  trailer.set('nearfar-model-digest', digest);
  trailer.set('nearfar-backend', backend);
  trailer.set('nearfar-variant', variant);
}

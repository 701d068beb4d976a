import { type DescMessage, type DescMethodUnary, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { Metadata, type Server, type ServerUnaryCall } from '@grpc/grpc-js';
import { clientOfAddress } from '../../admission.ts';
import { releaseBuffer } from '../../release-buffer.ts';
import type { Timing } from '../../request-record.ts';
import type { ServableSpec } from '../../servables/index.ts';
import { type AnsweringVersion, answerCall, type CallSignal, type Codec, type DecodedCall, openCallSignal } from '../call.ts';
import type { GrpcContext, TransportLog } from '../context.ts';
import { toServiceError } from './errors.ts';

const leastReleasedBytes = 64 * 2 ** 10;

/** What a handler knows of its call beside the message. */
export interface UnaryCall {
  readonly signal: AbortSignal;
  /** Address of the client. */
  readonly peer: string;
  readonly limit: CallSignal['limit'];
  /** The digest the client is pinned to, by the metadata key `nearfar-model-digest`. */
  readonly wantedDigest: string | undefined;
  /** Who asks, as `clientOfAddress` names it. */
  readonly client: string;
  /** Sent behind the answer, or the error. */
  readonly trailer: Metadata;
  /** A value of the client's metadata. */
  readonly header: (name: string) => string | undefined;
}

/** Registers one method; what the handler throws becomes a gRPC status. */
export function addUnary<I extends DescMessage, O extends DescMessage>(
  server: Server,
  method: DescMethodUnary<I, O>,
  log: TransportLog,
  handle: (message: MessageShape<I>, call: UnaryCall) => MessageShape<O> | Promise<MessageShape<O>>,
  options: { readonly takeOver?: (message: MessageShape<I>) => void } = {},
): void {
  server.register<MessageShape<I>, MessageShape<O>>(
    `/${method.parent.typeName}/${method.name}`,
    (
      call: ServerUnaryCall<MessageShape<I>, MessageShape<O>>,
      callback: (error: object | null, value?: MessageShape<O>, trailer?: Metadata) => void,
    ) => {
      void (async () => {
        // Aborts by the client's deadline or its cancelling, whichever comes first.
        using deadline = openCallSignal(deadlineMsOf(call));
        call.on('cancelled', deadline.cancel);
        const facts = factsOf(call, deadline);
        try {
          callback(null, await handle(call.request, facts), facts.trailer);
        } catch (error) {
          callback(toServiceError(error, facts.trailer, log));
        }
      })();
    },
    (message) => writeMessage(method.output, message),
    (bytes) => readMessage(method.input, bytes, options.takeOver),
    'unary',
  );
}

/** @param takeOver Moves what may be large out of the message, whose memory is then released. */
export function readMessage<M extends DescMessage>(
  schema: M,
  bytes: Buffer,
  takeOver?: (message: MessageShape<M>) => void,
): MessageShape<M> {
  const message = fromBinary(schema, bytes);
  if (takeOver && bytes.length >= leastReleasedBytes && bytes.byteOffset + bytes.length === bytes.buffer.byteLength) {
    takeOver(message);
    releaseBuffer(bytes.buffer);
  }
  return message;
}

/** What a handler knows of a call; one request of a stream has a signal and a trailer of its own. */
export function factsOf(call: { readonly metadata: Metadata; getPeer(): string }, { signal, limit }: CallSignal): UnaryCall {
  const header = (name: string) => call.metadata.get(name)[0]?.toString();
  // The peer is an address with its port.
  const client = clientOfAddress(call.getPeer().replace(/:\d+$/, ''));
  return { signal, peer: call.getPeer(), limit, wantedDigest: header('nearfar-model-digest'), client, trailer: new Metadata(), header };
}

/** Milliseconds until the client's deadline; undefined where it has none. */
export function deadlineMsOf(call: { getDeadline(): Date | number }): number | undefined {
  const deadlineMs = Number(call.getDeadline()) - Date.now();
  return Number.isFinite(deadlineMs) ? deadlineMs : undefined;
}

export function writeMessage<M extends DescMessage>(schema: M, message: MessageShape<M>): Buffer {
  const { buffer, byteOffset, byteLength } = toBinary(schema, message);
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** Answers one prediction over gRPC. */
export async function answerGrpc<Decoded extends DecodedCall, Answer>(
  context: GrpcContext,
  { signal, limit, wantedDigest, client, trailer, header }: UnaryCall,
  call: { readonly spec: ServableSpec; readonly api: string },
  codec: Codec<Decoded, Answer>,
): Promise<Answer> {
  const spec = { ...call.spec, digest: wantedDigest };
  const onVersion = (version: AnsweringVersion) => setVersionTrailer(trailer, version);
  const { answer, timing } = await answerCall(
    context,
    { ...call, spec, entrypoint: 'GRPC', client, signal, limit, onVersion, header },
    codec,
  );
  if (timing.cache) trailer.set('nearfar-cache', timing.cache);
  setBatchTrailer(trailer, timing);
  return answer;
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

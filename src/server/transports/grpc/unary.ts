import { type DescMessage, type DescMethodUnary, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { assertListsFit, NearfarError } from '../../../core/index.ts';
import { predictionIdName } from '../../quality/index.ts';
import { releaseBuffer } from '../../release-buffer.ts';
import type { Timing } from '../../request-record.ts';
import { type Access, accessOfMethod, assertMay, type Identity, isChange } from '../../security/index.ts';
import type { ServableSpec } from '../../servables/index.ts';
import { actorOf, assertMayChange, noteRefusal } from '../admin.ts';
import {
  type Answered as AnsweredCall,
  type AnsweringVersion,
  answerCall,
  type CallSignal,
  type Codec,
  type DecodedCall,
  describeFallback,
} from '../call.ts';
import type { GrpcContext } from '../context.ts';
import { toServiceError } from './errors.ts';

const leastReleasedBytes = 64 * 2 ** 10;

/** In front of each message: whether it is compressed, and its length. */
export const headBytes = 5;

/** What a handler knows of its call beside the message. */
export interface UnaryCall {
  readonly signal: AbortSignal;
  /** Address of the client. */
  readonly peer: string;
  readonly ending: CallSignal;
  /** The digest the client is pinned to, by the metadata key `nearfar-model-digest`. */
  readonly wantedDigest: string | undefined;
  /** Who asks, as `clientOfAddress` names it, or by the name of who it is. */
  readonly client: string;
  /** Who it is, where callers have to say it. */
  readonly identity: Identity | undefined;
  /** Sent behind the answer, or the error. */
  readonly trailer: CallTrailer;
  /** A value of the client's metadata. */
  readonly header: (name: string) => string | undefined;
}

export interface CallTrailer {
  set(name: string, value: string): void;
}

/** The bytes of a message, or why there is none. */
export type UnaryAnswer = { readonly message: Uint8Array } | UnaryError;

export interface UnaryError {
  /** The gRPC status. */
  readonly code: number;
  readonly details: string;
}

/** Answers one method; never throws, nor does its promise reject. */
export type AnswerUnary = (bytes: Buffer, call: UnaryCall) => UnaryAnswer | Promise<UnaryAnswer>;

/** By path, whoever reads them off the connection. */
export type UnaryMethods = Map<string, AnswerUnary>;

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

/** What is asked of a caller, and where errors are told. */
export type UnaryContext = Pick<GrpcContext, 'admin' | 'log'>;

/** Adds one method, for those that the table of access has for it; the handler answers with a message or its bytes, and what it throws becomes a gRPC status. */
export function addUnary<I extends DescMessage, O extends DescMessage>(
  methods: UnaryMethods,
  method: DescMethodUnary<I, O>,
  context: UnaryContext,
  handle: (message: MessageShape<I>, call: UnaryCall) => Answered<O> | Promise<Answered<O>>,
  { statusOf, ...reading }: MessageReading<MessageShape<I>> & MethodErrors = {},
): void {
  const succeed = (answer: Answered<O>): UnaryAnswer => ({
    message: answer instanceof Uint8Array ? answer : writeMessage(method.output, answer),
  });
  const fail = (error: unknown, { trailer }: UnaryCall): UnaryAnswer => {
    const { code, details } = toServiceError(error, trailer, context.log);
    return { code: (error instanceof NearfarError && statusOf?.(error)) || code, details };
  };
  const path = pathOf(method);
  const access = accessOfMethod(path);
  const refuse = (error: unknown, call: UnaryCall): UnaryAnswer => {
    if (isChange(access)) noteRefusal(context.admin, error, { ...actorOf(call, 'gRPC'), call: path });
    return fail(error, call);
  };
  methods.set(path, (bytes, call) => {
    let message: MessageShape<I>;
    try {
      message = readMessage(method.input, bytes, reading);
    } catch {
      return unreadable;
    }
    try {
      if (call.identity?.models) assertMay(call.identity, 'signed-in', modelOf(message, access));
      if (isChange(access)) assertMayChange(context.admin, call);
      const answering = handle(message, call);
      return answering instanceof Promise ? answering.then(succeed).catch((error) => refuse(error, call)) : succeed(answering);
    } catch (error) {
      return refuse(error, call);
    }
  });
}

/** The model that a message asks about, by the names that such fields have; `many` where it is about several or all. */
export function modelOf(message: object, access: Access): string | { many: true } | undefined {
  const named = 'modelSpec' in message ? message.modelSpec : message;
  const field = (name: string) =>
    typeof named === 'object' && named !== null && name in named ? (named as Record<string, unknown>)[name] : undefined;
  const name = field('modelName') ?? field('name');
  if (typeof name === 'string' && name !== '') return name;
  const isAboutNone = access === 'open' || (access === 'signed-in' && name === undefined);
  return isAboutNone ? undefined : { many: true };
}

export function pathOf({ parent, name }: DescMethodUnary): string {
  return `/${parent.typeName}/${name}`;
}

/** In the words of grpc-js, for all that its handlers cannot read. */
const unreadable: UnaryError = { code: status.INTERNAL, details: 'Error deserializing request' };

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
  if (takeOver && bytes.length >= leastReleasedBytes && bytes.length + headBytes >= bytes.buffer.byteLength) {
    takeOver(message);
    releaseBuffer(bytes.buffer);
  }
  return message;
}

export function writeMessage<M extends DescMessage>(schema: M, message: MessageShape<M>): Buffer {
  return toBuffer(toBinary(schema, message));
}

export function toBuffer({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** Answers one prediction over gRPC; at once where nothing is to be waited for. */
export function answerGrpc<Decoded extends DecodedCall, Answer>(
  context: GrpcContext,
  { ending, wantedDigest, client, identity, trailer, header }: UnaryCall,
  { spec, api }: { readonly spec: ServableSpec; readonly api: string },
  codec: Codec<Decoded, Answer>,
): Answer | Promise<Answer> {
  const { name, version, label } = spec;
  const answering = answerCall(
    context,
    {
      spec: { name, version, label, digest: wantedDigest, client: () => header('nearfar-client-id') ?? client },
      api,
      entrypoint: 'GRPC',
      client,
      limits: identity?.limits,
      ending,
      onVersion: (answeringVersion) => setVersionTrailer(trailer, answeringVersion),
      header,
    },
    codec,
  );
  const finish = ({ answer, timing, predictionId }: AnsweredCall<Answer>): Answer => {
    if (predictionId !== undefined) trailer.set(predictionIdName, predictionId);
    if (timing.cache) trailer.set('nearfar-cache', timing.cache);
    setBatchTrailer(trailer, timing);
    return answer;
  };
  return answering instanceof Promise ? answering.then(finish) : finish(answering);
}

/** What a batched answer tells over HTTP by its headers. */
function setBatchTrailer(trailer: CallTrailer, { batchSize, queueMs, inferMs }: Timing): void {
  if (batchSize === undefined) return;
  trailer.set('nearfar-batch-size', String(batchSize));
  trailer.set('server-timing', `queue;dur=${queueMs.toFixed(3)}, infer;dur=${inferMs.toFixed(3)}`);
}

/** Names the version behind an answer, by the keys of the HTTP headers. */
export function setVersionTrailer(trailer: CallTrailer, { version, digest, backend, variant, fallback }: AnsweringVersion): void {
  trailer.set('nearfar-model-version', version);
  trailer.set('nearfar-model-digest', digest);
  trailer.set('nearfar-backend', backend);
  trailer.set('nearfar-variant', variant);
  if (fallback) trailer.set('nearfar-fallback', describeFallback(fallback));
}

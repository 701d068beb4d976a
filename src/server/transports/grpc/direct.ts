import type { Http2Server, Http2Session, IncomingHttpHeaders, ServerHttp2Session, ServerHttp2Stream } from 'node:http2';
import { type Server, status } from '@grpc/grpc-js';
import type { ChannelArguments } from '../../channel-arguments.ts';
import type { Identity } from '../../security/index.ts';
import { CallSignal } from '../call.ts';
import { certificateOf } from '../certificate-of.ts';
import { toServiceError } from './errors.ts';
import { clientOfPeer } from './grpc-js-call.ts';
import { admit, type GuardContext } from './guard.ts';
import { type AnswerUnary, type CallTrailer, headBytes, type UnaryAnswer, type UnaryCall, type UnaryMethods } from './unary.ts';

type OnStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, ...more: unknown[]) => void;

/**
 * Answers plain unary calls on the HTTP/2 streams themselves: what grpc-js does for each takes longer than a tiny model and its codec. Its
 * connections, and all other calls (streams, compressed messages, unknown methods, …), stay its own.
 * @returns Takes the calls of all listeners that the server has by now. Where grpc-js looks otherwise inside, it goes on answering all.
 */
export function answerDirectly(
  server: Server,
  methods: UnaryMethods,
  channelArguments: ChannelArguments,
  context: GuardContext,
): () => void {
  const limits = {
    receive: limitOf(channelArguments['grpc.max_receive_message_length']),
    send: limitOf(channelArguments['grpc.max_send_message_length']),
  };
  // grpc-js knows by its own calls whether a connection is idle.
  const endsIdle = channelArguments['grpc.max_connection_idle_ms'] !== undefined;
  const taken = new WeakSet<Http2Server>();
  return () => {
    const http2Servers: unknown = server['http2Servers'];
    if (endsIdle || !(http2Servers instanceof Map)) return;
    for (const http2Server of http2Servers.keys()) {
      const [otherwise, ...more] = http2Server.listeners('stream');
      if (taken.has(http2Server) || !otherwise || more.length > 0) continue;
      taken.add(http2Server);
      const onStream: OnStream = (stream, headers, ...rest) => {
        const { ':path': path = '' } = headers;
        const answer = methods.get(path);
        const timeoutMs = timeoutMsOf(headers['grpc-timeout']);
        if (!answer || Number.isNaN(timeoutMs) || !isPlain(headers)) return otherwise(stream, headers, ...rest);
        const asked = { path, answer, limits, timeoutMs };
        if (context.guard) openGuarded(stream, headers, asked, context);
        else new DirectCall(stream, headers, asked);
      };
      http2Server.removeAllListeners('stream').on('stream', onStream);
      http2Server.on('session', widen);
    }
  };
}

/**
 * What clients may send before the server has read it: a picture at once. 64 KiB, as HTTP/2 begins with, costs a trip for each of its pieces.
 */
const windowBytes = { stream: 4 * 2 ** 20, connection: 16 * 2 ** 20 };

function widen(session: ServerHttp2Session): void {
  session.settings({ initialWindowSize: windowBytes.stream });
  session.setLocalWindowSize(windowBytes.connection);
}

function limitOf(bytes = -1): number {
  return bytes === -1 ? Number.POSITIVE_INFINITY : bytes;
}

function isPlain(headers: IncomingHttpHeaders): boolean {
  const type = headers['content-type'];
  const encoding = headers['grpc-encoding'];
  return (type === 'application/grpc' || type === 'application/grpc+proto') && (encoding === undefined || encoding === 'identity');
}

const unitsMs: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/** A longer timer would fire at once. */
const longestMs = 2 ** 31 - 1;

/** Of a `grpc-timeout`; NaN where it says none. */
function timeoutMsOf(text: string | readonly string[] | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, digits, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(String(text)) ?? [];
  return Math.min(Number(digits) * (unitsMs[unit] ?? Number.NaN), longestMs);
}

/** Reads nothing of a call before it is known who calls. */
function openGuarded(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, asked: Asked, context: GuardContext): void {
  const enter = (identity: Identity | undefined) => {
    if (!stream.closed) new DirectCall(stream, headers, { ...asked, identity });
  };
  const refuse = (error: unknown) => {
    const trailer = new Trailer();
    const { code, details } = toServiceError(error, trailer, context.log);
    if (stream.closed || stream.destroyed) return;
    stream.respond({ ...errorHeaders, ...statusFields(code, details), ...trailer.values }, { endStream: true });
    // What it still sends is not kept.
    stream.resume();
  };
  stream.on('error', () => {});
  try {
    const { session } = stream;
    const admitted = admit(
      asked.path,
      {
        peer: peerOf(session).peer,
        header: (name) => headerOf(headers, name),
        certificate: () => session && certificateOf(session.socket),
      },
      context,
    );
    if (admitted instanceof Promise) void admitted.then(enter, refuse);
    else enter(admitted);
  } catch (error) {
    refuse(error);
  }
}

function headerOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function statusFields(code: number, details: string): object {
  return { 'grpc-status': code, 'grpc-message': encodeURI(details) };
}

interface Asked {
  readonly path: string;
  readonly answer: AnswerUnary;
  readonly limits: { readonly receive: number; readonly send: number };
  readonly timeoutMs: number | undefined;
  /** Who it is, where callers have to say it. */
  readonly identity?: Identity | undefined;
}

/** One call, with the statuses and texts of grpc-js. */
class DirectCall implements UnaryCall {
  readonly trailer: Trailer = new Trailer();
  readonly ending: CallSignal;
  readonly #stream: ServerHttp2Stream;
  readonly #headers: IncomingHttpHeaders;
  readonly #asked: Asked;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #chunks: Buffer[] = [];
  #received = 0;
  /** Of the message with its head; unknown before that has come. */
  #length: number | undefined;
  #isOver = false;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, asked: Asked) {
    this.#stream = stream;
    this.#headers = headers;
    this.#asked = asked;
    this.ending = new CallSignal(asked.timeoutMs);
    if (asked.timeoutMs !== undefined) this.#timer = setTimeout(() => this.#expire(), asked.timeoutMs);
    // Those that have an error are closed too.
    stream.on('error', () => {});
    stream.on('close', () => this.#cancel());
    stream.on('data', (chunk: Buffer) => this.#take(chunk));
    stream.on('end', () => this.#answer());
  }

  get signal(): AbortSignal {
    return this.ending.signal;
  }

  get peer(): string {
    return peerOf(this.#stream.session).peer;
  }

  get client(): string {
    return this.identity?.name ?? peerOf(this.#stream.session).client;
  }

  get identity(): Identity | undefined {
    return this.#asked.identity;
  }

  get wantedDigest(): string | undefined {
    return this.header('nearfar-model-digest');
  }

  readonly header = (name: string): string | undefined => headerOf(this.#headers, name);

  #take(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#chunks.push(chunk);
    this.#received += chunk.length;
    const { path, limits } = this.#asked;
    if (this.#length === undefined && this.#received >= headBytes) {
      const size = joined(this.#chunks).readUInt32BE(1);
      this.#length = headBytes + size;
      if (size > limits.receive) this.#refuse(status.RESOURCE_EXHAUSTED, `Received message larger than max (${size} vs ${limits.receive})`);
    }
    if (this.#received > (this.#length ?? headBytes)) {
      this.#refuse(status.UNIMPLEMENTED, `Received a second request message for server streaming method ${path}`);
    }
  }

  #answer(): void {
    if (this.#isOver) return;
    const { path, answer } = this.#asked;
    if (this.#received !== this.#length) {
      this.#refuse(status.UNIMPLEMENTED, `Received no request message for server streaming method ${path}`);
      return;
    }
    const answering = answer(joined(this.#chunks).subarray(headBytes), this);
    if (answering instanceof Promise) void answering.then((answered) => this.#send(answered));
    else this.#send(answering);
  }

  #expire(): void {
    this.ending.expire();
    this.#refuse(status.DEADLINE_EXCEEDED, 'Deadline exceeded');
  }

  #cancel(): void {
    if (this.#end()) this.ending.cancel();
  }

  /** @returns Whether the call had not ended before. */
  #end(): boolean {
    if (this.#isOver) return false;
    this.#isOver = true;
    this.#chunks.length = 0;
    clearTimeout(this.#timer);
    this.ending[Symbol.dispose]();
    return true;
  }

  #send(answer: UnaryAnswer): void {
    const { send } = this.#asked.limits;
    if (!('message' in answer)) this.#refuse(answer.code, answer.details, this.trailer.values);
    else if (answer.message.length <= send) this.#sendMessage(answer.message);
    else this.#refuse(status.RESOURCE_EXHAUSTED, `Sent message larger than max (${headBytes + answer.message.length} vs. ${send})`);
  }

  #sendMessage(message: Uint8Array): void {
    if (!this.#mayRespond()) return;
    const stream = this.#stream;
    const frame = Buffer.allocUnsafe(headBytes + message.length);
    frame[0] = 0;
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, headBytes);
    stream.respond(answerHeaders, { waitForTrailers: true });
    stream.once('wantTrailers', () => stream.sendTrailers({ 'grpc-status': status.OK, 'grpc-message': 'OK', ...this.trailer.values }));
    stream.end(frame);
  }

  #refuse(code: number, details: string, trailer: Readonly<Record<string, string>> = {}): void {
    if (!this.#mayRespond()) return;
    this.#stream.respond({ ...errorHeaders, ...statusFields(code, details), ...trailer }, { endStream: true });
  }

  /** Ends the call. */
  #mayRespond(): boolean {
    return this.#end() && !this.#stream.destroyed && !this.#stream.closed;
  }
}

const errorHeaders = { ':status': 200, 'content-type': 'application/grpc+proto' };
const answerHeaders = { ...errorHeaders, 'grpc-accept-encoding': 'identity,deflate,gzip', 'grpc-encoding': 'identity' };

function joined(chunks: readonly Buffer[]): Buffer {
  const [first = Buffer.alloc(0)] = chunks;
  return chunks.length > 1 ? Buffer.concat(chunks) : first;
}

class Trailer implements CallTrailer {
  readonly values: Record<string, string> = {};

  set(name: string, value: string): void {
    this.values[name] = value;
  }
}

interface Peer {
  readonly peer: string;
  readonly client: string;
}

const peers = new WeakMap<Http2Session, Peer>();

/** Found once per connection: the socket of a session is a proxy, and slow. */
function peerOf(session: Http2Session | undefined): Peer {
  let known = session && peers.get(session);
  if (!known) {
    const { remoteAddress = 'unknown', remotePort } = session?.socket ?? {};
    const peer = remotePort === undefined ? remoteAddress : `${remoteAddress}:${remotePort}`;
    known = { peer, client: clientOfPeer(peer) };
    if (session) peers.set(session, known);
  }
  return known;
}

import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { inferenceHeaderLengthName } from '../../../core/index.ts';
import { type Guard, type Identity, may } from '../../security/index.ts';
import type { ServableSpec } from '../../servables/index.ts';
import type { RestContext } from '../context.ts';
import { canonicalVersion } from '../model-spec.ts';
import { sendError } from './errors.ts';
import type { RestReply, RestRequest } from './exchange.ts';
import { infer } from './infer.ts';
import { jsonLimitOf } from './json-limit.ts';
import { predict } from './predict.ts';

/** A larger body takes long to read, whoever reads it. */
const mostDirectBytes = 16 * 2 ** 10;

/** Plain names, which are the same decoded. */
const predictPath = /^\/v1\/models\/([\w.-]+)(?:\/versions\/(\d{1,18}))?:predict$/;
const inferPath = /^\/v2\/models\/([\w.-]+)(?:\/versions\/(\d{1,18}))?\/infer$/;

const plainTypes: readonly (string | undefined)[] = [
  undefined,
  'application/json',
  'application/octet-stream',
  'application/x-www-form-urlencoded', // of curl
];

/** What a path asks for, and the route that fastify has for it. */
interface Asked {
  readonly answer: (context: RestContext, request: RestRequest, reply: RestReply, spec: ServableSpec) => void | Promise<void>;
  readonly spec: ServableSpec;
  readonly url: string;
}

/**
 * Answers small predictions in JSON without fastify, which takes longer for its hooks than a tiny model and its codec together. What is not
 * quite plain (another encoding, an origin, a query, a name to be decoded, …) is fastify's.
 */
export function answerDirectly(context: RestContext, isDraining: () => boolean, otherwise: RequestListener): RequestListener {
  const { guard } = context;
  const mostBytes = Math.min(mostDirectBytes, jsonLimitOf(context));
  return (request, response) => {
    const asked = isPlain(request, mostBytes) ? parsePath(request.url ?? '') : undefined;
    if (!asked) return otherwise(request, response);
    const identity = guard && identityFor(request, asked.spec.name, guard);
    if (guard && !identity) return otherwise(request, response);
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => void chunks.push(chunk));
    request.once('end', () => {
      const [first = Buffer.alloc(0)] = chunks;
      const body = chunks.length > 1 ? Buffer.concat(chunks) : first;
      const reply = new DirectReply(response, isDraining);
      const { headers, socket } = request;
      const plain = { method: 'POST', routeOptions: { url: asked.url }, headers, body, ip: socket.remoteAddress ?? '', identity };
      const fail = (error: unknown) => sendError(reply, error, context.log);
      try {
        asked.answer(context, plain, reply, asked.spec)?.catch(fail);
      } catch (error) {
        fail(error);
      }
    });
  };
}

/** Who may ask the model; undefined where that takes time to find out, or is to be refused. */
function identityFor({ headers }: IncomingMessage, model: string, guard: Guard): Identity | undefined {
  const text = (name: string) => {
    const value = headers[name];
    return typeof value === 'string' ? value : undefined;
  };
  const identity = guard.recognize({ header: text });
  return identity && may(identity, 'predict', model) ? identity : undefined;
}

function isPlain({ method, httpVersion, headers }: IncomingMessage, mostBytes: number): boolean {
  if (method !== 'POST' || httpVersion !== '1.1') return false;
  const length = Number(headers['content-length']);
  return (
    length > 0 &&
    length <= mostBytes &&
    plainTypes.includes(headers['content-type']) &&
    headers.host !== undefined &&
    headers.origin === undefined &&
    headers['content-encoding'] === undefined &&
    headers[inferenceHeaderLengthName] === undefined
  );
}

function parsePath(path: string): Asked | undefined {
  const predicted = predictPath.exec(path);
  const match = predicted ?? inferPath.exec(path);
  if (!match) return undefined;
  const [, name = '', version] = match;
  const spec = { name, version: version === undefined ? undefined : canonicalVersion(version) };
  if (predicted) return { answer: predict, spec, url: '/v1/*' };
  return { answer: infer, spec, url: `/v2/models/:model${version === undefined ? '' : '/versions/:version'}/infer` };
}

/** The headers that fastify sends, in its order. */
class DirectReply implements RestReply {
  readonly raw: ServerResponse;
  readonly #isDraining: () => boolean;
  /** Names and values in turn: an object with so many names of so many kinds costs more than all else here. */
  readonly #headers: (string | number)[] = ['x-content-type-options', 'nosniff', 'vary', 'Origin'];
  #status = 200;
  sent = false;

  constructor(raw: ServerResponse, isDraining: () => boolean) {
    this.raw = raw;
    this.#isDraining = isDraining;
  }

  code(status: number): void {
    this.#status = status;
  }

  header(name: string, value: string | number): void {
    const at = this.#find(name);
    if (at === -1) this.#headers.push(name, value);
    else this.#headers[at + 1] = value;
  }

  removeHeader(name: string): void {
    const at = this.#find(name);
    if (at !== -1) this.#headers.splice(at, 2);
  }

  #find(name: string): number {
    for (let at = 0; at < this.#headers.length; at += 2) if (this.#headers[at] === name) return at;
    return -1;
  }

  send(body: Uint8Array): void {
    this.#send(body, body.length);
  }

  sendText(body: string): void {
    this.#send(body, Buffer.byteLength(body));
  }

  /** Text is one write with its headers. */
  #send(body: string | Uint8Array, length: number): void {
    this.sent = true;
    if (this.#isDraining()) this.header('connection', 'close');
    this.header('content-length', length);
    this.raw.writeHead(this.#status, this.#headers);
    sendSoon(this.raw, body);
  }
}

let waiting: { readonly response: ServerResponse; readonly body: string | Uint8Array }[] = [];

/**
 * Sends the answers of one turn of the event loop together: a client that sleeps is woken by the first, which costs more than the write, and
 * finds the others there.
 */
function sendSoon(response: ServerResponse, body: string | Uint8Array): void {
  if (waiting.length === 0) setImmediate(sendWaiting);
  waiting.push({ response, body });
}

function sendWaiting(): void {
  const sent = waiting;
  waiting = [];
  for (const { response, body } of sent) response.end(body);
}

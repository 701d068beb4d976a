import { createConnection, type Socket } from 'node:net';
import { errorOfResponse, NearfarError } from '../../core/index.ts';

/**
 * Kept connections to one server, one request on each at a time.
 * @remarks The client of node:http takes more of a processor than a server with a small model, which it would measure instead of it.
 */
export class HttpConnections implements Disposable {
  readonly #address: URL;
  readonly #free: Connection[] = [];
  readonly #open = new Set<Connection>();

  constructor(address: string) {
    this.#address = new URL(address);
  }

  /**
   * Sends a whole HTTP/1.1 request.
   * @throws {NearfarError} what the server refuses it with; `network`.
   */
  async send(request: Uint8Array): Promise<void> {
    const connection = this.#free.pop() ?? this.#connect();
    const answer = await connection.send(request);
    this.#free.push(connection);
    if (answer.status !== 200) throw errorOfResponse(answer.status, answer.body.toString());
  }

  #connect(): Connection {
    const { hostname, port } = this.#address;
    const connection = new Connection(createConnection({ host: hostname, port: Number(port), noDelay: true }));
    this.#open.add(connection);
    return connection;
  }

  [Symbol.dispose](): void {
    for (const connection of this.#open) connection[Symbol.dispose]();
  }
}

interface HttpAnswer {
  readonly status: number;
  readonly body: Buffer;
}

class Connection implements Disposable {
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #received = 0;
  #head: { readonly status: number; readonly bodyAt: number; readonly length: number } | undefined;
  #waiter: { resolve: (answer: HttpAnswer) => void; reject: (error: Error) => void } | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    const fail = (why: string) => this.#waiter?.reject(new NearfarError('network', `the server under test does not answer: ${why}`));
    socket.on('error', ({ message }) => fail(message));
    socket.on('close', () => fail('it closed the connection'));
    socket.on('data', (chunk) => {
      this.#chunks.push(chunk);
      this.#received += chunk.length;
      this.#head ??= readHead(Buffer.concat(this.#chunks));
      if (this.#head && Number.isNaN(this.#head.length)) fail('an answer without content-length');
      else this.#answer();
    });
  }

  send(request: Uint8Array): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
      this.#socket.write(request);
    });
  }

  #answer(): void {
    if (!this.#head || this.#received < this.#head.length) return;
    const { status, bodyAt } = this.#head;
    const body = Buffer.concat(this.#chunks).subarray(bodyAt);
    this.#chunks = [];
    this.#received = 0;
    this.#head = undefined;
    this.#waiter?.resolve({ status, body });
  }

  [Symbol.dispose](): void {
    this.#waiter = undefined;
    this.#socket.destroy();
  }
}

/** Undefined while it is not whole. */
function readHead(received: Buffer) {
  const end = received.indexOf('\r\n\r\n');
  if (end === -1) return undefined;
  const head = received.toString('latin1', 0, end);
  const length = /content-length: *(\d+)/i.exec(head)?.[1] ?? Number.NaN;
  const status = /^HTTP\/1\.1 (\d+)/.exec(head)?.[1] ?? 0;
  return { status: Number(status), bodyAt: end + 4, length: end + 4 + Number(length) };
}

import type { IncomingHttpHeaders, ServerResponse } from 'node:http';

import type { Identity } from '../../security/index.ts';

/** What answering a prediction asks of its request: fastify's, or one that came directly. */
export interface RestRequest {
  readonly method: string;
  /** As it was added to the router. */
  readonly routeOptions: { readonly url?: string | undefined };
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
  /** Address of the client. */
  readonly ip: string;
  /** Who it is, where callers have to say it. */
  readonly identity?: Identity | undefined;
}

/** What it asks of the reply. */
export interface RestReply {
  readonly raw: ServerResponse;
  readonly sent: boolean;
  code(status: number): unknown;
  header(name: string, value: string | number): unknown;
  removeHeader(name: string): unknown;
  send(body: Uint8Array): unknown;
  /** Sends text with the headers that are there, where the reply can. */
  sendText?(body: string): unknown;
}

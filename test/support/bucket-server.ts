import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** A service that speaks the part of S3 that publishing and stores use: conditions, ranges and listings, two names to a page. */
export interface BucketServer extends AsyncDisposable {
  readonly environment: Readonly<Record<string, string>>;
  /** By `bucket/key`. */
  readonly objects: ReadonlyMap<string, { readonly bytes: Buffer; readonly cacheControl: string | undefined }>;
  /** Called before each request is answered; what it throws becomes HTTP 500. */
  intercept: (method: string, key: string) => void | Promise<void>;
}

export async function serveBucket(): Promise<BucketServer> {
  const objects = new Map<string, { bytes: Buffer; cacheControl: string | undefined }>();
  const etagOf = (bytes: Buffer) => `"${createHash('md5').update(bytes).digest('hex')}"`;
  const service: { intercept: BucketServer['intercept'] } = { intercept: () => undefined };
  const server = createServer((request, response) => {
    const end = (status: number, body: Buffer | string = '', headers: Record<string, string> = {}) =>
      response.writeHead(status, headers).end(body);
    const answer = async () => {
      const url = new URL(request.url ?? '/', 'http://localhost');
      const key = decodeURIComponent(url.pathname.slice(1));
      const body = await buffer(request);
      if (!request.headers.authorization?.startsWith('AWS4-HMAC-SHA256 Credential=test-key/'))
        return end(403, '<Error><Message>no signature</Message></Error>');
      await service.intercept(request.method ?? '', key);
      const found = objects.get(key);
      if (url.searchParams.get('list-type') === '2') return end(200, listing(url.searchParams, key, objects, etagOf));
      if (request.method === 'GET') {
        if (!found) return end(404);
        const etag = etagOf(found.bytes);
        if (request.headers['if-none-match'] === etag) return end(304, '', { etag });
        if (request.headers['if-match'] !== undefined && request.headers['if-match'] !== etag) return end(412);
        const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
        if (start === 0) return end(200, found.bytes, { etag });
        const { byteLength } = found.bytes;
        return end(206, found.bytes.subarray(start), { etag, 'content-range': `bytes ${start}-${byteLength - 1}/${byteLength}` });
      }
      if (request.method === 'DELETE') return end(objects.delete(key) ? 204 : 404);
      const declared = request.headers['x-amz-content-sha256'];
      if (declared !== createHash('sha256').update(body).digest('hex'))
        return end(400, '<Error><Message>XAmzContentSHA256Mismatch</Message></Error>');
      if (request.headers['if-none-match'] === '*' && found) return end(412);
      const { 'if-match': match } = request.headers;
      if (match !== undefined && (!found || match !== etagOf(found.bytes))) return end(412);
      objects.set(key, { bytes: body, cacheControl: request.headers['cache-control'] });
      return end(200, '', { etag: etagOf(body) });
    };
    answer().catch((error: unknown) => end(400, `<Error><Message>${String(error)}</Message></Error>`));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return Object.assign(service, {
    environment: { AWS_ACCESS_KEY_ID: 'test-key', AWS_SECRET_ACCESS_KEY: 'test-secret', AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}` },
    objects,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

function listing(query: URLSearchParams, bucket: string, objects: BucketServer['objects'], etagOf: (bytes: Buffer) => string): string {
  const prefix = query.get('prefix') ?? '';
  const isFlat = query.get('delimiter') === null;
  const entries = new Map<string, string>();
  for (const [key, { bytes }] of [...objects].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!key.startsWith(bucket + prefix)) continue;
    const path = key.slice(bucket.length + prefix.length);
    const slash = isFlat ? -1 : path.indexOf('/');
    const name = `${prefix}${slash < 0 ? path : path.slice(0, slash + 1)}`.replaceAll('&', '&amp;');
    const etag = etagOf(bytes).replaceAll('"', '&quot;');
    if (slash < 0) entries.set(name, `<Contents><Key>${name}</Key><ETag>${etag}</ETag><Size>${bytes.byteLength}</Size></Contents>`);
    else entries.set(name, `<CommonPrefixes><Prefix>${name}</Prefix></CommonPrefixes>`);
  }
  const start = Number(query.get('continuation-token') ?? 0);
  const page = [...entries.values()].slice(start, start + 2);
  const next = start + 2 < entries.size ? `<NextContinuationToken>${start + 2}</NextContinuationToken>` : '';
  return `<ListBucketResult>${page.join('')}${next}</ListBucketResult>`;
}
